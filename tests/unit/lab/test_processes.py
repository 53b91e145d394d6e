# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab import processes, settings
from lab.processes import Daemon, Process
from plugins.module_utils._errors import EdgeError

PROGRAM = ("/bin/sleep", "300")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PIDS", tmp_path / "pids")
    monkeypatch.setattr(settings, "LOGS", tmp_path / "logs")


@pytest.fixture
def name(tmp_path: Path) -> Iterator[str]:
    """A daemon's name that nobody else on this machine has."""
    unique = f"test-{os.getpid()}-{tmp_path.name}"
    yield unique
    for owner, process in list(processes.marked()):
        if owner == unique:
            process.kill()


class TestProcess:
    def test_itself(self) -> None:
        process = Process.of(os.getpid())
        assert process is not None
        assert process.alive()

    def test_another_with_the_same_number_is_not_it(self) -> None:
        process = Process.of(os.getpid())
        assert process is not None
        assert not replace(process, started=process.started - 1).alive()
        assert not replace(process, boot="another").alive()

    def test_another_with_the_same_number_is_never_signalled(self) -> None:
        child = subprocess.Popen(PROGRAM)
        try:
            process = Process.of(child.pid)
            assert process is not None
            assert replace(process, started=process.started + 1).kill()  # gone, it says, and so it is
            assert child.poll() is None
        finally:
            child.kill()
            child.wait()

    def test_remains_are_not_a_process(self) -> None:
        child = subprocess.Popen(["true"])
        deadline = time.monotonic() + 5
        while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline
        assert Process.of(child.pid) is None
        child.wait()
        assert Process.of(child.pid) is None

    def test_name_with_parentheses_and_spaces(self, tmp_path: Path) -> None:
        odd = tmp_path / "a) R 1 (b"
        odd.symlink_to(PROGRAM[0])
        child = subprocess.Popen([str(odd), "300"])
        try:
            time.sleep(0.05)
            process = Process.of(child.pid)
            assert process is not None
            assert process.started > 1
            assert process.kill()
        finally:
            child.kill()
            child.wait()


def marks(name: str) -> int:
    """How many processes are marked with the name. The kernel shows a process a moment before it shows its environment."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = [owner for owner, _process in processes.marked()].count(name)
        if found:
            return found
    return 0


class TestDaemon:
    def test_starts_once(self, name: str) -> None:
        daemon = Daemon(name, PROGRAM)
        assert daemon.start() is True
        first = processes.running(name)
        assert daemon.start() is False
        assert processes.running(name) == first

    def test_is_started_anew_when_its_words_or_files_change(self, name: str, tmp_path: Path) -> None:
        config = tmp_path / "config"
        config.write_text("one")
        daemon = Daemon(name, PROGRAM, configuration=(config,))
        daemon.start()
        first = processes.running(name)
        assert first is not None
        config.write_text("two")
        assert daemon.start() is True
        assert not first.alive()
        second = processes.running(name)
        assert replace(daemon, argv=("/bin/sleep", "301")).start() is True
        assert processes.running(name) not in (None, second)

    def test_what_a_killed_start_left_is_found_by_its_mark(self, name: str) -> None:
        daemon = Daemon(name, PROGRAM)
        daemon.start()
        stray = processes.running(name)
        assert stray is not None
        assert marks(name) == 1
        (processes.PIDS / f"{name}.json").unlink()
        assert daemon.start() is True
        assert not stray.alive()
        assert marks(name) == 1

    def test_pid_file_of_another_boot_is_not_believed(self, name: str) -> None:
        Daemon(name, PROGRAM).start()
        file = processes.PIDS / f"{name}.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "boot": "another"}))
        assert processes.running(name) is None

    def test_broken_off_pid_file_counts_as_none(self, name: str) -> None:
        processes.PIDS.mkdir()
        (processes.PIDS / f"{name}.json").write_text('{"pid": 1')
        assert processes.running(name) is None
        assert Daemon(name, PROGRAM).start() is True

    def test_stop_insists(self, name: str) -> None:
        stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(300)"
        daemon = Daemon(name, (sys.executable, "-c", stubborn))
        daemon.start()
        process = processes.running(name)
        assert process is not None
        deadline = time.monotonic() + 10
        while "deaf" not in daemon.tail():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        processes.stop(name, seconds=0.2)
        assert not process.alive()
        assert processes.running(name) is None

    def test_polite_stop_comes_first(self, name: str) -> None:
        polite = "trap 'echo goodbye; exit' TERM; echo here; while :; do sleep 0.05; done"
        daemon = Daemon(name, ("/bin/sh", "-c", polite), ready=lambda: "" if "here" in daemon.tail() else "silent")
        daemon.start()
        daemon.wait(10)
        processes.stop(name)
        assert "goodbye" in daemon.tail()

    def test_end_while_waiting_is_told_with_the_end_of_its_log(self, name: str) -> None:
        daemon = Daemon(name, ("/bin/sh", "-c", "sleep 1; echo no such thing; exit 3"), ready=lambda: "not yet")
        daemon.start()
        with pytest.raises(EdgeError, match="no such thing"):
            daemon.wait(5)

    def test_wait_says_what_was_missing(self, name: str) -> None:
        daemon = Daemon(name, PROGRAM, ready=lambda: "port 1 is closed")
        daemon.start()
        with pytest.raises(EdgeError, match=r"not ready after 0\.2 s: port 1 is closed"):
            daemon.wait(0.2)

    def test_words_before_it_are_no_part_of_what_it_is(self, name: str) -> None:
        assert Daemon(name, PROGRAM, within=lambda: ("nice",)).digest == Daemon(name, PROGRAM).digest


def test_signal_that_does_not_end_it_is_told() -> None:
    child = subprocess.Popen(PROGRAM)
    try:
        process = Process.of(child.pid)
        assert process is not None
        assert process.kill(signal.SIGCONT, wait=0.05) is False
        assert process.kill() is True
    finally:
        child.kill()
        child.wait()
