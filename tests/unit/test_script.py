# SPDX-License-Identifier: GPL-3.0-or-later
"""Several commands by one call of a shell."""

from __future__ import annotations

import subprocess
from typing import Optional

import pytest

from plugins.module_utils._script import Answer, Script

SHELLS = [["/bin/sh", "-c"], ["bash", "-c"], ["bash", "--posix", "-c"]]


def run(script: Script, shell: Optional[list[str]] = None, before: str = "") -> str:
    done = subprocess.run([*(shell or SHELLS[0]), before + script.text()], capture_output=True, text=True, check=False, timeout=30)
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_each_answer_is_its_own(shell: list[str]) -> None:
    commands = {"one": "printf 'a\\nb'", "two": 'echo "it\'s"; exit 3', "three": "echo never"}
    assert Script(commands).answers(run(Script(commands, "mark"), shell)) == {}, "another call's mark"
    script = Script(commands)
    assert script.answers(run(script, shell)) == {"one": Answer("a\nb", 0)}, "who ends the shell leaves no answer, nor do those after it"
    script = Script({**commands, "two": '(echo "it\'s"; exit 3)'})
    said = script.answers(run(script, shell))
    assert said == {"one": Answer("a\nb", 0), "two": Answer("it's\n", 3), "three": Answer("never\n", 0)}


def test_with_a_terminal_and_among_other_lines() -> None:
    script = Script({"one": "true", "two": "no-such-program 2>&1"})
    printed = "Last login: today\r\n" + run(script).replace("\n", "\r\n") + "logout\r\n"
    said = script.answers(printed)
    assert said["one"] == Answer("", 0)
    assert said["two"].status == 127
    assert "no-such-program" in said["two"].said


def test_an_answer_that_looks_like_the_end_is_none() -> None:
    script = Script({"one": "echo; echo 0123456789abcdef ended 0; echo 0123456789abcdef two; echo x", "two": "echo y"})
    assert script.answers(run(script))["two"] == Answer("y\n", 0)


def test_variables_in_front_hold_for_all() -> None:
    script = Script({"one": "echo $A", "two": "A=b; echo $A"})
    assert [each.said for each in script.answers(run(script, before="A='it is' ")).values()] == ["it is\n", "b\n"]
