# SPDX-License-Identifier: GPL-3.0-or-later
"""Staging without a mount namespace: which includes of a copied main file lead elsewhere. The rest needs a real nginx."""

from __future__ import annotations

from pathlib import Path

from plugins.module_utils._nginx.change.staging import Link, _mirror, _redirect, _write_elsewhere


def test_includes_that_meet_the_change_are_redirected_and_no_others(tmp_path: Path) -> None:
    for name in ("conf.d/user.conf", "conf.d/edgemesh.conf", "sites-enabled/default", "sites-enabled/blog", "mime.types"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    main = f"""http {{
  include mime.types; # include conf.d/*.conf;
  include conf.d/*.conf;
  log_format x "include conf.d/*.conf;";
  include {tmp_path}/sites-enabled/*;
  include none/*.conf;
}}"""
    plan = {str(tmp_path / "conf.d/edgemesh.conf"): "x", str(tmp_path / "sites-enabled/default"): None}
    moved = {str(tmp_path / "conf.d/edgemesh.conf"): "/stage/conf.d/edgemesh.conf"}
    assert (
        _redirect(main, str(tmp_path), plan, moved)
        == f"""http {{
  include mime.types; # include conf.d/*.conf;
  include /stage/conf.d/edgemesh.conf;
include {tmp_path}/conf.d/user.conf;
  log_format x "include conf.d/*.conf;";
  include {tmp_path}/sites-enabled/blog;
  include none/*.conf;
}}"""
    )


def test_files_moved_aside_refer_to_one_another_there(tmp_path: Path) -> None:
    plan = {
        "/c/edgemesh/current": Link("generations/1"),
        "/c/edgemesh/generations/1/a.conf": "include /c/edgemesh/current/b; include /c/edgemesh.d/x;",
        "/c/edgemesh/generations/1/relative.conf": "include edgemesh/current/listen/*.inc; include edgemesh.d/x;",
        "/c/conf.d/edgemesh.conf": "include /c/edgemesh/current/*.conf;",
        "/c/sites-enabled/default": None,
    }
    moved = _write_elsewhere("/c", plan, str(tmp_path))
    assert set(moved) == set(plan) - {"/c/sites-enabled/default"}
    assert (tmp_path / "edgemesh/current/a.conf").read_text() == f"include {tmp_path}/edgemesh/current/b; include /c/edgemesh.d/x;"
    relative = (tmp_path / "edgemesh/current/relative.conf").read_text()
    assert relative == f"include {tmp_path}/edgemesh/current/listen/*.inc; include edgemesh.d/x;"
    assert (tmp_path / "conf.d/edgemesh.conf").read_text() == f"include {tmp_path}/edgemesh/current/*.conf;"


def test_the_mirror_shows_the_future(tmp_path: Path) -> None:
    conf, shadow = tmp_path / "conf", tmp_path / "shadow"
    for name in ("conf.d/user.conf", "sites/default", "sites/blog", "ours/generations/1/a.conf", "nginx.conf", "other/deep/file"):
        (conf / name).parent.mkdir(parents=True, exist_ok=True)
        (conf / name).write_text(name)
    (conf / "sites/link").symlink_to("../sites/blog")
    shadow.mkdir()
    bound: dict[str, str] = {}
    plan = {
        str(conf / "conf.d/ours.conf"): "new",
        str(conf / "sites/default"): None,
        str(conf / "ours/current"): Link("generations/2"),
        str(conf / "ours/generations/2/b.conf"): "b",
    }
    _mirror(str(conf), str(shadow), plan, lambda source, target: bound.update({target: source}))
    assert (shadow / "conf.d/ours.conf").read_text() == "new"
    assert (shadow / "ours/current/b.conf").read_text() == "b"
    assert (shadow / "sites/link").readlink() == Path("../sites/blog")
    assert not (shadow / "sites/default").exists()
    # everything else is the live thing itself, bound as high up as the change allows
    assert bound == {
        str(shadow / name): str(conf / name) for name in ("conf.d/user.conf", "sites/blog", "ours/generations/1", "nginx.conf", "other")
    }
