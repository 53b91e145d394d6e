# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of a host that explain why nginx fails while the same request sent past it works. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .._script import Answer


@dataclass(frozen=True)
class Facts:
    """``selinux_denies``: nginx may not open connections. ``newer_files``: files that changed after the workers had started."""

    selinux_denies: bool = False
    newer_files: list[str] = field(default_factory=list)


def questions(files: Sequence[str]) -> dict[str, str]:
    """Shell commands by name; they only read.

    :param files: of nginx's configuration.
    """
    selinux = "/sys/fs/selinux"  # answers where the tools are not installed
    return {
        "enforcing": f"getenforce 2>/dev/null || cat {selinux}/enforce 2>/dev/null",
        "boolean": f"getsebool httpd_can_network_connect 2>/dev/null || cat {selinux}/booleans/httpd_can_network_connect 2>/dev/null",
        "now": "date +%s",
        "processes": "ps -C nginx -o etimes=,args=",
        "files": f"stat --format='%Y %n' -- {shlex.join(files)} 2>/dev/null",
    }


def facts_of(answers: Mapping[str, Answer]) -> Facts:
    """Facts from the answers to :func:`questions`; what is missing there is taken for harmless."""
    said = {name: answer.said.strip() for name, answer in answers.items()}
    # the kernel prints a boolean as its value and its pending value: "0 0"
    off = re.search(r"off$|^0 [01]$", said.get("boolean", ""))
    denies = said.get("enforcing", "") in ("Enforcing", "1") and off is not None
    return Facts(denies, _newer(said.get("now", ""), said.get("processes", ""), said.get("files", "")))


def refused(said: str) -> str:
    """The error for which nginx refuses its configuration; "" where ``nginx -T`` failed for another reason."""
    errors = re.findall(r"\[emerg\] (.*)", said)
    return errors[-1] if errors else ""


def _newer(now: str, processes: str, files: str) -> list[str]:
    """Configuration files that changed after the youngest worker had started."""
    ages = [int(line.split()[0]) for line in processes.splitlines() if "nginx: worker process" in line]
    if not ages or not now.isdigit():
        return []
    started = int(now) - min(ages) + 1  # ages are whole seconds, so one second is in doubt
    changed = (line.strip().partition(" ") for line in files.splitlines())
    return [name for moment, _blank, name in changed if moment.isdigit() and int(moment) > started]
