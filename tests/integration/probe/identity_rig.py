# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway that says of every request on which connection, with which server name and as whom it arrived.

A real Envoy with four TLS listeners: ``open`` asks for a client certificate without insisting, ``strict`` insists, ``second`` is another
gateway with a certificate of another CA, and ``hosts`` has a filter chain with routes of its own for each server name, as Istio's has, so a
request on another host's connection gets 404. Two CAs are trusted for clients. Nothing but nginx keeps identities apart at the first three.
"""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probe_pki import CLIENT, issue
from probe_rig import TYPE, Gateway, Nginx, address, cluster

from tests.nginx_releases import VERSIONS, program
from tests.ports import free_port

CLIENTS = {"alice": "client-ca", "bob": "client-ca", "carol": "other-client-ca"}
HOSTS = tuple(f"{letter}.mesh.example" for letter in "abcdef")


@dataclass(frozen=True)
class Seen:
    """One request as it arrived at the gateway; only the status where it did not."""

    status: int
    client: str = ""
    sni: str = ""
    connection: str = ""
    listener: str = ""


@dataclass
class IdentityGateway(Gateway):
    """See above. ``tls`` is the listener ``open``."""

    strict: int = field(default_factory=free_port)
    second: int = field(default_factory=free_port)
    hosts: int = field(default_factory=free_port)

    @property
    def ports(self) -> tuple[int, ...]:
        return self.tls, self.strict, self.second, self.hosts

    def make_certificates(self) -> None:
        pki = self.pairs
        for name in ("ca", "other-ca", "client-ca", "other-client-ca"):
            pki[name] = issue(name, ca=True).write(self.folder, name)
        (self.folder / "client-cas.crt").write_text(pki["client-ca"].pem + pki["other-client-ca"].pem)
        (self.folder / "both-cas.crt").write_text(pki["ca"].pem + pki["other-ca"].pem)
        for name, authority in {"server": "ca", "second": "other-ca"}.items():
            pki[name] = issue(name, pki[authority], names=["*.mesh.example"]).write(self.folder, name)
        for name, authority in CLIENTS.items():
            pki[name] = issue(name, pki[authority], names=[f"{name}.example.com"], usage=CLIENT).write(self.folder, name)

    def handshakes(self) -> int:
        """TLS handshakes so far, resumed ones too."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/stats?filter=ssl.handshake$", timeout=60) as answer:
            return sum(int(line.rpartition(":")[2]) for line in answer.read().decode().splitlines() if line.startswith("listener."))

    # --- Envoy's configuration

    def config(self) -> dict[str, Any]:
        inspector = {"name": "tls", "typed_config": {"@type": f"{TYPE}.extensions.filters.listener.tls_inspector.v3.TlsInspector"}}
        port = self.backend.server_address[1] if self.backend else 0

        def listener(name: str, at: int, chains: list[dict[str, Any]]) -> dict[str, Any]:
            return {"name": name, "address": address(at), "listener_filters": [inspector], "filter_chains": chains}

        return {
            "admin": {"address": address(self.admin)},
            "static_resources": {
                "listeners": [
                    listener("open", self.tls, [self._chain_of("open", "server", required=False)]),
                    listener("strict", self.strict, [self._chain_of("strict", "server", required=True)]),
                    listener("second", self.second, [self._chain_of("second", "second", required=False)]),
                    listener("hosts", self.hosts, [self._chain_of("hosts", "server", required=False, host=host) for host in HOSTS]),
                ],
                "clusters": [cluster("app", port)],
            },
        }

    def _chain_of(self, listener: str, cert: str, *, required: bool, host: str = "") -> dict[str, Any]:
        common = {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [
                {"certificate_chain": {"filename": self.path(f"{cert}.crt")}, "private_key": {"filename": self.path(f"{cert}.key")}}
            ],
            "validation_context": {"trusted_ca": {"filename": self.path("client-cas.crt")}},
        }
        context = {
            "@type": f"{TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": required,
            "common_tls_context": common,
        }
        return {
            **({"filter_chain_match": {"server_names": [host]}} if host else {}),
            "filters": [_connection_manager(listener, host)],
            "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
        }


def _connection_manager(listener: str, host: str) -> dict[str, Any]:
    """Answers by itself with what it knows of the connection, but for /echo, which shows the app what Istio's gateway shows it."""
    shown = {
        "x-client": "%DOWNSTREAM_PEER_SUBJECT%",
        "x-sni": "%REQUESTED_SERVER_NAME%",
        "x-connection": "%CONNECTION_ID%",
        "x-listener": listener,
    }
    added = [{"header": {"key": key, "value": value}, "keep_empty_value": True} for key, value in shown.items()]
    routes = [
        {"match": {"prefix": "/echo"}, "route": {"cluster": "app"}},
        {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "direct"}}},
    ]
    domains = [host, f"{host}:*"] if host else ["*"]
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPE}.extensions.filters.http.router.v3.Router"}}
    return {
        "name": "hcm",
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": listener,
            "server_name": "istio-envoy",
            "forward_client_cert_details": "SANITIZE_SET",
            "set_current_client_cert_details": {"subject": True, "dns": True, "uri": True},
            "http_filters": [router],
            "route_config": {
                "response_headers_to_add": added,
                "virtual_hosts": [{"name": "own", "domains": domains, "routes": routes}],
            },
        },
    }


def ask(port: int, requests: list[tuple[str, str]], method: str = "GET") -> list[Seen]:
    """Requests, (host, path) each, one after the other over one connection to nginx, so that one worker answers them all."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    found = []
    try:
        for host, path in requests:
            connection.request(method, path, headers={"Host": host})
            answer = connection.getresponse()
            answer.read()
            said = {name: answer.getheader(f"x-{name}", "") for name in ("client", "sni", "connection", "listener")}
            said["client"] = said["client"].removeprefix("CN=").replace("-", "")
            found.append(Seen(answer.status, **said))
    finally:
        connection.close()
    return found


@contextmanager
def running(folder: Path, text: str, release: str, workers: int = 1) -> Iterator[Nginx]:
    """nginx of a release with this in its http block, {port} being ours."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    with Nginx(folder / str(port), text.replace("{port}", str(port)), port, program=program(release), workers=workers) as nginx:
        assert f"nginx/{VERSIONS[release]}." in nginx.dump()
        yield nginx
