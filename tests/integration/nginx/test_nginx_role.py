# SPDX-License-Identifier: GPL-3.0-or-later
"""Role nginx_offload on an empty VM, in front of a gateway that demands a client certificate."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from nginx_machine import CHECKOUT, Machine

from lab import settings, vms
from lab.settings import Host
from tests.spare_vms import spare

pytestmark = pytest.mark.lab

SOAK = bool(os.environ.get("EDGEMESH_SOAK"))
SHOP, FREE, PLAIN, BANK = "shop.example.com", "free.example.com", "plain.example.com", "bank.example.com"


class Pki:
    """A CA and leaves of it, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._openssl(
            "req",
            "-x509",
            "-keyout",
            "ca.key",
            "-out",
            "ca.crt",
            "-subj",
            "/CN=test CA",
            "-days",
            "30",
            "-addext",
            "keyUsage=critical,keyCertSign",
            *self._NEW,
        )
        for name, host in (("front", SHOP), ("gateway", SHOP), ("client", "edge.example.com")):
            self.leaf(name, host)

    _NEW = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

    def leaf(self, name: str, host: str) -> None:
        (self.folder / "ext").write_text(f"subjectAltName=DNS:{host},DNS:{FREE},DNS:{BANK}\nauthorityKeyIdentifier=keyid\n")
        self._openssl("req", "-new", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={host}", *self._NEW)
        self._openssl(
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-out",
            f"{name}.crt",
            "-days",
            "30",
            "-extfile",
            "ext",
        )

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


class Gateway:
    """Says what it was sent, over TLS: by SNI, client certificate and request."""

    def __init__(self, pki: Pki) -> None:
        gateway = self
        self.connections = 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                gateway.connections += 1
                super().setup()

            def do_GET(self) -> None:
                peer = dict(pair[0] for pair in (self.connection.getpeercert() or {}).get("subject", ()))  # type: ignore[attr-defined]
                seen = {
                    "sni": self.connection.sni, "client": peer.get("commonName", ""), "version": self.request_version,  # type: ignore[attr-defined]
                    "headers": {name.lower(): value for name, value in self.headers.items()}, "path": self.path,
                }  # fmt: skip
                body = json.dumps(seen).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: Any) -> None:
                pass

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki.folder / "ca.crt"))
        context.load_cert_chain(pki.folder / "gateway.crt", pki.folder / "gateway.key")
        context.verify_mode = ssl.CERT_OPTIONAL

        def remember(connection: Any, name: str | None, _context: ssl.SSLContext) -> None:
            connection.sni = name

        context.sni_callback = remember
        self.server = ThreadingHTTPServer((settings.NODE_IP, 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.address = f"{settings.NODE_IP}:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Rig:
    """An empty VM, and a play that runs the role on it."""

    def __init__(self, host: Host, folder: Path, pki: Pki, gateway: Gateway) -> None:
        self.host, self.folder, self.pki, self.gateway = host, folder, pki, gateway
        self.machine = Machine(host)
        self.text = False

    def routes(self) -> list[dict[str, Any]]:
        front = {"cert_file": "/etc/test/front.crt", "key_file": "/etc/test/front.key"}
        mutual = {
            "mode": "mutual", "server_ca": {"file": "/etc/test/ca.crt"}, "client_ca": "edge-ca",
            "client_certificate": {"cert_file": "/etc/test/client.crt", "key_file": "/etc/test/client.key"},
        }  # fmt: skip
        simple = {"server_ca": {"file": "/etc/test/ca.crt"}}
        paths = [{"path": "/", "service": {"namespace": "shop", "name": "web", "port": 8000}}]
        return [
            {"name": "shop", "host": SHOP, "listen": {"certificate": front, "hsts": True}, "upstream_tls": mutual, "paths": paths},
            {"name": "free", "host": FREE, "listen": {"certificate": front}, "upstream_tls": simple, "paths": paths},
            {
                "name": "plain",
                "host": PLAIN,
                "listen": {"tls": False},
                "upstream_tls": {**simple, "server_name": SHOP + ".x"},
                "paths": paths,
            },
        ]

    def play(self, *arguments: str, **variables: Any) -> dict[str, Any]:
        """Run the role; returns Ansible's JSON report."""
        upload = {"name": "Material", "hosts": "all", "become": True, "gather_facts": False, "tasks": [
            {"name": "Folder", "ansible.builtin.file": {"path": "/etc/test", "state": "directory", "mode": "0700"}, "check_mode": False},
            {"name": "Files", "ansible.builtin.copy": {"src": f"{self.pki.folder}/{{{{ item }}}}", "dest": "/etc/test/", "mode": "0600"},
             "loop": ["ca.crt", "front.crt", "front.key", "client.crt", "client.key"], "no_log": True, "check_mode": False},
        ]}  # fmt: skip
        given: dict[str, Any] = {"edge_routes": self.routes(), "nginx_offload_upstreams": {"main": [self.gateway.address]}, **variables}
        if self.text:
            given = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
        role = {"name": "Role", "hosts": "edge_nginx", "become": True, "gather_facts": False, "vars": given,
                "tasks": [{"name": "Role", "ansible.builtin.include_role": {"name": "edgemesh.nginx_istio.nginx_offload"}}]}  # fmt: skip
        (self.folder / "play.yml").write_text(yaml.safe_dump([upload, role]))
        hosts = {"all": {"children": vms.inventory_hosts([self.host], ())}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(hosts))
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            str(self.folder / "hosts.yml"),
            str(self.folder / "play.yml"),
        ]
        environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, env=environment, timeout=300)
        start = done.stdout.find("{")
        assert start >= 0, done.stdout + done.stderr
        return {**json.loads(done.stdout[start:]), "text": done.stdout + done.stderr}

    def changed(self, report: dict[str, Any]) -> list[str]:
        """Names of the role's tasks that changed something; the play must not have failed."""
        assert not report["stats"][self.host.name]["failures"], report["text"][-6000:]
        return [
            task["task"]["name"].split(" : ")[-1]
            for task in report["plays"][1]["tasks"]
            if task["hosts"].get(self.host.name, {}).get("changed")
        ]

    def failure(self, report: dict[str, Any]) -> str:
        """The message of the task that failed."""
        results = [task["hosts"].get(self.host.name, {}) for play in report["plays"] for task in play["tasks"]]
        failed = [result for result in results if result.get("failed")]
        assert failed, report["text"][-3000:]
        return str(failed[0]["msg"])

    def curl(self, url: str, *arguments: str) -> str:
        host = url.split("/")[2]
        resolve = [part for port in (80, 443) for part in ("--resolve", f"{host}:{port}:{self.host.address}")]
        done = subprocess.run(
            ["curl", "-sS", "--max-time", "10", "--cacert", str(self.pki.folder / "ca.crt"), *resolve, *arguments, url],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout if done.returncode == 0 else f"curl {done.returncode}: {done.stderr}"


# Debian 13 stands in the demo and in Molecule; in the long form here too.
@pytest.fixture(params=["bookworm", "trixie"] if SOAK else ["bookworm"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    pki = Pki(tmp_path)
    with spare(request.param) as host:
        rig = Rig(host, tmp_path, pki, Gateway(pki))
        yield rig
        rig.machine.close()


def test_from_an_empty_host_and_back(rig: Rig) -> None:
    """In the long form also: a third run with texts, refusals, renewal, a gateway reached by name, and the package gone."""
    foretold = rig.changed(rig.play("--check", "--diff"))
    assert foretold == ["Install nginx with apt", "Configure nginx"]
    assert rig.machine.run("test -e /etc/nginx").returncode == 1
    first = rig.play("--diff")
    assert rig.changed(first) == foretold, "check mode foretold exactly this"
    assert "PRIVATE KEY" not in first["text"]
    stamps = rig.machine.stamps()
    assert rig.changed(rig.play()) == []
    assert rig.machine.stamps() == stamps
    served(rig)
    another_list(rig)
    if SOAK:
        texts(rig)
        refusals(rig)
        rotation(rig)
        by_name(rig)
        passed_on(rig)
    assert rig.changed(rig.play(nginx_offload_state="absent")) == ["Remove the configuration"]
    assert "Welcome to nginx" in rig.curl(f"http://{PLAIN}/")
    assert rig.machine.run("test -e /etc/nginx/edgemesh").returncode == 1
    if SOAK:
        gone = rig.changed(rig.play(nginx_offload_state="absent", nginx_offload_remove_package=True))
        assert gone == ["Remove the package with apt", "Remove the package's welcome page"]
        assert rig.machine.run("test -e /etc/nginx -o -e /usr/sbin/nginx").returncode == 1


def another_list(rig: Rig) -> None:
    """A second list comes, changes nothing of the first, is refused what the first has, and goes; so does a single route of the first."""

    def files(routes: str = "{shop,free,plain}") -> str:
        return rig.machine.sh(
            f"bash -c \"cd /etc/nginx/edgemesh/current; stat -c '%n %i %Y' route-{routes}.conf upstream-*.conf listen/*\""
        )

    before, routes = files(), rig.routes()
    bank = {**routes[1], "name": "bank", "host": BANK, "upstream_tls": {**routes[1]["upstream_tls"], "server_name": FREE}}
    b: dict[str, Any] = {"edge_list": "b", "edge_routes": [bank]}
    assert rig.changed(rig.play("--check", **b)) == rig.changed(rig.play(**b)) == ["Configure nginx"]
    assert set(before.splitlines()) <= set(files().splitlines()), "not a file of the first list's was written"
    assert [json.loads(rig.curl(f"https://{host}/"))["sni"] for host in (BANK, SHOP)] == [FREE, SHOP]
    assert (rig.changed(rig.play()), rig.changed(rig.play(**b))) == ([], [])
    said = rig.failure(rig.play(edge_list="b", edge_routes=[{**bank, "host": SHOP}]))
    assert "host shop.example.com on port 443 belongs to route shop of list default" in said
    # a route of the first list goes, and its file; check mode says so
    gone: dict[str, Any] = {"edge_routes": [{"name": "plain", "state": "absent"}]}
    assert '"default/plain"' in rig.play("--check", **gone)["text"]
    assert rig.changed(rig.play(**gone)) == ["Configure nginx"]
    assert rig.machine.run("test -e /etc/nginx/edgemesh/current/route-plain.conf").returncode == 1
    assert json.loads(rig.curl(f"https://{FREE}/"))["sni"] == FREE
    assert rig.changed(rig.play()) == ["Configure nginx"]
    assert rig.changed(rig.play(nginx_offload_state="absent", nginx_offload_remove_package=True, **b)) == ["Remove the configuration"]
    stay = {line for line in before.splitlines() if line.startswith(("route-shop", "route-free", "listen/"))}
    assert len(stay) == 3
    assert stay <= set(files().splitlines())
    assert "curl 35" in rig.curl(f"https://{BANK}/")


def texts(rig: Rig) -> None:
    """All values as texts mean the same."""
    stamps, rig.text = rig.machine.stamps(), True
    assert rig.changed(rig.play(nginx_offload_timeout="30", nginx_offload_install="true", nginx_offload_ipv6="true")) == []
    rig.text = False
    assert rig.machine.stamps() == stamps


def served(rig: Rig) -> None:
    forged = ("X-Forwarded-For: 1.2.3.4", "X-Forwarded-Client-Cert: forged", "Forwarded: for=1.2.3.4", "X-Real-IP: 1.2.3.4")
    headers = [part for header in forged for part in ("-H", header)]
    seen = json.loads(rig.curl(f"https://{SHOP}/a?b=c", *headers))
    assert (seen["sni"], seen["client"], seen["version"], seen["path"]) == (SHOP, "edge.example.com", "HTTP/1.1", "/a?b=c")
    got = seen["headers"]
    assert (got["host"], got["x-forwarded-proto"], got["x-forwarded-host"]) == (SHOP, "https", SHOP)
    assert got["x-forwarded-for"] == got["x-real-ip"] == settings.NODE_IP
    assert not {"x-forwarded-client-cert", "forwarded", "upgrade"} & set(got)
    # the other identity, before and after, over warm connections
    for _round in range(5):
        assert json.loads(rig.curl(f"https://{FREE}/"))["client"] == ""
        assert json.loads(rig.curl(f"https://{SHOP}/"))["client"] == "edge.example.com"
    assert rig.curl(f"https://{SHOP}/", "-o", "/dev/null", "-w", "%{http_version}") == "2"
    head = rig.curl(f"https://{SHOP}/", "-I", "-X", "GET").lower()
    assert "strict-transport-security: max-age=31536000" in head
    assert "server: nginx\n" in head, "no version"
    assert rig.curl(f"http://{SHOP}/x", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}") == f"301 https://{SHOP}/x"
    rig.machine.sh("mkdir -p /var/www/html/.well-known/acme-challenge && echo token > /var/www/html/.well-known/acme-challenge/t")
    assert rig.curl(f"http://{SHOP}/.well-known/acme-challenge/t") == "token\n"
    upgraded = json.loads(rig.curl(f"https://{SHOP}/", "--http1.1", "-H", "Connection: upgrade", "-H", "Upgrade: websocket"))["headers"]
    assert (upgraded["connection"], upgraded["upgrade"]) == ("upgrade", "websocket")
    smuggled = json.loads(rig.curl(f"https://{SHOP}/", "--http1.1", "-H", "Connection: upgrade", "-H", "Upgrade: h2c"))["headers"]
    assert "upgrade" not in smuggled
    # kept connections: far fewer than requests
    before = rig.gateway.connections
    rig.curl(f"https://{SHOP}/[1-60]", "-o", "/dev/null")
    assert rig.gateway.connections - before <= 4
    # TLS sessions are resumed although unknown names are refused on the same port
    reused = rig.machine.sh(
        f"cd /tmp && openssl s_client -connect 127.0.0.1:443 -servername {SHOP} -tls1_2 -sess_out s </dev/null >/dev/null 2>&1; "
        f"openssl s_client -connect 127.0.0.1:443 -servername {SHOP} -tls1_2 -sess_in s </dev/null 2>/dev/null | grep -c '^Reused'"
    )
    assert reused == "1"
    # verification is real: this route's name isn't in the gateway's certificate
    assert rig.curl(f"http://{PLAIN}/", "-o", "/dev/null", "-w", "%{http_code}") == "502"


def refusals(rig: Rig) -> None:
    assert "curl 35" in rig.curl("https://unknown.example.com/")
    assert rig.curl("http://unknown.example.com/", "-o", "/dev/null", "-w", "%{http_code}") == "421"
    stamps = rig.machine.stamps()
    routes = rig.routes()
    routes[0]["host"] = "shop.example.com; return 200"
    assert "edge_routes[0] (shop).host" in rig.failure(rig.play(edge_routes=routes))
    assert "no address is known for gateway main" in rig.failure(rig.play(nginx_offload_upstreams={}))
    assert "none of the routes is for this host" in rig.failure(rig.play(nginx_offload_groups=["others"]))
    (rig.folder / "templates").mkdir()
    (rig.folder / "templates" / "mine.j2").write_text("server { listen 8080; nonsense on; }\n")
    assert 'unknown directive "nonsense"' in rig.failure(rig.play(nginx_offload_template="mine.j2"))
    assert rig.machine.stamps() == stamps
    assert json.loads(rig.curl(f"https://{SHOP}/"))["sni"] == SHOP


def passed_on(rig: Rig) -> None:
    """A route whose TLS is passed on joins the others on their port, and leaves it again."""
    listen = {"mode": "passthrough", "redirect_http": False}
    bank = {"name": "bank", "host": BANK, "listen": listen, "upstream_tls": {"mode": "simple"}, "paths": rig.routes()[0]["paths"]}
    given: dict[str, Any] = {"edge_routes": [*rig.routes(), bank], "nginx_offload_export": False}
    assert rig.changed(rig.play(**given)) == ["Install nginx with apt", "Configure nginx"], "its stream module first"
    assert rig.changed(rig.play(**given)) == []
    seen = json.loads(rig.curl(f"https://{BANK}/"))
    assert (seen["sni"], seen["client"], "x-forwarded-for" in seen["headers"]) == (BANK, "", False)
    beside = json.loads(rig.curl(f"https://{SHOP}/"))
    assert (beside["sni"], beside["client"], beside["headers"]["x-forwarded-for"]) == (SHOP, "edge.example.com", settings.NODE_IP)
    assert "curl 35" in rig.curl("https://unknown.example.com/")
    assert rig.changed(rig.play()) == ["Configure nginx"]
    assert rig.machine.run("grep -r stream /etc/nginx/modules-enabled/edgemesh.conf").returncode == 2, "its include is gone"
    assert "curl 35" in rig.curl(f"https://{BANK}/")


def by_name(rig: Rig) -> None:
    """A gateway reached by a name follows the name, and only then; files of the user's own come along."""
    host, _colon, port = rig.gateway.address.rpartition(":")
    own = {"path": "own.conf", "content": "server { listen 8099; return 200 own; }\n"}
    given: dict[str, Any] = {"nginx_offload_upstreams": {"main": [f"gw.example.com:{port}"]}, "nginx_offload_extra_config_files": [own]}
    assert "gw.example.com" in rig.failure(rig.play(**given)), "a name that nobody knows"
    rig.machine.sh(f"echo '{host} gw.example.com' >> /etc/hosts")
    assert rig.changed(rig.play(**given)) == ["Configure nginx"]
    assert (json.loads(rig.curl(f"https://{SHOP}/"))["sni"], rig.machine.get(8099)) == (SHOP, "own")
    assert rig.changed(rig.play(**given)) == []
    rig.machine.sh("sed -i 's/.* gw.example.com/192.0.2.9 gw.example.com/' /etc/hosts")
    assert rig.changed(rig.play(**given)) == ["Configure nginx"]
    assert "192.0.2.9" in rig.machine.sh("cat /etc/nginx/edgemesh/current/upstream-*.conf")


def rotation(rig: Rig) -> None:
    """A renewed certificate is a change like any other: no handler, no restart."""
    rig.pki.leaf("front", SHOP)
    assert rig.changed(rig.play()) == ["Configure nginx"]
    shown = rig.machine.sh(
        f"openssl s_client -connect 127.0.0.1:443 -servername {SHOP} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    )
    assert shown == rig.machine.sh("openssl x509 -in /etc/test/front.crt -noout -serial")
    assert rig.changed(rig.play()) == []
