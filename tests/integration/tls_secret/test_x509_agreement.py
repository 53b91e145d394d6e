"""Do a real nginx and a real Envoy accept exactly the chains that we say they accept? Handshakes are made, not assumed.

Each side judges every set of tests/unit/x509/sets.py in the role that it has in a mesh's edge: as the one that verifies a server
(nginx towards the gateway, Envoy towards an outside server), or as the one that verifies a client certificate.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils._x509 import chain
from tests.unit.x509.pki import leaf, root
from tests.unit.x509.sets import all_sets

SETS = all_sets()


def envoy_program() -> str:
    from lab import build

    return str(build.envoy()) if build.envoy().exists() else shutil.which("envoy") or ""


def context(protocol: int, certificate: Path, key: Path) -> ssl.SSLContext:
    """A peer that shows whatever it is given: weak keys and old digests too."""
    made = ssl.SSLContext(protocol)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_ciphers("DEFAULT@SECLEVEL=0")
    made.load_cert_chain(certificate, key)
    return made


class Backend(threading.Thread):
    """A TLS server on a unix socket that presents one set's chain and answers 200."""

    def __init__(self, path: Path, tls: ssl.SSLContext) -> None:
        super().__init__(daemon=True)
        self.tls = tls
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(8)

    def run(self) -> None:
        while True:
            try:
                raw, _peer = self.listener.accept()
            except OSError:
                return
            raw.settimeout(5)
            with contextlib.suppress(OSError), self.tls.wrap_socket(raw, server_side=True) as peer:
                if peer.recv(65536):
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def status(path: Path, tls: ssl.SSLContext | None = None) -> int:
    """The HTTP status from a unix socket; 0 when the connection is refused, whenever that shows."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(10)
        raw.connect(str(path))
        try:
            peer = tls.wrap_socket(raw) if tls else raw
            peer.sendall(b"GET / HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n")
            answer = peer.recv(65536)
        except OSError:
            return 0
        return int(answer.split()[1]) if answer.startswith(b"HTTP/1.") else 0


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short, because the path of a unix socket has at most 107 characters; with every set's files."""
    with tempfile.TemporaryDirectory(prefix="x509") as name:
        made = Path(name)
        made.chmod(0o755)
        own = leaf(root("Front"))
        (made / "front.crt").write_text(own.pem)
        (made / "front.key").write_text(own.key_pem())
        for number, each in enumerate(SETS):
            (made / f"{number}.crt").write_text(each.chain_pem)
            (made / f"{number}.key").write_text(each.chain[0].key_pem())
            (made / f"{number}.ca").write_text(each.ca_pem)
        backends = []
        for number, each in enumerate(SETS):
            if each.purpose == "server":
                tls = context(ssl.PROTOCOL_TLS_SERVER, made / f"{number}.crt", made / f"{number}.key")
                backends.append(Backend(made / f"{number}.back", tls))
                backends[-1].start()
        yield made
        for backend in backends:
            backend.listener.close()


def ask(folder: Path, side: str, number: int) -> bool:
    """Whether ``side`` accepts the set."""
    each = SETS[number]
    socket_path = folder / f"{number}.{side}"
    if each.purpose == "server":
        return status(socket_path) == 200
    return status(socket_path, context(ssl.PROTOCOL_TLS_CLIENT, folder / f"{number}.crt", folder / f"{number}.key")) == 200


def until_listening(path: Path, process: subprocess.Popen[Any], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"it ended with {process.returncode}: {log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            return
        time.sleep(0.05)
    pytest.fail(f"it does not listen: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def nginx(folder: Path) -> Iterator[Path]:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("needs nginx on this machine")
    servers = []
    for number, each in enumerate(SETS):
        listen = f"listen unix:{folder}/{number}.nginx"
        if each.purpose == "server":
            name = f"proxy_ssl_name {each.name};" if each.name else ""
            servers.append(
                f"server {{ {listen}; location / {{ proxy_pass https://unix:{folder}/{number}.back:; {name} proxy_ssl_server_name on;"
                f" proxy_ssl_verify on; proxy_ssl_verify_depth 9; proxy_ssl_trusted_certificate {number}.ca;"
                " proxy_ssl_session_reuse off; } }"
            )
        else:
            servers.append(
                f"server {{ {listen} ssl; ssl_certificate front.crt; ssl_certificate_key front.key; ssl_verify_client on;"
                f" ssl_verify_depth 9; ssl_client_certificate {number}.ca; return 200 ok; }}"
            )
    lines = "\n".join(servers)
    user = "user root; " if os.geteuid() == 0 else ""  # the backends' sockets are ours
    (folder / "nginx.conf").write_text(
        f"{user}daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log info;\n"
        f"events {{}} http {{ access_log off; proxy_ssl_protocols TLSv1.2 TLSv1.3;\n{lines}\n}}\n"
    )
    log = folder / "nginx.log"
    log.touch()
    with subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.STDOUT) as process:
        try:
            until_listening(folder / f"{len(SETS) - 1}.nginx", process, log)
            yield folder
        finally:
            process.terminate()


def envoy_config(folder: Path) -> dict[str, Any]:
    def pipe(name: str) -> dict[str, Any]:
        return {"pipe": {"path": str(folder / name)}}

    def file(name: str) -> dict[str, Any]:
        return {"filename": str(folder / name)}

    def typed(name: str, **fields: Any) -> dict[str, Any]:
        return {"@type": f"type.googleapis.com/envoy.{name}", **fields}

    def manager(number: int, action: dict[str, Any]) -> dict[str, Any]:
        routes = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **action}]}]}
        router = {"name": "router", "typed_config": typed("extensions.filters.http.router.v3.Router")}
        name = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
        return {"name": "http", "typed_config": typed(name, stat_prefix=f"s{number}", route_config=routes, http_filters=[router])}

    listeners, clusters = [], []
    for number, each in enumerate(SETS):
        ca: dict[str, Any] = {"trusted_ca": file(f"{number}.ca")}
        if each.name:
            kind = "IP_ADDRESS" if each.name[0].isdigit() else "DNS"
            ca["match_typed_subject_alt_names"] = [{"san_type": kind, "matcher": {"exact": each.name}}]
        if each.purpose == "server":
            tls = typed("extensions.transport_sockets.tls.v3.UpstreamTlsContext", common_tls_context={"validation_context": ca})
            clusters.append(
                {
                    "name": f"c{number}",
                    "type": "STATIC",
                    "transport_socket": {"name": "tls", "typed_config": tls},
                    "load_assignment": {
                        "cluster_name": f"c{number}",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": pipe(f"{number}.back")}}]}],
                    },
                }
            )
            chains = [{"filters": [manager(number, {"route": {"cluster": f"c{number}"}})]}]
        else:
            front = {"certificate_chain": file("front.crt"), "private_key": file("front.key")}
            common = {"tls_certificates": [front], "validation_context": ca}
            name = "extensions.transport_sockets.tls.v3.DownstreamTlsContext"
            tls = typed(name, common_tls_context=common, require_client_certificate=True)
            answer = {"direct_response": {"status": 200, "body": {"inline_string": "ok"}}}
            chains = [{"filters": [manager(number, answer)], "transport_socket": {"name": "tls", "typed_config": tls}}]
        listeners.append({"name": f"l{number}", "address": pipe(f"{number}.envoy"), "filter_chains": chains})
    return {"static_resources": {"listeners": listeners, "clusters": clusters}}


@pytest.fixture(scope="module")
def envoy(folder: Path) -> Iterator[Path]:
    program = envoy_program()
    if not program:
        pytest.skip("needs Envoy (python -m lab fetches it)")
    (folder / "envoy.json").write_text(json.dumps(envoy_config(folder)))
    log = folder / "envoy.log"
    command = [program, "-c", str(folder / "envoy.json"), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            until_listening(folder / f"{len(SETS) - 1}.envoy", process, log)
            yield folder
        finally:
            process.terminate()


@pytest.mark.lab
@pytest.mark.parametrize("side", ["nginx", "envoy"])
def test_the_real_program_agrees(side: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(side)
    wrong = []
    for number, each in enumerate(SETS):
        verdict = chain.verify(each.chain_pem, each.ca_pem, rules=side, purpose=each.purpose, name=each.name)
        if ask(folder, side, number) != verdict.ok:
            wrong.append(f"{each.title} ({each.purpose}): {side} {'refuses' if verdict.ok else 'accepts'}, we say {verdict.text or 'fine'}")
    assert not wrong, "\n".join(wrong)
    assert len(SETS) >= 15


@pytest.mark.lab
def test_both_programs_tell_good_from_bad(nginx: Path, envoy: Path) -> None:
    """The comparison above would be empty if a side accepted or refused everything."""
    for side in ("nginx", "envoy"):
        answers = [ask(nginx, side, number) for number in range(len(SETS))]
        assert 15 <= sum(answers) <= len(SETS) - 15, side
