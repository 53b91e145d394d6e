# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's command line: ``python -m lab up|down|status|inventory|build|reset``."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from plugins.module_utils._errors import EdgeError

from . import build, cluster, health, images, inventory, istio, lock, network, packages, preflight, settings, vms
from .progress import Progress


def up(options: argparse.Namespace) -> int:
    """Bring up what isn't up."""
    preflight.before_packages()
    began = time.monotonic()
    with Progress() as progress, lock.held("up", progress.line):
        packages.ensure(progress)
        preflight.after_packages()
        network.up()
        # VMs and the cluster need nothing of each other.
        with ThreadPoolExecutor(1) as pool:
            machines = pool.submit(vms.up, progress) if options.vms else None
            make(progress)
            cluster.up(progress, istio.up)
            if machines:
                machines.result()
        inventory.write()
        progress.line(
            f"The lab is up after {time.monotonic() - began:.1f} s. KUBECONFIG={settings.KUBECONFIG}  inventory: {inventory.INVENTORY}"
        )
    return 0


def down(_: argparse.Namespace) -> int:
    """Remove all that `up` made, but the cache."""
    preflight.refuse(preflight.root())
    with Progress() as progress, lock.held("down", progress.line):
        with progress.step("end the cluster"):
            cluster.down()
        with progress.step("end the VMs"):
            vms.down(purge=True)
        with progress.step("remove network, state and settings"):
            network.down()
            remove(settings.STATE)
            remove(settings.RUN)
    return 0


def remove(folder: Path) -> None:
    """Remove a folder.

    :raises EdgeError: something in it can't be removed.
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise EdgeError(
            "can't be removed", where=str(error.filename), why=error.strerror or "", fix=f"See who uses it: fuser -vm {folder}"
        ) from error


def status(options: argparse.Namespace) -> int:
    """Say what runs and what doesn't."""
    preflight.refuse(preflight.root())
    found = health.parts(options.vms)
    if options.json:
        print(health.as_json(found))
    else:
        if changing := lock.owner():
            print(f"being changed by {changing}")
        for name, well, why in found:
            print(f"{'ok  ' if well else 'FAIL'}  {name:<24}  {why}".rstrip())
    return 0 if all(well for _, well, _ in found) else 1


def show_inventory(_: argparse.Namespace) -> int:
    """Print the inventory."""
    sys.stdout.write(inventory.text())
    return 0


def build_only(_: argparse.Namespace) -> int:
    """Make programs, images and the VMs' roots."""
    preflight.before_packages()
    with Progress() as progress, lock.held("build", progress.line):
        packages.ensure(progress)
        make(progress)
        vms.build(progress)
    return 0


def reset(options: argparse.Namespace) -> int:
    """Give VMs fresh roots."""
    preflight.refuse(preflight.root())
    with Progress() as progress, lock.held("reset", progress.line):
        for name in options.names:
            with progress.step(f"reset {name}"):
                vms.reset(name)
    return 0


def make(progress: Progress) -> None:
    """Programs, then the images that hold them."""
    build.build(progress)
    images.make(progress)


def arguments() -> argparse.ArgumentParser:
    """What may be said on the command line."""
    parser = argparse.ArgumentParser(prog="python -m lab", description="A real Kubernetes, Istio and VMs on this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Callable[[argparse.Namespace], int], help_: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_, description=help_)
        added.set_defaults(function=function)
        return added

    for name, function, help_ in (
        ("up", up, "start everything; repair broken parts; leave healthy parts alone"),
        ("status", status, "show the state of each part; exit code 0 if all is well"),
    ):
        command(name, function, help_).add_argument(
            "--vms", action=argparse.BooleanOptionalAction, default=True, help="also the VMs and clients (default)"
        )
    commands.choices["status"].add_argument("--json", action="store_true", help="for programs")
    command("down", down, "remove everything that `up` made, except the cache")
    command("inventory", show_inventory, "print an Ansible inventory")
    command("build", build_only, "only build programs, images and root file systems into the cache")
    command("reset", reset, "give VMs fresh root file systems").add_argument("names", nargs="+", metavar="VM")
    return parser


def main() -> int:
    """Run a command; errors that a person can mend are said in one sentence."""
    options = arguments().parse_args()
    try:
        code: int = options.function(options)
        return code
    except EdgeError as error:
        print(f"error: {error.sentence}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; repeat the command, or: python -m lab down", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
