"""Runs the module node_port_info: in this process where that is the same."""

from __future__ import annotations

# Ansible imports an action once, before it starts a process for each task and host. Who looks for gateways has routes, and what the
# filters work with on them would else be imported anew in each of those processes, which takes a tenth of a second every time.
from ..module_utils._proof import entry as _entry  # noqa: F401
from ..module_utils._routes import load as _load  # noqa: F401
from ..modules import node_port_info
from ..plugin_utils._here import ApiModule


class ActionModule(ApiModule):
    """See the module node_port_info."""

    MODULE = node_port_info
