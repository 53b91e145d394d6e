# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a proof, and what a rule that decides it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from .._address import ip
from .._probe import alerts, echo
from .._probe.causes import Cause, Context
from .chain import Chain

OK, FAILED, NOT_TESTED = "ok", "failed", "not_tested"

Result = dict[str, Any]

_CUT_OFF = {"tls_handshake": "in the TLS handshake", "tls_first_read": "on the first read", "http": "instead of an answer"}


@dataclass
class Evidence:
    """What a verdict may rest on besides the probe.

    :param log: lines of the gateways' access logs, or None with the reason in ``no_log``.
    :param trouble: why a vantage point brought no results, by its name.
    :param beside: what the probes saw that others are compared with, by their names.
    """

    log: Optional[list[str]] = None
    no_log: str = "the gateways' logs were not read"
    trouble: dict[str, str] = field(default_factory=dict)
    beside: dict[str, Result] = field(default_factory=dict)


@dataclass
class Verdict:
    """What became of a proof. ``why`` with ``code`` and ``fix`` is the cause of a failure; alone, the reason why it was not tested.

    ``root`` is the id of the proof that explains this one. ``saw`` is whom nodes of the chain took the request to come from: addresses by
    the node's key.
    """

    status: str
    observed: str = ""
    why: str = ""
    code: str = ""
    fix: str = ""
    root: str = ""
    saw: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """What a rule decides on: a proof, what its probe saw, and the rest of the evidence.

    :param causes: of the probe and of the kind, by their codes.
    :param code: the cause of a failure by this rule.
    """

    proof: dict[str, Any]
    result: Result
    evidence: Evidence
    chain: Chain
    causes: Mapping[str, Cause]
    code: str

    @property
    def wanted(self) -> dict[str, Any]:
        """What the plan tells the rule."""
        found: dict[str, Any] = self.proof["wanted"]
        return found

    @property
    def status(self) -> int:
        """The answer's; 0 without one."""
        return int((self.result.get("http") or {}).get("status") or 0)

    @property
    def headers(self) -> dict[str, str]:
        """The answer's, by names in lower case."""
        return {str(name).lower(): str(value) for name, value in ((self.result.get("http") or {}).get("headers") or {}).items()}

    @property
    def received(self) -> Optional[dict[str, str]]:
        """The headers that the app received, where its answer shows them."""
        return echo.received(str((self.result.get("http") or {}).get("body") or ""))

    def failed(self, observed: str, **context: str) -> Verdict:
        """The rule's cause, in words for this case."""
        cause, values = self.causes[self.code], Context(**{**self.proof["context"], **context})
        return Verdict(FAILED, observed, cause.sentence(values), self.code, cause.remedy(values))

    def compare(self, good: bool, observed: str) -> Verdict:
        """ok or :meth:`failed`."""
        return Verdict(OK, observed) if good else self.failed(observed)


@dataclass(frozen=True)
class Rule:
    """How a proof is decided.

    :param decide: the rule itself.
    :param code: the cause of a failure by it, which the kind explains; "" where it makes none of its own.
    :param any_answer: it also decides where what came back isn't what the probe expected.
    """

    decide: Callable[[Case], Verdict]
    code: str = ""
    any_answer: bool = False


def not_tested(why: str) -> Verdict:
    """It says why."""
    return Verdict(NOT_TESTED, why=why)


def by_probe(result: Result) -> Verdict:
    """The probe's own verdict."""
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
    said = "cut off" if alert is None else f"TLS alert {alert} ({alerts.words(alert)})"
    return f"{said} {_CUT_OFF[ended]}"


def begins(forwarded: str, source: str) -> bool:
    """Whether the first address of an X-Forwarded-For is this one."""
    return ip(forwarded.partition(",")[0]) == ip(source) != ""
