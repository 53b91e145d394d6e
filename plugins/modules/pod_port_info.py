#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the pods of Services listen; see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pod_port_info
short_description: Internal - at which addresses and ports the pods of Services listen
version_added: "0.1.0"
description:
  - Internal to the collection's roles; may change in any release.
  - Returns of each Service where its ready pods listen themselves, at most four of them, at every address that they have, also of the
    family that the Service doesn't use.
author: edgemesh maintainers (@edgemesh)
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
      port:
        description: Number of a TCP port of the Service.
        type: int
        required: true
  timeout:
    description: Seconds for the whole task.
    type: int
    default: 30
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.read_only
  - edgemesh.nginx_istio._kube_connection
notes:
  - Needs C(get) on Services and Pods and C(list) on EndpointSlices of the namespaces; ready to apply in C(docs/rbac/probe_pod.yaml).
seealso:
  - module: edgemesh.nginx_istio.node_port_info
"""

EXAMPLES = r"""
- name: Find the app's own pods
  edgemesh.nginx_istio.pod_port_info:
    services: [{namespace: shop, name: web, port: 8000}]
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
results:
  description: One entry for each Service, in order.
  returned: success
  type: list
  elements: dict
  contains:
    namespace:
      description: As given.
      type: str
      returned: always
    name:
      description: As given.
      type: str
      returned: always
    port:
      description: As given.
      type: int
      returned: always
    addresses:
      description: Where its pods listen, IPv4 before IPv6.
      type: list
      elements: str
      returned: always
      sample: ["192.0.2.5:8080", "[2001:db8::5]:8080"]
    reason:
      description: Why there is none; empty where there is one.
      type: str
      returned: always
"""

from typing import Any

from ..module_utils._ansible import run
from ..module_utils._kube.arguments import CONNECTION_ARGUMENTS
from ..module_utils._kube.connection import connect
from ..module_utils._kube.pod_ports import look

ARGUMENTS: dict[str, Any] = {
    **CONNECTION_ARGUMENTS,
    "services": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "namespace": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
        },
    },
    "timeout": {"type": "int", "default": 30},
}


def work(_module: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Look."""
    client = connect(params)
    return {"changed": False, "results": [look(client, asked) for asked in params["services"]]}


def main() -> None:
    """Entry point."""
    run(work, argument_spec=ARGUMENTS)


if __name__ == "__main__":
    main()
