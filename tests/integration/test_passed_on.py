# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS that nginx passes on unopened, by its SNI, to real gateways: beside a route that nginx ends, with and without the PROXY protocol."""

from __future__ import annotations

import base64
import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import netns, vms
from lab.settings import Host
from tests.integration.own_gateway import install, own_gateway
from tests.integration.playbooks import kubectl, play, variables
from tests.spare_vms import spare, spare_namespace

pytestmark = [pytest.mark.lab, pytest.mark.vms, pytest.mark.soak]
MARK = uuid.uuid4().hex[:6]
SPACE, APP = f"edgemesh-test-pass-{MARK}", f"edgemesh-test-app-{MARK}"
PATHS = [{"path": "/", "service": {"namespace": APP, "name": "web", "port": 8000}}]
PROBE = {"path": "/status/418", "status": 418}
PASSED = {"mode": "passthrough"}
MUTUAL = {"mode": "mutual", "client_certificate": "edge-client", "client_names": ["edge.example.com"]}


def route(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "host": f"{name}.{MARK}.example.com", "gateway": "main", "on": "passing", "paths": PATHS, "probe": PROBE, **more}


ROUTES = [
    route("shop", listen={"certificate": "shop-public"}, upstream_tls=MUTUAL),
    route("bank", listen=PASSED),
    route("partners", listen=PASSED, upstream_tls={"mode": "mutual", "client_names": ["edge.example.com"]}),
    route("told", listen=PASSED, gateway="told", proxy={"proxy_protocol": True}),
]


class World:
    """What a run of site.yml left, and a client somewhere else."""

    def __init__(self, folder: Path, vm: Host, client: Host) -> None:
        self.folder, self.vm, self.client = folder, vm, client
        inventory = {"passing": {"hosts": vms.inventory_hosts([vm], ())["edge_nginx"]["hosts"]}}
        (folder / "hosts.json").write_text(json.dumps(inventory))

    def play(self, playbook: str) -> str:
        values = {
            **variables(*ROUTES, vms="passing"),
            "edge_namespace": SPACE,
            "edge_gateways": {
                "main": {"namespace": SPACE, "service": "gw"},
                "told": {"namespace": SPACE, "service": "told", "front": "tcp_proxy"},
            },
            "demo_app_namespace": APP,
            "verify_hosts": [self.vm.name],
            # where clients show certificates, none is here to prove with
            "verify_fail": "false",
            "verify_report_dir": str(self.folder / "proof"),
        }
        done = play(playbook, values, "--inventory", str(self.folder / "hosts.json"))
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
        return done.stdout

    def secret(self, name: str, part: str) -> Path:
        data = json.loads(kubectl("get", "secret", name, "--namespace", SPACE, "--output", "json"))["data"]
        file = self.folder / f"{name}-{part}"
        file.write_bytes(base64.b64decode(data[part]))
        return file

    def ask(self, name: str, *more: str) -> subprocess.CompletedProcess[str]:
        """A request for the route's echo of its headers, from the client through the VM, the name verified."""
        host = f"{name}.{MARK}.example.com"
        place = ["--resolve", f"{host}:443:{self.vm.address}", "--cacert", str(self.secret("edge-ca", "ca.crt"))]
        words = ["ip", "netns", "exec", netns.namespace(self.client.name), "curl", "--silent", "--show-error", "--max-time", "20"]
        return subprocess.run([*words, *place, *more, f"https://{host}/headers"], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("passed-on")
    config = json.dumps({"gatewayTopology": {"proxyProtocol": {}}})
    with own_gateway(SPACE, folder), spare("trixie") as vm, spare_namespace() as client:
        install(SPACE, "told", folder, podAnnotations={"proxy.istio.io/config": config})
        made = World(folder, vm, client)
        made.play("site.yml")
        yield made
        made.play("teardown.yml")
    kubectl("delete", "namespace", APP, "--ignore-not-found", "--wait=false")


def test_every_route_is_proven_that_asks_clients_for_no_certificate(world: World) -> None:
    proof = json.loads((world.folder / "proof" / "proof.json").read_text())
    assert {each["name"]: each["ok"] for each in proof["routes"]} == {"shop": True, "bank": True, "told": True, "partners": False}
    (partners,) = [each for each in proof["routes"] if each["name"] == "partners"]
    assert partners["counts"]["failed"] == 0


def test_again_changes_nothing(world: World) -> None:
    assert "changed=0" in world.play("vm_offload.yml").partition(world.vm.name)[2]


def test_clients_see_the_gateways_certificate(world: World) -> None:
    """And nginx's own where nginx ends TLS, at the same port."""
    shown = {}
    for name in ("shop", "bank"):
        done = world.ask(name, "--verbose", "--output", "/dev/null")
        assert done.returncode == 0, done.stderr
        (shown[name],) = {line.partition("serial: ")[2] or line for line in done.stderr.splitlines() if "subject:" in line}
    assert "shop" in shown["shop"]
    assert shown["bank"] != shown["shop"]


def test_the_gateway_asks_clients_for_their_certificate(world: World) -> None:
    refused = world.ask("partners")
    # an alert, or a connection that is gone while curl still writes
    assert refused.returncode in (35, 55, 56), refused.stderr
    own = ("--cert", str(world.secret("edge-client", "tls.crt")), "--key", str(world.secret("edge-client", "tls.key")))
    assert world.ask("partners", *own).returncode == 0


@pytest.mark.parametrize(("name", "told"), [("bank", False), ("told", True)])
def test_the_clients_address_arrives_by_the_proxy_protocol_alone(world: World, name: str, told: bool) -> None:
    done = world.ask(name)
    assert done.returncode == 0, done.stderr
    headers = {key.lower(): value for key, value in json.loads(done.stdout)["headers"].items()}
    assert (world.client.address in "".join(headers["x-forwarded-for"])) == told
