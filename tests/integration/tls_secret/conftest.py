# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays against a real API server, in namespaces of their own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab import settings
from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.connection import connect

ROOT = Path(__file__).parents[3]


@dataclass
class Run:
    """What a play did: its exit code, its results by task name and host, and all that it printed."""

    code: int
    printed: str
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def one(self, task: str) -> dict[str, Any]:
        """The result of ``task`` on its only host."""
        (result,) = self.tasks[task].values()
        return dict(result)

    def changed(self) -> dict[str, bool]:
        return {name: bool(self.one(name).get("changed")) for name in self.tasks}


class Player:
    """Writes a playbook and runs it."""

    def __init__(self, folder: Path, kubeconfig: Path) -> None:
        self.folder, self.kubeconfig = folder, kubeconfig
        self.here = folder / "here.ini"
        self.here.write_text("localhost ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'\n")

    def __call__(
        self,
        tasks: list[dict[str, Any]],
        *options: str,
        hosts: str = "localhost",
        inventory: str = "",
        as_json: bool = True,
        **environment: str,
    ) -> Run:
        playbook = self.folder / f"{secrets.token_hex(4)}.yml"
        playbook.write_text(json.dumps([{"hosts": hosts, "gather_facts": False, "tasks": tasks}]))
        run = subprocess.run(
            ["ansible-playbook", "-i", inventory or str(self.here), *options, str(playbook)],
            cwd=self.folder,
            env={**os.environ, **self.environment(as_json), **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        result = Run(run.returncode, run.stdout + run.stderr)
        if as_json:
            start = run.stdout.find("{")
            assert start >= 0, result.printed
            for play in json.loads(run.stdout[start:])["plays"]:
                for task in play["tasks"]:
                    result.tasks[task["task"]["name"]] = task["hosts"]
        return result

    def environment(self, as_json: bool = True) -> dict[str, str]:
        made = {"K8S_AUTH_KUBECONFIG": str(self.kubeconfig), "ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_NOCOLOR": "1"}
        return {**made, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"} if as_json else made


@pytest.fixture
def play(tmp_path: Path, kubeconfig: Path) -> Player:
    return Player(tmp_path, kubeconfig)


@pytest.fixture
def client(kubeconfig: Path) -> Client:
    """A test's own, which outlasts its plays."""
    return connect({"kubeconfig": str(kubeconfig), "timeout": 7200})


@pytest.fixture
def namespace(client: Client) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"edgemesh-test-{secrets.token_hex(4)}"
    client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    client.delete("Namespace", name)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place for key files that is safe all the way up."""
    with tempfile.TemporaryDirectory(dir=Path.home(), prefix=".edgemesh-test-") as name:
        yield Path(name)


@pytest.fixture
def vm(tmp_path: Path) -> tuple[str, str]:
    """Inventory and name of a lab VM, reached by SSH as an ordinary user that may become root."""
    made = subprocess.run([sys.executable, "-m", "lab", "inventory"], cwd=ROOT, capture_output=True, text=True, check=True)
    inventory = tmp_path / "lab.yml"
    inventory.write_text(made.stdout)
    return str(inventory), settings.VMS[0].name
