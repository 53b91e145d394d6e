# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of edge_probe: what the host saw is judged here."""

from __future__ import annotations

from typing import Any

from ..module_utils._x509 import library
from ..modules import edge_probe
from ..plugin_utils._prober import Prober


class ActionModule(Prober):
    """See the module edge_probe."""

    ARGUMENTS = edge_probe.ARGUMENTS

    def work(self, params: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Probe from the task's host, judge here."""
        library.require()
        results, python = self.probed(params, task_vars)
        bad = [each for each in results if not each["ok"]]
        answer: dict[str, Any] = {"changed": False, "results": results, "ok": not bad, "python": python}
        if bad:
            answer["msg"] = " ".join(f"{each['name']}: {each['code']}: {each['sentence']}" for each in bad)
            answer["failed"] = bool(params["fail"])
        return answer
