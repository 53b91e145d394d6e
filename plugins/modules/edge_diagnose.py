#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Name the cause why a host name behind nginx does not work; see DOCUMENTATION. All of it happens in the action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: edge_diagnose
short_description: Internal - name the one root cause why a host name behind nginx does not work
version_added: "0.1.0"
description:
  - Internal to the collection's roles; may change in any release.
  - Reads nginx's configuration on the host (C(nginx -v -T)), finds the server and location for the host name and path, and probes through
    nginx. Past nginx, from this very host, it sends the request that nginx sends to each upstream address.
  - If these fail, it corrects one setting at a time, checks the host for SELinux and a missing reload, and names one root cause.
    All causes are explained in C(docs/causes.md).
  - It changes nothing. It never shows nginx's configuration, which may hold passwords, nor the values in the query of a URL in it.
options:
  host:
    description: The host name that does not work.
    type: str
    required: true
  path:
    description: The path of the request.
    type: str
    default: /
  port:
    description: The port on which clients reach nginx. With V(0) one where a server has this name, TLS first.
    type: int
    default: 0
  gateway:
    description:
      - C(address:port) of the mesh's gateway. Only needed if there is no nginx, or if nginx has a wrong address.
    type: list
    elements: str
    default: []
  nginx:
    description: The command that runs nginx on the host, in words.
    type: list
    elements: str
    default: [nginx]
  attempt_timeout:
    description: Seconds for one attempt of a probe.
    type: int
    default: 10
  timeout:
    description: Seconds for the whole task. If they pass before the cause has a name, the task fails.
    type: int
    default: 120
extends_documentation_fragment: edgemesh.nginx_istio._attributes
attributes:
  check_mode:
    support: full
    description: It probes in check mode too.
  diff_mode:
    support: none
  idempotent:
    support: full
notes:
  - Needs root, for nginx's configuration and its client key. Without nginx it needs Python 3.9 alone.
author:
  - edgemesh maintainers (@edgemesh)
seealso:
  - module: edgemesh.nginx_istio.edge_probe
"""

EXAMPLES = r"""
- name: Find out why shop.example.com does not work
  edgemesh.nginx_istio.edge_diagnose:
    host: shop.example.com
  register: found

- name: Show the diagnosis
  ansible.builtin.debug:
    msg: "{{ found.text }}"
"""

RETURN = r"""
diagnosis:
  description:
    - C(host), C(path), C(healthy), C(cause) (null on a healthy path, else C(code), C(why), C(fix), C(place), C(doc)), C(then) (causes that
      the fix of the first would uncover), C(findings) (faults that cause no failure now), C(notes), C(nginx) (the part of its configuration
      that matters) and C(evidence) (every probe, short).
  returned: success
  type: dict
text:
  description: The same in lines for people, the answer first.
  returned: success
  type: list
  elements: str
"""
