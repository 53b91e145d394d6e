"""Do a real nginx and a real Envoy accept exactly the chains that we say they accept? Handshakes are made, not assumed.

Each program judges every set of tests/unit/x509/sets.py in both roles that it has at a mesh's edge: as the one that verifies a server
(nginx towards the gateway, Envoy towards an outside server), and as the one that verifies a client certificate. docs/certificates.md
holds what came out; EDGEMESH_WRITE_DOCS=1 writes it.
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

from tests.unit.x509.own import all_own
from tests.unit.x509.pki import leaf, root
from tests.unit.x509.sets import all_sets

SETS = all_sets()
OWN = all_own()
ROLES = ("server", "client")
SIDES = ("nginx", "envoy")
TABLE = Path(__file__).parents[3] / "docs" / "certificates.md"


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
    """The HTTP status from a unix socket; 0 when the connection is refused, whenever that shows, or nobody listens."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(10)
        try:
            raw.connect(str(path))
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
            (made / f"{number}.ca").write_bytes(each.ca_pem.encode())
        for number, given in enumerate(OWN):
            (made / f"own{number}.crt").write_bytes(given.certificate.encode())
            (made / f"own{number}.key").write_bytes(given.key.encode())
        backends = []
        for number in range(len(SETS)):
            tls = context(ssl.PROTOCOL_TLS_SERVER, made / f"{number}.crt", made / f"{number}.key")
            backends.append(Backend(made / f"{number}.back", tls))
            backends[-1].start()
        yield made
        for backend in backends:
            backend.listener.shutdown(socket.SHUT_RDWR)
            backend.listener.close()


def ask(folder: Path, side: str, role: str, number: int) -> bool:
    """Whether ``side`` accepts the set of somebody in ``role``."""
    socket_path = folder / f"{number}.{side}.{role}"
    if role == "server":
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


def nginx_server(folder: Path, number: int, role: str) -> str:
    """The part of nginx.conf that judges one set."""
    each, listen = SETS[number], f"listen unix:{folder}/{number}.nginx.{role}"
    if role == "client":
        return (
            f"server {{ {listen} ssl; ssl_certificate front.crt; ssl_certificate_key front.key; ssl_verify_client on;"
            f" ssl_verify_depth {each.depth}; ssl_client_certificate {number}.ca; return 200 ok; }}"
        )
    return (
        f"server {{ {listen}; location / {{ proxy_pass https://unix:{folder}/{number}.back:; proxy_ssl_server_name on;"
        f" proxy_ssl_name {each.name_as(role)}; proxy_ssl_verify on;"
        f" proxy_ssl_verify_depth {each.depth}; proxy_ssl_trusted_certificate {number}.ca; proxy_ssl_session_reuse off; }} }}"
    )


def nginx_command(program: str, folder: Path, name: str, servers: list[str]) -> list[str]:
    """nginx with these servers."""
    user = "user root; " if os.geteuid() == 0 else ""  # the backends' sockets are ours
    lines = "\n".join(servers)
    (folder / name).write_text(
        f"{user}daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log info;\n"
        f"events {{}} http {{ access_log off; proxy_ssl_protocols TLSv1.2 TLSv1.3;\n{lines}\n}}\n"
    )
    return [program, "-p", str(folder), "-c", str(folder / name)]


@pytest.fixture(scope="module")
def nginx(folder: Path) -> Iterator[Path]:
    """One nginx for all sets but those whose CA file it refuses to load."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("needs nginx on this machine")
    servers = []
    for number, each in enumerate(SETS):
        for server in (nginx_server(folder, number, role) for role in ROLES):
            test = [*nginx_command(program, folder, "test.conf", [server]), "-t"]
            if each.ca_text is None or subprocess.run(test, capture_output=True, check=False).returncode == 0:
                servers.append(server)
    for number in range(len(OWN)):
        own = f"ssl_certificate own{number}.crt; ssl_certificate_key own{number}.key;"
        server = f"server {{ listen unix:{folder}/own{number}.nginx ssl; {own} return 200 ok; }}"
        test = [*nginx_command(program, folder, "test.conf", [server]), "-t"]
        if subprocess.run(test, capture_output=True, check=False, stdin=subprocess.DEVNULL, start_new_session=True).returncode == 0:
            servers.append(server)
    log = folder / "nginx.log"
    log.touch()
    with subprocess.Popen(nginx_command(program, folder, "nginx.conf", servers), stderr=subprocess.STDOUT) as process:
        try:
            until_listening(folder / "0.nginx.client", process, log)
            yield folder
        finally:
            process.terminate()


def envoy_resources(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Listeners and clusters, to be given as files: what Envoy refuses of these stops nothing else."""

    def pipe(name: str) -> dict[str, Any]:
        return {"pipe": {"path": str(folder / name)}}

    def file(name: str) -> dict[str, Any]:
        return {"filename": str(folder / name)}

    def typed(kind: str, /, **fields: Any) -> dict[str, Any]:
        return {"@type": f"type.googleapis.com/envoy.{kind}", **fields}

    def manager(number: int, action: dict[str, Any]) -> dict[str, Any]:
        routes = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **action}]}]}
        router = {"name": "router", "typed_config": typed("extensions.filters.http.router.v3.Router")}
        name = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
        return {"name": "http", "typed_config": typed(name, stat_prefix=f"s{number}", route_config=routes, http_filters=[router])}

    listeners, clusters = [], []
    for number, each in enumerate(SETS):
        for role in ROLES:
            ca: dict[str, Any] = {"trusted_ca": file(f"{number}.ca")}
            name = each.name_as(role)
            if name:
                kind = "IP_ADDRESS" if set(name) <= set("0123456789abcdef.:") else "URI" if "://" in name else "DNS"
                ca["match_typed_subject_alt_names"] = [{"san_type": kind, "matcher": {"exact": name}}]
            if role == "server":
                tls = typed("extensions.transport_sockets.tls.v3.UpstreamTlsContext", common_tls_context={"validation_context": ca})
                clusters.append(
                    typed(
                        "config.cluster.v3.Cluster",
                        name=f"c{number}",
                        type="STATIC",
                        transport_socket={"name": "tls", "typed_config": tls},
                        load_assignment={
                            "cluster_name": f"c{number}",
                            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": pipe(f"{number}.back")}}]}],
                        },
                    )
                )
                chains = [{"filters": [manager(number, {"route": {"cluster": f"c{number}"}})]}]
            else:
                front = {"certificate_chain": file("front.crt"), "private_key": file("front.key")}
                common = {"tls_certificates": [front], "validation_context": ca}
                kind = "extensions.transport_sockets.tls.v3.DownstreamTlsContext"
                tls = typed(kind, common_tls_context=common, require_client_certificate=True)
                answer = {"direct_response": {"status": 200, "body": {"inline_string": "ok"}}}
                chains = [{"filters": [manager(number, answer)], "transport_socket": {"name": "tls", "typed_config": tls}}]
            address = pipe(f"{number}.envoy.{role}")
            listeners.append(typed("config.listener.v3.Listener", name=f"l{number}{role}", address=address, filter_chains=chains))
    for number in range(len(OWN)):
        own = {"certificate_chain": file(f"own{number}.crt"), "private_key": file(f"own{number}.key")}
        tls = typed("extensions.transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context={"tls_certificates": [own]})
        answer = {"direct_response": {"status": 200, "body": {"inline_string": "ok"}}}
        chains = [{"filters": [manager(number, answer)], "transport_socket": {"name": "tls", "typed_config": tls}}]
        address = pipe(f"own{number}.envoy")
        listeners.insert(0, typed("config.listener.v3.Listener", name=f"own{number}", address=address, filter_chains=chains))
    return {"lds": listeners, "cds": clusters}


@pytest.fixture(scope="module")
def envoy(folder: Path) -> Iterator[Path]:
    """One Envoy for all sets; it refuses what it can't load listener by listener, as it does with what istiod sends."""
    program = envoy_program()
    if not program:
        pytest.skip("needs Envoy (python -m lab fetches it)")
    dynamic = {}
    for kind, resources in envoy_resources(folder).items():
        (folder / f"{kind}.json").write_text(json.dumps({"version_info": "1", "resources": resources}))
        dynamic[f"{kind}_config"] = {"resource_api_version": "V3", "path_config_source": {"path": str(folder / f"{kind}.json")}}
    (folder / "envoy.json").write_text(json.dumps({"node": {"id": "x", "cluster": "x"}, "dynamic_resources": dynamic}))
    log = folder / "envoy.log"
    command = [program, "-c", str(folder / "envoy.json"), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            until_listening(folder / f"{len(SETS) - 1}.envoy.client", process, log)
            yield folder
        finally:
            process.terminate()


def shown(code: str, accepted: bool) -> str:
    """A cell of the table: our verdict, and what the program did."""
    return f"{code or 'fine'} / {'accepted' if accepted else 'refused'}"


HEADS = ("| Set | nginx, of a server | nginx, of a client | Envoy, of a server | Envoy, of a client |", "| Files | nginx | Envoy |")


def compare_with_table(head: str, rows: list[str]) -> None:
    """The table under ``head`` holds exactly these rows; with EDGEMESH_WRITE_DOCS it is made so."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    first = lines.index(head) + 2
    last = next((number for number in range(first, len(lines)) if not lines[number].startswith("|")), len(lines))
    if os.environ.get("EDGEMESH_WRITE_DOCS"):
        TABLE.write_text("\n".join([*lines[:first], *rows, *lines[last:], ""]), encoding="utf-8")
    else:
        assert lines[first:last] == rows


@pytest.mark.lab
def test_what_the_real_programs_load_for_themselves(nginx: Path, envoy: Path) -> None:
    """A key that isn't the certificate's, and other files that keep nginx and Envoy from starting to serve."""
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    wrong, rows = [], []
    for number, each in enumerate(OWN):
        cells = [each.title]
        for side in SIDES:
            code, answer = each.code(side), status(nginx / f"own{number}.{side}", anyone) == 200
            cells.append(shown(code, answer))
            if answer == bool(code):
                wrong.append(f"{each.title}: {side} {'loads' if answer else 'refuses'} it, we say {code or 'fine'}")
        rows.append(f"| {' | '.join(cells)} |")
    assert not wrong, "\n".join(wrong)
    compare_with_table(HEADS[1], rows)


@pytest.mark.lab
def test_the_real_programs_agree(nginx: Path, envoy: Path) -> None:
    """Our verdict on every set, in both roles, is what nginx and Envoy do; and the documentation shows that."""
    wrong, rows, accepted = [], [], dict.fromkeys(SIDES, 0)
    for number, each in enumerate(SETS):
        cells = [each.title]
        for side in SIDES:
            for role in ROLES:
                verdict, answer = each.verdict(side, role), ask(nginx, side, role, number)
                accepted[side] += answer
                cells.append(shown(verdict.code, answer))
                if answer != verdict.ok:
                    does = "accepts" if answer else "refuses"
                    wrong.append(f"{each.title} ({role}): {side} {does}, we say {verdict.text or 'fine'}")
        rows.append(f"| {' | '.join(cells)} |")
    assert not wrong, "\n".join(wrong)
    for count in accepted.values():  # the comparison would be empty if a side accepted or refused everything
        assert 60 <= count <= 2 * len(SETS) - 60, accepted
    compare_with_table(HEADS[0], rows)
