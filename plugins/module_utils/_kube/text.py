# SPDX-License-Identifier: GPL-3.0-or-later
"""Text from elsewhere, made fit to be shown."""

from __future__ import annotations

import re
from typing import Any

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def clean(text: Any, limit: int = 1000) -> str:
    """One line of at most ``limit`` characters, control characters escaped: an object's name may hold anything."""
    one_line = _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), str(text).strip())
    return one_line if len(one_line) <= limit else one_line[:limit] + "…"
