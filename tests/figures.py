# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests measured, shown at the end of the report also where all is well."""

from __future__ import annotations

#: One line each.
FIGURES: list[str] = []
