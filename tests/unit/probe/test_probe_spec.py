# SPDX-License-Identifier: GPL-3.0-or-later
"""What a path may say, and what it means when it says nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._probe import http1, spec
from plugins.module_utils._probe.expect import statuses


def path(**options: Any) -> spec.Path:
    return spec.path({"name": "x", "address": "192.0.2.1", "port": 443, **options})


@pytest.mark.parametrize(
    ("options", "sni", "name", "host"),
    [
        ({"tls": {"sni": "a.example"}, "http": {}}, "a.example", "a.example", "a.example"),
        ({"tls": {"sni": ""}, "http": {}}, "", "", "192.0.2.1"),
        ({"tls": {"sni": "", "verify_name": "b.example"}, "http": {}}, "", "b.example", "192.0.2.1"),
        ({"tls": {"verify_name": "b.example"}, "http": {}}, "b.example", "b.example", "b.example"),
        ({"tls": {}, "http": {"host": "c.example:8443"}}, "c.example", "c.example", "c.example:8443"),
        ({"tls": {}, "http": {"host": "192.0.2.9:8443"}}, "", "", "192.0.2.9:8443"),
        ({"tls": {}, "http": {"host": "[2001:db8::1]:8443"}}, "", "", "[2001:db8::1]:8443"),
        ({"tls": {}, "address": "d.example", "http": {}}, "d.example", "d.example", "d.example"),
        ({"tls": {}, "http": {}}, "", "", "192.0.2.1"),
        ({"tls": {"sni": "a.example"}, "http": {"host": ""}}, "a.example", "a.example", ""),
        ({"address": "d.example", "port": 8080, "http": {}}, None, None, "d.example:8080"),
        ({"address": "2001:db8::1", "port": 8080, "http": {}}, None, None, "[2001:db8::1]:8080"),
        ({"address": "[2001:db8::1]", "tls": {}, "http": {}}, "", "", "[2001:db8::1]"),
    ],
)
def test_names_that_are_not_given_follow_from_those_that_are(options: dict[str, Any], sni: str, name: str, host: str) -> None:
    made = path(**options)
    assert made.http
    assert made.http.host == host
    assert (made.tls.sni if made.tls else None, made.tls.verify_name if made.tls else None) == (sni, name)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"port": 0}, "port 0"),
        ({"port": 70000}, "port 70000"),
        ({"tls": {"sni": "a b"}}, "tls.sni"),
        ({"tls": {"sni": ".example.com"}}, "tls.sni"),
        ({"tls": {"sni": "a" * 254}}, "tls.sni"),
        ({"tls": {"client": {"cert_file": "/c"}}}, "both cert_file and key_file"),
        ({"tls": {"client": {"cert_file": "/c", "key_file": "/k", "foreign": True}}}, "either"),
        ({"tls": {"client": {}}}, "either"),
        ({"http": {"path": "/a b"}}, "http"),
        ({"http": {"path": "/a\r\nX: y"}}, "control character"),
        ({"http": {"host": "a\nb"}}, "control character"),
        ({"http": {"headers": {"X": "a\r\nY: b"}}}, "control character"),
        ({"http": {"headers": {"X: y": "z"}}}, "no header name"),
        ({"http": {"headers": {"": "z"}}}, "no header name"),
        ({"http": {"method": "GET /"}}, "http"),
    ],
)
def test_what_cannot_be_sent_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        path(**options)


def test_ipv6_in_brackets_or_not() -> None:
    assert path(address="[2001:db8::1]").target == path(address="2001:db8::1").target == "[2001:db8::1]:443"


@given(st.text(), st.text(), st.text(), st.dictionaries(st.text(), st.text()))
def test_no_text_smuggles_a_second_header_or_request(target: str, host: str, method: str, headers: dict[str, str]) -> None:
    try:
        made = path(http={"path": target or "/", "host": host, "method": method or "GET", "headers": headers})
    except ValueError:
        return
    assert made.http
    lines = http1.request(made.http).decode().split("\r\n")
    assert lines[-2:] == ["", ""]
    own = {"connection", "user-agent", "accept"} - {name.lower() for name in headers}
    sent_host = bool(host) and "host" not in {name.lower() for name in headers}
    assert len(lines) - 3 == len(own) + sent_host + sum(1 for value in headers.values() if value)
    assert lines[0].split(" ") == [method or "GET", target or "/", "HTTP/1.1"]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_request_is_what_is_asked_for_and_nothing_else(version: str) -> None:
    http = spec.Http(version=version, path="/a?b=c", host="h.example", headers={"Connection": "", "user-agent": "curl", "Accept": "x"})
    assert http1.request(http) == f"GET /a?b=c HTTP/{version}\r\nHost: h.example\r\nuser-agent: curl\r\nAccept: x\r\n\r\n".encode()


def test_request_without_host() -> None:
    assert b"host" not in http1.request(spec.Http(host="")).lower()


def test_right_statuses_are_said_as_people_do() -> None:
    assert [statuses(spec.Expect(status=tuple(each))) for each in ([], [200], [302, 301], range(200, 500), [200, 201, 204])] == [
        "200 to 399",
        "200",
        "301 or 302",
        "200 to 499",
        "200 or 201 or 204",
    ]


@pytest.mark.parametrize(
    ("listed", "meant"), [([418], [418]), (["301", "302"], [301, 302]), (["200-202", "404"], [200, 201, 202, 404]), (["200 - 200"], [200])]
)
def test_statuses_one_by_one_or_from_to(listed: list[Any], meant: list[int]) -> None:
    assert list(path(expect={"status": listed}).expect.status) == meant


@pytest.mark.parametrize("text", ["ok", "", "-", "200-", "-200", "2xx", "499-200", "99", "200-600", "\uff11\uff10\uff10", "200-300-400"])
def test_what_is_no_status_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expect\.status"):
        path(expect={"status": [text]})
