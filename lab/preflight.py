# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab can't do without, looked at before anything is changed, each with its remedy."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from plugins.module_utils._errors import EdgeError

from . import build, cgroups, configuration, settings
from .processes import running
from .shell import run, succeeds

GIB = 2**30
OWN = (settings.BRIDGE, settings.POD_BRIDGE)
# Run in a network namespace that ends with the test, so nothing of the machine's own is touched.
TRIALS = {
    "bridges (CONFIG_BRIDGE)": ("ip link add trial0 type bridge", "bridge"),
    "virtual Ethernet pairs (CONFIG_VETH)": ("ip link add trial0 type veth peer name trial1", "veth"),
    "address translation (CONFIG_NF_NAT, CONFIG_NFT_COMPAT)": (
        "iptables -t nat -A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE",
        "nft_compat",
    ),
    "iptables matches for Services (CONFIG_NETFILTER_XT_MATCH_*)": (
        "iptables -t nat -A PREROUTING -m comment --comment t -m addrtype --dst-type LOCAL"
        " -m statistic --mode random --probability 0.5 -j MARK --set-xmark 0x1/0x1",
        "xt_statistic",
    ),
    "connection tracking (CONFIG_NF_CONNTRACK)": ("iptables -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT", "nf_conntrack"),
}


def before_packages() -> None:
    """What can be told on a machine as it comes.

    :raises EdgeError: the first thing that is wrong.
    """
    refuse(root())
    refuse(machine())
    refuse(space())


def after_packages() -> None:
    """What needs the lab's tools to be told.

    :raises EdgeError: the first thing that is wrong.
    """
    refuse(kernel())
    refuse(addresses())
    refuse(ports())


def refuse(problems: Iterator[EdgeError]) -> None:
    """Fail with the first problem."""
    for problem in problems:
        raise problem


def root() -> Iterator[EdgeError]:
    """Whether we may do it at all."""
    if os.geteuid():
        yield EdgeError(
            "the lab needs root", why="it makes network interfaces, mounts and containers", fix=f"sudo {sys.executable} -m lab ..."
        )


def machine() -> Iterator[EdgeError]:
    """The operating system and the processor."""
    if not shutil.which("apt-get"):
        yield EdgeError("there is no apt-get", why="the lab's parts are Debian packages", fix="Use Debian 12 or newer")
    if build.architecture() not in ("amd64", "arm64"):
        yield EdgeError(f"no Envoy is published for {os.uname().machine}", fix="Use an x86_64 or aarch64 machine")


def space() -> Iterator[EdgeError]:
    """Disk and memory."""
    build_needed = not settings.IMAGES.exists() and not list((settings.CACHE / "go").glob("kube-apiserver-*"))
    for folder, gib, use in (
        (settings.CACHE, 16 if build_needed else 2, "programs and what they are built from"),
        (settings.STATE, 4, "images and VMs"),
    ):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(there).free / GIB
        if free < gib:
            yield EdgeError(
                f"{free:.1f} GiB are free, {gib} are needed",
                where=str(folder),
                why=f"for {use}",
                fix="Free some, or move the cache: EDGEMESH_CACHE=/elsewhere",
            )
    memory = (
        int(next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))) / 2**20
    )
    wanted = 4.0 if build_needed else 2.5
    if running("kube-apiserver") is None and memory < wanted:
        yield EdgeError(
            f"{memory:.1f} GiB of memory are available, {wanted:g} are needed", fix="End other programs, or use a bigger machine"
        )


def kernel() -> Iterator[EdgeError]:
    """Features of the kernel; modules are loaded where that is how it has them."""
    if not filesystem("overlay"):
        yield EdgeError(
            "the kernel has no overlayfs", why="containers are made of overlays", fix="modprobe overlay, or a kernel with CONFIG_OVERLAY_FS"
        )
    if not succeeds(["unshare", "--mount", "--net", "--pid", "--fork", "--ipc", "--uts", "true"]):
        yield EdgeError(
            "namespaces can't be made", why="is this a container without CAP_SYS_ADMIN?", fix="Use a machine or a VM of its own"
        )
    for feature, (trial, module) in TRIALS.items():
        command = ["unshare", "--net", *trial.split()]
        if not succeeds(command) and not (succeeds(["modprobe", module]) and succeeds(command)):
            yield EdgeError(f"the kernel has no {feature}", why=f"tried: {trial}", fix=f"modprobe {module}, or a kernel that has it")
    if not Path("/proc/sys/net/bridge").exists() and not succeeds(["modprobe", "br_netfilter"]):
        yield EdgeError("the kernel has no br_netfilter", why="answers between pods would skip Services' NAT", fix="modprobe br_netfilter")
    lacking = cgroups.CONTROLLERS - controllers()
    if lacking:
        yield EdgeError(f"control groups lack {', '.join(sorted(lacking))}", fix="Mount them, or boot with cgroup_enable=memory")


def filesystem(name: str) -> bool:
    """Whether the kernel has this kind of file system."""
    known = Path("/proc/filesystems")
    return name in known.read_text().split() or (succeeds(["modprobe", name]) and name in known.read_text().split())


def controllers() -> set[str]:
    """Controllers that are mounted, of either version."""
    found: set[str] = set()
    for hierarchy in cgroups.hierarchies():
        unified = hierarchy / "cgroup.controllers"
        if unified.exists():
            found |= set(unified.read_text().split())
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, _, kind, options, *_ = line.split()
        if kind == "cgroup":
            found |= set(options.split(","))
    return found


def addresses() -> Iterator[EdgeError]:
    """Whether somebody else uses the lab's networks."""
    ours = [
        ipaddress.ip_network(each)
        for each in (
            settings.NETWORK,
            settings.NETWORK6,
            settings.POD_CIDR,
            settings.POD_CIDR6,
            settings.SERVICE_CIDR,
            settings.SERVICE_CIDR6,
        )
    ]
    for family in ("-4", "-6"):
        for route in json.loads(run(["ip", family, "-json", "route", "show", "table", "all"]) or "[]"):
            if route["dst"] == "default" or route.get("dev") in OWN:
                continue
            there = ipaddress.ip_network(route["dst"], strict=False)
            for network in ours:
                if there.version == network.version and there.prefixlen and there.overlaps(network):
                    yield EdgeError(
                        f"the lab's network {network} is in use",
                        why=f"a route to {there} on {route.get('dev', '?')}",
                        fix="Remove it, or choose another in lab/settings.py while there is no lab",
                    )


def ports() -> Iterator[EdgeError]:
    """Whether somebody else listens, on every address, where the lab wants to on its own."""
    wanted = {port: name for name, port in configuration.PORTS.items() if running(name) is None}
    wanted |= {port: f"the gateway's {name}" for name, port in settings.NODE_PORTS.items()}
    for port, name in wanted.items():
        with socket.socket() as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind(("0.0.0.0", port))
            except OSError:
                said = run(["ss", "-Hltnp", f"sport = :{port}"], check=False).strip()
                if all(line.split()[3].startswith(settings.NODE_IP) for line in said.splitlines()):
                    continue  # a listener of ours whose start is being repaired
                yield EdgeError(f"port {port} is busy", why=f"{name} needs it; there is: {said}", fix="End that program")
