# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module node_port_info: in this process where that is the same."""

from __future__ import annotations

from ..modules import node_port_info

# Who looks for gateways has routes to work on.
from ..plugin_utils import _early as _early_imports  # noqa: F401
from ..plugin_utils._here import ApiModule


class ActionModule(ApiModule):
    """See the module node_port_info."""

    MODULE = node_port_info
