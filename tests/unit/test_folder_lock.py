# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time on a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._lock import locked


def test_a_lock_is_waited_for_and_its_holder_named(tmp_path: Path) -> None:
    with locked([str(tmp_path)], 1), pytest.raises(EdgeError) as caught, locked([str(tmp_path)], 0.2):
        pass
    assert "has been changing the folder for 0.2 s" in caught.value.what
    assert f"(process {os.getpid()}, since 20" in caught.value.what or "another run has" in caught.value.what
    assert (caught.value.where, caught.value.code) == (str(tmp_path), "BUSY")
    with locked([str(tmp_path)], 0.2):
        pass


def test_who_waits_in_vain_is_told_for_whom(tmp_path: Path) -> None:
    open_before = os.listdir("/proc/self/fd")
    with locked([str(tmp_path)], 1, "list team-a"), pytest.raises(EdgeError) as caught, locked([str(tmp_path)], 0.1, "list team-b"):
        pass
    assert ", list team-a since 20" in caught.value.what
    assert os.listdir("/proc/self/fd") == open_before
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_held_gives_back_those_before_it(tmp_path: Path) -> None:
    one, two = str(tmp_path / "1"), str(tmp_path / "2")
    os.mkdir(one)
    os.mkdir(two)
    with locked([two]):
        with pytest.raises(EdgeError), locked([one, two], 0.1):
            pass
        with locked([one], 0):
            pass


def test_a_folder_that_is_not_there_is_nobodys(tmp_path: Path) -> None:
    with locked([str(tmp_path / "none"), f"{__file__}/none"], 0):
        pass
