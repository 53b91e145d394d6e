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


Work = Callable[[AnsibleModule, dict[str, Any]], dict[str, Any]]


def run(work: Work, **module_arguments: Any) -> None:
    """Run a module: ``work(module, params)`` returns the result, or raises :class:`EdgeError`.

    ``params`` are plain types. ``supports_check_mode`` is on for every module of ours. Any other exception is reported
    by its type and place only: its text, or a value in a traceback, could hold key material.
    """
    module = AnsibleModule(supports_check_mode=True, **module_arguments)
    try:
        params = plain(module.params)
        hide(module.no_log_values, module.params)
        result, failure = work(module, params), None
    except EdgeError as error:
        result, failure = {}, {"msg": error.sentence, "error": error.as_result()}
    except Exception as error:  # pylint: disable=broad-except
        result, failure = {}, {"msg": unexpected(error)}
    # Only now, because inside of a handler fail_json adds the exception's own text and traceback (ANSIBLE_DISPLAY_TRACEBACK)
    if failure:
        module.fail_json(**failure)
    module.exit_json(**result)


@contextmanager
def warned(module: AnsibleModule, client: Client) -> Iterator[None]:
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
