# SPDX-License-Identifier: GPL-3.0-or-later
"""A network namespace for each VM and client: `eth0` inside, its other end on the lab's bridge."""

from __future__ import annotations

import hashlib
import os
import threading
from ipaddress import IPv4Address, ip_network
from pathlib import Path

from . import settings
from .settings import Host
from .shell import run, succeeds

FOLDER = Path("/run/netns")  # where iproute2 keeps the names of namespaces
PREFIX = "edgelab-"
PORT = "el-"
LINKS = Path("/sys/class/net")
# `ip netns add` makes the folder above a mount point, which two at once do twice.
adding = threading.Lock()


def namespace(name: str) -> str:
    """The namespace's name, for `ip netns exec`."""
    return f"{PREFIX}{name}"


def path(name: str) -> Path:
    """The namespace as a file, for nsenter."""
    return FOLDER / namespace(name)


def port(name: str) -> str:
    """The interface's name at the bridge: within the kernel's 15 characters, and different for different hosts."""
    return PORT + (name if len(name) <= 12 else f"{name[:7]}-{hashlib.sha256(name.encode()).hexdigest()[:4]}")


def hardware_address(address: str) -> str:
    """A locally administered MAC address that stays the same, so that no neighbour remembers a wrong one."""
    return "02:ed:" + IPv4Address(address).packed.hex(":")


def inode(name: str) -> int | None:
    """By which processes are recognised as being inside; None where there is no such namespace."""
    try:
        # A name whose mount is gone (a restart, a killed `ip`) is an ordinary file.
        return path(name).stat().st_ino if path(name).stat().st_dev != FOLDER.stat().st_dev else None
    except FileNotFoundError:
        return None


def ensure(host: Host) -> None:
    """Make the host's namespace and its way to the bridge; mend what differs, leave the rest undisturbed."""
    if inode(host.name) is None:
        remove(host.name)
        with adding:
            run(["ip", "netns", "add", namespace(host.name)])
    inside, outside = ["ip", "-netns", namespace(host.name)], port(host.name)
    if not (LINKS / outside).exists() or not succeeds([*inside, "link", "show", "eth0"]):
        unplug(host.name)
        peer = ["peer", "name", "eth0", "address", hardware_address(host.address), "netns", namespace(host.name)]
        run(["ip", "link", "add", outside, "type", "veth", *peer])
    run(["ip", "link", "set", outside, "master", settings.BRIDGE, "up"])
    run([*inside, "-batch", "-"], text=inner_commands(host, way_out_mtu(), ipv6=Path("/proc/sys/net/ipv6").exists()))


def inner_commands(host: Host, mtu: int | None, ipv6: bool) -> str:
    """What `ip -batch` is told inside; all of it may be repeated.

    :param mtu: of the machine's own way out, in bytes; a download would stall on packets that are too long for it.
    """
    limit = f" mtu {mtu}" if mtu else ""
    lines = [
        "link set lo up",
        "link set eth0 up",
        f"address replace {host.address}/{ip_network(settings.NETWORK).prefixlen} dev eth0",
        f"route replace default via {settings.NODE_IP}{limit}",
    ]
    if ipv6:
        lines += [
            f"address replace {host.address6}/{ip_network(settings.NETWORK6).prefixlen} dev eth0 nodad",
            f"route replace default via {settings.NODE_IP6}{limit}",
        ]
    return "\n".join(lines) + "\n"


def way_out_mtu() -> int | None:
    """The smallest packet size, in bytes, of the interfaces that hold a default route; None without any."""
    found = []
    for line in run(["ip", "route", "show", "default"]).splitlines():
        words = line.split()
        if "dev" in words:
            found.append(int((LINKS / words[words.index("dev") + 1] / "mtu").read_text()))
    return min(found, default=None)


def names() -> set[str]:
    """Hosts of which a namespace is left, whatever else is known of them."""
    try:
        return {entry.name.removeprefix(PREFIX) for entry in FOLDER.iterdir() if entry.name.startswith(PREFIX)}
    except FileNotFoundError:
        return set()


def remove(name: str) -> None:
    """Take namespace and interface away, as far as they are there."""
    unplug(name)
    if inode(name) is not None:
        run(["ip", "netns", "delete", namespace(name)])
    path(name).unlink(missing_ok=True)


def unplug(name: str) -> None:
    """Take the interface away, if it is there. The kernel itself does it when the other end's namespace goes, perhaps right now."""
    link = LINKS / port(name)
    run(["ip", "link", "delete", link.name], check=False)
    if link.exists():
        run(["ip", "link", "delete", link.name])


def remove_rest() -> None:
    """Take away interfaces without a namespace, and undo what `ip netns add` did to its folder once nobody uses that."""
    for link in LINKS.iterdir():
        if link.name.startswith(PORT):
            run(["ip", "link", "delete", link.name], check=False)
    if FOLDER.is_dir() and not os.listdir(FOLDER):
        # Bound onto itself, which os.path.ismount doesn't see; perhaps more than once.
        while succeeds(["mountpoint", "--quiet", FOLDER]) and succeeds(["umount", FOLDER]):
            pass
        if not succeeds(["mountpoint", "--quiet", FOLDER]):
            FOLDER.rmdir()
