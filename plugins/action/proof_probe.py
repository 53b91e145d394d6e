# SPDX-License-Identifier: GPL-3.0-or-later
"""proof_probe as a whole: commands and probes run on the task's host, plan and verdicts are made here."""

from __future__ import annotations

from typing import Any

from ..module_utils._errors import EdgeError
from ..module_utils._proof import carried, entry, kinds
from ..module_utils._proof.model import probes
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
        commands = kind.look(routes, given)
        # what can't be read the plan takes for unknown
        printed = {name: answer.said for name, answer in self.answers(commands).items()} if commands else {}
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
