# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the confirmation server may listen, and whose requests a new server would take."""

from __future__ import annotations

import pytest

from plugins.module_utils._nginx.read.listeners import confirm_at, split_listen, taken_over
from plugins.module_utils._nginx.read.syntax import parse

OWN = "127.101.3.4"


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("80", ("*", "80")), ("*:81", ("*", "81")), ("0.0.0.0:82", ("*", "82")), ("192.0.2.1", ("192.0.2.1", "80")),
        ("192.0.2.1:83", ("192.0.2.1", "83")), ("[::]:84", ("[::]", "84")), ("[::1]", ("[::1]", "80")), ("unix:/x", ("unix:/x", "")),
    ],
)  # fmt: skip
def test_split(word: str, parts: tuple[str, str]) -> None:
    assert split_listen(word) == parts


@pytest.mark.parametrize(
    ("servers", "chosen", "expected"),
    [
        # a wildcard listener of nginx's own costs no further socket
        ("server { listen 8080; } server { listen 8443 ssl; }", "80", "8080"),
        ("server { listen 8080; } server { listen 8443 ssl; }", "8443", "8443"),
        ("server { }", "80", "80"),
        # nobody else can hold a port on all addresses that nginx holds on one
        ("server { listen 192.0.2.1:9000; }", "80", "9000"),
        ("server { listen 192.0.2.1:9000; } server { listen 9001; }", "80", "9001"),
        # a dual-stack socket already has every IPv4 address
        ("server { listen [::]:80 ipv6only=off; }", "80", "8009"),
        ("server { listen [::]:80 ipv6only=off; listen 192.0.2.1:80; listen 192.0.2.1:81; }", "80", "81"),
        ("server { listen unix:/run/x.sock; }", "80", "80"),
        ("server { listen 443 quic; listen 444 ssl; }", "443", "444"),
        ("", "80", "80"),
    ],
)
def test_the_confirmation_server_uses_a_port_that_is_nginxs(servers: str, chosen: str, expected: str) -> None:
    tree = parse(f"stream {{ server {{ listen 1; }} }} http {{ {servers} server {{ listen {OWN}:{chosen}; }} }}")
    assert confirm_at(tree, OWN, f"{OWN}:{chosen}") == f"{OWN}:{expected}"


def lost(ours: str, theirs: str, ours_first: bool = True) -> list[str]:
    mine, other = parse(ours, "/c/edgemesh/current/routes.conf"), parse(theirs, "/c/sites/blog")
    http = parse("http { }")
    http[0].block = mine + other if ours_first else other + mine
    return [place for place, _site in taken_over(http, "/c/edgemesh/")]


def test_unknown_hosts_are_taken_only_from_an_unmarked_server_read_later() -> None:
    assert lost("server { listen 80; }", "server { listen 80; }") == ["*:80"]
    assert lost("server { listen 80; }", "server { listen *:80; } server { listen 80; }") == ["*:80"]
    assert lost("server { listen 80; }", "server { }") == ["*:80"]
    assert lost("server { listen 80; }", "server { listen 80; }", ours_first=False) == []
    assert lost("server { listen 80; }", "server { listen 80 default_server; }") == []
    assert lost("server { listen 80; }", "server { listen 81; } server { listen 192.0.2.1:80; }") == []
    assert lost("server { listen 80; } server { listen [::]:80; }", "server { listen 80; listen [::]:80; }") == ["*:80", "[::]:80"]
    assert lost("server { listen 80 default_server; }", "server { listen 80; }", ours_first=False) == ["*:80"]
    assert lost("server { listen 80; }", "") == []
