"""A small world to plan against: a gateway, VMs with nginx, an echo app. What it shows goes through edge_probe's own judge.

It behaves as the real things were seen to behave; the lab's tests hold the same plans against the real things.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from plugins.module_utils._address import split
from plugins.module_utils._probe import spec
from plugins.module_utils._probe.judge import Trust, result
from plugins.module_utils._probe.observation import Failure, HttpSeen, Observation, TlsSeen
from plugins.module_utils._proof.judge import Evidence
from plugins.module_utils._proof.model import WEBSOCKET_ACCEPT, Machine, Options, Turn, Upstream
from plugins.module_utils._proof.report import Run, report
from plugins.module_utils._proof.vm_nginx import files
from plugins.module_utils._proof.vm_nginx.material import public_files
from plugins.module_utils._proof.vm_nginx.plan import plan, probes
from plugins.module_utils._routes.load import load_dicts as load
from plugins.module_utils._x509.chain import verify
from plugins.module_utils._x509.facts import facts
from plugins.module_utils._x509.sign import new_ca, new_leaf

NOW = datetime.now(timezone.utc).replace(microsecond=0)
TLS_DIR = "/etc/edgemesh/tls"
CLIENTS = {"client-1": "198.18.0.101", "client-2": "198.18.0.102"}
VMS = {"vm-deb12": "198.18.0.11", "vm-deb13": "198.18.0.12"}
GATEWAY = "198.18.0.1:30443"
#: What proof_probe is told of a VM.
PLANNED: dict[str, Any] = {
    "vm": "vm-1",
    "address": "192.0.2.11",
    "run": "r1",
    "clients": ["client"],
    "gateways": {"main": [GATEWAY]},
    "material": TLS_DIR,
    "front_ca": "",
    "client_ca_file": "/etc/ssl/certs/ca-certificates.crt",
    "repeat": 10,
    "echo_path": "",
    "websocket_path": "",
}
_CIPHER = "TLS_AES_256_GCM_SHA384"


def pem(material: Any) -> str:
    """The certificates of a material, leaf first."""
    return "".join(cert.public_bytes(Encoding.PEM).decode() for cert in material.certs)


@lru_cache(maxsize=1)
def pki() -> dict[str, Any]:
    """Two CAs that matter and one that doesn't, and leaves."""
    ca, public, foreign = new_ca("edgemesh private CA", 3650), new_ca("edgemesh public CA", 3650), new_ca("nobody", 1)
    return {
        "ca": ca,
        "public": public,
        "foreign": foreign,
        "gateway": new_leaf(ca, ["shop.example.com", "pay.example.com"], "server", 90),
        "front": new_leaf(public, ["shop.example.com", "pay.example.com"], "server", 90),
        "client": new_leaf(ca, ["edge.example.com"], "client", 30),
    }


def routes(**changes: Any) -> list[dict[str, Any]]:
    """shop (SIMPLE) and pay (MUTUAL) as the routes filter makes them; ``changes`` go into both."""
    shop = {
        "name": "shop",
        "host": "shop.example.com",
        "listen": {"certificate": "shop-public", "acme_webroot": "/var/www/acme", "http3": True},
        "paths": [{"path": "/", "service": {"namespace": "shop", "name": "web", "port": 8080}}],
    }
    pay = {
        "name": "pay",
        "host": "pay.example.com",
        "listen": {"certificate": "pay-public"},
        "upstream_tls": {"mode": "mutual", "client_certificate": "edge-client", "client_names": ["edge.example.com"]},
        "paths": [{"path": "/", "service": {"namespace": "shop", "name": "web", "port": 8080}}],
    }
    return load([{**entry, **changes} for entry in (shop, pay)])


@dataclass
class Nginx:
    """One VM's nginx for one route: settings as ``nginx -T`` has them. Change one to break it by hand."""

    route: dict[str, Any]
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
        self.server_name = self.server_name or self.route["upstream_tls"]["server_name"]
        self.host = self.host or self.route["host"]
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
class World:
    """Everything that probes may meet. ``nginx`` is by (VM, route name); ``files`` are PEM texts by (VM, path)."""

    routes: list[dict[str, Any]] = field(default_factory=routes)
    nginx: dict[tuple[str, str], Nginx] = field(default_factory=dict)
    files: dict[tuple[str, str], str] = field(default_factory=dict)
    echo_path: str = "/headers"
    websocket_path: str = "/websocket/echo"
    curl: bool = True
    check_mode: bool = False
    absent: tuple[str, ...] = ()
    minimum: dict[str, int] = field(default_factory=lambda: {"positive": 5, "negative": 6})
    #: results whose name contains this don't arrive
    drop: str = ""
    log: list[str] = field(default_factory=list)
    #: what `nginx -T` says where that isn't what runs, by VM
    configured: dict[str, dict[str, Upstream]] = field(default_factory=dict)
    requests: int = 0

    def __post_init__(self) -> None:
        for vm in VMS:
            for route in self.routes:
                self.nginx[vm, route["name"]] = Nginx(route)
                paths = public_files(route, TLS_DIR)
                made = {"front": pki()["front"], "front_ca": pki()["public"], "gateway_ca": pki()["ca"], "client": pki()["client"]}
                self.files.update({(vm, paths[use]): pem(material) for use, material in made.items() if paths[use]})

    # --- what probes see

    def observe(self, vantage: str, path: spec.Path) -> Observation:
        """One probe."""
        self.requests += 1
        source = CLIENTS.get(vantage, "127.0.0.1")
        began = (NOW + timedelta(milliseconds=37 * self.requests)).isoformat(timespec="milliseconds")
        seen = Observation(started=began, source=source, times={"dns": 0.1, "tcp": 0.3})
        vm = next((name for name, address in VMS.items() if address == path.address), "")
        if path.target not in (GATEWAY, *(f"{address}:{port}" for address in VMS.values() for port in (80, 443))):
            seen.failure = Failure("tcp", "refused", text="Connection refused")
        elif vm:
            self._at_nginx(vm, path, seen, source)
        else:
            client = self._file(vantage, path.tls.client.cert_file) if path.tls and path.tls.client and path.tls.client.cert_file else ""
            self._at_gateway(path, seen, client, VMS.get(vantage, ""))
        seen.attempts = path.consecutive
        return seen

    def _session(self, seen: Observation, leaf: str, *, alpn: str = "", requested: bool = False, client: str = "") -> None:
        seen.times["tls_handshake"] = 2.4
        der = base64.b64encode(pki()[leaf].certs[0].public_bytes(Encoding.DER)).decode()
        seen.tls = TlsSeen(
            "1.3", _CIPHER, alpn, [der], "chain", requested, [], ["".join(client.splitlines()[1:-1])] if client else [], "OpenSSL 3.0.19"
        )

    def _at_gateway(self, path: spec.Path, seen: Observation, client: str, peer: str, received: dict[str, str] | None = None) -> None:
        hosts = {route["upstream_tls"]["server_name"]: route for route in self.routes}
        if path.tls is None:
            seen.times["http"] = 0.4
            seen.failure = Failure("http", "reset", text="Connection reset by peer")
            return
        route = hosts.get(path.tls.sni)
        if route is None:
            seen.tls = TlsSeen()
            seen.failure = Failure("tls_handshake", "reset", text="Connection reset by peer")
            return
        mutual = route["upstream_tls"]["mode"] == "mutual"
        self._session(seen, "gateway", requested=mutual, client=client)
        good = client and verify(client, pem(pki()["ca"]), rules="envoy", purpose="client").ok
        if mutual and not good:
            foreign = bool(client) or bool(path.tls.client)
            seen.failure = Failure(
                "tls_first_read",
                "alert",
                48 if foreign else 116,
                text="TLSV1_ALERT_UNKNOWN_CA" if foreign else "TLSV13_ALERT_CERTIFICATE_REQUIRED",
            )
            return
        if path.http:
            self._answer_of_gateway(path, seen, route, client if mutual else "", peer, received)

    def _answer_of_gateway(
        self, path: spec.Path, seen: Observation, route: dict[str, Any], client: str, peer: str, received: dict[str, str] | None
    ) -> None:
        http = path.http
        assert http is not None
        seen.times["http"] = 3.1
        if http.version == "1.0":
            seen.http = HttpSeen(426, "1.1", "Upgrade Required", {"server": "istio-envoy"})
            return
        if http.host != route["host"]:
            seen.http = HttpSeen(404, "1.1", "Not Found", {"server": "istio-envoy"})
            return
        headers = {name.lower(): value for name, value in (http.headers if received is None else received).items()}
        forwarded = ", ".join(filter(None, [headers.get("x-forwarded-for", ""), peer])).replace(", ", ",")
        sni = path.tls.sni if path.tls else "-"
        agent, line = headers.get("user-agent", "-"), f"{http.method} {http.path} HTTP/{http.version}"
        self.log.append(
            f'[{seen.started}] "{line}" 200 - via_upstream - "-" 0 2 3 2 "{forwarded}" "{agent}" "6f1c" "{http.host}" "198.18.64.9:8080" '
            f"outbound|8080||web.shop.svc.cluster.local 198.18.64.7:41234 198.18.64.7:8443 {peer}:51844 {sni} -"
        )
        seen.http = HttpSeen(200, "1.1", "OK", {"server": "istio-envoy", "x-envoy-upstream-service-time": "2"})
        if http.path == self.echo_path:
            seen.http.body = self._echo(http, headers, forwarded, client)
        if http.path == self.websocket_path and headers.get("upgrade") == "websocket":
            seen.http.status = 101
            seen.http.headers["sec-websocket-accept"] = WEBSOCKET_ACCEPT

    def _echo(self, http: spec.Http, headers: dict[str, str], forwarded: str, client: str) -> str:
        mesh = (
            "By=spiffe://cluster.local/ns/shop/sa/web;Hash="
            + "ab" * 32
            + ';Subject="";URI=spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway'
        )
        own = f'Hash={facts(client)["sha256"]};Subject="CN=edge.example.com";URI=;DNS=edge.example.com' if client else ""
        identity = ",".join(filter(None, [own or headers.get("x-forwarded-client-cert", ""), mesh]))
        shown = {
            "Host": http.host,
            "X-Forwarded-For": forwarded,
            "X-Forwarded-Client-Cert": identity,
            "X-Forwarded-Proto": headers.get("x-forwarded-proto", "https"),
        }
        return json.dumps({"headers": {name: [value] for name, value in shown.items()}})

    def _at_nginx(self, vm: str, path: spec.Path, seen: Observation, client: str) -> None:
        http, route = path.http, next((route for route in self.routes if path.http and route["host"] == path.http.host), None)
        if path.tls is None:
            seen.times["http"] = 0.5
            if path.port == 443:
                seen.http = HttpSeen(
                    400, "1.1", "Bad Request", {"server": "nginx"}, "The plain HTTP request was sent to HTTPS port<center>nginx</center>"
                )
            elif http and http.path.startswith("/.well-known/"):
                seen.http = HttpSeen(404, "1.1", "Not Found", {"server": "nginx"}, "<center>nginx</center>")
            elif http:
                seen.http = HttpSeen(301, "1.1", "Moved Permanently", {"server": "nginx", "location": f"https://{http.host}{http.path}"})
            return
        if path.tls.sni not in {host for each in self.routes for host in each["hosts"]}:
            seen.tls = TlsSeen()
            seen.failure = Failure("tls_handshake", "alert", 112, text="TLSV1_UNRECOGNIZED_NAME")
            return
        if path.tls.max_version == "1.1":
            seen.tls = TlsSeen()
            seen.failure = Failure("tls_handshake", "alert", 70, "TLSV1_ALERT_PROTOCOL_VERSION", "TLSV1_ALERT_PROTOCOL_VERSION")
            return
        self._session(seen, "front", alpn="h2" if "h2" in path.tls.alpn else "")
        if http and http.version == "2" and not self.curl:
            seen.not_tested["http"] = "there is no curl on this host to speak HTTP/2"
        elif http and route:
            self._pass_on(self.nginx[vm, route["name"]], vm, http, seen, client)

    def _pass_on(self, nginx: Nginx, vm: str, http: spec.Http, seen: Observation, address: str) -> None:
        """nginx's own connection to the gateway, with nginx's own settings."""
        received = dict(http.headers)
        received["X-Forwarded-For"] = nginx.forwarded_for.replace("$remote_addr", address).replace(
            "$http_x_forwarded_for", http.headers.get("X-Forwarded-For", "")
        )
        received["X-Forwarded-Proto"] = "https"
        if nginx.clears_identity:
            received.pop("X-Forwarded-Client-Cert", None)
        client = self._file(vm, nginx.cert_file) if nginx.cert_file else ""
        sni = nginx.server_name if nginx.sends_sni else ""
        request = spec.Http(nginx.http_version, http.method, http.path, nginx.host, received)
        upstream = spec.Path("nginx", "198.18.0.1", 30443, tls=spec.Tls(sni=sni), http=request)
        inner = Observation(started=seen.started, times={})
        self._at_gateway(upstream, inner, client, VMS[vm], received)
        trusted = not nginx.verify or (inner.tls and inner.tls.chain and verify(
            [base64.b64decode(inner.tls.chain[0])], self._file(vm, nginx.ca_file), name=nginx.server_name).ok)  # fmt: skip
        seen.times["http"] = 5.2
        if inner.http is None or not trusted:
            seen.http = HttpSeen(
                502, "1.1", "Bad Gateway", {"server": "nginx"}, "<center><h1>502 Bad Gateway</h1></center><center>nginx</center>"
            )
            return
        seen.http = inner.http
        seen.http.version = http.version
        seen.http.headers["server"] = "nginx"
        if nginx.route["listen"]["http3"]:
            seen.http.headers["alt-svc"] = 'h3=":443"; ma=86400'

    def _file(self, vm: str, path: str) -> str:
        return self.files.get((vm, path), "")

    # --- a whole run

    def machines(self) -> list[Machine]:
        """The VMs as the plan takes them."""
        return [
            Machine(
                vm,
                address,
                {"main": [GATEWAY]},
                self.configured.get(vm) or {route["name"]: self.nginx[vm, route["name"]].upstream() for route in self.routes},
                turns={route["name"]: self._turns(vm, route) for route in self.routes} if self.echo_path else {},
                trust=files.trust(self.routes, {path: text for (owner, path), text in self.files.items() if owner == vm}, TLS_DIR),
            )
            for vm, address in VMS.items()
        ]

    def _turns(self, vm: str, own: dict[str, Any]) -> list[Turn]:
        """What the plan finds in ``nginx -T``: every other route goes to the same place with another server name."""

        def through(route: dict[str, Any]) -> dict[str, Any]:
            http = {"host": route["host"], "path": self.echo_path}
            return {"address": VMS[vm], "port": 443, "tls": {"sni": route["host"], "rules": "none"}, "http": http}

        def alone(route: dict[str, Any]) -> dict[str, Any]:
            nginx, (address, port) = self.nginx[vm, route["name"]], split(GATEWAY)
            client = {"client": {"cert_file": nginx.cert_file, "key_file": nginx.key_file}} if nginx.cert_file else {}
            http = {"host": nginx.host, "path": self.echo_path}
            tls = {"sni": nginx.server_name if nginx.sends_sni else "", "rules": "none", **client}
            return {"address": address, "port": port, "tls": tls, "http": http}

        found = []
        for other in self.routes:
            if other is not own:
                for check, first, then in (("path.own_identity", other, own), ("path.lent_identity", own, other)):
                    target = f"{then['host']} after {first['host']}"
                    found.append(Turn(check, target, (then["host"], self.echo_path), through(then), alone(then)))
        return found

    def run(self, options: Options | None = None) -> dict[str, Any]:
        """Plan, probe, report."""
        options = options or Options("r1", pem(pki()["foreign"]), echo_path=self.echo_path, websocket_path=self.websocket_path)
        planned = [proof for machine in self.machines() for proof in plan(self.routes, machine, list(CLIENTS), options)]
        results = []
        for vantage, entries in probes(planned).items():
            for entry in entries:
                path = spec.path(entry)
                trust = Trust(path.tls.ca_pem or self._file(vantage, path.tls.ca_file)) if path.tls else Trust()
                seen = self.observe(vantage, path)
                if not self.drop or self.drop not in path.name:
                    results.append(result(path, [seen], trust, vantage))
        by_vm = {vm: {path: text for (owner, path), text in self.files.items() if owner == vm} for vm in VMS}
        evidence = Evidence(
            {vm: files.fingerprints(texts) for vm, texts in by_vm.items()},
            self.log,
        )
        run = Run("0.1.0", "r1", self.check_mode, self.absent, self.minimum)
        proofs = [proof.as_dict() for proof in planned]
        return report(run, self.routes, proofs, results, evidence, files.certificates(self.routes, by_vm, TLS_DIR))
