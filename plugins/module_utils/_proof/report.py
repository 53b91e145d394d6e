# SPDX-License-Identifier: GPL-3.0-or-later
"""From plans and what the probes brought back to the model of proof.json. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from .._lists import DEFAULT, Owner
from . import kinds
from .certificates import merged, presented
from .chain import Known
from .checks import NEGATIVE, POSITIVE
from .controls import settle
from .hops import hops
from .judge import judge
from .kind import Kind
from .verdict import FAILED, NOT_TESTED, OK, Evidence, Verdict

SCHEMA = "edgemesh.proof/2"

_ANSWERS = {OK: "answers", FAILED: "failed", NOT_TESTED: "not tested"}


@dataclass(frozen=True)
class Run:
    """What is known about the run as a whole.

    :param version: of the collection.
    :param id: the run's identifier.
    :param absent: hosts that should have taken part and did not.
    :param minimum: how many different claims of each polarity must hold for a route to be proven.
    :param list_name: of the list whose routes are proven.
    :param takes_away: the run takes routes away, so it may be that none is left to prove.
    :param now: ISO time, for a run without a single probe.
    """

    version: str
    id: str = ""
    check_mode: bool = False
    absent: tuple[str, ...] = ()
    minimum: dict[str, int] = field(default_factory=lambda: {POSITIVE: 5, NEGATIVE: 6})
    list_name: str = DEFAULT
    takes_away: bool = False
    now: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="milliseconds"))


def report(
    run: Run,
    routes: list[tuple[Kind, Any]],
    proofs: list[dict[str, Any]],
    results: list[dict[str, Any]],
    evidence: Evidence,
    certificates: list[dict[str, Any]],
) -> dict[str, Any]:
    """The whole report as JSON types.

    :param routes: all routes, each with its kind.
    :param proofs: every host's plan, as dictionaries; what is in several of them is proven once.
    :param results: edge_probe's results from every vantage point; found again by name.
    :param certificates: those read from files (see :func:`.certificates.certificate`); those seen on the wire are added.
    """
    proofs = list({proof["id"]: proof for proof in proofs}.values())
    by_name = {result["name"]: result for result in results}
    beside = {proof["beside"]["name"] for proof in proofs if proof["beside"]}
    evidence = replace(evidence, beside={name: by_name[name] for name in beside & by_name.keys()})
    seen = {proof["id"]: by_name.get(proof["probe"]["name"]) if proof["probe"] else None for proof in proofs}
    sessions = {proof: (result or {}).get("tls") or {} for proof, result in seen.items()}
    lines: list[dict[str, Any]] = []
    for name in dict.fromkeys(proof["kind"] for proof in proofs):
        kind, own = kinds.named(name), [proof for proof in proofs if proof["kind"] == name]
        verdicts = {proof["id"]: judge(kind, proof, seen[proof["id"]], evidence) for proof in own}
        verdicts = settle(kind, own, verdicts, check_mode=run.check_mode)
        made = [_line(kind, proof, verdicts[proof["id"]], seen[proof["id"]] or {}, run) for proof in own]
        lines, certificates = [*lines, *made], [*certificates, *presented(kind, made, sessions)]
    own_lines = [
        [line for line in lines if not line["neighbour"] and (line["kind"], line["route"]) == (kind.name, route.name)]
        for kind, route in routes
    ]
    looked = [hops(kind, route.name, own, sessions) for (kind, route), own in zip(routes, own_lines)]
    summaries = [_route(*each, own, seen_of, run) for each, own, seen_of in zip(routes, own_lines, looked)]
    neighbours = _neighbours(lines)
    unproven = [each["name"] for each in summaries if not each["ok"]] + [each["owner"] for each in neighbours if not each["ok"]]
    if not summaries and not run.takes_away:
        unproven.insert(0, "there is no route")
    moments = sorted(line["started"] for line in lines if line["started"]) or [run.now]
    model = {
        "schema": SCHEMA,
        "collection": {"name": "edgemesh.nginx_istio", "version": run.version},
        "run": run.id,
        "list": run.list_name,
        "check_mode": run.check_mode,
        "began": moments[0],
        "ended": moments[-1],
        "ok": not unproven,
        "unproven": unproven,
        "summary": {**_count(lines), "routes": len(summaries), "proven": sum(route["ok"] for route in summaries)},
        "routes": summaries,
        "neighbours": neighbours,
        "failures": _failures(lines),
        "hops": [hop for each in looked for hop in each],
        "proofs": lines,
        "certificates": merged(certificates),
    }
    return {**model, "text": text(model)}


def text(model: dict[str, Any]) -> list[str]:
    """What to print: failures with cause and fix, what is missing, counts."""
    out: list[str] = []
    by_id = {line["id"]: line for line in model["proofs"]}
    for failure in model["failures"]:
        of = Owner(failure["list"], failure["route"]) if failure["neighbour"] else failure["route"]
        out.append(f"FAILED {of}: {failure['code']}: {failure['why']}")
        out.append(f"  fix: {failure['fix']}")
        for line in (by_id[proof] for proof in failure["proofs"]):
            out.append(f"  not so: {line['title']} ({line['from']} → {line['to']}): {line['observed']}")
    for route in model["routes"]:
        counts, claims = route["counts"], route["claims"]
        verdict = "proven" if route["ok"] else ("not proven (check mode)" if model["check_mode"] else "NOT PROVEN")
        name = route["name"] if route["list"] == DEFAULT else f"{route['name']} of list {route['list']}"
        out.append(
            f"{name} ({route['host']}): {verdict}; {claims[POSITIVE]} positive and {claims[NEGATIVE]} negative claims hold; "
            f"{counts[OK]} proofs ok, {counts[FAILED]} failed, {counts[NOT_TESTED]} not tested"
        )
        if not model["check_mode"]:
            out += [f"  missing: {what}" for what in route["missing"]]
    if not model["routes"]:
        out.append("There is no route to prove.")
    for each in model["neighbours"]:
        out.append(f"{each['owner']} (not of this run): {_ANSWERS[each['status']]} on {', '.join(each['at'])}")
        if not model["check_mode"]:
            out += [f"  missing: {what}" for what in each["missing"]]
    return out


def _failures(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What failed by its cause, root causes first."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in sorted((line for line in lines if line["status"] == FAILED), key=lambda line: "root" in line["cause"]):
        cause = {key: line[key] for key in ("route", "list", "neighbour")} | {key: line["cause"][key] for key in ("code", "why", "fix")}
        found.setdefault(tuple(cause.values()), {**cause, "proofs": []})["proofs"].append(line["id"])
    return list(found.values())


def _line(kind: Kind, proof: dict[str, Any], verdict: Verdict, result: dict[str, Any], run: Run) -> dict[str, Any]:
    check = kind.checks[proof["check"]]
    cause = {"code": verdict.code, "why": verdict.why, "fix": verdict.fix, "root": verdict.root}
    return {
        "id": proof["id"],
        "route": proof["route"],
        "list": proof["other_list"] or run.list_name,
        "neighbour": bool(proof["other_list"]),
        "kind": kind.name,
        "check": check.name,
        "title": check.title,
        "proves": check.proves,
        "polarity": check.polarity,
        "hop": check.hop,
        "from": proof["vantage"],
        "to": proof["target"],
        "through": proof["through"],
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


def _route(kind: Kind, route: Any, lines: list[dict[str, Any]], looked: list[dict[str, Any]], run: Run) -> dict[str, Any]:
    summary, claims = kind.summary(route), {polarity: _claims(lines, polarity) for polarity in (POSITIVE, NEGATIVE)}
    missing = _missing(lines)
    missing += [
        f"{claims[sign]} {sign} claims hold everywhere, {least} are needed" for sign, least in run.minimum.items() if claims[sign] < least
    ]
    if not lines:
        missing = [summary.unserved]
    missing += [f"{name} took no part: it could not be reached, or failed before" for name in run.absent]
    facts = {"host": summary.host, "about": summary.about, **summary.facts}
    return {
        "name": route.name,
        "list": run.list_name,
        "kind": kind.name,
        **facts,
        "chain": kind.chain.drawn(Known(facts, {hop["hop"]: hop for hop in looked})),
        "ok": not missing and _holds(lines),
        "counts": _count(lines),
        "claims": claims,
        "missing": missing,
    }


def _neighbours(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was claimed of other lists' routes, by route. None of them counts as proven, but each must answer."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for line in lines:
        if line["neighbour"]:
            found.setdefault((line["list"], line["route"], line["kind"]), []).append(line)
    return [
        {
            "name": name,
            "list": list_name,
            "owner": str(Owner(list_name, name)),
            "kind": kind,
            "at": sorted({line["through"] for line in own}),
            "ok": _holds(own),
            "status": OK if _holds(own) else FAILED if any(line["status"] == FAILED for line in own) else NOT_TESTED,
            "counts": _count(own),
            "missing": _missing(own),
        }
        for (list_name, name, kind), own in sorted(found.items())
    ]


def _holds(lines: list[dict[str, Any]]) -> bool:
    return all(line["status"] == OK or (line["status"] == NOT_TESTED and not line["required"]) for line in lines)


def _missing(lines: list[dict[str, Any]]) -> list[str]:
    """Required claims that could not be tested, with where and the first reason; what waits for its control is named by that."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        if line["required"] and line["status"] == NOT_TESTED and "root" not in line["cause"]:
            found.setdefault(line["title"], []).append(line)
    places = {title: ", ".join(f"{line['from']} → {line['to']}" for line in own) for title, own in found.items()}
    return [f"{title} ({places[title]}): {own[0]['cause']['why']}" for title, own in found.items()]
