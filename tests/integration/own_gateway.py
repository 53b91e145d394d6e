# SPDX-License-Identifier: GPL-3.0-or-later
"""An ingress gateway of a test's own, on NodePorts that Kubernetes chooses."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.integration.playbooks import CHECKOUT, LAB, kubectl

NAME = "gw"


@contextmanager
def own_gateway(namespace: str, folder: Path, **values: Any) -> Iterator[None]:
    """Release ``gw`` of Istio's chart in a namespace of its own, which goes with it.

    :param values: in addition to the lab's own.
    """
    try:
        install(namespace, NAME, folder, **values)
        yield
    finally:
        subprocess.run([*helm(namespace), "uninstall", NAME, "--wait"], check=False, capture_output=True, timeout=120)
        kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")


def install(namespace: str, name: str, folder: Path, **values: Any) -> None:
    """A release of Istio's chart, ready, with the lab's values and these."""
    chart = yaml.safe_load((CHECKOUT / "lab" / "values" / "gateway.yaml").read_text())
    for port in chart["service"]["ports"]:
        del port["nodePort"]
    chart["service"].update(values.pop("service", {}))
    (folder / f"{name}.json").write_text(json.dumps({**chart, **values}))
    install = ["upgrade", "--install", name, str(LAB / "charts" / "gateway"), "--create-namespace", "--wait", "--timeout", "120s"]
    command = [*helm(namespace), *install, "--values", str(folder / f"{name}.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr + kubectl("get", "pods,events", "--namespace", namespace)


def helm(namespace: str) -> list[str]:
    """Helm at the lab."""
    return [str(LAB / "bin" / "helm"), "--kubeconfig", str(LAB / "kubeconfig"), "--namespace", namespace]
