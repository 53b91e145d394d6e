# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a host matters to the nginx on it, as its shell answers: to start Python there would cost more than all the answers."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._errors import EdgeError
from .._script import Answer, Script
from . import commands

_ASKED = {
    "os": "cat /etc/os-release",
    "servers": "cat /etc/resolv.conf",
    "ipv6": "cat /proc/net/if_inet6",
    # as libselinux decides whether it is enabled
    "selinux": "test -e /sys/fs/selinux/enforce && test -e /etc/selinux/config",
}
#: os-release(5): ID, or what ID_LIKE says that it is like
_FAMILIES = {"Debian": {"debian", "ubuntu"}, "RedHat": {"rhel", "fedora", "centos"}}


@dataclass(frozen=True)
class Host:
    """A host as the nginx on it sees it.

    :param build: what ``nginx -V`` says; empty where there is no nginx that answers.
    :param os_family: ``Debian``, ``RedHat``, or empty for any other.
    :param ipv6_addresses: of all interfaces, without loopback.
    :param name_servers: of ``/etc/resolv.conf``.
    :param selinux: whether SELinux is enabled, be it enforcing or not.
    :param parts: whose what is, as module ``nginx_config`` wrote it: ``list``, ``name``, ``claims`` and ``agrees`` of each part.
    """

    build: str = field(repr=False)
    os_family: str
    ipv6_addresses: tuple[str, ...]
    name_servers: tuple[str, ...]
    selinux: bool
    parts: tuple[dict[str, Any], ...] = ()

    @property
    def version(self) -> str:
        """nginx's version as it writes it, e.g. ``1.26.3``; empty where there is none."""
        return ".".join(map(str, commands.version(self.build)))


def questions(binary: str, name: str = "edgemesh") -> Script:
    """What to ask the host.

    :param binary: the nginx program, as a name or a path.
    :param name: of ``nginx_config``'s folder beside nginx's main file.
    """
    build = commands.shell([binary], "-V")
    main = f"{build} | sed -n 's/^configure arguments:.* --conf-path=\\([^ ]*\\).*/\\1/p'"
    parts = f'main=$({main}); main=${{main:-/etc/nginx/nginx.conf}}; cat "${{main%/*}}"/{shlex.quote(name)}/current/parts.json'
    return Script({"nginx": build, "parts": parts, **_ASKED})


def read(answers: Mapping[str, Answer]) -> Host:
    """The host by its answers to :func:`questions`.

    :raises EdgeError: one is missing.
    """
    missing = [name for name in ("nginx", "parts", *_ASKED) if name not in answers]
    if missing:
        raise EdgeError(
            f"the host's shell did not answer ({', '.join(missing)})",
            fix="Run with -vvv to see its output; it must be a POSIX shell",
            code="HOST_FAILED",
        )
    said = {name: "" if each.status else each.said for name, each in answers.items()}
    return Host(
        build=said["nginx"] if commands.version(said["nginx"]) else "",
        os_family=_family(said["os"]),
        ipv6_addresses=tuple(dict.fromkeys(_addresses(said["ipv6"]))),
        name_servers=tuple(re.findall(r"^nameserver[ \t]+([^\s#;]+)", said["servers"], re.MULTILINE)),
        selinux=answers["selinux"].status == 0,
        parts=tuple(_parts(said["parts"])),
    )


def _parts(text: str) -> Iterator[dict[str, Any]]:
    try:
        found = json.loads(text)
    except ValueError:
        return
    for each in found if isinstance(found, list) else []:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            yield {"list": str(each["list"]), "name": str(each["name"]), "claims": dict(each["claims"]), "agrees": dict(each["agrees"])}


def _family(release: str) -> str:
    ids = {word for value in re.findall(r"^ID(?:_LIKE)?=(.*)$", release, re.MULTILINE) for word in value.strip().strip("\"'").split()}
    return next((family for family, members in _FAMILIES.items() if ids & members), "")


def _addresses(table: str) -> Iterator[str]:
    """The addresses of the kernel's table: 32 digits without colons, and further columns."""
    for digits in re.findall(r"^([0-9a-f]{32}) ", table, re.MULTILINE):
        address = ipaddress.IPv6Address(int(digits, 16))
        if not address.is_loopback:
            yield str(address)
