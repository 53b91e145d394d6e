# SPDX-License-Identifier: GPL-3.0-or-later
"""Text from anywhere, made fit to be shown."""

from __future__ import annotations

import re
from typing import Any

# control characters, and those that turn the direction of text around
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def visible(value: Any) -> Any:
    """What can't be seen becomes U+FFFD. Markup stays as it is."""
    return value if hasattr(value, "__html__") else _UNSEEN.sub("\ufffd", str(value))


def clock(moment: str) -> str:
    """The time of day of an ISO time, to the millisecond."""
    return moment[11:23]


def date(moment: str) -> str:
    """Date and time of an ISO time, to the second."""
    return f"{moment[:10]} {moment[11:19]} UTC" if len(moment) >= 19 else moment
