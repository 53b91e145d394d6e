# SPDX-License-Identifier: GPL-3.0-or-later
"""Our folder on the disk: generations, the link to the current one, the journal."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._nginx.change.desired import Desired, Manifest, digests
from plugins.module_utils._nginx.change.generations import Store
from plugins.module_utils._nginx.change.merge import merge
from plugins.module_utils._nginx.change.parts import Change, files_alone
from plugins.module_utils._nginx.change.staging import Link

WANTED = Desired({"a.conf": "server { }\n", "snippets/b": "# b\n"}, (), "disabled")
MANIFEST = Manifest("0" * 12, "disabled", "127.101.1.1:80", "/run/nginx.pid")


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "sites-available").mkdir()
    (tmp_path / "sites-enabled").mkdir()
    (tmp_path / "sites-available" / "default").write_text("server { listen 80; }\n")
    (tmp_path / "sites-enabled" / "default").symlink_to("../sites-available/default")
    (tmp_path / "nginx.conf").write_text("http { }\n")
    return tmp_path


def store(conf: Path) -> Store:
    return Store(str(conf), "edgemesh", in_use=lambda _path: "")


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else "/"
        for path in sorted(folder.rglob("*"))
    }


def install(conf: Path, wanted: Desired = WANTED, manifest: Manifest = MANIFEST) -> str:
    ours = store(conf)
    name = ours.next_name(manifest.digest)
    ours.write_state()
    ours.write_generation(name, wanted, manifest)
    ours.activate(name)
    ours.record(name)
    return name


def test_a_generation_is_put_in_place_and_taken_away_without_a_trace(conf: Path) -> None:
    before = tree(conf)
    name = install(conf)
    assert (conf / "edgemesh" / "current" / "snippets" / "b").read_text() == "# b\n"
    assert (conf / "conf.d" / "edgemesh.conf").read_text().endswith(f"include {conf}/edgemesh/current/*.conf;\n")
    assert not (conf / "sites-enabled" / "default").exists()
    ours = store(conf)
    assert (ours.active(), ours.state()["confirmed"], ours.is_active(name, WANTED)) == (name, name, True)
    ours.activate(None)
    ours.remove()
    assert tree(conf) == before
    assert os.readlink(conf / "sites-enabled" / "default") == "../sites-available/default"


def test_activating_twice_changes_no_inode(conf: Path) -> None:
    name = install(conf)
    stats = {path: (os.lstat(path).st_ino, os.lstat(path).st_mtime_ns) for path in conf.rglob("*")}
    store(conf).activate(name)
    assert {path: (os.lstat(path).st_ino, os.lstat(path).st_mtime_ns) for path in conf.rglob("*")} == stats


@pytest.mark.parametrize(
    "tamper",
    [
        lambda conf: (conf / "edgemesh/current/a.conf").write_text("# mine\n"),
        lambda conf: (conf / "edgemesh/current/extra.conf").write_text(""),
        lambda conf: (conf / "edgemesh/current/snippets/b").unlink(),
        lambda conf: (conf / "edgemesh/current/generation.conf").write_text(""),
        lambda conf: (conf / "edgemesh/current/manifest.json").unlink(),
        lambda conf: (conf / "conf.d/edgemesh.conf").unlink(),
        lambda conf: (conf / "edgemesh/current").unlink(),
        lambda conf: (conf / "sites-enabled/default").symlink_to("../sites-available/default"),
    ],
)
def test_drift_is_seen(conf: Path, tamper: object) -> None:
    name = install(conf)
    assert store(conf).is_active(name, WANTED)
    tamper(conf)  # type: ignore[operator]
    assert not store(conf).is_active(name, WANTED)


def test_a_site_in_use_is_left_alone(conf: Path) -> None:
    ours = Store(str(conf), "edgemesh", in_use=lambda _path: "it was edited")
    ours.write_state()
    ours.write_generation("0001-000000000000", WANTED, MANIFEST)
    ours.activate("0001-000000000000")
    assert (conf / "sites-enabled" / "default").exists()
    assert ours.is_active("0001-000000000000", WANTED)
    assert ours.plan("0002-000000000000", WANTED, "127.101.1.1:80").get(str(conf / "sites-enabled/default"), "kept") == "kept"


def test_the_plan_says_what_will_be(conf: Path) -> None:
    ours = store(conf)
    plan = ours.plan("0001-000000000000", WANTED, "127.101.1.1:80")
    root = conf / "edgemesh/generations/0001-000000000000"
    assert plan[str(root / "a.conf")] == "server { }\n"
    assert isinstance(plan[str(conf / "edgemesh/current")], Link)
    assert plan[str(conf / "sites-enabled/default")] is None
    assert "listen 127.101.1.1:80;" in str(plan[str(root / "generation.conf")])
    install(conf)
    back = ours.plan(None)
    assert back == {
        str(conf / "conf.d/edgemesh.conf"): None,
        str(conf / "edgemesh/current"): None,
        str(conf / "sites-enabled/default"): "../sites-available/default",
    }
    assert isinstance(back[str(conf / "sites-enabled/default")], Link)
    assert str(conf / "sites-enabled/default") in ours.plan("0002-000000000000", Desired({}, (), "keep"), "x")


def test_numbers_rise_and_old_generations_go(conf: Path) -> None:
    names = [install(conf) for _round in range(5)]
    assert [name.split("-")[0] for name in names] == ["0001", "0002", "0003", "0004", "0005"]
    ours = store(conf)
    assert ours.kept() == names
    ours.write_state(confirmed=names[1])
    (conf / "edgemesh/generations/0006-cccccccccccc").mkdir()
    ours.prune(2)
    assert ours.names() == [names[1], names[3], names[4]], "the confirmed one stays whatever its age, one that never served goes"
    (conf / "edgemesh/generations/9999-aaaaaaaaaaaa").mkdir()
    assert ours.next_name("b" * 12) == "10000-bbbbbbbbbbbb"


def run(list_name: str, text: str) -> Change:
    """A run of a list whose one file has this text."""
    return files_alone(list_name, [{"path": f"{list_name}.conf", "content": f"# {text}\n"}], ["/k"], "keep")


def change(conf: Path, asked: Change, copy_of: str = "") -> str:
    """One change, without nginx."""
    ours = store(conf)
    confirmed = ours.state()["confirmed"]
    wanted = merge(ours.served(confirmed), asked)
    name = asked.run.list_name
    manifest = Manifest(
        wanted.digest({"/k": "1"}), wanted.default_site, "127.101.1.1:80", "/run/nginx.pid", {"/k": "1"},
        {name: copy_of} if copy_of else {}, {}, [part.as_dict() for part in wanted.parts], wanted.default_sites,
    )  # fmt: skip
    generation = ours.next_name(manifest.digest)
    ours.write_state()
    ours.write_generation(generation, wanted, manifest)
    ours.activate(generation)
    ours.record(generation, {**ours.state()["before"], **({name: confirmed} if confirmed else {})})
    return generation


def test_earlier_generations(conf: Path) -> None:
    ours = store(conf)
    with pytest.raises(EdgeError, match="none is kept"):
        ours.earlier("previous")
    runs = [run("default", str(number)) for number in range(3)]
    names = [change(conf, one) for one in runs]
    # one that was never confirmed is none that can be gone back to
    shutil.copytree(conf / "edgemesh/generations" / names[0], conf / "edgemesh/generations" / ("0004-" + "d" * 12))
    assert ours.kept() == names
    origin, back = ours.earlier("previous")
    assert (origin, back.parts) == (names[1], runs[1].parts)
    for which in (names[0], "1", "0001"):
        assert ours.earlier(which)[1].parts == runs[0].parts
    for which in ("4", "0004-" + "d" * 12, "../generations", "", "-1", "99"):
        with pytest.raises(EdgeError, match="no generation") as caught:
            ours.earlier(which)
        assert names[2] in caught.value.why
    copy = change(conf, back, origin)
    for which in ("previous", copy):
        origin, again = ours.earlier(which)
        assert (origin, again.parts) == (names[1], runs[1].parts), "who went back stays there"
    (conf / "edgemesh/generations" / names[0] / "default.conf").unlink()
    with pytest.raises(EdgeError, match="not those that were confirmed"):
        ours.earlier(names[0])


def test_each_list_has_its_own_way_back(conf: Path) -> None:
    """Whatever other lists did in between, and however often."""
    ours = store(conf)
    first = change(conf, run("a", "one"))
    change(conf, run("a", "two"))
    with pytest.raises(EdgeError, match="no earlier generation of list b"):
        ours.earlier("previous", "b")
    for number in range(5):
        change(conf, run("b", str(number)))
        ours.prune(2)
    assert len(ours.names()) == 3
    origin, back = ours.earlier("previous", "a")
    assert (origin, back.parts) == (first, run("a", "one").parts)
    assert ours.earlier("previous", "b")[1].parts == run("b", "3").parts
    with pytest.raises(EdgeError, match="list b had nothing yet"):
        ours.earlier("1", "b")
    (conf / "edgemesh/generations" / first / "b.conf").write_text("# mine\n")
    assert ours.earlier("previous", "a")[1].parts == run("a", "one").parts, "another list's files don't matter"
    ours.prune(1)
    assert len(ours.names()) == 1, "which leaves nothing to roll back to"


def test_an_unchanged_file_stays_the_same_file(conf: Path) -> None:
    old = change(conf, run("a", "one"))
    new = change(conf, run("b", "one"))
    inodes = [(conf / "edgemesh/generations" / name / "a.conf").stat().st_ino for name in (old, new)]
    assert inodes[0] == inodes[1]
    (conf / "edgemesh/current/a.conf").chmod(0o600)
    again = change(conf, run("b", "two"))
    assert (conf / "edgemesh/generations" / again / "a.conf").stat().st_mode & 0o777 == 0o644, "one that a hand changed is written anew"


def test_files_are_copied_where_they_cannot_be_linked(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(conf, run("a", "one"))

    def refused(*_paths: str) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    change(conf, run("b", "one"))
    assert (conf / "edgemesh/current/a.conf").read_text() == "# one\n"


def test_a_lost_manifest_is_no_reason_to_take_others_parts_away(conf: Path) -> None:
    generation = change(conf, run("a", "one"))
    (conf / "edgemesh/current/manifest.json").unlink()
    with pytest.raises(EdgeError) as caught:
        store(conf).served(generation)
    assert caught.value.code == "MANIFEST_LOST"


def test_modes_whatever_the_umask(conf: Path) -> None:
    old = os.umask(0o077)
    try:
        install(conf)
    finally:
        os.umask(old)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (conf / "edgemesh").rglob("*") if path.is_file()}
    assert modes == {
        "a.conf": 0o644,
        "b": 0o644,
        "generation.conf": 0o644,
        "manifest.json": 0o600,
        "parts.json": 0o644,
        "state.json": 0o600,
    }


@pytest.mark.parametrize("what", ["folder", "include", "link"])
def test_what_is_not_ours_is_refused(conf: Path, what: str) -> None:
    if what == "folder":
        (conf / "edgemesh").mkdir()
        (conf / "edgemesh" / "mine.conf").touch()
    else:
        (conf / "conf.d").mkdir()
        target = conf / "conf.d" / "edgemesh.conf"
        target.write_text("server { }\n") if what == "include" else target.symlink_to("nowhere")
    before = tree(conf)
    with pytest.raises(EdgeError) as caught:
        store(conf).refuse_foreign()
    assert "not ours" in caught.value.what
    assert not store(conf).exists()
    assert tree(conf) == before


def test_a_damaged_journal_means_what_nginx_reads(conf: Path) -> None:
    name = install(conf)
    (conf / "edgemesh/state.json").write_text("{")
    state = store(conf).state()
    assert state["confirmed"] == name
    assert "pending" in state


def test_a_full_disk_leaves_no_half_file(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(conf)
    before = tree(conf)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    ours = store(conf)
    with pytest.raises(OSError, match="No space"):
        ours.write_generation(ours.next_name("1" * 12), WANTED, MANIFEST)
    assert tree(conf) == before


def test_the_digest_covers_everything(tmp_path: Path) -> None:
    base = Desired({"a.conf": "x"}, ("/k",), "keep").digest({"/k": "1"})
    assert base == Desired({"a.conf": "x"}, ("/k",), "keep").digest({"/k": "1"})
    others = {
        Desired({"a.conf": "y"}, ("/k",), "keep").digest({"/k": "1"}),
        Desired({"b.conf": "x"}, ("/k",), "keep").digest({"/k": "1"}),
        Desired({"a.conf": "x"}, ("/k",), "disabled").digest({"/k": "1"}),
        Desired({"a.conf": "x"}, ("/k",), "keep").digest({"/k": "2"}),
        Desired({"a.conf": "x"}, ("/k",), "keep").digest({}),
    }
    assert len(others | {base}) == 6
    (tmp_path / "k").write_bytes(b"key")
    assert list(digests((str(tmp_path / "k"), str(tmp_path / "none")))) == [str(tmp_path / "k")]


@pytest.mark.parametrize(
    "path",
    [
        "../x.conf",
        "a/../../x",
        "/etc/x",
        "generation.conf",
        "manifest.json",
        "parts.json",
        ".",
        "a//b",
        "a b.conf",
        "a;.conf",
        "",
        "a/",
        "x\n",
    ],
)
def test_paths_stay_inside(path: str) -> None:
    with pytest.raises(EdgeError) as caught:
        files_alone("default", [{"path": path, "content": ""}], [], "keep")
    assert caught.value.where == "files[0].path"


def test_two_files_at_one_place_and_keys_in_the_text_are_refused() -> None:
    with pytest.raises(EdgeError, match="twice"):
        files_alone("default", [{"path": "a.conf", "content": ""}] * 2, [], "keep")
    both = files_alone("default", [{"path": "a", "content": ""}, {"path": "a/b", "content": ""}], [], "keep")
    with pytest.raises(EdgeError, match="a file and a folder"):
        merge(Desired({}), both)
    with pytest.raises(EdgeError) as caught:
        files_alone("default", [{"path": "a.conf", "content": "# -----BEGIN EC PRIVATE KEY-----\nMHcCAQ"}], [], "keep")
    assert "MHcCAQ" not in str(caught.value.as_result())
    with pytest.raises(EdgeError) as caught:
        files_alone("default", [], ["tls.crt"], "keep")
    assert caught.value.where == "depends_on[0]"
