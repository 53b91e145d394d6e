#!/usr/bin/python
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
  - Makes those of the VM as M(edgemesh.nginx_istio.edge_probe) does, and returns what is asked of clients.
  - At a client it makes those.
  - The same inputs give the same plan, apart from a CA certificate that is made for negative proofs.
  - It reads nginx's configuration and the certificates that routes use, no key, and changes nothing.
options:
  routes:
    description:
      - Routes that the VM serves, as P(edgemesh.nginx_istio.routes#filter) returns them.
      - O(address) and O(run) go with it. The other options but O(timeout) and O(wait) are for a VM, too.
    type: list
    elements: dict
  asked:
    description: At a client in place of O(routes), RV(asked) of each VM.
    type: list
    elements: str
  address:
    description: Where clients reach its nginx.
    type: str
  run:
    description: An identifier of the run; requests carry it in their user agent.
    type: str
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
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.read_only
notes:
  - Needs root on a VM, for nginx's configuration and its client key; on a client nothing but Python 3.9.
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

- name: Probe through all of them from a client
  edgemesh.nginx_istio.proof_probe:
    asked: "{{ ansible_play_hosts | map('extract', hostvars, 'near') | map(attribute='asked') }}"
  delegate_to: client-1
  run_once: true
"""

RETURN = r"""
evidence:
  description: What was planned and what the host has seen, as text for M(edgemesh.nginx_istio.proof_report).
  type: str
  returned: success
asked:
  description: What each client has to probe, as text for O(asked).
  type: str
  returned: with O(routes)
logged:
  description:
    - What requests of clients leave in the gateway's access log.
    - For O(edgemesh.nginx_istio.gateway_log_info#module:expected).
  type: list
  elements: str
  returned: with O(routes)
trouble:
  description: Why the host could not be probed from; empty when it could.
  type: str
  returned: success
"""
