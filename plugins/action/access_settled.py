# SPDX-License-Identifier: GPL-3.0-or-later
"""access_settled as a whole: it looks at the gateways' pods, and asks them from the task's host."""

from __future__ import annotations

from typing import Any

from ..module_utils._access import plan, probes
from ..module_utils._access.declared import Declared
from ..module_utils._errors import EdgeError
from ..plugin_utils._access import AccessAction
from ..plugin_utils._reading import reading


class ActionModule(AccessAction):
    """See the module access_settled."""

    ARGUMENTS = {
        **AccessAction.COMMON,
        "stage": {"type": "str", "choices": ["started", "answering"], "required": True},
        "consecutive": {"type": "int", "default": 5},
        "wait_timeout": {"type": "int", "default": 180},
    }

    def work(self, params: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """What pods have started with can't change any more; their answers can."""
        declared = Declared.of(reading(params["read"]))
        live = self.live(declared, params, task_vars)
        if params["stage"] == "started":
            unlike = plan.unlike(declared, live)
            if unlike:
                fix = "Look at the mesh's defaultConfig and at ProxyConfig resources"
                raise EdgeError("something else sets gatewayTopology", where="; ".join(unlike), fix=fix, code="TOPOLOGY_UNLIKE")
            return {"changed": False, "asked": 0}
        pods = probes.pods(declared, live, params["consecutive"])
        return {"changed": False, "asked": len(pods.paths) if self._settled(pods, params["wait_timeout"], task_vars) else 0}

    def _settled(self, pods: probes.Pods, seconds: int, task_vars: dict[str, Any]) -> bool:
        """Whether the pods could be asked; then all answer as they should.

        :raises EdgeError: names every answer that was wrong to the end.
        """
        if not pods.paths:
            return False
        # A pod is ready a moment before its listener is, which waits for its certificate.
        reached, _python = self.probed({"paths": pods.connect, "attempt_timeout": 3, "wait": True, "wait_timeout": 10}, task_vars)
        if not all(each["ok"] for each in reached):
            return False
        answers, _python = self.probed({"paths": pods.paths, "wait": True, "wait_timeout": seconds, "timeout": seconds + 60}, task_vars)
        wrong = [f"{each['name']}: {each['code']}: {each['sentence']}" for each in answers if not each["ok"]]
        if wrong:
            raise EdgeError(f"{len(wrong)} of {len(answers)} answers of the gateways' pods are wrong", why=" ".join(wrong))
        return True
