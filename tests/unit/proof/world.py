# SPDX-License-Identifier: GPL-3.0-or-later
"""A small world to plan against: a gateway, VMs with nginx, an echo app. What it shows goes through edge_probe's own judge.

It behaves as the real things were seen to behave; the lab's tests hold the same plans against the real things.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from plugins.module_utils._address import split
from plugins.module_utils._probe import spec
from plugins.module_utils._probe.entry import entry
from plugins.module_utils._probe.judge import Trust, result
from plugins.module_utils._probe.observation import Failure, Observation
from plugins.module_utils._probe.spec import Client, Expect, Http, Path, Tls
from plugins.module_utils._proof.kind import Neighbour, neighbour
from plugins.module_utils._proof.model import probes
from plugins.module_utils._proof.report import Run, report
from plugins.module_utils._proof.verdict import Evidence
from plugins.module_utils._proof.vm_nginx import files
from plugins.module_utils._proof.vm_nginx.kind import KIND
from plugins.module_utils._proof.vm_nginx.machine import Given, Machine, Turn, Upstream
from plugins.module_utils._proof.vm_nginx.material import public_files
from plugins.module_utils._proof.vm_nginx.plan import plan
from plugins.module_utils._routes.schema import Route
from tests.unit.proof import nodes
from tests.unit.proof.materials import pem, pki, routes
from tests.unit.proof.nodes import GATEWAY, TLS_DIR, Settings

NOW = datetime.now(timezone.utc).replace(microsecond=0)
CLIENTS = {"client-1": "198.18.0.101", "client-2": "198.18.0.102"}
#: The pod that probes from inside the cluster, and where the app's own pod listens.
POD, APP, APP6 = "edgemesh-probe-1", "198.18.64.9:8080", "[2001:db8:18:64::9]:8080"
VMS = {"vm-deb12": "198.18.0.11", "vm-deb13": "198.18.0.12"}
#: What proof_probe is told of a VM.
PLANNED: dict[str, Any] = {"address": "192.0.2.11", "run": "r1", "clients": ["client"], "gateways": {"main": [GATEWAY]}}


def neighbour_of(route: Route, asks: bool = False) -> dict[str, Any]:
    """What nginx_config returns of a route of list team-b.

    :param asks: nginx passes its TLS on, and the gateway asks clients for certificates.
    """
    tls, http = Tls(sni=route.host, rules="none") if route.listen.tls else None, None if asks else Http(path="/", host=route.host)
    expect = Expect(refused=True, codes=("CLIENT_CERT_MISSING",)) if asks else Expect(status=tuple(range(200, 500)))
    probe = entry(Path(route.name, "127.0.0.1", route.listen.port, tls=tls, http=http, expect=expect))
    return {"list": "team-b", "name": route.name, "probes": [probe]}


@dataclass
class World:
    """Everything that probes may meet. ``nginx`` is by (VM, route name); ``files`` are PEM texts by (VM, path)."""

    routes: list[Route] = field(default_factory=routes)
    list_name: str = "default"
    #: routes of list team-b, which the same nginx serves
    others: list[Route] = field(default_factory=list)
    nginx: dict[tuple[str, str], Settings] = field(default_factory=dict)
    files: dict[tuple[str, str], str] = field(default_factory=dict)
    echo_path: str = "/headers"
    websocket_path: str = "/websocket/echo"
    curl: bool = True
    check_mode: bool = False
    absent: tuple[str, ...] = ()
    minimum: dict[str, int] = field(default_factory=lambda: {"positive": 5, "negative": 6})
    #: results whose name contains this don't arrive
    drop: str = ""
    #: what `nginx -T` says where that isn't what runs, by VM
    configured: dict[str, dict[str, Upstream]] = field(default_factory=dict)
    #: how the app's pod behaves, by address; see nodes.app_pod
    app: dict[str, str] = field(default_factory=lambda: dict.fromkeys((APP, APP6), "strict"))
    requests: int = 0

    def __post_init__(self) -> None:
        self.gateway = nodes.Gateway([*self.routes, *self.others], nodes.App(self.echo_path, self.websocket_path))
        for vm in VMS:
            for route in (*self.routes, *self.others):
                self.nginx[vm, route.name] = Settings(route)
                paths = public_files(route, TLS_DIR)
                made = {"listener": "listener", "listener_ca": "public", "gateway_ca": "ca", "client": "client"}
                self.files.update({(vm, paths[use]): pem(pki()[name]) for use, name in made.items() if paths[use]})

    def observe(self, vantage: str, path: spec.Path) -> Observation:
        """What one probe sees."""
        self.requests += 1
        source = CLIENTS.get(vantage, "127.0.0.1")
        began = (NOW + timedelta(milliseconds=37 * self.requests)).isoformat(timespec="milliseconds")
        seen = Observation(started=began, source=source, times={"dns": 0.1, "tcp": 0.3})
        vm = vantage if path.address == "127.0.0.1" else next((name for name, address in VMS.items() if address == path.address), "")
        if path.target in self.app:
            nodes.app_pod(self.app[path.target], path, seen)
        elif path.target not in (GATEWAY, *(f"{address}:{port}" for address in (*VMS.values(), "127.0.0.1") for port in (80, 443))):
            seen.failure = Failure("tcp", "refused", text="Connection refused")
        elif vm:
            self._nginx(vm).meet(path, seen, source)
        else:
            client = self._file(vantage, path.tls.client.cert_file) if path.tls and path.tls.client and path.tls.client.cert_file else ""
            self.gateway.meet(path, seen, client, VMS.get(vantage, ""))
        seen.attempts = path.consecutive
        return seen

    def _nginx(self, vm: str) -> nodes.Nginx:
        settings = {route.name: self.nginx[vm, route.name] for route in (*self.routes, *self.others)}
        return nodes.Nginx(VMS[vm], settings, self.gateway, lambda path: self._file(vm, path), self.curl)

    def _file(self, vm: str, path: str) -> str:
        return self.files.get((vm, path), "")

    def _lying(self, vm: str) -> dict[str, str]:
        return {path: text for (owner, path), text in self.files.items() if owner == vm}

    def machine(self, vm: str) -> Machine:
        """A VM as the plan takes it."""
        return Machine(
            {"main": [GATEWAY]},
            self.configured.get(vm) or {route.name: self.nginx[vm, route.name].upstream() for route in self.routes},
            turns={route.name: self._turns(vm, route) for route in self.routes} if self.echo_path else {},
            trust=files.trust(self.routes, self._lying(vm), TLS_DIR),
            fingerprints=files.fingerprints(self._lying(vm)),
        )

    def _turns(self, vm: str, own: Route) -> list[Turn]:
        """What the plan finds in ``nginx -T``: every other route goes to the same place with another server name."""

        def through(route: Route) -> Path:
            http = Http(path=self.echo_path, host=route.host)
            return Path("through", VMS[vm], 443, tls=Tls(route.host, rules="none"), http=http, in_turn=True)

        def alone(route: Route) -> Path:
            nginx = self.nginx[vm, route.name]
            client = Client(nginx.cert_file, nginx.key_file) if nginx.cert_file else None
            tls = Tls(nginx.server_name if nginx.sends_sni else "", rules="none", client=client)
            return Path("alone", *split(GATEWAY), tls=tls, http=Http(path=self.echo_path, host=nginx.host), in_turn=True)

        found = []
        for other in self.routes:
            if other is not own:
                for check, first, then in (("path.own_identity", other, own), ("path.lent_identity", own, other)):
                    target = f"{then.host} after {first.host}"
                    found.append(Turn(check, target, (then.host, self.echo_path), through(then), alone(then)))
        return found

    def given(self, vm: str) -> Given:
        """What the plan for a VM is told."""
        offered: dict[str, Any] = {"echo_path": self.echo_path, "websocket_path": self.websocket_path, "neighbours": self.neighbours()}
        apps = [{"namespace": "shop", "name": "web", "port": 8080, "addresses": list(self.app), "reason": ""}]
        return Given(vm, "r1", pem(pki()["foreign"]), address=VMS[vm], clients=list(CLIENTS), pod=POD, apps=apps, **offered)

    def neighbours(self) -> list[Neighbour]:
        """As the VM's store of routes keeps them."""
        return [neighbour(neighbour_of(route), "neighbours") for route in self.others]

    def run(self) -> dict[str, Any]:
        """Plan, probe, report."""
        planned = [proof for vm in VMS for proof in plan(self.routes, self.machine(vm), self.given(vm))]
        results = []
        for vantage, entries in probes(planned).items():
            for asked in entries:
                path = spec.path(asked)
                trust = Trust(path.tls.ca_pem or self._file(vantage, path.tls.ca_file)) if path.tls else Trust()
                seen = self.observe(vantage, path)
                if not self.drop or self.drop not in path.name:
                    results.append(result(path, [seen], trust, vantage))
        run = Run("0.1.0", "r1", self.check_mode, self.absent, self.minimum, self.list_name)
        proofs = [proof.as_dict() for proof in planned]
        lying = [entry for vm in VMS for entry in files.certificates(self.routes, vm, self._lying(vm), TLS_DIR)]
        return report(run, [(KIND, route) for route in self.routes], proofs, results, Evidence(self.gateway.log), lying)
