#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judge what was seen and write the report; see DOCUMENTATION. All of it happens in the action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: proof_report
short_description: Internal - judge the proofs, and write proof.json and proof.html
version_added: "0.1.0"
description:
  - Internal to the collection's roles; may change in any release.
  - Compares the probes' observations with the plans, finds the root causes of failures, and writes C(proof.json) for programs and
    C(proof.html) for people on the controller.
  - The page draws the path of each route hop by hop and shows every proof with the expected and the observed result, the certificates, and
    for failures the cause and the fix. It has no script and loads nothing.
  - Routes of other lists on a host that the run changed are no routes of the run, so they do not count as proven. But the report is not
    good if one of them does not answer.
  - A planned proof without a result is C(not_tested); if it is required, the route is not proven.
  - There is no key material in it. The report is a result and no state, so writing it is no change.
options:
  routes:
    description: All routes of every kind of path, the fact C(edge__read) of M(edgemesh.nginx_istio.read_routes).
    type: str
    required: true
  seen:
    description: The observations of each planning host, RV(edgemesh.nginx_istio.proof_probe#module:evidence).
    type: list
    elements: str
    required: true
  answers:
    description:
      - The observations of the other hosts - the results of a loop of M(edgemesh.nginx_istio.proof_probe) over their names, as
        registered. The probes of a host without an answer are not tested; its message says why.
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
    description: Number of different claims that must hold for a route to be proven.
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
    description: It judges, and writes nothing. A failed check counts as not tested, because the route may not exist yet.
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
  description: Whether every route is proven, and every neighbour answers.
  type: bool
  returned: success
unproven:
  description: The names of what is not proven, for a sentence.
  type: list
  elements: str
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
