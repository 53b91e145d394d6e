#!/usr/bin/python
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plan a VM's proofs and make those of its own; see DOCUMENTATION. The action plugin does it, by commands and by edge_probe on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: proof_probe
short_description: Plan what has to be proven about a VM's routes, and probe it from there
version_added: "0.1.0"
description:
  - Plans for each route the positive and negative proofs, from the VM to every address of the gateway and from each client through the
    VM's nginx, by the routes and by what nginx says that it does (C(nginx -T)). C(docs/proof.md) explains every one.
  - Makes those of the VM as M(edgemesh.nginx_istio.edge_probe) does, and returns what clients have to probe.
  - The same inputs give the same plan, apart from a CA certificate that is made for negative proofs.
  - It reads nginx's configuration and the certificates that routes use, no key, and changes nothing.
options:
  routes:
    description: Routes that the VM serves, as P(edgemesh.nginx_istio.routes#filter) returns them.
    type: list
    elements: dict
    required: true
  vm:
    description: The VM's inventory name. By default that of the task's host.
    type: str
    default: ""
  address:
    description: Where clients reach its nginx.
    type: str
    required: true
  run:
    description: An identifier of the run; requests carry it in their user agent.
    type: str
    required: true
  clients:
    description: Inventory names of the clients.
    type: list
    elements: str
    default: []
  gateways:
    description: Lists of V(host:port) by gateway name. Addresses that nginx itself has are added.
    type: dict
    default: {}
  nginx:
    description: The command that runs nginx on the VM, in words.
    type: list
    elements: str
    default: [nginx]
  material:
    description: The folder on the VM that holds what comes from Secrets.
    type: path
    default: /etc/edgemesh/tls
  front_ca:
    description:
      - CA certificates (PEM) that clients verify nginx with.
      - Without it, the CA beside nginx's certificate or the route's own CA where they signed it, else O(client_ca_file).
    type: str
    default: ""
  client_ca_file:
    description: The system's CA certificates on the clients.
    type: path
    default: /etc/ssl/certs/ca-certificates.crt
  repeat:
    description: How many answers in a row have to be right.
    type: int
    default: 10
  echo_path:
    description: A path where the app answers with the request headers that it received.
    type: str
    default: ""
  websocket_path:
    description: A path where the app takes WebSocket upgrades.
    type: str
    default: ""
  timeout:
    description: Seconds for one attempt.
    type: int
    default: 10
  wait:
    description: Seconds for which a path may be tried again until it is as expected. Nothing is waited for in check mode.
    type: int
    default: 0
extends_documentation_fragment: edgemesh.nginx_istio.attributes
attributes:
  check_mode:
    support: full
    description: It probes in check mode too.
  diff_mode:
    support: none
  idempotent:
    support: full
notes:
  - Needs root on the VM, for nginx's configuration and its client key.
author:
  - edgemesh maintainers (@edgemesh)
seealso:
  - module: edgemesh.nginx_istio.edge_probe
  - module: edgemesh.nginx_istio.proof_report
"""

EXAMPLES = r"""
- name: Probe from each VM
  edgemesh.nginx_istio.proof_probe:
    routes: "{{ edge_routes | edgemesh.nginx_istio.routes }}"
    address: "{{ ansible_host }}"
    run: "1"
    clients: [client-1]
    gateways: {main: ["192.0.2.10:30443"]}
  register: near

- name: Probe the first VM from a client
  edgemesh.nginx_istio.edge_probe:
    paths: "{{ hostvars[ansible_play_hosts[0]].near.from_clients['client-1'] }}"
    fail: false
  delegate_to: client-1
  run_once: true
"""

RETURN = r"""
evidence:
  description: What was planned and what the VM has seen, as text for O(edgemesh.nginx_istio.proof_report#module:seen).
  type: str
  returned: success
from_clients:
  description: What each client has to probe, by its inventory name; entries for O(edgemesh.nginx_istio.edge_probe#module:paths).
  type: dict
  returned: success
trouble:
  description: Why the VM could not be probed from; empty when it could.
  type: str
  returned: success
"""
