# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module gateway_routes_change: in this process where that is the same."""

from __future__ import annotations

from ..modules import gateway_routes_change
from ..plugin_utils._here import ApiModule


class ActionModule(ApiModule):
    """See the module gateway_routes_change."""

    MODULE = gateway_routes_change
