# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian packages that the lab runs on, installed without starting their services."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from . import rootfs
from .progress import Progress
from .shell import run, succeeds

PACKAGES = (
    "containerd",
    "containernetworking-plugins",
    "runc",
    "etcd-server",
    "iptables",
    "conntrack",  # kube-proxy forgets connections with it
    "socat",  # kubectl port-forward
    "iproute2",
    "python3",  # an image of it
    "util-linux",
    *rootfs.HOST_PACKAGES,
)
SERVICES = ("containerd", "etcd", "haproxy", "nginx", "ssh")
POLICY = Path("/usr/sbin/policy-rc.d")
REFUSE = "#!/bin/sh\n# Put here by the lab while it installs packages: their services stay off.\nexit 101\n"


def missing(packages: Iterable[str] = PACKAGES) -> list[str]:
    """Which of these aren't installed."""
    listed = run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"])
    installed = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    return sorted(set(packages) - installed)


def ensure(progress: Progress, packages: Iterable[str] = PACKAGES) -> None:
    """Install what is missing; the machine's own services stay as they are."""
    wanted = missing(packages)
    if not wanted:
        return
    with progress.step(f"install {' '.join(wanted)}"):
        services = [name for name in SERVICES if not succeeds(["systemctl", "cat", f"{name}.service"])]
        own_policy = not POLICY.exists() or POLICY.read_text() == REFUSE
        if own_policy:
            POLICY.write_text(REFUSE)
            POLICY.chmod(0o755)
        try:
            run(["apt-get", "update"], timeout=600, fix="Check this machine's apt sources and its way to them")
            install = ["apt-get", "install", "--yes", "--no-install-recommends", *wanted]
            run(install, env={"DEBIAN_FRONTEND": "noninteractive"}, timeout=1200, fix=f"Try it by hand: {' '.join(install)}")
        finally:
            if own_policy:
                POLICY.unlink(missing_ok=True)
        # The lab runs these programs itself; where systemd is, they would also start with the machine.
        if services and Path("/run/systemd/system").exists():
            run(["systemctl", "disable", *(f"{name}.service" for name in services)], check=False)
