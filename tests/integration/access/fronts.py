# SPDX-License-Identifier: GPL-3.0-or-later
"""What may stand before a gateway: nothing, nginx and HAProxy as TCP proxies, nginx as an HTTP proxy, and nginx behind nginx.

Each is the real program, configured as its users would, in a network namespace with addresses of its own.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import netns, packages, settings
from lab.settings import Host
from tests.integration.access.wire import inside
from tests.integration.nginx.nginx_local import Nginx
from tests.quiet import Quiet
from tests.spare_vms import spare_namespace

TLS = 8444  # where nginx as an HTTP proxy also speaks TLS


@dataclass(frozen=True)
class Front:
    """One way to a gateway.

    :param gateway: the release that it leads to.
    :param declared: ``front`` of the gateway's entry.
    :param port: where it listens; 0 for the gateway's own NodePort.
    :param outer: whether clients meet the outer host first.
    """

    name: str
    gateway: str
    declared: dict[str, Any]
    port: int = 0
    outer: bool = False


NODE_PORT = Front("node_port", "direct", {"kind": "node_port"})
STREAM_V1 = Front("nginx_stream_v1", "proxied", {"kind": "tcp_proxy"}, 8001)
HAPROXY_V1 = Front("haproxy_v1", "proxied", {"kind": "tcp_proxy"}, 8002)
HAPROXY_V2 = Front("haproxy_v2", "proxied", {"kind": "tcp_proxy"}, 8003)
HTTP_1 = Front("http_1_hop", "hop1", {"kind": "http_proxy", "hops": 1}, 8004)
HTTP_2 = Front("http_2_hops", "hop2", {"kind": "http_proxy", "hops": 2}, 8005, outer=True)
FRONTS = (NODE_PORT, STREAM_V1, HAPROXY_V1, HAPROXY_V2, HTTP_1, HTTP_2)
INNER = 8006  # where the outer nginx finds the inner one
# By gateway, for a play.
DECLARED = {front.gateway: front.declared for front in FRONTS}


@dataclass(frozen=True)
class Rig:
    """The two hosts that fronts run on, and where gateways are reached."""

    host: Host
    outer: Host
    node_ports: dict[str, dict[str, int]]

    def at(self, front: Front, ipv6: bool = False) -> tuple[str, int]:
        """Where a client goes."""
        if not front.port:
            return (settings.NODE_IP6 if ipv6 else settings.NODE_IP, self.node_ports[front.gateway]["http2"])
        host = self.outer if front.outer else self.host
        return (host.address6 if ipv6 else host.address, front.port)


def http_proxy(listen: str, to: str) -> str:
    """A server as in nginx's own examples; the gateway refuses HTTP/1.0."""
    headers = "proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    return f"server {{ {listen} location / {{ proxy_pass http://{to}; proxy_http_version 1.1; {headers} }} }}\n"


def nginx_inner(rig: Rig, pair: str) -> tuple[str, str]:
    """http and stream of the nginx next to the gateway."""
    http = stream = ""
    for own, node in families(rig.host):
        http += http_proxy(f"listen {own}:{HTTP_1.port}; listen {own}:{TLS} ssl http2; {pair}", f"{node}:{rig.node_ports['hop1']['http2']}")
        http += http_proxy(f"listen {own}:{INNER};", f"{node}:{rig.node_ports['hop2']['http2']}")
        to = f"{node}:{rig.node_ports['proxied']['http2']}"
        stream += f"server {{ listen {own}:{STREAM_V1.port}; proxy_pass {to}; proxy_protocol on; }}\n"
    return http, stream


def nginx_outer(rig: Rig, pair: str) -> tuple[str, str]:
    """http of the nginx that clients of two hops meet."""
    pairs = zip(families(rig.outer), families(rig.host))
    return "".join(
        http_proxy(f"listen {own}:{HTTP_2.port}; listen {own}:{TLS} ssl http2; {pair}", f"{inner}:{INNER}")
        for (own, _node), (inner, _node6) in pairs
    ), ""


def haproxy(rig: Rig) -> str:
    """Both versions of the PROXY protocol."""
    said = "global\n  maxconn 500\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
    for front, send in ((HAPROXY_V1, "send-proxy"), (HAPROXY_V2, "send-proxy-v2")):
        for number, (own, node) in enumerate(families(rig.host)):
            to = f"{node}:{rig.node_ports['proxied']['http2']}"
            said += f"listen {front.name}_{number}\n  bind {own}:{front.port}\n  server gateway {to} {send}\n"
    return said


def families(host: Host) -> list[tuple[str, str]]:
    """A host's address and the node's, by family, as they stand before a port."""
    return [(host.address, settings.NODE_IP), (f"[{host.address6}]", f"[{settings.NODE_IP6}]")]


@contextmanager
def fronts(node_ports: dict[str, dict[str, int]], folder: Path) -> Iterator[Rig]:
    """All of them, listening."""
    packages.ensure(Quiet(), ["haproxy"])
    with ExitStack() as stack:
        rig = Rig(stack.enter_context(spare_namespace()), stack.enter_context(spare_namespace()), node_ports)
        for host, configuration, port in ((rig.host, nginx_inner, HTTP_1.port), (rig.outer, nginx_outer, HTTP_2.port)):
            own = folder / host.name
            own.mkdir()
            nginx = Nginx(own)
            http, stream = configuration(rig, f"ssl_certificate {nginx.pair[0]}; ssl_certificate_key {nginx.pair[1]};")
            # The package's own folders are not there where nginx was only unpacked.
            temporary = "".join(f"{kind}_temp_path {own}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            nginx.write(temporary + http, stream, main="worker_processes 1;\ndaemon off;\n")
            stack.enter_context(running(host, nginx.command, own / "logs" / "early.log", port))
        configuration_file = folder / "haproxy.cfg"
        configuration_file.write_text(haproxy(rig))
        words = ["haproxy", "-db", "-f", str(configuration_file)]
        stack.enter_context(running(rig.host, words, folder / "haproxy.log", HAPROXY_V2.port))
        yield rig


@contextmanager
def running(host: Host, words: list[str], log: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a host's namespace, from when it listens on both families."""
    with log.open("ab") as output:
        process = subprocess.Popen(["ip", "netns", "exec", netns.namespace(host.name), *words], stdout=output, stderr=output)
    try:
        for address in (host.address, host.address6):
            until = time.monotonic() + 20
            while not listens(host, address, port):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{words[0]} doesn't listen at {address} {port}: {log.read_text()[-2000:]}")
                time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listens(host: Host, address: str, port: int) -> bool:
    with inside(host):
        try:
            socket.create_connection((address, port), timeout=2).close()
        except OSError:
            return False
    return True
