#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read the list of routes once; see DOCUMENTATION. All of it happens in the action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: read_routes
short_description: Internal - read and check the list of routes once
version_added: "0.1.0"
description:
  - Internal to the collection's roles; may change in any release.
  - Reads the variables C(edge_routes), C(edge_gateways), C(edge_namespace), C(edge_ca), C(edge_issue), C(edge_list) and
    C(edge_exclusive), or the flat variables of a survey, and sets the fact C(ansible_facts.edge__read), a text that the roles' tasks
    take. Every role begins with it. What was read of the same variables before, on this host or on the controller, is not read again.
  - A variable whose name is nearly one of the collection's, such as C(edge_sevice), is refused.
author:
  - edgemesh maintainers (@edgemesh)
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.read_only
"""

EXAMPLES = r"""
- name: Read the routes
  edgemesh.nginx_istio.read_routes:
"""

RETURN = r"""
read:
  description: Whether the variables were read now, and not taken from an earlier reading.
  returned: success
  type: bool
ansible_facts:
  description: The fact C(edge__read), which is no variable where C(inject_facts_as_vars) is off.
  returned: when the variables are others than at the last reading
  type: dict
"""
