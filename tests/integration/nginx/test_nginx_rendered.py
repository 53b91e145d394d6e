# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role renders, given to a real nginx: tested as a whole, and asked for what each option promises."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from nginx_local import Nginx

sys.path.append(str(Path(__file__).resolve().parents[2] / "unit" / "nginx"))

from nginx_cases import BASES, OUTSIDE, TEXT, configuration, replaced
from nginx_rendering import EXAMPLES, MUTUAL, SERVICE, example, files_of, merged, parts_of, plan, render, render_stream, route

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._nginx.write.blocks import Settings
from tests.nginx_releases import VERSIONS
from tests.ports import free_port, wait_for_port

SOAK = bool(os.environ.get("EDGEMESH_SOAK"))


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Nginx:
    return Nginx(tmp_path_factory.mktemp("nginx"))


@pytest.mark.parametrize("release", VERSIONS)
def test_nginx_accepts_every_example_and_all_together(tmp_path: Path, release: str) -> None:
    """As files that include each other, in the words of this version; together also where each is another list's."""
    nginx = Nginx(tmp_path, release)
    version = ".".join(map(str, Settings(build=nginx.build()).version))
    alone = {name: plan(example(name), version=version, ipv6=True) for name in EXAMPLES}
    for name, made in alone.items():
        nginx.write("", files=files_of(made))
        assert nginx.test() == "", name
    together = files_of(plan(*map(example, EXAMPLES), version=version, ipv6=True))
    nginx.write("", files=together)
    assert nginx.test() == ""
    assert merged(*map(parts_of, alone.values())) == together


# nginx opens files when it tests: what is a path here stands in the property tests without a real nginx
FILES = {"certificate", "client_certificate", "server_ca", "acme_webroot"}
PLACES = [(name, place) for name, base in BASES.items() for place in base.places if not FILES & set(place)]
FOR_REAL = {**OUTSIDE, "ciphers": "ECDHE+AESGCM", "access_log": "/var/log/nginx/a.log"}
NUMBERS = st.integers(0, 70000).map(str)
LIKELY = st.one_of(TEXT, NUMBERS, st.builds("{}{}".format, NUMBERS, st.sampled_from(["ms", "s", "m", "h", "d", "k", "M", "r/s", "r/m"])))


@settings(
    max_examples=5000 if SOAK else 250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(where=st.sampled_from(PLACES), value=LIKELY)
def test_what_is_not_refused_nginx_takes(nginx: Nginx, where: tuple[str, tuple[Any, ...]], value: str) -> None:
    base, place = where
    try:
        http, stream = configuration(replaced(BASES[base].written, place, value), FOR_REAL)
    except EdgeError:
        event("refused")
        return
    event("accepted")
    nginx.write(http, stream)
    assert nginx.test() == "", (base, place, value)


# --- what the options do ---


BACKEND = """
upstream unused {{ server 127.0.0.1:1; }}
map $ssl_client_s_dn $who {{ "" nobody; default somebody; }}
server {{
    listen 127.0.0.1:{backend} ssl http2;
    ssl_certificate /etc/edgemesh/tls/own/tls.crt; ssl_certificate_key /etc/edgemesh/tls/own/tls.key;
    ssl_verify_client optional_no_ca;
    client_max_body_size 0;
    location / {{ default_type text/plain; return 200 "$server_protocol $ssl_server_name $who $host $http_x_forwarded_for$http_te\\n"; }}
}}
"""


class Front:
    """A running nginx with routes, and the gateways behind it."""

    def __init__(self, nginx: Nginx) -> None:
        self.nginx = nginx
        self.tls, self.backend, self.drip = free_port(), free_port(), free_port()
        #: lets the dripping gateway say its second event
        self.more = threading.Event()

    def curl(self, host: str, path: str = "/", *arguments: str) -> str:
        done = subprocess.run(
            ["curl", "-sSk", "--max-time", "60", "--resolve", f"{host}:{self.tls}:127.0.0.1", *arguments, f"https://{host}:{self.tls}{path}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout if done.returncode == 0 else f"curl {done.returncode}"


@pytest.fixture(scope="module")
def front(nginx: Nginx) -> Iterator[Front]:
    made = Front(nginx)
    listen = {"listen__port": made.tls, "listen__redirect_http": False}

    def simple(name: str, **changes: Any) -> dict[str, Any]:
        return route(**{"name": name, "host": f"{name}.example.com", "gateway": "main", **listen, **changes})

    routes = [
        simple("mixed", **MUTUAL, paths=[
            {"service": SERVICE}, {"path": "/shop.v1.Cart/", "service": SERVICE, "proxy": {"protocol": "grpc"}},
        ]),
        # the same name towards the gateway, and no client certificate
        simple("free", upstream_tls__server_name="free.example.com"),
        simple("small", proxy={"client_max_body_size": "1k"}, paths=[
            {"service": SERVICE}, {"path": "/large/", "service": SERVICE, "proxy": {"client_max_body_size": "100k"}},
        ]),
        simple("limited", rate_limit={"rate": "1r/m", "burst": 2}),
        simple("logged", **MUTUAL, access_log="json"),
        simple("wild", hosts=["wild.example.com", "*.wild.example.com"]),
        simple("events", gateway="drip", proxy={"buffering": False}),
        simple("collected", gateway="drip"),
    ]  # fmt: skip
    gateways = {"main": {}, "drip": {"service": "drip"}}
    upstreams = {"main": [f"127.0.0.1:{made.backend}"], "drip": [f"127.0.0.1:{made.drip}"]}
    files = files_of(plan(*routes, gateways=gateways, upstreams=upstreams))
    # one self-signed pair plays all parts: the gateway's name is in it, and it is its own CA
    nginx.write(BACKEND.format(backend=made.backend), main="daemon off;\n", files=files)
    with dripping(nginx, made.drip, made.more), running(nginx, made.tls):
        yield made


@contextmanager
def running(nginx: Nginx, port: int) -> Iterator[None]:
    process = nginx.start()
    try:
        wait_for_port(port, process, nginx.folder / "logs/error.log")
        yield
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def dripping(nginx: Nginx, port: int, more: threading.Event) -> Iterator[None]:
    """A gateway that answers by two events, the second when it is told to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*nginx.pair)
    listener = socket.create_server(("127.0.0.1", port))

    def answer(raw: socket.socket) -> None:
        with context.wrap_socket(raw, server_side=True) as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: first\n\n")
            more.wait(120)
            connection.sendall(b"data: second\n\n")

    def serve() -> None:
        while True:
            try:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        listener.close()


def test_grpc_and_http_beside_each_other_over_one_identity(front: Front) -> None:
    for _round in range(3):
        assert front.curl("mixed.example.com", "/") == "HTTP/1.1 mixed.example.com somebody mixed.example.com 127.0.0.1\n"
        grpc = front.curl(
            "mixed.example.com", "/shop.v1.Cart/Add", "-H", "Content-Type: application/grpc", "-H", "TE: trailers", "-X", "POST"
        )
        assert grpc == "HTTP/2.0 mixed.example.com somebody mixed.example.com 127.0.0.1trailers\n"
        assert front.curl("free.example.com") == "HTTP/1.1 free.example.com nobody free.example.com 127.0.0.1\n"
    # a path without its last slash is the gateway's to answer, not nginx's
    assert front.curl("mixed.example.com", "/shop.v1.Cart").startswith("HTTP/1.1 mixed")


def test_body_sizes(front: Front) -> None:
    def sent(path: str, size: int) -> str:
        return front.curl("small.example.com", path, "-o", "/dev/null", "-w", "%{http_code}", "-d", "x" * size)

    assert [sent("/", 1000), sent("/", 2000), sent("/large/x", 2000), sent("/large/x", 110000)] == ["200", "413", "200", "413"]


def test_a_rate_limit(front: Front) -> None:
    codes = [front.curl("limited.example.com", "/", "-o", "/dev/null", "-w", "%{http_code}") for _request in range(5)]
    assert codes == ["200", "200", "200", "429", "429"], "one at once, and a burst of two"
    assert front.curl("free.example.com").startswith("HTTP/1.1"), "other routes have their own"


def test_a_wildcard_host(front: Front) -> None:
    assert front.curl("any.wild.example.com").split()[1:4] == ["wild.example.com", "nobody", "any.wild.example.com"]
    assert front.curl("any.free.example.com") == "curl 35", "a name that no route has gets no handshake"


def test_events_are_passed_on_as_they_come(front: Front) -> None:
    def asked(host: str) -> subprocess.Popen[str]:
        command = ["curl", "-sSkN", "--resolve", f"{host}:{front.tls}:127.0.0.1", f"https://{host}:{front.tls}/"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    with asked("events.example.com") as passed, asked("collected.example.com") as collected:
        assert passed.stdout
        assert collected.stdout
        try:
            assert passed.stdout.readline() == "data: first\n", "although there is no second one yet"
            assert select.select([collected.stdout], [], [], 1)[0] == [], "buffered: the line above can fail"
        finally:
            front.more.set()
        assert passed.stdout.read().split("\n") == ["", "data: second", "", ""]
        assert collected.stdout.read().count("data:") == 2


def test_the_log_names_both_sides_of_a_request(front: Front) -> None:
    front.curl("logged.example.com", '/a?q="quoted"', "-g")
    log, until = front.nginx.folder / "logs/edgemesh.log", time.monotonic() + 60
    while not log.exists() or not log.read_text().endswith("\n"):
        assert time.monotonic() < until, "nothing was logged"
        time.sleep(0.02)
    request = next(line for line in map(json.loads, log.read_text().splitlines()) if line.get("route") == "logged")
    assert (request["status"], request["uri"], request["tls"]["protocol"]) == ("200", '/a?q="quoted"', "TLSv1.3")
    upstream = request["upstream"]
    assert (upstream["sni"], upstream["verified"], upstream["address"]) == ("logged.example.com", True, f"127.0.0.1:{front.backend}")
    assert upstream["client_certificate"].endswith("/edge-client/tls.crt")
    assert float(upstream["connect"]) >= 0


# --- gixy ---


@pytest.fixture(scope="module")
def gixy() -> str:
    """gixy in an environment of its own: it brings an old parser that has the name of ours."""
    from lab.settings import CACHE

    folder = CACHE / "nginx-tests" / "gixy"
    if not (folder / "ready").exists():
        script = Path(__file__).resolve().parents[2] / "tools" / "venv.sh"
        subprocess.run(["bash", str(script), sys.executable, str(folder), "gixy-next"], check=True, capture_output=True)
    return str(folder / "bin" / "gixy")


#: What gixy finds and we mean, by example; each exclusion is looked at below.
MEANT = {
    # `default_server` would take unknown names away from a server of the user's; the first server refuses them where there is none
    "*": {"default_server_flag"},
    # asked for
    "events": {"proxy_buffering_off"},
    # the variable names an upstream, which needs no resolver
    **{name: {"stale_dns_cache"} for name in ("passed", "passed-on", "passed-beside")},
}


def test_gixy_finds_nothing(gixy: str, nginx: Nginx) -> None:
    files = {}
    for name in EXAMPLES:
        made = plan(example(name))
        text = render(made)
        nginx.write(text, render_stream(made), main="worker_processes auto;\n")
        files[str((nginx.folder / "nginx.conf").rename(nginx.folder / f"{name}.conf"))] = name
        # what default_server would be for: the first server of each port answers unknown names, by refusing them
        firsts: dict[str, str] = {}
        for listen, names in re.findall(r"server \{\n    listen (\S+?)(?: [^;]*)?;\n(?:.*\n)*?    server_name ([^;]+);", text):
            firsts.setdefault(listen, names)
        assert set(firsts.values()) == {'""'}, firsts
    shown = subprocess.run([gixy, "-f", "json", *files], capture_output=True, text=True, check=False)
    found = {(files[issue["path"]], issue["plugin"]) for issue in json.loads(shown.stdout)}
    assert {plugin for _name, plugin in found} == set().union(*MEANT.values()), "it looks, and no exclusion is idle"
    assert not {(name, plugin) for name, plugin in found if plugin not in MEANT["*"] | MEANT.get(name, set())}
