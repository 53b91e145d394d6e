# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module k8s_objects_info: in this process where that is the same."""

from __future__ import annotations

from ..modules import k8s_objects_info
from ..plugin_utils._here import ApiModule


class ActionModule(ApiModule):
    """See the module k8s_objects_info."""

    MODULE = k8s_objects_info
