# SPDX-License-Identifier: GPL-3.0-or-later
"""What actions that probe share: the host connects, the controller, where the certificate tools are, judges."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from typing import Any

from ..module_utils._errors import EdgeError
from ..module_utils._probe import foreign, session
from ..module_utils._probe.observation import Observation
from ..module_utils._script import Answer, Script
from ..modules import edge_probe
from ._action import EdgeAction
from ._here import is_here, run_here


class Prober(EdgeAction):
    """An action that probes from the task's host."""

    def vantage(self, task_vars: dict[str, Any]) -> str:
        """The inventory name of the host that probes."""
        return str(self._task.delegate_to or task_vars.get("inventory_hostname", ""))

    def answers(self, commands: Mapping[str, str], timeout: float | None = None) -> dict[str, Answer]:
        """The answers of the host's shell to commands that only read, by their names; those without an answer are missing.

        :param timeout: seconds for all of them; None sets no limit.
        """
        script = Script(commands)
        limit = "" if timeout is None else f"timeout {max(1, ceil(timeout))} "
        with self._silence():
            return script.answers(self._low_level_execute_command(limit + script.text())["stdout"])

    @contextmanager
    def _silence(self) -> Iterator[None]:
        """A proxy's configuration may hold credentials of other sites: it must not reach the output, however verbose."""
        # the connection's own, which is not the action's
        context = self._connection._play_context
        before, context.no_log = context.no_log, True
        try:
            yield
        finally:
            context.no_log = before

    def probed(self, params: dict[str, Any], task_vars: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        """The results for ``paths``, judged, and the host's Python.

        :param params: edge_probe's options; ``timeout`` holds for a second look too.
        :raises EdgeError: for an entry that can't be probed, or a host that can't be probed from.
        """
        python, began = "", time.monotonic()
        vantage = self.vantage(task_vars)
        if any(_foreign(entry) for entry in params["paths"]):
            params["foreign_certificate"] = foreign.foreign_certificate()

        def observe(entries: list[dict[str, Any]]) -> tuple[list[list[Observation]], dict[str, dict[str, str]]]:
            nonlocal python
            left = {"timeout": max(1, ceil(params["timeout"] - (time.monotonic() - began)))} if "timeout" in params else {}
            raw = self._observations(_given({**params, **left, "paths": entries}), task_vars)
            if "observations" not in raw:
                # what the connection said, where the module did not even start
                said = [*str(raw.get("module_stderr") or "").split("\n"), str(raw.get("msg") or "")]
                raise EdgeError("this host can't run probes", why=next((line for line in said if line.strip()), ""), where=vantage)
            python = raw["python"]
            return [[Observation.from_dict(each) for each in seen] for seen in raw["observations"]], raw["ca_files"]

        return session.results(params["paths"], observe, vantage), python

    def _observations(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        if is_here(self, task_vars):
            return run_here(self, edge_probe, arguments, task_vars)
        return self.module("edgemesh.nginx_istio.edge_probe", arguments, task_vars)


def _foreign(entry: dict[str, Any]) -> bool:
    return bool(((entry.get("tls") or {}).get("client") or {}).get("foreign"))


def _given(value: Any) -> Any:
    """The same without None: an option that was not given must not reach the module as one that was."""
    if isinstance(value, dict):
        return {key: _given(item) for key, item in value.items() if item is not None}
    return [_given(item) for item in value] if isinstance(value, list) else value
