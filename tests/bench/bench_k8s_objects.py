# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_objects beside kubernetes.core.k8s: one task with the same 100 objects of ten kinds, server-side apply, no waiting.

Needs a cluster (KUBECONFIG) and kubernetes.core. Whole plays are timed, in turns, so that what else the machine does hits
both; first on an empty namespace, then once more with nothing to do. Each round has a namespace of its own. From the checkout:

    python -m tests.bench.bench_k8s_objects [rounds]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from plugins.module_utils._kube.connection import connect
from plugins.module_utils._kube.wait import wait_for

OURS = "edgemesh.nginx_istio.k8s_objects"
THEIRS = "kubernetes.core.k8s"


def objects(namespace: str) -> list[dict[str, Any]]:
    """100 objects of ten kinds, none of which makes a controller work hard."""
    labels = {"app": "bench"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "localhost/nothing:1"}]}}
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}

    def make(kind: str, api_version: str, number: int, **content: Any) -> dict[str, Any]:
        name = f"{kind.lower()}-{number}"
        return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace, "labels": labels}, **content}

    found: list[dict[str, Any]] = []
    for number in range(10):
        rbac = "rbac.authorization.k8s.io"
        found += [
            make("ConfigMap", "v1", number, data={"text": "x" * 1000}),
            make("Secret", "v1", number, data={"word": "c2VjcmV0"}),
            make("ServiceAccount", "v1", number),
            make("Service", "v1", number, spec={"selector": labels, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}),
            make("Role", f"{rbac}/v1", number, rules=[rule]),
            make(
                "RoleBinding",
                f"{rbac}/v1",
                number,
                roleRef={"apiGroup": rbac, "kind": "Role", "name": f"role-{number}"},
                subjects=[{"kind": "ServiceAccount", "name": f"serviceaccount-{number}", "namespace": namespace}],
            ),
            make(
                "NetworkPolicy", "networking.k8s.io/v1", number, spec={"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress"]}
            ),
            make("PodDisruptionBudget", "policy/v1", number, spec={"minAvailable": 1, "selector": {"matchLabels": labels}}),
            make("CronJob", "batch/v1", number, spec={"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": _job(pod)}),
            make("Deployment", "apps/v1", number, spec={"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}),
        ]
    return found


def _job(pod: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"template": {**pod, "spec": {**pod["spec"], "restartPolicy": "Never"}}}}


def playbook(module: str, definitions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A play with one task, or none."""
    options: dict[str, dict[str, Any]] = {
        OURS: {"definitions": definitions, "wait": False},
        THEIRS: {
            "definition": definitions,
            "apply": True,
            "server_side_apply": {"field_manager": "edgemesh"},
            "wait": False,
        },
    }
    tasks = [{"name": "Apply", module: options[module]}] if module else []
    return [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable},
            "tasks": tasks,
        }
    ]


def play(module: str, definitions: list[dict[str, Any]], folder: Path) -> tuple[float, bool]:
    """Seconds that a whole play took, and whether it changed anything.

    :raises RuntimeError: when it failed.
    """
    book = folder / "play.yml"
    book.write_text(json.dumps(playbook(module, definitions)))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(book)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-1000:])
    return seconds, "changed=0" not in done.stdout


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Medians in seconds: for each module the first run and the second; for the empty play only ``first``."""
    client = connect({"timeout": 3600})
    times: dict[str, dict[str, list[float]]] = {name: {"first": [], "second": []} for name in (OURS, THEIRS, "")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for turn in range(rounds):
            times[""]["first"].append(play("", [], folder)[0])
            for module in (OURS, THEIRS) if turn % 2 else (THEIRS, OURS):
                namespace = f"edgemesh-test-{uuid.uuid4().hex[:8]}"
                client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
                try:
                    time.sleep(1)  # the namespace's own objects are made meanwhile
                    for run in ("first", "second"):
                        seconds, changed = play(module, objects(namespace), folder)
                        times[module][run].append(seconds)
                        if module == OURS and changed is not (run == "first"):
                            raise RuntimeError(f"the {run} run said changed={changed}")
                finally:
                    client.delete("Namespace", namespace)
                    wait_for(client, "Namespace", namespace, None, lambda live: "it is still there" if live else "")
    return {name: {run: statistics.median(each) for run, each in runs.items() if each} for name, runs in times.items()}


def main() -> None:
    """Measure and print."""
    found = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    print(f"empty play                {found['']['first']:6.2f} s")
    for module in (OURS, THEIRS):
        print(f"{module:25} {found[module]['first']:6.2f} s first run, {found[module]['second']:6.2f} s second")
    for run in ("first", "second"):
        print(f"ratio, {run} run         {found[OURS][run] / found[THEIRS][run]:6.2f}")


if __name__ == "__main__":
    main()
