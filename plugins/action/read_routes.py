# SPDX-License-Identifier: GPL-3.0-or-later
"""read_routes: the one way from a user's variables into the schema of gateways and routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..module_utils._plain import plain
from ..module_utils._routes import misspelt, reading
from ..plugin_utils._action import EdgeAction


class ActionModule(EdgeAction):
    """See the module read_routes."""

    def work(self, params: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Take what was read of the same variables before, on this host or on the controller; else read."""
        misspelt.check(name for name in task_vars if isinstance(name, str))
        variables = {name: plain(self._templar.template(task_vars[name])) for name in reading.VARIABLES if name in task_vars}
        wanted = reading.digest(variables)
        if reading.is_of(_fact(task_vars), wanted):
            return {"changed": False, "read": False}
        known = self._read_by_controller(task_vars)
        taken = reading.is_of(known, wanted)
        text = known if taken else reading.Reading.of_variables(variables).text()
        return {"changed": False, "read": not taken, "ansible_facts": {"edge__read": text}}

    def _read_by_controller(self, task_vars: dict[str, Any]) -> Any:
        controller = str(self._templar.template(task_vars.get("edge_controller") or "localhost"))
        hosts: Mapping[str, Mapping[str, Any]] = task_vars.get("hostvars") or {}
        return _fact(hosts[controller]) if controller in hosts else None


def _fact(variables: Mapping[str, Any]) -> Any:
    return plain(variables.get("ansible_facts", {}).get("edge__read"))
