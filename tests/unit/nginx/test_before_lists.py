# SPDX-License-Identifier: GPL-3.0-or-later
"""Generations of the time before there were lists, as that version's templates wrote them, taken apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._lists import Owner, Run
from plugins.module_utils._nginx.change.before_lists import settled, taken_apart
from plugins.module_utils._nginx.change.desired import Desired
from plugins.module_utils._nginx.change.merge import merge
from plugins.module_utils._nginx.change.parts import Change, Part, read

FOLDER = Path(__file__).with_name("before_lists")
ENDED = {"plain", "mutual", "wildcard", "uploads", "events", "grpc", "mixed", "limited", "logged", "unlogged", "acme"}
WHOLE = "stream/before-lists.conf"


def rendering() -> Any:
    """What reads a configuration independently of us; only the controller has it."""
    return pytest.importorskip("nginx_rendering", reason="nginx-crossplane is installed on the controller only")


def generation(name: str, **more: str) -> Desired:
    """What the version before wrote of some routes."""
    files = {"routes.conf": (FOLDER / f"{name}.conf").read_text(), **more}
    stream = FOLDER / f"{name}_stream.conf"
    if stream.exists():
        files["stream/routes.conf"] = stream.read_text()
    depends_on = {path for text in files.values() for path in re.findall(r"/etc/edgemesh/tls/[^; ]+\.(?:crt|key)", text)}
    return Desired(files, tuple(sorted(depends_on)), "disabled")


def parts(held: Desired) -> dict[str, Part]:
    found = taken_apart(held)
    assert {part.owner.list_name for part in found.parts} == {"default"}
    assert (found.default_site, found.default_sites) == ("disabled", {"default": "disabled"})
    return {part.owner.route: part for part in found.parts}


def nothing(list_name: str = "other") -> Change:
    """A run that says nothing."""
    return Change(Run(list_name))


def made(*parts: Part) -> Change:
    """A run of list default."""
    return Change(Run(present=frozenset(part.owner.route for part in parts)), parts)


@pytest.mark.parametrize("name", ["ended", "passed"])
def test_the_files_together_say_what_the_one_file_said(name: str) -> None:
    held = generation(name)
    files = merge(taken_apart(held), nothing()).files
    assert files.pop(WHOLE, None) == held.files.get("stream/routes.conf")
    together = "".join(files.values())
    reader = rendering()
    assert sorted(reader.flat(reader.read_back(together))) == sorted(reader.flat(reader.read_back(held.files["routes.conf"])))
    comments = re.compile(r"^ *#.*", re.MULTILINE)
    assert sorted(comments.findall(together)) == sorted(comments.findall(held.files["routes.conf"]))


def test_each_route_has_what_it_needs_and_no_more() -> None:
    found = parts(generation("ended"))
    assert found.keys() == ENDED
    limited = found["limited"]
    assert list(limited.files) == ["route-limited.conf"]
    assert re.findall(r"^(?:limit\w+|server)\b", limited.files["route-limited.conf"], re.MULTILINE) == [
        "limit_req_zone", "limit_conn_zone", "server", "server",
    ]  # fmt: skip
    assert "log_format edge_logged" in found["logged"].files["route-logged.conf"]
    assert {path for path in limited.shared if path.startswith("upstream-")} <= {
        f"upstream-{name}.conf" for name in re.findall(r"https://(edge_\w+);", limited.files["route-limited.conf"])
    }
    assert len([path for path in found["mixed"].shared if path.startswith("upstream-")]) == 2
    assert "websocket.conf" not in found["grpc"].shared
    assert {"refuse-80.conf", "refuse-443.conf", "websocket.conf"} <= limited.shared.keys()
    assert "refuse-443.conf" not in found["plain"].shared
    assert {name for name, part in found.items() if "names-bucket.conf" in part.shared} == {"wildcard"}
    assert found["mutual"].claims == {
        "route mutual": "route mutual",
        "80/mutual.example.com": "host mutual.example.com on port 80",
        "443/mutual.example.com": "host mutual.example.com on port 443",
    }
    assert (found["mutual"].agrees, found["plain"].agrees) == ({"port 80": "plain HTTP", "port 443": "TLS"}, {"port 80": "plain HTTP"})


def test_material_is_what_was_exported_for_a_route() -> None:
    found = parts(generation("ended"))
    exported = ("shop-public/tls.crt", "shop-public/tls.key", "edge-client/tls.crt", "edge-client/tls.key", "edge-ca/ca.crt")
    assert set(found["mutual"].material) == {f"/etc/edgemesh/tls/edgemesh/{name}" for name in exported}
    assert found["mutual"].material == found["mutual"].depends_on
    own = {"/etc/edgemesh/tls/a.crt", "/etc/edgemesh/tls/a.key"}
    assert own <= {*found["acme"].depends_on}
    assert not own & {*found["acme"].material}, "a file of the user's is nobody's to remove"


def test_one_route_goes_and_the_others_stay_to_the_letter() -> None:
    before = taken_apart(generation("ended"))
    after = merge(before, Change(Run(absent=frozenset({"limited"}))))
    assert {path for path in after.files if path.startswith("route-")} == {f"route-{name}.conf" for name in ENDED - {"limited"}}
    whole = merge(before, nothing())
    assert all(after.files[path] == text for path, text in whole.files.items() if path in after.files)


def test_todays_files_take_the_place_of_those_with_the_same_path() -> None:
    held = taken_apart(generation("ended"))
    shared = [{"path": path, "content": f"# {path}\n", "rank": rank} for path, rank in (("refuse-443.conf", 0), ("names-bucket.conf", 128))]
    after = merge(held, read("b", [{"name": "x", "shared": shared}]))
    assert (after.files["refuse-443.conf"], after.files["names-bucket.conf"]) == ("# refuse-443.conf\n", "# names-bucket.conf\n")


def test_http3s_sockets_are_made_once() -> None:
    found = parts(generation("http3"))
    files = merge(taken_apart(generation("http3")), nothing()).files
    assert "quic" not in files["refuse-443.conf"]
    assert files["quic-443.conf"].count("reuseport") == 2
    assert "443 ssl" not in files["quic-443.conf"]
    assert {name for name, part in found.items() if "quic-443.conf" in part.shared} == {"http3"}
    assert "listen [::]:443 ssl;" in files["refuse-443.conf"]
    rendering().read_back(files["refuse-443.conf"] + files["quic-443.conf"].replace("quic reuseport", "ssl"))


def test_other_files_are_a_part_of_their_own() -> None:
    found = parts(generation("ended", **{"own.conf": "# own\n", "snippets/x": "# x\n"}))
    assert found["extra_files"].files == {"own.conf": "# own\n", "snippets/x": "# x\n"}


def test_without_routes_all_files_are_one_part() -> None:
    held = Desired({"site.conf": "server { }\n", "more.conf": "# more\n"}, ("/k",))
    (part,) = taken_apart(held).parts
    assert (part.owner, part.files, part.depends_on) == (Owner(route="files"), held.files, ("/k",))
    broken = Desired({"routes.conf": "# a\nserver {\n"})
    assert [part.owner.route for part in taken_apart(broken).parts] == ["files"]


def test_what_a_template_of_the_users_adds_stays_with_the_routes() -> None:
    held = generation("ended")
    more = Desired({"routes.conf": "proxy_cache_path /srv/c keys_zone=c:1m;\n" + held.files["routes.conf"]})
    found = taken_apart(more)
    assert "proxy_cache_path" in merge(found, nothing()).files["before-lists.conf"]
    left = merge(found, Change(Run(absent=frozenset(ENDED - {"acme"}))))
    assert "before-lists.conf" in left.files


# --- passed on ---


def test_the_file_of_the_stream_context_stays_whole() -> None:
    found = parts(generation("passed"))
    assert found.keys() == ENDED | {"before-lists"}
    assert {name for name, part in found.items() if WHOLE in part.shared} == {*ENDED - {"plain"}, "before-lists"}
    unnamed = found["before-lists"]
    assert {key for key in unnamed.claims if key.startswith("8443")} == {
        "8443/passed.example.com", "8443/passed-on.example.com", "8443/*.passed-on.example.com",
    }  # fmt: skip
    assert "443/passed-beside.example.com" in unnamed.claims
    assert (unnamed.agrees["port 8443"], found["mutual"].agrees["port 443"]) == ("TLS", "TLS")
    assert "443/mutual.example.com" in found["mutual"].claims, "behind the listener, at an address that tells the port"
    assert "refuse-8443.conf" in unnamed.shared


def test_some_of_its_routes_alone_can_not_be_changed() -> None:
    before = taken_apart(generation("passed"))
    mutual = next(part for part in before.parts if part.owner.route == "mutual")
    other = Part(Owner("b", "x"), claims={"443/x.example.com": "host"}, agrees={"port 443": "TLS"})
    passing = Part(Owner("b", "x"), shared={"stream/port-444.conf": mutual.shared[WHOLE]})
    for refused in (
        made(mutual),
        Change(Run(absent=frozenset({"mutual"}))),
        Change(Run("b", frozenset({"x"})), (other,)),
        Change(Run("b", frozenset({"x"})), (passing,)),
    ):
        with pytest.raises(EdgeError) as caught:
            settled(before, refused)
        assert caught.value.code == "BEFORE_LISTS"
        assert "Run list default once with all its routes" in caught.value.fix
        assert caught.value.what == "the routes at port 443, 8443 can only be changed together"


def test_what_does_not_touch_them_can_be_changed() -> None:
    before = taken_apart(generation("passed"))
    plain = next(part for part in before.parts if part.owner.route == "plain")
    web = Part(Owner("b", "x"), claims={"80/x.example.com": "host"}, agrees={"port 80": "plain HTTP"})
    for fine in (made(plain), Change(Run("b", frozenset({"x"})), (web,)), Change(Run.teardown("b")), nothing("default")):
        assert settled(before, fine) == before


def test_a_run_of_all_its_routes_takes_it_over() -> None:
    before = taken_apart(generation("passed"))
    named = [part for part in before.parts if part.owner.route in ENDED]
    claims = next(part.claims for part in before.parts if part.owner.route == "before-lists")
    passed = Part(Owner(route="passed"), {"stream/new.conf": ""}, claims=claims)
    new = [Part(part.owner, {f"route-{part.owner.route}.conf": ""}, claims=part.claims) for part in named]
    after = merge(settled(before, made(*new, passed)), made(*new, passed))
    assert {part.owner.route for part in after.parts} == {*ENDED, "passed"}
    assert WHOLE not in after.files
    for whole in (Change(Run.teardown("default")), Change(Run(exclusive=True))):
        assert merge(settled(before, whole), whole).parts == ()
