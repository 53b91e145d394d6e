# SPDX-License-Identifier: GPL-3.0-or-later
"""The wire, against servers made here with this very Python's TLS: what each version of Python must see alike."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils import _pem
from plugins.module_utils._probe import alerts, expect, spec, tls, wire
from plugins.module_utils._probe import edge_probe as run
from plugins.module_utils._probe.observation import Observation

Handler = Callable[[socket.socket], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca, other (a CA), server.pem (leaf, intermediate, key), client, foreign: by openssl, as this Python may lack `cryptography`."""
    folder = tmp_path_factory.mktemp("pki")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    def issue(name: str, by: str, extensions: str) -> None:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]
        (folder / f"{name}.ext").write_text(extensions)
        if by == name:
            authority = ["-addext", "keyUsage=critical,keyCertSign"]
            openssl("req", "-x509", *key, "-subj", f"/CN={name}", "-days", "30", "-out", f"{name}.crt", *authority)
            return
        openssl("req", "-new", *key, "-subj", f"/O=edge/CN={name}", "-out", f"{name}.csr")
        signer = ["-CA", f"{by}.crt", "-CAkey", f"{by}.key", "-CAcreateserial"]
        openssl("x509", "-req", "-in", f"{name}.csr", *signer, "-days", "30", "-out", f"{name}.crt", "-extfile", f"{name}.ext")

    for name in ("ca", "other"):
        issue(name, name, "")
    issue("intermediate", "ca", "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign")
    issue("server", "intermediate", "subjectAltName=DNS:a.example\nextendedKeyUsage=serverAuth")
    issue("client", "ca", "extendedKeyUsage=clientAuth")
    issue("foreign", "other", "extendedKeyUsage=clientAuth")
    chain = "".join((folder / name).read_text() for name in ("server.crt", "intermediate.crt", "server.key"))
    (folder / "server.pem").write_text(chain)
    return folder


def server_context(pki: Path, *, ask: ssl.VerifyMode = ssl.CERT_NONE, version: str = "", names: tuple[str, ...] = ()) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(str(pki / "server.pem"))
    made.verify_mode = ask
    made.load_verify_locations(str(pki / "ca.crt"))
    if version:
        made.minimum_version = made.maximum_version = getattr(ssl.TLSVersion, version)
    if names:

        def choose(_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
            return None if name in names else int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)

        made.sni_callback = choose  # type: ignore[assignment]
    return made


def answering(context: ssl.SSLContext | None, answer: bytes = OK) -> Handler:
    def handle(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            speaking = context.wrap_socket(connection, server_side=True) if context else connection
            speaking.settimeout(3)
            while b"\r\n\r\n" not in speaking.recv(4096):
                pass
            speaking.sendall(answer)
            if context:
                speaking.unwrap()

    return handle


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], int]]:
    listeners: list[socket.socket] = []

    def start(handler: Handler) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def loop() -> None:
            while True:
                try:
                    connection, _address = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    handler(connection)

        threading.Thread(target=loop, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.close()


def look(port: int, seconds: float = 5, foreign: str | None = None, **options: Any) -> Observation:
    path = spec.path({"name": "x", "address": "127.0.0.1", "port": port, **options})
    return wire.Attempt(path, seconds, foreign).run()


def failure(seen: Observation) -> tuple[str, str, int | None]:
    assert seen.failure is not None, seen
    return seen.failure.phase, seen.failure.kind, seen.failure.alert


VERSIONS = ["TLSv1_2", "TLSv1_3"]


@pytest.mark.parametrize("version", VERSIONS)
def test_healthy_path_with_its_facts(serve: Any, pki: Path, version: str) -> None:
    seen = look(serve(answering(server_context(pki, version=version))), tls={"sni": "a.example"}, http={})
    assert seen.failure is None
    assert seen.http
    assert (seen.http.status, seen.http.body) == (200, "ok")
    assert seen.tls
    assert (seen.tls.version, seen.tls.requested, seen.tls.chain_from) == (version[-3:].replace("_", "."), False, "chain")
    # the whole presented chain, also where this Python has no public interface for it
    wanted = [_pem.base64_der((pki / f"{name}.crt").read_text())[0] for name in ("server", "intermediate")]
    assert seen.tls.chain == wanted
    assert set(seen.times) == {"dns", "tcp", "tls_handshake", "http"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("http", [None, {}])
def test_missing_client_certificate(serve: Any, pki: Path, version: str, http: Any) -> None:
    seen = look(serve(answering(server_context(pki, ask=ssl.CERT_REQUIRED, version=version))), tls={"sni": "a.example"}, http=http)
    # in TLS 1.3 the handshake succeeds: the refusal shows on the first read alone
    assert failure(seen) == (("tls_handshake", "alert", 40) if version == "TLSv1_2" else ("tls_first_read", "alert", 116))
    assert seen.tls
    assert seen.tls.requested is True
    assert len(seen.tls.chain) == 2


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", ["files", "memory"])
def test_foreign_client_certificate(serve: Any, pki: Path, version: str, way: str) -> None:
    memory = tls.Memory((pki / "foreign.crt").read_text() + (pki / "foreign.key").read_text())
    client = {"foreign": True} if way == "memory" else {"cert_file": str(pki / "foreign.crt"), "key_file": str(pki / "foreign.key")}
    port = serve(answering(server_context(pki, ask=ssl.CERT_REQUIRED, version=version)))
    try:
        seen = look(port, foreign=memory.path, tls={"sni": "a.example", "client": client}, http={})
    finally:
        memory.close()
    assert failure(seen) == ("tls_handshake" if version == "TLSv1_2" else "tls_first_read", "alert", 48)
    assert seen.tls
    assert seen.tls.client == _pem.base64_der((pki / "foreign.crt").read_text())
    assert "PRIVATE" not in str(seen.as_dict())


@pytest.mark.parametrize("version", VERSIONS)
def test_accepted_client_certificate_and_the_authorities_asked_for(serve: Any, pki: Path, version: str) -> None:
    client = {"cert_file": str(pki / "client.crt"), "key_file": str(pki / "client.key")}
    seen = look(serve(answering(server_context(pki, ask=ssl.CERT_REQUIRED, version=version))), tls={"sni": "a", "client": client}, http={})
    assert seen.http
    assert seen.http.status == 200
    assert seen.tls
    assert seen.tls.requested is True


def test_optional_client_certificate_is_asked_for(serve: Any, pki: Path) -> None:
    seen = look(serve(answering(server_context(pki, ask=ssl.CERT_OPTIONAL))), tls={"sni": "a.example"}, http={})
    assert seen.failure is None
    assert seen.tls
    assert seen.tls.requested is True
    assert "tls_first_read" in seen.times


@pytest.mark.parametrize("sni", ["", "b.example"])
def test_unknown_name(serve: Any, pki: Path, sni: str) -> None:
    port = serve(answering(server_context(pki, names=("a.example",))))
    assert failure(look(port, tls={"sni": sni}, http={})) == ("tls_handshake", "alert", 112)
    assert look(port, tls={"sni": "a.example"}, http={}).failure is None


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def after_hello(then: Handler) -> Handler:
    def handle(connection: socket.socket) -> None:
        connection.recv(4096)
        then(connection)

    return handle


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (lambda connection: None, "closed"),
        (reset, "reset"),
        (after_hello(lambda connection: None), "closed"),
        (after_hello(reset), "reset"),
        (after_hello(lambda connection: connection.sendall(OK)), "tls"),
        (after_hello(lambda connection: connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46")), "alert"),
        (after_hello(lambda connection: time.sleep(30)), "timeout"),
    ],
    ids=["closed at once", "reset at once", "closed after hello", "reset after hello", "HTTP", "alert 70", "silence"],
)
def test_handshake_that_ends(serve: Any, handler: Handler, kind: str) -> None:
    phase, seen, alert = failure(look(serve(handler), seconds=1 if kind == "timeout" else 30, tls={"sni": "a.example"}, http={}))
    assert phase == "tls_handshake"
    # a close with unread data, or one that races with our hello, is a reset to some kernels
    assert seen == kind or {seen, kind} <= {"closed", "reset"}
    assert alert == (70 if kind == "alert" else None)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "closed"),
        (b"HTTP/1.1 2", "garbled"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "garbled"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "garbled"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500, "garbled"),
    ],
)
def test_what_is_no_answer(serve: Any, answer: bytes, kind: str) -> None:
    assert failure(look(serve(answering(None, answer)), seconds=5, http={"host": "a"}))[:2] == ("http", kind)


def test_dripping_answer_meets_the_deadline(serve: Any) -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(4096)
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    start = time.monotonic()
    assert failure(look(serve(drip), seconds=1, http={"host": "a"}))[:2] == ("http", "timeout")
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("answer", "body", "truncated"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc", False),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", "to the end", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\nshort", "short", True),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000, "x" * 65536, True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "x", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe", "\ufffd\ufffd", False),
    ],
)
def test_bodies(serve: Any, answer: bytes, body: str, truncated: bool) -> None:
    http = look(serve(answering(None, answer)), http={"host": "a"}).http
    assert http
    assert (http.status, http.body, http.truncated) == (200, body, truncated)


def test_cookies_stay_hidden_and_repeated_headers_are_joined(serve: Any) -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=secret\r\nVia: a\r\nVia: b\r\nContent-Length: 0\r\n\r\n"
    http = look(serve(answering(None, answer)), http={"host": "a"}).http
    assert http
    assert http.headers == {"set-cookie": "(hidden)", "via": "a, b", "content-length": "0"}


def test_redirect_is_not_followed(serve: Any) -> None:
    asked: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        asked.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")

    http = look(serve(handle), http={"host": "a"}).http
    assert http
    assert (http.status, len(asked)) == (302, 1)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_proxy_header_tells_the_truth(serve: Any, version: str) -> None:
    seen: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        time.sleep(0.1)
        seen.append(connection.recv(4096))
        seen.append(repr(connection.getpeername()[1]).encode())
        connection.sendall(OK)

    port = serve(handle)
    observation = look(port, proxy_protocol=version, http={"host": "a"})
    assert observation.http
    assert observation.source == "127.0.0.1"
    data, source = seen[0], int(seen[1])
    if version == "v1":
        assert data.startswith(f"PROXY TCP4 127.0.0.1 127.0.0.1 {source} {port}\r\nGET ".encode())
    else:
        head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\1\x7f\0\0\1" + source.to_bytes(2, "big") + port.to_bytes(2, "big")
        assert data.startswith(head + b"GET ")


def test_refused_and_unresolvable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert failure(look(port))[:2] == ("tcp", "refused")
    assert failure(look(1, address="nowhere.invalid"))[:2] == ("dns", "no_address")
    assert failure(look(1, address="a" * 70 + ".invalid"))[:2] == ("dns", "no_address")


def test_name_servers_that_never_answer_do_not_hold_us(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def never(*_arguments: Any, flags: int, **_options: Any) -> list[Any]:
        if not flags & socket.AI_NUMERICHOST:
            over.wait(120)
        raise OSError("too late")

    monkeypatch.setattr(socket, "getaddrinfo", never)
    start = time.monotonic()
    assert failure(look(1, seconds=0.3, address="slow.example"))[:2] == ("dns", "timeout")
    assert time.monotonic() - start < 60
    over.set()


@pytest.mark.parametrize(
    ("cert", "key", "says"),
    [
        ("missing.crt", "client.key", "No such file"),
        ("client.crt", "server.key", "does not belong"),
        ("client.key", "client.key", "not a PEM certificate"),
        ("client.crt", "locked.key", "encrypted"),
    ],
)
def test_client_certificate_that_cannot_be_used(serve: Any, pki: Path, cert: str, key: str, says: str) -> None:
    locked = ["openssl", "pkey", "-in", "client.key", "-aes256", "-passout", "pass:secret", "-out", "locked.key"]
    subprocess.run(locked, cwd=pki, check=True, capture_output=True)
    client = {"cert_file": str(pki / cert), "key_file": str(pki / key)}
    seen = look(serve(answering(server_context(pki))), tls={"sni": "a.example", "client": client})
    assert failure(seen)[:2] == ("tls_handshake", "certificate")
    assert seen.failure
    assert says in seen.failure.text


def test_without_memory_the_foreign_certificate_is_not_tested(serve: Any, pki: Path) -> None:
    seen = look(serve(answering(server_context(pki))), foreign=None, tls={"sni": "a.example", "client": {"foreign": True}})
    assert "memfd_create" in seen.not_tested["tls_handshake"]
    assert not expect.meets(seen, spec.Expect()) or seen.not_tested


def test_without_the_message_callback_what_it_shows_is_unknown(serve: Any, pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Context(ssl.SSLContext):
        def __getattribute__(self, name: str) -> Any:
            if name == "_msg_callback":
                raise AttributeError(name)
            return super().__getattribute__(name)

    monkeypatch.setattr(tls, "ssl", SimpleNamespace(**{**vars(ssl), "SSLContext": Context}))
    seen = look(serve(answering(server_context(pki))), tls={"sni": "a.example"}, http={})
    assert seen.tls
    assert seen.tls.requested is None
    assert seen.tls.chain_from in ("chain", "leaf only")
    refused = look(serve(answering(server_context(pki, ask=ssl.CERT_REQUIRED))), tls={"sni": "a.example"})
    assert failure(refused) == ("tls_first_read", "alert", 116)  # by the exception's reason


# --- several, and again ----------------------------------------------------------------------------------------------


def series(paths: list[dict[str, Any]], **options: Any) -> list[list[Observation]]:
    made = [spec.path({"name": str(number), "address": "127.0.0.1", **each}) for number, each in enumerate(paths)]
    found = run.probe(made, **{"attempt_timeout": 20, "timeout": 60, **options})
    return [[Observation.from_dict(seen) for seen in each] for each in found]


def test_many_at_once_in_order(serve: Any) -> None:
    # nobody is answered before all have asked
    together = threading.Barrier(8)

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, threading.BrokenBarrierError):
            together.wait(60)
            answering(None)(connection)

    port = serve(lambda connection: threading.Thread(target=answer, args=(connection.dup(),), daemon=True).start())
    found = series([{"port": port, "http": {"host": "a"}} for _ in range(8)], concurrency=8, attempt_timeout=60, timeout=60)
    assert [each[0].http is not None for each in found] == [True] * 8


def test_consecutive_ends_at_the_first_miss_and_shows_both(serve: Any) -> None:
    count = iter(range(100))

    def third_fails(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(OK if next(count) != 2 else b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

    (found,) = series([{"port": serve(third_fails), "http": {"host": "a"}, "consecutive": 5}])
    assert [(seen.http.status, seen.attempts) for seen in found if seen.http] == [(200, 2), (503, 1)]


def test_wait_starts_again_until_it_holds(serve: Any) -> None:
    count = iter(range(100))

    def later(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(OK if next(count) >= 3 else b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

    (found,) = series([{"port": serve(later), "http": {"host": "a"}, "consecutive": 2}], wait_timeout=10)
    assert [(seen.http.status, seen.attempts) for seen in found if seen.http] == [(200, 2)]


def test_wait_is_not_content_with_another_refusal_than_the_expected_one(serve: Any, pki: Path) -> None:
    count = iter(range(100))
    ready = answering(server_context(pki, ask=ssl.CERT_REQUIRED))

    def later(connection: socket.socket) -> None:
        ready(connection) if next(count) >= 3 else reset(connection)

    expected = {"refused": True, "codes": ["CLIENT_CERT_MISSING"]}
    (found,) = series([{"port": serve(later), "tls": {"sni": "a.example"}, "expect": expected}], wait_timeout=10)
    assert [failure(seen)[1:] for seen in found] == [("alert", 116)]


def test_a_chain_that_shall_be_no_good_is_not_waited_for(serve: Any, pki: Path) -> None:
    """Whether it is any good is judged later, elsewhere."""
    port = serve(answering(server_context(pki)))
    began = time.monotonic()
    (found,) = series(
        [{"port": port, "tls": {"sni": "a.example"}, "expect": {"refused": True, "codes": ["WRONG_TRUST_ANCHOR"]}}], wait_timeout=10
    )
    assert time.monotonic() - began < 5
    assert [(seen.failure, seen.attempts) for seen in found] == [(None, 1)]


def test_those_in_turn_come_last_one_at_a_time_and_once(serve: Any) -> None:
    asked: list[str] = []

    def answer(connection: socket.socket) -> None:
        asked.append(connection.recv(4096).split()[1].decode())
        connection.sendall(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" if "turn" in asked[-1] else OK)

    port = serve(answer)
    paths = ["/turn1", "/a", "/turn2", "/b"]
    began = time.monotonic()
    found = series([{"port": port, "http": {"host": "a", "path": path}, "in_turn": "turn" in path} for path in paths], wait_timeout=10)
    assert time.monotonic() - began < 5
    assert [[seen.http.status for seen in each if seen.http] for each in found] == [[503], [200], [503], [200]]
    assert sorted(asked[:2]) == ["/a", "/b"]
    assert asked[2:] == ["/turn1", "/turn2"]


def test_what_the_deadline_cuts_off_is_not_tested(serve: Any) -> None:
    port = serve(lambda connection: time.sleep(1))
    found = series([{"port": port, "http": {"host": "a"}} for _ in range(3)], attempt_timeout=0.6, timeout=0.7, concurrency=1)
    assert found[0][0].failure
    assert "deadline" in found[2][0].not_tested["dns"]


def test_only_certificates_of_a_ca_file_travel(pki: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.pem"
    mixed.write_text((pki / "ca.key").read_text() + "# words\n" + (pki / "ca.crt").read_text())
    paths = [spec.path({"name": "x", "address": "a", "port": 1, "tls": {"ca_file": str(mixed)}})]
    read = run.read_ca_files([*paths, spec.path({"name": "y", "address": "a", "port": 1, "tls": {"ca_file": "/missing"}})])
    assert read["/missing"] == {"error": "No such file or directory"}
    assert read[str(mixed)]["pem"].strip() == (pki / "ca.crt").read_text().strip()


@given(st.binary(max_size=400), st.sampled_from([11, 13]), st.sampled_from([21, 22]), st.booleans())
def test_no_message_breaks_the_callback(data: bytes, kind: int, content: int, newest: bool) -> None:
    noticed = tls.Noticed()
    version = ssl.TLSVersion.TLSv1_3 if newest else ssl.TLSVersion.TLSv1_2
    noticed.message(None, "read", version, content, kind, data)
    assert noticed.works


@pytest.mark.parametrize(
    ("reason", "number"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", 116),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", 40),
        ("TLSV1_ALERT_UNKNOWN_CA", 48),
        ("TLSV1_UNRECOGNIZED_NAME", 112),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", 45),
        ("TLSV1_ALERT_PROTOCOL_VERSION", 70),
        ("WRONG_VERSION_NUMBER", None),
        (None, None),
    ],
)
def test_alert_by_name(reason: str | None, number: int | None) -> None:
    assert alerts.number_of(reason) == number
