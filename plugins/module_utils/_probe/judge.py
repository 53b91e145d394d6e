# SPDX-License-Identifier: GPL-3.0-or-later
"""On the controller: what was seen on the wire becomes a verdict with one cause.

The only place that knows `_x509`: certificates become facts, and the server's chain is judged by nginx's and by Envoy's rules.
"""

from __future__ import annotations

import base64
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from .._x509 import pem, purposes
from .._x509.chain import verify
from .._x509.facts import facts
from .._x509.purposes import CLIENT, ENVOY, NGINX, SERVER
from . import contrast
from .causes import CAUSES, Context
from .classify import CHAIN_CODES, Found, of_answer, of_check, of_client, of_failure
from .expect import Check, answer_checks, failed, not_tested, passed, short, statuses
from .names import name_text
from .observation import HttpSeen, Observation
from .spec import PHASES, Path

_REFUSALS = ("tls_handshake", "tls_first_read")
_TAG = re.compile(r"<[^>]*>")
_CLIENT_CODES = re.compile(r"CLIENT_|EKU_NO_CLIENTAUTH")


@dataclass(frozen=True)
class Trust:
    """The trusted certificates of one path: PEM text, or why they can't be had."""

    pem: str = ""
    error: str = ""


@dataclass
class Judged:
    """One path's result on its way to the task's result."""

    checks: list[Check] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    chain: list[dict[str, Any]] = field(default_factory=list)
    verify: dict[str, str] = field(default_factory=dict)
    unfit: str = ""


def result(path: Path, observations: list[Observation], trust: Trust, vantage: str) -> dict[str, Any]:
    """The module's result for one path: the first of its different observations that isn't as expected, else the last."""
    results = [_result(path, seen, trust, vantage) for seen in observations]
    chosen = next((each for each in results if not each["ok"]), results[-1])
    chosen["attempts"] = sum(seen.attempts for seen in observations)
    return chosen


def _result(path: Path, seen: Observation, trust: Trust, vantage: str) -> dict[str, Any]:
    judged = judge(path, seen, trust)
    ok, cause, observed, expected = _decide(path, seen, judged)
    return {
        "name": path.name,
        "ok": ok,
        "vantage": vantage,
        "source": seen.source,
        "target": path.target,
        "started": seen.started,
        "sent": _sent(path),
        **_named(path, seen, cause),
        "observed": observed,
        "expected": expected,
        "times": seen.times,
        "tls": _tls_result(seen, judged),
        "http": asdict(seen.http) if seen.http else None,
        "checks": [*_phases(path, seen, judged), *judged.checks],
    }


def explained(path: Path, of: dict[str, Any], tried: dict[str, Observation]) -> dict[str, Any]:
    """A result whose ambiguous cause was decided by further probes."""
    before = Found(of["code"], of["phase"])
    after = contrast.decide(path, before, tried)
    if after == before:
        return of
    checks = [{**check, "code": after.code} if check.get("code") == before.code else check for check in of["checks"]]
    ok = after.code in path.expect.codes if path.expect.refused and path.expect.codes else bool(of["ok"])
    http = of["http"]
    seen = Observation(http=HttpSeen(status=http["status"])) if http else None
    return {**of, **_named(path, seen, after), "checks": checks, "ok": ok}


def _named(path: Path, seen: Observation | None, cause: Found | None) -> dict[str, str]:
    """What a result says about its cause."""
    if cause is None:
        return {"phase": _reached(seen) if seen else "", "code": "", "sentence": "", "fix": "", "doc": ""}
    row, context = CAUSES[cause.code], context_of(path, seen, cause)
    return {
        "phase": cause.phase,
        "code": cause.code,
        "sentence": row.sentence(context),
        "fix": row.remedy(context),
        "doc": row.anchor,
    }


def judge(path: Path, seen: Observation, trust: Trust) -> Judged:
    """All that can be said about one observation: checks, and the causes in the order in which nginx would meet them."""
    judged = Judged()
    failure = seen.failure
    if failure and failure.phase not in ("tls_first_read", "http"):
        judged.found.append(_refined(of_failure(path, seen, failure), seen, trust))
    if seen.tls and seen.tls.chain:
        judged.chain = [_facts(each) for each in seen.tls.chain]
        _judge_chain(path, seen, trust, judged)
    if failure and failure.phase in ("tls_first_read", "http"):
        judged.found.append(_refined(of_failure(path, seen, failure), seen, trust))
    checks = answer_checks(seen, path.expect)
    judged.checks += checks
    for check in checks:
        if check["status"] == "failed":
            found = _refined(of_check(path, seen, check), seen, trust)
            check["code"] = found.code
            judged.found.append(found)
    if seen.http and not path.expect.status and 300 <= seen.http.status < 400:
        around = of_answer(path, seen.http)
        if around:
            judged.checks.append(failed("redirect", seen.http.headers.get("location", ""), "elsewhere", around.code))
            judged.found.append(around)
    return judged


def _judge_chain(path: Path, seen: Observation, trust: Trust, judged: Judged) -> None:
    """Verify the presented chain by both sides' rules; the path's own rules decide."""
    tls = path.tls
    if tls is None or seen.tls is None:
        return
    decides = tls.rules
    chain = [base64.b64decode(each) for each in seen.tls.chain]
    # trusted by itself, what is left is what is wrong with it for everybody
    judged.unfit = verify(chain, chain[:1], rules=ENVOY, purpose=SERVER, name=tls.verify_name or None).text
    if trust.error:
        judged.verify = {NGINX: trust.error, ENVOY: trust.error}
        if decides != "none":
            judged.checks.append(failed(f"verify_{decides}", trust.error, code="CA_UNREADABLE"))
            judged.found.append(Found("CA_UNREADABLE", "tls_handshake", trust.error))
        return
    if not trust.pem:
        if decides != "none":
            judged.checks.append(not_tested(f"verify_{decides}", "no trusted certificates were given"))
        return
    for rules in (NGINX, ENVOY):
        depth = tls.verify_depth if rules == NGINX else None
        verdict = verify(chain, trust.pem, rules=rules, purpose=SERVER, name=tls.verify_name or None, depth=depth)
        judged.verify[rules] = verdict.text
        if rules != decides:
            continue
        if verdict.ok:
            judged.checks.append(passed(f"verify_{rules}", _subject(judged.chain[0])))
            continue
        if seen.tls.chain_from == "leaf only" and verdict.code == "ISSUER_MISSING":
            judged.checks.append(not_tested(f"verify_{rules}", "this host's Python shows only the leaf of the chain"))
            continue
        code = CHAIN_CODES.get(verdict.code, "SERVER_CHAIN_REFUSED")
        if code == "UPSTREAM_NAME_MISMATCH" and _spiffe_only(judged.chain[0]):
            code = "SPIFFE_ONLY_CERT"
        judged.checks.append(failed(f"verify_{rules}", verdict.text, code=code))
        judged.found.append(Found(code, "tls_handshake", verdict.reason.rstrip(".")))


def _refined(found: Found, seen: Observation, trust: Trust) -> Found:
    """A refusal of our certificate, explained by the certificate itself where it can be."""
    if seen.tls is None or not seen.tls.client or not _CLIENT_CODES.match(found.code) or found.code == "CLIENT_CERT_UNREADABLE":
        return found
    chain = [base64.b64decode(each) for each in seen.tls.client]
    try:
        leaf = facts(chain[0])
    except pem.PemError:
        return found
    # It trusts itself, so what is left is about fitness; a trusted certificate's purpose is none of Envoy's business, and asked for apart.
    own = verify(chain, chain, rules=ENVOY, purpose=CLIENT).code
    unfit = purposes.problem(pem.load(chain[0])[0], CLIENT, rules=ENVOY)
    if unfit and not own:
        own = unfit[0]
    names = [name_text(base64.b64decode(each)) for each in seen.tls.authorities]
    clearer = of_client(own, leaf, names)
    if clearer:
        return Found(clearer.code, found.phase, clearer.detail)
    if found.code == "CLIENT_CERT_MISSING":  # it was sent, so the other side means that it found none of use
        return Found("CLIENT_CERT_REFUSED", found.phase, ": it is sent, and still asked for")
    if found.code in ("CLIENT_CERT_REFUSED", "EKU_NO_CLIENTAUTH") and not own and names:
        return Found("CLIENT_NAME_NOT_PINNED", found.phase, f": it has {', '.join(leaf['sans']) or 'no name at all'}")
    return found


def _decide(path: Path, seen: Observation, judged: Judged) -> tuple[bool, Found | None, str, str]:
    """(ok, cause, observed, expected) from the expectation."""
    expect, cause = path.expect, judged.found[0] if judged.found else None
    observed = _observed(seen, cause)
    if seen.not_tested:
        phase, why = next(iter(seen.not_tested.items()))
        return False, Found("NOT_TESTED", phase, why), f"not tested: {why}", _expected(path)
    if not expect.refused:
        return cause is None, cause, observed, _expected(path)
    cause = _refusal(path, seen, judged)
    if cause is None:
        status = f"HTTP {seen.http.status}" if seen.http else "after a full handshake"
        about_client = not expect.codes or any(_CLIENT_CODES.match(code) for code in expect.codes)
        shown = path.tls.client if path.tls else None
        if path.tls and about_client and (shown or "CLIENT_CERT_MISSING" in expect.codes):
            detail = "missing" if shown is None else "a stranger's" if shown.foreign else "one to refuse"
            return False, Found("MTLS_NOT_ENFORCED", "tls_first_read", detail), f"answered: {status}", _expected(path)
        return False, Found("NOT_REFUSED", "http", status), f"answered: {status}", _expected(path)
    by_code = cause.code in expect.codes if expect.codes else True
    by_phase = cause.phase in expect.phase if expect.phase else bool(expect.codes) or _by_the_peer(seen)
    return by_code and by_phase, cause, observed, _expected(path)


def _refusal(path: Path, seen: Observation, judged: Judged) -> Found | None:
    """The cause by which a probe that should be refused was refused; a certificate that we would not accept is none."""
    found = [each for each in judged.found if each.code in path.expect.codes]
    if found:
        return found[0]
    if seen.failure is not None:
        return next(each for each in judged.found if each.phase == seen.failure.phase)
    answered = seen.http is None or seen.http.status < 400
    named = bool(path.expect.codes or path.expect.phase)
    return None if answered or not named else next((each for each in judged.found if each.phase in ("http", "policy")), None)


def _by_the_peer(seen: Observation) -> bool:
    """Whether the other side refused on purpose: a dead port or silence proves no policy."""
    failure = seen.failure
    if failure is None or failure.kind in ("timeout", "certificate"):
        return False
    return failure.phase in _REFUSALS or (failure.phase == "http" and failure.kind in ("closed", "reset"))


def context_of(path: Path, seen: Observation | None, found: Found | None) -> Context:
    """What the sentence of a cause may name."""
    tls, http = path.tls, path.http
    host = (http.host if http else "") or (tls.verify_name if tls else "") or path.address
    return Context(
        target=path.target,
        address=path.address,
        port=str(path.port),
        sni=tls.sni if tls else "",
        host=host,
        path=http.path if http else "/",
        name=tls.verify_name if tls else "",
        ca=(tls.ca_file or "the given CA") if tls else "",
        cert=tls.client.cert_file if tls and tls.client else "",
        status=str(seen.http.status) if seen and seen.http else "",
        detail=found.detail if found else "",
    )


def _sent(path: Path) -> dict[str, str]:
    """What was sent that decides the outcome."""
    tls, http = path.tls, path.http
    client = tls.client if tls else None
    return {
        "sni": tls.sni if tls else "",
        "verify_name": tls.verify_name if tls else "",
        "ca": tls.ca_file if tls else "",
        "client_certificate": ("foreign" if client.foreign else client.cert_file) if client else "",
        "http_version": http.version if http else "",
        "host": http.host if http else "",
        "path": http.path if http else "",
    }


def _reached(seen: Observation) -> str:
    done = [phase for phase in PHASES if phase in seen.times]
    return done[-1] if done else ""


def _phases(path: Path, seen: Observation, judged: Judged) -> list[Check]:
    """One check for each phase that the path has: ok, failed, or skipped because an earlier one failed."""
    wanted = {"dns", "tcp"} | ({"proxy_protocol"} if path.proxy_protocol else set()) | ({"http"} if path.http else set())
    wanted |= {"tls_handshake", "tls_first_read"} if path.tls else set()
    checks: list[Check] = []
    blocked = ""
    for phase in (each for each in PHASES if each in wanted):
        if blocked:
            checks.append({"check": phase, "status": "skipped", "observed": f"blocked by {blocked}"})
        elif phase in seen.not_tested:
            checks.append(not_tested(phase, seen.not_tested[phase]))
        elif seen.failure and seen.failure.phase == phase:
            code = next((each.code for each in judged.found if each.phase == phase), "")
            checks.append(failed(phase, seen.failure.text or seen.failure.kind, code=code))
            blocked = phase
        elif phase in seen.times or phase == "tls_first_read":
            checks.append(passed(phase, f"{seen.times[phase]} ms" if phase in seen.times else "no certificate was asked for"))
        else:
            blocked = "the deadline"
            checks.append({"check": phase, "status": "skipped", "observed": f"blocked by {blocked}"})
    return checks


def _tls_result(seen: Observation, judged: Judged) -> dict[str, Any] | None:
    if seen.tls is None:
        return None
    return {
        "version": seen.tls.version,
        "cipher": seen.tls.cipher,
        "alpn": seen.tls.alpn,
        "chain": judged.chain,
        "chain_complete": seen.tls.chain_from == "chain",
        "verify": judged.verify,
        "unfit": judged.unfit,
        "certificate_requested": seen.tls.requested,
        "authorities": [name_text(base64.b64decode(each)) for each in seen.tls.authorities],
        "alert": seen.failure.alert if seen.failure else None,
        "library": seen.tls.library,
    }


def _facts(encoded: str) -> dict[str, Any]:
    try:
        return facts(base64.b64decode(encoded))
    except pem.PemError as error:
        return {"error": error.sentence}


def _subject(leaf: dict[str, Any]) -> str:
    return str(leaf.get("subject") or ", ".join(leaf.get("sans", [])))


def _spiffe_only(leaf: dict[str, Any]) -> bool:
    sans = leaf.get("sans", [])
    return bool(sans) and all(san.startswith("URI:") for san in sans)


def _observed(seen: Observation, cause: Found | None) -> str:
    if seen.failure:
        alert = f", alert {seen.failure.alert}" if seen.failure.alert is not None else ""
        return short(f"{seen.failure.phase}: {seen.failure.kind} ({seen.failure.text}{alert})")
    if cause and seen.http is None:
        return short(cause.detail or cause.code)
    if seen.http:
        shown = short(_TAG.sub(" ", seen.http.body), 60) if cause else ""
        return f"HTTP {seen.http.status} {shown}".rstrip()
    return f"TLS {seen.tls.version}" if seen.tls else "connected"


def _expected(path: Path) -> str:
    expect = path.expect
    if expect.refused:
        how = " or ".join(expect.codes) or ", ".join(expect.phase)
        return f"refused ({how})" if how else "refused"
    if path.http is None:
        return "a TLS connection that stays open" if path.tls else "a connection"
    return f"HTTP {statuses(expect)}"
