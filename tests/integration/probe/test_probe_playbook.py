# SPDX-License-Identifier: GPL-3.0-or-later
"""edge_probe and diagnose.yml as users run them: by ansible-playbook, on every Python that a target may have."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from probe_rig import HOST, Gateway, Nginx

from tests.integration.tls_secret import own_sshd
from tests.ports import free_port

ROOT = Path(__file__).parents[3]


def play(collections: Path, playbook: Path | str, variables: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    own = collections / "variables.json"
    own.write_text(json.dumps(variables))
    paths = [str(collections), *filter(None, [os.environ.get("ANSIBLE_COLLECTIONS_PATH")])]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": ":".join(paths), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1"}
    return subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-c", "local", str(playbook), "-e", f"@{own}", *arguments],
        capture_output=True, text=True, env=environment, cwd=collections, timeout=300, check=False,
    )  # fmt: skip


def pythons() -> list[str]:
    """Every Python from 3.9 on that this machine has, one of each version."""
    found = {}
    for minor in range(9, 16):
        candidates = [shutil.which(f"python3.{minor}"), *sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3.{minor}"))]
        for candidate in candidates:
            if candidate and subprocess.run([candidate, "-c", "import ssl"], capture_output=True, check=False).returncode == 0:
                found[minor] = str(candidate)
                break
    return list(found.values())


def some(found: list[str]) -> list[str]:
    """All of them in a long run, else the oldest and the newest."""
    return found if os.environ.get("EDGEMESH_SOAK") else list(dict.fromkeys([found[0], found[-1]]))


@pytest.mark.parametrize("python", some(pythons()), ids=lambda path: Path(path).name)
def test_module_on_every_python(gateway: Gateway, collections: Path, tmp_path: Path, python: str) -> None:
    trusted = {"ca_file": gateway.path("ca.crt")}
    at = {"address": "127.0.0.1", "port": gateway.tls}
    client = {"cert_file": gateway.path("client.crt"), "key_file": gateway.path("client.key")}
    paths = [
        {**at, "name": "good", "tls": {"sni": HOST, **trusted}, "http": {}, "expect": {"status": 200}},
        {**at, "name": "mutual", "tls": {"sni": "mutual.example.com", **trusted, "client": client}, "http": {}, "consecutive": 3},
        {**at, "name": "no SNI", "tls": {"sni": ""}, "expect": {"refused": True, "codes": ["NO_SNI"]}},
        {**at, "name": "none", "tls": {"sni": "mutual.example.com"}, "expect": {"refused": True, "codes": ["CLIENT_CERT_MISSING"]}},
        {
            **at, "name": "foreign", "tls": {"sni": "mutual.example.com", "client": {"foreign": True}},
            "expect": {"refused": True, "codes": ["CLIENT_CERT_UNTRUSTED"]},
        },
        {**at, "name": "1.0", "tls": {"sni": HOST, **trusted}, "http": {"version": "1.0"}},
        {**at, "name": "chain", "tls": {"sni": "chained.example.com", **trusted}, "http": {}},
        {**at, "name": "h2", "tls": {"sni": HOST, "alpn": ["h2"]}, "http": {"version": "2"}},
    ]  # fmt: skip
    report = tmp_path / "report.json"
    playbook = tmp_path / "probe.yml"
    playbook.write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        "    - edgemesh.nginx_istio.edge_probe: {paths: '{{ probes }}', fail: false}\n      register: seen\n"
        "    - ansible.builtin.copy: {content: '{{ seen | to_json }}', dest: '{{ report }}', mode: '0600'}\n      delegate_to: localhost\n"
    )
    done = play(collections, playbook, {"probes": paths, "ansible_python_interpreter": python, "report": str(report)}, "-vvv")
    assert done.returncode == 0, done.stdout[-3000:]
    seen = json.loads(report.read_text())
    found = {each["name"]: each for each in seen["results"]}
    assert [name for name, each in found.items() if not each["ok"]] == ["1.0"], [each["code"] for each in seen["results"]]
    assert (found["1.0"]["code"], seen["ok"]) == ("HTTP10_UPSTREAM", False)
    assert found["mutual"]["attempts"] == 3
    assert found["h2"]["http"]["version"] == "2"
    # the whole chain is seen on every version
    assert len(found["chain"]["tls"]["chain"]) == 2
    assert {each["vantage"] for each in seen["results"]} == {"localhost"}
    assert "PRIVATE KEY" not in done.stdout + done.stderr + report.read_text()


def test_module_fails_with_every_cause_named(gateway: Gateway, collections: Path, tmp_path: Path) -> None:
    playbook = tmp_path / "probe.yml"
    playbook.write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - edgemesh.nginx_istio.edge_probe:\n"
        "        {paths: '{{ probes }}', attempt_timeout: '5'}\n"
    )
    paths = [
        {"name": "one", "address": "127.0.0.1", "port": str(gateway.tls), "tls": {"sni": ""}},
        {"name": "two", "address": "127.0.0.1", "port": str(gateway.dead)},
    ]
    done = play(collections, playbook, {"probes": paths})
    assert done.returncode == 2
    assert "one: NO_SNI: " in done.stdout + done.stderr
    assert "two: CONNECTION_REFUSED: " in done.stdout + done.stderr
    refused = play(collections, playbook, {"probes": [paths[0], paths[0]]})
    assert "another path has the same name" in refused.stdout + refused.stderr
    wrong = play(collections, playbook, {"probes": [{**paths[0], "port": "70000"}]})
    assert "port 70000 is not between 1 and 65535" in wrong.stdout + wrong.stderr


@pytest.fixture
def seeds_nginx(gateway: Gateway, tmp_path: Path) -> Iterator[Nginx]:
    """The seed's first configuration."""
    port = free_port()
    with Nginx(
        tmp_path / "nginx",
        f"server {{\nlisten 127.0.0.1:{port};\nserver_name {HOST};\nlocation / {{\nproxy_pass https://127.0.0.1:{gateway.tls};\n}}\n}}\n",
        port,
    ) as nginx:
        yield nginx


def diagnosis(collections: Path, tmp_path: Path, variables: dict[str, Any], *arguments: str) -> tuple[dict[str, Any], str]:
    report = tmp_path / "diagnosis.json"
    everything = {"diagnose_host": HOST, "diagnose_on": "all", "diagnose_become": "false", "diagnose_report": str(report), **variables}
    done = play(collections, ROOT / "playbooks" / "diagnose.yml", everything, *arguments)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "changed=0" in done.stdout
    return json.loads(report.read_text()), done.stdout


def test_diagnose_names_the_seeds_three_mistakes_at_once(seeds_nginx: Nginx, collections: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in seeds_nginx.folder.rglob("*.conf")}
    found, output = diagnosis(collections, tmp_path, {"diagnose_nginx_command": seeds_nginx.command}, "--check")
    assert found["cause"]["code"] == "NO_SNI"
    assert found["cause"]["fix"] == f"proxy_ssl_server_name on; proxy_ssl_name {HOST};"
    assert found["cause"]["place"] == f"{seeds_nginx.folder}/conf.d/site.conf:4"
    assert [each["code"] for each in found["then"]] == ["HTTP10_UPSTREAM", "HOST_NOT_ROUTED"]
    assert [each["code"] for each in found["findings"]] == ["UPSTREAM_NOT_VERIFIED"]
    assert f"{HOST}/: NO_SNI" in output
    assert {path: path.stat().st_mtime_ns for path in seeds_nginx.folder.rglob("*.conf")} == before


def test_diagnose_follows_its_own_advice_to_a_healthy_path(seeds_nginx: Nginx, gateway: Gateway, collections: Path, tmp_path: Path) -> None:
    """The fixes, as printed, put into the location and reloaded: then nothing is named."""
    variables = {"diagnose_nginx_command": seeds_nginx.command}
    found, _output = diagnosis(collections, tmp_path, variables)
    fixes = " ".join(each["fix"] for each in (found["cause"], *found["then"], *found["findings"]))
    fixes = fixes.replace("/path/of/the/CA.crt", gateway.path("ca.crt"))
    site = seeds_nginx.folder / "conf.d" / "site.conf"
    seeds_nginx.write(site.read_text().replace("proxy_pass", f"{fixes}\nproxy_pass"))
    assert seeds_nginx.process
    seeds_nginx.process.send_signal(1)
    found, output = diagnosis(collections, tmp_path, {**variables, "diagnose_fail": "true"})
    assert (found["healthy"], found["cause"], found["findings"]) == (True, None, []), output


def test_diagnose_sees_a_missing_reload(seeds_nginx: Nginx, gateway: Gateway, collections: Path, tmp_path: Path) -> None:
    site = seeds_nginx.folder / "conf.d" / "site.conf"
    good = f"proxy_ssl_server_name on; proxy_ssl_name {HOST}; proxy_http_version 1.1; proxy_set_header Host $host;"
    seeds_nginx.write(site.read_text().replace("proxy_pass", f"{good} proxy_pass"))
    future = site.stat().st_mtime + 60
    os.utime(site, (future, future))
    found, _output = diagnosis(collections, tmp_path, {"diagnose_nginx_command": seeds_nginx.command})
    assert found["cause"]["code"] == "NGINX_NOT_RELOADED"
    assert str(site) in found["cause"]["why"]


def test_diagnose_sees_a_broken_configuration(seeds_nginx: Nginx, collections: Path, tmp_path: Path) -> None:
    seeds_nginx.write("server { prxy_pass x; }")
    found, _output = diagnosis(collections, tmp_path, {"diagnose_nginx_command": seeds_nginx.command, "diagnose_gateway": "127.0.0.1:1"})
    assert found["cause"]["code"] == "NGINX_CONFIG_BROKEN"
    assert 'unknown directive "prxy_pass"' in found["cause"]["why"]


def test_diagnose_never_shows_the_configuration(seeds_nginx: Nginx, collections: Path, tmp_path: Path) -> None:
    """Over SSH: its connection shows, at this verbosity, what commands print; the local one never does."""
    site = seeds_nginx.folder / "conf.d" / "site.conf"
    seeds_nginx.write(site.read_text().replace("proxy_pass", 'proxy_set_header Authorization "Basic c2VjcmV0"; proxy_pass'))
    with own_sshd.sshd() as server:
        over_ssh = {"ansible_connection": "ssh", **server.variables("root")}
        found, output = diagnosis(collections, tmp_path, {"diagnose_nginx_command": seeds_nginx.command, **over_ssh}, "-vvvvv")
    assert found["cause"]["code"] == "NO_SNI"
    assert "SSH: EXEC ssh" in output
    assert "c2VjcmV0" not in output + json.dumps(found)


def test_diagnose_without_an_nginx_asks_the_gateway(gateway: Gateway, collections: Path, tmp_path: Path) -> None:
    no_nginx = {"diagnose_nginx_command": ["no-such-nginx"]}
    found, _output = diagnosis(collections, tmp_path, {**no_nginx, "diagnose_gateway": f"127.0.0.1:{gateway.tls}"})
    assert (found["healthy"], found["cause"]) == (True, None)
    mutual = {"diagnose_host": "mutual.example.com", "diagnose_gateway": [f"127.0.0.1:{gateway.tls}"]}
    found, _output = diagnosis(collections, tmp_path, {**no_nginx, **mutual})
    assert found["cause"]["code"] == "CLIENT_CERT_MISSING"
    found, _output = diagnosis(collections, tmp_path, {**no_nginx, "diagnose_host": "nowhere.invalid"})
    assert found["cause"]["code"] == "DNS_NO_ADDRESS"


def test_diagnose_fails_when_told_to(seeds_nginx: Nginx, collections: Path) -> None:
    variables = {
        "diagnose_host": HOST, "diagnose_on": "all", "diagnose_become": "false", "diagnose_fail": "true",
        "diagnose_nginx_command": seeds_nginx.command,
    }  # fmt: skip
    done = play(collections, ROOT / "playbooks" / "diagnose.yml", variables)
    assert done.returncode == 2
    assert f"{HOST}/: NO_SNI: No server name" in done.stdout + done.stderr
