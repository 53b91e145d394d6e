# SPDX-License-Identifier: GPL-3.0-or-later
"""Our reading of nginx's rules against nginx itself: many random configurations, each request sent to the real program."""

from __future__ import annotations

import http.client
import os
import random
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from probe_pki import CLIENT, issue
from probe_rig import Nginx

from plugins.module_utils._nginx.read.effective import Effective, effective, read
from tests.ports import free_port

LONG = bool(os.environ.get("EDGEMESH_SOAK"))
HOSTS = ["a.test", "b.test", "x.a.test", "y.x.a.test", "a.org", "n7.test", "deep.b.test", "other.invalid", "a.com.au"]
NAMES = ["a.test", "b.test", "*.a.test", ".a.test", "*.test", "a.*", "~^n\\d+\\.test$", "~a", "_", "*.x.a.test", "b.*", "deep.b.test", '""']
PATHS = ["/", "/a", "/a/", "/a/b", "/a/b/c.php", "/b", "/b.php", "/A/b", "/img/x.png", "/img/", "/a/b/?q=/img", "/c//d"]
PATTERNS = [
    "/",
    "= /",
    "/a",
    "/a/",
    "^~ /a/b",
    "= /a/b",
    "~ \\.php$",
    "~* ^/A/",
    "/img/",
    "^~ /img",
    "~ ^/(a|b)",
    "/b",
    "~* \\.PNG$",
    "=/b",
    "/c/",
]


def answered(port: int, host: str, path: str) -> str:
    """The body of a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"Host": host})
    body = connection.getresponse().read().decode()
    connection.close()
    return body


def locations(rng: random.Random, label: str, depth: int = 0) -> str:
    """Some locations in random order, some with nested ones; each answers with its own label."""
    text = ""
    for number, pattern in enumerate(rng.sample(PATTERNS, rng.randint(1, 6))):
        own = f"{label}.{number}"
        nested = ""
        prefix = pattern.split()[-1].lstrip("=^~*")
        if depth == 0 and pattern[0] in "/^" and rng.random() < 0.5:
            inside = [each for each in (f"{prefix.rstrip('/')}/b", "~ b", f"= {prefix}", f"{prefix}") if rng.random() < 0.5]
            nested = "".join(f'location {each} {{ return 200 "{own}.{index}"; }}\n' for index, each in enumerate(inside))
        text += f'location {pattern} {{ {nested} return 200 "{own}"; }}\n'
    return text


@pytest.mark.parametrize("seed", range(200 if LONG else 12))
def test_server_and_location(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    port, text = free_port(), ""
    for number, names in enumerate(rng.sample(NAMES, len(NAMES))):
        flag = " default_server" if number == 4 and rng.random() < 0.5 else ""
        text += f"server {{ listen 127.0.0.1:{port}{flag}; server_name {names};\n{locations(rng, f's{number}')} }}\n"
    nginx = Nginx(tmp_path, text, port)
    with nginx:
        config = read(nginx.dump())
        compared = 0
        for host in HOSTS:
            for path in PATHS:
                ours = effective(config, host, path)
                seen = answered(port, host, path)
                expected = _label(ours)
                if expected is None:
                    assert seen.startswith("<html>"), (host, path, seen, ours)
                else:
                    assert seen == expected, (host, path, ours.server_names, ours.location)
                compared += 1
    assert compared == len(HOSTS) * len(PATHS)


def _label(way: Effective) -> str | None:
    """What the location that we chose answers: its label stands in a note's place, in ``return`` or behind ``set``."""
    return way.answer.removeprefix("return 200 ") if way.answer.startswith("return 200") else None


class Recorder:
    """A TLS server that remembers of each request its SNI, its client certificate and its head."""

    def __init__(self, folder: Path) -> None:
        ca = issue("recorder-ca", ca=True).write(folder, "ca")
        issue("recorder", ca, names=["recorder.test"]).write(folder, "recorder")
        issue("edge", ca, names=["edge.test"], usage=CLIENT).write(folder, "client")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(str(folder / "recorder.crt"), str(folder / "recorder.key"))
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.context.load_verify_locations(str(folder / "ca.crt"))
        self.context.num_tickets = 0  # each connection shows itself
        self.sni: str | None = None

        def note(_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
            self.sni = name

        self.context.sni_callback = note  # type: ignore[assignment]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.seen: tuple[str | None, bool, str] | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _address = self.listener.accept()
            except OSError:
                return
            self.sni = None
            try:
                with self.context.wrap_socket(connection, server_side=True) as speaking:
                    speaking.settimeout(5)
                    head = b""
                    while b"\r\n\r\n" not in head and (more := speaking.recv(4096)):
                        head += more
                    self.seen = (self.sni, bool(speaking.getpeercert()), head.decode())
                    speaking.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            except OSError:
                continue


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(tmp_path)
    yield made
    made.listener.shutdown(socket.SHUT_RDWR)  # closing alone doesn't wake the thread, and the port stays open with it
    made.listener.close()


SETTINGS = {
    "proxy_http_version": ["1.0", "1.1"],
    "proxy_ssl_server_name": ["on", "off"],
    "proxy_ssl_name": ["gw.test", "$host", "$proxy_host", "gw.test:8443", "127.0.0.1", "$mesh_name", "$server_name"],
    "proxy_ssl_certificate": ["client"],
}
HEADERS = [
    "Host $host", "Host $http_host", "Host $proxy_host", "Host fixed.test", 'Connection ""', "Connection $up", "X-One 1", "X-Host $host",
    "X-Forwarded-For $proxy_add_x_forwarded_for", "X-Forwarded-Proto $scheme", "X-Uri $request_uri", "X-Empty ''", "X-Map $mesh_name",
    "X-Real-IP $remote_addr", "X-Port $server_port", "X-Set $chosen", "X-Args $args", "X-Name $server_name",
]  # fmt: skip
TARGETS = [
    "https://127.0.0.1:{port}",
    "https://127.0.0.1:{port}/",
    "https://127.0.0.1:{port}/pre/",
    "https://mesh",
    "https://mesh/x",
    "https://$chosen_mesh",
]


def settings(rng: random.Random, folder: Path, likely: float) -> str:
    """Some directives, as they may stand at any level."""
    text = ""
    for name, values in SETTINGS.items():
        if rng.random() < likely:
            value = rng.choice(values)
            if value == "client":
                text += f"proxy_ssl_certificate {folder}/client.crt; proxy_ssl_certificate_key {folder}/client.key; "
            else:
                text += f"{name} {value}; "
    if rng.random() < likely:
        chosen = {header.split()[0]: header for header in rng.sample(HEADERS, rng.randint(1, 5))}
        text += " ".join(f"proxy_set_header {header};" for header in chosen.values())
    return text


@pytest.mark.parametrize("seed", range(100 if LONG else 8))
def test_what_is_sent_to_the_next_hop(seed: int, tmp_path: Path, recorder: Recorder) -> None:
    rng = random.Random(1000 + seed)
    port = free_port()
    text = (
        f"upstream mesh {{ server 127.0.0.1:{recorder.port}; }}\nproxy_ssl_session_reuse off;\n"
        'map $http_upgrade $up { default upgrade; "" close; }\n'
        "map $host $mesh_name { hostnames; default none.test; *.a.test gw.$host; ~^b\\.(?<rest>.+)$ $rest; a.test exact.test; }\n"
        + settings(rng, tmp_path, 0.4)
    )
    for number, names in enumerate(["a.test", "*.a.test b.test", "~^n(?<digits>\\d+)\\.test$"]):
        text += f"\nserver {{ listen 127.0.0.1:{port}; server_name {names}; set $chosen s{number}; set $chosen_mesh mesh;\n"
        text += settings(rng, tmp_path, 0.4)
        for index, where in enumerate(["/", "/a/", "= /e", "~ ^/r/"]):
            target = rng.choice([each for each in TARGETS if where[0] != "~" or each.count("/") == 2]).format(port=recorder.port)
            text += f"\nlocation {where} {{ set $chosen l{index}; proxy_pass {target}; {settings(rng, tmp_path, 0.5)} }}"
        text += "\n}\n"
    nginx = Nginx(tmp_path / "nginx", text, port)
    with nginx:
        config = read(nginx.dump())
        for host in ("a.test", "x.a.test", "b.test", "n42.test"):
            for path in ("/", "/q?x=1", "/a/b?c=d", "/e?f", "/r/s"):
                recorder.seen = None
                answered(port, f"{host}:{port}", path)
                found = effective(config, host, path).proxy
                assert found, (host, path)
                assert not effective(config, host, path).notes
                assert recorder.seen, (host, path, (nginx.folder / "error.log").read_text()[-1500:])
                sni, client, head = recorder.seen
                lines = head.rstrip().split("\r\n")
                sent = {name: value for name, _colon, value in (line.partition(": ") for line in lines[1:])}
                ours = {name: value for name, value in {**found.headers, "Host": found.host}.items() if value != ""}
                assert (sni or "", client) == (found.sni, bool(found.certificate)), (host, path, found)
                assert lines[0] == f"GET {found.path} HTTP/{found.http_version}", (host, path, found)
                assert {name: value for name, value in sent.items() if name != "Accept-Encoding"} == ours, (host, path, found)
