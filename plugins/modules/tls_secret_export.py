#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: edgemesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The part of tls_secret_export that works on the host; Secrets are read by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_secret_export
short_description: Certificates and keys of Kubernetes Secrets as files on a host without access to the cluster
version_added: "0.1.0"
author: edgemesh maintainers (@edgemesh)
description:
  - Reads Secrets on the controller and writes their certificates, keys and CAs as files on the task's host.
  - The host first gets digests only; key material is sent only when a file must be written.
  - Files are made with mode 0600 beside their place, given owner, mode and SELinux label, synced, and renamed. Others can never read a
    key.
  - All files of a task change together, or none does. A killed run leaves a journal. With it, the next run on these
    folders first restores the previous files; then it goes on as usual.
  - A file with the right content is not written again.
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.changes
  - edgemesh.nginx_istio._kube_connection
attributes:
  check_mode:
    details: Works even if the Secret, the folders or the owner are only made in the same play; such values show as C((known after apply)).
  diff_mode:
    details: Shows names, dates and fingerprints; never a key.
  idempotent:
    details: Files with the right content keep inode and modification time.
options:
  exports:
    description: The Secrets, and the files for their parts.
    type: list
    elements: dict
    required: true
    suboptions:
      secret:
        description: The Secret, of any type.
        type: dict
        required: true
        suboptions:
          namespace: {description: Its namespace., type: str, required: true}
          name: {description: Its name., type: str, required: true}
          certificate:
            description: Entry with the certificate chain. Default C(tls.crt), else C(cert).
            type: str
          key:
            description: Entry with the key. Default C(tls.key), else C(key).
            type: str
          ca:
            description: Entry with the CA. Default C(cacert), else C(ca.crt).
            type: str
      cert:
        description:
          - File for the certificate followed by its intermediates, as C(ssl_certificate) and C(proxy_ssl_certificate) require.
          - Paths are absolute and on the host.
        type: str
      fullchain:
        description: A second file with the same content as O(exports[].cert), for programs that expect this name.
        type: str
      leaf:
        description: File for the certificate alone.
        type: str
      chain:
        description: File for the intermediates alone.
        type: str
      ca:
        description: "File for the CA, which is the Secret's CA entry, else the root at the end of the chain."
        type: str
      key:
        description: File for the private key (PKCS#8).
        type: str
      owner:
        description: Owner of the files. Default is the user that the task runs as.
        type: str
      group:
        description: Group of the files.
        type: str
      mode:
        description: Mode of the key's file. Others may never read it. Quote it.
        type: raw
        default: "0600"
      public_mode:
        description: Mode of the other files. Quote it.
        type: raw
        default: "0644"
      seuser: {description: SELinux user., type: str}
      serole: {description: SELinux role., type: str}
      setype: {description: SELinux type. The default comes from the policy for the path., type: str}
      selevel: {description: SELinux level., type: str}
      backup:
        description: Whether to keep a replaced file beside the new one, under a name with the time, with its owner and mode.
        type: bool
        default: false
  state:
    description: C(absent) removes the listed files, and then empty folders that this module made. It does not use the cluster.
    type: str
    choices: [present, absent]
    default: present
  _files:
    description: Not for users. The action plugin passes the wanted files to the host here.
    type: list
    elements: dict
  timeout:
    description: Seconds for reading the Secrets; requests that may still succeed are repeated until then.
    type: int
    default: 120
notes:
  - Needs the RBAC verb C(get) on the listed C(secrets); as a ready Role in C(docs/rbac/tls_secret_export.yaml).
  - The connection to the cluster is made from the controller, with the controller's files and environment.
  - Folders that are missing are made with mode 0755, and 0700 where a key goes into them (0750 and the group if O(exports[].group) is
    given, 0711 if only an O(exports[].owner) is).
  - Refuses folders that others can write to.
  - 1000 Secrets as 2000 files on a host take 23 seconds, and 18 when nothing has changed, a whole play by SSH on two busy cores
    (C(tests/bench/bench_tls_secrets.py)).
  - Refuses to send a key to an unprivileged C(become_user) without pipelining, for which Ansible would put it into a temporary file that
    another user can read, and while C(ANSIBLE_KEEP_REMOTE_FILES) is on, which would leave it there.
requirements:
  - kubernetes, cryptography >= 42 and pyOpenSSL >= 24 on the controller
  - Python >= 3.9 on the host, nothing else
seealso:
  - module: edgemesh.nginx_istio.tls_secret
  - module: edgemesh.nginx_istio.nginx_config
"""

EXAMPLES = r"""
- name: What nginx needs to speak mTLS to the gateway
  edgemesh.nginx_istio.tls_secret_export:
    exports:
      - secret: {namespace: edgemesh, name: edge-client}
        cert: /etc/edgemesh/tls/edgemesh/edge-client/tls.crt
        key: /etc/edgemesh/tls/edgemesh/edge-client/tls.key
      - secret: {namespace: edgemesh, name: edge-ca}
        ca: /etc/edgemesh/tls/edgemesh/edge-ca/ca.crt
  become: true
  register: material

- name: Serve them
  edgemesh.nginx_istio.nginx_config:
    files: "{{ files }}"
    depends_on: "{{ material.paths }}"
  become: true
"""

RETURN = r"""
paths:
  description: Every file of the task, e.g. for I(depends_on) of C(nginx_config).
  returned: success
  type: list
  elements: str
results:
  description: One element for each entry of I(exports), in order.
  returned: success
  type: list
  elements: dict
  contains:
    namespace: {description: Namespace of the Secret., type: str, returned: always}
    name: {description: Name of the Secret., type: str, returned: always}
    changed: {description: Whether one of its files was or would be changed., type: bool, returned: always}
    certificate:
      description:
        - Facts of the first certificate. C((known after apply)) in check mode where the Secret is not there yet; null for state absent.
      type: raw
      returned: always
    files:
      description: Its files.
      type: list
      elements: dict
      returned: always
      contains:
        path: {description: Where it is., type: str, returned: always}
        part: {description: C(cert) or C(fullchain) or C(leaf) or C(chain) or C(ca) or C(key)., type: str, returned: always}
        changed: {description: Whether it was or would be changed., type: bool, returned: always}
        sha256: {description: Digest of the file; empty for keys and where it is not known., type: str, returned: always}
        backup_file: {description: Path of the replaced file., type: str, returned: with I(backup)}
restored:
  description: Files of a killed run that were restored first.
  returned: success
  type: list
  elements: str
"""

import grp
import os
import pwd
import time
from typing import Any

from ..module_utils import _file_set, _files
from ..module_utils._ansible import run
from ..module_utils._errors import EdgeError
from ..module_utils._kube.arguments import CONNECTION_ARGUMENTS
from ..module_utils._secrets.arguments import SOURCE

SELINUX = {name: {"type": "str"} for name in ("seuser", "serole", "setype", "selevel")}
EXPORT = {
    "secret": {"type": "dict", "required": True, "no_log": False, "options": SOURCE},
    **{name: {"type": "str", "no_log": False} for name in ("cert", "fullchain", "leaf", "chain", "ca", "key")},
    **{name: {"type": "str"} for name in ("owner", "group")},
    "mode": {"type": "raw", "default": "0600"},
    "public_mode": {"type": "raw", "default": "0644"},
    **SELINUX,
    "backup": {"type": "bool", "default": False},
}
ARGUMENTS: dict[str, Any] = {
    **CONNECTION_ARGUMENTS,
    "exports": {"type": "list", "elements": "dict", "required": True, "options": EXPORT},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "timeout": {"type": "int", "default": 120},
}


def work(module: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Compare, ask for the contents that have to be written, write; ``files`` of the result says what about each path."""
    files = params["_files"]
    if files is None:
        raise EdgeError("this module works only through its action plugin", fix="Call it as edgemesh.nginx_istio.tls_secret_export")
    known = {_files.checked_path(each["path"]): each for each in files}
    paths, present = list(known), params["state"] == "present"
    for folder in sorted({os.path.dirname(path) for path in paths if present or os.path.lexists(path)}):
        _files.check_folder(folder)
    found = {path: _files.content(path) for path in paths}
    state = {path: {"path": path, "before": _files.shown(path, data)} for path, data in found.items()}
    now = found
    if not module.check_mode:
        _file_set.recover(paths)
        now = {path: _files.content(path) for path in paths}
    restored = [path for path in paths if now[path] != found[path]]
    if not present:
        changed = [path for path in paths if os.path.lexists(path)]
        if not module.check_mode:
            _files.remove_all(paths)
        return _result(state, changed, restored)
    changed = [path for path in paths if not known[path]["sha256"] or _files.digest(now[path]) != known[path]["sha256"]]
    if not module.check_mode and changed:
        needed = [path for path in changed if known[path]["content"] is None]
        if needed:
            return {**_result(state, [], restored), "needed": needed}
    right = set(paths).difference(changed)
    drifted = [path for path in paths if path in right and _attributes(module, known[path], path)]
    if not module.check_mode and changed:
        for path, backup in _write(module, {path: known[path] for path in changed}).items():
            state[path]["backup_file"] = backup
    return _result(state, changed + drifted, restored)


def _write(module: Any, known: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Write them as one set; returns the backups that were made."""
    made: list[str] = []
    stamp = time.strftime(f"{os.getpid()}.%Y-%m-%d@%H:%M:%S~")  # as Ansible's own modules do
    backups = {path: f"{path}.{stamp}" for path, each in known.items() if each["backup"] and os.path.lexists(path)}
    try:
        folders: dict[str, list[dict[str, Any]]] = {}
        for path, each in known.items():
            folders.setdefault(os.path.dirname(path), []).append(each)
        for folder in sorted(folders):
            made += _files.make_folders(folder, *_folder_access(folders[folder]))
        _file_set.write_all(
            {path: each["content"].encode("ascii") for path, each in known.items()},
            lambda fresh, path: _finish(module, known[path], fresh, path),
            backups,
        )
    except BaseException as error:
        for folder in reversed(made):
            _files.remove_folder(folder)
        if isinstance(error, OSError):
            where, why = str(error.filename or ""), str(error.strerror)
            raise EdgeError("the files can't be written, so all are as they were", where=where, why=why, code="WRITE_FAILED") from None
        raise
    return backups


def _folder_access(files: list[dict[str, Any]]) -> tuple[int, int, int]:
    """Mode, owner, group (-1: ours) of a folder for these files: who may read a key gets there, and nobody else looks around."""
    if not any(each["secret"] for each in files):
        return 0o755, -1, -1
    group = next((each["group"] for each in files if each["group"]), None)
    if group:
        return 0o750, -1, _group(group)
    ours = {None, "", str(os.geteuid()), pwd.getpwuid(os.geteuid()).pw_name}
    return (0o711 if any(each["owner"] not in ours for each in files) else 0o700), -1, -1


def _group(name: str) -> int:
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise EdgeError(f"there is no group {name} on this host", fix="Create it first", code="GROUP_MISSING") from None


def _attributes(module: Any, file: dict[str, Any], path: str, fresh: str = "") -> bool:
    """Owner, mode and SELinux label as for ``path``, put on ``fresh`` or on itself; whether that changes anything."""
    if module.check_mode and not _exist(file["owner"], file["group"]):
        return True
    wanted = {"path": path, "attributes": None, **{name: file[name] for name in ("mode", "owner", "group", *SELINUX)}}
    arguments = module.load_file_common_arguments(wanted, path=path)
    if fresh:
        arguments["path"] = fresh
    return bool(module.set_fs_attributes_if_different(arguments, False))


def _finish(module: Any, file: dict[str, Any], fresh: str, path: str) -> None:
    _attributes(module, file, path, fresh)


def _exist(owner: Any, group: Any) -> bool:
    """In check mode the user may be one that a package of the same play brings."""
    try:
        if owner and not str(owner).isdigit():
            pwd.getpwnam(owner)
        if group and not str(group).isdigit():
            grp.getgrnam(group)
    except KeyError:
        return False
    return True


def _result(state: dict[str, dict[str, Any]], changed: list[str], restored: list[str]) -> dict[str, Any]:
    touched = {*changed, *restored}
    return {"changed": bool(touched), "files": [{**each, "changed": path in touched} for path, each in state.items()], "restored": restored}


def main() -> None:
    """Run the module."""
    # no_log keeps it out of the system log
    run(work, argument_spec={**ARGUMENTS, "_files": {"type": "list", "elements": "dict", "no_log": True}})


if __name__ == "__main__":
    main()
