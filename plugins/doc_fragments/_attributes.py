# SPDX-License-Identifier: GPL-3.0-or-later
"""Attributes that modules declare. **PRIVATE** to the collection: names and contents may change in any release."""

from __future__ import annotations


class ModuleDocFragment:
    """``extends_documentation_fragment: edgemesh.nginx_istio._attributes``, and one of its variants.

    ``_attributes.changes``: the module changes something, with full support of all three. ``_attributes.read_only``: it changes nothing.
    What only a module can say of an attribute it says in ``details``.
    """

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and says what would change without changing it.
  diff_mode:
    description: Shows what has changed, or would change, in diff mode. Key material is never shown.
  idempotent:
    description: A second run with the same options changes nothing and says so.
"""

    CHANGES = r"""
options: {}
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

    READ_ONLY = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: Changes nothing in any mode.
  diff_mode:
    support: N/A
    details: Changes nothing.
  idempotent:
    support: full
"""
