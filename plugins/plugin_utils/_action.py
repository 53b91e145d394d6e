# SPDX-License-Identifier: GPL-3.0-or-later
"""The one base for action plugins: work that belongs on the controller, with a module's manners."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils._ansible import failed, unexpected
from ..module_utils._errors import EdgeError
from ._arguments import Arguments, Refused


class EdgeAction(ActionBase):
    """Validates arguments against :attr:`ARGUMENTS`, then calls :meth:`work`.

    ``self.check_mode`` and ``self.diff_mode`` are booleans; :meth:`module` runs the module part on the task's host.
    """

    ARGUMENTS: dict[str, Any] = {}
    #: what AnsibleModule takes besides: mutually_exclusive, required_if, ...
    RULES: dict[str, Any] = {}
    _supports_check_mode = True
    _supports_async = False

    def work(self, params: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The action itself; returns the task's result or raises :class:`EdgeError`."""
        raise NotImplementedError

    @property
    def check_mode(self) -> bool:
        """True when the play must not change anything."""
        return bool(self._task.check_mode)

    @property
    def diff_mode(self) -> bool:
        """True when the user asked for differences."""
        return bool(self._task.diff)

    def module(self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run module ``name`` (fully qualified) on the task's host and return its result, failed or not."""
        result: dict[str, Any] = self._execute_module(module_name=name, module_args=arguments, task_vars=task_vars)
        return result

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ansible's entry point."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            arguments = Arguments(self._task.args)
            arguments.check(self._task.resolved_action, self.ARGUMENTS, self.RULES)
            result.update(self.work(arguments.values, task_vars or {}))
        except Refused as refused:
            result.update(failed=True, msg=str(refused))
        except EdgeError as error:
            result.update(failed(error))
        except Exception as error:  # pylint: disable=broad-except
            if type(error).__module__.startswith("ansible."):
                raise
            result.update(failed=True, msg=unexpected(error))
        return result
