"""What a host says about itself that explains an nginx that fails where the same request past it works. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass
class Facts:
    """What stands in nginx's way: SELinux, a configuration that is newer than the workers, or one that nginx refuses."""

    selinux_denies: bool = False
    newer_files: list[str] = field(default_factory=list)
    broken: str = ""


def facts_of(broken: str, lines: str) -> Facts:
    """From what commands on the host print.

    :param broken: standard error of ``nginx -T`` where that failed.
    :param lines: each begins with the command that it is from: ``getenforce``, ``getsebool``, ``date`` (seconds), ``stat`` (time of change
        in seconds and name of a file of the configuration); or with the age in seconds of an nginx process, whose command line follows.
    """
    said: dict[str, list[str]] = {}
    for line in lines.splitlines():
        command, _blank, output = line.strip().partition(" ")
        key, text = ("ps", line) if command.isdigit() else (command, output)
        said.setdefault(key, []).append(text.strip())
    errors = [line for line in broken.splitlines() if "[emerg]" in line]
    # a boolean of the kernel is its value and what it is about to become, "0 0"
    denies = said.get("getenforce", [""])[0] in ("Enforcing", "1") and bool(re.search(r"(off|^0 [01])$", said.get("getsebool", [""])[0]))
    return Facts(denies, _newer(said), errors[-1].partition("[emerg] ")[2] if errors else "")


def _newer(said: dict[str, list[str]]) -> list[str]:
    """Configuration files that changed after the youngest worker began."""
    ages = [int(line.split()[0]) for line in said.get("ps", []) if "nginx: worker process" in line]
    now = said.get("date", [""])[0]
    if not ages or not now.isdigit():
        return []
    began = int(now) - min(ages) + 1  # to the second, so a second of doubt is left
    changed = (line.partition(" ") for line in said.get("stat", []))
    return [name for moment, _blank, name in changed if moment.isdigit() and int(moment) > began]
