#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plan access control at gateways, and check their fronts; see DOCUMENTATION. All of it happens in the action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: access_plan
short_description: Internal - plan access control at gateways, and check their fronts
version_added: "0.1.0"
author: edgemesh maintainers (@edgemesh)
description:
  - Internal to the collection's roles; may change in any release.
  - Compares C(access) and C(front) of gateways and routes with what is in the cluster, and returns what to apply.
  - Sends a marked request through each front, and reads in the gateways' access logs how it arrived. Refuses a C(front) that differs from
    the log, access that would lock out health checks, the VMs and clients that probe, or this run itself, and all other settings that
    can't work.
  - Refuses what would change policies of another list, or make them compare another address.
  - Changes nothing.
options:
  read:
    description: The text of the fact C(edge__read) that M(edgemesh.nginx_istio.read_routes) has set.
    type: str
    required: true
  state:
    description: V(absent) returns the list's policies and objects that restore the previous state, and sends no requests.
    type: str
    choices: [present, absent]
    default: present
  only_with_lists:
    description: Whether to plan only RV(removed) if no gateway and no route has C(access) or C(front.proxies).
    type: bool
    default: false
  topology:
    description: Whether to plan the gateways' settings for the client's address too.
    type: bool
    default: true
  allow_interruption:
    description: Whether PROXY protocol may be switched on or off at a gateway with pods. Requests fail meanwhile.
    type: bool
    default: false
  all_lists:
    description:
      - With O(state=absent), whether to end all lists.
      - Else, whether a C(front) may differ from the one that other lists' policies were made for.
    type: bool
    default: false
  detect:
    description: Whether to send requests through the fronts.
    type: bool
    default: true
  entries:
    description:
      - The addresses that clients use, as lists of C(host:port) by gateway name.
      - By default the VMs that serve its routes if its front is an HTTP or a TCP proxy, else the gateway's own addresses.
    type: dict
    default: {}
  clients:
    description:
      - Inventory names of clients. The list of a route must admit them, and the VMs that serve the route.
    type: list
    elements: str
    default: []
  own_clients:
    description: Further addresses and networks that must be admitted.
    type: raw
    default: []
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
    details: It sends requests in check mode too. Gateways may be missing then.
notes:
  - Needs the RBAC of C(docs/rbac/gateway_access_control.yaml), of which it only reads, and for C(front.scope) V(mesh) also
    C(docs/rbac/gateway_access_control_mesh.yaml).
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
    - Partial objects for M(edgemesh.nginx_istio.k8s_objects) with C(field_manager) V(edgemesh-access); they have only the changed fields of
      the gateways' Deployments and Services, and of the mesh's configuration.
  returned: success
  type: list
  elements: dict
policies:
  description: AuthorizationPolicies.
  returned: success
  type: list
  elements: dict
removed:
  description: The AuthorizationPolicies that go, by kind, namespace and name.
  returned: success
  type: list
  elements: dict
field_manager:
  description: The field manager that applies RV(policies); each list has one of its own.
  returned: success
  type: str
notes:
  description: Sentences for people, for example about gateways without C(front.proxies), and clients that another list's policies deny.
  returned: success
  type: list
  elements: str
seen:
  description: How the marked requests arrived, one entry for each request in a log.
  returned: success
  type: list
  elements: dict
  contains:
    gateway:
      description: The gateway's name.
      type: str
    entry:
      description: The address to which the request was sent.
      type: str
    way:
      description: The addresses on its way, the outermost client's first; the last is the connection's at the gateway.
      type: list
      elements: str
    hops:
      description: HTTP proxies on the way.
      type: int
    seen_as:
      description: The address that the gateway took for the client's.
      type: str
    forwarded_for_replaced:
      description: Whether a proxy replaced the client's own X-Forwarded-For.
      type: bool
    front:
      description: The kind of front that was declared.
      type: str
"""
