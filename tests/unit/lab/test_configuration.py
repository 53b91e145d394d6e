# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import configuration, daemons, images, istio, network, pki, settings

VALUES = Path(istio.__file__).parent / "values"


@pytest.fixture(params=[True, False], ids=["dual-stack", "IPv4 only"])
def dual(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(network, "has_ipv6", lambda: request.param)
    return bool(request.param)


def flag(words: tuple[str, ...], name: str) -> str:
    (found,) = (word.split("=", 1)[1] for word in words if word.startswith(f"--{name}="))
    return found


def test_families_agree_everywhere(dual: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.build.path", lambda name: Path("/programs", name))
    count = 2 if dual else 1
    cni: dict[str, Any] = configuration.cni_configuration()["plugins"][0]["ipam"]
    assert len(cni["ranges"]) == len(cni["routes"]) == count
    proxy = configuration.kube_proxy_configuration()
    assert len(proxy["nodePortAddresses"]) == len(proxy["clusterCIDR"].split(",")) == count
    assert len(flag(daemons.kube_apiserver().argv, "service-cluster-ip-range").split(",")) == count
    assert len(flag(daemons.kubelet().argv, "node-ip").split(",")) == count
    assert set(network.wanted_rules()) == ({"iptables", "ip6tables"} if dual else {"iptables"})


def test_nothing_listens_on_the_machines_own_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.build.path", lambda name: Path("/programs", name))
    for daemon in (daemons.kube_apiserver(), daemons.kube_controller_manager(), daemons.kube_scheduler()):
        assert flag(daemon.argv, "bind-address") == settings.NODE_IP
    assert flag(daemons.etcd().argv, "listen-client-urls").startswith(f"https://{settings.NODE_IP}:")
    kubelet = configuration.kubelet_configuration()
    assert kubelet["address"] == kubelet["healthzBindAddress"] == settings.NODE_IP
    assert all(
        address.split("/")[0] in (settings.NODE_IP, settings.NODE_IP6)
        for address in configuration.kube_proxy_configuration()["nodePortAddresses"]
    )


@pytest.mark.parametrize(
    ("machine", "pods"),
    [
        ("nameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch home\n", "nameserver 192.0.2.1\n"),
        ("nameserver ::1\n", ""),
        ("# nameserver 192.0.2.9\nnameserver 2001:db8::1\n", "nameserver 2001:db8::1\n"),
    ],
)
def test_pods_get_no_resolver_that_only_the_machine_can_reach(machine: str, pods: str) -> None:
    assert configuration.resolv_conf(machine) == pods


def test_containerds_configuration_is_toml(monkeypatch: pytest.MonkeyPatch) -> None:
    tomllib = pytest.importorskip("tomllib")
    monkeypatch.setattr(images, "images", lambda: {"pause": images.Image("pause", "abc", ())})
    parsed = tomllib.loads(configuration.containerd_configuration())
    assert parsed["plugins"]["io.containerd.grpc.v1.cri"]["sandbox_image"] == "localhost/edgemesh/pause:abc"
    assert str(settings.RUN) in parsed["grpc"]["address"]


def test_networks_do_not_overlap() -> None:
    for family in (
        (settings.NETWORK, settings.POD_CIDR, settings.SERVICE_CIDR),
        (settings.NETWORK6, settings.POD_CIDR6, settings.SERVICE_CIDR6),
    ):
        networks = [ipaddress.ip_network(each) for each in family]
        assert not any(a.overlaps(b) for a in networks for b in networks if a is not b)
    assert ipaddress.ip_address(settings.CLUSTER_DNS) in ipaddress.ip_network(settings.SERVICE_CIDR)


def test_node_ports_of_the_values_are_those_of_the_settings() -> None:
    values = yaml.safe_load((VALUES / "gateway.yaml").read_text())
    assert {port["name"]: port["nodePort"] for port in values["service"]["ports"]} == settings.NODE_PORTS


def test_certificates_satisfy_strict_verification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake, as Python 3.13 verifies by default, both ways."""
    monkeypatch.setattr(pki, "PKI", tmp_path / "pki")
    pki.make()
    folder = tmp_path / "pki"

    def context(purpose: ssl.Purpose, name: str, authority: str = "ca") -> ssl.SSLContext:
        made = ssl.create_default_context(purpose, cafile=str(folder / f"{authority}.crt"))
        made.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
        return made

    def shake(client: ssl.SSLContext, server: ssl.SSLContext, address: str) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        ends = [
            client.wrap_bio(to_client, to_server, server_hostname=address),
            server.wrap_bio(to_server, to_client, server_side=True),
        ]
        done = 0
        for _ in range(10):
            for end in ends:
                try:
                    end.do_handshake()
                    done += 1
                except ssl.SSLWantReadError:
                    pass
        assert done >= 2

    server, client = ssl.Purpose.CLIENT_AUTH, ssl.Purpose.SERVER_AUTH
    for address in (settings.NODE_IP, settings.NODE_IP6, "kubernetes.default.svc", "198.18.128.1"):
        shake(context(client, "admin"), context(server, "apiserver"), address)
    shake(context(client, "etcd-client", "etcd-ca"), context(server, "etcd", "etcd-ca"), settings.NODE_IP)
    with pytest.raises(ssl.SSLError):  # a certificate of the cluster opens the API, not its store
        shake(context(client, "admin", "etcd-ca"), context(server, "etcd", "etcd-ca"), settings.NODE_IP)
    assert (folder / "ca.key").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
