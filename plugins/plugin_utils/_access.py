# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions of access control share: they look at the cluster and ask gateways from the task's host."""

from __future__ import annotations

from typing import Any

from ..module_utils._access.declared import Declared, Query
from ..module_utils._access.live import Live
from ..module_utils._errors import EdgeError
from ..module_utils._kube.arguments import CONNECTION_ARGUMENTS
from ..modules import k8s_objects_info
from ._here import is_here, run_here
from ._prober import Prober
from ._transport import has_key, refuse_leaky_transport


class AccessAction(Prober):
    """An action that knows what is declared, as :attr:`COMMON` says it, and what is in the cluster."""

    COMMON: dict[str, Any] = {
        **CONNECTION_ARGUMENTS,
        "read": {"type": "str", "required": True},
        "istio_namespace": {"type": "str", "default": "istio-system"},
        "mesh_config": {"type": "str", "default": "istio"},
    }

    def live(self, declared: Declared, params: dict[str, Any], task_vars: dict[str, Any]) -> Live:
        """The cluster now."""
        return self._read(declared.queries(params["istio_namespace"], params["mesh_config"]), params, task_vars)

    def standing(self, declared: Declared, params: dict[str, Any], task_vars: dict[str, Any]) -> Live:
        """The policies in the cluster now, and nothing else of it."""
        return self._read(declared.policy_queries(), params, task_vars)

    def _read(self, queries: list[Query], params: dict[str, Any], task_vars: dict[str, Any]) -> Live:
        found = self.asked_cluster(k8s_objects_info, {"queries": queries}, params, task_vars)
        return Live(resource for each in found["results"] for resource in each["resources"])

    def asked_cluster(self, module: Any, arguments: dict[str, Any], params: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The result of a module of ours that asks the API, from the task's host and with this task's connection.

        :param module: one of ``plugins/modules``.
        :raises EdgeError: it failed.
        """
        connection = {name: params[name] for name in CONNECTION_ARGUMENTS if params[name] is not None}
        arguments = {**connection, **arguments}
        if is_here(self, task_vars):
            result = run_here(self, module, arguments, task_vars)
        else:
            if has_key(arguments):
                refuse_leaky_transport(self)
            result = self.module(f"edgemesh.nginx_istio.{module.__name__.rpartition('.')[2]}", arguments, task_vars)
        for warning in result.get("warnings", []):
            self._display.warning(str(warning))
        if result.get("failed"):
            raise EdgeError(**result["error"]) if "error" in result else EdgeError(str(result.get("msg")))
        return result
