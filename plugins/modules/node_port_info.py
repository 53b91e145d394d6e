#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: edgemesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where Services can be reached from outside the cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_port_info
short_description: Return the addresses and ports of Services for clients outside the cluster
version_added: 0.1.0
author: edgemesh maintainers (@edgemesh)
description:
  - Returns each Service's ports by the requested name, number or protocol, never by position; the nodes with
    an address and whether they are Ready; the C(address:port) list to give to a proxy; and the load balancer's addresses.
  - With C(externalTrafficPolicy=Local) only nodes with a ready endpoint of the port count, because the others drop
    the traffic.
  - Can wait for NodePorts, ready endpoints or a load balancer's address.
options:
  services:
    description: The Services.
    type: list
    elements: dict
    required: true
    suboptions:
      namespace:
        description: Namespace.
        type: str
        required: true
      name:
        description: Name.
        type: str
        required: true
      ports:
        description:
          - Ports by name (V(https)), number (V(443)), number and protocol (V(443/UDP)) or protocol (V(UDP)); all ports if
            left out.
          - A missing port, or a word that matches several, is an error.
        type: list
        elements: str
        default: []
  address_types:
    description: Types of node addresses, by preference.
    type: list
    elements: str
    choices: [InternalIP, ExternalIP, Hostname, InternalDNS, ExternalDNS]
    default: [InternalIP, ExternalIP, Hostname]
  node_selector:
    description: Label selector for the nodes to use; all if left out.
    type: str
  wait:
    description: Whether to wait for O(wait_for).
    type: bool
    default: false
  wait_for:
    description:
      - The condition to wait for; each requested port must fulfil it.
      - V(node_port) a NodePort and a Ready node that serves it, V(endpoint) a ready endpoint, V(load_balancer) an address of
        the Service's load balancer.
    type: list
    elements: str
    choices: [node_port, endpoint, load_balancer]
    default: [node_port, endpoint]
  timeout:
    description: Seconds for the whole task.
    type: int
    default: 120
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.read_only
  - edgemesh.nginx_istio._kube_connection
attributes:
  check_mode:
    details:
      - Changes nothing in any mode. In check mode it does not wait, and a Service that isn't there is no error, because an earlier task
        may only have said that it would make it; its addresses are C((known after apply)).
notes:
  - Needs C(get), C(list) and C(watch) on Services and EndpointSlices of the namespaces and on Nodes; ready to apply in
    C(docs/rbac/node_port_info.yaml).
seealso:
  - module: edgemesh.nginx_istio.k8s_objects
"""

EXAMPLES = r"""
- name: Find the ingress gateway
  edgemesh.nginx_istio.node_port_info:
    services:
      - namespace: istio-system
        name: istio-ingressgateway
        ports: [https, http2]
    wait: true
  delegate_to: localhost
  run_once: true
  register: gateway

- name: Show what nginx should connect to
  ansible.builtin.debug:
    msg: "{{ gateway.results[0].node_ports.https }}"
"""

RETURN = r"""
results:
  description: One entry for each Service, in order.
  returned: success
  type: list
  elements: dict
  contains:
    namespace:
      description: Namespace.
      type: str
      returned: always
    name:
      description: Name.
      type: str
      returned: always
    found:
      description: Whether the Service exists; V(false) only in check mode.
      type: bool
      returned: always
    type:
      description: The Service's type.
      type: str
      returned: always
      sample: NodePort
    external_traffic_policy:
      description: V(Cluster) or V(Local); empty for type ClusterIP.
      type: str
      returned: always
    cluster_ips:
      description: Addresses within the cluster.
      type: list
      elements: str
      returned: always
    selector:
      description: Labels of the pods behind it.
      type: dict
      returned: always
    ports:
      description: >-
        The ports, by their names in the task; if none was requested, by port name, or number if it has no name. Each
        has C(name), C(port), C(node_port) (none if there is none), C(protocol) and C(target_port).
      type: dict
      returned: always
      sample: {https: {name: https, port: 443, node_port: 30443, protocol: TCP, target_port: "8443"}}
    nodes:
      description: >-
        The nodes, each with C(name), C(address) (of the first type that it has), C(addresses) (by type), C(ready) and
        C(has_endpoint) (none where EndpointSlices may not be read).
      type: list
      elements: dict
      returned: always
    node_ports:
      description: Addresses of each port, on all nodes that serve it; empty without a NodePort.
      type: dict
      returned: always
      sample: {https: ["192.0.2.10:30443", "192.0.2.11:30443"]}
    load_balancer:
      description: Addresses or names of the load balancer.
      type: list
      elements: str
      returned: always
"""

from typing import Any

from ..module_utils._ansible import run, warned
from ..module_utils._kube.arguments import CONNECTION_ARGUMENTS
from ..module_utils._kube.connection import connect
from ..module_utils._kube.node_port_info import Reach

ARGUMENTS: dict[str, Any] = {
    **CONNECTION_ARGUMENTS,
    "services": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "namespace": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "ports": {"type": "list", "elements": "str", "default": []},
        },
    },
    "address_types": {
        "type": "list",
        "elements": "str",
        "choices": ["InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS"],
        "default": ["InternalIP", "ExternalIP", "Hostname"],
    },
    "node_selector": {"type": "str"},
    "wait": {"type": "bool", "default": False},
    "wait_for": {
        "type": "list",
        "elements": "str",
        "choices": ["node_port", "endpoint", "load_balancer"],
        "default": ["node_port", "endpoint"],
    },
    "timeout": {"type": "int", "default": 120},
}


def work(module: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Look, or wait and look."""
    reach = Reach(params, check=module.check_mode)
    client = connect(params)
    with warned(module, client):
        return {"changed": False, "results": reach.look(client)}


def main() -> None:
    """Entry point."""
    run(work, argument_spec=ARGUMENTS)


if __name__ == "__main__":
    main()
