# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests a configuration that isn't there yet: ``nginx -T`` with the true main file and the files of a planned change.

The change is a :data:`Plan`: what each path under the configuration folder will be. Where the kernel lets us, nginx
runs in a mount namespace of its own that shows the folder as planned, so that nothing is written anywhere. Elsewhere
(containers without CAP_SYS_ADMIN) a copy of the main file stands for a moment beside it, with its includes redirected.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from typing import Optional, Union

from ..._errors import EdgeError
from .. import commands
from ..read.syntax import Directive, matching, parse
from .installation import Installation, Verdict, verdict


class Link(str):
    """The target of a planned symbolic link."""


#: Absolute path -> text of a file, target of a link, or None for "not there".
Plan = Mapping[str, Optional[Union[str, Link]]]

_BESIDE = ".edgemesh-test-"
_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 1 << 18


def test(nginx: Installation, plan: Plan, timeout: float) -> Verdict:
    """Run ``nginx -T`` on the configuration as it would be with ``plan`` in place.

    :param timeout: seconds; nginx resolves upstream names while it tests.
    :raises EdgeError: when nginx gives no verdict in time, or the change can't be staged here.
    """
    pid_file_there = os.path.exists(nginx.pid_file)
    try:
        staged = _in_namespace(nginx, plan, timeout)
        return staged if staged else _beside_main(nginx, plan, timeout)
    finally:
        # a test run of nginx leaves an empty pid file behind, which later makes `nginx -s` fail
        if not pid_file_there and os.path.exists(nginx.pid_file) and os.path.getsize(nginx.pid_file) == 0:
            os.unlink(nginx.pid_file)


def _run(command: list[str], timeout: float, how: str, before: Callable[[], None] | None = None) -> Verdict:
    try:
        done = commands.run(command, timeout, before)
    except subprocess.TimeoutExpired:
        raise EdgeError(
            f"nginx -t did not finish within {timeout:g} s", where=command[0], why="it may be resolving a name in the configuration",
            fix="Look for upstream host names that DNS can't answer",
        ) from None  # fmt: skip
    return verdict(done.returncode, done.stdout, done.stderr, how)


# --- in a mount namespace ---------------------------------------------------------------------------------------------


def _in_namespace(nginx: Installation, plan: Plan, timeout: float) -> Verdict | None:
    """The test in a namespace, or None where there can't be one."""
    if os.geteuid() != 0:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    stage = tempfile.mkdtemp(prefix="edgemesh-")

    def mount(source: str, target: str, kind: str | None, flags: int) -> None:
        if libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, ctypes.c_ulong(flags), None):
            raise OSError(ctypes.get_errno(), "mount", target)

    def enter() -> None:
        """Runs in the child before nginx: everything made here is gone with it, even when it is killed."""
        if libc.unshare(_CLONE_NEWNS):
            raise OSError(ctypes.get_errno(), "unshare")
        mount("none", "/", None, _MS_REC | _MS_PRIVATE)
        mount("tmpfs", stage, "tmpfs", 0)
        shadow = os.path.join(stage, "shadow")
        os.mkdir(shadow, 0o755)
        _mirror(nginx.folder, shadow, dict(plan), lambda source, target: mount(source, target, None, _MS_BIND | _MS_REC))
        mount(shadow, nginx.folder, None, _MS_BIND | _MS_REC)

    try:
        return _run(nginx.command("-T"), timeout, "namespace", enter)
    except subprocess.SubprocessError:
        # how the subprocess module reports that `enter` failed
        return None
    finally:
        os.rmdir(stage)


def _mirror(folder: str, shadow: str, plan: dict[str, str | Link | None], bind: Callable[[str, str], None]) -> None:
    """Build in ``shadow`` what ``folder`` will be: planned entries as planned, all others as they are, by bind mounts."""
    names = {entry.name: entry for entry in os.scandir(folder)} if os.path.isdir(folder) else {}
    planned = {os.path.relpath(path, folder).split("/", maxsplit=1)[0] for path in plan if _inside(path, folder)}
    for name in {*names, *planned}:
        path, target = os.path.join(folder, name), os.path.join(shadow, name)
        if path in plan:
            what = plan[path]
            if isinstance(what, Link):
                os.symlink(what, target)
            elif what is not None:
                with open(target, "w", encoding="utf-8") as file:
                    file.write(what)
        elif name in planned:
            os.mkdir(target, 0o755)
            _mirror(path, target, {key: value for key, value in plan.items() if _inside(key, path)}, bind)
        elif names[name].is_symlink():
            os.symlink(os.readlink(path), target)
        elif names[name].is_dir():
            os.mkdir(target)
            bind(path, target)
        elif names[name].is_file():
            with open(target, "w", encoding="utf-8"):
                pass
            bind(path, target)


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


# --- without one ------------------------------------------------------------------------------------------------------


def _beside_main(nginx: Installation, plan: Plan, timeout: float) -> Verdict:
    """The test with a copy of the main file beside it, whose includes lead to the planned files in a temporary folder.

    Beside it, because relative includes start from the folder of the main file. Includes inside included files can't
    be redirected this way, which is said rather than passed over.
    """
    try:
        with open(nginx.main, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        for name in os.listdir(nginx.folder):
            # of a run that was killed; nobody else is here while the folder is locked
            if name.startswith(_BESIDE):
                left = os.path.join(nginx.folder, name)
                os.unlink(left) if os.path.isfile(left) else shutil.rmtree(left, ignore_errors=True)
        folder = tempfile.mkdtemp(prefix=_BESIDE, dir=nginx.folder)
    except OSError as error:
        raise EdgeError("the change can't be tested here", where=nginx.folder, why=error.strerror or "", fix="Run it as root") from None
    copy = folder + ".conf"
    try:
        moved = _write_elsewhere(nginx.folder, plan, folder)
        redirected = _redirect(text, nginx.folder, plan, moved)
        with open(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(redirected)
        said = _run(nginx.command("-T", main=copy), timeout, "beside_main")

        def as_planned(text: str) -> str:
            return text.replace(copy, nginx.main).replace(folder, nginx.folder)

        return Verdict(said.good, [as_planned(line) for line in said.complaints], as_planned(said.dump), said.how)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if os.path.exists(copy):
            os.unlink(copy)


def _write_elsewhere(root: str, plan: Plan, folder: str) -> dict[str, str]:
    """Write the planned files under ``folder``; returns where each path is now. Their references to one another follow."""
    moved = {path: os.path.join(folder, os.path.relpath(path, root)) for path, what in plan.items() if what is not None}
    for path, target in moved.items():
        os.makedirs(os.path.dirname(target), exist_ok=True)
        what = plan[path]
        if isinstance(what, Link):
            os.symlink(what, target)
        else:
            text = str(what)
            for top in {_own_folder(root, other) for other, what in plan.items() if isinstance(what, Link)}:
                text = text.replace(os.path.join(root, top) + "/", os.path.join(folder, top) + "/")
                text = text.replace(f"include {top}/", f"include {os.path.join(folder, top)}/")
            with open(target, "w", encoding="utf-8") as file:
                file.write(text)
    return moved


def _own_folder(root: str, path: str) -> str:
    return os.path.relpath(path, root).split("/", maxsplit=1)[0]


def _redirect(text: str, root: str, plan: Plan, moved: Mapping[str, str]) -> str:
    """The main file's text with every include that meets a planned path replaced by includes of what it will read."""
    changes: list[tuple[int, int, str]] = []

    def visit(block: list[Directive]) -> None:
        for directive in block:
            visit(directive.block or [])
            if directive.name != "include" or not directive.args:
                continue
            pattern = os.path.join(root, directive.args[0])
            if not matching(pattern, plan):
                continue
            parent = os.path.dirname(pattern)
            there = [os.path.join(parent, name) for name in os.listdir(parent)] if os.path.isdir(parent) else []
            future = matching(pattern, [path for path in {*there, *moved} if plan.get(path, "") is not None])
            lines = [f"include {moved.get(path, path)};" for path in future]
            changes.append((directive.start, directive.end, "\n".join(lines)))

    visit(parse(text, "main file"))
    for start, end, replacement in sorted(changes, reverse=True):
        text = text[:start] + replacement + text[end:]
    return text
