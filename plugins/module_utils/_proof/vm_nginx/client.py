# SPDX-License-Identifier: GPL-3.0-or-later
"""The proofs from a client through a VM's nginx."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

from ..._probe.spec import Expect, Http, Path, Tls
from ..._routes.schema import Route
from ..model import CALLED_UPSTREAM, FORGED_ADDRESS, FORGED_IDENTITY, NOBODY, WEBSOCKET_KEY, Proof, user_agent
from .machine import Given, Machine
from .material import client_certificate
from .planner import RoutePlan, refused


class ClientPlan(RoutePlan):
    """From a client through the VM's nginx to the app."""

    def __init__(self, route: Route, machine: Machine, given: Given, client: str) -> None:
        super().__init__(route, machine, given, client, given.here)
        self.host, self.status = route.host, route.probe.status
        self.tls: Optional[Tls] = None
        if self.listen.tls:
            trust = machine.trust.get(route.name, "")
            self.tls = Tls(self.host, self.host, ca_file="" if trust else given.client_ca_file, ca_pem=trust)

    def proofs(self) -> list[Proof]:
        """All of them."""
        if self.tls:
            self._listener(self.tls)
        self._unknown_host()
        self._plain_port()
        self._path()
        if self.http_at_gateway and not self.passes:
            self._received()
        return self.found

    def _probe(
        self, tls: Optional[Tls], http: Optional[Http] = None, expect: Expect = Path.expect, port: int = 0, consecutive: int = 1
    ) -> Path:
        port = port or self.listen.port
        return Path(self.name, self.given.address, port, tls=tls, http=http, consecutive=consecutive, expect=expect)

    def _listener(self, tls: Tls) -> None:
        offered = self._probe(replace(tls, alpn=("h2", "http/1.1")))
        self.add("listener.certificate", f"chain good for {self.host}", offered)
        if self.listen.http2:
            self.add("listener.http2", "ALPN h2", offered, shared="listener.certificate", alpn="h2")
        foreign = replace(tls, ca_pem=self.given.foreign_ca)
        self.add("listener.foreign_ca", "chain is not good", self._probe(foreign, expect=refused("WRONG_TRUST_ANCHOR")))
        elsewhere = replace(tls, verify_name=NOBODY)
        self.add("listener.wrong_name", f"not good for {NOBODY}", self._probe(elsewhere, expect=refused("UPSTREAM_NAME_MISMATCH")))
        old = Tls(self.host, rules="none", min_version="1.1", max_version="1.1")
        self.add("listener.old_tls", "refused", self._probe(old, expect=refused("TLS_VERSION_GAP")))
        plaintext = self._probe(None, self.request, refused("PLAINTEXT_TO_TLS_PORT", "HTTP_NO_ANSWER"))
        self.add("listener.plaintext", "HTTP 400, or cut off", plaintext)

    def _unknown_host(self) -> None:
        probe = self._probe(Tls(NOBODY, rules="none") if self.tls else None, replace(self.request, host=NOBODY))
        control = "listener.certificate" if self.tls else "path.answer"
        self.add("listener.unknown_host", "refused, or an error page", probe, control=control)

    def _plain_port(self) -> None:
        if not self.tls:
            return
        port, tls_port = self.listen.http_port, self.listen.port
        if self.listen.redirect_http:
            url = f"https://{self.host}{'' if tls_port == 443 else f':{tls_port}'}/edgemesh-verify"
            request = replace(self.request, method="GET", path="/edgemesh-verify")
            self.add("listener.redirect", f"HTTP 301 to {url}", self._probe(None, request, Expect(status=(301,)), port), location=url)
        if self.listen.acme_webroot:
            request = replace(self.request, method="GET", path=f"/.well-known/acme-challenge/edgemesh-verify-{self.given.run}")
            self.add("listener.acme", "HTTP 404 by nginx itself", self._probe(None, request, Expect(status=(404,)), port))

    def _path(self) -> None:
        name = user_agent(self.given.run, self.id("path.answer"))
        answer = self._probe(self.tls, replace(self.request, headers={"User-Agent": name}), self.good)
        self.add("path.answer", f"HTTP {self.status}", answer, control=None if self.tls else "")
        if self.listen.http3:
            offer = f'h3=":{self.listen.port}"'
            self.add("listener.http3", f"Alt-Svc: {offer}", answer, shared="path.answer", offer=offer)
        if self.http_at_gateway:
            self.add("path.mesh", f"{CALLED_UPSTREAM} present", answer, shared="path.answer", header=CALLED_UPSTREAM)
        if self.http_at_gateway and not self.passes:
            sni = self.upstream.server_name
            protocol = "HTTP/2" if self.route.requests(self.request.path).protocol == "grpc" else "HTTP/1.1"
            expected = f"{protocol}, SNI {sni}, X-Forwarded-For = client"
            wanted = {"protocol": protocol, "sni": sni, "gateway": f"{self.route.gateway.namespace}/{self.route.gateway.service}"}
            self.add("path.access_log", expected, answer, shared="path.answer", user_agent=name, **wanted)
        if self.tls and self.listen.http2:
            request = self._probe(replace(self.tls, alpn=("h2",)), replace(self.request, version="2"), replace(self.good, http_version="2"))
            self.add("path.http2", f"HTTP/2 {self.status}", request)
        times = self.given.repeat
        self.add("path.repeat", f"{times} times HTTP {self.status}", self._probe(self.tls, self.request, self.good, consecutive=times))
        upgrades = self.route.requests(self.given.websocket_path or self.request.path)
        if upgrades.websocket and upgrades.protocol != "grpc":
            self._websocket()

    def _websocket(self) -> None:
        path, expected = self.given.websocket_path, "HTTP 101 with the right accept key"
        if not path:
            self.add("path.websocket", expected, None, reason="no path that takes WebSocket upgrades is named (verify_websocket_path)")
            return
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": WEBSOCKET_KEY}
        request = replace(self.request, method="GET", path=path, headers=headers)
        self.add("path.websocket", expected, self._probe(self.tls, request, Expect(status=(101,))))

    def _received(self) -> None:
        """What the app received, where it tells."""
        path, reason = self.given.echo_path, "no path where the app shows the headers that it received is named (verify_echo_path)"
        plain = forged = None
        if path:
            reason = ""
            request = replace(self.request, method="GET", path=path)
            plain = self._probe(self.tls, request)
            lies = {"X-Forwarded-For": FORGED_ADDRESS, "X-Forwarded-Client-Cert": FORGED_IDENTITY}
            forged = self._probe(self.tls, replace(request, headers=lies))
        self.add("path.client_address", "X-Forwarded-For = client", plain, reason=reason)
        if self.tls:
            self.add("path.scheme", "X-Forwarded-Proto: https", plain, shared="path.client_address", reason=reason)
        client = client_certificate(self.route, self.given.material)
        if client:
            expected = f"Hash = SHA-256 of {client.cert_file}"
            deployed = {"cert_file": client.cert_file, "sha256": self.machine.fingerprints.get(client.cert_file, "")}
            self.add("path.client_identity", expected, plain, shared="path.client_address", reason=reason, **deployed)
        self.add("mesh.mtls", "SPIFFE identities of gateway and app", plain, shared="path.client_address", reason=reason)
        self.add("path.forged_address", f"no {FORGED_ADDRESS}", forged, reason=reason, absent=FORGED_ADDRESS)
        self.add("path.forged_identity", "no forged.invalid", forged, shared="path.forged_address", reason=reason, absent="forged.invalid")
