#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plan a host's proofs and make its own; see DOCUMENTATION. The action plugin does it, by commands and by edge_probe on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: proof_probe
short_description: Internal - plan the proofs of routes through a host, and probe from there
version_added: "0.1.0"
description:
  - Internal to the collection's roles; may change in any release.
  - Plans the positive and negative proofs for each route of one kind of path, from the routes and from facts of the host. For a VM
    (V(vm_nginx)) these are its nginx's configuration (C(nginx -T)); the proofs are made from the VM to every address of the gateway,
    and from each client through the VM's nginx. C(docs/proof.md) explains every one.
  - Also plans whether the routes of other lists on the host answer there (C(neighbours)), after a change that this run made.
  - Probes from the host as M(edgemesh.nginx_istio.edge_probe) does, and returns the probes for other hosts.
  - On such another host it makes these probes.
  - The same inputs give the same plan, apart from a CA certificate that is made for negative proofs.
  - It reads configuration and the certificates that routes use, no key, and changes nothing.
options:
  kind:
    description: The kind of path, a package of C(_proof/).
    type: str
  routes:
    description: The fact C(edge__read) of M(edgemesh.nginx_istio.read_routes). Its routes of this kind are proven.
    type: str
  groups:
    description: The host's inventory groups. Only their routes are proven; without this option all.
    type: list
    elements: str
  given:
    description:
      - Further inputs of this kind's plan. All kinds need C(run), an identifier in the user agent of requests.
      - For V(vm_nginx) these are C(address), C(clients), C(pod), C(no_pod), C(apps), C(gateways), C(services), C(nginx), C(material),
        C(listener_ca), C(client_ca_file), C(repeat), C(echo_path), C(websocket_path), C(neighbours), as role C(verify) explains its
        variables.
    type: dict
    default: {}
  asked:
    description: On another host, in place of O(routes), RV(asked) of each planning host.
    type: list
    elements: str
  attempt_timeout:
    description: Seconds for one attempt.
    type: int
    default: 10
  wait:
    description: Whether a path is tried again until it gives the expected result. Check mode does not wait.
    type: bool
    default: false
  wait_timeout:
    description: Seconds for which O(wait) tries a path again.
    type: int
    default: 15
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.read_only
notes:
  - Needs root on a VM, for nginx's configuration and its client key; on another host only Python 3.9.
author:
  - edgemesh maintainers (@edgemesh)
seealso:
  - module: edgemesh.nginx_istio.edge_probe
  - module: edgemesh.nginx_istio.proof_report
"""

EXAMPLES = r"""
- name: Probe from each VM
  edgemesh.nginx_istio.proof_probe:
    kind: vm_nginx
    routes: "{{ ansible_facts.edge__read }}"
    groups: "{{ group_names }}"
    given:
      address: "{{ ansible_host }}"
      run: "1"
      clients: [client-1]
      gateways: {main: ["192.0.2.10:30443"]}
  register: near

- name: Probe through all of them from a client
  edgemesh.nginx_istio.proof_probe:
    asked: "{{ ansible_play_hosts | map('extract', hostvars, 'near') | map(attribute='asked') }}"
  delegate_to: client-1
  run_once: true
"""

RETURN = r"""
evidence:
  description: The plan and the host's observations, as text for M(edgemesh.nginx_istio.proof_report).
  type: str
  returned: success
asked:
  description: The probes for other hosts, as text for O(asked).
  type: str
  returned: with O(routes)
others:
  description: The inventory names of the other hosts.
  type: list
  elements: str
  returned: with O(routes)
gateways:
  description: The gateways whose access logs are needed, as C(namespace/service).
  type: list
  elements: str
  returned: with O(routes)
logged:
  description:
    - Texts that these requests leave in the access logs.
    - For O(edgemesh.nginx_istio.gateway_log_info#module:expected).
  type: list
  elements: str
  returned: with O(routes)
trouble:
  description: Why the host could not run its probes; empty if it could.
  type: str
  returned: success
"""
