# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a probe saw to a verdict on one proof, and the rules that every kind of path may use."""

from __future__ import annotations

from collections import ChainMap
from dataclasses import replace
from typing import Any, Optional

from .._address import ip
from .._mesh import accesslog
from .._probe import echo
from .._probe.causes import CAUSES
from .kind import Kind
from .model import WEBSOCKET_ACCEPT
from .verdict import NOT_TESTED, OK, Case, Evidence, Result, Rule, Verdict, begins, by_probe, not_tested, seen

NO_ECHO = "the answer does not show the request's headers, so what the app received can't be seen"


def judge(kind: Kind, proof: dict[str, Any], result: Optional[Result], evidence: Evidence) -> Verdict:
    """The verdict on one proof by itself, before its control is looked at."""
    if not proof["probe"]:
        return not_tested(proof["reason"] or "no probe was planned")
    if result is None:
        return not_tested(f"{proof['vantage']} brought no result: {evidence.trouble.get(proof['vantage'], 'the probe did not run')}")
    untested = [check["observed"] for check in result["checks"] if check["status"] == NOT_TESTED]
    if untested:
        return not_tested(untested[0])
    rule = kind.rules.get(proof["judge"]) or RULES[proof["judge"]]
    if not result["ok"] and not rule.any_answer:
        return by_probe(result)
    return rule.decide(Case(proof, result, evidence, kind.chain, ChainMap(dict(kind.causes), CAUSES), rule.code))


def _as_probed(case: Case) -> Verdict:
    return by_probe(case.result)


def _session(case: Case) -> Verdict:
    """A verified session: what was agreed on, and whose certificate was shown."""
    tls = case.result["tls"]
    leaf = tls["chain"][0]
    names = ", ".join(name.partition(":")[2] for name in leaf["sans"]) or leaf["subject"]
    return Verdict(OK, f"TLS {tls['version']} {tls['cipher']}; {names}, signed by {leaf['issuer']}")


def _answer(case: Case) -> Verdict:
    times = case.result.get("attempts") or 1
    return Verdict(OK, f"{times} times {seen(case.result)}" if times > 1 else seen(case.result))


def _old_tls(case: Case) -> Verdict:
    if (case.result["tls"] or {}).get("alert") is None:
        return not_tested("the TLS library of the probing host itself refuses to offer TLS 1.1")
    return by_probe(case.result)


def _alpn(case: Case) -> Verdict:
    chosen = (case.result.get("tls") or {}).get("alpn") or "(none)"
    return case.compare(chosen == case.wanted["alpn"], f"ALPN {chosen}")


def _redirect(case: Case) -> Verdict:
    location = case.headers.get("location", "(nowhere)")
    return case.compare(location == case.wanted["location"], f"{seen(case.result)} to {location}")


def _header(case: Case) -> Verdict:
    name = case.wanted["header"]
    value = case.headers.get(name)
    return case.compare(value is not None, f"no {name}" if value is None else f"{name}: {value}")


def _offers(case: Case) -> Verdict:
    said = case.headers.get("alt-svc", "(none)")
    return case.compare(case.wanted["offer"] in said, f"Alt-Svc: {said}")


def _websocket(case: Case) -> Verdict:
    accept = case.headers.get("sec-websocket-accept", "(none)")
    return case.compare(accept == WEBSOCKET_ACCEPT, f"{seen(case.result)}, accept key {accept}")


def _client_address(case: Case) -> Verdict:
    headers, own = case.received, case.result["source"]
    if headers is None:
        return not_tested(NO_ECHO)
    arrived = headers.get("x-forwarded-for", "(none)")
    good = begins(arrived, own)
    verdict = case.compare(good, f"X-Forwarded-For: {arrived}" + ("" if good else f"; {case.proof['vantage']} is {own}"))
    return replace(verdict, saw={case.chain.nodes[-1].key: arrived.partition(",")[0].strip()})


def _scheme(case: Case) -> Verdict:
    headers = case.received
    if headers is None:
        return not_tested(NO_ECHO)
    arrived = headers.get("x-forwarded-proto", "(none)")
    return case.compare(arrived == "https", f"X-Forwarded-Proto: {arrived}")


def _client_identity(case: Case) -> Verdict:
    """The certificate whose SHA-256 the plan knows is the one that the mesh saw."""
    headers, file, deployed = case.received, case.wanted["cert_file"], case.wanted["sha256"]
    if headers is None:
        return not_tested(NO_ECHO)
    if not deployed:
        return not_tested(f"{file} on {case.proof['through']} could not be read")
    shown = [element.get("hash", "").lower() for element in echo.client_certificates(headers.get("x-forwarded-client-cert", ""))]
    if deployed in shown:
        return Verdict(OK, f"Hash={deployed}")
    return case.failed(f"Hash={shown[0] if shown else '(none)'}; the file has {deployed}")


def _mesh_identity(case: Case) -> Verdict:
    headers = case.received
    if headers is None:
        return not_tested(NO_ECHO)
    for element in echo.client_certificates(headers.get("x-forwarded-client-cert", "")):
        app, gateway = element.get("by", ""), element.get("uri", "")
        if app.startswith("spiffe://") and gateway.startswith("spiffe://"):
            return Verdict(OK, f"{gateway} → {app}")
    return not_tested("the app received no X-Forwarded-Client-Cert with two SPIFFE identities: it has no sidecar, or the sidecar hides it")


def _forged(case: Case) -> Verdict:
    headers, lie = case.received, case.wanted["absent"]
    if headers is None:
        return not_tested(NO_ECHO)
    arrived = [f"{name}: {value}" for name, value in sorted(headers.items()) if lie in value]
    return case.compare(not arrived, arrived[0] if arrived else f"the app received no {lie}")


def _access_log(case: Case) -> Verdict:
    if case.evidence.log is None:
        return not_tested(case.evidence.no_log)
    entry = accesslog.find(case.evidence.log, case.wanted["user_agent"])
    if entry is None:
        return not_tested("the gateway's log has no line of this request: the mesh writes no access log, or in a format without user agent")
    protocol, sni, source = (entry.get(key) or "(none)" for key in ("protocol", "requested_server_name", "x_forwarded_for"))
    good = protocol == case.wanted["protocol"] and sni == case.wanted["sni"] and begins(source, case.result["source"])
    verdict = case.compare(good, f"{protocol}, SNI {sni}, X-Forwarded-For {source}")
    # The last proxy of the chain is the gateway whose log this is. The last address is its own addition, those before it are the other
    # proxies'. Whom the gateway takes for the client, and a list of addresses goes by, depends on how many of them it trusts.
    *others, gateway = case.chain.proxies
    added = dict(zip(reversed(others), reversed(accesslog.forwarded(entry)[:-1])))
    return replace(verdict, saw={**added, gateway: ip(accesslog.remote(entry))})


RULES: dict[str, Rule] = {
    "": Rule(_as_probed),
    "session": Rule(_session),
    "answer": Rule(_answer),
    "old_tls": Rule(_old_tls),
    "alpn": Rule(_alpn, "HTTP2_OFF"),
    "redirect": Rule(_redirect, "REDIRECT_ELSEWHERE"),
    "header": Rule(_header, "NOT_THROUGH_MESH"),
    "offers": Rule(_offers, "HTTP3_NOT_OFFERED"),
    "websocket": Rule(_websocket, "WEBSOCKET_BROKEN"),
    "client_address": Rule(_client_address, "CLIENT_ADDRESS_LOST"),
    "scheme": Rule(_scheme, "SCHEME_LOST"),
    "client_identity": Rule(_client_identity, "OTHER_CLIENT_IDENTITY"),
    "mesh_identity": Rule(_mesh_identity),
    "forged": Rule(_forged, "FORGED_HEADER_PASSED"),
    "access_log": Rule(_access_log, "ACCESS_LOG_DISAGREES"),
}
