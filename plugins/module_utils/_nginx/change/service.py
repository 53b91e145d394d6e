# SPDX-License-Identifier: GPL-3.0-or-later
"""Reloads, starts and stops nginx through whatever looks after it on this host."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass

from ... import _disk as disk
from ..._errors import EdgeError
from .. import commands
from .installation import Installation, Processes

METHODS = ("auto", "systemd", "sysvinit", "signal")


@dataclass(frozen=True)
class Service:
    """How to command this nginx. ``method`` is systemd, sysvinit or signal (to the master itself)."""

    method: str
    name: str
    nginx: Installation

    def reload(self, running: Processes, timeout: float) -> None:
        """Ask for a reload; that the command succeeded does not mean that nginx took the configuration.

        :param timeout: seconds that the command may take, here and below.
        """
        if self.method == "systemd":
            _command(["systemctl", "reload", self.name], timeout)
        elif self.method == "sysvinit":
            _command(["service", self.name, "reload"], timeout)
        else:
            os.kill(running.master, signal.SIGHUP)

    def start(self, timeout: float) -> None:
        """Start nginx."""
        if self.method == "systemd":
            _command(["systemctl", "start", self.name], timeout)
        elif self.method == "sysvinit":
            _command(["service", self.name, "start"], timeout)
        else:
            _command(self.nginx.command(), timeout)

    def stop(self, running: Processes, timeout: float) -> None:
        """Stop nginx, letting requests finish."""
        if self.method == "systemd":
            _command(["systemctl", "stop", self.name], timeout)
        elif running.master:
            os.kill(running.master, signal.SIGQUIT)


def service(nginx: Installation, running: Processes, method: str = "auto", name: str = "nginx") -> Service:
    """The service manager that owns this nginx; with ``auto`` the first of systemd, sysvinit, none that does.

    A manager that is there but looks after another nginx, or none, must not be asked: its "reload" would succeed and
    reach nobody.
    """
    if method == "auto":
        if _systemd_owns(name, nginx, running):
            method = "systemd"
        elif not os.path.isdir("/run/systemd/system") and nginx.as_built and _names(disk.read(f"/etc/init.d/{name}") or "", nginx.binary):
            method = "sysvinit" if shutil.which("service", path=commands.PATH) else "signal"
        else:
            method = "signal"
    return Service(method, name, nginx)


def _systemd_owns(name: str, nginx: Installation, running: Processes) -> bool:
    if not os.path.isdir("/run/systemd/system"):
        return False
    shown = commands.run(["systemctl", "show", name, "--property=LoadState,MainPID,ExecStart"], timeout=20)
    facts = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
    if running.master:
        return facts.get("MainPID") == str(running.master)
    return facts.get("LoadState") == "loaded" and nginx.as_built and _names(facts.get("ExecStart", ""), nginx.binary)


def _names(text: str, binary: str) -> bool:
    """Whether a unit or a script starts this very program; another build may bear the same name."""
    return any(os.path.realpath(word) == os.path.realpath(binary) for word in re.findall(r"/[A-Za-z0-9/._+-]+", text))


def _command(command: list[str], timeout: float) -> None:
    try:
        done = commands.run(command, timeout=timeout, discard=True)
    except subprocess.TimeoutExpired:
        raise EdgeError(f"it did not end within {timeout:g} s", where=" ".join(command)) from None
    except OSError as error:
        raise EdgeError("it can't be run", where=" ".join(command), why=type(error).__name__) from None
    if done.returncode:
        raise EdgeError(f"it ended with {done.returncode}", where=" ".join(command))
