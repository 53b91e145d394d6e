# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a leaf that exists still does, or why it is issued anew."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Optional

from .._x509 import facts, sign
from .._x509.material import Material
from .entries import Issue


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
    wanted = sorted(facts.san_text(sign.general_name(each)) for each in set(issue.names))
    if sorted(known["sans"]) != wanted:
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
