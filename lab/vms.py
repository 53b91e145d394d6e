# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's "VMs" and clients: each a Debian root of its own, with its own init, sshd, network and processes.

Nothing about a running VM is written down. Its init is found by the overlay that is its root: that mount lives in
the VM's own mount namespace and bears the VM's folder as its name. So a killed `up`, a restart of the machine or a
lost file can't make the lab believe something untrue, and when init ends the kernel takes the VM's processes and
mounts away with it.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from plugins.module_utils._errors import EdgeError

from . import files, identity, namespaces, netns, settings
from .processes import Process
from .rootfs import Progress, Root, archive, locked
from .settings import CLIENTS, VMS, Host

FOLDER = settings.STATE / "vms"
LOCK = settings.RUN / "vms.lock"
BOOT = Path(__file__).with_name("boot.sh")
BOOT_TIMEOUT = 20.0  # seconds until sshd answers
WORKERS = 4


@dataclass(frozen=True)
class Vm:
    """A host of the lab together with the root file system that it is made from."""

    host: Host

    @property
    def name(self) -> str:
        """The host's name."""
        return self.host.name

    @property
    def root(self) -> Root:
        """The root that it shares with others of its kind."""
        return Root(self.host.release)

    @property
    def folder(self) -> Path:
        """Where its own files are."""
        return FOLDER / self.name

    @property
    def note(self) -> Path:
        """Where it says what it is."""
        return self.folder / "vm.json"

    def description(self) -> dict[str, Any]:
        """What it is. Its files belong to the very folder that they were laid over, not to another that looks the same."""
        return {
            "host": asdict(self.host),
            "root": self.root.key,
            "inode": self.root.folder.stat().st_ino,
        }


def all_of(vms: Iterable[Host], clients: Iterable[Host]) -> list[Vm]:
    """These hosts."""
    return [Vm(host) for host in (*vms, *clients)]


def build(progress: Progress, vms: Iterable[Host] = VMS, clients: Iterable[Host] = CLIENTS) -> None:
    """Make the root file systems that these hosts need, and keep them in the cache."""
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda root: root.ensure(progress), {vm.root for vm in all_of(vms, clients)}))


def up(progress: Progress, vms: Iterable[Host] = VMS, clients: Iterable[Host] = CLIENTS) -> None:
    """Bring hosts up, and mend what is broken about them; the lab's other hosts are left as they are.

    A VM whose root is made otherwise by now (release, recipe) starts with a fresh one.

    :raises EdgeError: the bridge, a program or a package is missing, or a VM does not come up.
    """
    wanted = all_of(vms, clients)
    if not (netns.LINKS / settings.BRIDGE).exists():
        raise EdgeError(f"there is no bridge {settings.BRIDGE}", why="VMs are attached to it", fix="python -m lab up")
    with locked(LOCK), ThreadPoolExecutor(WORKERS) as pool:
        build(progress, vms, clients)
        for key in (settings.SSH_KEY, *(identity.HOST_KEYS / vm.name for vm in wanted)):
            identity.make_key(key)
        inits = namespaces.inits(FOLDER)
        list(pool.map(lambda vm: ensure(vm, inits.get(vm.name), progress), wanted))
        identity.write_known_hosts(vm.host for vm in noted().values())
        remove_unused_roots()


def down(names: Iterable[str] | None = None, *, purge: bool = False) -> None:
    """End hosts and take away what was made for them: processes, mounts, namespaces, interfaces.

    :param names: all hosts of the lab if None.
    :param purge: remove their files too; otherwise the next `up` finds them as after a reboot.
    """
    with locked(LOCK):
        inits = namespaces.inits(FOLDER)
        for name in {*noted(), *netns.names(), *inits} if names is None else set(names):
            stop(name, inits.get(name))
            netns.remove(name)
            if purge:
                shutil.rmtree(FOLDER / name, ignore_errors=True)
                identity.forget_key(name)
        if names is None:
            netns.remove_rest()
        if purge:
            identity.write_known_hosts(vm.host for vm in noted().values())
            if names is None:
                for folder in (FOLDER, settings.SSH_KEY.parent):
                    shutil.rmtree(folder, ignore_errors=True)


def reset(name: str) -> None:
    """Give a host a fresh root and start it; its address and its host key stay.

    :raises EdgeError: no such host.
    """
    with locked(LOCK):
        vm = noted().get(name)
        if vm is None:
            raise EdgeError(f"there is no VM {name}", why=f"known: {', '.join(sorted(noted())) or 'none'}", fix="python -m lab up")
        if not vm.root.folder.is_dir():
            raise EdgeError(f"the root of VM {name} is gone", where=str(vm.root.folder), fix="python -m lab up")
        stop(name, namespaces.inits(FOLDER).get(name))
        remove_files(vm)
        start(vm)


def status(vms: Iterable[Host] = VMS, clients: Iterable[Host] = CLIENTS) -> list[tuple[str, bool, str]]:
    """Name, whether it serves SSH, and a few words, of each host that there should be or is."""
    known = {host.name: host for host in (*vms, *clients, *(vm.host for vm in noted().values()))}
    inits = namespaces.inits(FOLDER)
    found = []
    for name, host in known.items():
        if init := inits.get(name):
            why = ssh_answers(host.address, seconds=2)
            found.append((name, not why, why or f"Debian {host.release}, {host.address}, {host.address6}, init is process {init.pid}"))
        else:
            found.append((name, False, "not running"))
    return found


def inventory_hosts(vms: Iterable[Host] = VMS, clients: Iterable[Host] = CLIENTS) -> dict[str, Any]:
    """The groups `edge_nginx` and `clients` as a fragment of an Ansible inventory."""
    common = {
        "ansible_user": "admin",
        "ansible_ssh_private_key_file": str(settings.SSH_KEY),
        "ansible_ssh_common_args": identity.SSH_OPTIONS,
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    return {
        group: {"hosts": {host.name: {"ansible_host": host.address, "edge_address6": host.address6, **common} for host in hosts}}
        for group, hosts in (("edge_nginx", vms), ("clients", clients))
    }


def ensure(vm: Vm, init: Process | None, progress: Progress) -> None:
    """Leave a host that is as it should be; mend its network; otherwise start it anew."""
    with progress.step(f"VM {vm.name}"):
        if files.read_json(vm.note) != vm.description():
            stop(vm.name, init)
            netns.remove(vm.name)
            remove_files(vm)
            init = None
        if init and namespaces.inside(init, vm.name):
            netns.ensure(vm.host)
            if not ssh_answers(vm.host.address, seconds=3):
                return
        stop(vm.name, init)
        start(vm)


def start(vm: Vm) -> None:
    """Boot a host of which nothing runs, and wait until its sshd answers.

    :raises EdgeError: it doesn't; with the end of its log.
    """
    for folder in ("upper", "work", "root"):
        (vm.folder / folder).mkdir(parents=True, exist_ok=True)
    files.write(vm.note, json.dumps(vm.description(), indent=1))
    netns.ensure(vm.host)
    log = vm.folder / "boot.log"
    if not boot(vm, log):
        raise EdgeError(
            f"VM {vm.name} does not boot", where=str(log), why=tail(log), fix=f"Give it a fresh root: python -m lab reset {vm.name}"
        )
    if why := ssh_answers(vm.host.address, seconds=BOOT_TIMEOUT):
        log = vm.folder / "upper/var/log/boot"
        raise EdgeError(f"VM {vm.name}: {why}", where=str(log), why=tail(log), fix=f"Give it a fresh root: python -m lab reset {vm.name}")


def boot(vm: Vm, log: Path) -> bool:
    """Start the VM's init in namespaces of its own; return whether it got so far."""
    read, write = os.pipe()
    with os.fdopen(read) as ready, tempfile.TemporaryFile() as stdin, log.open("wb") as stderr:
        try:
            stdin.write(archive(identity.host_files(vm.host)))
            stdin.seek(0)
            command = [
                *("setsid", "--fork", "nsenter", f"--net={netns.path(vm.name)}"),
                *("unshare", "--mount", "--propagation", "private", "--uts", "--ipc", "--cgroup", "--pid", "--fork"),
                *("sh", str(BOOT), str(vm.folder), str(vm.root.folder), vm.name),
            ]
            subprocess.run(command, stdin=stdin, stdout=write, stderr=stderr, cwd="/", check=True)
        finally:
            os.close(write)
        # unshare keeps the pipe open as long as the VM lives: a line tells success, the end alone failure.
        return bool(select.select([ready], [], [], BOOT_TIMEOUT)[0] and ready.readline())


def stop(name: str, init: Process | None) -> None:
    """End a host's processes, also those of a start that was interrupted, and wait until they are gone."""
    if init:
        init.kill()
    for _ in range(50):
        strays = list(namespaces.members(name))
        if not strays:
            return
        for process in strays:
            process.kill(wait=1)
    raise EdgeError(f"processes of VM {name} can't be ended", why=f"the last one is {strays[-1].pid}")


def ssh_answers(address: str, seconds: float) -> str:
    """Wait until an SSH server greets; return "" then, else why not."""
    deadline = time.monotonic() + seconds
    why = ""
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection((address, 22), timeout=left) as connection:
                connection.settimeout(max(0.1, deadline - time.monotonic()))
                if connection.recv(4) == b"SSH-":
                    return ""
                why = "another server than sshd"
        except OSError as error:
            why = str(error)
        time.sleep(0.02)
    return f"no SSH at {address}:22 within {seconds:g} s: {why}"


def noted() -> dict[str, Vm]:
    """All hosts that have files, by name."""
    notes = {path.parent.name: files.read_json(path) for path in FOLDER.glob("*/vm.json")}
    return {name: Vm(Host(**note["host"])) for name, note in notes.items() if note}


def remove_files(vm: Vm) -> None:
    """Its own files, so that it starts from the shared root again."""
    shutil.rmtree(vm.folder, ignore_errors=True)
    if vm.folder.exists():
        raise EdgeError(
            f"the files of VM {vm.name} can't be removed", where=str(vm.folder), fix=f"Find what uses them: fuser -vm {vm.folder}"
        )


def remove_unused_roots() -> None:
    """Unpacked roots of which no host is made any more, and what killed builds left; the tars stay."""
    used = {vm.root.folder for vm in noted().values()}
    for folder in (settings.CACHE / "roots").iterdir():
        if folder.is_dir() and folder not in used:
            shutil.rmtree(folder, ignore_errors=True)


def tail(log: Path) -> str:
    """The last lines of a log."""
    return " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:]) if log.exists() else ""
