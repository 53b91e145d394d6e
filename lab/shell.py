# SPDX-License-Identifier: GPL-3.0-or-later
"""Run other programs and say what they said when they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from plugins.module_utils._errors import EdgeError


def run(
    argv: Sequence[str | Path],
    *,
    text: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
    check: bool = True,
    fix: str = "",
) -> str:
    """Run a program to its end and return what it wrote to standard output.

    :param text: its standard input; nothing otherwise.
    :param env: added to this process's environment.
    :param timeout: seconds.
    :param check: whether an exit code other than 0 is an error.
    :param fix: what to do when it fails.
    :raises EdgeError: it is not there, failed, or took too long.
    """
    command = [str(word) for word in argv]
    try:
        done = subprocess.run(
            command,
            input=text if text is not None else "",
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise EdgeError(f"{command[0]} is not there", fix=fix) from error
    except subprocess.TimeoutExpired as error:
        raise EdgeError(f"no end after {timeout:g} s", where=" ".join(command[:4]), fix=fix) from error
    if check and done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-6:]
        raise EdgeError(f"exit code {done.returncode}", where=" ".join(command[:4]), why=" / ".join(said), fix=fix)
    return done.stdout


def succeeds(argv: Sequence[str | Path], *, timeout: float = 30) -> bool:
    """Whether a program exits with 0."""
    try:
        return (
            subprocess.run(
                [str(word) for word in argv], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
            ).returncode
            == 0
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
