"""From what a probe saw to a verdict on one proof. Every rule is a function of one shape, chosen by ``Proof.judge``."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from .._diagnose import borrowed
from .._mesh import accesslog
from .._probe import echo
from .._probe.causes import Context
from .causes import CAUSES
from .model import CALLED_UPSTREAM, WEBSOCKET_ACCEPT

OK, FAILED, NOT_TESTED = "ok", "failed", "not_tested"

Result = dict[str, Any]

# RFC 8446 §6
_ALERTS = {
    40: "handshake failure",
    42: "bad certificate",
    43: "unsupported certificate",
    45: "certificate expired",
    46: "certificate unknown",
    48: "unknown CA",
    70: "protocol version",
    112: "unrecognized name",
    116: "certificate required",
}
_CUT_OFF = {"tls_handshake": "in the TLS handshake", "tls_first_read": "on the first read", "http": "instead of an answer"}


@dataclass
class Evidence:
    """What a verdict may rest on besides the probe.

    :param fingerprints: SHA-256 of the first certificate in a file, by VM and path.
    :param log: lines of the gateways' access logs, or None with the reason in ``no_log``.
    :param trouble: why a vantage point brought no results, by its name.
    :param beside: what the probes saw that others are compared with, by their names.
    """

    fingerprints: dict[str, dict[str, str]] = field(default_factory=dict)
    log: Optional[list[str]] = None
    no_log: str = "the gateways' logs were not read"
    trouble: dict[str, str] = field(default_factory=dict)
    beside: dict[str, Result] = field(default_factory=dict)


@dataclass
class Verdict:
    """What became of a proof. ``why`` with ``code`` and ``fix`` is the cause of a failure; alone, the reason why it was not tested.

    ``root`` is the id of the proof that explains this one. ``saw`` is whom each hop took the request to come from: addresses by hop
    ("nginx", "gateway", "app").
    """

    status: str
    observed: str = ""
    why: str = ""
    code: str = ""
    fix: str = ""
    root: str = ""
    saw: dict[str, str] = field(default_factory=dict)


def judge(proof: dict[str, Any], result: Optional[Result], evidence: Evidence) -> Verdict:
    """The verdict on one proof by itself, before its control is looked at."""
    if proof["wanted"].get("verify") is False:
        return _failed("UPSTREAM_NOT_VERIFIED", "proxy_ssl_verify off, or no proxy_ssl_trusted_certificate")
    if not proof["probe"]:
        return _not_tested(proof["reason"] or "no probe was planned")
    if result is None:
        return _not_tested(f"{proof['vantage']} brought no result: {evidence.trouble.get(proof['vantage'], 'the probe did not run')}")
    untested = [check["observed"] for check in result["checks"] if check["status"] == NOT_TESTED]
    if untested:
        return _not_tested(untested[0])
    rule = _RULES[proof["judge"]]
    if not result["ok"] and rule not in _JUDGE_ANY_ANSWER:
        return _by_probe(result)
    return rule(proof, result, evidence)


def _failed(code: str, observed: str, **context: str) -> Verdict:
    cause, values = CAUSES[code], Context(**context)
    return Verdict(FAILED, observed, cause.sentence(values), code, cause.remedy(values))


def _not_tested(why: str) -> Verdict:
    return Verdict(NOT_TESTED, why=why)


def _compare(good: bool, code: str, observed: str) -> Verdict:
    return Verdict(OK, observed) if good else _failed(code, observed)


def _by_probe(result: Result) -> Verdict:
    if result["ok"]:
        return Verdict(OK, seen(result))
    return Verdict(FAILED, seen(result), str(result["sentence"]), str(result["code"]), str(result["fix"]))


def seen(result: Result) -> str:
    """What the probe met, for people: an answer, a refusal, or what is wrong with a certificate."""
    http, alert = result.get("http") or {}, (result.get("tls") or {}).get("alert")
    ended = next((check["check"] for check in result["checks"] if check["status"] == FAILED and check["check"] in _CUT_OFF), "")
    if http:
        return f"HTTP/{http['version']} {http['status']}"
    if not ended:
        return str(result["observed"])
    return (
        f"TLS alert {alert} ({_ALERTS.get(alert, 'of another kind')}) {_CUT_OFF[ended]}"
        if alert is not None
        else f"cut off {_CUT_OFF[ended]}"
    )


def _as_probed(_proof: dict[str, Any], result: Result, _evidence: Evidence) -> Verdict:
    return _by_probe(result)


def _session(_proof: dict[str, Any], result: Result, _evidence: Evidence) -> Verdict:
    """A verified session: what was agreed on, and whose certificate was shown."""
    tls = result["tls"]
    leaf = tls["chain"][0]
    names = ", ".join(name.partition(":")[2] for name in leaf["sans"]) or leaf["subject"]
    return Verdict(OK, f"TLS {tls['version']} {tls['cipher']}; {names}, signed by {leaf['issuer']}")


def _answer(_proof: dict[str, Any], result: Result, _evidence: Evidence) -> Verdict:
    times = result.get("attempts") or 1
    return Verdict(OK, f"{times} times {seen(result)}" if times > 1 else seen(result))


def _old_tls(_proof: dict[str, Any], result: Result, _evidence: Evidence) -> Verdict:
    if (result["tls"] or {}).get("alert") is None:
        return _not_tested("the TLS library of the probing host itself refuses to offer TLS 1.1")
    return _by_probe(result)


def _setting(proof: dict[str, Any], result: Result, _evidence: Evidence) -> Verdict:
    """One setting of nginx's configuration, tried on the wire."""
    verdict = _by_probe(result)
    verdict.observed = f"{proof['wanted']['setting']} {proof['wanted']['value']}: {verdict.observed}"
    return verdict


def _own_upstream(proof: dict[str, Any], _result: Result, _evidence: Evidence) -> Verdict:
    shared = proof["wanted"]["sharing"]
    if shared:
        return _failed("UPSTREAM_IDENTITY_SHARED", shared, target=proof["target"], detail=shared)
    return Verdict(OK, "one identity for its upstream")


def _identity(proof: dict[str, Any], result: Result, evidence: Evidence) -> Verdict:
    """What came by turns through nginx against the same alone."""
    alone = evidence.beside.get((proof["beside"] or {}).get("name", ""))
    if alone is None:
        return _not_tested("what the request is alone was not seen")
    clause = borrowed.borrowed(alone, result)
    if clause:
        detail = f"{proof['target']}: {clause}"
        return _failed("IDENTITY_BORROWED", clause, target=str(alone["target"]), detail=detail, **_request(proof))
    shown = borrowed.kept(alone, result)
    return Verdict(OK, shown) if shown else _not_tested("the answers do not tell as whom the request arrived (verify_echo_path)")


def _request(proof: dict[str, Any]) -> dict[str, str]:
    return {name: str(proof["wanted"][name]) for name in ("host", "path")}


def _alpn(proof: dict[str, Any], result: Result, _evidence: Evidence) -> Verdict:
    chosen = (result.get("tls") or {}).get("alpn") or "(none)"
    return _compare(chosen == proof["wanted"]["alpn"], "HTTP2_OFF", f"ALPN {chosen}")


def _not_served(_proof: dict[str, Any], result: Result, _evidence: Evidence) -> Verdict:
    """A refusal by nginx, or an error page of its own, is fine; an answer of the app is not."""
    status = _status(result)
    if not status:
        reached = result["phase"] in ("tls_handshake", "tls_first_read", "http")
        return Verdict(OK, seen(result)) if reached else _not_tested(str(result["sentence"]))
    by_app = CALLED_UPSTREAM in _headers(result)
    return _compare(
        status >= 400 and not by_app, "SERVED_TO_ANYBODY", f"{seen(result)}, {'from the app' if by_app else 'not from the app'}"
    )


def _own_disk(_proof: dict[str, Any], result: Result, _evidence: Evidence) -> Verdict:
    by_mesh = CALLED_UPSTREAM in _headers(result) or "envoy" in _headers(result).get("server", "")
    return _compare(not by_mesh, "SERVED_TO_ANYBODY", f"{seen(result)}, {'through the gateway' if by_mesh else 'by nginx itself'}")


def _redirect(proof: dict[str, Any], result: Result, _evidence: Evidence) -> Verdict:
    location = _headers(result).get("location", "(nowhere)")
    return _compare(location == proof["wanted"]["location"], "REDIRECT_ELSEWHERE", f"{seen(result)} to {location}")


def _header(proof: dict[str, Any], result: Result, _evidence: Evidence) -> Verdict:
    name = proof["wanted"]["header"]
    value = _headers(result).get(name)
    return _compare(value is not None, "NOT_THROUGH_MESH", f"no {name}" if value is None else f"{name}: {value}")


def _offers(proof: dict[str, Any], result: Result, _evidence: Evidence) -> Verdict:
    said = _headers(result).get("alt-svc", "(none)")
    return _compare(proof["wanted"]["offer"] in said, "HTTP3_NOT_OFFERED", f"Alt-Svc: {said}")


def _websocket(_proof: dict[str, Any], result: Result, _evidence: Evidence) -> Verdict:
    accept = _headers(result).get("sec-websocket-accept", "(none)")
    return _compare(accept == WEBSOCKET_ACCEPT, "WEBSOCKET_BROKEN", f"{seen(result)}, accept key {accept}")


def _client_address(proof: dict[str, Any], result: Result, _evidence: Evidence) -> Verdict:
    headers, own = _echo(result), result["source"]
    if headers is None:
        return _not_tested(_NO_ECHO)
    arrived = headers.get("x-forwarded-for", "(none)")
    good = _begins(arrived, own)
    verdict = _compare(good, "CLIENT_ADDRESS_LOST", f"X-Forwarded-For: {arrived}" + ("" if good else f"; {proof['vantage']} is {own}"))
    return replace(verdict, saw={"app": arrived.partition(",")[0].strip()})


def _scheme(_proof: dict[str, Any], result: Result, _evidence: Evidence) -> Verdict:
    headers = _echo(result)
    if headers is None:
        return _not_tested(_NO_ECHO)
    arrived = headers.get("x-forwarded-proto", "(none)")
    return _compare(arrived == "https", "SCHEME_LOST", f"X-Forwarded-Proto: {arrived}")


def _client_identity(proof: dict[str, Any], result: Result, evidence: Evidence) -> Verdict:
    headers, file = _echo(result), proof["wanted"]["cert_file"]
    if headers is None:
        return _not_tested(_NO_ECHO)
    deployed = evidence.fingerprints.get(proof["machine"], {}).get(file, "")
    if not deployed:
        return _not_tested(f"{file} on {proof['machine']} could not be read")
    shown = [element.get("hash", "").lower() for element in echo.client_certificates(headers.get("x-forwarded-client-cert", ""))]
    if deployed in shown:
        return Verdict(OK, f"Hash={deployed}")
    return _failed("OTHER_CLIENT_IDENTITY", f"Hash={shown[0] if shown else '(none)'}; the file has {deployed}")


def _mesh_identity(_proof: dict[str, Any], result: Result, _evidence: Evidence) -> Verdict:
    headers = _echo(result)
    if headers is None:
        return _not_tested(_NO_ECHO)
    for element in echo.client_certificates(headers.get("x-forwarded-client-cert", "")):
        app, gateway = element.get("by", ""), element.get("uri", "")
        if app.startswith("spiffe://") and gateway.startswith("spiffe://"):
            return Verdict(OK, f"{gateway} → {app}")
    return _not_tested("the app received no X-Forwarded-Client-Cert with two SPIFFE identities: it has no sidecar, or the sidecar hides it")


def _forged(proof: dict[str, Any], result: Result, _evidence: Evidence) -> Verdict:
    headers, lie = _echo(result), proof["wanted"]["absent"]
    if headers is None:
        return _not_tested(_NO_ECHO)
    arrived = [f"{name}: {value}" for name, value in sorted(headers.items()) if lie in value]
    return _compare(not arrived, "FORGED_HEADER_PASSED", arrived[0] if arrived else f"the app received no {lie}")


def _access_log(proof: dict[str, Any], result: Result, evidence: Evidence) -> Verdict:
    if evidence.log is None:
        return _not_tested(evidence.no_log)
    entry = accesslog.find(evidence.log, proof["wanted"]["user_agent"])
    if entry is None:
        return _not_tested(
            "the gateway's log has no line of this request: the mesh writes no access log, or in a format without user agent"
        )
    protocol, sni, address = (entry.get(key) or "(none)" for key in ("protocol", "requested_server_name", "x_forwarded_for"))
    good = protocol == "HTTP/1.1" and sni == proof["wanted"]["sni"] and _begins(address, result["source"])
    verdict = _compare(good, "ACCESS_LOG_DISAGREES", f"{protocol}, SNI {sni}, X-Forwarded-For {address}")
    # The last address is the gateway's own addition, the one before it nginx's. Whom the gateway takes for the client, and a list of
    # addresses goes by, depends on how many of them it trusts.
    nginx = accesslog.forwarded(entry)[-2:-1]
    return replace(verdict, saw={"nginx": "".join(nginx), "gateway": _address(accesslog.remote(entry))})


def _status(result: Result) -> int:
    return int((result.get("http") or {}).get("status") or 0)


def _headers(result: Result) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in ((result.get("http") or {}).get("headers") or {}).items()}


def _echo(result: Result) -> Optional[dict[str, str]]:
    return echo.received(str((result.get("http") or {}).get("body") or ""))


def _begins(forwarded: str, source: str) -> bool:
    """Whether the first address of an X-Forwarded-For is this one."""
    return _address(forwarded.partition(",")[0]) == _address(source) != ""


def _address(text: str) -> str:
    """An IP address in its one spelling, "" for anything else; IPv4 inside IPv6 is IPv4."""
    try:
        address = ipaddress.ip_address(text.strip().strip("[]"))
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)


_NO_ECHO = "the answer does not show the request's headers, so what the app received can't be seen"

_RULES: dict[str, Callable[[dict[str, Any], Result, Evidence], Verdict]] = {
    "": _as_probed,
    "session": _session,
    "answer": _answer,
    "old_tls": _old_tls,
    "setting": _setting,
    "alpn": _alpn,
    "not_served": _not_served,
    "own_disk": _own_disk,
    "redirect": _redirect,
    "header": _header,
    "offers": _offers,
    "websocket": _websocket,
    "client_address": _client_address,
    "scheme": _scheme,
    "client_identity": _client_identity,
    "mesh_identity": _mesh_identity,
    "forged": _forged,
    "access_log": _access_log,
    "own_upstream": _own_upstream,
    "identity": _identity,
}
# these judge what came back although it isn't what the probe expected
_JUDGE_ANY_ANSWER = (_setting, _not_served, _own_upstream, _identity)
