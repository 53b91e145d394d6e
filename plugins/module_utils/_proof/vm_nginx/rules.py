# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules that only this path has: about nginx's settings, its own answers, and the identities that it lends."""

from __future__ import annotations

from typing import Any

from ..._diagnose import borrowed
from ..model import CALLED_UPSTREAM
from ..verdict import OK, Case, Result, Rule, Verdict, by_probe, not_tested, seen
from . import app


def _setting(case: Case) -> Verdict:
    """One setting of nginx's configuration, tried on the wire."""
    if case.wanted.get("verify") is False:
        prefix = case.proof["context"].get("prefix", "proxy")
        return case.failed(f"{prefix}_ssl_verify off, or no {prefix}_ssl_trusted_certificate")
    verdict = by_probe(case.result)
    verdict.observed = f"{case.wanted['setting']} {case.wanted['value']}: {verdict.observed}"
    return verdict


def _own_upstream(case: Case) -> Verdict:
    shared = case.wanted["sharing"]
    return case.failed(shared, target=case.proof["target"], detail=shared) if shared else Verdict(OK, "one identity for its upstream")


def _identity(case: Case) -> Verdict:
    """What came by turns through nginx against the same alone."""
    alone = case.evidence.beside.get((case.proof["beside"] or {}).get("name", ""))
    if alone is None:
        return not_tested("what the request is alone was not seen")
    clause = borrowed.borrowed(alone, case.result)
    if clause:
        return case.failed(clause, target=str(alone["target"]), detail=f"{case.proof['target']}: {clause}")
    shown = borrowed.kept(alone, case.result)
    return Verdict(OK, shown) if shown else not_tested("the answers do not tell as whom the request arrived (verify_echo_path)")


def _not_served(case: Case) -> Verdict:
    """A refusal by nginx, or an error page of its own, is fine; an answer of the app is not."""
    if not case.status:
        reached = case.result["phase"] in ("tls_handshake", "tls_first_read", "http")
        return Verdict(OK, seen(case.result)) if reached else not_tested(str(case.result["sentence"]))
    by_app = CALLED_UPSTREAM in case.headers
    return case.compare(case.status >= 400 and not by_app, f"{seen(case.result)}, {'from the app' if by_app else 'not from the app'}")


def _neighbour(case: Case) -> Verdict:
    """The probe's own verdict, with words that say whose route it is."""
    if case.result["ok"]:
        return Verdict(OK, seen(case.result))
    return case.failed(seen(case.result), detail=str(case.result["sentence"]).rstrip("."))


def _stranger(case: Case) -> Verdict:
    """A stranger must not get the neighbour's answer; nginx has to be there, for nobody there proves nothing.

    An app's answer may differ each time. So an answer is told apart by the header that Envoy adds, or where a stranger gets an error page.
    """
    result, route = case.result, case.evidence.beside.get((case.proof["beside"] or {}).get("name", ""))
    if route is None or not (case.status or result["phase"] in ("tls_handshake", "tls_first_read", "http")):
        return not_tested(str(result["sentence"]) or "what the route itself answers was not seen")
    differs = _shown(result) != _shown(route) and not 0 < case.status < 400
    return case.compare(CALLED_UPSTREAM not in case.headers and (differs or _by_app(route)), seen(result))


def _by_app(result: Result) -> bool:
    return CALLED_UPSTREAM in map(str.lower, (result.get("http") or {}).get("headers") or {})


def _shown(result: Result) -> tuple[Any, ...]:
    http = result.get("http") or {}
    return (http["status"], http.get("body")) if http else (result["code"],)


def _own_disk(case: Case) -> Verdict:
    by_mesh = CALLED_UPSTREAM in case.headers or "envoy" in case.headers.get("server", "")
    return case.compare(not by_mesh, f"{seen(case.result)}, {'through the gateway' if by_mesh else 'by nginx itself'}")


RULES = {
    "setting": Rule(_setting, "UPSTREAM_NOT_VERIFIED", any_answer=True),
    "own_upstream": Rule(_own_upstream, "UPSTREAM_IDENTITY_SHARED", any_answer=True),
    "identity": Rule(_identity, "IDENTITY_BORROWED", any_answer=True),
    "not_served": Rule(_not_served, "SERVED_TO_ANYBODY", any_answer=True),
    "sidecar": Rule(app.sidecar, "APP_OUTSIDE_MESH", any_answer=True),
    "plaintext": Rule(app.plaintext, "APP_TAKES_PLAINTEXT", any_answer=True),
    "neighbour": Rule(_neighbour, "NEIGHBOUR_SILENT", any_answer=True),
    "stranger": Rule(_stranger, "SERVED_TO_ANYBODY", any_answer=True),
    "own_disk": Rule(_own_disk, "SERVED_TO_ANYBODY"),
}
