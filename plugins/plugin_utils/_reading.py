# SPDX-License-Identifier: GPL-3.0-or-later
"""What read_routes has found, for actions and filters that take it as text."""

from __future__ import annotations

from typing import Any

from ..module_utils._plain import plain
from ..module_utils._routes.reading import Reading


def reading(text: Any) -> Reading:
    """:raises EdgeError: for anything but ``edge__read``."""
    return Reading.of(str(plain(text)))
