# SPDX-License-Identifier: GPL-3.0-or-later
"""Who looks after an nginx: a manager that would command another one must not be asked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from plugins.module_utils import _disk as disk
from plugins.module_utils._nginx import commands
from plugins.module_utils._nginx.change.installation import Installation, Processes
from plugins.module_utils._nginx.change.service import service

NONE, RUNNING = Processes(0, frozenset()), Processes(42, frozenset({43}))
SHOWN = "MainPID={pid}\nLoadState=loaded\nExecStart={{ path=/usr/sbin/nginx ; argv[]=/usr/sbin/nginx -g daemon on; ; ignore_errors=no }}\n"
SCRIPT = "#!/bin/sh\nPATH=/sbin:/usr/sbin\nDAEMON=/usr/sbin/nginx\nNAME=nginx\n"


def installation(binary: str = "/usr/sbin/nginx", built: bool = True) -> Installation:
    return Installation(binary, (1, 26), "/usr/share/nginx", "/etc/nginx/nginx.conf", "/run/nginx.pid", "stderr", default_prefix=built)


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.isdir", lambda path: path == "/run/systemd/system")


@pytest.mark.usefixtures("systemd")
@pytest.mark.parametrize(
    ("binary", "built", "running", "pid", "method"),
    [
        ("/usr/sbin/nginx", True, NONE, 0, "systemd"),
        ("/usr/sbin/nginx", True, RUNNING, 42, "systemd"),
        ("/usr/sbin/nginx", False, RUNNING, 42, "systemd"),
        ("/usr/sbin/nginx", True, RUNNING, 7, "signal"),
        ("/usr/sbin/nginx", False, NONE, 0, "signal"),
        ("/opt/web/sbin/nginx", True, NONE, 0, "signal"),
    ],
)
def test_systemd(monkeypatch: pytest.MonkeyPatch, binary: str, built: bool, running: Processes, pid: int, method: str) -> None:
    said = subprocess.CompletedProcess([], 0, SHOWN.format(pid=pid), "")
    monkeypatch.setattr(commands, "run", lambda *_arguments, **_options: said)
    assert service(installation(binary, built), running).method == method


@pytest.mark.parametrize(
    ("binary", "built", "script", "method"),
    [
        ("/usr/sbin/nginx", True, SCRIPT, "sysvinit"),
        ("/usr/sbin/nginx", True, None, "signal"),
        ("/usr/sbin/nginx", False, SCRIPT, "signal"),
        ("/opt/web/sbin/nginx", True, SCRIPT, "signal"),
    ],
)
def test_sysvinit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, binary: str, built: bool, script: str | None, method: str) -> None:
    monkeypatch.setattr("os.path.isdir", lambda _path: False)
    monkeypatch.setattr(disk, "read", lambda path: script if path == "/etc/init.d/nginx" else None)
    (tmp_path / "service").touch(0o755)
    monkeypatch.setattr(commands, "PATH", str(tmp_path))
    assert service(installation(binary, built), RUNNING).method == method
    assert service(installation(binary, built), RUNNING, "sysvinit").method == "sysvinit", "who names one gets it"
