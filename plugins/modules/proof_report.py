#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judge what was seen and write the report; see DOCUMENTATION. All of it happens in the action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: proof_report
short_description: Internal - judge what was proven, and write proof.json and proof.html
version_added: "0.1.0"
description:
  - Internal to the collection's roles; may change in any release.
  - Judges what the probes saw against the plans, finds the root cause of what failed, and writes C(proof.json) for programs and
    C(proof.html) for people on the controller.
  - The page draws the path of each route hop by hop and shows every proof with what was expected and observed, the certificates, and
    for what failed the cause and the fix. It has no script and loads nothing.
  - What was planned and not done is C(not_tested); where it is required, the route is not proven.
  - There is no key material in it. The report is what a run found out, not a state of anything, so writing it is no change.
options:
  routes:
    description: All routes of every kind of path, the fact C(edge__read) of M(edgemesh.nginx_istio.read_routes).
    type: str
    required: true
  seen:
    description: What each host that routes go through has seen, RV(edgemesh.nginx_istio.proof_probe#module:evidence).
    type: list
    elements: str
    required: true
  answers:
    description:
      - What the others have seen that were asked - the results of a loop of M(edgemesh.nginx_istio.proof_probe) over their names, as
        registered. What one without an answer should have probed is not tested; its message says why.
    type: list
    elements: dict
    default: []
  run:
    description: The run's identifier.
    type: str
    default: ""
  log:
    description: RV(edgemesh.nginx_istio.gateway_log_info#module:results). Nothing when the gateways' logs were not read.
    type: list
    elements: dict
    default: []
  absent:
    description: Names of hosts that should have taken part and did not.
    type: list
    elements: str
    default: []
  minimum:
    description: How many different claims must hold for a route to be proven.
    type: dict
    suboptions:
      positive:
        description: Of claims that something works.
        type: int
        default: 5
      negative:
        description: Of claims that something is refused.
        type: int
        default: 6
  report_dir:
    description: The folder on the controller for the report; made if it is missing. When empty a temporary one is made.
    type: path
    default: ""
extends_documentation_fragment: edgemesh.nginx_istio._attributes
attributes:
  check_mode:
    support: full
    description: It judges, and writes nothing. What failed counts as not tested, because it may not have been set up yet.
  diff_mode:
    support: none
  idempotent:
    support: full
author:
  - edgemesh maintainers (@edgemesh)
seealso:
  - module: edgemesh.nginx_istio.proof_probe
  - module: edgemesh.nginx_istio.edge_probe
"""

EXAMPLES = r"""
- name: Judge, and write the report
  edgemesh.nginx_istio.proof_report:
    routes: "{{ ansible_facts.edge__read }}"
    seen: ["{{ near.evidence }}"]
    path: /tmp/proof
  register: report
  run_once: true

- name: Stop where a route is not proven
  ansible.builtin.assert:
    that: report.ok
    fail_msg: "{{ report.text | join(' ') }}"
  run_once: true
"""

RETURN = r"""
path:
  description: The folder that the report was written to; not in check mode.
  type: str
  returned: success
ok:
  description: Whether every route is proven.
  type: bool
  returned: success
text:
  description: Failures with cause and fix, what is missing, and counts, as lines for a person.
  type: list
  elements: str
  returned: success
routes:
  description: Each route's verdict. All other keys of C(proof.json) are returned as well; C(docs/proof.md) describes them.
  type: list
  elements: dict
  returned: success
"""
