# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab import lock, settings
from plugins.module_utils._errors import EdgeError


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "RUN", tmp_path / "run")
    monkeypatch.setattr(lock, "LOCK", tmp_path / "run" / "lock")


def test_holder_is_named_and_forgotten() -> None:
    assert lock.owner() == ""
    with lock.held("up", print):
        assert f"`lab up`, process {os.getpid()}" in lock.owner()
    assert lock.owner() == ""


def test_second_waits_says_for_whom_and_gives_up_in_time() -> None:
    said: list[str] = []
    with lock.held("down", print), pytest.raises(EdgeError, match="`lab down`"), lock.held("up", said.append, seconds=0.1):
        pytest.fail("both hold it")
    assert len(said) == 1
    assert said[0].startswith("waiting for `lab down`")


def test_removed_file_is_no_lock(tmp_path: Path) -> None:
    """`down` removes the file: whoever waited for it must not go on together with whoever made a new one."""
    with lock.held("down", print):
        (tmp_path / "run" / "lock").unlink()
        with lock.held("up", print, seconds=0.1):
            assert "`lab up`" in lock.owner()
