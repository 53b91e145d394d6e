# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab itself: well when it is up, the same after a second `up`, mended after any kind of death, gone after `down`."""

from __future__ import annotations

import ipaddress
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import api, cgroups, configuration, daemons, inventory, istio, lock, mounts, namespaces, network, processes, settings, vms
from plugins.module_utils._address import join

HOSTS = {host.name for host in (*settings.VMS, *settings.CLIENTS)}
SOAK = bool(os.environ.get("EDGEMESH_SOAK"))
# Said when a test fails, and given to repeat it.
SEED = int(os.environ.get("EDGEMESH_SEED", str(time.time_ns() % 10**6)))


def lab(*words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "lab", *words], capture_output=True, text=True, timeout=timeout, check=False)


def succeed(*words: str) -> str:
    done = lab(*words)
    assert done.returncode == 0, f"lab {' '.join(words)}: {done.stderr}"
    return done.stdout


def health() -> dict[str, Any]:
    return json.loads(lab("status", "--json").stdout)


def sick() -> dict[str, str]:
    """The lab's own parts that aren't well; other tests may make and break VMs of theirs."""
    return {part["name"]: part["detail"] for part in health()["parts"] if not part["ok"] and not part["name"].startswith("VM ")} | {
        f"VM {name}": why for name, well, why in vms.status() if not well and name in HOSTS
    }


def pods() -> dict[str, tuple[str, int]]:
    listed = json.loads(api.kubectl("get", "pods", "-A", "-o", "json"))["items"]
    return {
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": (
            pod["metadata"]["uid"],
            sum(each["restartCount"] for each in pod["status"].get("containerStatuses", ())),
        )
        for pod in listed
        if pod["metadata"]["namespace"] in ("kube-system", "istio-system", "lab-echo")
    }


def until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
    return True


def daemon_processes() -> dict[str, processes.Process | None]:
    return {name: processes.running(name) for name in (*daemons.NAMES, "mounts")}


@pytest.fixture(scope="class")
def brought_up() -> None:
    """Other tests may have taken Istio away, as the role does; what `up` says is up is what is tested."""
    succeed("up")


@pytest.mark.lab
@pytest.mark.vms
@pytest.mark.usefixtures("brought_up")
class TestUp:
    def test_all_is_well(self) -> None:
        done = lab("status", "--json")
        found = json.loads(done.stdout)
        assert sick() == {}
        assert done.returncode == 0
        names = [part["name"] for part in found["parts"]]
        assert {*daemons.NAMES, "network", "node", "pods", "proxies", "echo app", *(f"VM {vm.name}" for vm in settings.VMS)} <= set(names)

    def test_up_again_changes_nothing(self) -> None:
        before = daemon_processes(), pods(), istio.helm("list", "-o", "json")
        began = time.monotonic()
        succeed("up")
        took = time.monotonic() - began
        assert (daemon_processes(), pods(), istio.helm("list", "-o", "json")) == before
        assert took < 20, f"a lab that is up took {took:.1f} s"

    def test_two_commands_wait_for_each_other(self) -> None:
        with lock.held("test", print):
            other = subprocess.Popen([sys.executable, "-m", "lab", "up"], stderr=subprocess.PIPE, text=True)
            assert other.stderr is not None
            said = other.stderr.readline()
            assert re.match(rf"waiting for `lab test`, process {os.getpid()}, since \d\d:\d\d:\d\d$", said)
            assert health()["changing"].startswith("`lab test`")
            assert other.poll() is None
        assert other.wait(60) == 0

    def test_inventory_is_one_for_ansible(self) -> None:
        printed = succeed("inventory")
        assert printed == inventory.INVENTORY.read_text()
        listed = json.loads(
            subprocess.run(
                ["ansible-inventory", "-i", str(inventory.INVENTORY), "--list"], capture_output=True, text=True, check=True
            ).stdout
        )
        assert set(listed["edge_nginx"]["hosts"]) == {vm.name for vm in settings.VMS}
        assert set(listed["clients"]["hosts"]) == {client.name for client in settings.CLIENTS}
        for values in listed["_meta"]["hostvars"].values():
            for name in (
                "lab_kubectl",
                "lab_helm",
                "lab_istioctl",
                "edge_kubeconfig",
                "lab_charts",
                "lab_istiod_values",
                "lab_gateway_values",
            ):
                assert Path(values[name]).exists(), name

    def test_offered_images_are_loaded(self) -> None:
        offered = json.loads(settings.IMAGES.read_text())
        loaded = subprocess.run([*daemons.CTR, "images", "list", "-q"], capture_output=True, text=True, check=True).stdout.split()
        assert {offered[name] for name in ("pause", "coredns", "httpbin", "pilot", "proxyv2")} <= set(loaded)
        assert offered["pilot"] == f"{offered['hub']}/pilot:{offered['tag']}"

    @pytest.mark.parametrize("address", [settings.NODE_IP, settings.NODE_IP6])
    def test_gateway_answers_on_both_families(self, address: str) -> None:
        if ":" in address and not network.has_ipv6():
            pytest.skip("this kernel can't translate IPv6 addresses")
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{settings.NODE_PORTS['http2']}/headers"
        done = subprocess.run(
            ["curl", "-gsS", "--max-time", "10", "-H", f"Host: {settings.ECHO_HOST}", url], capture_output=True, text=True, check=True
        )
        # Named by the sidecar: the request came from the gateway, over mTLS.
        assert "URI=spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway" in done.stdout

    @pytest.mark.parametrize(("policy", "address"), [("Local", settings.CLIENTS[0].address), ("Cluster", "")])
    def test_who_the_gateway_sees(self, policy: str, address: str) -> None:
        """A client's own address arrives where the Service asks for it, and only there."""
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"edgemesh-test-seen-{policy.lower()}", "namespace": "istio-system"},
            "spec": {
                "type": "NodePort",
                "externalTrafficPolicy": policy,
                "selector": {"istio": "ingressgateway"},
                "ports": [{"name": "http2", "port": 80, "targetPort": 80}],
            },
        }
        made = json.loads(api.kubectl("create", "-o", "json", "-f", "-", text=json.dumps(service)))
        try:
            url = f"http://{settings.NODE_IP}:{made['spec']['ports'][0]['nodePort']}/headers"
            curl = [
                "curl",
                "-sS",
                "--max-time",
                "10",
                "--retry",
                "20",
                "--retry-connrefused",
                "--retry-delay",
                "1",
                "-H",
                f"Host: {settings.ECHO_HOST}",
                url,
            ]
            inside = ["ip", "netns", "exec", f"edgelab-{settings.CLIENTS[0].name}"]
            done = subprocess.run([*inside, *curl], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            (seen,) = json.loads(done.stdout)["headers"]["X-Forwarded-For"]
            assert seen == address or (not address and ipaddress.ip_address(seen) in ipaddress.ip_network(settings.POD_CIDR))
        finally:
            api.kubectl("delete", "service", "-n", "istio-system", service["metadata"]["name"], "--wait=false")

    def test_proxies_that_refuse_configuration_are_told(self) -> None:
        """The stock Envoy lacks Istio's own filters: one of them is what the lab's settings keep away."""
        patch = {
            "applyTo": "HTTP_FILTER",
            "match": {
                "context": "SIDECAR_INBOUND",
                "listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}},
            },
            "patch": {
                "operation": "INSERT_BEFORE",
                "value": {
                    "name": "istio.stats",
                    "typed_config": {
                        "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
                        "type_url": "type.googleapis.com/stats.PluginConfig",
                        "value": {},
                    },
                },
            },
        }
        refused = {
            "apiVersion": "networking.istio.io/v1alpha3",
            "kind": "EnvoyFilter",
            "metadata": {"name": "refused", "namespace": "lab-echo"},
            "spec": {"workloadSelector": {"labels": {"app": "echo"}}, "configPatches": [patch]},
        }
        api.kubectl("apply", "-f", "-", text=json.dumps(refused))
        try:
            assert until(lambda: "refuses LDS" in sick().get("proxies", ""))
            assert lab("status").returncode == 1
        finally:
            api.kubectl("delete", "envoyfilter", "-n", "lab-echo", "refused")
        assert until(lambda: sick() == {})

    def test_plaintext_into_the_mesh_is_refused(self) -> None:
        addresses = next(
            [each["ip"] for each in pod["status"]["podIPs"]]
            for pod in json.loads(api.kubectl("get", "pods", "-n", "lab-echo", "-l", "app=echo", "-o", "json"))["items"]
            if "deletionTimestamp" not in pod["metadata"]
        )
        assert len(addresses) == 1 + network.has_ipv6()
        for address in addresses:
            url = f"http://{join(address, 8080)}/status/200"
            done = subprocess.run(["curl", "-gsS", "--max-time", "5", url], capture_output=True, text=True, check=False)
            assert done.returncode == 56, f"expected a reset of {address}, curl says: {done.stderr}"

    def test_names_are_resolved_in_pods(self) -> None:
        answer = subprocess.run(
            ["python3", "-c", RESOLVE, settings.CLUSTER_DNS, "echo.lab-echo.svc.cluster.local"], capture_output=True, text=True, check=True
        )
        service = json.loads(api.kubectl("get", "service", "-n", "lab-echo", "echo", "-o", "json"))["spec"]["clusterIP"]
        assert answer.stdout.strip() == service

    def test_only_the_lab_can_reach_it(self) -> None:
        """Every listener of the lab is bound to an address of its own, none to the machine's."""
        ours = {process.pid for name, process in processes.marked() if name in daemons.NAMES}
        listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout.splitlines()
        found = [line.split()[3] for line in listening if any(f"pid={pid}," in line for pid in ours)]
        assert found, "no daemon listens at all"
        allowed = (settings.NODE_IP, f"[{settings.NODE_IP6}]", "127.0.0.1")
        assert [address for address in found if not address.startswith(allowed)] == []


# A resolver of a few lines: the machine's own asks elsewhere.
RESOLVE = """
import socket, struct, sys
server, name = sys.argv[1:]
query = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\\0\\0\\1\\0\\1"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(5)
    s.sendto(query, (server, 53))
    print(socket.inet_ntoa(s.recv(512)[-4:]))
"""


@pytest.fixture
def leave_it_up() -> Iterator[None]:
    """Whatever happens, the lab is up afterwards."""
    try:
        yield
    finally:
        succeed("up")


@pytest.fixture
def dice() -> random.Random:
    print(f"EDGEMESH_SEED={SEED}")
    return random.Random(SEED)


def kill_everything() -> None:
    for _, process in list(processes.marked()):
        process.kill()
    cgroups.kill()
    for name, init in namespaces.inits(vms.FOLDER).items():
        if name in HOSTS:
            init.kill()


def kept() -> str:
    """An object that a repaired cluster must still have."""
    name = f"kept-{time.time_ns()}"
    api.kubectl("create", "configmap", name, "-n", "default")
    return name


@pytest.mark.lab_lifecycle
@pytest.mark.usefixtures("leave_it_up")
class TestRepair:
    def test_killed_daemons(self, dice: random.Random) -> None:
        succeed("up")
        for name in dice.sample(daemons.NAMES, 7 if SOAK else 2):
            process = processes.running(name)
            assert process is not None
            assert process.kill(signal.SIGKILL)
            assert name in sick()
            succeed("up")
            assert sick() == {}, f"after {name} was killed"

    @pytest.mark.soak  # a restart of the machine takes them too
    def test_all_processes_gone(self) -> None:
        succeed("up")
        name = kept()
        kill_everything()
        began = time.monotonic()
        succeed("up")
        print(f"warm restart: {time.monotonic() - began:.1f} s")
        assert sick() == {}
        assert name in api.kubectl("get", "configmaps", "-n", "default")

    def test_machine_restarted(self) -> None:
        """What a restart takes: processes, /run, interfaces, rules, settings; what it leaves: the state on disk."""
        succeed("up")
        name = kept()
        kill_everything()
        network.remove_chains()
        for chain_program in ("iptables", "ip6tables"):
            for table, jump in (("nat", "POSTROUTING"), ("filter", "FORWARD")):
                subprocess.run([chain_program, "-t", table, "-D", jump, "-j", network.CHAIN], check=False)
                subprocess.run([chain_program, "-t", table, "-F", network.CHAIN], check=False)
                subprocess.run([chain_program, "-t", table, "-X", network.CHAIN], check=False)
        for bridge in (settings.POD_BRIDGE, settings.BRIDGE):
            subprocess.run(["ip", "link", "delete", bridge], check=True)
        for namespace in Path("/run/netns").glob("edgelab-*"):
            subprocess.run(["ip", "netns", "delete", namespace.name], check=True)
        subprocess.run(["rm", "-rf", str(settings.RUN)], check=True)
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
        # Some other boot, as the next `up` must see it.
        (settings.STATE / "boot").write_text("another")
        succeed("up")
        assert sick() == {}
        assert name in api.kubectl("get", "configmaps", "-n", "default")

    @pytest.mark.parametrize(
        ("name", "data", "pattern"),
        [
            ("etcd", daemons.ETCD_DATA, "member/wal/*.wal"),
            ("containerd", configuration.CONTAINERD_ROOT, "io.containerd.metadata.v1.bolt/meta.db"),
        ],
    )
    @pytest.mark.soak
    def test_data_spoilt_by_a_power_loss(self, name: str, data: Path, pattern: str) -> None:
        succeed("up")
        kill_everything()
        spoilt = list(data.glob(pattern))
        assert spoilt
        for file in spoilt:
            file.write_bytes(b"\xff" * 65536)
        done = lab("up")
        assert done.returncode != 0, "without a restart of the machine nothing may be thrown away"
        assert name in done.stderr
        (settings.STATE / "boot").write_text("another")
        assert f"the data of {name} did not survive it" in lab("up").stderr
        assert sick() == {}

    @pytest.mark.soak
    def test_up_killed_at_any_moment(self, dice: random.Random) -> None:
        for _ in range(8):
            succeed("down")
            moment = dice.uniform(0.3, 25)
            started = subprocess.Popen([sys.executable, "-m", "lab", "up"], stderr=subprocess.DEVNULL, start_new_session=True)
            time.sleep(moment)
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()
            succeed("up")
            assert sick() == {}, f"`up` was killed after {moment:.1f} s"


def traces() -> dict[str, list[str]]:
    """What the lab could leave on a machine, without what changes by itself."""

    def said(*command: str) -> list[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()

    mountinfo = Path("/proc/self/mountinfo").read_text().splitlines()
    rules = [line for program in ("iptables", "ip6tables") for line in said(f"{program}-save") if not line.startswith(("#", ":"))]
    chains = [line.split()[0] for program in ("iptables", "ip6tables") for line in said(f"{program}-save") if line.startswith(":")]
    return {
        # Other programs may mount meanwhile; the last word of a bind mount says what is seen.
        "mounts": sorted(line.split()[4] for line in mountinfo if "/run/netns" not in line),
        "interfaces": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "network namespaces": sorted(line.split()[0] for line in said("ip", "netns", "list")),
        "rules": rules,
        "chains": chains,
        "routes": [*said("ip", "route", "show", "table", "all"), *said("ip", "-6", "route", "show", "table", "all", "dev", "lo")],
        "settings": [f"{name}={network.value_of(name)}" for name in (*network.WANTED, *network.SET_BY_DAEMONS)],
        "groups": [str(root) for root in cgroups.roots() if root.exists()],
        "folders": [folder for folder in (*mounts.FIXED, str(settings.STATE), str(settings.RUN)) if Path(folder).exists()],
        "listeners": [line.split()[3] for line in said("ss", "-Hltn") if line.split()[3].startswith(settings.NODE_IP)],
    }


@pytest.mark.lab_lifecycle
@pytest.mark.usefixtures("leave_it_up")
def test_down_leaves_nothing() -> None:
    succeed("down")
    before = traces()
    succeed("up")
    assert traces() != before
    succeed("down")
    assert traces() == before
    assert [(name, process.pid) for name, process in processes.marked()] == []
    assert list(cgroups.processes()) == []
    # And so that nothing is on both sides of the comparison:
    text = json.dumps(before)
    for word in ("edgelab", "edgemesh", "KUBE-", "CNI-", settings.NETWORK.rsplit(".", 1)[0], str(configuration.CONTAINERD_STATE)):
        assert word not in text, word
    succeed("down")  # once more finds nothing to do
