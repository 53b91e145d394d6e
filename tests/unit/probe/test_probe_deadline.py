# SPDX-License-Identifier: GPL-3.0-or-later
"""A diagnosis ends at its deadline, whoever is silent: a command of the host, or who is probed."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("a diagnosis is run by the controller", allow_module_level=True)

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from plugins.action import edge_diagnose
from plugins.module_utils._errors import EdgeError
from plugins.modules import edge_probe


class Here(edge_diagnose.ActionModule):
    """On this machine, without Ansible's connection."""

    def __init__(self) -> None:
        self._task = SimpleNamespace(check_mode=False, delegate_to="here")
        self._connection = SimpleNamespace(_play_context=SimpleNamespace(no_log=False))

    def _low_level_execute_command(self, command: str) -> dict[str, str]:
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        return {"stdout": done.stdout}

    def _observations(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        checked = ArgumentSpecValidator(edge_probe.ARGUMENTS).validate(arguments)
        assert not checked.error_messages
        return edge_probe.work(None, checked.validated_parameters)

    def diagnosed(self, **given: Any) -> dict[str, Any]:
        checked = ArgumentSpecValidator(edge_diagnose.ARGUMENTS).validate({"host": "shop.example.com", **given})
        assert not checked.error_messages
        return self.work(checked.validated_parameters, {})


def timed_out(**given: Any) -> float:
    """How long it took."""
    began = time.monotonic()
    with pytest.raises(EdgeError, match=r"shop\.example\.com: timed out after 1 s: the cause has no name yet") as stopped:
        Here().diagnosed(timeout=1, **given)
    assert stopped.value.code == "TIMEOUT"
    return time.monotonic() - began


def test_a_command_that_does_not_end_is_ended() -> None:
    assert timed_out(nginx=["sh", "-c", "sleep 20"]) < 4


def test_a_gateway_that_is_silent_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert timed_out(nginx=["false"], gateway=[f"127.0.0.1:{silent.getsockname()[1]}"], attempt_timeout=20) < 6


def test_in_time_it_names_the_cause() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    found = Here().diagnosed(nginx=["false"], gateway=[f"127.0.0.1:{port}"], timeout="60")
    assert found["diagnosis"]["cause"]["code"] == "CONNECTION_REFUSED"
