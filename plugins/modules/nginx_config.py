#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: edgemesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A set of nginx configuration files as one transaction."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_config
short_description: Apply a set of nginx configuration files as one transaction
version_added: 0.1.0
description:
  - Makes nginx serve the given files, and the certificates and keys that they refer to. If that fails, nothing changes.
  - The files belong to parts, one for each route, and parts belong to lists, one for each team or survey. A run changes parts of its own
    O(list) alone. The parts of all other lists stay as they are, down to the inodes of their files.
  - The files are tested together with nginx's real main configuration before anything changes. They then become a new
    generation in a folder of their own, which a single link selects; nginx is reloaded; and the module waits until I(new)
    workers answer with the generation's name, because a reload command that returned 0 proves nothing. If any of that
    fails, the module selects the previous generation again, reloads nginx, and confirms that too.
  - A journal is written before the first change, so the next run repairs the state after a killed run.
  - The last generations stay on the disk, and O(state=rolled_back) goes back to one of them.
  - Outside its folder it writes one file, which includes the folder's current generation, and a second one as long as there are files for
    the C(stream) context. It does not change the user's files.
options:
  name:
    description:
      - Name of the folder beside nginx's main file, and of the one file C(conf.d/<name>.conf) that includes it.
    type: str
    default: edgemesh
  list:
    description: The list whose parts this task makes, changes and removes.
    type: str
    default: default
  parts:
    description:
      - Parts of the O(list) to make or to change, one for each route. Other parts of the list stay, see O(absent) and O(exclusive).
      - What another part has is refused before anything changes, naming the list and the route that have it.
    type: list
    elements: dict
    suboptions:
      name:
        description: The name of the route.
        type: str
        required: true
      files:
        description: Files that are this part's alone. What O(files) says of paths and contents holds here too.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: Path relative to the generation's folder.
            type: str
            required: true
          content:
            description: The text. It is shown in diffs, so a private key in it is refused.
            type: str
            required: true
      shared:
        description:
          - Files that several parts may need, of any list. A shared file is there as long as one part names it.
          - Of several parts that name a path the highest C(rank) counts. Those of one rank must be equal, or the task is refused.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: Path relative to the generation's folder.
            type: str
            required: true
          content:
            description: The text.
            type: str
            required: true
          rank:
            description: Which of several contents counts, the highest.
            type: int
            default: 0
          instead:
            description: Other contents of the same file. The first one counts whose files are all there.
            type: list
            elements: dict
            default: []
            suboptions:
              present:
                description: Paths of files of any part.
                type: list
                elements: str
                required: true
              content:
                description: The text.
                type: str
                required: true
      depends_on:
        description: As O(depends_on).
        type: list
        elements: path
        default: []
      material:
        description:
          - Absolute paths of files that were exported for this part. With the last part, of any list, that names one here or in its
            C(depends_on) the file is removed, once the change is confirmed. What is not below O(material_folder) stays.
        type: list
        elements: path
        default: []
      claims:
        description: What no other part on this host may have, and the words for it, such as C(443/shop.example.com) and
          C(host shop.example.com on port 443).
        type: dict
        default: {}
      agrees:
        description: What all parts on this host must say alike, such as C(port 443) and C(TLS).
        type: dict
        default: {}
      probes:
        description:
          - How to ask for this route, as entries of C(paths) of M(edgemesh.nginx_istio.edge_probe). Other lists' runs get them back in
            RV(neighbours).
        type: list
        elements: dict
        default: []
  absent:
    description: Names of parts of the O(list) to remove. One that is not there is no error.
    type: list
    elements: str
    default: []
  exclusive:
    description: Whether all parts of the O(list) that are not in O(parts) are removed. Other lists' parts are never removed.
    type: bool
    default: false
  material_folder:
    description: The folder of exported certificates and keys. Files outside of it, links followed, are never removed.
    type: path
    default: /etc/edgemesh/tls
  files:
    description:
      - The simple way without parts. The files are one part with the name C(files), and all that the O(list) has.
      - The files of the configuration. nginx reads files that end in C(.conf) and are in no sub-folder in the
        C(http) context, in the order of their names, and C(stream/*.conf) in the C(stream) context. These can include other files
        by C(<conf>/<name>/current/<path>).
      - Files for the C(stream) context are included from C(<name>.conf) in a folder that the user's own C(stream) block includes. Where
        there is no such block, from a block of our own in a folder that the main file includes outside of its blocks, as Debian's does
        with C(modules-enabled). Where neither is there, the error names the line to add.
      - The list is complete, so the next generation lacks files that are no longer listed.
      - Either these or O(parts), O(absent) or O(exclusive) are required for O(state=present).
    type: list
    elements: dict
    suboptions:
      path:
        description: Path relative to the generation's folder.
        type: str
        required: true
      content:
        description: The text. It is shown in diffs, so a private key in it is refused.
        type: str
        required: true
  depends_on:
    description:
      - Absolute paths of files that O(files) refer to, certificates and keys above all.
      - Their content is part of the generation. When it changes, the configuration is tested, reloaded and confirmed again;
        no handler is needed.
    type: list
    elements: path
    default: []
  default_site:
    description:
      - The state of the distribution's default site
        (C(sites-enabled/default), C(conf.d/default.conf)).
      - V(disabled) disables it. It is restored when no list says so any more.
      - A site that was edited, or whose document root has more than the welcome page, counts as the user's. It
        stays, with a warning.
    type: str
    choices: [keep, disabled]
    default: keep
  state:
    description:
      - V(present) makes nginx serve O(parts) or O(files) of the O(list).
      - V(rolled_back) makes nginx serve again what the O(list) had in an earlier O(generation), files, list of material and default site,
        as a new generation that is tested and confirmed like every other. Other lists' parts stay as they are now. O(parts), O(files),
        O(depends_on) and O(default_site) are not looked at. Certificates and keys are those that are on the host now. The next run with
        V(present) applies its own files again.
      - V(absent) removes all parts of the O(list). With the last list's last part the folder and the include go, and the default site is
        restored.
    type: str
    choices: [present, rolled_back, absent]
    default: present
  generation:
    description:
      - The generation for O(state=rolled_back), by its name or its number, see RV(generations).
      - V(previous) is the last generation in which the O(list) had other parts than now. A second run changes nothing.
    type: str
    default: previous
  all_lists:
    description: Whether O(state=absent) removes the parts of all lists.
    type: bool
    default: false
  take_over:
    description:
      - Whether these files may answer requests for unknown host names on a port where another server answers them so far without
        being marked C(default_server).
      - By default such a change is refused, because a site without C(default_server) would lose its requests.
    type: bool
    default: false
  start:
    description: Whether to start nginx if it isn't running. With V(false) the files are tested and put in place, but not confirmed.
    type: bool
    default: true
  keep_generations:
    description:
      - Number of generations on the disk, the current one included; at least 1, which leaves nothing to roll back to.
      - With more than 1, the generation before each list's last change stays as well. Files that are equal are one file on the disk.
    type: int
    default: 3
  timeout:
    description:
      - Seconds for the whole task; waiting for another run's lock, the test, the reload and the new workers' answer.
      - A roll-back has the same time anew, so that a change that ran out of time doesn't leave nginx in between.
    type: int
    default: 30
  binary:
    description: The nginx program, as a name or a path.
    type: str
    default: nginx
  main:
    description: The main configuration file, if nginx runs with another one than it was built with (C(nginx -c)).
    type: path
  prefix:
    description:
      - The base folder of nginx's relative paths, if nginx runs with another one than it was built with (C(nginx -p)).
      - All other paths come from the program itself (C(nginx -V)).
    type: path
  manager:
    description:
      - How nginx is reloaded and started.
      - V(auto) takes systemd where it runs and owns this nginx, else a sysvinit script that starts this program, else a signal to the
        master process.
    type: str
    choices: [auto, systemd, sysvinit, signal]
    default: auto
  service:
    description: Name of nginx's service.
    type: str
    default: nginx
requirements:
  - nginx >= 1.22, with its stream module where there are files for the C(stream) context
  - Python >= 3.9
  - root on the host
notes:
  - It talks to no cluster and needs no Kubernetes RBAC.
  - A mount namespace needs CAP_SYS_ADMIN. Without it, as in most containers, the test runs with a copy of the main file, which
    stands beside it for that moment.
  - Two runs on one host take turns by a lock on nginx's configuration folder; one that has waited for O(timeout) seconds says for which
    list and process, and touches nothing. Each begins with what the other left, so neither loses the other's parts.
  - A host from before there were lists is taken over as list C(default), by one reload.
  - With SELinux, files bear the label of the folder that they are made in. What it denies shows at the reload at the earliest, because a
    test runs outside nginx's domain; the change is then rolled back, and the error names the command that permits it. (This comes from
    the documentation of Red Hat's systems; it was not tested on one.)
  - While new workers crash nobody is served, so that is looked for in nginx's error log all the time, and rolled back at once.
  - The new workers say which generation they serve on a loopback address of their own (127.101.0.0/16), preferably on a port
    that nginx listens on anyway, so that no further socket is opened.
seealso:
  - module: edgemesh.nginx_istio.tls_secret_export
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.changes
attributes:
  check_mode:
    details:
      - The configuration is tested in check mode as well, in a mount namespace, without touching the folder.
      - Where nginx or its stream module isn't installed yet, or files in O(depends_on) aren't there yet, the result has C(tested=false)
        and the reason.
  diff_mode:
    details: Shows the files before and after. Of O(depends_on) only the paths of changed files are shown.
  idempotent:
    details: A second run writes no file and reloads nothing.
author:
  - edgemesh maintainers (@edgemesh)
"""

EXAMPLES = r"""
- name: Serve one site, and reload when its certificate changes
  edgemesh.nginx_istio.nginx_config:
    files:
      - path: shop.conf
        content: "{{ lookup('ansible.builtin.template', 'shop.conf.j2') }}"
    depends_on:
      - /etc/edgemesh/tls/edgemesh/shop-public/tls.crt
      - /etc/edgemesh/tls/edgemesh/shop-public/tls.key
    default_site: disabled

- name: Serve two routes of team A's list, and take a third one away
  edgemesh.nginx_istio.nginx_config:
    list: team-a
    parts:
      - name: shop
        files:
          - path: route-shop.conf
            content: "{{ lookup('ansible.builtin.template', 'shop.conf.j2') }}"
        shared:
          - path: listen/443-ssl.inc
            content: "listen 443 ssl;\n"
        depends_on: [/etc/edgemesh/tls/edgemesh/shop-public/tls.crt, /etc/edgemesh/tls/edgemesh/shop-public/tls.key]
        material: [/etc/edgemesh/tls/edgemesh/shop-public/tls.crt, /etc/edgemesh/tls/edgemesh/shop-public/tls.key]
        claims: {443/shop.example.com: host shop.example.com on port 443}
        agrees: {port 443: TLS}
      - name: pay
        files:
          - path: route-pay.conf
            content: "{{ lookup('ansible.builtin.template', 'pay.conf.j2') }}"
    absent: [old]

- name: Go back to what list team-a served before its last change
  edgemesh.nginx_istio.nginx_config:
    list: team-a
    state: rolled_back

- name: Go back to generation 5
  edgemesh.nginx_istio.nginx_config:
    state: rolled_back
    generation: 5

- name: Remove what list team-a has on this host
  edgemesh.nginx_istio.nginx_config:
    list: team-a
    state: absent

- name: Put everything back as it was
  edgemesh.nginx_istio.nginx_config:
    state: absent
    all_lists: true
"""

RETURN = r"""
generation:
  description: The generation that nginx serves, or in check mode would serve; a number and a digest over files and material.
  returned: unless nothing is left
  type: str
  sample: 0007-1f2e3d4c5b6a
generations:
  description: The generations on the disk that were confirmed once, in the order in which they came to serve. They can be gone back to.
  returned: always
  type: list
  elements: str
  sample: [0005-1122334455aa, 0006-0a1b2c3d4e5f, 0007-1f2e3d4c5b6a]
draining_workers:
  description: Old workers that accept nothing any more and still finish requests, when the new ones were confirmed.
  returned: always
  type: int
previous_generation:
  description: The generation that was confirmed before this run.
  returned: always
  type: str
  sample: 0006-0a1b2c3d4e5f
tested:
  description: Whether nginx tested this configuration in this run. An unchanged configuration isn't tested again.
  returned: always
  type: bool
tested_how:
  description: V(namespace) or V(beside_main); see the notes.
  returned: when tested
  type: str
not_tested_reason:
  description: Why a changed configuration was not tested.
  returned: when changed and not tested
  type: str
confirmed:
  description: Whether workers answered with this generation.
  returned: always
  type: bool
repaired:
  description: Whether an earlier run had been killed half-way.
  returned: always
  type: bool
material_changed:
  description: Files that any part depends on and that differ from those of the previous generation.
  returned: always
  type: list
  elements: str
material_removed:
  description: Exported files that were removed, because no part has a use for them any more; in check mode those that would be.
  returned: always
  type: list
  elements: str
parts:
  description: The parts that this run made, changed and removed, or in check mode would, as C(list/name).
  returned: always
  type: dict
  contains:
    made:
      description: New parts.
      type: list
      elements: str
    changed:
      description: Parts that are others now.
      type: list
      elements: str
    removed:
      description: Parts that went.
      type: list
      elements: str
  sample: {made: [team-a/shop], changed: [], removed: [team-a/old]}
lists:
  description: The lists that have parts on this host afterwards.
  returned: always
  type: list
  elements: str
  sample: [default, team-a]
neighbours:
  description: The parts of other lists on this host, with how to ask for them.
  returned: always
  type: list
  elements: dict
  contains:
    list:
      description: The part's list.
      type: str
    name:
      description: The part's name.
      type: str
    probes:
      description: What that list's run said in C(probes).
      type: list
      elements: dict
files:
  description: Absolute paths under which nginx reads the files.
  returned: always
  type: list
  elements: str
nginx_version:
  description: The version of nginx, null where none is installed.
  returned: always
  type: str
  sample: 1.22.1
"""

import os
from typing import Any

from ..module_utils import _ansible
from ..module_utils import _values as values
from ..module_utils._errors import EdgeError
from ..module_utils._lists import DEFAULT
from ..module_utils._nginx.change.generations import Store
from ..module_utils._nginx.change.installation import discover
from ..module_utils._nginx.change.parts import Change, files_alone, read
from ..module_utils._nginx.change.service import METHODS
from ..module_utils._nginx.change.transaction import Outcome, Transaction

_TEXT: dict[str, Any] = {"type": "str", "required": True}
_PATHS: dict[str, Any] = {"type": "list", "elements": "path", "default": []}
_FILES: dict[str, Any] = {"type": "list", "elements": "dict", "options": {"path": _TEXT, "content": _TEXT}}
_INSTEAD: dict[str, Any] = {"present": {"type": "list", "elements": "str", "required": True}, "content": _TEXT}
_SHARED: dict[str, Any] = {
    "path": _TEXT,
    "content": _TEXT,
    "rank": {"type": "int", "default": 0},
    "instead": {"type": "list", "elements": "dict", "default": [], "options": _INSTEAD},
}
_PART: dict[str, Any] = {
    "name": _TEXT,
    "files": {**_FILES, "default": []},
    "shared": {"type": "list", "elements": "dict", "default": [], "options": _SHARED},
    "depends_on": _PATHS,
    "material": _PATHS,
    "claims": {"type": "dict", "default": {}},
    "agrees": {"type": "dict", "default": {}},
    "probes": {"type": "list", "elements": "dict", "default": []},
}
ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "default": "edgemesh"},
    "list": {"type": "str", "default": DEFAULT},
    "parts": {"type": "list", "elements": "dict", "options": _PART},
    "absent": {"type": "list", "elements": "str", "default": []},
    "exclusive": {"type": "bool", "default": False},
    "material_folder": {"type": "path", "default": "/etc/edgemesh/tls"},
    "files": _FILES,
    "depends_on": _PATHS,
    "default_site": {"type": "str", "choices": ["keep", "disabled"], "default": "keep"},
    "state": {"type": "str", "choices": ["present", "rolled_back", "absent"], "default": "present"},
    "generation": {"type": "str", "default": "previous"},
    "all_lists": {"type": "bool", "default": False},
    "take_over": {"type": "bool", "default": False},
    "start": {"type": "bool", "default": True},
    "keep_generations": {"type": "int", "default": 3},
    "timeout": {"type": "int", "default": 30},
    "binary": {"type": "str", "default": "nginx"},
    "main": {"type": "path"},
    "prefix": {"type": "path"},
    "manager": {"type": "str", "choices": list(METHODS), "default": "auto"},
    "service": {"type": "str", "default": "nginx"},
}


def differences(outcome: Outcome) -> list[dict[str, str]]:
    """What ``--diff`` shows: each file that differs, and the names of changed material."""
    shown = []
    for path in sorted({*outcome.before, *outcome.after}):
        before, after = outcome.before.get(path, ""), outcome.after.get(path, "")
        if before != after:
            shown.append({"before_header": path, "after_header": path, "before": before, "after": after})
    if outcome.material_changed:
        shown.append({"before": "", "after": "".join(f"{path}\n" for path in outcome.material_changed), "after_header": "changed material"})
    return shown


def wanted(params: dict[str, Any]) -> Change:
    """What the parameters ask for: parts, or files alone."""
    parts, absent, exclusive = params["parts"], params["absent"], params["exclusive"]
    if params["files"] is None and (parts is not None or absent or exclusive):
        return read(params["list"], parts or [], absent, exclusive, params["default_site"])
    if params["files"] is None or parts is not None or absent:
        raise EdgeError("state=present takes files alone, or parts, absent and exclusive", where="files", fix="Give one of the two")
    return files_alone(params["list"], params["files"], params["depends_on"], params["default_site"])


def work(module: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Apply the change and say what it did."""
    name = values.name(params["name"], "name")
    nginx = discover(params["binary"], params["main"] or "", params["prefix"] or "")
    store = Store(nginx.folder if nginx else os.path.dirname(params["main"] or "/etc/nginx/nginx.conf"), name)
    transaction = Transaction(
        store=store,
        nginx=nginx,
        name=name,
        check=module.check_mode,
        start=params["start"],
        take_over=params["take_over"],
        timeout=params["timeout"],
        keep=params["keep_generations"],
        method=params["manager"],
        unit=values.name(params["service"], "service"),
        material_folder=params["material_folder"],
    )
    list_name = values.name(params["list"], "list")
    if params["state"] == "absent":
        outcome = transaction.absent(list_name, params["all_lists"])
    elif params["state"] == "rolled_back":
        outcome = transaction.rolled_back(params["generation"], list_name)
    else:
        outcome = transaction.present(wanted(params))
    for warning in outcome.warnings:
        module.warn(warning)
    result: dict[str, Any] = {
        "changed": outcome.changed,
        "previous_generation": outcome.previous,
        "tested": outcome.tested,
        "confirmed": outcome.confirmed,
        "draining_workers": outcome.draining,
        "generations": store.kept(),
        "repaired": outcome.repaired,
        "material_changed": outcome.material_changed,
        "material_removed": outcome.material_removed,
        "parts": outcome.parts,
        "lists": outcome.lists,
        "neighbours": outcome.neighbours,
        "files": sorted(outcome.after),
        "nginx_version": nginx.version_text if nginx else None,
    }
    if outcome.generation:
        result["generation"] = outcome.generation
    if outcome.tested:
        result["tested_how"] = outcome.how_tested
    if outcome.not_tested:
        result["not_tested_reason"] = outcome.not_tested
    if outcome.changed:
        result["diff"] = differences(outcome)
    return result


def main() -> None:
    """Entry point."""
    _ansible.run(work, argument_spec=ARGUMENTS)


if __name__ == "__main__":
    main()
