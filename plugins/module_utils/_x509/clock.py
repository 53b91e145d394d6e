# SPDX-License-Identifier: GPL-3.0-or-later
"""The one clock by which certificates are judged and made."""

from __future__ import annotations

from datetime import datetime, timezone


def now() -> datetime:
    """This instant in UTC. Tests put a fixed time here; callers look it up as ``clock.now()`` for that reason."""
    return datetime.now(timezone.utc)


def text(moment: datetime) -> str:
    """ISO 8601 in UTC to the second, e.g. ``2026-11-21T09:30:00Z``."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
