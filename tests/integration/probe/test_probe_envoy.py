# SPDX-License-Identifier: GPL-3.0-or-later
"""edge_probe against a real Envoy and a real nginx: each mistake is named by its code, and a healthy path by none."""

from __future__ import annotations

from typing import Any

import pytest
from probe_rig import HOST, Gateway

from plugins.module_utils._probe import edge_probe as run
from plugins.module_utils._probe import session
from plugins.module_utils._probe.foreign import foreign_certificate
from plugins.module_utils._probe.observation import Observation


def probe(gateway: Gateway, **options: Any) -> dict[str, Any]:
    """One path by the same way that the action plugin goes, without Ansible."""
    tls = options.get("tls")
    if tls is not None and "ca" in tls:
        tls["ca_file"] = gateway.path(tls.pop("ca"))
    if tls is not None and isinstance(tls.get("client"), str):
        name = tls["client"]
        tls["client"] = {"cert_file": gateway.path(f"{name}.crt"), "key_file": gateway.path(f"{name}.key")}
    foreign = foreign_certificate()

    def observe(entries: list[dict[str, Any]]) -> tuple[list[list[Observation]], dict[str, dict[str, str]]]:
        paths = session.typed(entries)
        seen = run.probe(paths, attempt_timeout=20, timeout=120, foreign=foreign)
        return [[Observation.from_dict(each) for each in of_path] for of_path in seen], run.read_ca_files(paths)

    (found,) = session.results([{"name": "x", "address": "127.0.0.1", "port": gateway.tls, **options}], observe, "here")
    return found


def at(sni: str = HOST, **tls: Any) -> dict[str, Any]:
    """TLS options with the right CA."""
    return {"sni": sni, "ca": "ca.crt", **tls}


GET = {"path": "/"}
MISTAKES: dict[str, tuple[dict[str, Any], str, str]] = {
    # the seed's ladder
    "no SNI": ({"tls": at("", verify_name=HOST), "http": {"host": HOST}}, "NO_SNI", "tls_handshake"),
    "HTTP/1.0": ({"tls": at(), "http": {"version": "1.0"}}, "HTTP10_UPSTREAM", "http"),
    "no Host": ({"tls": at(), "http": {"host": "127.0.0.1:1234"}}, "HOST_NOT_ROUTED", "http"),
    "wrong CA": ({"tls": at(ca="other-ca.crt"), "http": GET}, "WRONG_TRUST_ANCHOR", "tls_handshake"),
    "wrong name": ({"tls": at(verify_name="shop.example.org"), "http": GET}, "UPSTREAM_NAME_MISMATCH", "tls_handshake"),
    "no client certificate": ({"tls": at("mutual.example.com"), "http": GET}, "CLIENT_CERT_MISSING", "tls_first_read"),
    # further ones
    "no client certificate, TLS 1.2": ({"tls": at("mutual12.example.com"), "http": GET}, "CLIENT_CERT_MISSING", "tls_handshake"),
    "no client certificate, no request": ({"tls": at("mutual.example.com")}, "CLIENT_CERT_MISSING", "tls_first_read"),
    "foreign client": ({"tls": at("mutual.example.com", client={"foreign": True}), "http": GET}, "CLIENT_CERT_UNTRUSTED", "tls_first_read"),
    "client of another CA": ({"tls": at("mutual.example.com", client="client-foreign")}, "CLIENT_CERT_UNTRUSTED", "tls_first_read"),
    "client of another CA, 1.2": ({"tls": at("mutual12.example.com", client="client-foreign")}, "CLIENT_CERT_UNTRUSTED", "tls_handshake"),
    "client expired": ({"tls": at("mutual.example.com", client="client-expired")}, "CLIENT_CERT_EXPIRED", "tls_first_read"),
    "client without clientAuth": ({"tls": at("mutual.example.com", client="client-no-eku")}, "EKU_NO_CLIENTAUTH", "tls_first_read"),
    "client not pinned": ({"tls": at("pinned.example.com", client="client-other-name")}, "CLIENT_NAME_NOT_PINNED", "tls_first_read"),
    "client key of another": (
        {"tls": at(client={"cert_file": "client.crt", "key_file": "client-expired.key"})}, "CLIENT_CERT_UNREADABLE", "tls_handshake",
    ),
    "wrong SNI": ({"tls": at("unknown.example.org", verify_name=HOST), "http": GET}, "WRONG_SNI", "tls_handshake"),
    "server expired": ({"tls": at("expired.example.com"), "http": GET}, "SERVER_CERT_EXPIRED", "tls_handshake"),
    "server not yet valid": ({"tls": at("future.example.com"), "http": GET}, "SERVER_CERT_NOT_YET_VALID", "tls_handshake"),
    "server for clients": ({"tls": at("noeku.example.com"), "http": GET}, "EKU_NO_SERVERAUTH", "tls_handshake"),
    "SPIFFE only": ({"tls": at("spiffe.example.com"), "http": GET}, "SPIFFE_ONLY_CERT", "tls_handshake"),
    "intermediate as anchor, nginx": ({"tls": at("chained.example.com", ca="intermediate.crt")}, "TRUST_NEEDS_ROOT", "tls_handshake"),
    "verify depth 0": ({"tls": at("chained.example.com", verify_depth=0)}, "VERIFY_DEPTH", "tls_handshake"),
    "no such CA file": ({"tls": at(ca="missing.crt")}, "CA_UNREADABLE", "tls_handshake"),
    "TLS 1.2 to 1.3": ({"tls": at("tls13.example.com", max_version="1.2")}, "TLS_VERSION_GAP", "tls_handshake"),
    "TLS 1.3 to 1.2": ({"tls": at("tls12.example.com", min_version="1.3")}, "TLS_VERSION_GAP", "tls_handshake"),
    "TLS to plain": ({"port": "plain", "tls": at()}, "TLS_TO_PLAINTEXT_PORT", "tls_handshake"),
    "PROXY to who does not": ({"proxy_protocol": "v1", "tls": at()}, "PROXY_PROTOCOL_ONE_SIDED", "tls_handshake"),
    "no PROXY to who wants it": ({"port": "proxy", "tls": at()}, "PROXY_PROTOCOL_ONE_SIDED", "tls_handshake"),
    "neither PROXY nor SNI": ({"port": "proxy", "tls": at("", verify_name=HOST)}, "PROXY_PROTOCOL_ONE_SIDED", "tls_handshake"),
    "PROXY and no SNI": ({"proxy_protocol": "v1", "tls": at("", verify_name=HOST)}, "PROXY_PROTOCOL_ONE_SIDED", "tls_handshake"),
    "wrong SNI to who wants PROXY, with it": (
        {"port": "proxy", "proxy_protocol": "v1", "tls": at("unknown.example.org", verify_name=HOST)}, "WRONG_SNI", "tls_handshake",
    ),
    "plain to TLS": ({"http": {"host": HOST}}, "PLAINTEXT_TO_TLS_PORT", "http"),
    "PROXY v2 to who does not": ({"proxy_protocol": "v2", "tls": at()}, "PROXY_PROTOCOL_ONE_SIDED", "tls_handshake"),
    "refused": ({"port": "dead", "tls": at()}, "CONNECTION_REFUSED", "tcp"),
    "RBAC": ({"tls": at(), "http": {"path": "/denied"}}, "RBAC_DENIED", "policy"),
    "no endpoints": ({"tls": at(), "http": {"path": "/uh"}}, "NO_HEALTHY_UPSTREAM", "http"),
    "dead endpoint": ({"tls": at(), "http": {"path": "/uf"}}, "UPSTREAM_UNREACHABLE", "http"),
    "no cluster": ({"tls": at(), "http": {"path": "/nc"}}, "CLUSTER_NOT_FOUND", "http"),
    "no route for the path": ({"tls": at(), "http": {"path": "/nowhere"}}, "HOST_NOT_ROUTED", "http"),
    "redirect to itself": ({"tls": at(), "http": {"path": "/loop"}}, "REDIRECT_LOOP", "http"),
    "status of the app": ({"tls": at(), "http": {"path": "/status/500"}}, "UNEXPECTED_STATUS", "http"),
    "body": ({"tls": at(), "http": {"path": "/direct"}, "expect": {"body_contains": "indirect"}}, "UNEXPECTED_ANSWER", "http"),
    "expected a request for a certificate": ({"tls": at(), "expect": {"certificate_requested": True}}, "UNEXPECTED_TLS", "tls_handshake"),
    "mTLS that is optional": (
        {"tls": at("optional.example.com"), "http": GET, "expect": {"refused": True, "codes": ["CLIENT_CERT_MISSING"]}},
        "MTLS_NOT_ENFORCED", "tls_first_read",
    ),
    "foreign client where none is asked for": (
        {"tls": at(client={"foreign": True}), "http": GET, "expect": {"refused": True, "codes": ["CLIENT_CERT_UNTRUSTED"]}},
        "MTLS_NOT_ENFORCED", "tls_first_read",
    ),
    "a dead port proves no refusal": ({"port": "dead", "tls": at(), "expect": {"refused": True}}, "CONNECTION_REFUSED", "tcp"),
    "refused, but for another reason": (
        {"tls": at("mutual.example.com"), "expect": {"refused": True, "codes": ["NO_SNI"]}}, "CLIENT_CERT_MISSING", "tls_first_read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("title", MISTAKES)
def test_mistake_is_named(gateway: Gateway, title: str) -> None:
    options, code, phase = MISTAKES[title]
    options = _own(gateway, options)
    found = probe(gateway, **options)
    assert (found["ok"], found["code"], found["phase"]) == (False, code, phase), found
    assert found["sentence"]
    assert found["fix"]
    assert "{" not in found["sentence"]


HEALTHY: dict[str, dict[str, Any]] = {
    "simple": {"tls": at(), "http": GET},
    "status 418": {"tls": at(), "http": {"path": "/status/418"}, "expect": {"status": [418]}},
    "mutual": {"tls": at("mutual.example.com", client="client"), "http": GET, "expect": {"certificate_requested": True}},
    "mutual, TLS 1.2": {"tls": at("mutual12.example.com", client="client"), "http": GET, "expect": {"tls_version": "1.2"}},
    "mutual without request": {"tls": at("mutual.example.com", client="client")},
    "pinned": {"tls": at("pinned.example.com", client="client"), "http": GET},
    "optional without": {"tls": at("optional.example.com"), "http": GET},
    "optional with": {"tls": at("optional.example.com", client="client"), "http": GET},
    "chained": {"tls": at("chained.example.com"), "http": GET},
    "chained, anchor is the intermediate, Envoy's rules": {
        "tls": at("chained.example.com", ca="intermediate.crt", rules="envoy"), "http": GET,
    },
    "SPIFFE name by Envoy's rules": {
        "tls": at("spiffe.example.com", verify_name="spiffe://cluster.local/ns/istio-system/sa/gateway", rules="envoy"), "http": GET,
    },
    "HTTP/2": {"tls": at(alpn=["h2"]), "http": {"version": "2"}, "expect": {"http_version": "2"}},
    "HTTP/2 mutual": {"tls": at("mutual.example.com", client="client", alpn=["h2"]), "http": {"version": "2"}},
    "plain": {"port": "plain", "http": {"host": HOST}},
    "HTTP/1.1 keep-alive": {"tls": at(), "http": {"headers": {"Connection": "keep-alive"}}},
    "HEAD": {"tls": at(), "http": {"method": "HEAD", "path": "/direct"}},
    "PROXY v1": {"port": "proxy", "proxy_protocol": "v1", "tls": at(), "http": GET},
    "PROXY v2": {"port": "proxy", "proxy_protocol": "v2", "tls": at(), "http": GET},
    "any rules": {"tls": at(ca="other-ca.crt", rules="none"), "http": GET},
    "no CA given": {"tls": {"sni": HOST}, "http": GET},
    "wildcard SAN": {"tls": at(verify_name="other.example.com"), "http": GET},
    "five in a row": {"tls": at(), "http": GET, "consecutive": 5},
    "tls 1.3 only": {"tls": at("tls13.example.com"), "http": GET, "expect": {"tls_version": "1.3", "certificate_requested": False}},
    "echo": {
        "tls": at(), "http": {"path": "/echo", "headers": {"X-Seen": "yes"}},
        "expect": {"body_json": {"headers.x-seen": "yes", "headers.host": HOST}, "headers": {"server": "istio-envoy", "via": None}},
    },
    "refused as expected: no SNI": {"tls": at(""), "expect": {"refused": True, "codes": ["NO_SNI"]}},
    "refused as expected: no certificate": {"tls": at("mutual.example.com"), "expect": {"refused": True, "codes": ["CLIENT_CERT_MISSING"]}},
    "refused as expected: foreign": {
        "tls": at("mutual.example.com", client={"foreign": True}), "http": GET,
        "expect": {"refused": True, "codes": ["CLIENT_CERT_UNTRUSTED"]},
    },
    "refused as expected: 404": {"tls": at(), "http": {"host": "no.example"}, "expect": {"refused": True, "codes": ["HOST_NOT_ROUTED"]}},
    "refused as expected: any reason of TLS": {"tls": at("unknown.example.org"), "expect": {"refused": True}},
    "refused as expected: 403": {"tls": at(), "http": {"path": "/denied"}, "expect": {"refused": True, "phase": ["policy"]}},
}  # fmt: skip


@pytest.mark.parametrize("title", HEALTHY)
def test_healthy_path_raises_no_alarm(gateway: Gateway, title: str) -> None:
    options = _own(gateway, HEALTHY[title])
    found = probe(gateway, **options)
    assert found["ok"], found
    if not options.get("expect", {}).get("refused"):
        assert (found["code"], found["sentence"]) == ("", "")
    assert not [check for check in found["checks"] if check["status"] == "failed" and not found["code"]]


def _own(gateway: Gateway, options: dict[str, Any]) -> dict[str, Any]:
    """A copy with ports by name and files of the PKI."""
    own = {**options, **({"tls": dict(options["tls"])} if "tls" in options else {})}
    if isinstance(own.get("port"), str):
        own["port"] = getattr(gateway, own["port"])
    client = own.get("tls", {}).get("client")
    if isinstance(client, dict) and "cert_file" in client:
        own["tls"]["client"] = {key: gateway.path(name) for key, name in client.items()}
    return own
