# SPDX-License-Identifier: GPL-3.0-or-later
"""A playbook outside the checkout, with nothing but the built artifact on its path, applies one route."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.playbooks import CHECKOUT, INVENTORY, LAB, ROUTE, variables

pytestmark = [pytest.mark.lab, pytest.mark.vms]
VM = "vm-deb13"

CONSUMER = """
- name: Somebody else's playbook
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Has work of its own
      ansible.builtin.debug:
        msg: nothing of edgemesh yet
- name: The route
  ansible.builtin.import_playbook: edgemesh.nginx_istio.site
"""


def run(folder: Path, *words: str) -> str:
    """Run a command where only the artifact is found; kubernetes.core is where pip put it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    env |= {"ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"), "HOME": str(folder), "ANSIBLE_HOST_KEY_CHECKING": "true"}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout[-4000:]} {done.stderr[-2000:]}"
    return done.stdout


def test_consumer(tmp_path: Path) -> None:
    run(tmp_path, "ansible-galaxy", "collection", "build", str(CHECKOUT), "--output-path", str(tmp_path))
    (artifact,) = tmp_path.glob("edgemesh-nginx_istio-*.tar.gz")
    run(tmp_path, "ansible-galaxy", "collection", "install", str(artifact), "-p", str(tmp_path / "collections"), "--offline", "--no-deps")
    listed = json.loads(run(tmp_path, "ansible-galaxy", "collection", "list", "edgemesh.nginx_istio", "--format", "json"))
    assert list(listed) == [str(tmp_path / "collections" / "ansible_collections")]
    assert not (tmp_path / "collections" / "ansible_collections" / "edgemesh" / "nginx_istio" / "lab").exists()

    (tmp_path / "consumer.yml").write_text(CONSUMER)
    values = {**variables(ROUTE, vms=VM), "verify_report_dir": str(tmp_path / "proof"), "edge_kubeconfig": str(LAB / "kubeconfig")}
    (tmp_path / "values.json").write_text(json.dumps(values))
    common = ("--inventory", str(INVENTORY), "--extra-vars", f"@{tmp_path / 'values.json'}")
    try:
        run(tmp_path, "ansible-playbook", "consumer.yml", *common)
        proof = json.loads((tmp_path / "proof" / "proof.json").read_text())
        assert proof["ok"]
        assert [route["name"] for route in proof["routes"]] == ["shop"]
    finally:
        run(tmp_path, "ansible-playbook", "edgemesh.nginx_istio.teardown", *common)
