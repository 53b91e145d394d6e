"""From plans and what the probes brought back to the model of proof.json. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from .checks import CHECKS, NEGATIVE, POSITIVE
from .controls import settle
from .hops import hops
from .judge import FAILED, NOT_TESTED, OK, Evidence, Verdict, judge

SCHEMA = "edgemesh.proof/1"


@dataclass(frozen=True)
class Run:
    """What is known about the run as a whole.

    :param version: of the collection.
    :param id: the run's identifier.
    :param absent: VMs that should have taken part and did not.
    :param minimum: how many different claims of each polarity must hold for a route to be proven.
    :param now: ISO time, for a run without a single probe.
    """

    version: str
    id: str = ""
    check_mode: bool = False
    absent: tuple[str, ...] = ()
    minimum: dict[str, int] = field(default_factory=lambda: {POSITIVE: 5, NEGATIVE: 6})
    now: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="milliseconds"))


def report(
    run: Run,
    routes: list[dict[str, Any]],
    proofs: list[dict[str, Any]],
    results: list[dict[str, Any]],
    evidence: Evidence,
    certificates: list[dict[str, Any]],
) -> dict[str, Any]:
    """The whole report as JSON types.

    :param routes: complete routes.
    :param proofs: every VM's plan, as dictionaries.
    :param results: edge_probe's results from every vantage point; found again by name.
    :param certificates: those read from files (see :func:`certificate`); those seen on the wire are added.
    """
    by_name = {result["name"]: result for result in results}
    beside = {proof["beside"]["name"] for proof in proofs if proof["beside"]}
    evidence = replace(evidence, beside={name: by_name[name] for name in beside & by_name.keys()})
    seen = {proof["id"]: by_name.get(proof["probe"]["name"]) if proof["probe"] else None for proof in proofs}
    verdicts = settle(proofs, {proof["id"]: judge(proof, seen[proof["id"]], evidence) for proof in proofs}, check_mode=run.check_mode)
    lines = [_line(proof, verdicts[proof["id"]], seen[proof["id"]] or {}) for proof in proofs]
    sessions = {proof: (result or {}).get("tls") or {} for proof, result in seen.items()}
    of_route = {route["name"]: [line for line in lines if line["route"] == route["name"]] for route in routes}
    summaries = [_route(route, of_route[route["name"]], run) for route in routes]
    moments = sorted(line["started"] for line in lines if line["started"]) or [run.now]
    model = {
        "schema": SCHEMA,
        "collection": {"name": "edgemesh.nginx_istio", "version": run.version},
        "run": run.id,
        "check_mode": run.check_mode,
        "started": moments[0],
        "finished": moments[-1],
        "ok": bool(summaries) and all(route["ok"] for route in summaries),
        "summary": {**_count(lines), "routes": len(summaries), "proven": sum(route["ok"] for route in summaries)},
        "routes": summaries,
        "failures": _failures(lines),
        "hops": [hop for route in routes for hop in hops(route["name"], of_route[route["name"]], sessions)],
        "proofs": lines,
        "certificates": [*certificates, *_presented(lines, sessions)],
    }
    return {**model, "text": text(model)}


def certificate(facts: dict[str, Any], use: str, route: str, at: list[str]) -> dict[str, Any]:
    """A certificate's entry in the report: what for, whose, until when, and its fingerprint.

    :param use: e.g. "nginx presents", "nginx trusts".
    :param at: where it was seen: VMs, ``VM:file``, or addresses.
    """
    kept = ("subject", "issuer", "sans", "not_before", "not_after", "sha256", "key", "serial")
    return {"use": use, "route": route, "at": at, **{name: facts[name] for name in kept if name in facts}}


def text(model: dict[str, Any]) -> list[str]:
    """What to print: failures with cause and fix, what is missing, counts."""
    out: list[str] = []
    by_id = {line["id"]: line for line in model["proofs"]}
    for failure in model["failures"]:
        out.append(f"FAILED {failure['route']}: {failure['code']}: {failure['why']}")
        out.append(f"  fix: {failure['fix']}")
        for line in (by_id[proof] for proof in failure["proofs"]):
            out.append(f"  not so: {line['title']} ({line['from']} → {line['to']}): {line['observed']}")
    for route in model["routes"]:
        counts, claims = route["counts"], route["claims"]
        verdict = "proven" if route["ok"] else ("not proven (check mode)" if model["check_mode"] else "NOT PROVEN")
        out.append(
            f"{route['name']} ({route['host']}): {verdict}; {claims[POSITIVE]} positive and {claims[NEGATIVE]} negative claims hold; "
            f"{counts[OK]} proofs ok, {counts[FAILED]} failed, {counts[NOT_TESTED]} not tested"
        )
        if not model["check_mode"]:
            out += [f"  missing: {what}" for what in route["missing"]]
    return out or ["There is no route to prove."]


def _failures(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What failed by its cause, root causes first."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in sorted((line for line in lines if line["status"] == FAILED), key=lambda line: "root" in line["cause"]):
        cause = {"route": line["route"], **{key: line["cause"][key] for key in ("code", "why", "fix")}}
        found.setdefault(tuple(cause.values()), {**cause, "proofs": []})["proofs"].append(line["id"])
    return list(found.values())


def _line(proof: dict[str, Any], verdict: Verdict, result: dict[str, Any]) -> dict[str, Any]:
    check = CHECKS[proof["check"]]
    cause = {"code": verdict.code, "why": verdict.why, "fix": verdict.fix, "root": verdict.root}
    return {
        "id": proof["id"],
        "route": proof["route"],
        "check": check.name,
        "title": check.title,
        "proves": check.proves,
        "polarity": check.polarity,
        "hop": check.hop,
        "from": proof["vantage"],
        "to": proof["target"],
        "machine": proof["machine"],
        "required": proof["required"],
        "status": verdict.status,
        "expected": proof["expected"],
        "observed": verdict.observed,
        "started": str(result.get("started") or ""),
        "times": dict(result.get("times") or {}),
        "cause": {key: value for key, value in cause.items() if value},
        "saw": verdict.saw,
    }


def _count(lines: list[dict[str, Any]]) -> dict[str, int]:
    found = Counter(line["status"] for line in lines)
    return {status: found[status] for status in (OK, FAILED, NOT_TESTED)}


def _claims(lines: list[dict[str, Any]], polarity: str) -> int:
    """How many different claims hold at every place where they were looked at."""
    statuses: dict[str, set[str]] = {}
    for line in lines:
        if line["polarity"] == polarity:
            statuses.setdefault(line["check"], set()).add(line["status"])
    return sum(found == {OK} for found in statuses.values())


def _route(route: dict[str, Any], lines: list[dict[str, Any]], run: Run) -> dict[str, Any]:
    claims = {polarity: _claims(lines, polarity) for polarity in (POSITIVE, NEGATIVE)}
    missing = _missing(lines)
    missing += [
        f"{claims[kind]} {kind} claims hold everywhere, {least} are needed" for kind, least in run.minimum.items() if claims[kind] < least
    ]
    if not lines:
        missing = [f"no VM of this run serves it (group {route['on']})"]
    missing += [f"{name} took no part: it could not be reached, or failed before" for name in run.absent]
    return {
        "name": route["name"],
        "host": route["host"],
        "mode": route["upstream_tls"]["mode"],
        "gateway": f"{route['gateway']['namespace']}/{route['gateway']['service']}",
        "server_name": route["upstream_tls"]["server_name"],
        "services": [f"{path['service']['namespace']}/{path['service']['name']}:{path['service']['port']}" for path in route["paths"]],
        "probe": dict(route["probe"]),
        "ok": not missing and all(line["status"] == OK or (line["status"] == NOT_TESTED and not line["required"]) for line in lines),
        "counts": _count(lines),
        "claims": claims,
        "missing": missing,
    }


def _missing(lines: list[dict[str, Any]]) -> list[str]:
    """Required claims that could not be tested, with where and the first reason; what waits for its control is named by that."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        if line["required"] and line["status"] == NOT_TESTED and "root" not in line["cause"]:
            found.setdefault(line["title"], []).append(line)
    places = {title: ", ".join(f"{line['from']} → {line['to'] or 'gateway'}" for line in own) for title, own in found.items()}
    return [f"{title} ({places[title]}): {own[0]['cause']['why']}" for title, own in found.items()]


def _presented(lines: list[dict[str, Any]], sessions: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The certificates that were seen on the wire, each once for each route and whoever shows it."""
    shows = {"front.certificate": "nginx", "gateway.tls": "the gateway"}
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for line in lines:
        if line["check"] not in shows:
            continue
        for depth, facts in enumerate(sessions[line["id"]].get("chain") or []):
            use = f"{shows[line['check']]} {'presents' if depth == 0 else 'sends along'}"
            entry = found.setdefault((line["route"], use, str(facts.get("sha256"))), certificate(facts, use, line["route"], []))
            if line["to"] not in entry["at"]:
                entry["at"].append(line["to"])
    return list(found.values())
