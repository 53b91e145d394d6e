# SPDX-License-Identifier: GPL-3.0-or-later
"""tls_secret_export's part on the host, killed at every step: what the next run finds and makes of it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from plugins.module_utils import _files
from plugins.modules import tls_secret_export
from tests.unit.x509.test_x509_files import killed_at, watched

NAMES = ("client/cert", "client/key", "client/chain", "ca/ca")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=Path.home(), prefix=".edgemesh-test-") as name:
        yield Path(name)


def run(
    folder: Path, version: str, state: str = "present", sent: bool = True, names: Sequence[str] = NAMES, **options: Any
) -> dict[str, Any]:
    """The module as Ansible runs it, but for the process."""
    files = [
        {
            "path": f"{folder}/tls/{name}",
            "secret": name.endswith("key"),
            "mode": "0640" if name.endswith("key") else "0644",
            **dict.fromkeys(("owner", "group", "seuser", "serole", "setype", "selevel")),
            "group": str(os.getgid()),
            "backup": False,
            "sha256": _files.digest(version.encode()),
            "content": version if sent else None,
            **options,
        }
        for name in names
    ]
    said = io.StringIO()
    arguments = {"exports": [], "state": state, "_files": files, "_ansible_remote_tmp": str(folder), "_ansible_tmpdir": str(folder)}
    with patch_module_args(arguments), contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        tls_secret_export.main()
    result: dict[str, Any] = json.loads(said.getvalue())
    return result


def found(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file with its content and mode, but for the markers of our folders."""
    files = [each for each in sorted(folder.rglob("*")) if not each.is_dir() and each.name != _files.MARKER]
    content = {each: "" if each.is_symlink() else each.read_text() for each in files}
    return {str(each.relative_to(folder)): (content[each], stat.S_IMODE(each.lstat().st_mode)) for each in files}


def whole(version: str) -> dict[str, tuple[str, int]]:
    return {f"tls/{name}": (version, 0o640 if name.endswith("key") else 0o644) for name in sorted(NAMES)}


def folders(folder: Path) -> dict[str, int]:
    return {str(each.relative_to(folder)): stat.S_IMODE(each.stat().st_mode) for each in folder.rglob("*") if each.is_dir()}


def quietly(work: Any) -> Any:
    def silent() -> None:
        sys.stdout = io.StringIO()
        work()

    return silent


def test_a_kill_at_any_step_of_an_export_is_repaired_by_the_next_run(folder: Path) -> None:
    """Made, replaced, removed. Before the next run no file is half written; after it all is as asked, and a third run changes nothing."""
    made = {"tls": 0o755, "tls/client": 0o750, "tls/ca": 0o755}
    kills = 0
    for before, version, state in (("", "one", "present"), ("one", "two", "present"), ("two", "two", "absent")):
        for step in range(1, 300):
            run(folder, "", "absent")
            if before:
                run(folder, before)
            if not killed_at(step, quietly(lambda version=version, state=state: run(folder, version, state))):
                break
            kills += 1
            for name, (content, mode) in found(folder).items():
                if name in whole(""):
                    assert (content, mode) in (whole(before)[name], whole(version)[name]), step
            result = run(folder, version, state)
            assert not result.get("failed"), (step, result)
            assert found(folder) == (whole(version) if state == "present" else {}), step
            assert folders(folder) == (made if state == "present" else {}), step
            again = run(folder, version, state, sent=False)
            assert (again["changed"], again["restored"], again.get("needed")) == (False, [], None), step
    assert kills > 60


def test_no_key_can_be_read_by_others_while_the_module_makes_and_replaces_it(folder: Path) -> None:
    """A hundred keys are made, twice replaced and removed, with a group that may read them."""
    keys = [f"{number}/key" for number in range(20)]

    def write() -> None:
        for _round in range(5):
            for version in ("one", "two", "three"):
                assert run(folder, version, names=keys)["changed"]
            run(folder, "", "absent", names=keys)

    assert watched(folder, write) == {"0600", "0640"}


def test_a_run_that_is_refused_after_a_kill_leaves_the_old_set(folder: Path) -> None:
    """The next run puts back what was there, also if it can't do its own work."""
    seen = set()
    for step in range(1, 300):
        run(folder, "one")
        killed = killed_at(step, quietly(lambda: run(folder, "two")))
        failed = run(folder, "three", owner="nobody-here")
        assert failed["failed"]
        contents = {content for content, _mode in found(folder).values()}
        assert contents in ({"one"}, {"two"}), step
        assert found(folder) == whole(contents.pop()), step
        seen |= {content for content, _mode in found(folder).values()}
        if not killed:
            break
    assert seen == {"one", "two"}


def test_what_was_restored_is_a_change(folder: Path) -> None:
    changed = []
    for step in range(1, 300):
        run(folder, "one")
        killed = killed_at(step, quietly(lambda: run(folder, "two")))
        half = len({content for name, (content, _mode) in found(folder).items() if name in whole("")}) == 2
        result = run(folder, "one", sent=False)
        if half:
            assert result["restored"], step
            assert result["changed"]
            changed.append(step)
        if not killed:
            break
    assert changed, "no kill left a half set, so nothing was tested"


def test_a_backup_is_told(folder: Path) -> None:
    run(folder, "one")
    result = run(folder, "two", backup=True)
    backups = [each["backup_file"] for each in result["files"]]
    assert [Path(each).read_text() for each in backups] == ["one"] * 4
    assert all(each.endswith("~") for each in backups)
    assert "backup_file" not in str(run(folder, "two", backup=True))
