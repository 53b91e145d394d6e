# SPDX-License-Identifier: GPL-3.0-or-later
"""The proofs, from a pod without a sidecar, that the app's own pods take no plaintext.

A refusal has many causes: a NetworkPolicy, an app that is down, a port that nobody serves. So its control differs in one thing alone: the
same pod, address and port, but TLS as a sidecar begins it. That control holds where the other side shows a certificate of the app's own
namespace in the mesh and demands one in return. This needs no mesh certificate of ours, and it is the same under PERMISSIVE, where only
the plaintext is answered.

What it can't tell: an app in ambient mode has no sidecar that would answer (ztunnel takes the mesh's traffic on another port), so its
control does not hold.
"""

from __future__ import annotations

from ..._address import split
from ..._loose import mapping, mappings
from ..._probe.spec import Http, Path, Tls
from ..._routes.parts import Backend
from ..._routes.schema import Route
from ..model import Proof
from ..planner import Planner
from ..verdict import OK, Case, Result, Verdict, by_probe, not_tested, seen
from .catalogue import CHECKS
from .machine import Given
from .planner import refused

#: What sidecars offer for TCP, and no client outside the mesh does: PERMISSIVE tells by it who speaks the mesh's own TLS.
_MESH_ALPN = "istio"


class AppPlan(Planner):
    """From a pod to each address of the pods behind one of a route's Services.

    Nothing of it is about a VM: the plans of all VMs that serve a route have the same proofs by the same ids, so each is made once.
    """

    KIND = "vm_nginx"
    CHECKS = CHECKS

    def __init__(self, route: Route, given: Given, service: Backend) -> None:
        super().__init__(route.name, given.pod or "pod", given.here, f"{service.namespace}/{service.name}:{service.port}")
        self.route, self.namespace = route, service.namespace
        known = {(each["namespace"], each["name"], each["port"]): each for each in given.apps} if given.pod else {}
        found = known.get((service.namespace, service.name, service.port), {})
        self.addresses: list[str] = found.get("addresses") or []
        self.reason = found.get("reason") or given.no_pod

    def id(self, check: str) -> str:
        """Every run's pod has another name."""
        return f"{self.name}/{check}/pod>{self.target}"

    def proofs(self) -> list[Proof]:
        """Control and claim for each address; where none can be probed they are there as well, with the reason."""
        if not self.addresses:
            self._both("", self.reason)
        for target in self.addresses:
            self.target = target
            self._both(target)
        return self.found

    def _both(self, target: str, reason: str = "") -> None:
        probe = self.route.probe
        request = Http(method=probe.method, path=probe.path, host=self.route.host)
        control, claim = (sidecar_probe(target), plaintext_probe(target, request)) if target else (None, None)
        self.add("app.sidecar", f"an identity of namespace {self.namespace}", control, reason=reason, namespace=self.namespace)
        self.add("app.plaintext", "cut off", claim, reason=reason)


def sidecar_probe(target: str) -> Path:
    """The control, at ``address:port`` of a pod."""
    return Path("", *split(target), tls=Tls(rules="none", alpn=(_MESH_ALPN,)), expect=refused("CLIENT_CERT_MISSING"))


def plaintext_probe(target: str, request: Http) -> Path:
    """The claim, in the same way.

    :param request: the route's own.
    """
    return Path("", *split(target), http=request, expect=refused("PLAINTEXT_TO_TLS_PORT", "HTTP_NO_ANSWER"))


def sidecar(case: Case) -> Verdict:
    """The rule of the control. Where the probe got no connection, nothing is said of the app."""
    if "tcp" not in {each["check"] for each in case.result["checks"] if each["status"] == OK}:
        return not_tested("the probe pod can't connect to the app's pod: a NetworkPolicy, perhaps")
    shown = identity(case.result, case.wanted["namespace"])
    return Verdict(OK, shown) if shown else case.failed(seen(case.result))


def plaintext(case: Case) -> Verdict:
    """The rule of the claim: it is refuted by an answer alone."""
    return case.failed(seen(case.result)) if case.status else by_probe(case.result)


def identity(result: Result, namespace: str) -> str:
    """The SPIFFE identity in an app's namespace that the control was shown, and that demanded one in return; "" for none."""
    chain = mappings(mapping(result.get("tls")).get("chain"))
    names = [str(name).removeprefix("URI:") for name in (chain[0].get("sans") or [] if chain else [])]
    shown = [name for name in names if name.startswith("spiffe://") and f"/ns/{namespace}/sa/" in name]
    return shown[0] if shown and result["ok"] else ""
