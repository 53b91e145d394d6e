# SPDX-License-Identifier: GPL-3.0-or-later
"""A default site is the distribution's only as long as nobody made anything of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from plugins.module_utils._nginx.change import default_site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "index.nginx-debian.html").touch()
    (tmp_path / "www" / ".well-known").mkdir()
    shipped = tmp_path / "default"
    shipped.write_text(f"server {{ listen 80 default_server; root {tmp_path}/www; }}\n")
    checksum = hashlib.md5(shipped.read_bytes()).hexdigest()
    answers = {"-S": f"nginx-common: {shipped}\n", "-W": f" /etc/other {'0' * 32}\n {shipped} {checksum}\n"}
    monkeypatch.setattr(default_site, "_output", lambda *command: answers[command[1]])
    monkeypatch.setattr(default_site.shutil, "which", lambda name: f"/usr/bin/{name}")
    (tmp_path / "enabled").symlink_to(shipped)
    return tmp_path / "enabled"


def test_as_shipped_it_may_go(site: Path) -> None:
    assert default_site.in_use(str(site)) == ""


def test_an_edited_one_stays(site: Path) -> None:
    site.write_text(site.read_text() + "# mine\n")
    assert default_site.in_use(str(site)) == "it was edited"


def test_one_whose_root_holds_a_site_stays(site: Path) -> None:
    (site.parent / "www" / "index.html").touch()
    assert default_site.in_use(str(site)) == f"{site.parent}/www holds index.html"


def test_one_that_no_package_brought_stays(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_site, "_output", lambda *_command: "")
    assert default_site.in_use(str(site)) == "no package brought it"


def test_a_dangling_link_serves_nobody(tmp_path: Path) -> None:
    (tmp_path / "enabled").symlink_to("nowhere")
    assert default_site.in_use(str(tmp_path / "enabled")) == ""


def test_red_hats_answer(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = site.parent / "default"
    monkeypatch.setattr(default_site.shutil, "which", lambda name: "/usr/bin/rpm" if name == "rpm" else None)
    for says, expected in (("", ""), (f"S.5....T.  c {shipped}\n", "it was edited"), (f".......T.  c {shipped}\n", "")):
        monkeypatch.setattr(default_site, "_output", lambda *command, says=says: says if command[1] == "-Vf" else "nginx-core-1.26\n")
        assert default_site.in_use(str(site)) == expected
