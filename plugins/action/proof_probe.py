"""proof_probe as a whole: commands and probes run on the task's host, plan and verdicts are made here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..module_utils._errors import EdgeError
from ..module_utils._proof import carried, entry, kinds
from ..module_utils._proof.model import probes
from ..module_utils._script import Script
from ..module_utils._x509 import library
from ..plugin_utils._prober import Prober

ARGUMENTS: dict[str, Any] = {
    "kind": {"type": "str"},
    "routes": {"type": "str"},
    "groups": {"type": "list", "elements": "str"},
    "given": {"type": "dict", "default": {}},
    "asked": {"type": "list", "elements": "str"},
    "attempt_timeout": {"type": "int", "default": 10},
    "wait": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 15},
}
RULES: dict[str, Any] = {
    "mutually_exclusive": [["routes", "asked"]],
    "required_one_of": [["routes", "asked"]],
    "required_together": [["kind", "routes"]],
}


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
        kind = kinds.named(params["kind"])
        routes = kind.routes(params["routes"], params["groups"])
        given = entry.given(kind, params["given"], name, self.check_mode)
        printed = self._printed(kind.look(routes, given))
        proofs = kind.plan(routes, given, printed)
        planned = probes(proofs)
        near = {"proofs": [proof.as_dict() for proof in proofs], "certificates": kind.certificates(routes, given, printed)}
        answer = self._seen(name, planned, params, task_vars, **near)
        others = carried.Asked({vantage: entries for vantage, entries in planned.items() if vantage != name})
        gateways, logged = entry.logged(proofs)
        return {**answer, "asked": others.text(), "others": list(others.probes), "gateways": gateways, "logged": logged}

    def _seen(
        self, name: str, planned: dict[str, list[dict[str, Any]]], params: dict[str, Any], task_vars: dict[str, Any], **more: Any
    ) -> dict[str, Any]:
        options = {
            "paths": planned.get(name, []),
            "attempt_timeout": params["attempt_timeout"],
            "wait": params["wait"] and not self.check_mode,
            "wait_timeout": params["wait_timeout"],
        }
        results: list[dict[str, Any]] = []
        trouble = ""
        try:
            results, _python = self.probed(options, task_vars)
        except EdgeError as error:
            # what it should have seen is not tested, and the report says why
            trouble = error.sentence
        return {"changed": False, "trouble": trouble, "evidence": carried.Seen(name, results, trouble, **more).text()}

    def _printed(self, commands: Mapping[str, str]) -> dict[str, str]:
        """What commands that only read print on the host; what they can't read the plan takes for unknown."""
        if not commands:
            return {}
        asked = Script(commands)
        with self._silence():
            answers = asked.answers(self._low_level_execute_command(asked.text())["stdout"])
        return {name: answer.said for name, answer in answers.items()}

    @contextmanager
    def _silence(self) -> Iterator[None]:
        """A proxy's configuration may hold credentials of other sites: it is not for the output, however verbose."""
        # the connection's own, which is not the action's
        context = self._connection._play_context
        before, context.no_log = context.no_log, True
        try:
            yield
        finally:
            context.no_log = before
