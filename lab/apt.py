# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine's own way to the Debian archive, for another root file system.

Mirrors, proxies, credentials and authorities are asked of apt when they are needed. None of them is written into this
project or into a cached root, so the lab follows when the machine's configuration changes.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from plugins.module_utils._errors import EdgeError

from .shell import run

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
AUTHORITIES = Path("/usr/local/share/ca-certificates")
FIELDS = ("CREATED_BY", "ORIGIN", "CODENAME", "REPO_URI", "COMPONENT")
# What apt knows by itself, and what only matters to the machine's own desktop tools.
NOT_TAKEN = re.compile(r"Acquire::(IndexTargets|CompressionTypes|Changelogs|cdrom)\b")

# apt takes most of a second for its answer; several VMs that start at once need it once.
asking = threading.Lock()


@dataclass(frozen=True)
class File:
    """A file to be put into a root.

    :param path: absolute, as seen inside.
    :param owner: numeric user and group.
    """

    path: str
    content: bytes
    mode: int = 0o644
    owner: int = 0


def sources(release: str) -> str:
    """Where this machine gets Debian from, as a deb822 source list for another release.

    :raises EdgeError: no source of this machine is Debian's archive.
    """
    with asking:
        return translate(archive(), host_release(), release)


@cache
def archive() -> str:
    """What apt downloads from Debian's archive: lines of FIELDS, separated by tabs.

    :raises EdgeError: none of its sources is that.
    """
    codename = host_release()
    for attempt in range(2):
        targets = run(["apt-get", "indextargets", "--format", "\t".join(f"$({name})" for name in FIELDS)])
        if translate(targets, codename, codename):
            return targets
        if attempt == 0:  # apt knows who publishes a source only after it has read that source's index
            run(["apt-get", "update"], timeout=600)
    raise EdgeError(
        f"none of this machine's apt sources is the Debian archive of {codename}",
        why="VMs are installed from there",
        fix="Add it to /etc/apt/sources.list",
    )


def translate(targets: str, codename: str, release: str) -> str:
    """Turn apt's own list of what it downloads into sources of another release.

    :param targets: as of ``archive``.
    :param codename: the machine's release.
    """
    wanted = {f"{codename}{pocket}": f"{release}{pocket}" for pocket in ("", "-updates", "-security")}
    found: dict[tuple[str, str], list[str]] = {}
    for line in targets.splitlines():
        fields = dict(zip(FIELDS, line.split("\t")))
        if fields.get("CREATED_BY") == "Packages" and fields["ORIGIN"] == "Debian" and fields["CODENAME"] in wanted:
            components = found.setdefault((fields["REPO_URI"], wanted[fields["CODENAME"]]), [])
            if fields["COMPONENT"] not in components:
                components.append(fields["COMPONENT"])
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {' '.join(components)}\nSigned-By: {KEYRING}\n"
        for (uri, suite), components in found.items()
    )


def host_release() -> str:
    """Code name of this machine's Debian release, e.g. bookworm."""
    facts = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return facts.get("VERSION_CODENAME", "").strip('"')


@cache
def client_files() -> tuple[File, ...]:
    """What makes apt inside a root reach the archive the way it does on this machine, but for the sources."""
    settings = acquire(run(["apt-config", "dump", "Acquire"]), os.environ)
    found = [File("/etc/apt/apt.conf.d/90machine", "".join(f'{name} "{value}";\n' for name, value in settings).encode())]
    for _, value in settings:
        if value.startswith("/") and Path(value).is_file():  # a CA, a client certificate, a program that finds the proxy
            found.append(of_machine(Path(value)))
    credentials = Path("/etc/apt/auth.conf")
    for path in (credentials, *sorted(Path("/etc/apt/auth.conf.d").glob("*.conf"))):
        if path.is_file():
            found.append(of_machine(path, mode=0o600))
    return tuple(found)


def acquire(dump: str, environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """The settings by which apt downloads; proxies of the environment count where apt's configuration names none."""
    found = [match.groups() for match in re.finditer(r'^(\S+) "(.+)";$', dump, re.MULTILINE) if not NOT_TAKEN.match(match[1])]
    settings = [(str(name), str(value)) for name, value in found]
    named = {name.lower() for name, _ in settings}
    for scheme in ("http", "https"):
        if (proxy := environment.get(f"{scheme}_proxy")) and f"acquire::{scheme}::proxy" not in named:
            settings.append((f"Acquire::{scheme}::Proxy", proxy))
            for host in filter(None, re.split(r"[,\s]+", environment.get("no_proxy", ""))):
                settings.append((f"Acquire::{scheme}::Proxy::{host}", "DIRECT"))
    return settings


def authorities() -> list[File]:
    """The authorities that this machine's administrator trusts beside the distribution's."""
    return [of_machine(path) for path in sorted(AUTHORITIES.rglob("*.crt")) if path.is_file()]


def of_machine(path: Path, mode: int | None = None) -> File:
    """A file of this machine, for the same place inside."""
    return File(str(path), path.read_bytes(), path.stat().st_mode & 0o777 if mode is None else mode)
