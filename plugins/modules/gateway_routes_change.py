#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: edgemesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Routes' objects at gateways, beside those of other lists."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_routes_change
short_description: Internal - apply or remove the objects of a list's routes at gateways
version_added: 0.1.0
author: edgemesh maintainers (@edgemesh)
description:
  - Internal to the collection's roles; may change in any release.
  - Refuses a route's name, host or SNI that another list has at the same gateway, before anything changes.
  - Applies the objects, and removes those of routes that go, as M(edgemesh.nginx_istio.k8s_objects) does. It holds the Lease C(edgemesh)
    in the gateways' namespaces meanwhile, and waits for a run that has it. A Lease that was not renewed for 30 seconds belongs to nobody.
options:
  read:
    description: The text of the fact C(edge__read) that M(edgemesh.nginx_istio.read_routes) has set.
    type: str
    required: true
  definitions:
    description: Istio Gateways and VirtualServices of the routes.
    type: raw
    default: []
  state:
    description: V(absent) removes all objects of the list.
    type: str
    choices: [present, absent]
    default: present
  all_lists:
    description: Whether O(state=absent) removes the objects of all lists.
    type: bool
    default: false
  judge_only:
    description: Whether to change nothing, and only refuse what another list has.
    type: bool
    default: false
  force_conflicts:
    description: Whether to take over fields that another field manager owns with other values. It takes over nothing of another list's.
    type: bool
    default: false
  timeout:
    description: Seconds for the whole task, waiting for another run included.
    type: int
    default: 120
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.changes
  - edgemesh.nginx_istio._kube_connection
attributes:
  check_mode:
    details: Writes no Lease.
notes:
  - Needs the RBAC of C(docs/rbac/gateway_routes.yaml). Without the rights on Leases it goes on, with a warning that two runs at the same
    time are not kept apart.
"""

EXAMPLES = r"""
- name: Read the routes
  edgemesh.nginx_istio.read_routes:

- name: Remove what the list has at its gateways
  edgemesh.nginx_istio.gateway_routes_change:
    read: "{{ ansible_facts.edge__read }}"
    state: absent
"""

RETURN = r"""
results:
  description: As RV(edgemesh.nginx_istio.k8s_objects#module:results).
  returned: always, also when the task fails
  type: list
  elements: dict
gone:
  description: The routes that this run removes, or would remove, with their list and namespace.
  returned: always, also when the task fails
  type: list
  elements: str
  sample: [route store of list team-b in namespace istio-system]
error:
  description: What went wrong as a whole, in the parts C(what), C(where), C(why), C(fix) and C(code).
  returned: when the task fails
  type: dict
"""

from typing import Any

from ..module_utils._ansible import Partly, run, warned
from ..module_utils._errors import EdgeError
from ..module_utils._kube.arguments import CONNECTION_ARGUMENTS
from ..module_utils._kube.connection import connect
from ..module_utils._mesh.gateway_routes_change import Change

ARGUMENTS: dict[str, Any] = {
    **CONNECTION_ARGUMENTS,
    "read": {"type": "str", "required": True},
    # See k8s_objects.
    "definitions": {"type": "raw", "default": [], "no_log": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "all_lists": {"type": "bool", "default": False},
    "judge_only": {"type": "bool", "default": False},
    "force_conflicts": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 120},
}


def work(module: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Apply or remove, and say of each object what became of it, also when something failed."""
    change = Change(params, check=module.check_mode, diff=module._diff)
    client = connect(params)
    try:
        with warned(module, client):
            change.change(client)
    except EdgeError as error:
        raise Partly(error, change.result()) from None
    return change.result()


def main() -> None:
    """Entry point."""
    run(work, argument_spec=ARGUMENTS)


if __name__ == "__main__":
    main()
