# SPDX-License-Identifier: GPL-3.0-or-later
"""Istio by istioctl in place of Helm: foreseen, installed, unchanged, removed; at full length only, for it takes the lab's own away."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import istio, settings
from tests.integration.playbooks import CHECKOUT, KUBECTL, LAB, play

pytestmark = [pytest.mark.lab, pytest.mark.lab_lifecycle, pytest.mark.soak]

TASKS = [{"ansible.builtin.include_role": {"name": "edgemesh.nginx_istio.istio"}}]
CLUSTER = {"kubeconfig": str(settings.KUBECONFIG)}
DEFAULTS = {"group/edgemesh.nginx_istio.k8s": CLUSTER, "group/kubernetes.core.helm": CLUSTER}
CLUSTERWIDE = "customresourcedefinitions,clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations"


class Role:
    def __init__(self, folder: Path) -> None:
        self.playbook = folder / "istio.yml"
        self.playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "module_defaults": DEFAULTS, "tasks": TASKS}]))

    def run(self, *words: str, **values: Any) -> tuple[int, int, str]:
        """Exit code, how many tasks changed something, and what was printed."""
        images = json.loads((LAB / "images.json").read_text())
        gateway = {"name": "istio-ingressgateway", "node_ports": settings.NODE_PORTS, "values": {"resources": {"requests": {"cpu": "10m"}}}}
        common = {
            "istio_chart_source": str(settings.CHARTS),
            "istio_helm": str(settings.BIN / "helm"),
            "istio_istioctl": str(settings.BIN / "istioctl"),
            "istio_hub": images["hub"],
            "istio_tag": images["tag"],
            "istio_istiod_values": yaml.safe_load((istio.VALUES / "istiod.yaml").read_text()),
            "istio_gateways": [gateway],
            "istio_remove_crds": True,
        }
        done = play(str(self.playbook), {**common, **values}, *words)
        return done.returncode, sum(map(int, re.findall(r"changed=(\d+)", done.stdout))), done.stdout


def clusterwide() -> set[str]:
    names = subprocess.run([*KUBECTL, "get", CLUSTERWIDE, "--output", "name"], check=True, capture_output=True, text=True).stdout
    return {name for name in names.split() if "istio" in name}


@pytest.fixture
def role(tmp_path: Path) -> Iterator[Role]:
    made = Role(tmp_path)
    code, _changed, said = made.run(istio_state="absent")
    assert code == 0, said[-3000:]
    yield made
    made.run(istio_state="absent", istio_method="istioctl")
    subprocess.run(["python", "-m", "lab", "up"], check=True, capture_output=True, cwd=CHECKOUT)


def test_foreseen_installed_unchanged_and_removed(role: Role) -> None:
    assert not clusterwide()
    for words, changed in ((["--check"], 1), ([], 1), ([], 0)):
        code, seen, said = role.run(*words, istio_method="istioctl")
        assert (code, seen) == (0, changed), said[-3000:]
    pods = subprocess.run([*KUBECTL, "get", "pods", "--namespace", "istio-system"], check=True, capture_output=True, text=True).stdout
    assert len(re.findall(r"^istio\S+ +1/1 +Running", pods, re.MULTILINE)) == 2, pods
    code, changed, said = role.run(istio_method="istioctl", istio_state="absent")
    assert (code, changed > 0) == (0, True), said[-3000:]
    assert not clusterwide()


def test_what_istioctl_refuses_is_said(role: Role) -> None:
    wrong = {"istio_istiod_values": {"pilot": "nonsense"}, "istio_method": "istioctl"}
    code, _changed, said = role.run(**wrong)
    assert code != 0
    assert re.search(r"Name the pods that are not ready, and the reason.*pilot", said, re.DOTALL), said[-3000:]
