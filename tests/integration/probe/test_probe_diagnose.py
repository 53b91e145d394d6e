# SPDX-License-Identifier: GPL-3.0-or-later
"""The diagnosis of a real nginx in front of a real Envoy: the seed's ladder and more by code, and nothing on healthy paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from probe_rig import HOST, Gateway, Nginx
from probe_session import diagnose_nginx

from tests.ports import free_port

Run = Callable[..., Nginx]

# What the seed ends with, and what it should have: verified.
GOOD = """
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_ssl_server_name on;
    proxy_ssl_name {name};
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate {pki}/ca.crt;
    proxy_ssl_verify_depth 2;
"""
CLIENT = "proxy_ssl_certificate {pki}/client.crt; proxy_ssl_certificate_key {pki}/client.key;"


@pytest.fixture
def nginx(gateway: Gateway, tmp_path: Path) -> Iterator[Run]:
    """Starts an nginx whose one location has the given directives; names in braces are the gateway's ports and ours."""
    started: list[Nginx] = []

    def start(location: str = "", http: str = "", server: str = "", name: str = HOST, raw: str = "", where: str = "/") -> Nginx:
        port = free_port()
        values = {
            "pki": str(gateway.folder), "port": port, "tls": gateway.tls, "plain": gateway.plain, "proxy": gateway.proxy,
            "dead": gateway.dead, "name": name,
        }  # fmt: skip

        def filled(text: str) -> str:
            for key, value in values.items():
                text = text.replace(f"{{{key}}}", str(value))
            return text

        text = (
            raw or f"{http}\nserver {{\nlisten 127.0.0.1:{port};\nserver_name {name};\n{server}\nlocation {where} {{\n{location}\n}}\n}}\n"
        )
        made = Nginx(tmp_path / str(port), filled(text), port)
        made.__enter__()
        started.append(made)
        return made

    yield start
    for each in started:
        each.__exit__()


TO = "proxy_pass https://127.0.0.1:{tls};"
GOOD_TO = GOOD + TO
GRPC = """
    grpc_set_header Host $host;
    grpc_ssl_server_name on;
    grpc_ssl_name {name};
    grpc_ssl_verify on;
    grpc_ssl_trusted_certificate {pki}/ca.crt;
    grpc_ssl_verify_depth 2;
    grpc_pass grpcs://127.0.0.1:{tls};
"""

# title: (location, keyword arguments, cause, the causes behind it)
MISTAKES: dict[str, tuple[str, dict[str, str], str, list[str]]] = {
    # the seed, step by step
    "the seed's first try": (TO, {}, "NO_SNI", ["HTTP10_UPSTREAM", "HOST_NOT_ROUTED"]),
    "the seed with a name but no SNI": (f"{TO} proxy_ssl_name {HOST};", {}, "NO_SNI", ["HTTP10_UPSTREAM", "HOST_NOT_ROUTED"]),
    "the seed with SNI": (f"{TO} proxy_ssl_name $host; proxy_ssl_server_name on; proxy_set_header Host $host;", {}, "HTTP10_UPSTREAM", []),
    "SNI, HTTP/1.0 by name": (GOOD_TO.replace("1.1", "1.0"), {}, "HTTP10_UPSTREAM", []),
    "no SNI": (GOOD_TO.replace("server_name on", "server_name off"), {}, "NO_SNI", []),
    "no Host": (GOOD_TO.replace("proxy_set_header Host $host;", ""), {}, "HOST_NOT_ROUTED", []),
    "Host lost by a header of its own": (
        GOOD_TO.replace("proxy_set_header Host $host;", ""), {"server": "proxy_set_header Host $host;"}, "HOST_NOT_ROUTED", [],
    ),
    "wrong CA": (GOOD_TO.replace("/ca.crt", "/other-ca.crt"), {}, "WRONG_TRUST_ANCHOR", []),
    "wrong name": (GOOD_TO, {"name": "wrongname.example.com"}, "UPSTREAM_NAME_MISMATCH", []),
    "mutual without certificate": (GOOD_TO, {"name": "mutual.example.com"}, "CLIENT_CERT_MISSING", []),
    "mutual without certificate, TLS 1.2": (GOOD_TO, {"name": "mutual12.example.com"}, "CLIENT_CERT_MISSING", []),
    # more
    "SNI of nobody": (GOOD_TO.replace("{name}", "nobody.example.org"), {}, "WRONG_SNI", []),
    "SNI of an upstream block": (
        GOOD_TO.replace("proxy_ssl_name {name};", "").replace("https://127.0.0.1:{tls}", "https://mesh"),
        {"http": "upstream mesh { server 127.0.0.1:{tls}; }"}, "WRONG_SNI", [],
    ),
    "client of a foreign CA": (
        GOOD_TO + CLIENT.replace("client.", "client-foreign."), {"name": "mutual.example.com"}, "CLIENT_CERT_UNTRUSTED", [],
    ),
    "client expired": (GOOD_TO + CLIENT.replace("client.", "client-expired."), {"name": "mutual.example.com"}, "CLIENT_CERT_EXPIRED", []),
    "client without clientAuth": (
        GOOD_TO + CLIENT.replace("client.", "client-no-eku."), {"name": "mutual.example.com"}, "EKU_NO_CLIENTAUTH", [],
    ),
    "client not pinned": (
        GOOD_TO + CLIENT.replace("client.", "client-other-name."), {"name": "pinned.example.com"}, "CLIENT_NAME_NOT_PINNED", [],
    ),
    "gateway's certificate expired": (GOOD_TO, {"name": "expired.example.com"}, "SERVER_CERT_EXPIRED", []),
    "gateway's certificate for clients": (GOOD_TO, {"name": "noeku.example.com"}, "EKU_NO_SERVERAUTH", []),
    "SPIFFE only": (GOOD_TO, {"name": "spiffe.example.com"}, "SPIFFE_ONLY_CERT", []),
    "intermediate as anchor": (GOOD_TO.replace("/ca.crt", "/intermediate.crt"), {"name": "chained.example.com"}, "TRUST_NEEDS_ROOT", []),
    "verify depth": (GOOD_TO.replace("depth 2", "depth 0"), {"name": "chained.example.com"}, "VERIFY_DEPTH", []),
    "TLS versions": (GOOD_TO + "proxy_ssl_protocols TLSv1.2;", {"name": "tls13.example.com"}, "TLS_VERSION_GAP", []),
    "TLS to a plain port": (GOOD_TO.replace("{tls}", "{plain}"), {}, "TLS_TO_PLAINTEXT_PORT", []),
    "plain to a TLS port": (GOOD_TO.replace("https:", "http:"), {}, "PLAINTEXT_TO_TLS_PORT", []),
    "upstream without a port": (
        GOOD_TO.replace("127.0.0.1:{tls}", "mesh"), {"http": "upstream mesh { server 127.0.0.1:{plain}; }"}, "TLS_TO_PLAINTEXT_PORT", [],
    ),
    "wrong NodePort": (GOOD_TO.replace("{tls}", "{dead}"), {}, "CONNECTION_REFUSED", []),
    "PROXY expected": (GOOD_TO.replace("{tls}", "{proxy}"), {}, "PROXY_PROTOCOL_ONE_SIDED", []),
    "RBAC": (GOOD_TO, {"where": "/denied"}, "RBAC_DENIED", []),
    "no endpoints": (GOOD_TO, {"where": "/uh"}, "NO_HEALTHY_UPSTREAM", []),
    "dead endpoint": (GOOD_TO, {"where": "/uf"}, "UPSTREAM_UNREACHABLE", []),
    "unknown cluster": (GOOD_TO, {"where": "/nc"}, "CLUSTER_NOT_FOUND", []),
    "everything at once": (
        "proxy_pass https://127.0.0.1:{tls}; proxy_ssl_verify on; proxy_ssl_trusted_certificate {pki}/other-ca.crt;", {},
        "NO_SNI", ["WRONG_TRUST_ANCHOR", "HTTP10_UPSTREAM", "HOST_NOT_ROUTED"],
    ),
    "wrong CA and HTTP/1.0": (
        GOOD_TO.replace("/ca.crt", "/other-ca.crt").replace("1.1", "1.0"), {}, "WRONG_TRUST_ANCHOR", ["HTTP10_UPSTREAM"],
    ),
    "denied by nginx": (GOOD_TO + "deny all;", {}, "NGINX_FORBIDDEN", []),
    "gRPC without SNI": (GRPC.replace("server_name on", "server_name off"), {}, "NO_SNI", []),
    "gRPC, nothing set": ("grpc_pass grpcs://127.0.0.1:{tls};", {}, "NO_SNI", ["HOST_NOT_ROUTED"]),
    "gRPC, no Host": (GRPC.replace("grpc_set_header Host $host;", ""), {}, "HOST_NOT_ROUTED", []),
    "gRPC, wrong CA": (GRPC.replace("/ca.crt", "/other-ca.crt"), {}, "WRONG_TRUST_ANCHOR", []),
    "gRPC, plain to a TLS port": (GRPC.replace("grpcs:", "grpc:"), {}, "PLAINTEXT_TO_TLS_PORT", []),
    "gRPC, TLS to a plain port": (GRPC.replace("{tls}", "{plain}"), {}, "TLS_TO_PLAINTEXT_PORT", []),
    "gRPC, wrong NodePort": (GRPC.replace("{tls}", "{dead}"), {}, "CONNECTION_REFUSED", []),
    "no proxy_pass": ("root /nonexistent;", {}, "NGINX_NOT_PROXYING", []),
}  # fmt: skip


@pytest.mark.parametrize("title", MISTAKES)
def test_root_cause_is_named(nginx: Run, title: str) -> None:
    location, options, code, then = MISTAKES[title]
    server = nginx(location, **options)
    where = options.get("where", "/")
    found = diagnose_nginx(server.dump(), options.get("name", HOST), where)
    assert found.cause is not None, found
    assert (found.cause.code, [each.code for each in found.then]) == (code, then), found
    assert not found.healthy
    assert found.cause.fix
    said = " ".join(each.why + each.fix for each in (found.cause, *found.then, *found.findings))
    assert "grpc_pass" not in location or "proxy_" not in said


HEALTHY: dict[str, tuple[str, dict[str, str]]] = {
    "address": (GOOD_TO, {}),
    "mutual": (GOOD_TO + CLIENT, {"name": "mutual.example.com"}),
    "mutual, TLS 1.2": (GOOD_TO + CLIENT, {"name": "mutual12.example.com"}),
    "pinned": (GOOD_TO + CLIENT, {"name": "pinned.example.com"}),
    "client certificate that nobody asked for": (GOOD_TO + CLIENT, {}),
    "upstream block with keepalive": (
        GOOD_TO.replace("127.0.0.1:{tls}", "edge_1"), {"http": "upstream edge_1 { zone e 64k; server 127.0.0.1:{tls}; keepalive 8; }"},
    ),
    "chain with an intermediate": (GOOD_TO, {"name": "chained.example.com"}),
    "TLS 1.3 only": (GOOD_TO + "proxy_ssl_protocols TLSv1.2 TLSv1.3;", {"name": "tls13.example.com"}),
    "settings inherited from the server": (TO, {"server": GOOD}),
    "settings inherited from http": (TO, {"http": GOOD}),
    "WebSocket map": (
        GOOD_TO.replace('Connection ""', "Connection $up"), {"http": 'map $http_upgrade $up { default upgrade; "" ""; }'},
    ),
    "gRPC": (GRPC, {}),
    "gRPC, mutual": (GRPC + CLIENT.replace("proxy_", "grpc_"), {"name": "mutual.example.com"}),
    "gRPC, plain": ("grpc_pass grpc://127.0.0.1:{plain}; grpc_set_header Host $host;", {}),
    "names in variables": (
        GOOD_TO.replace("{name};", "$mesh_name;") + "set $mesh_name {name};", {},
    ),
    "the application answers 404": (GOOD_TO, {"where": "/status/404"}),
    "the application answers 500": (GOOD_TO, {"where": "/status/500"}),
    "the application answers 502": (GOOD_TO, {"where": "/status/502"}),
    "regular expression": (GOOD_TO, {"where": "~ ^/$"}),
    "exact location": (GOOD_TO, {"where": "= /"}),
    "plain to a plain port": ("proxy_pass http://127.0.0.1:{plain}; proxy_http_version 1.1; proxy_set_header Host $host;", {}),
    "forwarded headers": (
        GOOD_TO + "proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Client-Cert ''; "
        "proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Real-IP $remote_addr;", {},
    ),
    "optional client certificate": (GOOD_TO, {"name": "optional.example.com"}),
    "default server, no name": (GOOD_TO.replace("{name}", HOST).replace("$host", HOST), {"name": "_"}),
}  # fmt: skip


@pytest.mark.parametrize("title", HEALTHY)
def test_healthy_path_has_no_cause(nginx: Run, title: str) -> None:
    location, options = HEALTHY[title]
    server = nginx(location, **options)
    where = options.get("where", "/").split()[-1].strip("^$")
    host = options.get("name", HOST)
    found = diagnose_nginx(server.dump(), HOST if host == "_" else host, where)
    assert (found.healthy, found.cause) == (True, None), found
    assert [each.code for each in found.findings] == [], found


def test_fix_names_the_place_and_the_working_name(nginx: Run, gateway: Gateway) -> None:
    server = nginx(GOOD_TO.replace("proxy_ssl_server_name on;", "proxy_ssl_server_name off;"))
    found = diagnose_nginx(server.dump(), HOST).cause
    assert found
    assert found.fix == f"proxy_ssl_server_name on; proxy_ssl_name {HOST};"
    assert found.place.startswith(f"{server.folder}/conf.d/site.conf:")


def test_wrong_node_port_is_put_right(nginx: Run, gateway: Gateway) -> None:
    server = nginx(GOOD_TO.replace("{tls}", "{dead}"))
    found = diagnose_nginx(server.dump(), HOST, gateway=(("127.0.0.1", gateway.tls),)).cause
    assert found
    assert (found.code, found.fix) == ("CONNECTION_REFUSED", f"proxy_pass https://127.0.0.1:{gateway.tls};")


def test_one_dead_node_of_two_is_named(nginx: Run) -> None:
    server = nginx(GOOD_TO.replace("127.0.0.1:{tls}", "mesh"), http="upstream mesh { server 127.0.0.1:{dead}; server 127.0.0.1:{tls}; }")
    found = diagnose_nginx(server.dump(), HOST)
    assert found.cause
    assert found.cause.code == "CONNECTION_REFUSED"
    assert "1 of 2" in " ".join(found.notes)


def test_lost_host_says_where_it_was_lost(nginx: Run) -> None:
    server = nginx(GOOD_TO.replace("proxy_set_header Host $host;", ""), server="proxy_set_header Host $host;")
    found = diagnose_nginx(server.dump(), HOST).cause
    assert found
    assert "is lost" in found.why
    assert found.fix == "proxy_set_header Host $host;"


def test_borrowed_identity_is_proven(nginx: Run) -> None:
    """A location without a certificate gets in with the session of the one that has it: nginx answers 200, the replay is refused."""
    both = GOOD.replace("{name}", "mutual.example.com") + "proxy_pass https://mesh;"
    server = nginx(
        raw="upstream mesh { server 127.0.0.1:{tls}; keepalive 4; }\n"
        + "server { listen 127.0.0.1:{port}; server_name mutual.example.com;\n"
        + "location / {" + both + "}\nlocation /echo {" + both + CLIENT + "} }"
    )  # fmt: skip
    dump = server.dump()
    with_certificate = diagnose_nginx(dump, "mutual.example.com", "/echo")
    assert with_certificate.healthy
    assert [each.code for each in with_certificate.findings] == ["IDENTITY_BORROWED", "UPSTREAM_IDENTITY_SHARED"]
    without = diagnose_nginx(dump, "mutual.example.com", "/")
    assert without.cause
    assert without.cause.code == "IDENTITY_BORROWED"
    assert next(each for each in without.evidence if each["name"] == "through nginx")["ok"]


def test_varying_name_over_kept_connections_is_found(nginx: Run) -> None:
    server = nginx(
        GOOD.replace("{name}", "$host") + "proxy_pass https://mesh;", name=f"{HOST} a.example.com",
        http="upstream mesh { server 127.0.0.1:{tls}; keepalive 4; }",
    )  # fmt: skip
    found = diagnose_nginx(server.dump(), HOST)
    assert [each.code for each in found.findings] == ["STALE_SNI_KEEPALIVE"]


def test_unverified_upstream_is_found(nginx: Run) -> None:
    server = nginx(GOOD_TO.replace("proxy_ssl_verify on;", "").replace("proxy_ssl_trusted_certificate {pki}/ca.crt;", ""))
    found = diagnose_nginx(server.dump(), HOST)
    assert found.healthy
    assert [each.code for each in found.findings] == ["UPSTREAM_NOT_VERIFIED"]


def test_nginx_that_does_not_run(nginx: Run) -> None:
    server = nginx(GOOD_TO)
    dump = server.dump()
    server.__exit__()
    found = diagnose_nginx(dump, HOST).cause
    assert found
    assert found.code == "NGINX_NOT_RUNNING"
