# SPDX-License-Identifier: GPL-3.0-or-later
"""access_plan as a whole: it looks at the cluster, plans, and asks through what stands before the gateways; it changes nothing."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from ..module_utils._access import plan, probes
from ..module_utils._access.declared import Declared
from ..module_utils._access.live import Live
from ..module_utils._access.plan import Plan
from ..module_utils._access.probes import Arrival, Asked, Clients
from ..module_utils._errors import EdgeError
from ..module_utils._kube.labels import field_manager
from ..module_utils._mesh.gateways import upstreams
from ..module_utils._plain import plain
from ..module_utils._routes.access import networks
from ..modules import gateway_log_info, node_port_info
from ..plugin_utils._access import AccessAction
from ..plugin_utils._reading import reading

#: Seconds until Envoy has written its log; under Istio it does so every second.
_LOG_WAIT = 12


class ActionModule(AccessAction):
    """See the module access_plan."""

    ARGUMENTS = {
        **AccessAction.COMMON,
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "only_with_lists": {"type": "bool", "default": False},
        "topology": {"type": "bool", "default": True},
        "allow_interruption": {"type": "bool", "default": False},
        "all_lists": {"type": "bool", "default": False},
        "detect": {"type": "bool", "default": True},
        "entries": {"type": "dict", "default": {}},
        "clients": {"type": "list", "elements": "str", "default": []},
        "own_clients": {"type": "raw", "default": []},
    }

    def work(self, params: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Where nobody is kept out, only policies that go are looked for."""
        declared = Declared.of(reading(params["read"]))
        flags = {"sets_topology": params["topology"], "all_lists": params["all_lists"]}
        if params["state"] == "absent":
            planned = plan.ended(declared, self.live(declared, params, task_vars), **flags)
            return self._answer(declared, planned, planned.kept)
        if params["only_with_lists"] and not declared.restricts:
            return self._answer(declared, Plan(removed=declared.taken(self.standing(declared, params, task_vars))), [])
        live = self.live(declared, params, task_vars)
        planned = plan.plan(declared, live, check=self.check_mode, **flags)
        notes = planned.believed
        arrivals: list[Arrival] = []
        if params["detect"] and not planned.missing:
            arrivals, denied = self._arrivals(declared, live, params, task_vars)
            untested = ["No request through a front was found in a gateway's log: what stands there is not tested."]
            notes = [*notes, *denied, *(untested if not arrivals else [])]
        if planned.interrupted and not params["allow_interruption"]:
            raise EdgeError(
                "PROXY protocol can't be switched on or off in place", where="; ".join(planned.interrupted), code="INTERRUPTS",
                why="old pods of the gateway don't understand the connections that new pods demand, or the reverse, so requests fail until "
                "the proxy before it is switched too",
                fix="Put a second gateway beside it (its own Deployment, Service and entry in edge_gateways) and switch the proxy before "
                "them, or set gateway_access_control_allow_interruption",
            )  # fmt: skip
        return {**self._answer(declared, planned, notes), "seen": [dataclasses.asdict(each) for each in arrivals]}

    def _answer(self, declared: Declared, planned: Plan, notes: list[str]) -> dict[str, Any]:
        made = {"settings": planned.settings, "policies": planned.policies, "removed": planned.removed}
        return {"changed": False, **made, "field_manager": field_manager(declared.run.list_name), "notes": notes, "seen": []}

    def _arrivals(
        self, declared: Declared, live: Live, params: dict[str, Any], task_vars: dict[str, Any]
    ) -> tuple[list[Arrival], list[str]]:
        """How marked requests arrive, and whom policies of other lists deny.

        :raises EdgeError: where a front is not what is seen, or access would lock somebody out.
        """
        machines = {route.on: _addresses(task_vars["groups"].get(route.on, []), task_vars) for route in declared.routes}
        places = probes.entries(declared, params["entries"], self._offered(declared, params, task_vars), machines)
        run = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.randbelow(9000) + 1000}"
        asked = probes.through(declared, places, run)
        answers: list[dict[str, Any]] = []
        if asked:
            answers, _python = self.probed({"paths": [each.probe for each in asked], "attempt_timeout": 5}, task_vars)
        own = list(dict.fromkeys(each["source"] for each in answers if each.get("source"))) or self._own_addresses(task_vars)
        named = _addresses(params["clients"], task_vars)
        guarded = probes.probing(declared.guarded, machines, named)
        guarded.update({each: [each] for each in networks(params["own_clients"], "gateway_access_control_own_clients")})
        clients = Clients(guarded, probes.probing(declared.routes, machines, named), own)
        # A request that has had no answer may never have come.
        expected = [each.agent for each, answer in zip(asked, answers) if "status" in (answer.get("http") or {})]
        return probes.judge(declared, asked, self._log(declared, asked, run, expected, params, task_vars), live, clients)

    def _offered(self, declared: Declared, params: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, list[str]]:
        """The addresses of gateways of which only the cluster knows them, by name."""
        unknown = probes.unknown(declared, params["entries"])
        services = [{"namespace": each.namespace, "name": each.service, "ports": [each.port]} for each in unknown]
        found = self.asked_cluster(node_port_info, {"services": services}, params, task_vars)["results"] if services else []
        return upstreams([route for each in unknown for route in declared.through(each)], found, check=True)

    def _log(
        self, declared: Declared, asked: list[Asked], run: str, expected: list[str], params: dict[str, Any], task_vars: dict[str, Any]
    ) -> dict[str, list[str]]:
        """Lines about this run's requests, by ``namespace/name`` of the gateways' Services."""
        if not asked:
            return {}
        names = {each.gateway for each in asked}
        services = list(dict.fromkeys(f"{each.namespace}/{each.service}" for each in declared.gateways if each.name in names))
        wanted = {
            "gateways": services,
            "contains": probes.agents(run),
            "expected": expected,
            "wait": True,
            "wait_timeout": _LOG_WAIT,
            "since": 60,
        }
        return {each["gateway"]: each["lines"] for each in self.asked_cluster(gateway_log_info, wanted, params, task_vars)["results"]}

    def _own_addresses(self, task_vars: dict[str, Any]) -> list[str]:
        """Those of the task's host, where no connection has told by which it is known."""
        found = self.module("ansible.builtin.setup", {"gather_subset": ["!all", "network"]}, task_vars).get("ansible_facts") or {}
        return [str(each) for family in ("ipv4", "ipv6") for each in found.get(f"ansible_all_{family}_addresses") or []]


def _addresses(names: Iterable[str], task_vars: dict[str, Any]) -> dict[str, str]:
    """Where inventory hosts are reached, by name."""
    return {str(plain(name)): str(plain(task_vars["hostvars"][name].get("ansible_host") or name)) for name in names}
