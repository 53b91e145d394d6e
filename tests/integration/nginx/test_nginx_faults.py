# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever happens in the middle of a change, no client notices, and the next run converges.

Every test sends 200 requests a second while it happens. In the long form all steps are tried, on both releases.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from nginx_machine import TLS, Machine, busy, site

pytestmark = pytest.mark.lab
SOAK = bool(os.environ.get("EDGEMESH_SOAK"))

#: A second certificate, which can go missing without harm to the first.
OTHER = site("other", "8445 ssl", TLS.replace("/etc/x", "/etc/y"))["site.conf"]


@pytest.fixture
def serving(vm: Machine) -> Iterator[Machine]:
    """The VM serves "one"; afterwards it takes a change as if nothing had been."""
    vm.sh("cp /etc/x.crt /etc/y.crt; cp /etc/x.key /etc/y.key")
    vm.good(busy("one"))
    yield vm
    assert vm.live_config_is_good()
    assert vm.good(busy("after"))["confirmed"]
    assert vm.get() == "after"
    assert not SOAK or vm.good(busy("after"))["changed"] is False


# --- killed ---


def test_killed_at_any_step_the_next_run_converges(serving: Machine) -> None:
    vm = serving
    steps = vm.apply(busy("two"))["steps"]
    assert len(steps) >= 12, steps
    texts = ["two", "one"] * len(steps)
    with vm.load() as load:
        for number, step in enumerate(steps, 1):
            assert vm.apply(busy(texts[number]), kill_at=number) == {"killed": True}
            assert vm.live_config_is_good(), f"killed at {step}: a reload by somebody else would fail"
            assert vm.good(busy(texts[number]))["confirmed"], step
            assert vm.get() == texts[number]
            assert not SOAK or vm.good(busy(texts[number]))["changed"] is False
    load.check({"one", "two"}, f"killed at {len(steps)} steps of a change")


def test_killed_then_refused_serves_the_last_good_one(serving: Machine) -> None:
    vm = serving
    steps = vm.apply(busy("one2"))["steps"]
    good = vm.good(busy("one"))["generation"]
    points = [number for number, step in enumerate(steps, 1) if SOAK or step in ("reloaded", "recorded")]
    with vm.load() as load:
        for number in points:
            assert vm.apply(busy("two"), kill_at=number) == {"killed": True}
            vm.refused({"site.conf": "nonsense on;"})
            recorded = steps.index("recorded") + 1 <= number
            assert vm.get() == ("two" if recorded else "one"), steps[number - 1]
            assert vm.sh("basename $(readlink /etc/nginx/edgemesh/current)").endswith(good[5:]) is not recorded
            vm.good(busy("one"))
    load.check({"one", "two"}, f"killed at {len(points)} steps, then refused")


def test_killed_while_going_back_the_next_run_converges(serving: Machine) -> None:
    vm = serving
    gone = {"activated": "mv /etc/y.crt /root/"}
    new = {**busy("two"), "other.conf": OTHER}
    steps = vm.apply(new, at=gone)["steps"]
    vm.sh("mv /root/y.crt /etc/")
    points = range(steps.index("rolled back") + 1, len(steps) + 1)
    assert steps[points[0] - 1 :] == ["rolled back", "reloaded", "as before", "noted"]
    points = points if SOAK else points[::2]
    with vm.load() as load:
        for number in points:
            assert vm.apply(new, at=gone, kill_at=number) == {"killed": True}
            assert vm.live_config_is_good(), steps[number - 1]
            vm.sh("mv /root/y.crt /etc/")
            assert vm.get() == "one", steps[number - 1]
            assert vm.good(new)["confirmed"]
            assert vm.get() == "two"
            assert vm.good(busy("one"))["confirmed"]
    load.check({"one", "two"}, f"killed at {len(points)} steps of a roll-back")


def test_killed_while_installing_and_while_removing(vm: Machine) -> None:
    before = vm.tree()
    steps = vm.apply(busy("one"), default_site="disabled")["steps"]
    of_a_change = vm.apply(busy("two"), default_site="disabled")["steps"]
    gone = vm.apply(state="absent")["steps"]
    assert {"included", "default site disabled"} <= set(steps)
    assert {"default site restored", "generations removed"} <= set(gone)
    # in the short form: some of what only an installation or a removal does
    new, last = [[number for number, step in enumerate(of, 1) if SOAK or step not in of_a_change] for of in (steps, gone)]
    with vm.load(user=True) as load:
        for number in new if SOAK else new[::3]:
            step = steps[number - 1]
            assert vm.apply(busy("one"), default_site="disabled", kill_at=number) == {"killed": True}
            assert vm.live_config_is_good(), step
            if number % 2 or not SOAK:
                assert vm.good(busy("one"), default_site="disabled")["confirmed"]
                assert vm.get() == "one"
            vm.good(state="absent")
            assert vm.tree() == before, f"installation killed at {step}"
        for number in last if SOAK else last[::3]:
            step = gone[number - 1]
            vm.good(busy("one"), default_site="disabled")
            assert vm.apply(state="absent", kill_at=number) == {"killed": True}
            assert vm.live_config_is_good(), step
            vm.good(state="absent")
            assert vm.tree() == before, f"removal killed at {step}"
    load.check({"user"}, "killed while installing and removing")


# --- failed, and gone back from ---


def gone_back_from(vm: Machine, files: dict[str, str], label: str, **request: Any) -> dict[str, Any]:
    """A change that fails half-way: "one" serves again, and no client saw anything of it but, at most, "two"."""
    serving, tree = vm.good(busy("one"))["generation"], vm.tree()
    with vm.load() as load:
        error = vm.refused(files, **request)
    load.check({"one", "two"}, label)
    assert (error["rolled_back"], error["serving"]) == (True, serving), error
    assert vm.tree() == tree, "not even a trace of the failed generation"
    assert vm.get() == "one"
    assert vm.good(busy("one"))["changed"] is False
    return error


def test_files_that_nginx_refuses(serving: Machine) -> None:
    vm = serving
    tree, workers = vm.stamps(), vm.workers()
    with vm.load() as load:
        assert vm.refused({"site.conf": "nonsense on;"})["what"] == "nginx refuses the new configuration"
    load.check({"one"}, "refused by nginx -t")
    assert (vm.stamps(), vm.workers()) == (tree, workers)


def test_a_reload_that_nobody_does(serving: Machine) -> None:
    """The reload command says 0 and does nothing, once."""
    vm = serving
    vm.sh(
        "mkdir -p /opt/fake; cat > /opt/fake/service; chmod +x /opt/fake/service; rm -f /opt/fake/done",
        '#!/bin/sh\n[ -e /opt/fake/done ] && exec /usr/sbin/service "$@"\ntouch /opt/fake/done\nexit 0\n',
    )
    error = gone_back_from(vm, busy("two"), "reload ignored", wrapper="env PATH=/opt/fake:$PATH", timeout=5)
    assert "workers are still those of before the reload" in error["why"]


def test_an_address_that_another_program_holds(serving: Machine) -> None:
    """nginx's own test doesn't see that; the reload does."""
    vm = serving
    vm.sh("(timeout 600 python3 -m http.server 8777 >/dev/null 2>&1 & echo $! > /run/holder)")
    vm.sh("while ! ss -Hltn | grep -q :8777; do sleep 0.05; done")
    try:
        error = gone_back_from(vm, {**busy("two"), "b.conf": "server { listen 8777; }"}, "address in use")
        assert "bind() to 0.0.0.0:8777 failed (98" in error["why"]
    finally:
        vm.sh("kill $(cat /run/holder)")


def test_a_certificate_that_vanishes_between_test_and_reload(serving: Machine) -> None:
    error = gone_back_from(
        serving, {**busy("two"), "other.conf": OTHER}, "certificate gone", depends_on=["/etc/y.crt"], at={"tested": "rm /etc/y.crt"}
    )
    assert "cannot load certificate" in error["why"]


def test_new_workers_that_die_as_they_start(serving: Machine) -> None:
    """Nobody accepts until the change is taken back: clients wait for that moment, and none is turned away."""
    main = "/etc/nginx/nginx.conf"
    error = gone_back_from(
        serving, busy("two"), "new workers die",
        at={
            "activated": f"cp -a {main} /root/main && echo 'working_directory /nowhere;' >> {main}",
            "rolled back": f"cp -a /root/main {main}",
        },
    )  # fmt: skip
    assert "of its new workers crashed" in error["why"]
    assert "exited with fatal code" in error["why"]


def test_new_workers_that_crash_one_after_the_other(serving: Machine) -> None:
    """What a crashing worker had accepted is lost whoever looks after it; nginx replaces it, and the change is taken back."""
    vm = serving
    generation = vm.good(busy("one"))["generation"]
    vm.upload("/run/crash", "while [ -e /run/crash ]; do pkill -9 -P $(cat /run/nginx.pid); sleep 0.05; done")
    start = "[ ! -e /run/crash ] || (sh /run/crash &)"
    error = vm.refused(busy("two"), at={"reloaded": start, "rolled back": "rm /run/crash; sleep 0.2"})
    assert (error["rolled_back"], error["serving"]) == (True, generation), error
    assert "exited on signal 9" in error["why"]
    assert vm.get() == "one"


def test_a_disk_that_is_full_from_some_step_on(serving: Machine) -> None:
    vm = serving
    ours = "/etc/nginx/edgemesh"
    vm.sh(f"mv {ours} /root/ours; mkdir {ours}; mount -t tmpfs -o size=512k tmpfs {ours}; cp -a /root/ours/. {ours}; rm -r /root/ours")
    fill = f"dd if=/dev/zero of={ours}/fill bs=4k || true"
    try:
        steps = vm.apply(busy("two"))["steps"]
        vm.good(busy("one"))
        until = steps.index("recorded")
        some = ("written", "confirmed")
        points = [step for step in dict.fromkeys(steps[:until]) if SOAK or step in some]
        with vm.load() as load:
            for step in points:
                error = vm.refused(busy("two"), at={step: fill})
                assert "No space left on device" in error["why"], (step, error)
                assert vm.get() == "one", step
                assert vm.live_config_is_good(), step
                vm.sh(f"rm {ours}/fill")
                assert vm.good(busy("two"))["confirmed"], step
                assert vm.good(busy("one"))["confirmed"], step
        load.check({"one", "two"}, f"disk full at {len(points)} steps")
    finally:
        vm.sh(f"cp -a {ours} /root/ours; umount {ours}; rm -rf {ours}; mv /root/ours {ours}")


def test_when_even_going_back_fails_it_says_so_and_the_next_run_mends_it(serving: Machine) -> None:
    vm = serving
    old, new = {**busy("one"), "other.conf": OTHER}, {**busy("two"), "other.conf": OTHER}
    vm.good(old, depends_on=["/etc/y.crt"])
    with vm.load() as load:
        error = vm.refused(new, depends_on=["/etc/y.crt"], at={"tested": "mv /etc/y.crt /root/"})
        assert error["rolled_back"] is False
        assert "the roll-back failed too" in error["why"]
        assert "cannot load certificate" in error["why"]
        vm.sh("mv /root/y.crt /etc/")
        outcome = vm.good(new, depends_on=["/etc/y.crt"])
    load.check({"one", "two"}, "going back failed, then mended")
    assert (outcome["changed"], outcome["repaired"], vm.get()) == (True, True, "two")


# --- several at once ---


def test_two_runs_at_once_take_turns(serving: Machine) -> None:
    vm = serving
    results: list[dict[str, Any]] = []
    texts = ("two", "three", "four")
    threads = [threading.Thread(target=lambda text=text: results.append(vm.apply(busy(text)))) for text in texts]
    with vm.load() as load:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(600)
    load.check({"one", *texts}, "three runs at once")
    assert [("outcome" in result, result.get("outcome", {}).get("confirmed")) for result in results] == [(True, True)] * 3
    assert len({result["outcome"]["generation"] for result in results}) == 3
    assert vm.get() in texts


def test_a_run_that_waits_too_long_for_another_says_so(serving: Machine) -> None:
    vm = serving
    before = vm.stamps()
    vm.sh("(flock /etc/nginx sleep 600 >/dev/null 2>&1 & echo $! > /run/holder); while flock -n /etc/nginx true; do sleep 0.05; done")
    try:
        error = vm.refused(busy("two"), timeout=1)
    finally:
        vm.sh("pkill -P $(cat /run/holder); while pgrep -x flock >/dev/null; do sleep 0.05; done")
    assert error["what"].startswith("another run")
    assert "has been changing the folder for 1 s" in error["what"]
    assert vm.stamps() == before
