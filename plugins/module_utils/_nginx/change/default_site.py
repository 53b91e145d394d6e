# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells a distribution's welcome page from a site that somebody made of it, which must not be taken away."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess

from ..._errors import EdgeError
from .. import commands
from ..read.syntax import Directive, parse

#: What packages themselves put into a document root, and what ACME clients leave there.
_NOT_CONTENT = {"index.nginx-debian.html", ".well-known"}


def in_use(path: str) -> str:
    """Why the default site at ``path`` looks like the user's own; empty when it is as its package brought it, serving nothing."""
    real = os.path.realpath(path)
    try:
        with open(real, "rb") as file:
            content = file.read()
    except OSError:
        # a dangling link serves nobody
        return ""
    changed = _changed(real, hashlib.md5(content).hexdigest())  # noqa: S324 - dpkg's own checksum
    if changed:
        return changed
    for root in _roots(content.decode("utf-8", "replace")):
        # below /usr only packages write
        extra = sorted(set(_entries(root)) - _NOT_CONTENT) if not root.startswith("/usr/") else []
        if extra:
            return f"{root} holds {extra[0]}"
    return ""


def _changed(real: str, md5: str) -> str:
    if shutil.which("dpkg-query"):
        owner = re.match(r"([^:,\n]+)", _output("dpkg-query", "-S", real))
        shipped = (
            dict(re.findall(r"^ (\S+) ([0-9a-f]{32})", _output("dpkg-query", "-W", "-f=${Conffiles}\n", owner[1]), re.MULTILINE))
            if owner
            else {}
        )
        if real not in shipped:
            return "no package brought it"
        return "" if shipped[real] == md5 else "it was edited"
    if shutil.which("rpm"):
        if not _output("rpm", "-qf", real).strip() or "not owned" in _output("rpm", "-qf", real):
            return "no package brought it"
        edited = re.search(rf"^..5.*\s{re.escape(real)}$", _output("rpm", "-Vf", real), re.MULTILINE)
        return "it was edited" if edited else ""
    return "there is no package manager to ask about it"


def _output(*command: str) -> str:
    try:
        return commands.run(command, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _roots(text: str) -> list[str]:
    found: list[str] = []

    def visit(block: list[Directive]) -> None:
        for directive in block:
            if directive.name in ("root", "alias") and directive.args:
                found.append(directive.args[0])
            visit(directive.block or [])

    try:
        visit(parse(text))
    except EdgeError:
        return []
    return found


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
