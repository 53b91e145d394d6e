# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module gateway_log_info: in this process where that is the same."""

from __future__ import annotations

from ..modules import gateway_log_info
from ..plugin_utils._here import ApiModule


class ActionModule(ApiModule):
    """See the module gateway_log_info."""

    MODULE = gateway_log_info
