# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS that is passed on, by a real nginx: whose certificate clients see, where each name leads, and who is told the client's address."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from nginx_local import Nginx

sys.path.append(str(Path(__file__).resolve().parents[2] / "unit" / "nginx"))

from nginx_rendering import files_of, plan, route

from plugins.module_utils._nginx.read import effective
from plugins.module_utils._nginx.write.blocks import Settings
from tests.nginx_releases import VERSIONS
from tests.ports import free_port, wait_for_port

#: The gateways, each with a certificate of its own: nginx's listener never has it.
GATEWAY = """
server {{
    listen 127.0.0.1:{port} ssl{words};
    ssl_certificate {folder}/{name}.crt; ssl_certificate_key {folder}/{name}.key;
    ssl_verify_client optional_no_ca;
    default_type text/plain;
    return 200 "{name} $ssl_server_name {said} $ssl_client_s_dn $http_x_forwarded_for\\n";
}}
"""
#: Where clients come from: an address that nobody else on the way has.
CLIENT = "127.0.0.9"


def pair(folder: Path, name: str, subject: str) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={subject}", "-addext", "subjectAltName=DNS:*.example.com", "-keyout", f"{name}.key", "-out", f"{name}.crt"],
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip


@dataclass
class Front:
    """A running nginx: on ``mixed`` with routes of all kinds, on ``only`` with nothing but routes that pass TLS on to one gateway."""

    nginx: Nginx
    mixed: int
    only: int

    def ask(self, host: str, port: int = 0, client: str = "", plain: bool = False, http: str = "HTTP/1.1") -> tuple[bytes, str]:
        """The certificate that a client sees, and the answer's text; or why there is none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if client:
            context.load_cert_chain(self.nginx.folder / f"{client}.crt", self.nginx.folder / f"{client}.key")
        request = f"GET / {http}\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        try:
            with (
                socket.create_connection(("127.0.0.1", port or self.mixed), timeout=60, source_address=(CLIENT, 0)) as raw,
                raw if plain else context.wrap_socket(raw, server_hostname=host or None) as connection,
            ):
                connection.sendall(request)
                received = b"".join(iter(lambda: connection.recv(65536), b""))
                seen = connection.getpeercert(True) if isinstance(connection, ssl.SSLSocket) else b""
        except OSError as error:
            return b"", getattr(error, "reason", "") or type(error).__name__
        head, _gap, body = received.decode().partition("\r\n\r\n")
        return seen or b"", body.strip() if " 200 " in head else head.partition("\r")[0]

    def certificate(self, name: str) -> bytes:
        return ssl.PEM_cert_to_DER_cert((self.nginx.folder / f"{name}.crt").read_text())


@pytest.fixture(scope="module", params=VERSIONS)
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), request.param)
    made = Front(nginx, free_port(), free_port())
    ports = {name: free_port() for name in ("main", "told")}
    for name in ("main", "told", "partner"):
        pair(nginx.folder, name, name)

    def passed(name: str, port: int = made.mixed, **changes: Any) -> dict[str, Any]:
        listen = {"mode": "passthrough", "port": port, "redirect_http": False}
        return route(**{"name": name, "host": f"{name}.example.com", "gateway": "main", "listen": listen, **changes})

    routes = [
        passed("bank", access_log="json"),
        passed("wild", hosts=["wild.example.com", "*.wild.example.com"], upstream_tls={"mode": "mutual"}),
        passed("told", gateway="told", proxy={"proxy_protocol": True}),
        passed("only", made.only),
        # ends TLS on the same port, under a name that a wildcard of the others covers; the backends' certificates stand for nothing here
        route(name="ended", host="ended.wild.example.com", gateway="main", upstream_tls__verify=False, access_log="json",
              listen__port=made.mixed, listen__redirect_http=False, rate_limit={"rate": "10r/s", "burst": 100}),
    ]  # fmt: skip
    addresses = {name: [f"127.0.0.1:{port}"] for name, port in ports.items()}
    whole = plan(*routes, gateways={"main": {}, "told": {"service": "told"}}, upstreams=addresses, inner_port=free_port(),
                 version=".".join(map(str, Settings(build=nginx.build()).version)))  # fmt: skip
    http = ""
    for name, words, said in (("main", "", "$remote_addr"), ("told", " proxy_protocol", "$proxy_protocol_addr")):
        http += GATEWAY.format(name=name, port=ports[name], words=words, said=said, folder=nginx.folder)
    nginx.write(http, main="daemon off;\n", files=files_of(whole))
    process = nginx.start()
    try:
        wait_for_port(made.mixed, process, nginx.folder / "logs/error.log")
        yield made
    finally:
        process.terminate()
        process.wait(60)


def test_clients_see_the_gateways_certificate_and_nobody_elses(front: Front) -> None:
    ours = ssl.PEM_cert_to_DER_cert(front.nginx.pair[0].read_text())
    seen = {host: front.ask(host)[0] for host in ("bank.example.com", "told.example.com", "ended.wild.example.com")}
    assert seen == {
        "bank.example.com": front.certificate("main"), "told.example.com": front.certificate("told"), "ended.wild.example.com": ours,
    }  # fmt: skip
    assert front.ask("only.example.com", front.only)[0] == front.certificate("main")


def test_each_name_leads_where_its_route_says(front: Front) -> None:
    for host, gateway in (
        ("bank.example.com", "main bank.example.com"), ("any.wild.example.com", "main any.wild.example.com"),
        ("told.example.com", "told told.example.com"), ("TOLD.example.com", "told TOLD.example.com"),
    ):  # fmt: skip
        assert front.ask(host)[1].lower().startswith(gateway.lower()), host
    # the longer name is another route's, in whose TLS to the gateway nginx sends its own SNI
    assert front.ask("ended.wild.example.com")[1].startswith("main ended.wild.example.com")
    assert front.ask("only.example.com", front.only)[1].startswith("main only.example.com")


def test_clients_are_asked_for_certificates_by_the_gateway(front: Front) -> None:
    assert "CN=partner" in front.ask("wild.example.com", client="partner")[1]
    assert "CN=partner" not in front.ask("ended.wild.example.com", client="partner")[1], "nginx ends that one, and shows none"


@pytest.mark.parametrize("port", ["mixed", "only"])
def test_other_names_are_refused_by_an_alert(front: Front, port: str) -> None:
    number = getattr(front, port)
    for host in ("unknown.example.com", "bank.example.com.evil.example", ""):
        assert front.ask(host, number) == (b"", "TLSV1_UNRECOGNIZED_NAME"), host
    assert front.ask("bank.example.com", number, plain=True)[1].startswith("HTTP/1.1 400"), "no TLS at all"
    other = "only.example.com" if port == "mixed" else "bank.example.com"
    assert front.ask(other, number)[1] == "TLSV1_UNRECOGNIZED_NAME", "a name belongs to its port"


def test_the_clients_address_arrives_where_it_is_asked_for(front: Front) -> None:
    assert front.ask("told.example.com")[1].split()[2] == CLIENT
    # without: the gateway sees nginx, and no header that it doesn't understand
    assert front.ask("bank.example.com")[1].split()[2] == "127.0.0.1"
    assert front.ask("only.example.com", front.only)[1].split()[2] == "127.0.0.1"
    # nginx itself ends this one behind the same listener, and knows the client all the same
    assert front.ask("ended.wild.example.com")[1].split()[-1] == CLIENT


def test_a_gateway_that_expects_it_and_is_told_nothing_hangs_up(front: Front) -> None:
    """So that the test above can fail: the PROXY protocol is no matter of taste."""
    port = re.search(r"listen 127\.0\.0\.1:(\d+) ssl proxy_protocol", (front.nginx.folder / "nginx.conf").read_text())
    assert port
    assert front.ask("told.example.com", int(port[1]))[0] == b""


def test_http2_still_comes_from_whoever_ends_tls(front: Front) -> None:
    done = subprocess.run(
        ["curl", "-sSk", "-o", "/dev/null", "-w", "%{http_version}", "--resolve", f"ended.wild.example.com:{front.mixed}:127.0.0.1",
         f"https://ended.wild.example.com:{front.mixed}/"], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "2", done.stderr


def test_what_is_read_of_the_configuration_is_what_happens(front: Front) -> None:
    """For diagnose and verify."""
    config = effective.read(front.nginx.dump())
    listen = effective.Listen("127.0.0.1", front.mixed, True)
    for host, gateway in (("bank.example.com", "main"), ("any.wild.example.com", "main"), ("told.example.com", "told")):
        # the gateways are servers of this very nginx, so what is read goes on to them
        way = effective.effective(config, host, "/", front.mixed)
        assert (way.listen, way.answer[: len("return 200 main")]) == (listen, f"return 200 {gateway}")
        # without them it ends where the connection leaves
        alone = effective.Config(config.version, config.folder, config.files, [], config.stream)
        way = effective.effective(alone, host, "/", front.mixed)
        assert (way.listen, len(way.passed), way.passed_tells, way.by_name) == (listen, 1, gateway == "told", True)
        assert f"listen 127.0.0.1:{way.passed[0][1]} ssl{' proxy_protocol' * way.passed_tells};" in front.nginx.dump()
    ended = effective.effective(config, "ended.wild.example.com", "/", front.mixed)
    assert ended.proxy
    assert (ended.proxy.sni, ended.listen, ended.by_name) == ("ended.wild.example.com", listen, True)
    assert not effective.effective(config, "unknown.example.com", "/", front.mixed).by_name


def test_both_kinds_of_logs(front: Front) -> None:
    front.ask("bank.example.com")
    front.ask("ended.wild.example.com")
    log, until = front.nginx.folder / "logs/edgemesh.log", time.monotonic() + 60
    found: dict[str, dict[str, Any]] = {}
    while {"bank.example.com", "ended"} - found.keys():
        assert time.monotonic() < until, found.keys()
        time.sleep(0.02)
        lines = log.read_text().splitlines() if log.exists() else []
        found = {line.get("route") or line["sni"]: line for line in map(json.loads, lines)}
    passed, ended = found["bank.example.com"], found["ended"]
    assert (passed["client"], passed["status"], passed["port"]) == (CLIENT, "200", str(front.mixed))
    assert passed["tls"]["protocol"].startswith("TLS")
    assert (ended["client"], ended["status"]) == (CLIENT, "200")
