# SPDX-License-Identifier: GPL-3.0-or-later
"""The private CA is replaced under load, by a VM's nginx and the gateway's mutual TLS: not one request is lost."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lab import settings
from plugins.module_utils._x509.sign import new_ca
from tests.integration.nginx import nginx_load
from tests.integration.nginx.nginx_load import Load
from tests.integration.playbooks import ROUTE, hosts, kubectl, on_host, play, variables

pytestmark = [pytest.mark.lab, pytest.mark.vms, pytest.mark.soak]
VM = "vm-deb13"
VALUES = variables(ROUTE, vms=VM)
MATERIAL = "/etc/edgemesh/tls/edgemesh"


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Load]:
    """200 requests a second over HTTP/1.1 and HTTP/2, on kept and on new connections."""
    program = nginx_load.build(tmp_path_factory.mktemp("load"))
    return lambda: Load(program, hosts("edge_nginx")[VM]["ansible_host"], 443, ROUTE["host"])


@pytest.fixture(scope="module")
def served() -> Iterator[None]:
    done = play("site.yml", VALUES)
    assert done.returncode == 0, done.stdout[-3000:]
    yield
    done = play("teardown.yml", {**VALUES, "edge_remove_ca": True})
    assert done.returncode == 0, done.stdout[-3000:]


def authorities() -> list[x509.Certificate]:
    data = json.loads(kubectl("get", "secret", "edge-ca", "--namespace", "edgemesh", "--output", "json"))["data"]
    return x509.load_pem_x509_certificates(base64.b64decode(data["ca.crt"]))


def client_pair(folder: Path) -> Path:
    """Copy the VM's client certificate and key, and the CA that it verifies the gateway by."""
    folder.mkdir()
    for name, source in (("tls.crt", "edge-client"), ("tls.key", "edge-client"), ("ca.crt", "edge-ca")):
        (folder / name).write_text(on_host(VM, f"cat {MATERIAL}/{source}/{name}"))
    return folder


def asks_gateway(pair: Path, authority: Path) -> str:
    """What the gateway answers to a client certificate."""
    port = settings.NODE_PORTS["https"]
    shown = ["--silent", "--show-error", "--max-time", "10", "--output", "/dev/null", "--write-out", "%{http_code}"]
    place = ["--resolve", f"{ROUTE['host']}:{port}:{settings.NODE_IP}", f"https://{ROUTE['host']}:{port}/status/200"]
    words = ["curl", *shown, "--cert", pair / "tls.crt", "--key", pair / "tls.key", "--cacert", authority / "ca.crt", *place]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout + done.stderr


def test_no_request_is_lost(served: None, load: Callable[[], Load], tmp_path: Path) -> None:
    (old,) = authorities()
    old_pair = client_pair(tmp_path / "old")
    with load() as running:
        started = time.monotonic()
        done = play("roll_over.yml", VALUES)
        seconds = time.monotonic() - started
        time.sleep(5)
    assert done.returncode == 0, done.stdout[-3000:]
    running.check(running.texts, f"roll-over in {seconds:.0f} s")
    (new,) = authorities()
    assert new != old
    new_pair = client_pair(tmp_path / "new")
    assert asks_gateway(new_pair, new_pair) == "200"
    refused = asks_gateway(old_pair, new_pair)
    assert "200" not in refused, "the old CA's certificates are still accepted"
    assert "alert" in refused, refused
    again = play("vm_offload.yml", VALUES)
    assert again.returncode == 0, again.stdout[-3000:]
    assert set(re.findall(r"changed=(\d+)", again.stdout)) == {"0"}, again.stdout[-2000:]


def test_the_load_notices_a_lost_request(served: None, load: Callable[[], Load]) -> None:
    """Which it does: a gateway that trusts another CA for a moment is seen."""

    def trust(authority: str) -> None:
        kubectl("patch", *named, "--patch", json.dumps({"data": {key: authority}}))

    named = ("secret", "edge-shop-cacert", "--namespace", "istio-system")
    secret = json.loads(kubectl("get", *named, "--output", "json"))
    ((key, before),) = secret["data"].items()
    stranger = new_ca("somebody else", 1).certs[0].public_bytes(Encoding.PEM)
    with load() as running:
        time.sleep(2)
        trust(base64.b64encode(stranger).decode())
        time.sleep(3)
        on_host(VM, "nginx -s reload")  # pooled connections to the gateway would hide it
        time.sleep(3)
        trust(before)
        time.sleep(3)
    assert running.total("failed") > 0, running.seen
