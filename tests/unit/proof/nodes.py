# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of the small world: what a gateway, an app and an nginx show to who connects."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.serialization import Encoding

from plugins.module_utils._probe import spec
from plugins.module_utils._probe.observation import Failure, HttpSeen, Observation, TlsSeen
from plugins.module_utils._proof.model import WEBSOCKET_ACCEPT
from plugins.module_utils._proof.vm_nginx.machine import Upstream
from plugins.module_utils._proof.vm_nginx.material import public_files
from plugins.module_utils._routes.schema import Route
from plugins.module_utils._x509.chain import verify
from plugins.module_utils._x509.facts import facts
from tests.unit.proof.materials import pem, pki

TLS_DIR = "/etc/edgemesh/tls"
GATEWAY = "198.18.0.1:30443"
_CIPHER = "TLS_AES_256_GCM_SHA384"


def session(seen: Observation, leaf: str, *, alpn: str = "", requested: bool = False, client: str = "") -> None:
    """A TLS session in which ``leaf`` was shown."""
    seen.times["tls_handshake"] = 2.4
    der = base64.b64encode(pki()[leaf].certs[0].public_bytes(Encoding.DER)).decode()
    shown = ["".join(client.splitlines()[1:-1])] if client else []
    seen.tls = TlsSeen("1.3", _CIPHER, alpn, [der], "chain", requested, [], shown, "OpenSSL 3.0.19")


def cut(seen: Observation, phase: str, alert: int, text: str) -> None:
    """A refusal by a TLS alert, before there was a session."""
    seen.tls = TlsSeen()
    seen.failure = Failure(phase, "alert", alert, text, text)


@dataclass
class App:
    """An app that shows what it received, where it is asked to."""

    echo_path: str = "/headers"
    websocket_path: str = "/websocket/echo"

    def answer(self, seen: HttpSeen, http: spec.Http, headers: dict[str, str], forwarded: str, client: str) -> None:
        """Behind its sidecar."""
        if http.path == self.echo_path:
            seen.body = self._echo(http, headers, forwarded, client)
        if http.path == self.websocket_path and headers.get("upgrade") == "websocket":
            seen.status = 101
            seen.headers["sec-websocket-accept"] = WEBSOCKET_ACCEPT

    def _echo(self, http: spec.Http, headers: dict[str, str], forwarded: str, client: str) -> str:
        gateway = "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway"
        mesh = f'By=spiffe://cluster.local/ns/shop/sa/web;Hash={"ab" * 32};Subject="";URI={gateway}'
        own = f'Hash={facts(client)["sha256"]};Subject="CN=edge.example.com";URI=;DNS=edge.example.com' if client else ""
        identity = ",".join(filter(None, [own or headers.get("x-forwarded-client-cert", ""), mesh]))
        shown = {
            "Host": http.host,
            "X-Forwarded-For": forwarded,
            "X-Forwarded-Client-Cert": identity,
            "X-Forwarded-Proto": headers.get("x-forwarded-proto", "https"),
        }
        return json.dumps({"headers": {name: [value] for name, value in shown.items()}})


def app_pod(mode: str, path: spec.Path, seen: Observation) -> None:
    """Whoever connects to the app's own pod.

    :param mode: ``strict`` or ``permissive``; ``bare`` has no sidecar, ``closed`` a NetworkPolicy.
    """
    if mode == "closed":
        seen.failure = Failure("tcp", "timeout", text="timed out")
    elif path.tls is None:
        seen.times["http"] = 0.4
        if mode == "strict":
            seen.failure = Failure("http", "reset", text="Connection reset by peer")
        else:
            seen.http = HttpSeen(200, "1.1", "OK", {})
    elif mode == "bare":
        seen.tls = TlsSeen()
        seen.failure = Failure("tls_handshake", "reset", text="Connection reset by peer")
    else:
        session(seen, "sidecar", requested=True)
        seen.failure = Failure("tls_first_read", "alert", 116, text="TLSV13_ALERT_CERTIFICATE_REQUIRED")


@dataclass
class Gateway:
    """The mesh's gateway. ``log`` is its access log."""

    routes: list[Route]
    app: App
    log: list[str] = field(default_factory=list)

    def meet(self, path: spec.Path, seen: Observation, client: str, peer: str, received: dict[str, str] | None = None) -> None:
        """Whoever connects.

        :param client: PEM of the certificate that is shown.
        :param peer: where it comes from.
        :param received: the headers, where they aren't the request's own.
        """
        if path.tls is None:
            seen.times["http"] = 0.4
            seen.failure = Failure("http", "reset", text="Connection reset by peer")
            return
        route = next((route for route in self.routes if route.upstream_tls.server_name == path.tls.sni), None)
        if route is None:
            seen.tls = TlsSeen()
            seen.failure = Failure("tls_handshake", "reset", text="Connection reset by peer")
            return
        mutual = route.upstream_tls.mode == "mutual"
        session(seen, "gateway", requested=mutual, client=client)
        good = client and verify(client, pem(pki()["ca"]), rules="envoy", purpose="client").ok
        if mutual and not good:
            foreign = bool(client) or bool(path.tls.client)
            text = "TLSV1_ALERT_UNKNOWN_CA" if foreign else "TLSV13_ALERT_CERTIFICATE_REQUIRED"
            seen.failure = Failure("tls_first_read", "alert", 48 if foreign else 116, text=text)
        elif path.http:
            headers = {name.lower(): value for name, value in (path.http.headers if received is None else received).items()}
            self._answer(path.http, path.tls.sni, seen, route, client if mutual else "", peer, headers)

    def _answer(self, http: spec.Http, sni: str, seen: Observation, route: Route, client: str, peer: str, headers: dict[str, str]) -> None:
        seen.times["http"] = 3.1
        if http.version == "1.0":
            seen.http = HttpSeen(426, "1.1", "Upgrade Required", {"server": "istio-envoy"})
            return
        if http.host != route.host:
            seen.http = HttpSeen(404, "1.1", "Not Found", {"server": "istio-envoy"})
            return
        forwarded = ",".join(filter(None, [headers.get("x-forwarded-for", "").replace(", ", ","), peer]))
        agent, line = headers.get("user-agent", "-"), f"{http.method} {http.path} HTTP/{http.version}"
        self.log.append(
            f'[{seen.started}] "{line}" 200 - via_upstream - "-" 0 2 3 2 "{forwarded}" "{agent}" "6f1c" "{http.host}" "198.18.64.9:8080" '
            f"outbound|8080||web.shop.svc.cluster.local 198.18.64.7:41234 198.18.64.7:8443 {peer}:51844 {sni} -"
        )
        seen.http = HttpSeen(200, "1.1", "OK", {"server": "istio-envoy", "x-envoy-upstream-service-time": "2"})
        self.app.answer(seen.http, http, headers, forwarded, client)


@dataclass
class Settings:
    """One VM's nginx for one route: settings as ``nginx -T`` has them. Change one to break it by hand."""

    route: Route
    sends_sni: bool = True
    server_name: str = ""
    verify: bool = True
    verify_depth: int = 3
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    http_version: str = "1.1"
    host: str = ""
    forwarded_for: str = "$remote_addr"
    clears_identity: bool = True

    def __post_init__(self) -> None:
        self.server_name = self.server_name or self.route.upstream_tls.server_name
        self.host = self.host or self.route.host
        files = public_files(self.route, TLS_DIR)
        self.ca_file = self.ca_file or files["gateway_ca"]
        self.cert_file = self.cert_file or files["client"]
        self.key_file = self.key_file or files["client"].replace(".crt", ".key")

    def upstream(self) -> Upstream:
        """As the plan takes it."""
        return Upstream(
            (GATEWAY,),
            self.server_name if self.sends_sni else "",
            self.server_name,
            self.verify,
            self.verify_depth,
            self.ca_file,
            self.cert_file,
            self.key_file,
            self.http_version,
            self.host,
        )


@dataclass
class Nginx:
    """A VM's nginx.

    :param settings: by route name.
    :param file: PEM of a file on the VM, "" for none.
    """

    address: str
    settings: dict[str, Settings]
    gateway: Gateway
    file: Callable[[str], str]
    curl: bool = True

    def meet(self, path: spec.Path, seen: Observation, client: str) -> None:
        """Whoever connects.

        :param client: where it comes from.
        """
        if path.tls is None:
            self._plain(path, seen)
        elif path.tls.sni not in {host for each in self.settings.values() for host in each.route.hosts}:
            cut(seen, "tls_handshake", 112, "TLSV1_UNRECOGNIZED_NAME")
        elif path.tls.max_version == "1.1":
            cut(seen, "tls_handshake", 70, "TLSV1_ALERT_PROTOCOL_VERSION")
        else:
            session(seen, "listener", alpn="h2" if "h2" in path.tls.alpn else "")
            nginx = next((each for each in self.settings.values() if path.http and each.route.host == path.http.host), None)
            if path.http and path.http.version == "2" and not self.curl:
                seen.not_tested["http"] = "there is no curl on this host to speak HTTP/2"
            elif path.http and nginx:
                self._pass_on(nginx, path.http, seen, client)

    def _plain(self, path: spec.Path, seen: Observation) -> None:
        http = path.http
        seen.times["http"] = 0.5
        if path.port == 443:
            said = "The plain HTTP request was sent to HTTPS port<center>nginx</center>"
            seen.http = HttpSeen(400, "1.1", "Bad Request", {"server": "nginx"}, said)
        elif http and http.path.startswith("/.well-known/"):
            seen.http = HttpSeen(404, "1.1", "Not Found", {"server": "nginx"}, "<center>nginx</center>")
        elif http:
            seen.http = HttpSeen(301, "1.1", "Moved Permanently", {"server": "nginx", "location": f"https://{http.host}{http.path}"})

    def _pass_on(self, nginx: Settings, http: spec.Http, seen: Observation, address: str) -> None:
        """nginx's own connection to the gateway, with nginx's own settings."""
        claimed = http.headers.get("X-Forwarded-For", "")
        forwarded = nginx.forwarded_for.replace("$remote_addr", address).replace("$http_x_forwarded_for", claimed)
        received = {**http.headers, "X-Forwarded-For": forwarded, "X-Forwarded-Proto": "https"}
        if nginx.clears_identity:
            received.pop("X-Forwarded-Client-Cert", None)
        sni = nginx.server_name if nginx.sends_sni else ""
        request = spec.Http(nginx.http_version, http.method, http.path, nginx.host, received)
        upstream = spec.Path("nginx", "198.18.0.1", 30443, tls=spec.Tls(sni=sni), http=request)
        inner = Observation(started=seen.started, times={})
        self.gateway.meet(upstream, inner, self.file(nginx.cert_file), self.address, received)
        seen.times["http"] = 5.2
        if inner.http is None or not self._trusts(nginx, inner):
            said = "<center><h1>502 Bad Gateway</h1></center><center>nginx</center>"
            seen.http = HttpSeen(502, "1.1", "Bad Gateway", {"server": "nginx"}, said)
            return
        seen.http = inner.http
        seen.http.version = http.version
        seen.http.headers["server"] = "nginx"
        if nginx.route.listen.http3:
            seen.http.headers["alt-svc"] = 'h3=":443"; ma=86400'

    def _trusts(self, nginx: Settings, inner: Observation) -> bool:
        if not nginx.verify:
            return True
        chain = inner.tls.chain if inner.tls else []
        return bool(chain) and verify([base64.b64decode(chain[0])], self.file(nginx.ca_file), name=nginx.server_name).ok
