#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: edgemesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kubernetes objects as one change."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_objects
short_description: Apply, or remove, a list of Kubernetes objects as one change
version_added: 0.1.0
author: edgemesh maintainers (@edgemesh)
description:
  - Applies objects of any kinds by server-side apply, several at a time and in stages (namespaces and custom resource
    definitions; secrets, configuration, accounts and permissions; the rest), then waits for all of them together.
  - It is made for many objects in one task. It lists each kind and namespace once,
    then once for each object; a second run with nothing to do changes nothing and says so.
  - Removes objects in the reverse order and waits for their finalizers.
options:
  definitions:
    description:
      - The objects, each a dictionary as in a manifest, or YAML text with one or more documents. A C(List) is unpacked.
      - C(stringData) of Secrets is turned into C(data). Fields that the server sets (C(resourceVersion), C(uid),
        C(managedFields) and the like) is ignored.
    type: raw
    default: []
  src:
    description: Files with manifests, on the host that runs the task; they follow O(definitions).
    type: list
    elements: path
    default: []
  namespace:
    description: Namespace of objects that name none. Without it such an object is refused.
    type: str
  state:
    description:
      - V(present) applies the objects. V(absent) deletes them.
    type: str
    choices: [present, absent]
    default: present
  wait:
    description:
      - Whether to wait until all objects are ready, as their kind defines it, or gone with O(state=absent).
      - Deployment, StatefulSet, DaemonSet, ReplicaSet, Pod, Job, PersistentVolumeClaim, Namespace, APIService,
        CustomResourceDefinition (established), Service of type LoadBalancer (has an address), Gateway API's Gateway
        (programmed) and routes (accepted by every parent), NGINX Ingress Controller's VirtualServer, VirtualServerRoute,
        TransportServer and Policy (V(Valid); a warning is not ready), cert-manager's Issuer and Certificate. A status of an
        older generation of the object does not count.
      - Other kinds are ready when a condition C(Ready) or C(Available), if they have one, is true.
      - Istio's networking and security kinds have no status; they are ready when they are accepted. Only a probe can show that the
        mesh uses them.
      - Namespaces and custom resource definitions are always waited for, since what follows needs them.
    type: bool
    default: true
  timeout:
    description: Seconds for the whole task.
    type: int
    default: 120
  force_conflicts:
    description:
      - Whether to take over fields that another field manager owns with other values. By default that
        fails and names the field and its manager.
    type: bool
    default: false
  keep_foreign:
    description:
      - Whether to leave existing objects without the label C(app.kubernetes.io/managed-by=edgemesh) unchanged. Namespaces, for
        example, are then made if they are missing, and removed only if this module made them.
    type: bool
    default: false
  list:
    description:
      - Name of the list that the objects belong to. It becomes their label C(edgemesh.nginx-istio/list).
      - An object that another list has is refused before anything changes, with O(force_conflicts) too. Objects of ours without this label
        belong to the list V(default).
    type: str
  prune:
    description:
      - Also delete objects that are not listed but carry these labels and C(app.kubernetes.io/managed-by=edgemesh), once the
        listed ones are applied and ready. With O(state=absent) they are deleted too.
      - With O(list) only objects of this list are deleted, and of these only those of O(prune.routes), or all with O(prune.exclusive).
      - Objects that have an owner are left to it.
    type: dict
    suboptions:
      labels:
        description: Labels which an object must carry, besides ours, to be pruned; at least one.
        type: dict
        required: true
      kinds:
        description: Where to look.
        type: list
        elements: dict
        required: true
        suboptions:
          api_version:
            description: API version of the kind; may be left out for well-known kinds.
            type: str
          kind:
            description: The kind.
            type: str
            required: true
          namespace:
            description: The namespace; all namespaces if left out.
            type: str
          keep:
            description: Names of further objects of this kind that stay, because something else than this task keeps them.
            type: list
            elements: str
            default: []
      routes:
        description: With O(list), names of routes (label C(edgemesh.nginx-istio/route)) whose objects are deleted.
        type: list
        elements: str
        default: []
      exclusive:
        description: With O(list), whether the objects of all its other routes are deleted too.
        type: bool
        default: false
  concurrency:
    description: Requests at a time, between 1 and 32.
    type: int
    default: 6
  field_manager:
    description:
      - Name of the field manager. A later run with another name does not remove this one's fields.
      - With a O(list) other than V(default), C(-) and the list's name follow. So the API server refuses an object that another list has
        made in the same moment.
    type: str
    default: edgemesh
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.changes
  - edgemesh.nginx_istio._kube_connection
attributes:
  check_mode:
    details:
      - Predicted by the API server's dry run. If a namespace or a kind does not exist yet, the object
        is reported as V(would_create).
  diff_mode:
    details:
      - Shows the fields that the manifests own. Of a Secret it shows names of keys, and facts about values that hold only
        certificates.
notes:
  - Needs the verbs C(get), C(list), C(watch), C(create) and C(patch) on the kinds it applies, and C(delete) on those it
    removes; ready to apply in C(docs/rbac/k8s_objects.yaml). Without C(list) or C(watch) it goes on with C(get).
  - A failed object fails the task; the rest of its stage is still applied, later stages are not. Every object is in
    RV(ignore:results) either way.
seealso:
  - module: kubernetes.core.k8s
  - module: edgemesh.nginx_istio.node_port_info
"""

EXAMPLES = r"""
- name: Put a namespace, a certificate and a route in place
  edgemesh.nginx_istio.k8s_objects:
    definitions:
      - apiVersion: v1
        kind: Namespace
        metadata:
          name: shop
          labels: {istio-injection: enabled}
      - "{{ lookup('ansible.builtin.template', 'gateway.yaml.j2') }}"
    timeout: 60

- name: Keep exactly the virtual services that are listed, of those that are ours
  edgemesh.nginx_istio.k8s_objects:
    definitions: "{{ virtual_services }}"
    prune:
      labels: {edgemesh.nginx-istio/route: shop}
      kinds:
        - {api_version: networking.istio.io/v1, kind: VirtualService, namespace: shop}

- name: Apply a list's virtual services, and remove those of a route that it no longer has
  edgemesh.nginx_istio.k8s_objects:
    definitions: "{{ virtual_services }}"
    list: team-b
    prune:
      labels: {app.kubernetes.io/component: gateway-routes}
      routes: [store]
      kinds:
        - {api_version: networking.istio.io/v1, kind: VirtualService, namespace: shop}

- name: Remove what a file describes, and wait until it is gone
  edgemesh.nginx_istio.k8s_objects:
    src: [manifests/shop.yaml]
    state: absent
"""

RETURN = r"""
results:
  description: The result for each object, in the order of the list; pruned objects follow.
  returned: always, also when the task fails
  type: list
  elements: dict
  contains:
    api_version:
      description: API version of the manifest.
      type: str
      returned: always
    kind:
      description: Kind.
      type: str
      returned: always
    namespace:
      description: Namespace; empty for kinds that are in none.
      type: str
      returned: always
    name:
      description: Name.
      type: str
      returned: always
    action:
      description:
        - V(created), V(changed), V(unchanged), V(deleted), V(absent); in check mode V(would_create), V(would_change),
          V(would_delete); V(failed), or V(skipped) because an earlier stage failed.
      type: str
      returned: always
      sample: created
    changed:
      description: Whether this object was, or would be, changed.
      type: bool
      returned: always
    uid:
      description: The object's UID.
      type: str
      returned: when it exists
    resource_version:
      description: The object's resourceVersion after it was applied.
      type: str
      returned: when it exists
    note:
      description: What could not be checked, and why.
      type: str
      returned: when there is something to say
    not_ready:
      description: Why it is not ready.
      type: str
      returned: when waiting for it timed out
    error:
      description: What went wrong, with the parts C(what), C(where), C(why), C(fix), C(code) and, for 403, a C(role) to apply.
      type: dict
      returned: when it failed
    pruned:
      description: It was not listed.
      type: bool
      returned: when true
    list:
      description: The list that it belonged to.
      type: str
      returned: for pruned objects of a route
    route:
      description: The route that it belonged to.
      type: str
      returned: for pruned objects of a route
error:
  description: What went wrong as a whole, in the same parts.
  returned: when the task fails
  type: dict
"""

from typing import Any

from ..module_utils._ansible import Partly, run, warned
from ..module_utils._errors import EdgeError
from ..module_utils._kube.arguments import CONNECTION_ARGUMENTS
from ..module_utils._kube.connection import connect
from ..module_utils._kube.k8s_objects import Objects
from ..module_utils._kube.labels import FIELD_MANAGER

ARGUMENTS: dict[str, Any] = {
    **CONNECTION_ARGUMENTS,
    # no_log keeps it out of the system log; _hidden.py then hides the Secrets in it only.
    "definitions": {"type": "raw", "default": [], "no_log": True},
    "src": {"type": "list", "elements": "path", "default": []},
    "namespace": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "wait": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 120},
    "force_conflicts": {"type": "bool", "default": False},
    "keep_foreign": {"type": "bool", "default": False},
    "list": {"type": "str"},
    "prune": {
        "type": "dict",
        "options": {
            "labels": {"type": "dict", "required": True},
            "kinds": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "api_version": {"type": "str"},
                    "kind": {"type": "str", "required": True},
                    "namespace": {"type": "str"},
                    "keep": {"type": "list", "elements": "str", "default": []},
                },
            },
            "routes": {"type": "list", "elements": "str", "default": []},
            "exclusive": {"type": "bool", "default": False},
        },
    },
    "concurrency": {"type": "int", "default": 6},
    "field_manager": {"type": "str", "default": FIELD_MANAGER},
}


def work(module: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Apply or remove, and say of each object what became of it, also when something failed."""
    objects = Objects(params, check=module.check_mode, diff=module._diff)
    client = connect(params)
    try:
        with warned(module, client):
            objects.change(client)
    except EdgeError as error:
        raise Partly(error, objects.result()) from None
    return objects.result()


def main() -> None:
    """Entry point."""
    run(work, argument_spec=ARGUMENTS)


if __name__ == "__main__":
    main()
