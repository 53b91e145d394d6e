# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs playbooks as a user does, and reads back what they left on the lab."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any, Optional

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
LAB = Path("/var/lib/edgemesh-lab")
INVENTORY = LAB / "inventory.yml"
KUBECTL = [str(LAB / "bin" / "kubectl"), "--kubeconfig", str(LAB / "kubeconfig")]
# Kinds that only we write to while nothing else runs.
KINDS = (
    "secrets",
    "services",
    "deployments",
    "gateways.networking.istio.io",
    "virtualservices.networking.istio.io",
    "peerauthentications.security.istio.io",
)

ROUTE: dict[str, Any] = {
    "name": "shop",
    "host": "shop.example.com",
    "listen": {"certificate": "shop-public"},
    "upstream_tls": {"mode": "mutual", "client_certificate": "edge-client", "client_names": ["edge.example.com"]},
    "paths": [{"path": "/", "service": {"namespace": "shop", "name": "web", "port": 8000}}],
    "probe": {"path": "/status/418", "status": 418},
}


def variables(*routes: dict[str, Any], vms: str = "vm-deb13") -> dict[str, Any]:
    """What a user of the lab's mesh writes for these routes."""
    images = json.loads((LAB / "images.json").read_text())
    return {
        "edge_vms": vms,
        "edge_demo_app": True,
        "edge_routes": list(routes),
        "demo_app_image": images["httpbin"],
        "edge_issue": ["gateway", "client", "listener"],
        "verify_hosts": [vms],
        "verify_echo_path": "/headers",
        "nginx_offload_remove_package": True,
        "edge_remove_ca": True,
    }


def play(
    playbook: str, values: dict[str, Any], *more: str, cwd: Optional[Path] = None, env: Optional[dict[str, str]] = None
) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the checkout (``site.yml``), or of a collection (``edgemesh.nginx_istio.site``), with these variables."""
    name = str(CHECKOUT / "playbooks" / playbook) if playbook.endswith(".yml") and "/" not in playbook else playbook
    words = ["ansible-playbook", name, "--inventory", str(INVENTORY), "--extra-vars", json.dumps(values), *more]
    return subprocess.run(
        words, cwd=cwd or CHECKOUT, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=600, check=False
    )


def kubectl(*words: str) -> str:
    """Ask the lab's API server."""
    return subprocess.run([*KUBECTL, *words], check=True, capture_output=True, text=True, timeout=60).stdout


def versions(*namespaces: str) -> dict[str, str]:
    """resourceVersion of every object of ours and around ours; other tests, which may run at the same time, name theirs as below."""
    found = {}
    for namespace in namespaces:
        for item in json.loads(kubectl("get", ",".join(KINDS), "--namespace", namespace, "--output", "json"))["items"]:
            metadata = item["metadata"]
            if not metadata["name"].startswith("edgemesh-test-"):
                found[f"{item['kind']} {metadata.get('namespace', '')}/{metadata['name']}"] = metadata["resourceVersion"]
    return found


def hosts(group: str) -> dict[str, dict[str, str]]:
    """The lab's hosts of a group, with what Ansible needs to reach them."""
    found: dict[str, dict[str, str]] = yaml.safe_load(INVENTORY.read_text())["all"]["children"][group]["hosts"]
    return found


def on_host(name: str, command: str, given: str = "", others: Optional[dict[str, dict[str, str]]] = None) -> str:
    """What a command prints on a VM or a client, or on one of ``others`` in their place, as root, by the way that Ansible takes."""
    host = (others or {**hosts("edge_nginx"), **hosts("clients")})[name]
    ssh = ["ssh", "-i", host["ansible_ssh_private_key_file"], *shlex.split(host["ansible_ssh_common_args"])]
    words = [*ssh, f"{host['ansible_user']}@{host['ansible_host']}", f"sudo sh -c {shlex.quote(command)}"]
    done = subprocess.run(words, input=given, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def tree(vm: str) -> str:
    """Checksums of nginx's configuration and of the certificates that it uses."""
    return on_host(vm, "find /etc/nginx /etc/edgemesh -type f -exec sha256sum {} + | sort -k2")
