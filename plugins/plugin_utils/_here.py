# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Ansible would start this very Python once more for a module of ours, its work is done in this process.

To pack and unpack a module, start Python and import what it needs takes a second of a processor; what these modules ask of an API
server, a hundredth of that. On any other host, under another Python, with become, or in the background, the module runs as Ansible
runs all modules.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase
from ansible.plugins.action.normal import ActionModule as Normal

from ..module_utils._ansible import attempt, failed
from ..module_utils._errors import EdgeError
from ..module_utils._hidden import without_unknown
from ..module_utils._plain import plain
from ._arguments import Arguments, Refused
from ._transport import has_key, refuse_leaky_transport

# Before Ansible starts a process for each task, each of which would import it anew.
with suppress(ImportError):
    import urllib3 as _urllib3  # noqa: F401

#: what interpreter_python says for "find one": the controller's own has all that our modules need
_ANY_PYTHON = ("", "auto", "auto_silent", "auto_legacy", "auto_legacy_silent")


class ApiModule(Normal):
    """Runs the module of the same name."""

    #: the module itself: its ``ARGUMENTS`` and its ``work``
    MODULE: Any

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ansible's entry point."""
        variables = task_vars or {}
        if is_here(self, variables):
            return {**ActionBase.run(self, tmp, variables), **run_here(self, self.MODULE, self._task.args, variables)}
        try:
            if has_key(self._task.args):
                refuse_leaky_transport(self)
        except EdgeError as error:
            return failed(error)
        result: dict[str, Any] = super().run(tmp, task_vars)
        if "invocation" in result:
            result["invocation"] = {"module_args": without_unknown(result["invocation"].get("module_args") or {}, self.MODULE.ARGUMENTS)}
        return result


def is_here(action: Any, variables: dict[str, Any]) -> bool:
    """Whether a module of this task would run on this machine, as this user, under this Python, while the task waits for it.

    :param action: the action plugin that has the task.
    :param variables: the task's variables.
    """
    if action._connection.transport != "local" or action._connection.become is not None or action._task.async_val:
        return False
    if action._task.delegate_to:
        variables = variables["ansible_delegated_vars"][action._task.delegate_to]
    if any(name.startswith("PYTHON") for name in _environment(action)):
        return False
    asked = action._templar.template(constants.config.get_config_value("INTERPRETER_PYTHON", variables=variables))
    return str(asked or "") in _ANY_PYTHON or _same_python(Path(str(asked)), Path(sys.executable))


def run_here(action: Any, module: Any, arguments: Mapping[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
    """The result of ``module``, as Ansible would return it; only where :func:`is_here`.

    :param action: the action plugin that has the task.
    :param module: has ``ARGUMENTS`` and ``work``.
    :param arguments: what it is given.
    :param variables: the task's variables.
    """
    run = _Run(action, arguments)
    with _surroundings(_environment(action), action._loader.get_basedir()):
        result = plain(run.result(module))
    if _shows_invocation(variables):
        result["invocation"] = {"module_args": without_unknown(run.params, module.ARGUMENTS)}
    # what is true or false stays so, whatever is to be hidden
    known = {name: value for name, value in result.items() if value is None or isinstance(value, bool)}
    return {**remove_values(result, run.no_log_values), **known}


class _Run:
    """What the work of a module asks of AnsibleModule, without the process around it."""

    def __init__(self, action: Any, arguments: Mapping[str, Any]) -> None:
        self.check_mode = bool(action._task.check_mode)
        self._diff = bool(action._task.diff)
        self._name = action._task.resolved_action
        self._warnings: list[str] = []
        checked = Arguments(arguments)
        self._arguments, self.params, self.no_log_values = checked, checked.values, checked.secret

    def warn(self, warning: str) -> None:
        """See AnsibleModule."""
        self._warnings.append(warning)

    def result(self, module: Any) -> dict[str, Any]:
        """The module's result, the refusal of its arguments included."""
        try:
            self._arguments.check(self._name, module.ARGUMENTS, {})
        except Refused as refused:
            return {"failed": True, "msg": str(refused)}
        result = attempt(module.work, self)
        return {**result, **({"warnings": self._warnings} if self._warnings else {})}


def _environment(action: Any) -> dict[str, str]:
    """What the task's keyword ``environment`` says, the play's included."""
    found: dict[str, Any] = {}
    action._compute_environment_string(found)
    return {str(name): str(value) for name, value in found.items()}


@contextmanager
def _surroundings(environment: Mapping[str, str], folder: str) -> Iterator[None]:
    """The environment variables and the working directory that a module of the task would have."""
    before, came_from = dict(os.environ), os.getcwd()
    os.environ.update(environment)
    try:
        os.chdir(folder)
        yield
    finally:
        os.chdir(came_from)
        os.environ.clear()
        os.environ.update(before)


def _same_python(asked: Path, running: Path) -> bool:
    """Whether both name one interpreter: a virtual environment's links all lead to the system's, so the folder counts too."""
    return asked.parent == running.parent and asked.resolve() == running.resolve()


def _shows_invocation(variables: dict[str, Any]) -> bool:
    try:
        return bool(constants.config.get_config_value("INJECT_INVOCATION", variables=variables))
    except AnsibleError:
        return True  # before ansible-core 2.21 there was no such setting: it was always shown
