# SPDX-License-Identifier: GPL-3.0-or-later
"""What role nginx_offload asks of SELinux, with programs that answer in its place: no machine with SELinux is at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
PORTS = """http_port_t                    tcp      18080, 80, 81, 443, 488, 8008, 8009, 8443, 9000
http_cache_port_t              tcp      8080, 8118, 8123, 10001-10010
http_cache_port_t              udp      3130
pegasus_http_port_t            tcp      5988
"""


#: By host: what the boolean is, the routes' ports, and what has to be set.
HOSTS: dict[str, tuple[str, list[str], list[str]]] = {
    "ready": ("on", ["443", "80"], []),
    "closed": ("off", ["443", "80"], ["setsebool -P httpd_can_network_connect on"]),
    "ports": ("on", ["443", "8080", "80", "5443", "18080"], [
        "semanage port --modify --type http_port_t --proto tcp 8080", "semanage port --add --type http_port_t --proto tcp 5443",
    ]),
}  # fmt: skip


def test_only_what_is_missing_is_set(tmp_path: Path) -> None:
    hosts = {}
    for host, (boolean, ports, _expected) in HOSTS.items():
        programs = tmp_path / host
        programs.mkdir()
        for name, answer in (("getsebool", f"httpd_can_network_connect --> {boolean}\n"), ("setsebool", ""), ("semanage", PORTS)):
            (programs / name).write_text(f"#!/bin/sh\necho \"{name} $*\" >> {programs}/log\ncat <<'END'\n{answer}END\n")
            (programs / name).chmod(0o755)
        hosts[host] = {"nginx_offload__checked": json.dumps({"ports": ports}), "programs": str(programs)}
    tasks = {"name": "Tasks", "ansible.builtin.include_role": {"name": "edgemesh.nginx_istio.nginx_offload", "tasks_from": "selinux"}}
    play = {
        "name": "SELinux", "hosts": "all", "connection": "local", "gather_facts": False, "tasks": [tasks],
        "environment": {"PATH": "{{ programs }}:" + os.environ["PATH"]},
        "vars": {"nginx_offload__host": {"os_family": "like Red Hat"}, "ansible_python_interpreter": sys.executable},
    }  # fmt: skip
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml")]
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)
    stats = json.loads(done.stdout[done.stdout.index("{") :])["stats"]
    for host, (_boolean, _ports, expected) in HOSTS.items():
        assert not stats[host]["failures"], done.stdout
        said = (tmp_path / host / "log").read_text().splitlines()
        assert [line for line in said if not line.startswith("getsebool") and "--list" not in line] == expected
        assert bool(stats[host]["changed"]) == bool(expected)
