"""The proofs from a VM towards the gateway."""

from __future__ import annotations

from typing import Any, Optional

from ..._address import split
from ..._routes.schema import Route
from ..model import CALLED_UPSTREAM, NOBODY, Proof
from ..planner import Probe
from .machine import Given, Machine, Upstream
from .material import client_certificate, gateway_ca
from .planner import RoutePlan


class GatewayPlan(RoutePlan):
    """From the VM to one address of the gateway, with exactly what nginx is meant to use."""

    def __init__(self, route: Route, machine: Machine, given: Given, address: str) -> None:
        super().__init__(route, machine, given, given.here, address or route.gateway.name)
        self.address, self.host, self.status = address, route.host, route.probe.status
        self.ca = gateway_ca(route, given.material)
        self.client = client_certificate(route, given.material)
        # as declared, without judging the chain: a refusal is then the other side's
        self.unjudged: dict[str, Any] = {"sni": self.upstream.server_name, "rules": "none"}
        if self.client:
            self.unjudged["client"] = self.client
        self.declared = self.unjudged
        if self.upstream.verify:
            judged = {
                "rules": "nginx",
                "ca_file": self.ca,
                "verify_name": self.upstream.server_name,
                "verify_depth": self.upstream.verify_depth,
            }
            self.declared = {**self.unjudged, **judged}

    def proofs(self) -> list[Proof]:
        """All of them."""
        self._positive()
        self._negative()
        if not self.passes:
            self._configured()
        return self.found

    def add(self, check: str, expected: str, probe: Optional[Probe], **others: Any) -> None:
        """As for every plan; without an address nothing can be probed."""
        if not self.address:
            others["reason"] = f"no address of gateway {self.target} is known"
        super().add(check, expected, probe, **others)

    def _probe(self, tls: Optional[dict[str, Any]], http: Optional[dict[str, Any]] = None, **expect: Any) -> Optional[Probe]:
        if not self.address:
            return None
        address, port = split(self.address)
        before = {"proxy_protocol": "v1"} if self.route.proxy.proxy_protocol else {}
        asked = {**({"tls": tls} if tls else {}), **({"http": http} if http else {})}
        return {"address": address, "port": port, "expect": expect, **before, **asked}

    def _positive(self) -> None:
        wanted = f"chain good for {self.upstream.server_name}" if self.upstream.verify else "a session (verification is off for this route)"
        self.add("gateway.tls", wanted, self._probe(self.declared))
        self.add("gateway.answer", f"HTTP {self.status}", self._probe(self.declared, self.request(), status=[self.status]))

    def _negative(self) -> None:
        self.add("gateway.no_sni", "refused", self._probe({**self.unjudged, "sni": ""}, refused=True))
        self.add("gateway.wrong_sni", "refused", self._probe({**self.unjudged, "sni": NOBODY}, refused=True))
        if self.upstream.verify:
            foreign = {**self.declared, "ca_pem": self.given.foreign_ca}
            self.add("gateway.foreign_ca", "chain is not good", self._probe(foreign, refused=True, codes=["WRONG_TRUST_ANCHOR"]))
            elsewhere = {**self.declared, "verify_name": NOBODY}
            self.add("gateway.wrong_name", f"not good for {NOBODY}", self._probe(elsewhere, refused=True, codes=["UPSTREAM_NAME_MISMATCH"]))
        if self.mutual:
            nobody, foreigner = _without(self.unjudged, "client"), {**self.unjudged, "client": {"foreign": True}}
            self.add("gateway.no_client_certificate", "refused", self._probe(nobody, refused=True, codes=["CLIENT_CERT_MISSING"]))
            refusals = ["CLIENT_CERT_UNTRUSTED", "CLIENT_CERT_REFUSED"]
            self.add("gateway.foreign_client_certificate", "refused", self._probe(foreigner, refused=True, codes=refusals))
        refusals = ["PLAINTEXT_TO_TLS_PORT", "HTTP_NO_ANSWER"]
        self.add("gateway.plaintext", "cut off, or HTTP 400", self._probe(None, self.request(), refused=True, codes=refusals))
        if self.http_at_gateway:
            self.add("gateway.http10", "HTTP 426", self._probe(self.unjudged, self.request(version="1.0"), status=[426]))
            by_itself = {CALLED_UPSTREAM: None}
            self.add(
                "gateway.wrong_host", "HTTP 404", self._probe(self.unjudged, self.request(host=NOBODY), status=[404], headers=by_itself)
            )

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
            good: dict[str, Any] = {"status": [self.status]}
            request = self._probe(self.declared, self.request(version=nginx.http_version), **good)
            self.add("nginx.http_version", "1.1", request, setting=f"{nginx.prefix}_http_version", value=nginx.http_version)
            request = self._probe(self.declared, self.request(host=nginx.host), **good)
            self.add("nginx.host", self.host, request, setting="Host", value=nginx.host or "(none)")
        # what is read matters whether or not the gateway answers; it comes with the probe of the session that it is about
        self.add("nginx.own_upstream", "one identity", self._probe(self.declared), shared="gateway.tls", sharing=nginx.shared)

    def _configured_tls(self, nginx: Upstream) -> None:
        session = self._probe({**self.declared, "sni": nginx.sni})
        self.add("nginx.sni", self.upstream.server_name, session, setting="SNI", value=nginx.sni or "(none)")
        if self.upstream.verify:
            on = bool(nginx.verify and nginx.ca_file)
            judged = {"ca_file": nginx.ca_file, "verify_name": nginx.name, "verify_depth": nginx.verify_depth}
            # where it verifies nothing there is nothing to try: that is read, and comes with the probe of the declared session
            session, shared = (self._probe({**self.declared, **judged}), "") if on else (self._probe(self.declared), "gateway.tls")
            setting = f"{nginx.prefix}_ssl_trusted_certificate"
            self.add("nginx.ca", self.ca, session, shared=shared, setting=setting, value=nginx.ca_file, verify=on)
        if self.client:
            shown = {"client": {"cert_file": nginx.cert_file, "key_file": nginx.key_file}} if nginx.cert_file and nginx.key_file else {}
            session = self._probe({**_without(self.declared, "client"), **shown})
            value = nginx.cert_file or "(none)"
            setting = f"{nginx.prefix}_ssl_certificate"
            self.add("nginx.client_certificate", self.client["cert_file"], session, setting=setting, value=value)

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


def _without(tls: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in tls.items() if name != key}
