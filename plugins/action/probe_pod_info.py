# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module probe_pod_info: in this process where that is the same."""

from __future__ import annotations

from typing import Any

from ..modules import probe_pod_info
from ..plugin_utils._here import ApiModule


class ActionModule(ApiModule):
    """See the module probe_pod_info."""

    MODULE = probe_pod_info

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Connections start where Ansible runs, so what another host has of kubectl and kubeconfigs is of no use."""
        if self._connection.transport != "local":
            reason = "the cluster is reached from another host than Ansible runs on, and kubectl would start here"
            return {"changed": False, "reason": reason, "name": "", "over": [], "connection": {}}
        return super().run(tmp, task_vars)
