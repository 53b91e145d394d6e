# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a copy of a Debian root one particular host: its name, keys, resolver and way to packages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path

from plugins.module_utils._errors import EdgeError

from . import apt, files, settings
from .settings import Host
from .shell import run

HOST_KEYS = settings.STATE / "ssh" / "hosts"
# A user's own configuration must not send the lab's connections elsewhere; one to a VM that was ended must not hang.
SSH_OPTIONS = " -o ".join(
    (
        "-F none",
        f"UserKnownHostsFile={settings.KNOWN_HOSTS}",
        "GlobalKnownHostsFile=none",
        "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes",
        "ServerAliveInterval=5",
    )
)
ADMIN = 1000  # uid and gid of the user that Ansible connects as


def host_files(host: Host) -> Iterator[apt.File]:
    """What a root takes from the machine and from the lab each time it boots."""
    public = settings.SSH_KEY.with_suffix(".pub").read_bytes()
    host_key = HOST_KEYS / host.name
    yield apt.File("/etc/hostname", f"{host.name}\n".encode())
    yield apt.File("/etc/hosts", hosts_file(host, Path("/etc/hosts").read_text()).encode())
    yield apt.File("/etc/resolv.conf", resolvers().encode())
    yield apt.File("/etc/ssh/ssh_host_ed25519_key", host_key.read_bytes(), 0o600)
    yield apt.File("/etc/ssh/ssh_host_ed25519_key.pub", host_key.with_suffix(".pub").read_bytes())
    yield apt.File("/root/.ssh/authorized_keys", public, 0o600)
    yield apt.File("/home/admin/.ssh/authorized_keys", public, 0o600, ADMIN)
    yield apt.File("/etc/apt/sources.list.d/debian.sources", apt.sources(host.release).encode())
    yield from apt.client_files()


def hosts_file(host: Host, of_machine: str) -> str:
    """/etc/hosts of a host: itself, and what the machine's own file knows beside loopback."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost", f"{host.address} {host.name}", f"{host.address6} {host.name}"]
    for line in of_machine.splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 1 and not is_loopback(words[0]):
            lines.append(" ".join(words))
    return "\n".join(lines) + "\n"


def resolvers(candidates: Sequence[Path] = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))) -> str:
    """The first of the machine's resolver configurations whose servers can be reached from elsewhere.

    :raises EdgeError: all listen on the machine's loopback only.
    """
    for path in candidates:
        text = path.read_text() if path.is_file() else ""
        lines = [line for line in text.splitlines() if not (line.startswith("nameserver") and is_loopback(line.split()[-1]))]
        if any(line.startswith("nameserver") for line in lines):
            return "\n".join(lines) + "\n"
    raise EdgeError(
        "no name server that VMs can reach",
        where=str(candidates[0]),
        why="it names loopback addresses only",
        fix="Name the network's own server there",
    )


def is_loopback(address: str) -> bool:
    """Whether an address means "this machine"; also what is no address."""
    try:
        return ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return True


def make_key(path: Path) -> None:
    """A key pair, made once; ssh-keygen writes the public half last."""
    public = path.with_suffix(".pub")
    if not path.is_file() or not public.is_file() or len(public.read_text().split()) < 2:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"edgemesh lab {path.name}", "-f", path])


def forget_key(name: str) -> None:
    """Remove a host's key pair."""
    for suffix in ("", ".pub"):
        (HOST_KEYS / name).with_suffix(suffix).unlink(missing_ok=True)


def write_known_hosts(hosts: Iterable[Host]) -> None:
    """Name the keys of exactly these hosts."""
    lines = []
    for host in sorted(hosts, key=lambda host: host.name):
        public = (HOST_KEYS / host.name).with_suffix(".pub")
        if public.is_file():  # the next `up` of a host that lost it makes another
            kind, key, *_ = public.read_text().split()
            lines.append(f"{host.name},{host.address},{host.address6} {kind} {key}\n")
    files.write(settings.KNOWN_HOSTS, "".join(lines))
