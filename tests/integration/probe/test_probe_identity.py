# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx lends one location's TLS identity to another that goes to the same upstream: seen on configurations as people write them.

By session: TLS sessions are kept for each server of an upstream, whoever opened them. By pool: so are kept-alive connections.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from identity_rig import HOSTS, IdentityGateway, ask, running
from probe_session import diagnose_nginx

from plugins.module_utils._diagnose.verdict import Diagnosis

A = HOSTS[0]


KEPT = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;'
SHOWS = "proxy_ssl_certificate {pki}/%s.crt; proxy_ssl_certificate_key {pki}/%s.key;"
TO_A = f"proxy_ssl_server_name on; proxy_ssl_name {A}; proxy_set_header Host $host; proxy_http_version 1.1;"


def naive(mesh: IdentityGateway, target: str, port: int, common: str, one: str, other: str = "", kept: str = "") -> str:
    """Two locations that go to the same place as different clients."""
    blocks = f"upstream mesh {{ server 127.0.0.1:{port}; {kept} }}\n" if target == "mesh" else ""
    locations = "\n".join(
        f"location {path} {{ proxy_pass https://{target}; {common} {SHOWS % (who, who) if who else ''} }}"
        for path, who in (("/one", one), ("/other", other))
    )
    text = f"{blocks}server {{ listen 127.0.0.1:{{port}}; server_name {A};\n{locations}\n}}\n"
    return text.replace("{pki}", str(mesh.folder))


ONE, OTHER = (A, "/one"), (A, "/other")


def test_a_session_carries_an_identity_to_another_location(mesh: IdentityGateway, tmp_path: Path, release: str) -> None:
    """No connection is kept: every request has one of its own, and still arrives as somebody else."""
    text = naive(mesh, f"127.0.0.1:{mesh.tls}", mesh.tls, TO_A, "alice")
    with running(tmp_path, text, release) as nginx:
        alone, one, other = ask(nginx.port, [OTHER]), *ask(nginx.port, [ONE, OTHER])
    # who comes first opens the session that all others use
    assert [each.client for each in (alone[0], one, other)] == ["", "", ""]
    with running(tmp_path, text, release) as nginx:
        one, other = ask(nginx.port, [ONE, OTHER])
    assert (one.client, other.client) == ("alice", "alice")
    assert one.connection != other.connection


def test_a_session_lets_in_who_has_no_certificate(mesh: IdentityGateway, tmp_path: Path, release: str) -> None:
    text = naive(mesh, f"127.0.0.1:{mesh.strict}", mesh.strict, TO_A, "alice")
    with running(tmp_path, text, release) as nginx:
        refused, one, other = ask(nginx.port, [OTHER, ONE, OTHER])
    assert (refused.status, one.status, other.status, other.client) == (502, 200, 200, "alice")


def test_a_pooled_connection_carries_an_identity_though_no_session_is_reused(mesh: IdentityGateway, tmp_path: Path, release: str) -> None:
    common = f"{TO_A} {KEPT.partition('proxy_set_header Host')[0].partition('1.1;')[2]} proxy_ssl_session_reuse off;"
    for one_is, other_is in (("alice", ""), ("", "alice"), ("alice", "carol"), ("carol", "alice")):
        text = naive(mesh, "mesh", mesh.tls, common, one_is, other_is, kept="keepalive 4;")
        with running(tmp_path, text, release) as nginx:
            one, other = ask(nginx.port, [ONE, OTHER])
            assert (one.client, other.client) == (one_is, one_is)
            assert one.connection == other.connection
    text = naive(mesh, "mesh", mesh.tls, common, "alice")
    with running(tmp_path, text, release) as nginx:
        assert [each.client for each in ask(nginx.port, [ONE, OTHER])] == ["alice", ""], "without keepalive it is cured"


def test_a_pooled_connection_spares_verification(mesh: IdentityGateway, tmp_path: Path, release: str) -> None:
    """Not only towards the gateway: who verifies rides on a connection that nobody verified."""
    text = naive(mesh, "mesh", mesh.second, f"{TO_A} proxy_set_header Connection '';", "", kept="keepalive 4;").replace(
        "location /other {", f"location /other {{ proxy_ssl_verify on; proxy_ssl_trusted_certificate {mesh.folder}/ca.crt;"
    )
    with running(tmp_path, text, release) as nginx:
        refused, _one, other = ask(nginx.port, [OTHER, ONE, OTHER])
    assert (refused.status, other.status, other.listener) == (502, 200, "second")


def codes(found: Diagnosis) -> tuple[str, list[str]]:
    return found.cause.code if found.cause else "", [each.code for each in found.findings if each.code != "UPSTREAM_NOT_VERIFIED"]


WAYS = {
    "session": (f"{TO_A}", "", "by TLS sessions)"),
    "pool": (f"{TO_A} proxy_set_header Connection ''; proxy_ssl_session_reuse off;", "keepalive 4;", "by pooled connections)"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("one_is", "other_is"), [("alice", ""), ("alice", "carol")])
def test_diagnosis_sees_who_arrives_as_another(
    mesh: IdentityGateway, tmp_path: Path, release: str, way: str, one_is: str, other_is: str
) -> None:
    """From either side: the one that lends and the one that borrows; by the app's word where the gateway lets both in."""
    common, kept, by = WAYS[way]
    text = naive(mesh, "mesh", mesh.tls, common, one_is, other_is, kept).replace("location /", "location /echo/")
    for path, other in (("/echo/one", "/echo/other"), ("/echo/other", "/echo/one")):
        with running(tmp_path, text, release) as nginx:
            found = diagnose_nginx(nginx.dump(), A, path)
        # who asks first borrows or lends, as chance has it; one of the two is always seen, and what the configuration says always
        cause, findings = codes(found)
        assert "IDENTITY_BORROWED" in (cause, *findings), (path, found)
        assert "UPSTREAM_IDENTITY_SHARED" in findings
        seen = [each for each in (found.cause, *found.findings) if each and each.code == "IDENTITY_BORROWED"]
        assert all(by in each.why and "it arrives as" in each.why for each in seen), seen
        assert {A + path, A + other} >= {each.why.split("request for ")[1].split(" to ")[0] for each in seen}


def test_diagnosis_sees_who_is_let_in_as_another(mesh: IdentityGateway, tmp_path: Path, release: str) -> None:
    text = naive(mesh, f"127.0.0.1:{mesh.strict}", mesh.strict, TO_A, "alice")
    with running(tmp_path, text, release) as nginx:
        found = diagnose_nginx(nginx.dump(), A, "/other")
    # by itself it fails, and it gets in after the other
    assert codes(found) == ("CLIENT_CERT_MISSING", ["IDENTITY_BORROWED", "UPSTREAM_IDENTITY_SHARED"])
    assert "alone it is refused (CLIENT_CERT_MISSING)" in found.findings[0].why
    with running(tmp_path, text, release) as nginx:
        found = diagnose_nginx(nginx.dump(), A, "/one")
    assert codes(found) == ("", ["IDENTITY_BORROWED", "UPSTREAM_IDENTITY_SHARED"])


def test_diagnosis_sees_it_where_only_the_running_nginx_lends(mesh: IdentityGateway, tmp_path: Path, release: str) -> None:
    """The files are mended and nginx was not reloaded: nothing to read, and still seen."""
    text = naive(mesh, "mesh", mesh.strict, f"{TO_A} proxy_set_header Connection '';", "alice", kept="keepalive 4;")
    with running(tmp_path, text, release) as nginx:
        port = str(nginx.port)
        upstream, server = text.replace("{port}", port).split("\n", 1)
        nginx.write(f"{upstream}\n{upstream.replace('mesh', 'own')}\n{server.replace('https://mesh', 'https://own', 1)}")
        found = diagnose_nginx(nginx.dump(), A, "/other")
    assert codes(found) == ("CLIENT_CERT_MISSING", ["IDENTITY_BORROWED"])
    assert "runs an older one" in found.findings[0].why
