# SPDX-License-Identifier: GPL-3.0-or-later
"""How the machine's own apt configuration becomes a VM's."""

from __future__ import annotations

import pytest

from lab import apt
from plugins.module_utils._errors import EdgeError


def line(created_by: str, origin: str, codename: str, uri: str, component: str) -> str:
    return "\t".join((created_by, origin, codename, uri, component))


TARGETS = "\n".join(
    [
        line("Packages", "Debian", "bookworm", "http://mirror.example/debian/", "main"),
        line("DEP-11", "Debian", "bookworm", "http://mirror.example/debian/", "main"),
        line("Packages", "Debian", "bookworm", "http://mirror.example/debian/", "contrib"),
        line("Packages", "Debian", "bookworm", "http://mirror.example/debian/", "main"),
        line("Packages", "Debian", "bookworm-updates", "http://mirror.example/debian/", "main"),
        line("Packages", "Debian", "bookworm-security", "http://mirror.example/security/", "main"),
        line("Packages", "Debian Backports", "bookworm-backports", "http://mirror.example/debian/", "main"),
        line("Packages", "Somebody", "bookworm", "https://vendor.example/apt/", "main"),
        line("Packages", "Debian", "sid", "http://mirror.example/debian/", "main"),
    ]
)


def test_sources_of_another_release_come_from_the_same_mirrors() -> None:
    stanzas = apt.translate(TARGETS, "bookworm", "trixie").split("\n\n")
    assert [stanza.splitlines()[1:4] for stanza in stanzas] == [
        ["URIs: http://mirror.example/debian/", "Suites: trixie", "Components: main contrib"],
        ["URIs: http://mirror.example/debian/", "Suites: trixie-updates", "Components: main"],
        ["URIs: http://mirror.example/security/", "Suites: trixie-security", "Components: main"],
    ]
    assert all(f"Signed-By: {apt.KEYRING}" in stanza for stanza in stanzas)


def test_machine_without_debian_sources_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(apt, "run", lambda argv, **_: called.append(argv[1]) or "")
    with pytest.raises(EdgeError, match=r"none of this machine's apt sources.*sources\.list"):
        apt.archive.__wrapped__()
    assert called == ["indextargets", "update", "indextargets"]


def test_acquire_takes_how_to_download_and_leaves_what_apt_knows() -> None:
    dump = "\n".join(
        [
            'Acquire "";',
            'Acquire::http::Proxy "http://proxy.example:3128/";',
            'Acquire::https::CaInfo "/etc/ca.pem";',
            'Acquire::IndexTargets::deb::Packages::MetaKey "$(COMPONENT)/Packages";',
            'Acquire::Languages "";',
            'Acquire::Languages:: "none";',
            'Acquire::CompressionTypes::xz "xz";',
        ]
    )
    assert apt.acquire(
        dump, {"http_proxy": "http://other.example/", "https_proxy": "http://other.example/", "no_proxy": "a.example, b.example"}
    ) == [
        ("Acquire::http::Proxy", "http://proxy.example:3128/"),
        ("Acquire::https::CaInfo", "/etc/ca.pem"),
        ("Acquire::Languages::", "none"),
        ("Acquire::https::Proxy", "http://other.example/"),
        ("Acquire::https::Proxy::a.example", "DIRECT"),
        ("Acquire::https::Proxy::b.example", "DIRECT"),
    ]
