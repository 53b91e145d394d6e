"""Attributes that modules declare."""

from __future__ import annotations


class ModuleDocFragment:
    """``extends_documentation_fragment: edgemesh.nginx_istio.attributes``, then ``support:`` for each in the module.

    A module that changes nothing extends ``edgemesh.nginx_istio.attributes.read_only`` as well, which says it.
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
