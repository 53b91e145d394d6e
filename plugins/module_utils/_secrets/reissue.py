# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a leaf that exists still does, or why it is issued anew."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Optional

from .._errors import EdgeError
from .._lists import Owner
from .._loose import mapping
from .._x509 import facts, sign
from .._x509.material import Material, from_secret
from . import users as needing
from .entries import Entry, Issue
from .plan import ISSUER, SOURCE


def why_anew(issue: Issue, current: Material, ca: Optional[Material], now: datetime) -> list[str]:
    """Why a leaf that exists doesn't do; [] when it does.

    :param ca: None = it is only made in this run.
    """
    if not current.certs or current.key is None:
        return ["certificate or key is missing"]
    if not facts.key_matches(current.key, current.leaf):
        return ["the key does not belong to the certificate"]
    if ca is None:
        return ["its CA is made anew"]
    why = []
    if not facts.issued_by(current.leaf, ca.leaf):
        why.append("it is not issued by the CA as it is now")
    known = facts.facts(current.leaf)
    wanted = sorted({facts.san_text(sign.general_name(each)) for each in issue.names})
    if not set(wanted) <= set(known["sans"]) or not (issue.spare or sorted(known["sans"]) == wanted):
        why.append(f"names: {', '.join(known['sans']) or 'none'} instead of {', '.join(wanted)}")
    if known["extended_key_usage"] != [f"{issue.usage}Auth"]:
        why.append(f"extended key usage: {known['extended_key_usage']} instead of {issue.usage}Auth")
    if known["key"]["type"] != (issue.key_type or "ecdsa"):
        why.append(f"key type: {known['key']['type']} instead of {issue.key_type or 'ecdsa'}")
    if issue.common_name and known["common_name"] != issue.common_name:
        why.append(f"common name: {known['common_name']} instead of {issue.common_name}")
    end = current.leaf.not_valid_after_utc
    due = end - timedelta(days=issue.renew_before) <= now
    # near the CA's own end a new leaf would not last longer: that is no reason to make one in every run
    if due and sign.not_after(ca, issue.days, now) > end:
        why.append(f"it expires at {known['not_after']}, within {issue.renew_before} days")
    return why


def names_of(secret: dict[str, Any]) -> list[str]:
    """The names of the certificate in a Secret; none where there is none, or one that can't be read."""
    leaf = _leaf(secret)
    return [name.partition(":")[2] for name in facts.facts(leaf.leaf)["sans"]] if leaf else []


def check_use(entry: Entry, existing: dict[str, Any], others: list[Owner]) -> None:
    """Refuse to make something else of a Secret that others need as it is.

    :raises EdgeError: USED_OTHERWISE.
    """
    annotations = mapping(existing["metadata"].get("annotations"))
    leaf = _leaf(existing)
    extended = facts.facts(leaf.leaf)["extended_key_usage"] if leaf else None
    for word, is_now, wanted in (
        ("type", existing.get("type"), entry.shape.type),
        ("issuer", annotations.get(ISSUER), str(entry.issue.ca) if entry.issue else None),
        ("source", annotations.get(SOURCE), str(entry.source) if entry.source else None),
        ("extended key usage", extended, [f"{entry.issue.usage}Auth"] if entry.issue and extended else extended),
    ):
        if is_now != wanted:
            raise EdgeError(
                f"the Secret is needed as it is by {needing.said(others)}, so it can't become another",
                where=entry.ref.title,
                why=f"its {word} is {_text(is_now)}, but {_text(wanted)} is asked for",
                fix="Name another Secret; or list these routes in the same run",
                code="USED_OTHERWISE",
            )


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value or "none")


def _leaf(secret: dict[str, Any]) -> Optional[Material]:
    try:
        material = from_secret(secret)
    except EdgeError:
        return None
    return material if material.certs else None
