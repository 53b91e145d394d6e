# SPDX-License-Identifier: GPL-3.0-or-later
"""Our folder on the disk: generations, the link to the current one, the journal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._nginx.change.desired import Desired, Manifest, desired, digests
from plugins.module_utils._nginx.change.generations import Store
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


def test_earlier_generations(conf: Path) -> None:
    ours = store(conf)
    with pytest.raises(EdgeError, match="none is kept"):
        ours.earlier("previous")
    wanted = [Desired({"a.conf": f"# {number}\n"}, ("/k",), "keep") for number in range(3)]
    manifests = [Manifest(one.digest({"/k": "1"}), "keep", "127.101.1.1:80", "/run/nginx.pid", {"/k": "1"}) for one in wanted]
    names = [install(conf, *pair) for pair in zip(wanted, manifests)]
    # one that was never confirmed is none that can be gone back to
    ours.write_generation("0004-" + "d" * 12, wanted[0], manifests[0])
    assert ours.kept() == names
    assert ours.earlier("previous") == (names[1], wanted[1])
    assert ours.earlier(names[0]) == ours.earlier("1") == ours.earlier("0001") == (names[0], wanted[0])
    for which in ("4", "0004-" + "d" * 12, "../generations", "", "-1", "99"):
        with pytest.raises(EdgeError, match="no generation") as caught:
            ours.earlier(which)
        assert names[2] in caught.value.why
    back = Manifest(manifests[1].digest, "keep", "127.101.1.1:80", "/run/nginx.pid", {"/k": "1"}, names[1])
    copy = install(conf, wanted[1], back)
    assert ours.earlier("previous") == (names[1], wanted[1]), "who went back stays there"
    assert ours.earlier(copy) == (names[1], wanted[1])
    (conf / "edgemesh/generations" / names[0] / "a.conf").write_text("# mine\n")
    with pytest.raises(EdgeError, match="not those that were confirmed"):
        ours.earlier(names[0])


def test_modes_whatever_the_umask(conf: Path) -> None:
    old = os.umask(0o077)
    try:
        install(conf)
    finally:
        os.umask(old)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (conf / "edgemesh").rglob("*") if path.is_file()}
    assert modes == {"a.conf": 0o644, "b": 0o644, "generation.conf": 0o644, "manifest.json": 0o600, "state.json": 0o600}


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
    "path", ["../x.conf", "a/../../x", "/etc/x", "generation.conf", "manifest.json", ".", "a//b", "a b.conf", "a;.conf", "", "a/", "x\n"]
)
def test_paths_stay_inside(path: str) -> None:
    with pytest.raises(EdgeError) as caught:
        desired([{"path": path, "content": ""}], [], "keep")
    assert caught.value.where == "files[0].path"


def test_two_files_at_one_place_and_keys_in_the_text_are_refused() -> None:
    with pytest.raises(EdgeError, match="twice"):
        desired([{"path": "a.conf", "content": ""}] * 2, [], "keep")
    with pytest.raises(EdgeError, match="a file and a folder"):
        desired([{"path": "a", "content": ""}, {"path": "a/b", "content": ""}], [], "keep")
    with pytest.raises(EdgeError) as caught:
        desired([{"path": "a.conf", "content": "# -----BEGIN EC PRIVATE KEY-----\nMHcCAQ"}], [], "keep")
    assert "MHcCAQ" not in str(caught.value.as_result())
    with pytest.raises(EdgeError) as caught:
        desired([], ["tls.crt"], "keep")
    assert caught.value.where == "depends_on[0]"
