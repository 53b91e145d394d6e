# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module k8s_objects: in this process where that is the same."""

from __future__ import annotations

from ..modules import k8s_objects
from ..plugin_utils._here import ApiModule


class ActionModule(ApiModule):
    """See the module k8s_objects."""

    MODULE = k8s_objects
