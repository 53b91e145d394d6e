"""What a host says about itself that explains an nginx that fails where the same request past it works. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Facts:
    """What the host says about itself, where it was asked: SELinux in the way, configuration newer than the workers."""

    selinux_denies: bool = False
    newer_files: list[str] = field(default_factory=list)
    broken: str = ""


def facts_of(broken: str, outputs: dict[str, str]) -> Facts:
    """From what commands on the host print.

    :param broken: standard error of ``nginx -T`` where that failed.
    :param outputs: by command: ``getenforce``, ``getsebool``, ``ps`` (``etimes= args=`` of all processes), ``stat`` (``%Y %n`` of the
        configuration's files), ``date`` (seconds).
    """
    lines = [line for line in broken.splitlines() if "[emerg]" in line]
    enforcing = outputs.get("getenforce", "").strip() == "Enforcing"
    return Facts(
        selinux_denies=enforcing and outputs.get("getsebool", "").strip().endswith("off"),
        newer_files=_newer(outputs),
        broken=lines[-1].partition("[emerg] ")[2] if lines else "",
    )


def _newer(outputs: dict[str, str]) -> list[str]:
    """Configuration files that changed after the youngest worker began."""
    ages = [int(line.split()[0]) for line in outputs.get("ps", "").splitlines() if "nginx: worker process" in line]
    now = outputs.get("date", "").strip()
    if not ages or not now.isdigit():
        return []
    began = int(now) - min(ages)  # to the second, so a second of doubt is left
    changed = (line.partition(" ") for line in outputs.get("stat", "").splitlines())
    return [name for moment, _blank, name in changed if moment.isdigit() and int(moment) > began + 1]
