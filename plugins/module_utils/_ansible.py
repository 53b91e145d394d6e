# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where our utilities meet AnsibleModule."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ansible.module_utils.basic import AnsibleModule

from ._errors import EdgeError
from ._hidden import hide
from ._plain import plain


class Client(Protocol):
    """What has asked the API."""

    warnings: list[str]


class Module(Protocol):
    """What runs the work: AnsibleModule, or what stands for it."""

    check_mode: bool
    params: dict[str, Any]
    no_log_values: set[str]

    def warn(self, warning: str) -> None:
        """Show the user a warning."""


Work = Callable[[Any, dict[str, Any]], dict[str, Any]]


class Partly(Exception):
    """``error`` ended the work; ``result`` says what had been done."""

    def __init__(self, error: EdgeError, result: dict[str, Any]) -> None:
        super().__init__(error.sentence)
        self.error, self.result = error, result


def run(work: Work, **module_arguments: Any) -> None:
    """Run a module, as :func:`attempt` says. ``supports_check_mode`` is on for every module of ours."""
    module = AnsibleModule(supports_check_mode=True, **module_arguments)
    result = attempt(work, module)
    # Only now, because inside of a handler fail_json adds the exception's own text and traceback (ANSIBLE_DISPLAY_TRACEBACK)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


def attempt(work: Work, module: Module) -> dict[str, Any]:
    """What ``work(module, params)`` returns; if it raises :class:`EdgeError` or :class:`Partly`, with ``failed`` and what went wrong.

    ``params`` are plain types. Any other exception is reported by its type and place only: its text, or a value in a traceback,
    could hold key material.
    """
    try:
        params = plain(module.params)
        hide(module.no_log_values, module.params)
        return work(module, params)
    except EdgeError as error:
        return failed(error)
    except Partly as partly:
        return {**partly.result, **failed(partly.error)}
    except Exception as error:  # pylint: disable=broad-except
        return {"failed": True, "msg": unexpected(error)}


def failed(error: EdgeError) -> dict[str, Any]:
    """The result that tells of it."""
    return {"failed": True, "msg": error.sentence, "error": error.as_result()}


@contextmanager
def warned(module: Module, client: Client) -> Iterator[None]:
    """Show what the API warned of, also where the work fails."""
    failure = None
    try:
        yield
    except EdgeError as error:
        failure = error
    for warning in client.warnings:
        module.warn(warning)
    if failure:
        raise failure


def unexpected(error: BaseException) -> str:
    """A sentence about a defect of ours that can't leak a value: exception type, file, line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "unknown place"
    return f"unexpected {type(error).__name__} at {place}; this is a defect of edgemesh.nginx_istio, please report it with this line"
