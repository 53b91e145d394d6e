# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab tells its users: an Ansible inventory."""

from __future__ import annotations

from typing import Any

import yaml

from plugins.module_utils._errors import EdgeError

from . import files, istio, network, settings, vms

INVENTORY = settings.STATE / "inventory.yml"


def inventory() -> dict[str, Any]:
    """Groups `edge_nginx` and `clients`, and what there is to know of the cluster as variables of all hosts.

    :raises EdgeError: the lab was never up.
    """
    images = files.read_json(settings.IMAGES)
    if images is None:
        raise EdgeError("there is no lab on this machine", fix="python -m lab up")
    variables = {
        "edge_kubeconfig": str(settings.KUBECONFIG),
        "lab_kubeconfig": str(settings.KUBECONFIG),
        "lab_bin": str(settings.BIN),
        **{f"lab_{name}": str(settings.BIN / name) for name in ("kubectl", "helm", "istioctl")},
        "lab_node_name": settings.NODE_NAME,
        "lab_node_ip": settings.NODE_IP,
        "lab_node_ip6": settings.NODE_IP6,
        "lab_node_ports": dict(settings.NODE_PORTS),
        "lab_network": settings.NETWORK,
        "lab_pod_cidr": settings.POD_CIDR,
        "lab_charts": str(settings.CHARTS),
        "lab_istiod_values": str(istio.VALUES / "istiod.yaml"),
        "lab_dual_stack": network.has_ipv6(),
        "lab_gateway_values": str(istio.VALUES / "gateway.yaml"),
        "lab_images": images,
        "lab_hub": images["hub"],
        "lab_tag": images["tag"],
        "lab_echo_host": settings.ECHO_HOST,
    }
    return {"all": {"vars": variables, "children": vms.inventory_hosts()}}


def text() -> str:
    """The inventory as YAML."""
    return str(yaml.safe_dump(inventory(), sort_keys=False, explicit_start=True))


def write() -> None:
    """Keep the inventory where it can be named: `-i /var/lib/edgemesh-lab/inventory.yml`."""
    files.write(INVENTORY, text())
