# SPDX-License-Identifier: GPL-3.0-or-later
"""The proofs from a VM towards the gateway."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional

from ..._address import split
from ..._probe.spec import Client, Expect, Http, Path, Tls
from ..._routes.schema import Route
from ..model import CALLED_UPSTREAM, NOBODY, Proof
from .machine import Given, Machine, Upstream
from .material import client_certificate, gateway_ca
from .planner import RoutePlan, refused


class GatewayPlan(RoutePlan):
    """From the VM to one address of the gateway, with exactly what nginx is meant to use."""

    def __init__(self, route: Route, machine: Machine, given: Given, address: str) -> None:
        super().__init__(route, machine, given, given.here, address or route.gateway.name)
        self.address, self.host, self.status = address, route.host, route.probe.status
        self.ca = gateway_ca(route, given.material)
        self.client = client_certificate(route, given.material)
        # as declared, without judging the chain: a refusal is then the other side's
        name = self.upstream.server_name
        self.unjudged = self.declared = Tls(name, rules="none", client=self.client)
        if self.upstream.verify:
            self.declared = Tls(name, name, self.ca, verify_depth=self.upstream.verify_depth, client=self.client)

    def proofs(self) -> list[Proof]:
        """All of them."""
        self._positive()
        self._negative()
        if not self.passes:
            self._configured()
        return self.found

    def add(self, check: str, expected: str, probe: Optional[Path], **others: Any) -> None:
        """As for every plan; without an address nothing can be probed."""
        if not self.address:
            others["reason"] = f"no address of gateway {self.target} is known"
        super().add(check, expected, probe, **others)

    def _probe(self, tls: Optional[Tls], http: Optional[Http] = None, expect: Expect = Path.expect) -> Optional[Path]:
        if not self.address:
            return None
        before = "v1" if self.route.proxy.proxy_protocol else ""
        return Path(self.name, *split(self.address), proxy_protocol=before, tls=tls, http=http, expect=expect)

    def _positive(self) -> None:
        wanted = f"chain good for {self.upstream.server_name}" if self.upstream.verify else "a session (verification is off for this route)"
        self.add("gateway.tls", wanted, self._probe(self.declared))
        self.add("gateway.answer", f"HTTP {self.status}", self._probe(self.declared, self.request, self.good))

    def _negative(self) -> None:
        self.add("gateway.no_sni", "refused", self._probe(replace(self.unjudged, sni=""), expect=refused()))
        self.add("gateway.wrong_sni", "refused", self._probe(replace(self.unjudged, sni=NOBODY), expect=refused()))
        if self.upstream.verify:
            foreign = replace(self.declared, ca_pem=self.given.foreign_ca)
            self.add("gateway.foreign_ca", "chain is not good", self._probe(foreign, expect=refused("WRONG_TRUST_ANCHOR")))
            elsewhere = replace(self.declared, verify_name=NOBODY)
            self.add("gateway.wrong_name", f"not good for {NOBODY}", self._probe(elsewhere, expect=refused("UPSTREAM_NAME_MISMATCH")))
        if self.mutual:
            nobody, foreigner = replace(self.unjudged, client=None), replace(self.unjudged, client=Client(foreign=True))
            self.add("gateway.no_client_certificate", "refused", self._probe(nobody, expect=refused("CLIENT_CERT_MISSING")))
            shown = self._probe(foreigner, expect=refused("CLIENT_CERT_UNTRUSTED", "CLIENT_CERT_REFUSED"))
            self.add("gateway.foreign_client_certificate", "refused", shown)
        plaintext = self._probe(None, self.request, refused("PLAINTEXT_TO_TLS_PORT", "HTTP_NO_ANSWER"))
        self.add("gateway.plaintext", "cut off, or HTTP 400", plaintext)
        if self.http_at_gateway:
            self.add("gateway.http10", "HTTP 426", self._probe(self.unjudged, replace(self.request, version="1.0"), Expect(status=(426,))))
            by_itself = Expect(status=(404,), headers={CALLED_UPSTREAM: None})
            self.add("gateway.wrong_host", "HTTP 404", self._probe(self.unjudged, replace(self.request, host=NOBODY), by_itself))

    def _configured(self) -> None:
        """The declared session with one setting as nginx's configuration has it: which setting is wrong, if one is."""
        nginx = self.machine.nginx.get(self.route.name)
        if nginx is None:
            for check in self._settings():
                reason = self.machine.nginx_unknown.get(self.route.name, "nginx's configuration was not read")
                self.add(check, "as declared", None, reason=reason)
            return
        self._configured_tls(nginx)
        if self.http_at_gateway:
            request = self._probe(self.declared, replace(self.request, version=nginx.http_version), self.good)
            setting, wanted = ("grpc_pass: HTTP", "2") if nginx.prefix == "grpc" else ("proxy_http_version", "1.1")
            self.add("nginx.http_version", wanted, request, setting=setting, value=nginx.http_version)
            request = self._probe(self.declared, replace(self.request, host=nginx.host), self.good)
            self.add("nginx.host", self.host, request, setting="Host", value=nginx.host or "(none)")
        # what is read matters whether or not the gateway answers; it comes with the probe of the session that it is about
        self.add("nginx.own_upstream", "one identity", self._probe(self.declared), shared="gateway.tls", sharing=nginx.shared)

    def _configured_tls(self, nginx: Upstream) -> None:
        session = self._probe(replace(self.declared, sni=nginx.sni))
        self.add("nginx.sni", self.upstream.server_name, session, setting="SNI", value=nginx.sni or "(none)")
        if self.upstream.verify:
            on = bool(nginx.verify and nginx.ca_file)
            judged = replace(self.declared, ca_file=nginx.ca_file, verify_name=nginx.name, verify_depth=nginx.verify_depth)
            # where it verifies nothing there is nothing to try: that is read, and comes with the probe of the declared session
            tls, shared = (judged, "") if on else (self.declared, "gateway.tls")
            setting = f"{nginx.prefix}_ssl_trusted_certificate"
            self.add("nginx.ca", self.ca, self._probe(tls), shared=shared, setting=setting, value=nginx.ca_file, verify=on)
        if self.client:
            shown = Client(nginx.cert_file, nginx.key_file) if nginx.cert_file and nginx.key_file else None
            session = self._probe(replace(self.declared, client=shown))
            value = nginx.cert_file or "(none)"
            setting = f"{nginx.prefix}_ssl_certificate"
            self.add("nginx.client_certificate", self.client.cert_file, session, setting=setting, value=value)

    def _settings(self) -> list[str]:
        applies = {
            "nginx.sni": True,
            "nginx.ca": self.upstream.verify,
            "nginx.client_certificate": bool(self.client),
            "nginx.http_version": self.http_at_gateway,
            "nginx.host": self.http_at_gateway,
            "nginx.own_upstream": True,
        }
        return [check for check, yes in applies.items() if yes]
