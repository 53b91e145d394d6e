# SPDX-License-Identifier: GPL-3.0-or-later
"""gRPC locations of a real nginx: they go out as we read them, and lend their identity as we say."""

from __future__ import annotations

from pathlib import Path

import pytest
from identity_rig import HOSTS, IdentityGateway, ask, running

from plugins.module_utils._nginx.read.effective import effective, read
from plugins.module_utils._nginx.read.sharing import POOL, SESSION, shared_identities

A, B = HOSTS[:2]
ONE, OTHER = (A, "/one"), (A, "/other")
KEPT = 'proxy_http_version 1.1; proxy_set_header Connection "";'
OFF = "{m}_ssl_session_reuse off; "


def named(host: str) -> str:
    """Directives of either module, {m} being its prefix."""
    return f"{{m}}_ssl_server_name on; {{m}}_ssl_name {host}; {{m}}_set_header Host $host; "


def shows(client: str) -> str:
    return f"{{m}}_ssl_certificate {{pki}}/{client}.crt; {{m}}_ssl_certificate_key {{pki}}/{client}.key; "


def in_words_of(module: str, text: str, mesh: IdentityGateway) -> str:
    return text.replace("{m}", module).replace("{pki}", str(mesh.folder)).replace("{port}", str(mesh.tls))


def location(path: str, module: str, text: str, mesh: IdentityGateway) -> str:
    target = {"proxy": "proxy_pass https://mesh;", "grpc": "grpc_pass grpcs://mesh;"}[module]
    return f"location {path} {{ {target} {in_words_of(module, text, mesh)} {KEPT if module == 'proxy' else ''} }}\n"


def site(mesh: IdentityGateway, locations: str, around: str = "", kept: str = "") -> str:
    upstream = f"upstream mesh {{ server 127.0.0.1:{mesh.tls}; {kept} }}"
    return f"{upstream}\nserver {{ listen 127.0.0.1:{{port}}; server_name {A};\n{around}{locations}}}\n"


@pytest.mark.parametrize(
    ("around", "inside"),
    [
        ("", ""),
        ("", "grpc_ssl_server_name on;"),
        ("", named(A) + OFF + shows("alice")),
        (named(A) + OFF + shows("alice"), ""),
        (named(A) + OFF, f"{{m}}_ssl_name {B}; " + shows("carol")),
        # what the other module says is nothing to it
        ((named(B) + shows("bob")).replace("{m}", "proxy"), named(A) + OFF),
        (named(A) + OFF, "{m}_ssl_verify on; {m}_ssl_trusted_certificate {pki}/ca.crt;"),
        (named(A) + OFF, "{m}_ssl_verify on; {m}_ssl_trusted_certificate {pki}/other-ca.crt;"),
    ],
)
def test_a_grpc_location_goes_out_as_it_is_read(mesh: IdentityGateway, tmp_path: Path, release: str, around: str, inside: str) -> None:
    text = site(mesh, location("/", "grpc", inside, mesh), in_words_of("grpc", around, mesh))
    with running(tmp_path, text, release) as nginx:
        (seen,) = ask(nginx.port, [(A, "/one")])
        proxy = effective(read(nginx.dump()), A, "/one").proxy
    assert proxy
    assert (proxy.prefix, proxy.scheme, proxy.http_version, proxy.addresses) == ("grpc", "https", "2", [("127.0.0.1", mesh.tls)])
    trusted = not proxy.verify or proxy.ca.endswith("/ca.crt")
    assert seen.status == (200 if trusted else 502)
    if trusted:
        assert (seen.sni, seen.client) == (proxy.sni, Path(proxy.certificate).stem)


@pytest.mark.parametrize(
    ("modules", "common", "borrows", "by"),
    [
        (("grpc", "proxy"), named(A), True, (SESSION,)),
        (("proxy", "grpc"), named(A), True, (SESSION,)),
        (("grpc", "grpc"), named(A), True, (SESSION, POOL)),
        (("grpc", "grpc"), named(A) + OFF, True, (POOL,)),
        (("proxy", "grpc"), named(A) + OFF, False, ()),
    ],
)
def test_a_grpc_location_lends_as_it_is_read(
    mesh: IdentityGateway, tmp_path: Path, release: str, modules: tuple[str, str], common: str, borrows: bool, by: tuple[str, ...]
) -> None:
    """The first shows alice's certificate, the second none."""
    pooled = "keepalive 4;" if POOL in by or not by else ""
    one, other = modules
    text = site(mesh, location("/one", one, common + shows("alice"), mesh) + location("/other", other, common, mesh), kept=pooled)
    with running(tmp_path, text, release) as nginx:
        seen = ask(nginx.port, [ONE, OTHER])
        found = shared_identities(read(nginx.dump()))
    assert [(each.status, each.client) for each in seen] == [(200, "alice"), (200, "alice" if borrows else "")]
    assert [each.by for each in found] == ([by] if by else [])
