# SPDX-License-Identifier: GPL-3.0-or-later
"""Files for the stream context as part of the transaction: this machine's nginx with a main file of the test's."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import threading
import time
from collections import Counter

import pytest
from nginx_rig import Rig, killed

from lab import apt
from plugins.module_utils._errors import EdgeError
from plugins.module_utils._lock import locked
from plugins.module_utils._nginx import commands
from plugins.module_utils._nginx.change.installation import processes
from tests.figures import FIGURES
from tests.nginx_releases import stream_module
from tests.ports import free_port

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a configuration is tested as root")
SOAK = bool(os.environ.get("EDGEMESH_SOAK"))


def test_served_confirmed_quiet_and_gone_without_a_trace(rig: Rig) -> None:
    before = rig.tree()
    foretold = rig.apply(rig.files("one"), check=True)
    assert (foretold.changed, foretold.tested, rig.tree()) == (True, True, before)
    first = rig.apply(rig.files("one"))
    assert (first.changed, first.confirmed, first.generation, rig.said()) == (True, True, foretold.generation, "one")
    entry = rig.conf / "modules" / f"{rig.name}.conf"
    assert entry.read_text().splitlines()[1:] == ["stream {", f"    include {rig.conf}/{rig.name}/current/stream/*.conf;", "}"]
    assert first.after[str(entry)] == entry.read_text(), "the diff shows it"
    stamp, workers = entry.stat().st_mtime_ns, processes(str(rig.folder / "pid")).workers
    second = rig.apply(rig.files("one"))
    assert (second.changed, second.confirmed, entry.stat().st_mtime_ns) == (False, True, stamp)
    assert processes(str(rig.folder / "pid")).workers == workers, "nothing reloaded"
    entry.unlink()
    assert rig.apply(rig.files("one")).changed, "what a hand removed comes back"
    assert rig.apply(rig.files("two")).changed
    assert rig.said() == "two"
    assert rig.transaction().rolled_back("previous").confirmed
    assert rig.said() == "one"
    rig.apply(rig.http_only())
    assert (rig.said(), entry.exists()) == ("", False)
    rig.apply(rig.files("one"))
    rig.transaction().absent()
    assert (rig.said(), rig.tree()) == ("", before)


def test_into_a_stream_block_of_the_users(rig: Rig) -> None:
    theirs = free_port()
    rig.main(top="", end=f"stream {{ include stream.d/*.conf; server {{ listen 127.0.0.1:{theirs}; return theirs; }} }}")
    before = rig.tree()
    assert rig.apply(rig.files("ours")).confirmed
    assert (rig.said(), rig.said(theirs)) == ("ours", "theirs")
    assert (rig.conf / "stream.d" / f"{rig.name}.conf").exists()
    rig.transaction().absent()
    assert (rig.said(), rig.said(theirs), rig.tree()) == ("", "theirs", before)


def test_where_nothing_is_included_the_line_is_named(rig: Rig) -> None:
    rig.main(top="")
    error = rig.refused(rig.files("one"))
    assert (error.where, error.fix) == (
        str(rig.conf / "nginx.conf"), "Add `stream { include stream.d/*.conf; }` at its end; nothing was touched",
    )  # fmt: skip
    rig.main(top="", end="stream { include stream.d/*.conf; }")
    assert rig.apply(rig.files("one")).confirmed, "which is all that it takes"
    assert rig.said() == "one"


def test_without_the_module(rig: Rig) -> None:
    main = rig.conf / "nginx.conf"
    if not stream_module(apt.host_release()):
        pytest.skip("this machine's nginx has the stream module built in")
    main.write_text(main.read_text().replace(stream_module(apt.host_release()), ""))
    error = rig.refused(rig.files("one"))
    assert "libnginx-mod-stream" in error.fix
    foretold = rig.apply(rig.files("one"), check=True)
    assert (foretold.changed, foretold.tested) == (True, False), "the same run may bring it"
    assert 'unknown directive "stream"' in foretold.not_tested


def test_what_nginx_refuses_there(rig: Rig) -> None:
    rig.apply(rig.files("one"))
    broken = [rig.files("x")[0], {"path": "stream/raw.conf", "content": "server {\n nonsense on; }"}]
    assert 'unknown directive "nonsense"' in rig.refused(broken).why
    taken = rig.refused(rig.files("x", raw=rig.web))
    assert f"two listeners use 127.0.0.1:{rig.web}" in taken.what
    assert taken.why.endswith("listens there already, in the http context")
    assert rig.said() == "one"


def test_a_port_that_another_program_holds(rig: Rig) -> None:
    """Which no test can see: the reload fails, and what served before serves on."""
    rig.apply(rig.files("one"))
    with socket.create_server(("127.0.0.1", 0)) as held:
        before = rig.tree()
        with pytest.raises(EdgeError) as caught:
            rig.apply(rig.files("two", raw=held.getsockname()[1]), timeout=8)
    assert "Address already in use" in caught.value.why
    assert caught.value.details["rolled_back"]
    assert (rig.said(), rig.tree()) == ("one", before)


def test_the_time_is_one_for_all_steps_and_going_back_has_its_own(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run takes half of the time, the reload command the rest; the second reload is the roll-back's."""
    rig.apply(rig.files("one"))
    (rig.folder / "service").write_text(
        f"#!/bin/sh\n[ -e {rig.folder}/asked ] && exec kill -HUP $(cat {rig.folder}/pid)\ntouch {rig.folder}/asked\nexec sleep 60\n"
    )
    (rig.folder / "service").chmod(0o755)
    monkeypatch.setattr(commands, "PATH", f"{rig.folder}:{commands.PATH}")
    held = threading.Event()

    def other_run() -> None:
        with locked([str(rig.conf)], 1):
            held.set()
            time.sleep(3)

    threading.Thread(target=other_run).start()
    assert held.wait(10)
    with pytest.raises(EdgeError) as caught:
        rig.apply(rig.files("two"), method="sysvinit", timeout=6)
    seconds = re.search(r"it did not end within (\d+) s", caught.value.why)
    assert seconds, caught.value.sentence
    assert int(seconds[1]) <= 3, "what the other run took is gone"
    assert (caught.value.details["rolled_back"], rig.said()) == (True, "one")


def test_a_socket_goes_from_one_context_to_the_other_and_nobody_is_lost(rig: Rig) -> None:
    """Where routes that are passed on join those that end TLS, and where they leave: by turns, under requests."""
    web, behind = "server {{ listen 127.0.0.1:{}; return 200 fine; }}\n", f"127.0.0.1:{rig.web}"
    alone = [{"path": "site.conf", "content": web.format(rig.web) + web.format(rig.raw)}]
    passed = [
        {"path": "site.conf", "content": web.format(rig.web)},
        {"path": "stream/raw.conf", "content": f"server {{ listen 127.0.0.1:{rig.raw}; proxy_pass {behind}; }}\n"},
    ]
    rig.apply(alone)
    answers: Counter[str] = Counter()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", rig.raw), timeout=60) as connection:
                    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    answers[connection.makefile().read()[-4:]] += 1
            except OSError as error:
                answers[type(error).__name__] += 1
            time.sleep(0.005)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for files in [passed, alone] * (10 if SOAK else 2):
            assert rig.apply(files).confirmed
    finally:
        over.set()
        asking.join()
    assert set(answers) == {"fine"}, answers
    FIGURES.append(f"a listener that changes between http and stream: {answers['fine']} requests, none lost")


# --- killed half-way ---


@pytest.mark.parametrize("way", ["comes", "goes"] if SOAK else ["comes"])
def test_killed_at_every_step_the_next_run_converges(rig: Rig, way: str) -> None:
    """Somebody else's reload in between meets the one or the other, and never less."""
    old, new = (rig.http_only(), rig.files("new")) if way == "comes" else (rig.files("old"), rig.http_only())
    before, after = ("", "new") if way == "comes" else ("old", "")
    steps = []
    for number in range(1, 40):
        if not SOAK and number % 6 != 1:
            continue
        rig.apply(old)
        step = killed(rig, number, lambda step: rig.apply(new, step=step))
        if not step:
            break
        steps.append(step)
        os.kill(processes(str(rig.folder / "pid")).master, signal.SIGHUP)
        done = rig.apply(new)
        assert done.confirmed, step
        rig.becomes(after)
        assert (rig.conf / "modules" / f"{rig.name}.conf").exists() == bool(after), step
        rig.apply(old)
        rig.becomes(before)
    assert len(steps) >= (12 if SOAK else 2), steps
    rig.transaction().absent()
    assert sorted(path.name for path in rig.conf.iterdir()) == ["conf.d", "modules", "nginx.conf"]
    FIGURES.append(f"stream context, its include {way}: killed at {len(steps)} steps, converged each time")


def test_without_the_right_to_mount_it_is_tested_beside_the_main_file(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from plugins.module_utils._nginx.change import staging

    monkeypatch.setattr(staging, "_in_namespace", lambda *_arguments: None)
    assert rig.apply(rig.files("one")).how_tested == "beside_main"
    assert rig.said() == "one"
    assert "nonsense" in rig.refused([{"path": "stream/x.conf", "content": "nonsense on;"}]).why
    # a stream block that stands in another file can't be redirected to what is planned
    shutil.rmtree(rig.conf / rig.name)
    for path in (rig.conf / "modules").iterdir():
        path.unlink()
    (rig.conf / "conf.d" / f"{rig.name}.conf").unlink()
    (rig.conf / "modules" / "user.conf").write_text("stream { include stream.d/*.conf; }\n")
    assert "Put the stream block into the main file" in rig.refused(rig.files("two")).fix
