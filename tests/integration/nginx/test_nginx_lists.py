# SPDX-License-Identifier: GPL-3.0-or-later
"""Several lists on one host: each run changes its own, whatever happens to it half-way. On this machine's nginx."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from nginx_rig import Rig, killed

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._lists import OTHER_LIST
from plugins.module_utils._lock import locked
from plugins.module_utils._nginx.change.desired import Desired
from plugins.module_utils._nginx.change.generations import Store
from plugins.module_utils._nginx.change.installation import processes
from plugins.module_utils._nginx.change.parts import files_alone, read
from tests.figures import FIGURES
from tests.ports import free_port

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a configuration is tested as root")
SOAK = bool(os.environ.get("EDGEMESH_SOAK"))
SHARED = {"path": "names-bucket.conf", "content": "server_names_hash_bucket_size 128;\n", "rank": 128}


@contextmanager
def asked(rig: Rig, *names: str) -> Iterator[None]:
    """Requests meanwhile, at most 200 a second, none of which may fail. From a process of its own: tests fork."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    over = multiprocessing.Event()

    def ask() -> None:
        answers: Counter[str] = Counter()
        while not over.is_set():
            for name in names:
                answers[f"{name}: {rig.get(name)}"] += 1
                time.sleep(0.005)
        writer.send(answers)

    asking = multiprocessing.get_context("fork").Process(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        answers = reader.recv() if reader.poll(60) else Counter()
        asking.join(60)
    assert set(answers) == {f"{name}: {name}" for name in names}, answers
    FIGURES.append(f"lists on one host: {sum(answers.values())} requests to others' routes meanwhile, none lost")


def at_once(*runs: Callable[[], str]) -> list[str]:
    """What each of them says, each in a process of its own."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=lambda number=number, run=run: writer.send((number, run()))) for number, run in enumerate(runs)]
    for process in random.sample(processes, len(processes)):
        process.start()
    for process in processes:
        process.join(120)
    said = dict(reader.recv() for _process in processes)
    return [said[number] for number in range(len(runs))]


def inode(rig: Rig, path: str) -> int:
    return (rig.conf / rig.name / "current" / path).stat().st_ino


def exported(rig: Rig, *names: str) -> list[str]:
    """Files as tls_secret_export writes them."""
    paths = [rig.folder / "tls" / "ns" / name / "tls.crt" for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return [str(path) for path in paths]


def workers(rig: Rig) -> frozenset[int]:
    return processes(str(rig.folder / "pid")).workers


def test_each_run_changes_its_own_list(rig: Rig) -> None:
    before = rig.tree()
    first = rig.run("a", rig.part("shop", probes=[{"name": "shop"}]), rig.part("pay", shared=[SHARED]))
    assert first.parts == {"made": ["a/pay", "a/shop"], "changed": [], "removed": []}
    shop = inode(rig, "route-shop.conf")
    with asked(rig, "shop", "pay"):
        second = rig.run("b", rig.part("store", shared=[SHARED]))
        assert (second.parts["made"], second.lists) == (["b/store"], ["a", "b"])
        assert [(each["list"], each["name"], each["probes"]) for each in second.neighbours] == [
            ("a", "pay", []), ("a", "shop", [{"name": "shop"}]),
        ]  # fmt: skip
        serving = workers(rig)
        for again in (rig.run("b", rig.part("store", shared=[SHARED])), rig.run("a", rig.part("shop", probes=[{"name": "shop"}]))):
            assert (again.changed, again.parts) == (False, {"made": [], "changed": [], "removed": []})
        assert workers(rig) == serving, "nothing reloaded"
        assert rig.run("b", rig.part("store", "other", shared=[SHARED])).parts["changed"] == ["b/store"]
        assert rig.get("store") == "other"
        foretold = rig.run("b", rig.part("store2"), exclusive=True, check=True)
        assert foretold.parts == {"made": ["b/store2"], "changed": [], "removed": ["b/store"]}
        assert rig.run("b", rig.part("store2"), exclusive=True).parts == foretold.parts
        assert inode(rig, "route-shop.conf") == shop
        gone = rig.run("b", absent=["store2", "never"])
        assert (gone.parts["removed"], gone.lists) == (["b/store2"], ["a"])
        assert rig.run("b", absent=["store2"]).changed is False
    assert (rig.conf / rig.name / "current/names-bucket.conf").exists()
    assert rig.run("a", rig.part("shop"), absent=["pay"]).changed
    assert not (rig.conf / rig.name / "current/names-bucket.conf").exists(), "it went with its last user"
    assert rig.get("pay") != "pay"
    assert rig.run("a", absent=["shop"]).parts["removed"] == ["a/shop"]
    assert rig.tree() == before, "the last part took everything with it"


def test_a_list_goes_and_the_others_serve(rig: Rig) -> None:
    before = rig.tree()
    rig.run("a", rig.part("shop"))
    rig.run("b", rig.part("store"))
    with asked(rig, "shop"):
        assert rig.transaction().absent("never").changed is False
        foretold = rig.transaction(check=True).absent("b")
        assert (foretold.changed, foretold.parts["removed"], rig.get("store")) == (True, ["b/store"], "store")
        assert rig.transaction().absent("b").confirmed
        assert rig.get("store") == "shop", "which is the first on its port now"
    rig.run("b", rig.part("store"))
    assert rig.transaction().absent(all_lists=True).parts["removed"] == ["a/shop", "b/store"]
    assert rig.tree() == before


def test_what_another_list_has_is_refused_before_anything_changes(rig: Rig) -> None:
    rig.run("a", rig.part("shop", agrees={"port 443": "TLS"}))
    before, serving = rig.tree(), workers(rig)
    claim, theirs = rig.part("shop")["claims"], "belongs to route shop of list a"
    for part, words in (
        (rig.part("other", claims=claim), f"host shop on port {rig.web} {theirs}"),
        (rig.part("other", agrees={"port 443": "plain HTTP"}), f"port 443 is TLS and can't be plain HTTP too: it {theirs}"),
        ({**rig.part("shop"), "claims": {}}, f"file route-shop.conf {theirs}"),
    ):
        for options in ({}, {"check": True}):
            with pytest.raises(EdgeError) as caught:
                rig.run("b", part, **options)
            assert (caught.value.code, caught.value.what) == (OTHER_LIST, words)
    with pytest.raises(EdgeError) as caught:
        rig.run("a", rig.part("other", claims=claim))
    assert caught.value.code == "BAD_ROUTE"
    assert (rig.tree(), workers(rig)) == (before, serving)
    assert rig.run("a", rig.part("other", claims=claim), absent=["shop"]).confirmed, "one run may hand it on"


def test_each_list_has_a_default_site_of_its_own(rig: Rig) -> None:
    site = rig.conf / "conf.d/default.conf"
    site.write_text("# nothing\n")
    ours = Store(str(rig.conf), rig.name, in_use=lambda _path: "")

    def run(list_name: str, default_site: str) -> None:
        made = rig.transaction()
        made.store = ours
        made.present(read(list_name, [rig.part(list_name)], default_site=default_site))

    run("a", "disabled")
    run("b", "keep")
    assert not site.exists(), "list a says so still"
    run("a", "keep")
    assert site.exists()
    run("b", "disabled")
    made = rig.transaction()
    made.store = ours
    made.absent("b")
    assert site.exists(), "it went with the list that said so"


def test_going_back_takes_one_list_back(rig: Rig) -> None:
    rig.run("a", rig.part("shop", "one"))
    rig.run("a", rig.part("shop", "two"))
    rig.run("b", rig.part("store", "one"))
    for number in range(4):
        rig.run("b", rig.part("store", f"{number}"))
    assert rig.transaction().rolled_back("previous", "a").parts == {"made": [], "changed": ["a/shop"], "removed": []}
    assert (rig.get("shop"), rig.get("store")) == ("one", "3")
    assert rig.transaction().rolled_back("previous", "a").changed is False, "who has gone back stays there"
    assert rig.run("b", rig.part("store", "4")).changed
    assert rig.transaction().rolled_back("previous", "a").changed is False
    assert rig.transaction().rolled_back("previous", "b").changed
    assert (rig.get("shop"), rig.get("store")) == ("one", "3")
    rig.run("a", absent=["shop"])
    rig.run("b", rig.part("mine", claims=rig.part("shop")["claims"]))
    with pytest.raises(EdgeError) as caught:
        rig.transaction().rolled_back("previous", "a")
    assert caught.value.code == OTHER_LIST, "the host is another list's by now"


# --- exported material ---


def test_exported_files_go_with_the_last_part_that_names_them(rig: Rig) -> None:
    folder = str(rig.folder / "tls")
    own, both, used = exported(rig, "own", "both", "used")
    outside = str(rig.folder / "elsewhere" / "tls.crt")
    Path(outside).parent.mkdir()
    Path(outside).write_text("x")
    linked = rig.folder / "tls" / "ns" / "linked"
    linked.symlink_to(rig.folder / "elsewhere")
    material = [own, both, used, outside, f"{linked}/tls.crt", f"{folder}/never.crt"]
    options = {"material_folder": folder}
    rig.run("a", rig.part("shop", material=material), rig.part("pay", material=[both]), **options)
    rig.run("b", rig.part("store", depends_on=[used]), **options)
    foretold = rig.run("a", absent=["shop"], check=True, **options)
    assert (foretold.material_removed, Path(own).exists()) == ([own], True)
    assert rig.run("a", absent=["shop"], **options).material_removed == [own]
    assert [Path(path).exists() for path in (own, both, used, outside, f"{linked}/tls.crt")] == [False, True, True, True, True]
    assert not Path(own).parent.exists()
    assert rig.transaction(**options).absent("a").material_removed == [both]
    assert Path(used).exists()
    rig.run("c", rig.part("other"))
    Path(used).unlink()
    with pytest.raises(EdgeError) as caught:
        rig.run("c", rig.part("other", "more"))
    assert caught.value.why == f"not there yet: {used} (route store of list b)"


# --- killed half-way, and two at once ---


def test_killed_at_every_step_the_next_run_of_either_list_converges(rig: Rig) -> None:
    """A change of list a that makes, changes and removes parts, with their material; list b serves on throughout.

    In the short form the other list's run comes first after every second step, in the long form after each, and after each it does not.
    """
    options = {"material_folder": str(rig.folder / "tls")}
    steps: list[str] = []

    def start() -> list[str]:
        material = exported(rig, "old")
        rig.run("a", rig.part("kept", "one"), rig.part("old", depends_on=material, material=material), exclusive=True, **options)
        return material

    def change(**more: Any) -> Any:
        return rig.run("a", rig.part("kept", "two"), rig.part("new"), absent=["old"], **options, **more)

    rig.run("b", rig.part("store", "store"), **options)
    tries = [(at, first) for at in range(1, 60) for first in ((True, False) if SOAK else (at % 2 == 1,))]
    with asked(rig, "store"):
        for number, other_first in tries:
            (material,) = start()
            step = killed(rig, number, lambda step: change(step=step))
            if not step:
                break
            steps.append(step)
            if other_first or step == "material removed":
                # the other list's run finds what was left, and repairs it
                rig.run("b", rig.part("store", "store"), **options)
                done = rig.get("new") == "new"
                assert rig.get("kept") == ("two" if done else "one"), step
                assert Path(material).exists() is not done, step
                assert (rig.conf / rig.name / "current/route-old.conf").exists() is not done, step
            assert change().confirmed, step
            assert (rig.get("kept"), rig.get("new"), rig.get("old") == "old", Path(material).exists()) == ("two", "new", False, False), step
            assert change().changed is False, step
            state = json.loads((rig.conf / rig.name / "state.json").read_text())
            assert ("pending" in state, state["material"]) == (False, {}), step
    assert {"recorded", "swapped", "material removed", "material noted", "pruned"} <= {*steps}
    FIGURES.append(f"two lists: killed at {len(steps)} steps of a change, converged each time")


def test_two_lists_at_once_both_end_well(rig: Rig) -> None:
    """Neither loses the other's parts, whoever comes first; and of a host that both want one gets it."""
    rig.run("c", rig.part("quiet"))
    with asked(rig, "quiet"):
        for number in range(10 if SOAK else 3):

            def run(name: str, number: int = number) -> str:
                assert rig.run(name, rig.part(f"{name}{number}"), timeout=60).confirmed
                try:
                    rig.run(name, rig.part(f"{name}-both", claims={"443/both": "host both on port 443"}), timeout=60)
                except EdgeError as error:
                    return error.what
                return ""

            one, other = at_once(lambda: run("a"), lambda: run("b"))
            assert (rig.get(f"a{number}"), rig.get(f"b{number}")) == (f"a{number}", f"b{number}")
            winner = "b" if one else "a"
            assert {one, other} == {"", f"host both on port 443 belongs to route {winner}-both of list {winner}"}
            rig.run(winner, absent=[f"{winner}-both"])


def test_who_waits_in_vain_is_told_for_which_list(rig: Rig) -> None:
    held, over = threading.Event(), threading.Event()

    def other_run() -> None:
        with locked([str(rig.conf)], 1, "list team-a"):
            held.set()
            over.wait(60)

    thread = threading.Thread(target=other_run)
    thread.start()
    assert held.wait(10)
    try:
        with pytest.raises(EdgeError) as caught:
            rig.run("b", rig.part("store"), timeout=1)
    finally:
        over.set()
        thread.join()
    assert re.search(rf"\(process {os.getpid()}, list team-a since 20\d\d-", caught.value.what), caught.value.what
    assert caught.value.code == "BUSY"


# --- from before there were lists ---


def as_before(rig: Rig) -> None:
    """Make of what serves a generation as the version before wrote it."""
    current = rig.conf / rig.name / "current"
    (current / "parts.json").unlink()
    found = json.loads((current / "manifest.json").read_text())
    held = Desired(Store(str(rig.conf), rig.name).files(os.path.basename(os.readlink(current))), tuple(found["depends_on"]))
    old = {key: found[key] for key in ("default_site", "listen", "pid_file", "depends_on", "entry")}
    (current / "manifest.json").write_text(json.dumps({**old, "digest": held.digest(found["depends_on"]), "copy_of": ""}))


def before_lists(rig: Rig) -> tuple[list[dict[str, str]], list[str]]:
    """What the version before wrote of some routes, with a gateway on this machine."""
    tls = rig.folder / "tls"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test",
         "-addext", "subjectAltName=DNS:*.example.com", "-keyout", str(rig.folder / "key"), "-out", str(rig.folder / "crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    gateway, secure = free_port(), free_port()
    text = (Path(__file__).parents[2] / "unit/nginx/before_lists/ended.conf").read_text()
    for old, new in {
        r"listen 80;": f"listen 127.0.0.1:{rig.web};",
        r"listen 443 ssl( http2)?;": f"listen 127.0.0.1:{secure} ssl;",
        r"192\.0\.2\.10:30443": f"127.0.0.1:{gateway}",
        r"    server \[2001.*\n": "",
        r"/etc/edgemesh/tls": str(tls),
        r"/var/log/nginx": str(rig.folder / "logs"),
    }.items():
        text = re.sub(old, new, text)
    paths = sorted(set(re.findall(rf"{tls}/[^; ]+\.(?:crt|key)", text)))
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes((rig.folder / path[-3:]).read_bytes())
    pair = f"ssl_certificate {rig.folder}/crt; ssl_certificate_key {rig.folder}/key;"
    (rig.conf / "conf.d/backend.conf").write_text(f"server {{ listen 127.0.0.1:{gateway} ssl; {pair} return 200 $host; }}\n")
    return [{"path": "routes.conf", "content": text}], paths


def test_a_host_of_the_version_before_is_taken_over_under_load(rig: Rig) -> None:
    files, paths = before_lists(rig)
    options = {"material_folder": str(rig.folder / "tls")}
    rig.transaction().present(files_alone("default", files, paths, "keep"))
    as_before(rig)
    name = "plain.example.com"
    assert rig.get(name) == name
    with asked(rig, name):
        serving = workers(rig)
        assert rig.transaction().absent("b").changed is False
        assert workers(rig) == serving
        first = rig.run("b", rig.part("store"), **options)
        assert (first.lists, first.parts["made"], first.material_removed) == (["b", "default"], ["b/store"], [])
        plain = inode(rig, "route-plain.conf")
        assert rig.run("b", rig.part("store"), **options).changed is False
        gone = rig.run("default", absent=["limited", "mutual"], **options)
        assert gone.parts["removed"] == ["default/limited", "default/mutual"]
        assert inode(rig, "route-plain.conf") == plain
        back = rig.transaction(**options).rolled_back("previous", "default")
        assert (back.parts["made"], inode(rig, "route-plain.conf")) == (gone.parts["removed"], plain)
        with pytest.raises(EdgeError) as caught:
            rig.run("b", rig.part("mine", claims={f"{rig.web}/{name}": f"host {name}"}))
        assert caught.value.code == OTHER_LIST
        # as today's role would: all of the list
        whole = rig.run("default", rig.part(name), exclusive=True, **options)
        assert "default/plain" in whole.parts["removed"]
        assert len(whole.material_removed) == len([path for path in paths if "/edgemesh/" in path])
    assert not (rig.folder / "tls/edgemesh").exists()
    assert (rig.folder / "tls/a.key").exists(), "a file of the user's"


def test_a_host_of_the_version_before_goes_without_a_trace(rig: Rig) -> None:
    files, paths = before_lists(rig)
    before = rig.tree()
    rig.transaction().present(files_alone("default", files, paths, "keep"))
    as_before(rig)
    assert rig.transaction(check=True).absent().changed
    assert rig.transaction().absent().confirmed
    assert rig.tree() == before


def test_two_hundred_routes_in_twenty_lists(rig: Rig) -> None:
    """A change of one route takes about as long as of one alone."""

    def timed(said: str) -> float:
        started = time.monotonic()
        assert rig.run("one", rig.part("one", said)).confirmed
        return time.monotonic() - started

    rig.run("one", rig.part("one"))
    alone = min(timed(f"{number}") for number in range(5))
    for number in range(20):
        rig.run(f"list{number}", *(rig.part(f"r{number}-{route}", shared=[SHARED]) for route in range(10)))
    # other work on the machine may fall on either of the two
    many = min(timed(f"many{number}") for number in range(5))
    FIGURES.append(f"a change of one route: {alone:.2f} s alone, {many:.2f} s beside 200 routes of 20 lists")
    assert many <= 1.5 * alone + 0.1
