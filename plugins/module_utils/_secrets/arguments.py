# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that several modules have in common, as argument specs.

Ansible merges documentation fragments at the top level only, so each module documents these itself; a test holds the texts equal.
"""

from __future__ import annotations

from typing import Any

#: a Secret
REFERENCE: dict[str, Any] = {"namespace": {"type": "str", "required": True}, "name": {"type": "str", "required": True}}
#: a Secret, and which of its entries are what
SOURCE: dict[str, Any] = {**REFERENCE, **{role: {"type": "str", "no_log": False} for role in ("certificate", "key", "ca")}}
