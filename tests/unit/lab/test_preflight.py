# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from lab import preflight, settings


def said(problems: object) -> str:
    return " ".join(problem.sentence for problem in problems)  # type: ignore[attr-defined]


def test_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in said(preflight.root())
    assert "sudo" in said(preflight.root())


def test_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert said(preflight.root()) == ""


def test_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40, 2**29))
    assert "0.5 GiB are free" in said(preflight.space())
    assert "EDGEMESH_CACHE" in said(preflight.space())


def test_network_that_somebody_else_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = '[{"dst": "default", "dev": "eth0"}, {"dst": "198.18.0.0/15", "dev": "tun0"}]'
    monkeypatch.setattr(preflight, "run", lambda argv, **_: routes if "-4" in argv else "[]")
    text = said(preflight.addresses())
    assert f"{settings.NETWORK} is in use" in text
    assert "198.18.0.0/15 on tun0" in text
    assert settings.POD_CIDR in text


def test_own_network_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    own = f'[{{"dst": "{settings.NETWORK}", "dev": "{settings.BRIDGE}"}}, {{"dst": "10.0.0.0/8", "dev": "eth0"}}]'
    monkeypatch.setattr(preflight, "run", lambda argv, **_: own if "-4" in argv else "[]")
    assert said(preflight.addresses()) == ""


def test_busy_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("0.0.0.0", 0)) as busy:
        port = busy.getsockname()[1]
        monkeypatch.setattr(settings, "NODE_PORTS", {"https": port})
        monkeypatch.setattr(preflight, "running", lambda _: True)
        text = said(preflight.ports())
    assert f"port {port} is busy" in text
    assert "the gateway's https needs it" in text
    assert said(preflight.ports()) == ""


def test_missing_kernel_feature_is_named_with_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    def succeeds(argv: list[str], **_: object) -> bool:
        return "veth" not in argv

    monkeypatch.setattr(preflight, "succeeds", succeeds)
    monkeypatch.setattr(preflight, "controllers", lambda: {"cpu", "cpuset", "memory", "pids"})
    text = said(preflight.kernel())
    assert "no virtual Ethernet pairs (CONFIG_VETH)" in text
    assert "modprobe veth" in text
    assert text.count("the kernel has no") == 1


def test_missing_controllers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "succeeds", lambda argv, **_: True)
    monkeypatch.setattr(preflight, "controllers", lambda: {"cpu", "cpuset", "pids"})
    assert "control groups lack memory" in said(preflight.kernel())


def test_controllers_of_both_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    monkeypatch.setattr(preflight.cgroups, "hierarchies", lambda: [tmp_path])
    assert {"cpuset", "cpu", "memory", "pids"} <= preflight.controllers()
