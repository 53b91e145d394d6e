# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a root one host, and how a host is told apart: the parts that need no VM."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from lab import apt, identity, namespaces, netns, rootfs, settings, vms
from lab.settings import Host
from plugins.module_utils._errors import EdgeError

HOST = Host("vm-a", "198.18.0.77", "2001:db8:18::77", "trixie")


def test_hosts_file_takes_over_what_the_machine_knows_but_not_its_own_names() -> None:
    text = identity.hosts_file(
        HOST, "127.0.0.1 localhost machine\n::1 localhost\n192.0.2.7 mirror.example m # proxy\n\nnonsense\n# 192.0.2.8 off\n"
    )
    assert text.splitlines() == [
        "127.0.0.1 localhost",
        "::1 localhost ip6-localhost",
        "198.18.0.77 vm-a",
        "2001:db8:18::77 vm-a",
        "192.0.2.7 mirror.example m",
    ]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("nameserver 192.0.2.53\nsearch example\n", "", "nameserver 192.0.2.53\nsearch example\n"),
        ("nameserver 127.0.0.53\noptions edns0\n", "nameserver 192.0.2.1\n", "nameserver 192.0.2.1\n"),
        ("nameserver 127.0.0.1\nnameserver fe80::1%eth0\n", "", "nameserver fe80::1%eth0\n"),
    ],
)
def test_resolvers_are_those_that_can_be_reached_from_elsewhere(tmp_path: Path, first: str, second: str, expected: str) -> None:
    (tmp_path / "first").write_text(first)
    (tmp_path / "second").write_text(second)
    assert identity.resolvers((tmp_path / "first", tmp_path / "second")) == expected


def test_resolvers_on_loopback_alone_are_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    with pytest.raises(EdgeError, match=r"resolv\.conf.*loopback.*Name the network's own server"):
        identity.resolvers((tmp_path / "resolv.conf", tmp_path / "missing"))


def test_port_names_fit_the_kernel_and_differ() -> None:
    names = ["vm-deb12", "a-rather-long-name-1", "a-rather-long-name-2", "exactly-12ch", "exactly-13chr"]
    ports = [netns.port(name) for name in names]
    assert all(len(port) <= 15 for port in ports)
    assert len(set(ports)) == len(names)
    assert netns.port("vm-deb12") == "el-vm-deb12"


def test_hardware_address_is_unicast_local_and_stable() -> None:
    address = netns.hardware_address("198.18.0.11")
    assert address == "02:ed:c6:12:00:0b"
    assert int(address[:2], 16) & 0b11 == 0b10


def test_inner_commands_limit_packets_to_the_way_out() -> None:
    lines = netns.inner_commands(HOST, 1400, ipv6=True).splitlines()
    assert "address replace 198.18.0.77/24 dev eth0" in lines
    assert "route replace default via 198.18.0.1 mtu 1400" in lines
    assert "address replace 2001:db8:18::77/64 dev eth0 nodad" in lines
    assert "route replace default via 2001:db8:18::1 mtu 1400" in lines


def test_inner_commands_without_ipv6_or_way_out() -> None:
    text = netns.inner_commands(HOST, None, ipv6=False)
    assert "2001:" not in text
    assert "mtu" not in text


@pytest.mark.parametrize(("numbers", "expected"), [("812\t1", True), ("812\t21", False), ("812\t5\t1", True), ("1812", False)])
def test_is_init(numbers: str, expected: bool) -> None:
    assert namespaces.is_init(f"Name:\tinit\nNSpid:\t{numbers}\nThreads:\t1\n") is expected


def test_is_init_on_a_kernel_that_does_not_tell() -> None:
    assert not namespaces.is_init("Name:\tinit\nThreads:\t1\n")


def test_root_of_reads_the_root_mount_only() -> None:
    other = "60 44 0:41 / /mnt rw - overlay /var/lib/edgemesh-lab/vms/other rw,lowerdir=/x\n"
    root = "71 44 0:40 / / rw,relatime shared:1 master:2 - overlay /var/lib/edgemesh-lab/vms/vm-a rw,lowerdir=/x,upperdir=/y,index=on\n"
    assert namespaces.root_of(other + root) == Path("/var/lib/edgemesh-lab/vms/vm-a")
    assert namespaces.root_of(other) is None
    assert namespaces.root_of("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n") is None


def test_archive_keeps_owner_mode_and_content() -> None:
    data = rootfs.archive([apt.File("/home/admin/.ssh/authorized_keys", b"key\n", 0o600, 1000)])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        (entry,) = tar.getmembers()
        file = tar.extractfile(entry)
        assert file is not None
        assert (entry.name, entry.mode, entry.uid, entry.gid) == ("home/admin/.ssh/authorized_keys", 0o600, 1000, 1000)
        assert file.read() == b"key\n"


def test_root_is_named_after_all_that_it_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    root, same = rootfs.Root("trixie"), {"trixie": ("b", "a"), "bookworm": ("b", "a")}
    monkeypatch.setattr(rootfs, "PACKAGES", same)
    keys = {root.key, rootfs.Root("bookworm").key}
    monkeypatch.setattr(rootfs, "PACKAGES", {"trixie": ("a", "b")})
    assert root.key in keys
    monkeypatch.setattr(rootfs, "PACKAGES", {"trixie": ("a",)})
    keys.add(root.key)
    monkeypatch.setattr(rootfs, "PACKAGES", same)
    monkeypatch.setattr(rootfs, "CUSTOMIZE", "true\n")
    keys.add(root.key)
    monkeypatch.setattr(apt, "authorities", lambda: [apt.File("/usr/local/share/ca-certificates/x.crt", b"x")])
    keys.add(root.key)
    assert len(keys) == 5


def test_inventory_has_both_groups_with_host_keys_checked() -> None:
    groups = vms.inventory_hosts()
    assert set(groups["edge_nginx"]["hosts"]) == {host.name for host in settings.VMS}
    assert set(groups["clients"]["hosts"]) == {host.name for host in settings.CLIENTS}
    first = groups["edge_nginx"]["hosts"]["vm-deb12"]
    assert first["ansible_host"] == "198.18.0.11"
    assert first["ansible_user"] == "admin"
    assert f"UserKnownHostsFile={settings.KNOWN_HOSTS}" in first["ansible_ssh_common_args"]
    assert "StrictHostKeyChecking=yes" in first["ansible_ssh_common_args"]


def test_known_hosts_name_every_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "HOST_KEYS", tmp_path)
    monkeypatch.setattr(settings, "KNOWN_HOSTS", tmp_path / "known_hosts")
    (tmp_path / "vm-a.pub").write_text("ssh-ed25519 AAAA comment\n")
    identity.write_known_hosts([HOST])
    assert (tmp_path / "known_hosts").read_text() == "vm-a,198.18.0.77,2001:db8:18::77 ssh-ed25519 AAAA\n"
