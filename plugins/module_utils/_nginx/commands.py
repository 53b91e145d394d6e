# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs nginx and the programs around it, and reads what nginx says of itself."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Sequence

#: Where distributions and vendors put such programs; a task's PATH often lacks the sbin folders.
FOLDERS = "/usr/sbin:/usr/local/sbin:/sbin:/usr/local/nginx/sbin:/opt/nginx/sbin"
PATH = f"{os.environ.get('PATH', '/usr/bin:/bin')}:{FOLDERS}"


def run(
    command: Sequence[str], timeout: float, before: Callable[[], None] | None = None, discard: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a program and return what it said, whatever its exit code.

    :param timeout: seconds.
    :param before: called in the child before the program starts.
    :param discard: drop its output. A daemon that it leaves behind would keep a pipe open, and the reader would wait for ever.
    :raises OSError: it can't be started.
    :raises subprocess.SubprocessError: ``before`` failed, or (TimeoutExpired) it did not end in time.
    """
    sink = subprocess.DEVNULL if discard else subprocess.PIPE
    # AnsibleModule.run_command knows no timeout, and nothing here knows a module
    return subprocess.run(  # pylint: disable=ansible-bad-function
        list(command), stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, text=True, errors="replace", timeout=timeout, check=False,
        preexec_fn=before, env={**os.environ, "PATH": PATH},
    )  # fmt: skip


def shell(words: Sequence[str], *flags: str) -> str:
    """nginx as a host's shell runs it, both streams in one; found where a task's PATH lacks its folder.

    :param words: the program as a name or a path, or a whole command that runs it elsewhere (``kubectl exec … nginx``).
    :param flags: such as ``-v`` and ``-T``.
    """
    return f"PATH=$PATH:{FOLDERS} {shlex.join([*words, *flags])} 2>&1"


def version(said: str) -> tuple[int, ...]:
    """The version in what ``nginx -v`` or ``-V`` says, empty where there is none."""
    found = re.search(r"^nginx version: [^/\n]+/([0-9.]+)", said, re.MULTILINE)
    return tuple(int(part) for part in found[1].split(".") if part) if found else ()
