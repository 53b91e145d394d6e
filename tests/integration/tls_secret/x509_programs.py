# SPDX-License-Identifier: GPL-3.0-or-later
"""One nginx and one Envoy that judge many certificate sets at once, each at a unix socket of its own; and peers that show the sets.

Whoever judges is named by the set's number and the role in which it is shown, ``12.server`` or ``12.client``; what programs load for
themselves is ``own3``, and credentials as a gateway gets them from istiod are ``credential4``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.unit.x509.certificate_set import NAME
from tests.unit.x509.credentials import all_credentials, gateway_ca, visitor
from tests.unit.x509.own import all_own
from tests.unit.x509.pki import leaf, root
from tests.unit.x509.sets import all_sets

SETS, OWN, CREDENTIALS = all_sets(), all_own(), all_credentials()
ROLES = ("server", "client")
SIDES = ("nginx", "envoy")


def context(protocol: int, folder: Path, name: str) -> ssl.SSLContext:
    """A peer that shows whatever it is given: weak keys and old digests too."""
    made = ssl.SSLContext(protocol)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.set_ciphers("DEFAULT@SECLEVEL=0")
    made.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return made


def anyone() -> ssl.SSLContext:
    """A client without a certificate, that takes any."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def guest(folder: Path) -> ssl.SSLContext:
    """Who comes to the gateway: wants to reach NAME and nobody else, and shows a certificate if asked."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(cadata=gateway_ca().pem)
    made.load_cert_chain(folder / "visitor.crt", folder / "visitor.key")
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

    def stop(self) -> None:
        """Accept nobody any more."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def status(path: Path, tls: ssl.SSLContext | None = None) -> int:
    """The HTTP status from a unix socket; 0 when the connection is refused, whenever that shows, or nobody listens."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(10)
        try:
            raw.connect(str(path))
            peer = tls.wrap_socket(raw, server_hostname=NAME) if tls else raw
            peer.sendall(b"GET / HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n")
            answer = peer.recv(65536)
        except OSError:
            return 0
        return int(answer.split()[1]) if answer.startswith(b"HTTP/1.") else 0


def write_all(folder: Path) -> None:
    """The files of every set, and of the programs themselves."""

    def write(name: str, certificate: str, key: str) -> None:
        (folder / f"{name}.crt").write_bytes(certificate.encode())
        (folder / f"{name}.key").write_bytes(key.encode())

    front = leaf(root("Front"))
    write("front", front.pem, front.key_pem())
    write("visitor", visitor().pem, visitor().key_pem())
    for number, each in enumerate(SETS):
        write(str(number), each.chain_pem, each.chain[0].key_pem())
        (folder / f"{number}.ca").write_bytes(each.ca_pem.encode())
    for number, given in enumerate(OWN):
        write(f"own{number}", given.certificate, given.key)


def backends(folder: Path) -> list[Backend]:
    """A server for every set."""
    made = [Backend(folder / f"{number}.back", context(ssl.PROTOCOL_TLS_SERVER, folder, str(number))) for number in range(len(SETS))]
    for each in made:
        each.start()
    return made


@dataclass
class Program:
    """A running nginx or Envoy.

    :ivar unloaded: why it does not even serve what has this name.
    """

    side: str
    folder: Path
    unloaded: dict[str, str] = field(default_factory=dict)

    def accepts(self, name: str, tls: ssl.SSLContext | None = None) -> bool:
        """Whether a request gets through. What refuses a certificate does so each time; a busy machine's time-out doesn't come twice."""
        return any(status(self.folder / f"{name}.{self.side}", tls) == 200 for _attempt in range(2))

    def judges(self, number: int, role: str) -> bool:
        """Whether it accepts a set, shown by somebody in ``role``."""
        tls = context(ssl.PROTOCOL_TLS_CLIENT, self.folder, str(number)) if role == "client" else None
        return self.accepts(f"{number}.{role}", tls)

    def reason(self, name: str) -> str:
        """Why it refused, in its own words; it may take a moment to write them down."""
        if name in self.unloaded:
            return self.unloaded[name]
        deadline = time.monotonic() + 10
        while True:
            for log in ("nginx.log",) if self.side == "nginx" else ("access.log", "envoy.log"):
                found = re.findall(_SAID[log].format(name=re.escape(name)), (self.folder / log).read_text(errors="replace"), re.MULTILINE)
                if found:
                    return " ".join(found)
            if time.monotonic() > deadline:
                return ""
            time.sleep(0.1)


#: how each log says something about a name
_SAID = {
    "nginx.log": r"^.*(?: server: |/){name}(?:\.nginx)?(?:,.*)?$",
    "access.log": r"^{name} (.+)$",
    "envoy.log": r"(?:^|[ ;]){name}: (.+)$",
}


def _until_listening(path: Path, process: subprocess.Popen[Any], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"it ended with {process.returncode}: {log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            return
        time.sleep(0.05)
    pytest.fail(f"it does not listen: {log.read_text()[-2000:]}")


# --- nginx --------------------------------------------------------------------------------------------------------------


def _nginx_servers(folder: Path) -> Iterator[tuple[str, str, bool]]:
    """Name and configuration of every server; whether it may be one that nginx refuses to load."""
    for number, each in enumerate(SETS):
        yield (
            f"{number}.client",
            f"listen unix:{folder}/{number}.client.nginx ssl; ssl_certificate front.crt; ssl_certificate_key front.key; return 200 ok;"
            f" ssl_verify_client on; ssl_verify_depth {each.depth}; ssl_client_certificate {number}.ca;",
            each.ca_text is not None,
        )
        yield (
            f"{number}.server",
            f"listen unix:{folder}/{number}.server.nginx; location / {{ proxy_pass https://unix:{folder}/{number}.back:;"
            f" proxy_ssl_server_name on; proxy_ssl_name {each.name_as('server')}; proxy_ssl_verify on; proxy_ssl_session_reuse off;"
            f" proxy_ssl_verify_depth {each.depth}; proxy_ssl_trusted_certificate {number}.ca; }}",
            each.ca_text is not None,
        )
    yield "ready", f"listen unix:{folder}/ready.nginx; return 200 ok;", False
    for number in range(len(OWN)):
        own = f"ssl_certificate own{number}.crt; ssl_certificate_key own{number}.key;"
        yield f"own{number}", f"listen unix:{folder}/own{number}.nginx ssl; {own} return 200 ok;", True


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[Program]:
    """One nginx for all but what it refuses to load."""
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        pytest.skip("needs nginx on this machine")
    made = Program("nginx", folder)
    user = "user root; " if os.geteuid() == 0 else ""  # the backends' sockets are ours

    def command(name: str, servers: list[str]) -> list[str]:
        lines = "\n".join(servers)
        (folder / name).write_text(
            f"{user}daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log info;\n"
            f"events {{}} http {{ access_log off; proxy_ssl_protocols TLSv1.2 TLSv1.3;\n{lines}\n}}\n"
        )
        return [program, "-p", str(folder), "-c", str(folder / name)]

    servers = []
    for name, content, doubtful in _nginx_servers(folder):
        server = f"server {{ server_name {name}; {content} }}"
        if doubtful:  # without a terminal, because nginx asks for the password of an encrypted key
            test = [*command("test.conf", [server]), "-t"]
            tested = subprocess.run(test, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, start_new_session=True)
            if tested.returncode:
                made.unloaded[name] = tested.stderr
                continue
        servers.append(server)
    log = folder / "nginx.log"
    log.write_text("")
    with subprocess.Popen(command("nginx.conf", servers), stderr=subprocess.STDOUT) as process:
        try:
            _until_listening(folder / "ready.nginx", process, log)
            yield made
        finally:
            process.terminate()


# --- Envoy --------------------------------------------------------------------------------------------------------------


def _typed(kind: str, /, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/envoy.{kind}", **fields}


def _tls(kind: str, /, **fields: Any) -> dict[str, Any]:
    return {"name": "tls", "typed_config": _typed(f"extensions.transport_sockets.tls.v3.{kind}", **fields)}


class _Resources:
    """Listeners and clusters, to be given as files: what Envoy refuses of these stops nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listeners: list[dict[str, Any]] = []
        self.clusters: list[dict[str, Any]] = []
        for number in range(len(OWN)):
            self._front(f"own{number}", common_tls_context={"tls_certificates": [self._own(f"own{number}")]})
        for number in range(len(CREDENTIALS)):
            self._credential(number)
        for number in range(len(SETS)):
            self._server(number)
            self._client(number)
        self._front("ready", common_tls_context={"tls_certificates": [self._own("front")]})

    def _file(self, name: str) -> dict[str, Any]:
        return {"filename": str(self.folder / name)}

    def _own(self, name: str) -> dict[str, Any]:
        return {"certificate_chain": self._file(f"{name}.crt"), "private_key": self._file(f"{name}.key")}

    def _pipe(self, name: str) -> dict[str, Any]:
        return {"pipe": {"path": str(self.folder / name)}}

    def _log(self, name: str, fields: str) -> list[dict[str, Any]]:
        text = {"text_format_source": {"inline_string": f"{name} {fields}\n"}}
        path = str(self.folder / "access.log")
        return [{"name": "file", "typed_config": _typed("extensions.access_loggers.file.v3.FileAccessLog", path=path, log_format=text)}]

    def _listener(self, name: str, action: dict[str, Any], log: str, **chain: Any) -> None:
        routes = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **action}]}]}
        router = {"name": "router", "typed_config": _typed("extensions.filters.http.router.v3.Router")}
        manager = _typed(
            "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            stat_prefix=name.replace(".", "_"),
            route_config=routes,
            http_filters=[router],
            access_log=[] if chain else self._log(name, log),
        )
        self.listeners.append(
            _typed(
                "config.listener.v3.Listener",
                name=name,
                address=self._pipe(f"{name}.envoy"),
                filter_chains=[{"filters": [{"name": "http", "typed_config": manager}], **chain}],
                access_log=self._log(name, log) if chain else [],
            )
        )

    def _front(self, name: str, **tls: Any) -> None:
        """A listener that answers whoever gets in."""
        answer = {"direct_response": {"status": 200, "body": {"inline_string": "ok"}}}
        self._listener(name, answer, "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%", transport_socket=_tls("DownstreamTlsContext", **tls))

    def _trust(self, number: int, role: str) -> dict[str, Any]:
        trust: dict[str, Any] = {"trusted_ca": self._file(f"{number}.ca")}
        name = SETS[number].name_as(role)
        if name:
            kind = "IP_ADDRESS" if set(name) <= set("0123456789abcdef.:") else "URI" if "://" in name else "DNS"
            trust["match_typed_subject_alt_names"] = [{"san_type": kind, "matcher": {"exact": name}}]
        return trust

    def _server(self, number: int) -> None:
        name = f"{number}.server"
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": self._pipe(f"{number}.back")}}]}]
        # Envoy's own default ends at TLS 1.2, Istio's doesn't
        versions = {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}
        common = {"tls_params": versions, "validation_context": self._trust(number, "server")}
        self.clusters.append(
            _typed(
                "config.cluster.v3.Cluster",
                name=name,
                type="STATIC",
                transport_socket=_tls("UpstreamTlsContext", common_tls_context=common),
                load_assignment={"cluster_name": name, "endpoints": endpoints},
            )
        )
        self._listener(name, {"route": {"cluster": name}}, "%UPSTREAM_TRANSPORT_FAILURE_REASON%")

    def _client(self, number: int) -> None:
        common = {"tls_certificates": [self._own("front")], "validation_context": self._trust(number, "client")}
        self._front(f"{number}.client", common_tls_context=common, require_client_certificate=True)

    def _credential(self, number: int) -> None:
        """As Istio sets a gateway up: certificate and CA come by name, and the listener waits for both."""
        given, name = CREDENTIALS[number], f"credential{number}"
        sent = given.istiod_sends()

        def by_name(resource: str) -> dict[str, Any]:
            kind, path = "extensions.transport_sockets.tls.v3.Secret", self.folder / f"{name}.{resource}.json"
            content = [_typed(kind, name=resource, **_secret(sent[resource]))] if resource in sent else []
            path.write_text(json.dumps({"version_info": "1", "resources": content}))
            source = {"path_config_source": {"path": str(path)}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
            return {"name": resource, "sds_config": source}

        common: dict[str, Any] = {"tls_certificate_sds_secret_configs": [by_name("web")]}
        if given.mutual:
            common["validation_context_sds_secret_config"] = by_name("web-cacert")
        self._front(name, common_tls_context=common, require_client_certificate=given.mutual)


def _secret(sent: dict[str, str]) -> dict[str, Any]:
    if "ca" in sent:
        return {"validation_context": {"trusted_ca": {"inline_string": sent["ca"]}}}
    return {"tls_certificate": {"certificate_chain": {"inline_string": sent["certificate"]}, "private_key": {"inline_string": sent["key"]}}}


@contextlib.contextmanager
def envoy(folder: Path) -> Iterator[Program]:
    """One Envoy for all; it refuses what it can't load listener by listener, as it does with what istiod sends."""
    from lab import build

    program = str(build.envoy()) if build.envoy().exists() else shutil.which("envoy")
    if program is None:
        pytest.skip("needs Envoy (python -m lab fetches it)")
    made, dynamic = _Resources(folder), {}
    for kind, resources in (("lds", made.listeners), ("cds", made.clusters)):
        (folder / f"{kind}.json").write_text(json.dumps({"version_info": "1", "resources": resources}))
        dynamic[f"{kind}_config"] = {"resource_api_version": "V3", "path_config_source": {"path": str(folder / f"{kind}.json")}}
    (folder / "envoy.json").write_text(json.dumps({"node": {"id": "x", "cluster": "x"}, "dynamic_resources": dynamic}))
    (folder / "access.log").write_text("")
    log = folder / "envoy.log"
    command = [program, "-c", str(folder / "envoy.json"), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]
    with log.open("w") as output:
        process = subprocess.Popen([*command, "--file-flush-interval-msec", "100"], stdout=output, stderr=subprocess.STDOUT)
    with process:
        try:
            _until_listening(folder / "ready.envoy", process, log)
            yield Program("envoy", folder)
        finally:
            process.terminate()
