"""The private CA is replaced under load, by a VM's nginx and the gateway's mutual TLS: not one request is lost.

The load is hey's, from Debian: 100 requests a second on connections that are kept, and 100 on new ones.
"""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from lab import packages, progress, settings
from tests.integration.playbooks import KUBECTL, ROUTE, hosts, kubectl, on_host, play, variables

pytestmark = [pytest.mark.lab, pytest.mark.vms, pytest.mark.soak]
VM = "vm-deb13"
VALUES = variables(ROUTE, vms=VM)
MATERIAL = "/etc/edgemesh/tls/edgemesh"
RATE = 100


class Load:
    """Requests by hey until it is told to stop."""

    def __init__(self, *options: str) -> None:
        self.started = time.monotonic()
        address = hosts("edge_nginx")[VM]["ansible_host"]
        words = ["hey", "-z", "20m", "-c", "20", "-q", str(RATE // 20), "-host", ROUTE["host"], *options, f"https://{address}/status/200"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def stop(self) -> tuple[dict[str, int], str, float]:
        """Answers by status, what went wrong, and answers a second."""
        self.process.send_signal(signal.SIGINT)
        printed, _nothing = self.process.communicate(timeout=60)
        seconds = time.monotonic() - self.started
        statuses = {status: int(count) for status, count in re.findall(r"\[(\d{3})\]\s+(\d+) responses", printed)}
        return statuses, printed.partition("Error distribution:")[2].strip(), sum(statuses.values()) / seconds


@pytest.fixture(scope="module")
def served() -> Iterator[None]:
    packages.ensure(progress.Progress(), ["hey"])
    done = play("site.yml", VALUES)
    assert done.returncode == 0, done.stdout[-3000:]
    yield
    done = play("teardown.yml", VALUES)
    assert done.returncode == 0, done.stdout[-3000:]


def authorities() -> list[x509.Certificate]:
    data = json.loads(kubectl("get", "secret", "edge-ca", "--namespace", "edgemesh", "--output", "json"))["data"]
    return x509.load_pem_x509_certificates(base64.b64decode(data["ca.crt"]))


def asks_gateway(folder: str) -> str:
    """What the gateway answers on the VM to the client certificate in ``folder``."""
    port = 30443
    ports = json.loads(kubectl("get", "service", "istio-ingressgateway", "--namespace", "istio-system", "--output", "json"))["spec"][
        "ports"
    ]
    port = next(each["nodePort"] for each in ports if each["name"] == "https")
    address = f"{ROUTE['host']}:{port}:{settings.NODE_ADDRESS}"
    pair = f"--cert {folder}/tls.crt --key {folder}/tls.key --cacert {MATERIAL}/edge-ca/ca.crt"
    shown = "--silent --show-error --max-time 10 --output /dev/null --write-out '%{http_code}'"
    return on_host(VM, f"curl {shown} {pair} --resolve {address} https://{ROUTE['host']}:{port}/status/200 2>&1 || true")


def test_no_request_is_lost(served: None, tmp_path: Path) -> None:
    (old,) = authorities()
    on_host(VM, f"rm -rf /root/old && cp -r {MATERIAL}/edge-client /root/old")
    loads = {"kept connections": Load(), "new connections": Load("-disable-keepalive")}
    try:
        started = time.monotonic()
        done = play("roll_over.yml", VALUES)
        seconds = time.monotonic() - started
        time.sleep(5)
    finally:
        results = {name: load.stop() for name, load in loads.items()}
    assert done.returncode == 0, done.stdout[-3000:]
    print(f"roll-over in {seconds:.0f} s; {results}")
    for name, (statuses, errors, rate) in results.items():
        assert list(statuses) == ["200"], (name, statuses, errors)
        assert errors == "", (name, errors)
        assert rate > 0.97 * RATE, (name, rate)
    (new,) = authorities()
    assert new != old
    assert asks_gateway(f"{MATERIAL}/edge-client") == "200"
    refused = asks_gateway("/root/old")
    assert "200" not in refused, "the old CA's certificates are still accepted"
    assert "alert" in refused, refused
    on_host(VM, "rm -rf /root/old")
    again = play("vm_offload.yml", VALUES)
    assert again.returncode == 0, again.stdout[-3000:]
    assert set(re.findall(r"changed=(\d+)", again.stdout)) == {"0"}, again.stdout[-2000:]


def test_the_load_notices_a_lost_request(served: None) -> None:
    """Which it does: a gateway that trusts another CA for a moment is seen."""
    load = Load()
    time.sleep(2)
    secret = ["--namespace", "istio-system", "secret", "edge-shop-cacert"]
    held = json.loads(kubectl("get", *secret, "--output", "json"))
    subprocess.run([*KUBECTL, "delete", *secret], check=True, capture_output=True)
    on_host(VM, "nginx -s reload")  # pooled connections to the gateway would hide it
    time.sleep(5)
    del held["metadata"]["resourceVersion"], held["metadata"]["uid"]
    subprocess.run([*KUBECTL, "create", "--filename", "-"], input=json.dumps(held), text=True, check=True, capture_output=True)
    time.sleep(3)
    statuses, _errors, _rate = load.stop()
    assert "502" in statuses, statuses
