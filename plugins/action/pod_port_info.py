# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module pod_port_info: in this process where that is the same."""

from __future__ import annotations

from ..modules import pod_port_info
from ..plugin_utils._here import ApiModule


class ActionModule(ApiModule):
    """See the module pod_port_info."""

    MODULE = pod_port_info
