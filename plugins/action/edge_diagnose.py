# SPDX-License-Identifier: GPL-3.0-or-later
"""edge_diagnose as a whole: commands and probes run on the task's host, the cause is named here."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from ..module_utils._diagnose import report
from ..module_utils._diagnose.inquiry import Question, addresses, inquire
from ..module_utils._errors import EdgeError
from ..module_utils._kube.deadline import Deadline
from ..module_utils._probe.entry import entry
from ..module_utils._probe.spec import Path
from ..module_utils._script import Answer
from ..module_utils._x509 import library
from ..plugin_utils._prober import Prober

ARGUMENTS: dict[str, Any] = {
    "host": {"type": "str", "required": True},
    "path": {"type": "str", "default": "/"},
    "port": {"type": "int", "default": 0},
    "gateway": {"type": "list", "elements": "str", "default": []},
    "nginx": {"type": "list", "elements": "str", "default": ["nginx"]},
    "attempt_timeout": {"type": "int", "default": 10},
    "timeout": {"type": "int", "default": 120},
}


class ActionModule(Prober):
    """See the module edge_diagnose."""

    ARGUMENTS = ARGUMENTS

    def work(self, params: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Ask the host until the cause has a name."""
        library.require()
        deadline = Deadline(params["timeout"])

        def in_time() -> None:
            # what was cut short would give a cause that isn't one
            if deadline.expired:
                raise EdgeError(
                    f"timed out after {deadline.seconds:g} s", where=params["host"], why="the cause has no name yet",
                    fix="Raise timeout, or lower attempt_timeout", code="TIMEOUT",
                )  # fmt: skip

        def ask(commands: Mapping[str, str]) -> dict[str, Answer]:
            found = self.answers(commands, deadline.remaining)
            in_time()
            return found

        def probe(paths: list[Path]) -> list[dict[str, Any]]:
            options = {"attempt_timeout": params["attempt_timeout"], "timeout": ceil(deadline.remaining)}
            results, _python = self.probed({"paths": [entry(each) for each in paths], **options}, task_vars)
            in_time()
            return results

        nginx, gateway = tuple(params["nginx"]), addresses(params["gateway"])
        question = Question(params["host"], params["path"] or "/", params["port"] or None, gateway, nginx)
        diagnosis = inquire(question, ask, probe)
        return {"changed": False, "diagnosis": report.shown(diagnosis), "text": report.text(diagnosis)}
