#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plan who may come in through gateways, and see what stands before them; see DOCUMENTATION. All of it happens in the action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: access_plan
short_description: Internal - plan who may come in through gateways, and see what stands before them
version_added: "0.1.0"
author: edgemesh maintainers (@edgemesh)
description:
  - Internal to the collection's roles; may change in any release.
  - Compares C(access) and C(front) of gateways and routes with what is in the cluster, and returns what to apply.
  - Asks through each front with a marked request, and reads in the gateways' access logs how it arrived. Refuses a C(front) that is not
    what is seen, access that would lock out health checks, the VMs and clients that probe, or this run itself, and everything else that
    can't work.
  - Changes nothing. Where nobody is kept out (no C(access), no C(front.proxies)) it doesn't even look at the cluster.
options:
  read:
    description: The text of the fact C(edge__read) that M(edgemesh.nginx_istio.read_routes) has set.
    type: str
    required: true
  state:
    description: V(absent) returns what restores the state before. Then nothing is asked.
    type: str
    choices: [present, absent]
    default: present
  only_with_lists:
    description: Whether there is nothing to do where no gateway and no route has C(access) or C(front.proxies).
    type: bool
    default: false
  topology:
    description: Whether what makes the client's address arrive is planned too.
    type: bool
    default: true
  allow_interruption:
    description: Whether PROXY protocol may begin or end at a gateway that has pods. Requests fail meanwhile.
    type: bool
    default: false
  prune_policies:
    description: Whether RV(prune) is returned.
    type: bool
    default: true
  detect:
    description: Whether to ask through the fronts.
    type: bool
    default: true
  entries:
    description:
      - Where clients come in, by gateway name, each a list of C(host:port).
      - By default the machines that serve its routes where an HTTP or a TCP proxy stands before it, else the gateway's own addresses.
    type: dict
    default: {}
  clients:
    description:
      - Inventory names of clients. Where a list is about a route, they have to be let in, as have the machines that serve it.
    type: list
    elements: str
    default: []
  own_clients:
    description: Further addresses and networks that have to be let in.
    type: raw
    default: []
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
    details: It asks in check mode too. Gateways may be missing then.
notes:
  - Needs the RBAC of C(docs/rbac/gateway_access_control.yaml), of which it only reads.
"""

EXAMPLES = r"""
- name: Read the routes
  edgemesh.nginx_istio.read_routes:

- name: Plan
  edgemesh.nginx_istio.access_plan:
    read: "{{ ansible_facts.edge__read }}"
  register: planned
"""

RETURN = r"""
settings:
  description:
    - Partial objects for M(edgemesh.nginx_istio.k8s_objects) with C(field_manager) V(edgemesh-access); they name only what is changed of
      the gateways' Deployments and Services, and of the mesh's configuration.
  returned: success
  type: list
  elements: dict
policies:
  description: AuthorizationPolicies.
  returned: success
  type: list
  elements: dict
prune:
  description: For O(edgemesh.nginx_istio.k8s_objects#module:prune). Empty without O(prune_policies), and where there is no gateway.
  returned: success
  type: dict
notes:
  description: Sentences for people, such as which gateways take the client's address from anybody.
  returned: success
  type: list
  elements: str
seen:
  description: How the marked requests arrived, one entry for each that was found in a log.
  returned: success
  type: list
  elements: dict
  contains:
    gateway:
      description: The gateway's name.
      type: str
    entry:
      description: Where the request went in.
      type: str
    way:
      description: The addresses that it came by, that of the outermost client first; the last is the connection's at the gateway.
      type: list
      elements: str
    hops:
      description: HTTP proxies on the way.
      type: int
    seen_as:
      description: The address that the gateway took for the client's.
      type: str
    forwarded_for_replaced:
      description: Whether a proxy threw away what the client itself wrote into X-Forwarded-For.
      type: bool
    front:
      description: The kind of front that was declared.
      type: str
"""
