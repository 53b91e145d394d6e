#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: edgemesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kubernetes objects of several kinds and namespaces, read in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_objects_info
short_description: Read Kubernetes objects of several kinds and namespaces in one task
version_added: "0.1.0"
author: edgemesh maintainers (@edgemesh)
description:
  - Sends each query once, several at a time over kept connections, and returns the objects as they are in the cluster.
  - A missing object, namespace or kind is no failure.
  - Secrets are refused, because results may be shown; M(edgemesh.nginx_istio.tls_secret_info) reads those.
options:
  queries:
    description: The objects to read, with the option names of M(kubernetes.core.k8s_info).
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description: Kind.
        type: str
        required: true
      api_version:
        description: API version.
        type: str
        default: v1
      namespace:
        description: Namespace. All namespaces if left out.
        type: str
      name:
        description: One object's name. All objects if left out.
        type: str
      label_selectors:
        description: Label selectors, all of which must match.
        type: list
        elements: str
        default: []
      field_selectors:
        description: Field selectors, all of which must match.
        type: list
        elements: str
        default: []
  timeout:
    description: Seconds for the whole task.
    type: int
    default: 30
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.read_only
  - edgemesh.nginx_istio._kube_connection
notes:
  - Needs C(get) for queries with O(queries[].name), and C(list) for all others.
seealso:
  - module: edgemesh.nginx_istio.k8s_objects
  - module: kubernetes.core.k8s_info
"""

EXAMPLES = r"""
- name: Look at a gateway
  edgemesh.nginx_istio.k8s_objects_info:
    queries:
      - {kind: Service, namespace: istio-system, name: istio-ingressgateway}
      - {kind: Pod, namespace: istio-system, label_selectors: [istio=ingressgateway]}
      - {api_version: networking.istio.io/v1, kind: Gateway}
  register: gateway

- name: Show its pods
  ansible.builtin.debug:
    msg: "{{ gateway.results[1].resources | map(attribute='metadata.name') }}"

- name: Say what hinders them
  ansible.builtin.debug:
    msg: "{{ gateway.not_ready }}"
"""

RETURN = r"""
results:
  description: One entry for each query, in order.
  returned: success
  type: list
  elements: dict
  contains:
    api_found:
      description: Whether the cluster knows the kind.
      type: bool
      returned: always
    resources:
      description: The objects as they are in the cluster, C(metadata.managedFields) included.
      type: list
      elements: dict
      returned: always
not_ready:
  description:
    - A sentence for each of these objects that is not ready by its kind's own meaning, with the reason; empty when all are.
    - Where events were read too, with the last one about it; pods that could not be made at all (by quota or an admission webhook)
      appear by the event of what should have made them.
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ..module_utils._ansible import run, warned
from ..module_utils._kube.arguments import CONNECTION_ARGUMENTS
from ..module_utils._kube.connection import connect
from ..module_utils._kube.k8s_objects_info import look, not_ready

ARGUMENTS: dict[str, Any] = {
    **CONNECTION_ARGUMENTS,
    "queries": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "kind": {"type": "str", "required": True},
            "api_version": {"type": "str", "default": "v1"},
            "namespace": {"type": "str"},
            "name": {"type": "str"},
            "label_selectors": {"type": "list", "elements": "str", "default": []},
            "field_selectors": {"type": "list", "elements": "str", "default": []},
        },
    },
    "timeout": {"type": "int", "default": 30},
}


def work(module: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Look."""
    client = connect(params)
    with warned(module, client):
        results = look(client, params["queries"])
        return {"changed": False, "results": results, "not_ready": not_ready(results)}


def main() -> None:
    """Entry point."""
    run(work, argument_spec=ARGUMENTS)


if __name__ == "__main__":
    main()
