# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's VMs: real enough for SSH, become, apt and init, and gone without a trace."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import apt, identity, namespaces, netns, rootfs, settings, vms
from lab.processes import Process
from lab.settings import Host
from lab.shell import run
from tests.quiet import Quiet

pytestmark = [pytest.mark.lab, pytest.mark.vms]

CHECKOUT = Path(__file__).resolve().parents[2]
# Thrown away by the tests; the lab's own VMs stay as users left them.
SPARE = Host("vm-spare", "198.18.0.240", "2001:db8:18::240", "trixie")
SPARE12 = Host("vm-spare12", "198.18.0.241", "2001:db8:18::241", "bookworm")
SOAK = bool(os.environ.get("EDGEMESH_SOAK"))
KILLS = 40 if SOAK else 4
# A program of its own, so that it can be killed; says a line when it has loaded its modules.
UP = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); from tests.integration.test_lab_vms import *; print(flush=True); up(SPARE)"


def up(*hosts: Host) -> None:
    vms.up(Quiet(), vms=hosts, clients=())


def ssh(host: Host, command: str, user: str = "admin", address: str = "") -> str:
    """Run a command the way Ansible's connection does, and fail on any exit code but 0."""
    options = [*identity.SSH_OPTIONS.split(), "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]
    return run(["ssh", *options, "-i", settings.SSH_KEY, f"{user}@{address or host.address}", command], timeout=300).strip()


def init(host: Host) -> Process:
    return namespaces.inits(vms.FOLDER)[host.name]


def end(host: Host) -> None:
    """As after a restart of the machine: no processes, and the namespace's name a plain file."""
    vms.stop(host.name, namespaces.inits(vms.FOLDER).get(host.name))
    run(["umount", netns.path(host.name)])
    subprocess.run(["ip", "link", "delete", netns.port(host.name)], check=False, capture_output=True)


@pytest.fixture
def spare() -> Iterator[Host]:
    """A VM that is up, and afterwards gone."""
    up(SPARE)
    yield SPARE
    vms.down([SPARE.name], purge=True)


@pytest.fixture(scope="module", autouse=True)
def lab_hosts() -> None:
    """The lab's own hosts are up."""
    vms.up(Quiet())


@pytest.mark.parametrize("host", [*settings.VMS, *settings.CLIENTS], ids=lambda host: host.name)
def test_admin_becomes_root_over_ssh(host: Host) -> None:
    for address in (host.address, host.address6):
        assert ssh(host, ". /etc/os-release; echo $(id -un) $(sudo -n id -un) $VERSION_CODENAME $(hostname)", address=address).split() == [
            "admin",
            "root",
            host.release,
            host.name,
        ]


@pytest.mark.parametrize("host", settings.VMS, ids=lambda host: host.name)
def test_vm_is_made_without_nginx(host: Host) -> None:
    root = vms.Vm(host).root.folder
    assert (root / "usr/sbin/sshd").is_file()
    assert not (root / "usr/sbin/nginx").exists()


def test_ansible_reaches_all_of_them(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {"children": vms.inventory_hosts()}}))
    command = [
        "ansible",
        "-i",
        str(inventory),
        "all",
        "-b",
        "-m",
        "ansible.builtin.setup",
        "-a",
        "filter=ansible_service_mgr,ansible_python_version",
    ]
    text = run([*command, "--one-line"], timeout=120)
    assert text.count('"ansible_service_mgr": "sysvinit"') == len(settings.VMS) + len(settings.CLIENTS), text


@pytest.mark.parametrize(("host", "version"), [(SPARE12, "1.22."), (SPARE, "1.26.")], ids=lambda value: getattr(value, "name", value))
def test_apt_installs_the_releases_nginx_and_init_starts_it(host: Host, version: str) -> None:
    """Through the ordinary client, with a service script, and again without any init."""
    up(host)
    try:
        ssh(host, "sudo apt-get -qq update && sudo DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends nginx")
        assert f"nginx/{version}" in ssh(host, "/usr/sbin/nginx -v 2>&1")
        ssh(host, "sudo service nginx start")
        assert get_status(host) == 200
        ssh(host, "sudo service nginx stop")
        with pytest.raises(OSError, match="refused"):
            get_status(host)
        ssh(host, "sudo /usr/sbin/nginx")
        assert get_status(host) == 200
        ssh(host, "sudo /usr/sbin/nginx -s quit; sleep 0.5")
        assert "Z" not in ssh(host, "ps -e -o stat="), "init must reap what daemons leave behind"
        init(host).kill()
        up(host)
        wait_for_status(host)  # as on any Debian machine, a restart starts what is installed
    finally:
        vms.down([host.name], purge=True)


def get_status(host: Host) -> int:
    connection = http.client.HTTPConnection(host.address, 80, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    finally:
        connection.close()


def wait_for_status(host: Host, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            assert get_status(host) == 200
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.mark.parametrize("host", [*settings.VMS, *settings.CLIENTS], ids=lambda host: host.name)
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_hosts_arrive_with_their_own_address(host: Host, family: socket.AddressFamily) -> None:
    here, there = (settings.NODE_IP, host.address) if family == socket.AF_INET else (settings.NODE_IP6, host.address6)
    with socket.create_server((here, 0), family=family) as server:
        server.settimeout(10)
        port = server.getsockname()[1]
        ssh(host, f"python3 -c 'import socket; socket.create_connection((\"{here}\", {port}), 5)'")
        connection, peer = server.accept()
        connection.close()
    assert peer[0] == there


@pytest.mark.parametrize("host", settings.CLIENTS, ids=lambda host: host.name)
def test_clients_have_curl_with_http2_and_openssl(host: Host) -> None:
    assert "HTTP2" in ssh(host, "curl --version")
    assert ssh(host, "openssl version").startswith("OpenSSL 3")


def test_apt_itself_speaks_the_format_that_is_asked_for() -> None:
    """Field names and the separator are apt's own; only its own answer can prove them."""
    assert "Suites: trixie\n" in apt.sources("trixie")
    assert "Suites: bookworm-security\n" in apt.sources("bookworm")


def test_what_is_written_for_a_vm_is_what_apt_says_here(tmp_path: Path) -> None:
    (written, *_) = apt.client_files()
    path = tmp_path / "90machine"
    path.write_bytes(written.content)
    alone = run(["apt-config", "dump", "Acquire"], env={"APT_CONFIG": str(path)})
    for setting in written.content.decode().splitlines():
        assert setting in alone


def test_repeated_up_leaves_a_running_vm_alone(spare: Host) -> None:
    before = init(spare)
    ssh(spare, "sudo touch /kept")
    for _ in range(2):
        up(spare)
    assert init(spare) == before
    ssh(spare, "test -e /kept")


def test_killed_init_takes_everything_along_and_up_starts_the_same_root_again(spare: Host) -> None:
    ssh(spare, "sudo touch /kept; setsid sleep 1000 >/dev/null 2>&1 & echo started")
    inside = list(namespaces.members(spare.name))
    assert len(inside) >= 3
    init(spare).kill()
    deadline = time.monotonic() + 5
    while any(process.alive() for process in inside) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [process for process in inside if process.alive()]
    up(spare)
    ssh(spare, "test -e /kept")


def test_killed_sshd_is_mended(spare: Host) -> None:
    listener = next(process for process in namespaces.members(spare.name) if "[listener]" in told(process, "cmdline"))
    listener.kill()
    assert vms.ssh_answers(spare.address, seconds=1)
    assert (spare.name, False) in [entry[:2] for entry in vms.status()]
    up(spare)
    assert (spare.name, True) in [entry[:2] for entry in vms.status()]


@pytest.mark.parametrize(
    "spoil",
    [
        ["ip", "link", "set", netns.port(SPARE.name), "nomaster"],
        ["ip", "link", "set", netns.port(SPARE.name), "down"],
        ["ip", "link", "delete", netns.port(SPARE.name)],
        ["ip", "-netns", netns.namespace(SPARE.name), "address", "flush", "dev", "eth0"],
        ["ip", "-netns", netns.namespace(SPARE.name), "route", "delete", "default"],
    ],
    ids=lambda command: " ".join(command[-3:]),
)
def test_network_is_mended_without_a_restart(spare: Host, spoil: list[str]) -> None:
    before = init(spare)
    run(spoil)
    up(spare)
    assert init(spare) == before
    assert "default via" in ssh(spare, "ip route; ip -6 route")
    assert ssh(spare, "hostname", address=spare.address6) == spare.name


def test_up_after_a_restart_of_the_machine(spare: Host) -> None:
    ssh(spare, "sudo touch /kept")
    end(spare)
    assert netns.path(spare.name).exists()
    up(spare)
    ssh(spare, "test -e /kept")


def test_lost_namespace_name_is_mended(spare: Host) -> None:
    """A VM that runs in a namespace without a name can't be reached for repairs: it is started anew."""
    before = init(spare)
    run(["ip", "netns", "delete", netns.namespace(spare.name)])
    up(spare)
    assert not before.alive()
    assert ssh(spare, "hostname") == spare.name


def test_root_that_changed_underneath_is_not_mixed_with_old_files(spare: Host) -> None:
    """What a VM wrote belongs to the root folder it was written over; over another the kernel's behaviour is undefined."""
    ssh(spare, "sudo touch /old")
    note = vms.Vm(spare).note
    note.write_text(note.read_text().replace(vms.Vm(spare).root.key, "another"))
    up(spare)
    assert ssh(spare, "ls -d /old 2>/dev/null || echo fresh") == "fresh"


@contextmanager
def up_elsewhere() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", UP], stdout=subprocess.PIPE, cwd=CHECKOUT) as process:
        assert process.stdout
        process.stdout.readline()
        yield process


@pytest.fixture(scope="module")
def up_seconds() -> float:
    """How long a start from nothing takes on this machine today."""
    with up_elsewhere() as process:
        began = time.monotonic()
        assert process.wait() == 0
        took = time.monotonic() - began
    vms.down([SPARE.name], purge=True)
    return took


@pytest.mark.parametrize("number", range(KILLS))
def test_up_killed_at_any_moment_is_repaired_by_the_next(number: int, up_seconds: float) -> None:
    """From nothing, with the kill moved through the whole start."""
    moment = 1.1 * up_seconds * number / (KILLS - 1)
    try:
        with up_elsewhere() as process:
            time.sleep(moment)
            process.kill()
        reached = "init" if SPARE.name in namespaces.inits(vms.FOLDER) else "namespace" if SPARE.name in netns.names() else "nothing yet"
        up(SPARE)
        assert ssh(SPARE, "hostname") == SPARE.name
        inside = list(namespaces.members(SPARE.name))
        assert len([process for process in inside if told(process, "comm") == "init\n"]) == 1
        assert int(ssh(SPARE, "pgrep -c -f '[l]istener'")) == 1
    finally:
        vms.down([SPARE.name], purge=True)
    print(f"killed after {moment:.2f} s of {up_seconds:.2f} s: {reached}")


def test_kernel_refuses_two_vms_on_one_root(spare: Host) -> None:
    before = init(spare)
    vm = vms.Vm(spare)
    log = vm.folder / "second.log"
    assert not vms.boot(vm, log)
    assert "already mounted or mount point busy" in log.read_text()
    assert init(spare) == before
    assert ssh(spare, "hostname") == spare.name


def test_reset_gives_a_fresh_root_with_the_same_identity(spare: Host) -> None:
    key = (identity.HOST_KEYS / spare.name).read_bytes()
    ssh(spare, "sudo touch /old")
    vms.reset(spare.name)
    assert ssh(spare, "ls -d /old 2>/dev/null || echo fresh") == "fresh"
    assert (identity.HOST_KEYS / spare.name).read_bytes() == key


def test_restart_from_inside_ends_the_vm_and_up_brings_it_back(spare: Host) -> None:
    before = init(spare)
    ssh(spare, "sudo touch /kept; sudo reboot")
    deadline = time.monotonic() + 30
    while before.alive() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not before.alive()
    up(spare)
    ssh(spare, "test -e /kept")


def test_mistakes_inside_do_not_reach_the_machine(spare: Host) -> None:
    before = Path("/proc/sys/kernel/panic").read_text()
    assert ssh(spare, "sudo sysctl -w kernel.panic=77 2>&1 || echo refused").endswith("refused")
    assert ssh(spare, "sudo date -s '2001-01-01' >/dev/null 2>&1 || echo refused") == "refused"
    assert ssh(spare, "sudo sysctl -n -w net.ipv4.ip_unprivileged_port_start=80") == "80", "its own network's settings are its own"
    assert Path("/proc/sys/kernel/panic").read_text() == before
    assert Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text().strip() == "1024"


def test_link_inside_leads_nowhere_outside(spare: Host) -> None:
    """Files are put in at boot; a link that a package made must not make that a way to the machine's files."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as outside:
        victim = Path(outside, "victim")
        victim.write_text("mine")
        ssh(spare, f"sudo ln -sfn {victim} /etc/resolv.conf; sudo mv /etc/apt {outside}; sudo ln -s {outside} /etc/apt")
        init(spare).kill()
        up(spare)
        assert ssh(spare, f"ls {outside}/apt.conf.d/90machine"), "otherwise this test sees nothing"
        assert victim.read_text() == "mine"
        assert list(Path(outside).iterdir()) == [victim]


def test_down_leaves_nothing_of_a_vm_behind() -> None:
    hosts = (SPARE, SPARE12)
    before, others = traces(), own_inits()
    up(*hosts)
    during = traces()
    inside = [process for host in hosts for process in namespaces.members(host.name)]
    assert len(inside) >= 6
    assert {"netns", "link", "process", "files"} <= {kind for kind, _ in during - before}, "otherwise this test sees nothing"
    vms.down([host.name for host in hosts], purge=True)
    assert traces() == before
    assert own_inits() == others, "the lab's own hosts are nobody's business here"
    assert not [process for process in inside if process.alive()]


def own_inits() -> dict[str, Process]:
    own = {host.name for host in (*settings.VMS, *settings.CLIENTS)}
    return {name: process for name, process in namespaces.inits(vms.FOLDER).items() if name in own}


def traces() -> set[tuple[str, str]]:
    """All that spare VMs could leave, wherever it is noted."""
    spares = (SPARE.name, SPARE12.name)
    found = {("mount", line) for line in Path("/proc/self/mountinfo").read_text().splitlines() if any(name in line for name in spares)}
    found |= {("netns", name) for name in netns.names() if name in spares}
    found |= {("link", link.name) for link in Path("/sys/class/net").iterdir() if link.name in {netns.port(name) for name in spares}}
    found |= {("process", name) for name in namespaces.inits(vms.FOLDER) if name in spares}
    for folder in (vms.FOLDER, identity.HOST_KEYS):
        found |= {("files", path.name) for path in folder.iterdir() if any(name in path.name for name in spares)}
    found |= {("known host", line) for line in settings.KNOWN_HOSTS.read_text().splitlines() if any(name in line for name in spares)}
    # Network namespaces without a name live as long as a process is inside.
    for process in namespaces.all_processes():
        source = namespaces.root_of(told(process, "mountinfo"))
        if source and source.name in spares:
            found.add(("process", source.name))
    return found


def test_down_of_a_half_made_vm(spare: Host) -> None:
    """Everything may be missing: its processes, its namespace, its interface, its files."""
    end(spare)
    shutil.rmtree(vms.Vm(spare).folder)
    vms.down([spare.name], purge=True)
    vms.down([spare.name], purge=True)
    assert not {trace for trace in traces() if trace[0] != "files" or "12" not in trace[1]}


@pytest.mark.soak
def test_a_fleet_is_cheap() -> None:
    """Ten VMs share one root: they start within seconds and take next to no space."""
    fleet = [Host(f"fleet-{number}", f"198.18.0.{150 + number}", f"2001:db8:18::{150 + number}", "trixie") for number in range(10)]
    names = [host.name for host in fleet]
    try:
        began = time.monotonic()
        up(*fleet)
        took = time.monotonic() - began
        assert all(ssh(host, "hostname") == host.name for host in fleet)
        space = sum(int(run(["du", "-sk", vms.Vm(host).folder]).split()[0]) for host in fleet)
        memory = sum(resident(process) for host in fleet for process in namespaces.members(host.name))
    finally:
        vms.down(names, purge=True)
    print(f"ten VMs: up in {took:.1f} s, {space} kB of disk, {memory} kB of resident memory")
    assert took < 30
    assert space < 10 * 1024
    assert not set(names) & netns.names()


def resident(process: Process) -> int:
    """Resident memory in kB."""
    lines = told(process, "status").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


@pytest.mark.soak
def test_root_build_killed_leaves_neither_processes_nor_mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill in the middle of an installation; the next build of the same root succeeds in the same place."""
    code = "\n".join(
        [
            "import sys",
            f"sys.path.insert(0, {str(CHECKOUT)!r})",
            "from pathlib import Path",
            "from lab import rootfs, settings",
            f"settings.CACHE = Path({str(tmp_path)!r})",
            "rootfs.CUSTOMIZE = 'true'",
            "rootfs.Root('bookworm').build()",
        ]
    )
    monkeypatch.setattr(rootfs, "CUSTOMIZE", "true")
    monkeypatch.setattr(settings, "CACHE", tmp_path)
    root = rootfs.Root("bookworm")
    work = root.folder.with_suffix(".work")
    with subprocess.Popen([sys.executable, "-c", code], cwd=CHECKOUT) as process:
        deadline = time.monotonic() + 120
        while not list(work.glob("mmdebstrap.*/var/lib/dpkg/info/*.list")) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert list(work.glob("mmdebstrap.*/var/lib/dpkg/info/*.list")), "the build did not get as far as installing"
        process.kill()
    deadline = time.monotonic() + 5
    while (left := [p.pid for p in namespaces.all_processes() if str(work) in told(p, "cmdline")]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    assert str(work) not in Path("/proc/mounts").read_text()
    assert not root.tar.exists()
    root.build()
    assert root.tar.stat().st_size > 10_000_000
    assert not work.exists()


def told(process: Process, file: str) -> str:
    """What a file in a process's folder of /proc says; nothing where it has ended since it was found, as that of an SSH session does."""
    try:
        return Path(f"/proc/{process.pid}/{file}").read_bytes().decode(errors="replace")
    except OSError:
        return ""
