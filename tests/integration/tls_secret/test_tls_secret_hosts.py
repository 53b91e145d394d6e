# SPDX-License-Identifier: GPL-3.0-or-later
"""tls_secret_export on VMs by SSH, as an ordinary user that becomes another, with pipelining and without."""

from __future__ import annotations

import pytest

from tests.integration.tls_secret.conftest import Player

pytestmark = [pytest.mark.cluster, pytest.mark.lab, pytest.mark.vms]
MODULE = "edgemesh.nginx_istio.tls_secret"
EXPORT = "edgemesh.nginx_istio.tls_secret_export"


def test_becoming_root_and_becoming_somebody_else(namespace: str, play: Player, vm: tuple[str, str]) -> None:
    inventory, host = vm
    ca = {"namespace": namespace, "name": "ca"}
    leaf = {"namespace": namespace, "name": "leaf"}
    root, nobody = f"/etc/{namespace}", f"/var/lib/{namespace}"

    def export(folder: str) -> dict[str, object]:
        return {EXPORT: {"exports": [{"secret": leaf, "cert": f"{folder}/crt", "key": f"{folder}/key"}]}}

    become = {"become": True, "become_user": "nobody"}
    setup = [
        {
            "name": "secrets",
            MODULE: {"secrets": [{**ca, "issue": {"usage": "ca"}}, {**leaf, "issue": {"ca": ca, "names": ["a"]}}]},
            "delegate_to": "localhost",
        },
        {
            "name": "folder",
            "ansible.builtin.file": {"path": nobody, "state": "directory", "owner": "nobody", "mode": "0755"},
            "become": True,
        },
    ]
    tasks = [
        {"name": "root", **export(root), "become": True},
        {"name": "nobody", **export(nobody), **become, "ignore_errors": True},
        {
            "name": "seen",
            "ansible.builtin.command": f"stat -c '%a %U %n' {root} {root}/crt {root}/key",
            "become": True,
            "changed_when": False,
        },
    ]
    clean = [{"name": "clean", "ansible.builtin.file": {"path": "{{ item }}", "state": "absent"}, "loop": [root, nobody], "become": True}]
    try:
        plain = play([*setup, *tasks], hosts=host, inventory=inventory, ANSIBLE_PIPELINING="false")
        assert plain.code == 0, plain.printed
        assert plain.one("seen")["stdout_lines"] == [f"700 root {root}", f"644 root {root}/crt", f"600 root {root}/key"]
        assert plain.one("nobody")["error"]["code"] == "BECOME_LEAKS"
        again = play(tasks, hosts=host, inventory=inventory, ANSIBLE_PIPELINING="true")
        assert again.code == 0, again.printed
        assert (again.one("root")["changed"], again.one("nobody")["changed"]) == (False, True)
        third = play(tasks, hosts=host, inventory=inventory, ANSIBLE_PIPELINING="true")
        assert third.changed() == {"root": False, "nobody": False, "seen": False}
    finally:
        assert play(clean, hosts=host, inventory=inventory).code == 0
