# SPDX-License-Identifier: GPL-3.0-or-later
"""How nginx comes to read files of ours in the stream context: where the include stands, and that it comes and goes with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._nginx.change import stream
from plugins.module_utils._nginx.change.desired import Desired, Manifest
from plugins.module_utils._nginx.change.generations import Store
from plugins.module_utils._nginx.read.listeners import confirm_at, in_both
from plugins.module_utils._nginx.read.syntax import parse

CURRENT = "/c/edgemesh/current"
DEBIAN = "include /c/modules-enabled/*.conf;\nevents { }\nhttp { include conf.d/*.conf; }\n"
BARE = "events { }\nhttp { include /c/conf.d/*.conf; }\n"


def dump(**files: str) -> str:
    """What nginx -T prints; ``main`` first, then files by their path under /c."""
    main = files.pop("main")
    return "".join(f"# configuration file /c/{path}:\n{text}\n" for path, text in {"nginx.conf": main, **files}.items())


def entry(text: str) -> tuple[str, str]:
    return stream.entry(text, "/c", "edgemesh", CURRENT, ["/c/edgemesh", "/c/conf.d/edgemesh.conf", "/c/modules-enabled/edgemesh.conf"])


def test_a_block_of_our_own_where_the_main_file_includes_a_folder_outside_its_blocks() -> None:
    ours = ("/c/modules-enabled/edgemesh.conf", f"stream {{\n    include {CURRENT}/stream/*.conf;\n}}\n")
    assert entry(dump(main=DEBIAN)) == ours
    assert entry(dump(main=DEBIAN, **{"modules-enabled/edgemesh.conf": ours[1]})) == ours, "our own block is none of the user's"


@pytest.mark.parametrize("include", ["stream.d/*.conf", "/c/stream.d/*.conf", "./stream.d/*", "stream.d/*.conf; include other/*.conf"])
def test_into_a_block_of_the_users(include: str) -> None:
    inside = ("/c/stream.d/edgemesh.conf", f"include {CURRENT}/stream/*.conf;\n")
    assert entry(dump(main=BARE + f"stream {{ include {include}; }}")) == inside
    assert entry(dump(main=DEBIAN, **{"modules-enabled/9.conf": f"stream {{ server {{ listen 1; }} include {include}; }}"})) == inside


@pytest.mark.parametrize(
    ("main", "where"),
    [
        (BARE, "/c/nginx.conf"),
        (BARE + "stream { server { listen 1; return x; } }", "/c/nginx.conf:3"),
        (BARE + "stream { include one.conf; include /elsewhere/*.conf; include stream.d/*.inc; }", "/c/nginx.conf:3"),
        ("include /usr/share/nginx/modules/*.conf;\n" + BARE, "/c/nginx.conf"),
    ],
)
def test_no_place_is_said_with_the_line_to_add(main: str, where: str) -> None:
    with pytest.raises(EdgeError) as caught:
        entry(dump(main=main))
    assert caught.value.where == where
    assert "include stream.d/*.conf;" in caught.value.fix


def test_which_files_are_for_the_stream_context() -> None:
    assert stream.used(["a.conf", "stream/a.conf", "stream/b.inc", "stream/more/c.conf", "upstream/d.conf"]) == ["stream/a.conf"]


# --- on the disk ---

WITH, WITHOUT = Desired({"a.conf": "", "stream/a.conf": "# s\n"}), Desired({"a.conf": ""})


def install(conf: Path, wanted: Desired, entry: dict[str, str]) -> tuple[Store, str]:
    ours = Store(str(conf), "edgemesh")
    name = ours.next_name("0" * 12)
    ours.write_state()
    ours.write_generation(name, wanted, Manifest("0" * 12, "keep", "127.101.1.1:80", "/run/nginx.pid", entry=entry))
    ours.activate(name)
    ours.record(name)
    return ours, name


def test_the_include_comes_and_goes_with_the_files(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    place = tmp_path / "stream.d" / "edgemesh.conf"
    ours, name = install(tmp_path, WITH, {str(place): "include x;\n"})
    assert place.read_text() == "include x;\n"
    assert ours.is_active(name, WITH)
    place.write_text("by hand\n")
    assert not ours.is_active(name, WITH)
    ours, name = install(tmp_path, WITHOUT, {})
    assert not place.exists()
    assert ours.is_active(name, WITHOUT)
    place.write_text("somebody else's now\n")
    assert ours.is_active(name, WITHOUT)
    place.unlink()
    ours, name = install(tmp_path, WITH, {str(place): "include x;\n"})
    assert ours.plan(None)[str(place)] is None
    ours.activate(None)
    ours.remove()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conf.d"], "the folder that it was in was ours"


def test_a_killed_change_is_undone_with_its_include(tmp_path: Path) -> None:
    """The journal names the file before it is there, so that going back finds it."""
    (tmp_path / "conf.d").mkdir()
    place = tmp_path / "modules" / "edgemesh.conf"
    _store, good = install(tmp_path, WITHOUT, {})

    def kill(step: str) -> None:
        if step == "included":
            raise KeyboardInterrupt

    killed = Store(str(tmp_path), "edgemesh", step=kill)
    name = killed.next_name("1" * 12)
    killed.write_generation(name, WITH, Manifest("1" * 12, "keep", "127.101.1.1:80", "/run/nginx.pid", entry={str(place): "x\n"}))
    killed.write_state(pending=name)
    with pytest.raises(KeyboardInterrupt):
        killed.activate(name)
    assert place.exists()
    Store(str(tmp_path), "edgemesh").activate(good)
    assert not place.exists()
    assert Store(str(tmp_path), "edgemesh").is_active(good, WITHOUT)


def test_a_file_of_somebody_elses_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "modules-enabled").mkdir()
    (tmp_path / "modules-enabled" / "edgemesh.conf").write_text("# mine\n")
    text = dump(main=DEBIAN).replace("/c/", f"{tmp_path}/")
    with pytest.raises(EdgeError, match="not ours"):
        Store(str(tmp_path), "edgemesh").stream_entry(text, WITH)
    assert Store(str(tmp_path), "edgemesh").stream_entry(text, WITHOUT) == {}


# --- its sockets ---


@pytest.mark.parametrize(
    ("http", "streams", "both"),
    [
        ("listen 443;", "listen 443;", "*:443"),
        ("listen 127.0.0.1:443;", "listen 443;", "*:443"),
        ("listen 443 ssl;", "listen 127.0.0.1:443;", "127.0.0.1:443"),
        ("listen [::]:443;", "listen [2001:db8::1]:443;", "[2001:db8::1]:443"),
        ("", "listen 80;", "*:80"),
        ("listen 443;", "listen [::]:443;", None),
        ("listen 443 quic; listen 80;", "listen 443;", None),
        ("listen 443;", "listen 443 udp;", None),
        ("listen 127.0.0.1:443;", "listen 127.0.0.2:443;", None),
    ],
)
def test_one_socket_belongs_to_one_context(http: str, streams: str, both: str | None) -> None:
    found = in_both(parse(f"http {{ server {{ {http} }} }} stream {{ server {{ {streams} }} }}"))
    assert (found[0] if found else None) == both


def test_the_confirmation_server_keeps_off_the_streams_ports() -> None:
    def at(http: str, streams: str) -> str:
        return confirm_at(parse(f"http {{ {http} }} stream {{ server {{ {streams} }} }}"), "127.101.1.1", "127.101.1.1:80")

    assert at("", "listen 443;") == "127.101.1.1:80"
    assert at("", "listen 80;") == "127.101.1.1:8009"
    assert at("", "listen 80; listen 8009;") == "127.101.1.1:488"
    assert at("server { listen 127.0.0.1:443; }", "listen 443;") == "127.101.1.1:80"
    assert at("server { listen 81; }", "listen 80;") == "127.101.1.1:81"
