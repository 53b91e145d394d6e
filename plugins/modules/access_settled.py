#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Wait until every gateway pod lets in whom it should; see DOCUMENTATION. All of it happens in the action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: access_settled
short_description: Internal - wait until every gateway pod lets in whom it should, and nobody else
version_added: "0.1.0"
author: edgemesh maintainers (@edgemesh)
description:
  - Internal to the collection's roles; may change in any release.
  - Looks at the gateways' pods, and refuses those that have started with another topology than C(front) needs; or asks each of them as a
    client that may come in and as one that may not.
options:
  read:
    description: The text of the fact C(edge__read) that M(edgemesh.nginx_istio.read_routes) has set.
    type: str
    required: true
  stage:
    description:
      - V(started) looks once what every pod trusts.
      - V(answering) asks every pod until it answers as it should. Where pods can't be reached from the task's host, nothing is asked.
    type: str
    choices: [started, answering]
    required: true
  consecutive:
    description: How often in a row every pod has to answer as it should.
    type: int
    default: 5
  wait_timeout:
    description: Seconds until every pod answers as it should.
    type: int
    default: 180
  istio_namespace:
    description: Where istiod and the mesh's configuration are.
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
    details: It asks in check mode too.
notes:
  - Needs the RBAC of C(docs/rbac/gateway_access_control.yaml), of which it only reads.
"""

EXAMPLES = r"""
- name: Wait until every gateway pod has taken it in
  edgemesh.nginx_istio.access_settled:
    read: "{{ ansible_facts.edge__read }}"
    stage: answering
"""

RETURN = r"""
asked:
  description: How many answers of pods were judged; 0 where no pod could be asked.
  returned: success
  type: int
"""
