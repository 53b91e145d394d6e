# SPDX-License-Identifier: GPL-3.0-or-later
"""Several commands in one call of a host's shell, with the output of each: every call costs an SSH session, and mostly sudo."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit status."""

    said: str = field(repr=False)
    status: int


@dataclass(frozen=True)
class Script:
    """Commands for a POSIX shell, by names of letters.

    :param mark: random text between the outputs, so that no output can imitate another.
    """

    commands: Mapping[str, str]
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    def text(self) -> str:
        """The command to run."""
        before, after = f"echo '{self.mark} %s'", f"printf '\\n{self.mark} ended %s\\n' $?"
        asked = (f"{before % name}; {{ {command}; }}; {after}" for name, command in self.commands.items())
        # a shell of its own, so that variables written in front of it hold for all of it
        return f"/bin/sh -c {shlex.quote('; '.join(asked))}"

    def answers(self, printed: str) -> dict[str, Answer]:
        """What each command said, by its name; those that gave no answer are missing."""
        pattern = re.compile(rf"^{self.mark} (\w+)\n(.*?)\n{self.mark} ended (\d+)$", re.MULTILINE | re.DOTALL)
        # SSH may give commands a terminal
        found = pattern.findall(printed.replace("\r\n", "\n"))
        return {name: Answer(said, int(status)) for name, said, status in found}
