# SPDX-License-Identifier: GPL-3.0-or-later
"""Typed values: what is right passes in canonical form, everything else is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils import _values as values
from plugins.module_utils._errors import EdgeError

ACCEPTED = [
    ("hostname", "Shop.Example.COM", "shop.example.com"),
    ("hostname", "localhost", "localhost"),
    ("hostname", "xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("port", "443", "443"),
    ("port", 65535, "65535"),
    ("port", "0080", "80"),
    ("integer", 0, "0"),
    ("address", "192.0.2.7", "192.0.2.7"),
    ("address", "2001:DB8::7", "[2001:db8::7]"),
    ("address", "[2001:db8::7]", "[2001:db8::7]"),
    ("endpoint", "192.0.2.7:30443", "192.0.2.7:30443"),
    ("endpoint", "[2001:db8::7]:443", "[2001:db8::7]:443"),
    ("endpoint", "gateway.example.com:443", "gateway.example.com:443"),
    ("cidr", "192.0.2.0/24", "192.0.2.0/24"),
    ("cidr", "192.0.2.7", "192.0.2.7/32"),
    ("cidr", "2001:db8::/32", "2001:db8::/32"),
    ("file_path", "/etc/ssl/web+1@x/tls.crt", "/etc/ssl/web+1@x/tls.crt"),
    ("url_path", "/a/~b/c.html", "/a/~b/c.html"),
    ("duration", "55", "55s"),
    ("duration", 0, "0s"),
    ("duration", "0500ms", "500ms"),
    ("duration", "366d", "366d"),
    ("size", "10M", "10m"),
    ("size", 0, "0"),
    ("rate", "010r/s", "10r/s"),
    ("rate", "600r/m", "600r/m"),
    ("header", "X-Request-Id", "X-Request-Id"),
    ("identifier", "edge_1", "edge_1"),
    ("map_name", "*.Shop.example.com", "*.shop.example.com"),
    ("name", "shop-public.v2", "shop-public.v2"),
    ("ciphers", "ECDHE+AESGCM:!aNULL:@SECLEVEL=2", "ECDHE+AESGCM:!aNULL:@SECLEVEL=2"),
]

REFUSED_BY_KIND: dict[str, list[Any]] = {
    "hostname": [
        "", ".", "a..b", "-a.example", "a-.example", "a.example.", "a b", "a;b", "a{b", "$host", "a_b.example", "192.0.2.1", "1",
        "*.example.com", "é.example", "a\n", "a\u0661", "x" * 64, ".".join(["x" * 63] * 4), "a.example\x00", "[::1]", 7, None, True, ["a"],
    ],
    "port": ["0", 0, 65536, "70000", "-1", "+1", "1e3", "0x50", " 80", "80 ", "\u0668\u0660", "", None, True, 80.0],
    "integer": ["", "-1", "1.0", "99999999999", None, True],
    "address": ["192.0.2", "192.0.2.256", "192.0.2.07", "fe80::1%eth0", "fe80::1%;}", "[192.0.2.1", "::1]", "", 1, True],
    "endpoint": [
        "192.0.2.7", "192.0.2.7:", ":443", "2001:db8::7:443", "a b:443", "h:70000", "192.0.2.300:1", "unix:/x:1", "[h]:1", 443,
    ],
    "cidr": ["192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/255.255.255.0", "all", "", "192.0.2.0/24;", 0],
    "file_path": [
        "etc/x", "/a/../b", "/..", "/a b", "/a;b", "/a\nb", "/a$b", "/a{", "/a#b", '/a"b', "/" + "x" * 1024, "",
    ],
    "url_path": ["a", "/a b", "/a%20b", "/../a", "/a?b", "/a#b", "/a*", "/a(b)", "/é", "/a'", ""],
    "duration": ["5 s", "5y", "5w", "1h30m", "-5s", "5S", "s", "367d", "1234567890s", "\u0665s", "", None, False],
    "size": ["10mb", "1.5m", "-1", "2000g", "k", "10 m", "", True],
    "rate": ["10", "0r/s", "10r/h", "10 r/s", "10r/s burst=5", "-1r/s", "1.5r/s", "1000000r/s", "\u0661r/s", "", 10, None, True],
    "header": ["X Y", "X:Y", "X\r\nY", "", "-X", "X$", "é"],
    "identifier": ["1a", "a-b", "a.b", "", "$a", "a" * 64],
    "map_name": ["default", "hostnames", "Include", "volatile", "a b", "*", ".a.example", "~a", "\\default", "", None, True],
    "name": ["-a", "a-", "a/b", "..", "a b", "", "a\n", "a" * 64],
    "ciphers": ["A B", "A;B", "", ":A", "A\nB", "$A"],
}  # fmt: skip
REFUSED = [(kind, value) for kind, some in REFUSED_BY_KIND.items() for value in some]


@pytest.mark.parametrize(("kind", "value", "canonical"), ACCEPTED)
def test_accepts(kind: str, value: Any, canonical: str) -> None:
    assert values.TYPES[kind](value, "here") == canonical
    assert values.TYPES[kind](canonical, "here") == canonical, "canonical form is not stable"


@pytest.mark.parametrize(("kind", "value"), REFUSED)
def test_refuses_and_names_the_place_and_the_remedy(kind: str, value: Any) -> None:
    with pytest.raises(EdgeError) as caught:
        values.TYPES[kind](value, "edge_routes[2] (shop).field")
    assert caught.value.where == "edge_routes[2] (shop).field"
    assert caught.value.fix
    assert caught.value.code == "BAD_VALUE"


def test_every_kind_has_both() -> None:
    assert {kind for kind, *_rest in ACCEPTED} == set(values.TYPES)
    assert set(REFUSED_BY_KIND) == set(values.TYPES)


def test_the_documentation_shows_a_refusal_for_every_kind() -> None:
    page = (Path(__file__).parents[3] / "docs" / "routes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| `([^`]+)` \| (.+) \|$", page, re.MULTILINE)
    assert [kind for kind, *_rest in rows] == sorted(values.TYPES)
    for kind, good, bad, sentence in rows:
        assert values.TYPES[kind](good, "")
        with pytest.raises(EdgeError) as caught:
            values.TYPES[kind](bad, "")
        assert caught.value.sentence == sentence


def test_a_wildcard_only_where_one_may_stand() -> None:
    assert values.hostname("*.Example.com", wildcard=True) == "*.example.com"
    for bad in ("*", "*.com", "a.*.example.com", "*a.example.com", "**.example.com"):
        with pytest.raises(EdgeError):
            values.hostname(bad, wildcard=True)


@pytest.mark.parametrize(
    ("value", "truth"), [(True, True), ("yes", True), ("False", False), ("off", False), (1, True), (0, False), ("0", False)]
)
def test_booleans_from_a_survey(value: Any, truth: bool) -> None:
    assert values.boolean(value) is truth


@pytest.mark.parametrize("value", ["", "maybe", 2, None, [], {}, 1.5])
def test_what_is_no_boolean(value: Any) -> None:
    with pytest.raises(EdgeError):
        values.boolean(value)


def test_errors_show_no_key_material_and_no_endless_text() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----"
    with pytest.raises(EdgeError) as caught:
        values.hostname(key, "x")
    assert "MIIEvQ" not in caught.value.sentence
    with pytest.raises(EdgeError) as caught:
        values.hostname("a" * 5000, "x")
    assert len(caught.value.sentence) < 300


# What nginx reads as one word, as itself: no quotes, separators, variables, comments or escapes.
ONE_WORD = re.compile(r"(?!#)[A-Za-z0-9!._~/@:%+,=*\[\]-]+")
MEANING_SOMETHING = list(" \t\r\n\x00\x0b\x85\u2028;{}\"'\\$#%()|&<>`*~^/.:-_@=,+![]0189azAZ\u0668\u00b2")
NASTY = st.text(st.one_of(st.sampled_from(MEANING_SOMETHING), st.characters()), max_size=40)


@given(st.sampled_from(sorted(values.TYPES)), NASTY)
def test_whatever_is_accepted_is_one_word_for_nginx(kind: str, text: str) -> None:
    try:
        made = values.TYPES[kind](text, "")
    except EdgeError:
        return
    assert ONE_WORD.fullmatch(made)
    assert values.TYPES[kind](made, "") == made


@given(st.sampled_from([kind for kind, *_rest in ACCEPTED]), st.data())
def test_one_stray_character_in_a_good_value_is_refused_or_harmless(kind: str, data: st.DataObject) -> None:
    good = data.draw(st.sampled_from([str(value) for other, value, _made in ACCEPTED if other == kind]))
    at = data.draw(st.integers(0, len(good)))
    try:
        made = values.TYPES[kind](good[:at] + data.draw(NASTY.filter(bool)) + good[at:], "")
    except EdgeError:
        return
    assert ONE_WORD.fullmatch(made)
