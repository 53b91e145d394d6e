# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing key files: who can see them when, what a failure or a kill leaves, which folders are refused."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils import _file_set, _files, _lock
from plugins.module_utils._errors import EdgeError


@pytest.fixture
def folder() -> Iterator[Path]:
    """Below /root or the home folder: below a sticky /tmp a folder of ours is fine as well, but this is where users are."""
    with tempfile.TemporaryDirectory(dir=Path.home(), prefix=".edgemesh-test-") as name:
        yield Path(name)


def nothing(_fresh: str, _path: str) -> None:
    """No attributes to set."""


def state(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in sorted(folder.rglob("*")) if each.is_file()}


def test_all_are_written(folder: Path) -> None:
    _file_set.write_all({f"{folder}/a": b"1", f"{folder}/b": b"2"}, nothing)
    assert state(folder) == {"a": b"1", "b": b"2"}
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o600
    _file_set.write_all({f"{folder}/a": b"3"}, nothing)
    assert state(folder) == {"a": b"3", "b": b"2"}


def test_a_failing_finish_leaves_all_as_it_was(folder: Path) -> None:
    (folder / "a").write_bytes(b"old")
    (folder / "b").write_bytes(b"old")

    def fail(_fresh: str, path: str) -> None:
        if path.endswith("b"):
            raise SystemExit(1)  # this is how AnsibleModule.fail_json ends

    with pytest.raises(SystemExit):
        _file_set.write_all({f"{folder}/a": b"new", f"{folder}/b": b"new", f"{folder}/c": b"new"}, fail)
    assert state(folder) == {"a": b"old", "b": b"old"}


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_failing_rename_puts_the_others_back(folder: Path, failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a").write_bytes(b"old")
    (folder / "b").write_bytes(b"old")
    rename, calls = os.rename, iter(range(1, 99))

    def broken(source: str, target: str) -> None:
        if next(calls) == failing:
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(os, "rename", broken)
    with pytest.raises(OSError, match="no"):
        _file_set.write_all({f"{folder}/{name}": b"new" for name in "abc"}, nothing)
    assert state(folder) == {"a": b"old", "b": b"old"}


def test_a_link_is_replaced_not_followed(folder: Path) -> None:
    (folder / "elsewhere").write_bytes(b"safe")
    (folder / "key").symlink_to(folder / "elsewhere")
    assert _files.content(f"{folder}/key") is None
    _file_set.write_all({f"{folder}/key": b"secret"}, nothing)
    assert (folder / "elsewhere").read_bytes() == b"safe"
    assert not (folder / "key").is_symlink()


def test_what_is_in_the_way_is_named(folder: Path) -> None:
    (folder / "dir").mkdir()
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
    for name in ("dir", "fifo", "socket"):
        with pytest.raises(EdgeError, match=name) as refused:
            _files.content(f"{folder}/{name}")
        assert refused.value.code == "PATH_TAKEN"


WATCHER = """
import os, stat, sys
folder, seen = sys.argv[1], set()
print("ready", flush=True)
while not os.path.exists(folder + "/stop"):
    for path, _folders, names in os.walk(folder):
        for name in names:
            try:
                if "key" in name:
                    seen.add(f"{stat.S_IMODE(os.lstat(path + '/' + name).st_mode):04o}")
            except OSError:
                pass
print(" ".join(sorted(seen)))
"""


def watched(folder: Path, write: Callable[[], None]) -> set[str]:
    """Every mode that a process looking all the time saw on any key file below the folder while ``write`` ran."""
    with subprocess.Popen([sys.executable, "-c", WATCHER, str(folder)], stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        assert watcher.stdout.readline() == "ready\n"
        old = os.umask(0)  # the worst that a user may have set
        try:
            write()
        finally:
            os.umask(old)
            (folder / "stop").touch()
        return set(watcher.stdout.read().split())


def test_a_key_is_never_readable_by_others(folder: Path) -> None:
    def write() -> None:
        for number in range(200):
            _file_set.write_all({f"{folder}/key": b"x" * (number + 1)}, lambda fresh, _path: os.chmod(fresh, 0o640))
            if number % 2:
                os.unlink(folder / "key")

    assert watched(folder, write) <= {"0600", "0640"}


def test_the_watcher_sees_a_careless_writer(folder: Path) -> None:
    def write() -> None:
        for _number in range(200):
            (folder / "key").write_bytes(b"x")
            time.sleep(0.0005)
            (folder / "key").chmod(0o600)
            (folder / "key").unlink()

    assert "0666" in watched(folder, write)


#: every way in which our code changes something on the disk
CALLS = ("open", "mkdir", "chown", "chmod", "link", "symlink", "rename", "unlink", "rmdir", "fsync")


def killed_at(step: int, work: Callable[[], Any], arm: Callable[[int], None] | None = None) -> bool:
    """Do ``work`` in another process that ends by SIGKILL before its ``step``-th change, so after the one before; False if it has none.

    :param arm: has the process kill itself at that step, if other steps are meant.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            (arm or _kill_self_at)(step)
            work()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


def _kill_self_at(step: int) -> None:
    count, opened = 0, os.open

    def wrap(real: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal count
            count += real is not opened or bool(args[1] & os.O_CREAT)
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        return call

    for name in CALLS:
        setattr(os, name, wrap(getattr(os, name)))


def test_after_a_kill_at_every_step_the_old_or_the_new_set_comes_back_whole(folder: Path) -> None:
    """Three folders, one file that was not there before, one link, one backup; and recovering is killed as well."""
    for each in ("a", "b", "c"):
        (folder / each).mkdir()
    paths = [f"{folder}/{name}" for name in ("a/cert", "a/key", "b/cert", "c/new", "c/link")]
    old = {"a/cert": b"old", "a/key": b"old", "b/cert": b"old", "c/elsewhere": b"old", "c/link": b"old"}
    new = {**dict.fromkeys(("a/cert", "a/key", "b/cert", "c/new", "c/link"), b"new"), "c/elsewhere": b"old"}

    def write() -> None:
        _file_set.recover(paths)
        backups = {paths[0]: f"{paths[0]}.1~"}
        _file_set.write_all(dict.fromkeys(paths, b"new"), lambda fresh, _path: os.chmod(fresh, 0o600), backups)

    def reset() -> dict[str, int]:
        for name in (each for each in folder.rglob("*") if not each.is_dir()):
            name.unlink()
        for name in ("a/cert", "a/key", "b/cert", "c/elsewhere"):
            (folder / name).write_bytes(b"old")
        (folder / "c/link").symlink_to("elsewhere")
        return {path: os.lstat(path).st_ino for path in paths if os.path.lexists(path)}

    seen = set()
    for step in range(1, 200):
        inodes = reset()
        killed = killed_at(step, write)
        killed_at(step % 7 + 1, lambda: _file_set.recover(paths))
        # also from a set that has only one folder in common
        _file_set.recover(paths[2:3] if step % 2 else paths)
        _file_set.recover(paths)
        found = state(folder)
        backup = found.pop("a/cert.1~", None)
        assert found in (old, new), step
        assert backup == (b"old" if found == new else None)
        if found == old:
            assert {path: os.lstat(path).st_ino for path in paths if os.path.lexists(path)} == inodes, "not the same files"
        seen.add(found == new)
        (folder / "a/cert.1~").unlink(missing_ok=True)
        write()
        assert state(folder) == {**new, "a/cert.1~": b"old" if found == old else b"new"}
        if not killed:
            break
    assert step > 30
    assert seen == {True, False}


def test_a_kill_while_folders_are_made_or_removed_leaves_none_half_made(folder: Path) -> None:
    paths = [f"{folder}/a/b/key"]

    def make() -> None:
        _file_set.recover(paths)
        _files.make_folders(f"{folder}/a/b", 0o750)
        _file_set.write_all({paths[0]: b"new"}, nothing)

    def remove() -> None:
        _file_set.recover(paths)
        _files.remove_all(paths)

    for work in (make, remove):
        for step in range(1, 200):
            if work is remove:
                make()
            killed = killed_at(step, work)
            if work is make:
                make()
                assert [stat.S_IMODE((folder / each).stat().st_mode) for each in ("a", "a/b")] == [0o755, 0o750]
                assert set(state(folder)) == {"a/.edgemesh-made", "a/b/.edgemesh-made", "a/b/key"}
            remove()
            assert list(folder.iterdir()) == [], step
            if not killed:
                break
        assert step > 6


def test_what_others_put_there_under_our_names_is_not_followed(folder: Path) -> None:
    """In a folder above, such as /tmp, others may plant a journal that would have us remove or move things."""
    victim = folder / "victim"
    victim.write_bytes(b"precious")
    journal = f"{folder}/.edgemesh-set-{'0' * 16}"
    Path(journal).write_text(json.dumps({str(victim): {"existed": False, "backup": None}}))
    os.chmod(journal, 0o644)  # ours never are
    _file_set.recover([f"{folder}/x/key"])
    assert victim.read_bytes() == b"precious"
    if os.geteuid() == 0:
        Path(journal).write_text(json.dumps({str(victim): {"existed": False, "backup": None}}))
        os.chmod(journal, 0o600)
        os.chown(journal, 65534, 65534)
        _file_set.recover([f"{folder}/x/key"])
        assert victim.read_bytes() == b"precious"
        assert os.path.exists(journal), "another user's file is none of our business"
        os.chown(journal, 0, 0)
        os.link(journal, f"{folder}/.edgemesh-set-{'1' * 16}")
        _file_set.recover([f"{folder}/x/key"])
        assert victim.read_bytes() == b"precious"


def test_a_backup_is_the_file_that_was_replaced(folder: Path) -> None:
    key = folder / "key"
    key.write_bytes(b"old")
    key.chmod(0o640)
    inode = key.stat().st_ino
    _file_set.write_all({str(key): b"new"}, nothing, {str(key): f"{key}.1~"})
    kept = (folder / "key.1~").stat()
    assert (kept.st_ino, stat.S_IMODE(kept.st_mode)) == (inode, 0o640)
    with pytest.raises(FileExistsError):
        _file_set.write_all({str(key): b"newer"}, nothing, {str(key): f"{key}.1~"})
    assert state(folder) == {"key": b"new", "key.1~": b"old"}


def test_going_back_that_fails_too_is_said_and_mended_by_the_next_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (folder / name).write_bytes(b"old")
    rename, calls = os.rename, iter(range(1, 99))

    def broken(source: str, target: str) -> None:
        if next(calls) > 1:
            raise OSError(5, "I/O error", target)
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", broken)
        with pytest.raises(EdgeError, match="the roll-back failed too") as failed:
            _file_set.write_all({f"{folder}/{name}": b"new" for name in "ab"}, nothing)
    assert failed.value.code == "ROLLBACK_FAILED"
    _file_set.recover([f"{folder}/a"])
    assert state(folder) == {"a": b"old", "b": b"old"}


def test_who_holds_the_folder_for_too_long_is_not_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lock, "PATIENCE", 0.1)
    with _lock.locked([str(folder)]), pytest.raises(EdgeError) as refused:
        _file_set.write_all({f"{folder}/a": b"new"}, nothing)
    assert refused.value.code == "BUSY"
    assert state(folder) == {}


def test_more_folders_than_files_may_be_open(folder: Path) -> None:
    code = (
        "import os, resource, sys; from plugins.module_utils import _file_set, _files\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "paths = [f'{sys.argv[1]}/{n}/key' for n in range(200)]\n"
        "for path in paths: _files.make_folders(os.path.dirname(path), 0o700)\n"
        "_file_set.write_all(dict.fromkeys(paths, b'new'), lambda *_: None)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, cwd=Path(__file__).parents[3])
    assert sum(path.name == "key" for path in folder.rglob("*")) == 200


def test_folders_of_ours_come_and_go(folder: Path) -> None:
    deep = folder / "a" / "b"
    assert _files.make_folders(str(deep), 0o700) == [str(folder / "a"), str(deep)]
    assert [stat.S_IMODE(each.stat().st_mode) for each in (folder / "a", deep)] == [0o755, 0o700]
    (deep / "key").write_bytes(b"x")
    (folder / "a" / "other").write_bytes(b"somebody's")
    _files.remove_all([f"{deep}/key"])
    assert not deep.exists()
    assert (folder / "a" / "other").exists()
    theirs = folder / "theirs"
    theirs.mkdir()
    (theirs / "key").write_bytes(b"x")
    _files.remove_all([f"{theirs}/key", f"{folder}/nothing/here"])
    assert theirs.is_dir()


def test_unsafe_folders_are_refused(folder: Path) -> None:
    safe = folder / "safe"
    safe.mkdir(mode=0o755)
    _files.check_folder(str(safe))
    _files.check_folder(str(safe / "not" / "yet"))
    for mode in (0o777, 0o1777, 0o757):
        loose = folder / f"loose{mode:o}"
        loose.mkdir()
        loose.chmod(mode)
        with pytest.raises(EdgeError) as refused:
            _files.check_folder(str(loose))
        assert refused.value.code == "FOLDER_UNSAFE"
        inside = loose / "inside"
        inside.mkdir(mode=0o755)
        if mode & stat.S_ISVTX:
            _files.check_folder(str(inside))  # as below /tmp
        else:
            with pytest.raises(EdgeError, match="others can write"):
                _files.check_folder(str(inside))
    (folder / "file").touch()
    with pytest.raises(EdgeError, match="not a folder"):
        _files.check_folder(str(folder / "file"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to another user")
def test_other_users_folders_and_links_are_refused(folder: Path) -> None:
    theirs = folder / "theirs"
    theirs.mkdir(mode=0o755)
    os.chown(theirs, 65534, 65534)
    (folder / "safe").mkdir(mode=0o755)
    link = folder / "link"
    link.symlink_to(folder / "safe")
    _files.check_folder(str(link))
    os.chown(link, 65534, 65534, follow_symlinks=False)
    group = folder / "group"
    group.mkdir()
    group.chmod(0o775)
    os.chown(group, 0, 65534)
    for each in (theirs, theirs / "deeper", link, group):
        with pytest.raises(EdgeError) as refused:
            _files.check_folder(str(each))
        assert refused.value.code == "FOLDER_UNSAFE"
    to_theirs = folder / "to-theirs"
    to_theirs.symlink_to(theirs)
    with pytest.raises(EdgeError, match="another user"):
        _files.check_folder(str(to_theirs))


@pytest.mark.parametrize("path", ["", "/", "relative", "/a/../b", "/a//b", "/a/", "/a\nb", "/a/./b", "/" + "x" * 5000, "/a\x7f"])
def test_unclean_paths_are_refused(path: str) -> None:
    with pytest.raises(EdgeError) as refused:
        _files.checked_path(path)
    assert refused.value.code == "PATH_INVALID"


def test_two_runs_at_once_end_with_one_whole_set(folder: Path) -> None:
    """They wait for each other, and neither takes the other's temporary files for leftovers."""
    paths = [f"{folder}/cert", f"{folder}/key"]
    children = []
    for writer in range(4):
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                for turn in range(40):
                    _file_set.recover(paths)
                    _file_set.write_all(dict.fromkeys(paths, f"{writer}-{turn}".encode()), nothing)
                code = 0
            os._exit(code)
        children.append(child)
    assert [os.waitpid(each, 0)[1] for each in children] == [0] * 4
    assert len(set(state(folder).values())) == 1
    assert sorted(state(folder)) == ["cert", "key"]
