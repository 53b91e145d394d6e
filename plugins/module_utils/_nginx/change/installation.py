# SPDX-License-Identifier: GPL-3.0-or-later
"""The nginx of this host: where it was built to look, which of its processes run, what its configuration holds."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field

from ..._errors import EdgeError
from .. import commands
from ..read.syntax import Directive, effective

_SECRET_LINE = re.compile(r"^.*PRIVATE KEY.*$", re.MULTILINE)


@dataclass(frozen=True)
class Installation:
    """An nginx program and the paths that it was built with, made absolute."""

    binary: str
    version: tuple[int, ...]
    prefix: str
    main: str
    pid_file: str
    error_log: str
    arguments: tuple[str, ...] = field(default=(), repr=False)
    #: True where ``main`` is the main file that the program takes by itself
    default_main: bool = True
    #: True where ``prefix`` is the one that the program was built with
    default_prefix: bool = True

    @property
    def folder(self) -> str:
        """The configuration folder; nginx resolves relative includes against it."""
        return os.path.dirname(self.main)

    @property
    def as_built(self) -> bool:
        """Whether it runs as built, so that a service manager which knows its name alone may look after it."""
        return self.default_main and self.default_prefix

    @property
    def version_text(self) -> str:
        """The version as nginx writes it, e.g. ``1.22.1``."""
        return ".".join(map(str, self.version))

    def command(self, *arguments: str, main: str = "") -> list[str]:
        """An argument list for this nginx with its prefix and its main file (or the one given)."""
        chosen = main or ("" if self.default_main else self.main)
        return [self.binary, *arguments, *([] if self.default_prefix else ["-p", self.prefix]), *(["-c", chosen] if chosen else [])]

    def path(self, value: str) -> str:
        """``value`` from a ``pid`` or ``error_log`` directive made absolute: nginx takes these from its prefix."""
        return os.path.join(self.prefix, value)


def discover(binary: str = "nginx", main: str = "", prefix: str = "") -> Installation | None:
    """The installation behind ``binary`` (a name or a path), or None where there is none.

    :param main: the main configuration file, where it is not the one that nginx was built with.
    :param prefix: the folder that relative paths start from, where it is not the one that nginx was built with.
    :raises EdgeError: when the program is there but does not behave as nginx.
    """
    found = shutil.which(binary, path=commands.PATH)
    if found is None:
        return None
    try:
        done = commands.run([found, "-V"], timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgeError("it can't be run", where=found, why=type(error).__name__) from None
    # nginx writes this to stderr
    version = commands.version(done.stderr)
    if done.returncode or not version:
        raise EdgeError("it doesn't answer `-V` as nginx does", where=found, fix="Set binary to the nginx program")
    line = re.search(r"^configure arguments: ?(.*)$", done.stderr, re.MULTILINE)
    arguments = tuple(re.findall(r"--(?:[^\s'\"]|'[^']*'|\"[^\"]*\")+", line[1] if line else ""))
    built = {name: value.strip("'\"") for name, _equals, value in (argument[2:].partition("=") for argument in arguments)}
    built_prefix = built.get("prefix") or "/usr/local/nginx"
    prefix = prefix or built_prefix

    def path(argument: str, default: str) -> str:
        return os.path.join(prefix, built.get(argument) or default)

    built_main = path("conf-path", "conf/nginx.conf")
    chosen = os.path.join(prefix, main) if main else built_main
    return Installation(
        binary=found,
        version=version,
        prefix=prefix,
        # the folder's links are followed once, so that mounts and renames meet the real one; the file's are not: nginx
        # resolves relative includes against the folder that the name stands in
        main=_real(chosen),
        pid_file=path("pid-path", "logs/nginx.pid"),
        error_log=path("error-log-path", "logs/error.log"),
        arguments=arguments,
        default_main=_real(chosen) == _real(built_main),
        default_prefix=os.path.realpath(prefix) == os.path.realpath(built_prefix),
    )


def _real(path: str) -> str:
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


@dataclass(frozen=True)
class Verdict:
    """What ``nginx -T`` said: whether the configuration is good, the complaints if not, and the configuration itself."""

    good: bool
    complaints: list[str]
    dump: str = field(default="", repr=False)
    how: str = ""

    @property
    def why(self) -> str:
        """The complaints as one line."""
        return "; ".join(self.complaints[:3])

    @functools.cached_property
    def tree(self) -> list[Directive]:
        """The configuration, read."""
        return effective(self.dump)


def verdict(returncode: int, stdout: str, stderr: str, how: str) -> Verdict:
    """Judge a finished ``nginx -T``."""
    if returncode == 0:
        return Verdict(True, [], stdout, how)
    # once the configuration names an error log, messages carry a date instead of "nginx:"
    serious = re.findall(r"\[(?:emerg|alert|crit|error)\] (?:\d+#\d+: )?(.+)", "\n".join(complaints(stderr)))
    return Verdict(False, list(dict.fromkeys(serious)) or complaints(stderr)[-3:] or [f"nginx -T ended with {returncode}"], "", how)


def complaints(text: str) -> list[str]:
    """The non-empty lines of nginx's messages, without anything that looks like key material."""
    return [line.strip() for line in _SECRET_LINE.sub("(key material)", text).splitlines() if line.strip()]


@dataclass(frozen=True)
class Processes:
    """nginx's processes: the master (0 where none runs) and its workers that still accept connections."""

    master: int
    workers: frozenset[int]
    draining: frozenset[int] = frozenset()


def processes(pid_file: str) -> Processes:
    """The running nginx that wrote ``pid_file``."""
    try:
        with open(pid_file, encoding="ascii") as file:
            master = int(file.read().strip() or 0)
    except (OSError, ValueError):
        master = 0
    if not master or not _title(master).startswith("nginx: master process"):
        return Processes(0, frozenset())
    workers: set[int] = set()
    draining: set[int] = set()
    for child in _children(master):
        title = _title(child)
        if title.startswith("nginx: worker process"):
            (draining if "shutting down" in title else workers).add(child)
    return Processes(master, frozenset(workers), frozenset(draining))


def _title(pid: int) -> str:
    """How the process calls itself; nginx tells master, worker and draining worker apart there."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _children(parent: int) -> list[int]:
    try:
        # a master has one thread
        with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        # a kernel without CONFIG_PROC_CHILDREN
        pass
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    # the name in parentheses may hold spaces; the parent is the second word behind it
                    if int(file.read().rpartition(b")")[2].split()[1]) == parent:
                        found.append(int(entry))
            except (OSError, IndexError, ValueError):
                continue
    return found
