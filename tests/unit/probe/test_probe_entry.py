# SPDX-License-Identifier: GPL-3.0-or-later
"""What is built as an entry of edge_probe is read back as that very path, by Ansible's checks and ours."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._probe.entry import entry
from plugins.module_utils._probe.spec import OPTIONS, PHASES, Client, Expect, Http, Path, Tls, path

NAMES = st.sampled_from(["", "shop.example.com", "b.example"])
WORDS = st.text(st.characters(categories=["L", "N"]), max_size=5)
HEADERS = st.dictionaries(st.sampled_from(["User-Agent", "X-Forwarded-For"]), WORDS)
CLIENTS = st.one_of(st.just(Client(foreign=True)), st.just(Client("/etc/a.crt", "/etc/a.key")))
VERSIONS = st.sampled_from(["", "1.2", "1.3"])
TLS = st.builds(
    Tls, sni=NAMES, verify_name=NAMES, ca_file=st.sampled_from(["", "/etc/ca.pem"]), ca_pem=WORDS, rules=st.sampled_from(["nginx", "none"]),
    verify_depth=st.sampled_from([None, 1]), client=st.none() | CLIENTS, alpn=st.sampled_from([(), ("h2", "http/1.1")]),
    min_version=VERSIONS, max_version=VERSIONS,
)  # fmt: skip
BEFORE = st.builds(Http, method=st.sampled_from(["GET", "HEAD"]), path=st.just("/before"), host=NAMES)
HTTP = st.builds(
    Http, version=st.just("1.1"), method=st.sampled_from(["GET", "POST"]), path=st.sampled_from(["/", "/a?b"]), host=NAMES, headers=HEADERS,
    after=st.lists(BEFORE, max_size=2).map(tuple),
) | st.builds(Http, version=st.sampled_from(["1.0", "2"]), host=NAMES)  # fmt: skip
EXPECT = st.builds(
    Expect, status=st.sets(st.integers(100, 599)).map(sorted).map(tuple), http_version=st.sampled_from(["", "2"]), body_contains=WORDS,
    body_json=st.dictionaries(WORDS, WORDS), headers=st.dictionaries(WORDS, st.none() | WORDS), tls_version=VERSIONS,
    certificate_requested=st.sampled_from([None, True, False]), leaf_sha256=st.sampled_from(["", "ab" * 32]), refused=st.booleans(),
    phase=st.lists(st.sampled_from(PHASES), unique=True).map(tuple), codes=st.sampled_from([(), ("NO_SNI",)]),
)  # fmt: skip
PATHS = st.builds(
    Path, name=st.just("shop"), address=st.sampled_from(["192.0.2.1", "2001:db8::1", "gw.example"]), port=st.integers(1, 65535),
    proxy_protocol=st.sampled_from(["", "v1", "v2"]), tls=st.none() | TLS, http=st.none() | HTTP, consecutive=st.integers(1, 9),
    in_turn=st.booleans(), expect=EXPECT,
)  # fmt: skip


def as_asked(built: Path) -> Path:
    """``built`` with what its reader adds: the name to verify is the one that is sent, and a request before others keeps the connection."""
    tls, http = built.tls, built.http
    if tls:
        tls = replace(tls, verify_name=tls.verify_name or tls.sni)
    if http:
        after = [replace(each, headers={"Connection": ""}, host=each.host or http.host) for each in http.after]
        http = replace(http, after=tuple(after))
    return replace(built, tls=tls, http=http)


@given(PATHS)
def test_what_is_built_is_read_back(built: Path) -> None:
    assert path(entry(built)) == as_asked(built)


@given(PATHS)
def test_what_is_built_passes_the_modules_own_checks(built: Path) -> None:
    ansible = pytest.importorskip("ansible.module_utils.common.arg_spec", reason="targets need no Ansible")
    validated = ansible.ArgumentSpecValidator(OPTIONS).validate({"paths": [json.loads(json.dumps(entry(built)))]})
    assert not validated.error_messages
    assert path(validated.validated_parameters["paths"][0]) == as_asked(built)


def test_what_is_the_default_is_left_out() -> None:
    asked = Path("shop", "192.0.2.1", 443, tls=Tls(sni="a.example", rules="none"), http=Http(host="a.example"))
    assert entry(asked) == {
        "name": "shop", "address": "192.0.2.1", "port": 443, "tls": {"sni": "a.example", "rules": "none"}, "http": {"host": "a.example"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("statuses", "written"),
    [((200,), ["200"]), (range(200, 500), ["200-499"]), ((404, 301, 302), ["301-302", "404"]), ((), [])],
)
def test_statuses_are_written_as_ranges(statuses: Any, written: list[str]) -> None:
    assert entry(Path("x", "a", 1, expect=Expect(status=tuple(statuses)))).get("expect", {}).get("status", []) == written
