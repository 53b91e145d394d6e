# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx's processes, answers and log tell about a reload."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils._nginx.change import selinux
from plugins.module_utils._nginx.change.confirm import Logs, answer, crashed, gave_up
from plugins.module_utils._nginx.change.installation import Processes, _children

BEFORE = Processes(1, frozenset({10, 11}), frozenset({9}))
SIGNAL = "2026/11/21 10:00:00 [alert] 1#1: worker process {} exited on signal 11 (core dumped)"
FATAL = "2026/11/21 10:00:00 [alert] 1#1: worker process {} exited with fatal code 2 and cannot be respawned"
IN_USE = "2026/11/21 10:00:00 [emerg] 1#1: bind() to 0.0.0.0:8777 failed (98: Address already in use)"
STILL = "2026/11/21 10:00:00 [emerg] 1#1: still could not bind()"
DENIED = "2026/11/21 10:00:00 [emerg] 1#1: bind() to 0.0.0.0:8777 failed (13: Permission denied)"
UNREADABLE = (
    '[emerg] 1#1: cannot load certificate "/etc/edgemesh/tls/a.crt": BIO_new_file() failed '
    "(SSL: error:8000000D:system library::Permission denied:calling fopen(/etc/edgemesh/tls/a.crt, r))"
)


def test_workers_that_were_there_before_may_end_as_they_like() -> None:
    assert crashed([SIGNAL.format(10), SIGNAL.format(9)], BEFORE) == ""
    assert crashed([SIGNAL.format(10), SIGNAL.format(20), FATAL.format(21)], BEFORE) == "2 of its new workers crashed"


def test_an_address_in_use_is_tried_again_and_nothing_else() -> None:
    assert not gave_up([])
    assert not gave_up([IN_USE, SIGNAL.format(1)])
    assert gave_up([IN_USE, STILL])
    assert gave_up([DENIED])
    assert gave_up([UNREADABLE])


def test_only_what_is_logged_from_now_on_counts(tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    log.write_text(f"{STILL}\n")
    logs = Logs([str(log), str(tmp_path / "none")])
    assert logs.serious() == []
    with log.open("a") as file:
        file.write(f"2026/11/21 [notice] 1#1: signal\n{DENIED}\n{DENIED}\n")
    assert logs.serious() == [DENIED]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (b'HTTP/1.1 200 OK\r\nX: y\r\n\r\n0001-abc\n', "0001-abc"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n0001-abc", None),
        (b"garbage", None),
        (b"", None),
    ],
)  # fmt: skip
def test_an_answer_is_a_200_with_a_text(reply: bytes, told: str | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _address = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        assert answer(f"127.0.0.1:{server.getsockname()[1]}") == told
        thread.join()
    assert answer("127.0.0.1:1") is None
    assert answer("") is None


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs Linux")
def test_children_are_the_same_with_and_without_the_kernels_list(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "30"]) as child:
        try:
            found = _children(os.getpid())
            real = open

            def without(path: str, *rest: Any, **more: Any) -> Any:
                if str(path).endswith("/children"):
                    raise FileNotFoundError
                return real(path, *rest, **more)

            monkeypatch.setattr("builtins.open", without)
            assert child.pid in _children(os.getpid())
            assert child.pid in found or not os.path.exists(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
        finally:
            child.kill()


def test_advice_about_selinux() -> None:
    assert "semanage port -a -t http_port_t -p tcp 8777" in selinux.advice([STILL, DENIED])
    assert "restorecon -v /etc/edgemesh/tls/a.crt" in selinux.advice([UNREADABLE])
    assert "restorecon -v /srv/x.conf" in selinux.advice(['[emerg] 1#1: open() "/srv/x.conf" failed (13: Permission denied)'])
    assert selinux.advice([IN_USE, STILL]) == ""
    assert selinux.advice([]) == ""


@pytest.mark.parametrize(("content", "is_on"), [("1", True), ("0\n", False), ("", False), (None, False)])
def test_whether_selinux_denies_anything(tmp_path: Path, content: str | None, is_on: bool) -> None:
    if content is not None:
        (tmp_path / "enforce").write_text(content)
    assert selinux.enforcing(str(tmp_path / "enforce")) is is_on
