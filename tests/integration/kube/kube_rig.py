# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs k8s_objects' and node_port_info's work against a real API server: in this process, or by Ansible."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.connection import connect
from plugins.module_utils._kube.k8s_objects import Objects

DEFAULTS: dict[str, Any] = {
    "src": [],
    "state": "present",
    "wait": True,
    "timeout": 30,
    "force_conflicts": False,
    "prune": None,
    "concurrency": 6,
    "field_manager": "edgemesh",
    "namespace": None,
    "list": None,
}


class Outcome:
    """What a task returned, and its failure if it had one."""

    def __init__(self, result: dict[str, Any], error: EdgeError | None, client: Client) -> None:
        self.changed: bool = result["changed"]
        self.results: list[dict[str, Any]] = result["results"]
        self.diff: list[dict[str, Any]] = result.get("diff", [])
        self.error = error
        self.warnings = client.warnings

    @property
    def actions(self) -> list[str]:
        """Of each object, in order."""
        return [each["action"] for each in self.results]


def objects(client: Client, definitions: Any, *, check: bool = False, diff: bool = False, **options: Any) -> Outcome:
    """A k8s_objects task in this process."""
    work = Objects({**DEFAULTS, "definitions": definitions, **options}, check=check, diff=diff)
    error = None
    try:
        work.change(client)
    except EdgeError as caught:
        error = caught
    return Outcome(work.result(), error, client)


def play(
    folder: Path, *tasks: dict[str, Any], arguments: tuple[str, ...] = (), environment: dict[str, str] | None = None, **keys: Any
) -> tuple[list[dict[str, Any]], str]:
    """A play on localhost; returns every task's registered result, failed or not, and all that Ansible printed."""
    registered = [{**task, "register": f"r{index}", "ignore_errors": True} for index, task in enumerate(tasks)]
    out = folder / f"{uuid.uuid4().hex}.json"
    names = ", ".join(f"r{index}" for index in range(len(tasks)))
    save = {
        "ansible.builtin.copy": {"content": f"{{{{ [{names}] | to_json }}}}", "dest": str(out), "mode": "0600"},
        "check_mode": False,
        "diff": False,
    }
    book = folder / "play.yml"
    book.write_text(
        json.dumps(
            [
                {
                    "hosts": "localhost",
                    "connection": "local",
                    "gather_facts": False,
                    "vars": {"ansible_python_interpreter": sys.executable},
                    **keys,
                    "tasks": [*registered, save],
                }
            ]
        )
    )
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", *arguments, str(book)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert out.is_file(), done.stdout + done.stderr
    return json.loads(out.read_text()), done.stdout + done.stderr


@contextmanager
def temporary_namespace(client: Client) -> Iterator[str]:
    """A namespace of the tests' own; gone afterwards, waited for by nobody."""
    name = f"edgemesh-test-{uuid.uuid4().hex[:8]}"
    client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"edgemesh-test": "yes"}}})
    try:
        yield name
    finally:
        client.delete("Namespace", name)


def who(client: Client) -> str:
    """Whom the API server takes us for."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    body = json.dumps(review).encode()
    answer = client._call(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=body, content_type="application/json", where="who am I"
    )
    return str(answer["status"]["userInfo"]["username"])


def config_map(name: str, namespace: str, data: Any = None, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "data": data or {"a": "b"},
    }


def secret(name: str, namespace: str, **content: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, **content}


def deployment(
    name: str, namespace: str, replicas: int = 0, image: str = "localhost/edgemesh/no-such-image:1", **metadata: Any
) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": image, "ports": [{"containerPort": 80}]}]},
            },
        },
    }


__all__ = ["Outcome", "config_map", "connect", "deployment", "objects", "play", "secret", "temporary_namespace", "who"]
