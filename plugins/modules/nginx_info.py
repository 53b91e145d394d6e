#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: edgemesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What nginx a host has; see DOCUMENTATION. The action plugin does it, by one command of the host's shell."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_info
short_description: Return a host's nginx, and the facts of the host that matter for it
version_added: "0.1.0"
description:
  - Reads nginx's version and build options, and the host's addresses, name servers and SELinux state.
  - Runs one command of the host's shell, so it is much faster than M(ansible.builtin.setup), and needs no Python.
options:
  binary:
    description:
      - The nginx program, as a name or a path.
      - A name is searched in C(PATH) and in the folders of distributions and vendors.
    type: str
    default: nginx
  name:
    description: Name of the folder beside nginx's main file, as in M(edgemesh.nginx_istio.nginx_config).
    type: str
    default: edgemesh
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.read_only
author:
  - edgemesh maintainers (@edgemesh)
seealso:
  - module: edgemesh.nginx_istio.nginx_config
"""

EXAMPLES = r"""
- name: Look
  edgemesh.nginx_istio.nginx_info:
  register: host

- name: Say whether this nginx speaks HTTP/3
  ansible.builtin.debug:
    msg: "nginx {{ host.version }}: {{ '--with-http_v3_module' in host.build }}"
"""

RETURN = r"""
installed:
  description: Whether a working nginx was found.
  type: bool
  returned: success
version:
  description: Its version, empty if there is no nginx.
  type: str
  returned: success
  sample: 1.26.3
build:
  description: The output of C(nginx -V), empty if there is no nginx.
  type: str
  returned: success
os_family:
  description: V(Debian), V(RedHat), or empty for any other, by C(/etc/os-release).
  type: str
  returned: success
  sample: Debian
ipv6_addresses:
  description: IPv6 addresses of all interfaces, loopback's left out.
  type: list
  elements: str
  returned: success
name_servers:
  description: Name servers in C(/etc/resolv.conf).
  type: list
  elements: str
  returned: success
selinux:
  description: Whether SELinux is enabled, enforcing or not.
  type: bool
  returned: success
parts:
  description:
    - The parts of all lists that M(edgemesh.nginx_istio.nginx_config) serves on this host, so that a run can be refused before it changes
      anything.
    - Empty where there are none, where they can't be read, and on a host from before there were lists.
  type: list
  elements: dict
  returned: success
  contains:
    list:
      description: The part's list.
      type: str
    name:
      description: The part's name, for a route the route's.
      type: str
    claims:
      description: What no other part may have, and the words for it.
      type: dict
    agrees:
      description: What all parts must say alike.
      type: dict
  sample:
    - list: team-a
      name: shop
      claims: {443/shop.example.com: host shop.example.com on port 443}
      agrees: {port 443: TLS}
"""
