# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module probe_pod_info: in this process where that is the same."""

from __future__ import annotations

from ..modules import probe_pod_info
from ..plugin_utils._here import ApiModule


class ActionModule(ApiModule):
    """See the module probe_pod_info."""

    MODULE = probe_pod_info
