# SPDX-License-Identifier: GPL-3.0-or-later
"""The one kind of error that a user is meant to read."""

from __future__ import annotations

from typing import Any


class EdgeError(Exception):
    """A failure said in full: what happened, where, why, and how to mend it.

    Never put key material, or text that may hold it, into any part.

    :param what: one sentence without a full stop, e.g. "the Secret has no key tls.key".
    :param where: the thing it concerns: "Secret shop/web", "edge_routes[2] (shop).host", "198.18.0.11:443".
    :param why: the reason, if it isn't plain from ``what``.
    :param fix: what the user does next, as one imperative sentence.
    :param code: a stable identifier for programs (upper case), where one exists.
    :param details: further facts for the module's result, JSON types only.
    """

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = "", code: str = "", **details: Any) -> None:
        self.what, self.where, self.why, self.fix, self.code, self.details = what, where, why, fix, code, details
        super().__init__(self.sentence)

    @property
    def sentence(self) -> str:
        """All parts as text for a person: ``where: what: why. Fix.``"""
        text = ": ".join(part.rstrip(".") for part in (self.where, self.what, self.why) if part) + "."
        return f"{text} {self.fix.rstrip('.')}{'' if self.fix.endswith('?') else '.'}" if self.fix else text

    def as_result(self) -> dict[str, Any]:
        """The same as a module result's ``error`` dictionary; empty parts are left out."""
        parts = {"what": self.what, "where": self.where, "why": self.why, "fix": self.fix, "code": self.code, **self.details}
        return {name: value for name, value in parts.items() if value not in ("", None)}
