# SPDX-License-Identifier: GPL-3.0-or-later
"""One root cause, from nginx's configuration and the results of the probes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .._address import join
from .._nginx.read import sharing
from .._nginx.read.effective import Effective
from .._probe.causes import CAUSES, Context
from .borrowed import borrowed
from .hostfacts import Facts
from .ladder import CORRECTED, TCP, THROUGH, Result, turn_names

# With these nginx, or its silence, blames the next hop: the cause is there.
_NEXT_HOP = ("NGINX_BAD_GATEWAY", "NGINX_UPSTREAM_TIMEOUT", "HTTP_TIMEOUT", "HTTP_NO_ANSWER", "UNEXPECTED_STATUS")


@dataclass
class Named:
    """A cause as the diagnosis shows it; ``place`` is the file and line for the fix, ``doc`` the chapter of the documentation."""

    code: str
    why: str
    fix: str
    place: str = ""
    doc: str = ""


@dataclass
class Diagnosis:
    """The whole answer.

    ``cause`` is None on a healthy path; ``then`` are the causes that its fix would uncover, ``findings`` faults that cause no failure now.
    """

    host: str
    path: str
    healthy: bool = True
    cause: Named | None = None
    then: list[Named] = field(default_factory=list)
    findings: list[Named] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    nginx: dict[str, Any] = field(default_factory=dict)
    evidence: list[dict[str, Any]] = field(default_factory=list)


def diagnose(
    way: Effective | None,
    host: str,
    path: str,
    results: list[Result],
    steps: Sequence[Result] = (),
    facts: Facts | None = None,
    turns: Sequence[Result] = (),
    broken: str = "",
) -> Diagnosis:
    """The verdict. ``results``, ``steps`` and ``turns`` are edge_probe's results for what the functions of :mod:`ladder` ask.

    :param way: the request's way through nginx, None where there is no nginx or its configuration can't be read.
    :param results: for :func:`ladder.first_look`.
    :param steps: for :func:`ladder.ladder`.
    :param turns: for :func:`ladder.turns`.
    :param broken: the error for which nginx refuses the configuration on disk.
    """
    diagnosis = Diagnosis(host=host, path=path, evidence=[_evidence(each) for each in [*results, *steps]])
    if broken:
        diagnosis.cause = _named("NGINX_CONFIG_BROKEN", detail=broken)
    elif way is None or way.listen is None:
        diagnosis.cause = _without_nginx(way, host, results, diagnosis)
    else:
        _with_nginx(way, results, steps, facts or Facts(), turns, diagnosis)
    if way and way.proxy:
        for each in (diagnosis.cause, *diagnosis.then, *diagnosis.findings):
            if each:
                each.why, each.fix = way.proxy.own(each.why), way.proxy.own(each.fix)
    diagnosis.healthy = diagnosis.cause is None
    return diagnosis


def _without_nginx(way: Effective | None, host: str, results: list[Result], diagnosis: Diagnosis) -> Named | None:
    if not results:
        return _named("NOT_TESTED", detail="there is neither an nginx nor a gateway to ask")
    if way is None:
        diagnosis.notes.append("No nginx configuration was found on this host; the probes are those of any client.")
    bad = next((each for each in results if _broken(each)), None)
    if bad:
        return _from_result(bad)
    if way is not None:
        return _named("NGINX_NO_SERVER", host=host, detail="it has no http server at all")
    for each in results:
        unfit, reason = _unfit(each)
        code = {"CERT_EXPIRED": "SERVER_CERT_EXPIRED", "NAME_MISMATCH": "UPSTREAM_NAME_MISMATCH"}.get(unfit, "")
        if code:
            return _named(code, target=each["target"], sni=host, host=host, name=host, detail=reason)
    return None


def _with_nginx(
    way: Effective, results: list[Result], steps: Sequence[Result], facts: Facts, turns: Sequence[Result], diagnosis: Diagnosis
) -> None:
    diagnosis.nginx = _summary(way)
    diagnosis.notes += way.notes
    through = next(each for each in results if each["name"] == THROUGH)
    replays = []
    for each in results:
        if each["code"] == "NOT_TESTED":
            diagnosis.notes.append(f"{each['name']}: {each['sentence']}")
        elif each["name"] != THROUGH:
            replays.append(each)
    borrows, lends = _by_turns(way, replays, turns, diagnosis)
    diagnosis.findings = [*lends, *_findings(way, through)]
    diagnosis.cause = _cause(way, through, replays, steps, facts, diagnosis)
    if borrows and _healthy(through):
        diagnosis.cause = borrows  # the path works only by this, whatever else is wrong
    elif borrows:
        lends.insert(0, borrows)  # alone the request fails, after the other one it works
        diagnosis.findings.insert(0, borrows)
    diagnosis.then = _then(way, results, steps, diagnosis.cause)
    named = {each.code for each in (diagnosis.cause, *diagnosis.then) if each}
    diagnosis.findings = [each for each in diagnosis.findings if each.code not in named or each in lends]
    if not way.by_name:
        diagnosis.notes.append(f"No server has the name {way.host}; the default server at {way.server} answers.")


def _cause(
    way: Effective, through: Result, replays: list[Result], steps: Sequence[Result], facts: Facts, diagnosis: Diagnosis
) -> Named | None:
    if through["code"] in TCP:
        return _named("NGINX_NOT_RUNNING", target=through["target"])
    if way.passed:
        return _passed_on(way, through, replays, facts, diagnosis)
    if through["phase"] in ("tls_handshake", "tls_first_read") and through["code"]:
        return _named("NGINX_HANDSHAKE", way.server, host=way.host, detail=through["observed"])
    if way.asks_client_certificate and through["code"] == "CLIENT_CERT_MISSING":
        diagnosis.notes.append("nginx demands a client certificate, which the probe does not have: the way through nginx was not tested.")
        through = {**through, "code": "", "ok": True}
    if way.proxy is None:
        return _without_proxy(way, through, diagnosis)
    bad = [each for each in replays if _broken(each)]
    if not bad:
        return _only_nginx(way, through, replays, facts)
    if _healthy(through):
        return _only_replay(way, bad, replays, steps, diagnosis)
    return _of_replay(way, bad[0], steps)


def _passed_on(way: Effective, through: Result, beyond: list[Result], facts: Facts, diagnosis: Diagnosis) -> Named | None:
    """nginx passes TLS on unopened, so clients see the faults of the next hop."""
    asked = [each for each in (through, *beyond) if each["code"] == "CLIENT_CERT_MISSING"]
    if len(asked) == len(beyond) + 1:
        diagnosis.notes.append("The gateway demands a client certificate, which the probe does not have: nothing behind it was tested.")
        return None
    bad = [each for each in beyond if _broken(each)]
    if _healthy(through):
        if bad:
            diagnosis.notes.append(f"{len(bad)} of {len(beyond)} addresses to which nginx passes TLS fail; nginx uses the others.")
        return None
    if bad:
        return _from_result(bad[0], way.server)
    if facts.newer_files:
        return _named("NGINX_NOT_RELOADED", detail=f": {', '.join(facts.newer_files[:3])} changed after its workers started")
    if facts.selinux_denies:
        return _named("SELINUX_BOOLEAN", target=beyond[0]["target"])
    return _named("NGINX_UNLIKE_REPLAY", way.server, detail=f": nginx {way.answer}, and a client sees {through['observed']}")


def _without_proxy(way: Effective, through: Result, diagnosis: Diagnosis) -> Named | None:
    if not way.by_name and through["code"]:
        return _named("NGINX_NO_SERVER", way.server, host=way.host, detail=f"the default server answers {through['observed']}")
    if way.answer.startswith("return 3") and not through["code"]:
        diagnosis.notes.append(f"nginx redirects this request ({way.answer}); nothing behind it was probed.")
    elif through["code"]:
        detail = f"{way.location_place or way.server} {way.answer or 'has no proxy_pass'}, and the answer is {through['observed']}"
        return _named("NGINX_NOT_PROXYING", way.location_place or way.server, path=way.path, target="<gateway>", detail=detail)
    else:
        diagnosis.notes.append(f"nginx answers this request itself ({way.answer}); nothing behind it was probed.")
    return None


def _only_nginx(way: Effective, through: Result, replays: list[Result], facts: Facts) -> Named | None:
    """The replay works: the cause, if there is one, is nginx itself."""
    if _healthy(through):
        return None
    if through["code"] not in _NEXT_HOP and through["code"] not in ("HOST_NOT_ROUTED", "HTTP10_UPSTREAM"):
        return _from_result(through, way.location_place)
    if not replays:
        known = way.proxy is not None and way.proxy.addresses
        unknown = "the same request past nginx could not be sent" if known else "its configuration does not tell where it sends the request"
        detail = f"nginx answers {through['observed']}, and {unknown}"
        return _named("NOT_TESTED", way.location_place, detail=detail)
    if facts.newer_files:
        return _named("NGINX_NOT_RELOADED", detail=f": {', '.join(facts.newer_files[:3])} changed after its workers started")
    if facts.selinux_denies:
        return _named("SELINUX_BOOLEAN", target=replays[0]["target"])
    proxy = way.proxy
    if proxy and proxy.ssl_name_varies and proxy.keepalive and through["code"] == "HOST_NOT_ROUTED":
        return _named("STALE_SNI_KEEPALIVE", proxy.places.get("proxy_ssl_name", ""), host=way.host, detail=way.location_place)
    shared = sharing.own(way)
    if shared:
        return _named("UPSTREAM_IDENTITY_SHARED", way.location_place, target=shared.address, detail=sharing.said(shared))
    return _named("NGINX_UNLIKE_REPLAY", way.location_place, detail=f": nginx answers {through['observed']}")


def _only_replay(way: Effective, bad: list[Result], replays: list[Result], steps: Sequence[Result], diagnosis: Diagnosis) -> Named | None:
    """nginx works and the replay fails: another address still works, a location lends its identity, or the replay is not exact."""
    if len(bad) == len(replays):
        if sharing.own(way):
            # only the TLS session or connection of another location can have let it in
            return _borrowed(way, way.host, diagnosis.path, way.location_place, f"it is let in, and alone it is refused ({bad[0]['code']})")
        if way.notes:
            diagnosis.notes.append("The replay fails while nginx works: it may differ from the request of nginx (see above).")
            return None
    else:
        diagnosis.notes.append(f"{len(bad)} of {len(replays)} upstream addresses fail; nginx uses the others.")
    return _of_replay(way, bad[0], steps)


def _of_replay(way: Effective, result: Result, steps: Sequence[Result]) -> Named:
    """The cause that the replay shows; the fix is a directive for this configuration."""
    code, proxy = result["code"], way.proxy
    if proxy is None:
        return _from_result(result)
    named = _from_result(result, _where(way, code))
    working = _working(steps)
    right = _ladder(working) or proxy.sni or way.host
    if code in ("NO_SNI", "WRONG_SNI", "UPSTREAM_NAME_MISMATCH", "MISDIRECTED_REQUEST"):
        named.fix = f"proxy_ssl_server_name on; proxy_ssl_name {right};"
    elif code == "HOST_NOT_ROUTED":
        sent = working.rpartition("Host ")[2] if "Host " in working else ""
        named.fix = f"proxy_set_header Host {'$host' if sent in ('', way.host) else sent};"
        if way.lost_host:
            named.why += f" The Host header set at {way.lost_host} is lost: the location sets headers of its own, so it inherits none."
    elif code in ("CONNECTION_REFUSED", "CONNECT_TIMEOUT"):
        other = next((each for each in steps if each["name"].startswith("gateway ") and each["code"] not in TCP), None)
        if other:
            named.why += f" The gateway is at {other['target']}."
            named.fix = f"server {other['target']};" if proxy.upstream else f"proxy_pass https://{other['target']};"
    elif code in ("TLS_TO_PLAINTEXT_PORT", "PLAINTEXT_TO_TLS_PORT") and proxy.upstream:
        named.fix = f"proxy_pass {'http' if proxy.scheme == 'https' else 'https'}://{proxy.upstream};"
    return named


def _working(steps: Sequence[Result]) -> str:
    """Name of the probe that works with the fewest corrections, "" where none works."""
    return next((str(each["name"]) for each in steps if _ladder(each["name"]) and not _broken(each)), "")


def _ladder(name: str) -> str:
    """The server name for which a probe was corrected, "" for other probes."""
    return name[len(CORRECTED) :].partition(": ")[0] if name.startswith(CORRECTED) else ""


def _then(way: Effective, results: list[Result], steps: Sequence[Result], cause: Named | None) -> list[Named]:
    """The causes behind the first one, found on the way to the probe that works, or along the longest ladder."""
    reached = next((each for each in results if each["name"] != THROUGH and _broken(each) and each["code"] not in TCP), None)
    if cause is None or reached is None or cause.code != reached["code"]:
        return []
    ladders: dict[str, list[Result]] = {"": []}
    for each in steps:
        if _ladder(each["name"]):
            ladders.setdefault(_ladder(each["name"]), []).append(each)
    best = [reached, *min(ladders.values(), key=lambda ladder: (all(_broken(each) for each in ladder), -len(ladder)))]
    found: dict[str, Named] = {}
    for each in best:
        for check in each["checks"]:
            code = check.get("code", "")
            if check["status"] == "failed" and code in CAUSES and code != cause.code and code not in found:
                named = _of_replay(way, {**each, "code": code, **_sentence_of(each, code, check)}, steps)
                found[code] = named
        if not _broken(each):
            break
    return [named for code, named in found.items() if code != "UNEXPECTED_STATUS"]


def _sentence_of(result: Result, code: str, check: dict[str, Any]) -> dict[str, str]:
    """Sentence and fix of a cause that is not the result's own, but was seen in one of its checks."""
    if result["code"] == code:
        return {}
    row = CAUSES[code]
    address, _colon, port = result["target"].rpartition(":")
    sent = result["sent"]
    context = Context(
        target=result["target"], address=address, port=port, sni=sent["sni"], host=sent["host"], path=sent["path"],
        name=sent["verify_name"], ca=sent["ca"], cert=sent["client_certificate"],
        detail=str(check.get("observed", "")).rpartition(": ")[2].rstrip("."),
    )  # fmt: skip
    return {"sentence": row.sentence(context), "fix": row.remedy(context), "doc": row.anchor}


def _findings(way: Effective, through: Result) -> list[Named]:
    """Faults of the configuration that cause no failure now."""
    proxy, found = way.proxy, []
    for shared in way.shared:
        found.append(_named("UPSTREAM_IDENTITY_SHARED", shared.places[0], target=shared.address, detail=sharing.said(shared)))
    if proxy and proxy.scheme == "https":
        if not proxy.verify:
            found.append(_named("UPSTREAM_NOT_VERIFIED", proxy.places.get("proxy_ssl_verify") or way.location_place))
        names = [name for name in way.server_names if name]
        several = len(names) > 1 or any("*" in name or name.startswith(("~", ".")) for name in names)
        if proxy.ssl_name_varies and proxy.keepalive and several and proxy.sni:
            detail = f"server {way.server} has the names {', '.join(names)}"
            found.append(_named("STALE_SNI_KEEPALIVE", proxy.places.get("proxy_ssl_name", ""), host=way.host, detail=detail))
    unfit, reason = _unfit(through)
    code = {"CERT_EXPIRED": "LISTEN_CERT_EXPIRED", "NAME_MISMATCH": "LISTEN_CERT_NAME"}.get(unfit, "")
    if code:
        found.append(_named(code, way.server, host=way.host, target=through["target"], detail=reason))
    return found


def _unfit(result: Result) -> tuple[str, str]:
    """(code, reason) why the server's certificate is no good under any CA; two empty texts for a good one."""
    code, _colon, reason = str((result.get("tls") or {}).get("unfit", "")).partition(": ")
    return code, reason.rstrip(".")


def _by_turns(way: Effective, replays: list[Result], turns: Sequence[Result], diagnosis: Diagnosis) -> tuple[Named | None, list[Named]]:
    """(this request arrived with the identity of another one, other requests that arrived with its identity)."""
    by_name = {each["name"]: each for each in turns}
    alone = next((each for each in replays if each["code"] not in TCP), None)
    borrows, lends = None, []
    for each in way.neighbours:
        names = turn_names(each, way.host, diagnosis.path)
        after, other_after, other_alone = (by_name.get(name) for name in names)
        if alone and after and not way.notes and (clause := borrowed(alone, after)):
            borrows = borrows or _borrowed(way, way.host, diagnosis.path, way.location_place, f"after {each.host}{each.path} {clause}")
            diagnosis.evidence.append(_evidence(after))
        if other_after and other_alone and (clause := borrowed(other_alone, other_after)):
            lends.append(_borrowed(way, each.host, each.path, each.place, f"after {way.host}{diagnosis.path} {clause}"))
            diagnosis.evidence += [_evidence(other_after), _evidence(other_alone)]
    return borrows, lends


def _borrowed(way: Effective, host: str, path: str, place: str, clause: str) -> Named:
    shared = sharing.own(way)
    why = sharing.said(shared) if shared else "the configuration on disk shares no upstream, so nginx runs an older one"
    target = join(*way.proxy.addresses[0]) if way.proxy and way.proxy.addresses else ""
    return _named("IDENTITY_BORROWED", place, host=host, path=path, target=target, detail=f"{clause} ({why})")


def _broken(result: Result) -> bool:
    """Whether a probe shows a fault of the path; an error that the application answers is none."""
    if not result["code"]:
        return False
    return not (result["code"] == "UNEXPECTED_STATUS" and result.get("http") is not None)


def _healthy(through: Result) -> bool:
    """Whether the way through nginx works; any status that the application answers counts as working."""
    return not _broken(through) and not ((through.get("http") or {}).get("status") in (502, 504) and not _application(through))


def _application(result: Result) -> bool:
    return "x-envoy-upstream-service-time" in ((result.get("http") or {}).get("headers") or {})


def _where(way: Effective, code: str) -> str:
    """Place of the directive to change, else of the location that lacks it."""
    directives = {
        "NO_SNI": ("proxy_ssl_server_name",),
        "WRONG_SNI": ("proxy_ssl_name", "proxy_ssl_server_name"),
        "UPSTREAM_NAME_MISMATCH": ("proxy_ssl_name",),
        "HTTP10_UPSTREAM": ("proxy_http_version",),
        "HOST_NOT_ROUTED": ("proxy_set_header Host",),
        "WRONG_TRUST_ANCHOR": ("proxy_ssl_trusted_certificate",),
        "TRUST_NEEDS_ROOT": ("proxy_ssl_trusted_certificate",),
        "VERIFY_DEPTH": ("proxy_ssl_verify_depth",),
        "TLS_VERSION_GAP": ("proxy_ssl_protocols",),
        "CLIENT_CERT_UNTRUSTED": ("proxy_ssl_certificate",),
        "CLIENT_CERT_EXPIRED": ("proxy_ssl_certificate",),
        "EKU_NO_CLIENTAUTH": ("proxy_ssl_certificate",),
    }.get(code, ())
    places = way.proxy.places if way.proxy else {}
    found = next((places[name] for name in directives if places.get(name)), "")
    if not found and code in (*TCP, "TLS_TO_PLAINTEXT_PORT", "PLAINTEXT_TO_TLS_PORT"):
        found = places.get("proxy_pass", "")
    return found or way.location_place or way.server


def _from_result(result: Result, place: str = "") -> Named:
    return Named(result["code"], result["sentence"], result["fix"], place, result["doc"])


def _named(code: str, place: str = "", **context: str) -> Named:
    row, values = CAUSES[code], Context(**context)
    return Named(code, row.sentence(values), row.remedy(values), place, row.anchor)


def _summary(way: Effective) -> dict[str, Any]:
    """The part of the configuration that matters, for the report."""
    proxy = way.proxy
    shown: dict[str, Any] = {
        "version": way.version,
        "server": way.server,
        "by_name": way.by_name,
        "location": way.location,
        "location_place": way.location_place,
        "listen": f"{way.listen.port}{' ssl' if way.listen.tls else ''}" if way.listen else "",
        "answer": way.answer,
    }
    if proxy:
        shown["upstream"] = {
            "target": proxy.target, "addresses": [join(*address) for address in proxy.addresses], "http_version": proxy.http_version,
            "host": proxy.host, "sni": proxy.sni, "verify": proxy.verify, "verified_name": proxy.ssl_name if proxy.verify else "",
            "ca": proxy.ca, "client_certificate": proxy.certificate, "protocols": proxy.protocols, "keepalive": proxy.keepalive,
        }  # fmt: skip
    return shown


def _evidence(result: Result) -> dict[str, Any]:
    return {key: result[key] for key in ("name", "target", "vantage", "ok", "phase", "code", "observed", "times", "started")}
