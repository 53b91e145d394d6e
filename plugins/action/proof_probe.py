"""proof_probe as a whole: commands and probes run on the task's host, plan and verdicts are made here."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..module_utils._errors import EdgeError
from ..module_utils._proof import carried, entry
from ..module_utils._script import Script
from ..module_utils._x509 import library
from ..plugin_utils._prober import Prober

ARGUMENTS: dict[str, Any] = {
    "routes": {"type": "list", "elements": "dict"},
    "asked": {"type": "list", "elements": "str"},
    "address": {"type": "str"},
    "run": {"type": "str"},
    "clients": {"type": "list", "elements": "str", "default": []},
    "gateways": {"type": "dict", "default": {}},
    "nginx": {"type": "list", "elements": "str", "default": ["nginx"]},
    "material": {"type": "path", "default": entry.MATERIAL},
    "front_ca": {"type": "str", "default": ""},
    "client_ca_file": {"type": "path", "default": "/etc/ssl/certs/ca-certificates.crt"},
    "repeat": {"type": "int", "default": 10},
    "echo_path": {"type": "str", "default": ""},
    "websocket_path": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 10},
    "wait": {"type": "int", "default": 0},
}
RULES: dict[str, Any] = {
    "mutually_exclusive": [["routes", "asked"]],
    "required_one_of": [["routes", "asked"]],
    "required_by": {"routes": ["address", "run"]},
}
_PATH = "PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


class ActionModule(Prober):
    """See the module proof_probe."""

    ARGUMENTS = ARGUMENTS
    RULES = RULES

    def work(self, params: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Read and plan, or take what was planned; probe."""
        library.require()
        name = self.vantage(task_vars)
        if params["asked"] is not None:
            return self._seen(name, carried.Asked.of(params["asked"]).probes, params, task_vars)
        routes = params["routes"]
        certificates = entry.command(routes, params["material"])
        commands = {}
        if routes:
            commands["nginx"] = f"{_PATH} {shlex.join([*params['nginx'], '-v', '-T'])} 2>&1"
        if certificates:
            commands["files"] = shlex.join(certificates)
        printed = self._printed(commands)
        plan = entry.planned(routes, {**params, "vm": name}, printed)
        answer = self._seen(name, plan["probes"], params, task_vars, proofs=plan["proofs"], files=printed.files)
        others = {vantage: entries for vantage, entries in plan["probes"].items() if vantage != name}
        return {**answer, "asked": carried.Asked(others).text(), "logged": entry.logged(plan["proofs"])}

    def _seen(
        self, name: str, probes: dict[str, list[dict[str, Any]]], params: dict[str, Any], task_vars: dict[str, Any], **more: Any
    ) -> dict[str, Any]:
        options = {"paths": probes.get(name, []), "timeout": params["timeout"], "wait": 0 if self.check_mode else params["wait"]}
        results: list[dict[str, Any]] = []
        trouble = ""
        try:
            results, _python = self.probed(options, task_vars)
        except EdgeError as error:
            # what it should have seen is not tested, and the report says why
            trouble = error.sentence
        return {"changed": False, "trouble": trouble, "evidence": carried.Seen(name, results, trouble, **more).text()}

    def _printed(self, commands: dict[str, str]) -> entry.Printed:
        """What commands that only read print on the host; what they can't read the plan takes for unknown."""
        if not commands:
            return entry.Printed()
        asked = Script(commands)
        with self._silence():
            answers = asked.answers(self._low_level_execute_command(asked.text())["stdout"])
        return entry.Printed(**{name: answer.said for name, answer in answers.items()})

    @contextmanager
    def _silence(self) -> Iterator[None]:
        """nginx's configuration may hold credentials of other sites: it is not for the output, however verbose."""
        # the connection's own, which is not the action's
        context = self._connection._play_context
        before, context.no_log = context.no_log, True
        try:
            yield
        finally:
            context.no_log = before
