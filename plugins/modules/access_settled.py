#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Wait until every gateway pod admits and refuses the right clients; see DOCUMENTATION. All of it happens in the action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: access_settled
short_description: Internal - wait until every gateway pod admits and refuses the right clients
version_added: "0.1.0"
author: edgemesh maintainers (@edgemesh)
description:
  - Internal to the collection's roles; may change in any release.
  - Reads the gateways' pods, and fails if one has started with another topology than C(front) needs; or sends requests to each of them as
    an admitted and as a refused client. It doesn't ask as a client that another list's policies deny.
options:
  read:
    description: The text of the fact C(edge__read) that M(edgemesh.nginx_istio.read_routes) has set.
    type: str
    required: true
  stage:
    description:
      - V(started) reads every pod's topology once.
      - V(answering) sends requests to every pod until it answers correctly. If the task's host can't reach the pods, it sends none.
    type: str
    choices: [started, answering]
    required: true
  consecutive:
    description: Number of correct answers in a row from every pod.
    type: int
    default: 5
  wait_timeout:
    description: Seconds until every pod answers correctly.
    type: int
    default: 180
  istio_namespace:
    description: Namespace of istiod and of the mesh's configuration.
    type: str
    default: istio-system
  mesh_config:
    description: The ConfigMap of the mesh's configuration.
    type: str
    default: istio
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.read_only
  - edgemesh.nginx_istio._kube_connection
attributes:
  check_mode:
    details: It sends requests in check mode too.
notes:
  - Needs the RBAC of C(docs/rbac/gateway_access_control.yaml), of which it only reads, and for C(front.scope) V(mesh) also
    C(docs/rbac/gateway_access_control_mesh.yaml).
"""

EXAMPLES = r"""
- name: Wait until every gateway pod applies the policies
  edgemesh.nginx_istio.access_settled:
    read: "{{ ansible_facts.edge__read }}"
    stage: answering
"""

RETURN = r"""
asked:
  description: Number of judged answers of pods; 0 if no pod could be reached.
  returned: success
  type: int
"""
