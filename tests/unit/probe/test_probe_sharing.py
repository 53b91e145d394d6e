# SPDX-License-Identifier: GPL-3.0-or-later
"""Which locations share what nginx keeps, and which requests would show it."""

from __future__ import annotations

import pytest

from plugins.module_utils._nginx.read.effective import Effective, read
from plugins.module_utils._nginx.read.sharing import POOL, SESSION, look

CERT = "proxy_ssl_certificate c.crt;"
OFF = "proxy_ssl_session_reuse off;"
SPEAKS = 'proxy_http_version 1.1; proxy_set_header Connection "";'
POOLED = "keepalive 4;"


def way(http: str, host: str = "a.example", path: str = "/a", version: str = "1.22.1") -> Effective:
    dump = f"nginx version: nginx/{version}\n# configuration file /etc/nginx/nginx.conf:\nhttp {{\n{http}\n}}\n"
    return look(read(dump), host, path)


def two(one: str, other: str, both: str = "", kept: str = "") -> str:
    """Two locations of one server that go to one upstream."""
    blocks = "\n".join(f"location {path} {{ proxy_pass https://mesh; {more} }}" for path, more in (("/a", one), ("/b", other)))
    return f"upstream mesh {{ server 192.0.2.1:443; {kept} }} server {{ listen 80; server_name a.example; {both}\n{blocks}\n}}"


@pytest.mark.parametrize(
    ("one", "other", "both", "differ"),
    [
        ("", "", "", None),
        (CERT, "", "", ("client certificate",)),
        (CERT, "proxy_ssl_certificate d.crt;", "", ("client certificate",)),
        ("proxy_ssl_name a.example;", "proxy_ssl_name b.example;", "proxy_ssl_server_name on;", ("server name",)),
        ("proxy_ssl_verify on; proxy_ssl_trusted_certificate a.crt;", "", "", ("CA", "verification", "verified name")),
        ("proxy_ssl_verify on;", "proxy_ssl_verify on; proxy_ssl_verify_depth 2;", "", ("verification",)),
        ("proxy_ssl_trusted_certificate a.crt;", "proxy_ssl_trusted_certificate b.crt;", "", None),
    ],
)
def test_what_makes_identities_differ(one: str, other: str, both: str, differ: tuple[str, ...] | None) -> None:
    found = way(two(one, other, both)).shared
    assert [each.differ for each in found] == ([] if differ is None else [differ])


@pytest.mark.parametrize(
    ("one", "other", "both", "kept", "by"),
    [
        (CERT, "", "", "", (SESSION,)),
        (CERT, "", OFF, "", None),
        # who doesn't reuse leaves nothing and takes nothing
        (CERT + OFF, "", "", "", None),
        (CERT, OFF, "", "", None),
        (CERT, "", SPEAKS, POOLED, (SESSION, POOL)),
        (CERT, "", SPEAKS + OFF, POOLED, (POOL,)),
        # one leaves connections, the other finds them, however it speaks itself
        (CERT + SPEAKS, "", OFF, POOLED, (POOL,)),
        (CERT, SPEAKS, OFF, POOLED, (POOL,)),
        # a pool that nobody fills
        (CERT, "", OFF, POOLED, None),
        (CERT, "", OFF + "proxy_http_version 1.1;", POOLED, None),
    ],
)
def test_by_what_they_meet(one: str, other: str, both: str, kept: str, by: tuple[str, ...] | None) -> None:
    assert [each.by for each in way(two(one, other, both, kept)).shared] == ([] if by is None else [by])


def test_pools_are_the_default_of_new_versions() -> None:
    assert [each.by for each in way(two(CERT, "", OFF), version="1.29.7").shared] == [(POOL,)]


def test_same_address_written_twice_is_one_upstream_and_other_upstreams_are_not() -> None:
    location = "location /{0} {{{{ proxy_pass https://{{{1}}}; {2} }}}}"
    both = f"server {{{{ listen 80; {location.format('a', 0, CERT)} {location.format('b', 1, '')} }}}}"
    assert way(both.format("192.0.2.1", "192.0.2.1:443")).shared
    assert not way(both.format("192.0.2.1:443", "192.0.2.2:443")).shared
    blocks = "upstream a { server 192.0.2.1:443; } upstream b { server 192.0.2.1:443; }"
    assert not way(blocks + both.format("a", "b")).shared


def neighbours(http: str, host: str = "a.example", path: str = "/a") -> list[tuple[str, str]]:
    return [(each.host, each.path) for each in way(http, host, path).neighbours]


def test_neighbours_are_requests_that_end_in_the_other_location() -> None:
    assert neighbours(two(CERT, "")) == [("a.example", "/b")]
    assert neighbours(two(CERT, ""), path="/b/x") == [("a.example", "/a")]
    assert neighbours(two("", "")) == []
    other = f"server {{ listen 80; server_name b.example; location / {{ proxy_pass https://mesh; {CERT} }} }}"
    # the very path that was asked for, where it leads there
    assert neighbours(two("", "") + other) == [("b.example", "/a")]
    assert neighbours(two("", "") + other.replace("b.example", "*.b.example")) == [("edgemesh-probe.b.example", "/a")]
    assert neighbours(two("", "") + other.replace("listen 80", "listen 81")) == [], "another listener is another connection"
    assert neighbours(two("", "") + other.replace("b.example", "~^b")) == []
    assert neighbours(two("", "") + other.replace("location /", "location ~ \\.php$")) == []
    assert neighbours(two("", "") + other.replace("https:", "http:")) == []


def test_each_identity_is_asked_once_and_the_upstreams_own_first() -> None:
    elsewhere = "upstream other { server 192.0.2.1:443; }"
    serves = "location / {{ proxy_pass https://{}; proxy_ssl_certificate {}.crt; }}"
    servers = "".join(
        f"server {{ listen 80; server_name {name}.example; {serves.format(upstream, cert)} }}"
        for name, upstream, cert in (("b", "other", "b"), ("c", "mesh", "b"), ("d", "mesh", "d"), ("e", "other", "e"))
    )
    assert neighbours(elsewhere + two("", "") + servers) == [("c.example", "/a"), ("d.example", "/a"), ("e.example", "/a")]
    many = "".join(servers.replace(".example", f"{number}.example").replace(".crt", f"{number}.crt") for number in range(9))
    assert len(neighbours(elsewhere + two("", "") + many)) == 4


def grpc(text: str) -> str:
    return text.replace("proxy_pass https", "grpc_pass grpcs").replace("proxy_", "grpc_")


@pytest.mark.parametrize(("off", "by"), [("", (SESSION,)), (OFF, ())])
def test_grpc_and_http_share_sessions_and_no_pool(off: str, by: tuple[str, ...]) -> None:
    """A connection of the other protocol is of no use to either: nginx itself is asked in test_probe_identity_grpc.py."""
    first, second = (
        f"location {path} {{ proxy_pass https://mesh; {more} }}" for path, more in (("/a", f"{CERT} {off}"), ("/b", SPEAKS + off))
    )
    for one, other in ((grpc(first), second), (first.replace(CERT, CERT + SPEAKS), grpc(second.replace(SPEAKS, "")))):
        found = way(f"upstream mesh {{ server 192.0.2.1:443; {POOLED} }} server {{ listen 80; server_name a.example; {one}\n{other} }}")
        assert [(each.differ, each.by) for each in found.shared] == ([(("client certificate",), by)] if by else [])
        assert [each.path for each in found.neighbours] == ["/b"]


@pytest.mark.parametrize(("off", "by"), [("", (SESSION, POOL)), (OFF, (POOL,))])
def test_two_grpc_locations_share_the_pool_too(off: str, by: tuple[str, ...]) -> None:
    found = way(grpc(two(CERT + off, off, kept=POOLED)))
    assert [(each.differ, each.by) for each in found.shared] == [(("client certificate",), by)]
