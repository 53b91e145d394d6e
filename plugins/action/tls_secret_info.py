"""Runs the module of the same name, unless a key among its arguments would leak on the way."""

from __future__ import annotations

from ..plugin_utils._transport import KeyedModule


class ActionModule(KeyedModule):
    """What Ansible does by itself, with that one look before."""
