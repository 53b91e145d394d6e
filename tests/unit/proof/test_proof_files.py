# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates as files: only certificates leave the VM, and nginx's configuration is read as it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from plugins.module_utils._proof.vm_nginx import configured, files
from plugins.module_utils._proof.vm_nginx.material import public_files
from plugins.module_utils._x509.facts import facts
from tests.unit.proof.materials import pem, pki, routes, with_listen
from tests.unit.proof.nodes import TLS_DIR


def key() -> str:
    return pki()["client"].key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_the_command_prints_certificates_only_although_a_key_stands_beside_them(tmp_path: Path) -> None:
    both, one, none = tmp_path / "both.pem", tmp_path / "one.pem", tmp_path / "none.pem"
    both.write_text(key() + pem(pki()["client"]) + key() + pem(pki()["ca"]), encoding="ascii")
    one.write_text(pem(pki()["listener"]), encoding="ascii")
    none.write_text("nothing\n", encoding="ascii")
    paths = [str(both), str(tmp_path / "missing.pem"), str(none), str(one)]
    done = subprocess.run([*files.COMMAND, *paths], capture_output=True, text=True, check=False)
    assert "PRIVATE" not in done.stdout
    read = files.read(done.stdout)
    assert set(read) == {str(both), str(one)}
    assert files.fingerprints(read) == {str(both): facts(pem(pki()["client"]))["sha256"], str(one): facts(pem(pki()["listener"]))["sha256"]}


def test_a_line_of_base64_is_no_path() -> None:
    text = "-----BEGIN CERTIFICATE-----\nAAAA\n/BBB\n-----END CERTIFICATE-----\n"
    assert files.read(f"/a\n{text}/b\n{text}") == {"/a": text, "/b": text}


def test_no_key_is_among_the_files_to_read() -> None:
    paths = files.paths(routes(), TLS_DIR)
    assert paths
    assert not [path for path in paths if "key" in path]


@pytest.mark.parametrize(
    "text", ["", "garbage", "/a\n-----BEGIN CERTIFICATE-----\nAAAA\n", "/a\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_can_not_be_read_is_left_out(text: str) -> None:
    assert files.fingerprints(files.read(text)) == {}


def test_clients_trust_the_ca_that_signed_and_no_other() -> None:
    paths = public_files(routes()[0], TLS_DIR)
    ca, public = pem(pki()["ca"]), pem(pki()["public"])
    shop = routes()[:1]
    assert files.trust(shop, {paths["listener"]: pem(pki()["listener"]), paths["listener_ca"]: public}, TLS_DIR) == {"shop": public}
    assert files.trust(shop, {paths["listener"]: pem(pki()["gateway"]), paths["gateway_ca"]: ca}, TLS_DIR) == {"shop": ca}
    assert files.trust(shop, {paths["listener"]: pem(pki()["listener"]), paths["gateway_ca"]: ca}, TLS_DIR) == {}
    assert files.trust(shop, {}, TLS_DIR, given="PEM") == {"shop": "PEM"}


def test_of_a_chain_the_leaf_is_shown_and_of_a_bundle_every_ca() -> None:
    paths = public_files(routes()[1], TLS_DIR)
    texts = {paths["client"]: pem(pki()["client"]) + pem(pki()["ca"]), paths["gateway_ca"]: pem(pki()["ca"]) + pem(pki()["public"])}
    entries = files.certificates(routes()[1:], "vm", texts, TLS_DIR)
    assert sorted(entry["use"] for entry in entries) == ["nginx shows the gateway", *["nginx verifies the gateway with"] * 2]
    assert entries[0]["at"][0].startswith("vm:/")


DUMP = """nginx version: nginx/1.26.3
# configuration file /etc/nginx/nginx.conf:
http {
  upstream edge_1 { server 198.18.0.1:30443; server [2001:db8::1]:30443; keepalive 64; }
  server {
    listen 443 ssl;
    server_name shop.example.com;
    location / {
      proxy_pass https://edge_1;
      proxy_ssl_server_name on; proxy_ssl_name shop.example.com;
      proxy_ssl_verify on; proxy_ssl_verify_depth 3; proxy_ssl_trusted_certificate /etc/edgemesh/tls/edgemesh/edge-ca/ca.crt;
      proxy_ssl_certificate tls/client.crt; proxy_ssl_certificate_key tls/client.key;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
    }
  }
}
"""


def test_nginxs_own_configuration_is_read_as_nginx_reads_it() -> None:
    found = configured.read(routes()[:1], DUMP)
    assert not found.unknown
    upstream = found.upstreams["shop"]
    assert upstream.addresses == ("198.18.0.1:30443", "[2001:db8::1]:30443")
    assert (upstream.sni, upstream.name, upstream.verify, upstream.verify_depth) == ("shop.example.com", "shop.example.com", True, 3)
    assert upstream.ca_file == "/etc/edgemesh/tls/edgemesh/edge-ca/ca.crt"
    assert (upstream.cert_file, upstream.key_file) == ("/etc/nginx/tls/client.crt", "/etc/nginx/tls/client.key")
    assert (upstream.http_version, upstream.host) == ("1.1", "shop.example.com")


@pytest.mark.parametrize(
    ("dump", "reason"),
    [
        ("", "could not be run"),
        ("bash: nginx: not found", "could not be run"),
        (DUMP.replace("shop.example.com", "other.example.com"), "no server of nginx"),
        (DUMP.replace("proxy_pass https://edge_1;", "return 204;"), "nginx itself answers"),
        (DUMP.replace("https://edge_1", "http://edge_1"), "in plaintext"),
        ("nginx version: nginx/1.26.3\n# configuration file /etc/nginx/nginx.conf:\nhttp {", ""),
    ],
)
def test_why_there_is_nothing_to_read_is_said(dump: str, reason: str) -> None:
    found = configured.read(routes()[:1], dump)
    assert not found.upstreams
    assert reason in found.unknown["shop"]


def test_what_was_changed_by_hand_shows() -> None:
    dump = DUMP.replace("proxy_ssl_server_name on;", "").replace("$host", "$proxy_host")
    upstream = configured.read(routes()[:1], dump).upstreams["shop"]
    assert upstream.sni == ""
    assert upstream.host == "edge_1"


def test_where_tls_is_passed_on_the_routes_own_ca_vouches_for_what_clients_see() -> None:
    passed, ca = [with_listen(routes()[0], mode="passthrough", certificate=None)], pem(pki()["ca"])
    path = public_files(passed[0], TLS_DIR)["gateway_ca"]
    assert files.trust(passed, {path: ca}, TLS_DIR) == {"shop": ca}
    assert files.trust(passed, {path: ca}, TLS_DIR, given="PEM") == {"shop": "PEM"}
    assert files.trust(passed, {}, TLS_DIR) == {}, "left to the client's system's CAs"
