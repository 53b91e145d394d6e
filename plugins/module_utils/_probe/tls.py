# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS as the probe needs it: nothing is verified on the wire, everything is noticed. Python 3.9 and later.

The server's chain is judged on the controller, by nginx's or by Envoy's rules, not by the rules of whichever Python the
probing host has (3.13 alone turned on strict checks). Python's message callback (private, but the same from 3.8 to 3.14)
shows what no public interface does: whether the server asked for a client certificate, the CAs that it takes, the number
of its alert and, before 3.13, its intermediate certificates. Where it is missing, these are unknown, never guessed.
"""

from __future__ import annotations

import base64
import os
import ssl
from dataclasses import dataclass, field
from typing import Any

from .. import _pem
from .observation import TlsSeen
from .spec import Tls

_ALERT, _HANDSHAKE = 21, 22
_CERTIFICATE, _CERTIFICATE_REQUEST = 11, 13
_CERTIFICATE_AUTHORITIES = 47

_VERSIONS = {"1.0": "TLSv1", "1.1": "TLSv1_1", "1.2": "TLSv1_2", "1.3": "TLSv1_3"}


class UnusableCertificate(Exception):
    """Our own client certificate can't be loaded; the text names the file and the reason, never content."""


class Untestable(Exception):
    """This host lacks what the probe needs; the text says what."""


@dataclass
class Noticed:
    """What the message callback collects."""

    alert: int | None = None
    requested: bool = False
    authorities: list[bytes] = field(default_factory=list)
    chain: list[bytes] = field(default_factory=list)
    works: bool = False

    def message(self, _socket: Any, direction: str, version: Any, content_type: int, message_type: int, data: bytes) -> None:
        """Called by OpenSSL for each TLS message; must never raise."""
        self.works = True
        if direction != "read":
            return
        try:
            if content_type == _ALERT and len(data) == 2 and data[0] == 2:
                self.alert = data[1]
            elif content_type == _HANDSHAKE and message_type == _CERTIFICATE_REQUEST:
                self.requested = True
                self.authorities = _authorities(data[4:], tls13=version == ssl.TLSVersion.TLSv1_3)
            elif content_type == _HANDSHAKE and message_type == _CERTIFICATE:
                self.chain = _certificates(data[4:], tls13=version == ssl.TLSVersion.TLSv1_3)
        except (IndexError, ValueError):
            pass


def context(tls: Tls, noticed: Noticed, foreign: str | None) -> ssl.SSLContext:
    """A client context for one probe.

    :param foreign: path of the throw-away certificate and key, for ``tls.client.foreign``.
    :raises UnusableCertificate: when the client certificate can't be loaded.
    :raises Untestable: when there is no memory to hold the foreign one in.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if tls.min_version:
        made.minimum_version = getattr(ssl.TLSVersion, _VERSIONS[tls.min_version])
    if tls.max_version:
        made.maximum_version = getattr(ssl.TLSVersion, _VERSIONS[tls.max_version])
    if tls.min_version in ("1.0", "1.1"):
        made.set_ciphers("DEFAULT:@SECLEVEL=0")  # OpenSSL 3 speaks these versions at no higher level
    if tls.alpn:
        made.set_alpn_protocols(list(tls.alpn))
    if tls.client is not None:
        _load_client(made, tls, foreign)
    if hasattr(made, "_msg_callback"):
        made._msg_callback = noticed.message
    return made


def _load_client(made: ssl.SSLContext, tls: Tls, foreign: str | None) -> None:
    client = tls.client
    if client is None:
        return
    cert, key = (foreign, foreign) if client.foreign else (client.cert_file, client.key_file)
    if not cert or not key:
        raise Untestable("this host can't keep a certificate in memory (no memfd_create)")
    for path in (cert, key):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise UnusableCertificate(f"{path}: {error.strerror}") from None

    def no_password() -> str:
        raise ValueError("the key is encrypted")

    try:
        made.load_cert_chain(cert, key, password=no_password)
    except ValueError as error:
        raise UnusableCertificate(f"{key}: {error}") from None
    except ssl.SSLError as error:
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        why = "the key does not belong to it" if mismatch else "it is not a PEM certificate and key"
        raise UnusableCertificate(f"{cert}: {why}") from None


def seen(connection: ssl.SSLSocket, noticed: Noticed) -> TlsSeen:
    """The facts of a handshake, whether it succeeded or not."""
    cipher = connection.cipher()
    chain, source = _chain(connection, noticed)
    return TlsSeen(
        version=(connection.version() or "").replace("TLSv1.", "1.").replace("TLSv1", "1.0") if cipher else "",
        cipher=cipher[0] if cipher else "",
        alpn=connection.selected_alpn_protocol() or "",
        chain=[base64.b64encode(der).decode() for der in chain],
        chain_from=source,
        requested=noticed.requested if noticed.works else None,
        authorities=[base64.b64encode(name).decode() for name in noticed.authorities],
        library=ssl.OPENSSL_VERSION,
    )


def _chain(connection: ssl.SSLSocket, noticed: Noticed) -> tuple[list[bytes], str]:
    """The presented chain by the best way that this Python has, and that way's name."""
    if hasattr(connection, "get_unverified_chain"):  # 3.13
        try:
            chain = connection.get_unverified_chain()
            if chain:
                return list(chain), "chain"
        except ValueError:
            pass
    if noticed.chain:
        return noticed.chain, "chain"
    private: Any = getattr(connection, "_sslobj", None)
    if hasattr(private, "get_unverified_chain"):  # 3.10 to 3.12
        chain = private.get_unverified_chain()
        if chain:
            return [ssl.PEM_cert_to_DER_cert(item.public_bytes()) for item in chain], "chain"
    try:
        leaf = connection.getpeercert(binary_form=True)
    except ValueError:
        leaf = None
    return ([leaf], "leaf only") if leaf else ([], "")


def shown(tls: Tls, foreign: str | None) -> list[str]:
    """Base64 DER of the client certificates that are shown, [] for none."""
    if tls.client is None:
        return []
    with open(str(foreign) if tls.client.foreign else tls.client.cert_file, encoding="utf-8", errors="replace") as file:
        return _pem.base64_der(file.read())


class Memory:
    """A certificate and key that only this process can read, gone with it: never on disk."""

    def __init__(self, pem: str | None) -> None:
        self.path: str | None = None
        self.fd: int | None = None
        if pem and hasattr(os, "memfd_create"):
            self.fd = os.memfd_create("edge_probe")
            os.write(self.fd, pem.encode())
            self.path = f"/proc/self/fd/{self.fd}"

    def close(self) -> None:
        """Forget it."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = self.path = None


def _vector(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    """One length-prefixed vector of TLS: (content, offset after it)."""
    length = int.from_bytes(data[at : at + size], "big")
    start = at + size
    if start + length > len(data):
        raise ValueError("vector beyond the message")
    return data[start : start + length], start + length


def _certificates(body: bytes, tls13: bool) -> list[bytes]:
    at = _vector(body, 0, 1)[1] if tls13 else 0
    listed, _end = _vector(body, at, 3)
    chain, at = [], 0
    while at < len(listed):
        der, at = _vector(listed, at, 3)
        if tls13:
            at = _vector(listed, at, 2)[1]
        chain.append(der)
    return chain


def _authorities(body: bytes, tls13: bool) -> list[bytes]:
    if tls13:
        _context, at = _vector(body, 0, 1)
        extensions, _end = _vector(body, at, 2)
        at, names = 0, b""
        while at < len(extensions):
            kind = int.from_bytes(extensions[at : at + 2], "big")
            content, at = _vector(extensions, at + 2, 2)
            if kind == _CERTIFICATE_AUTHORITIES:
                names = _vector(content, 0, 2)[0]
    else:
        _types, at = _vector(body, 0, 1)
        _algorithms, at = _vector(body, at, 2)
        names = _vector(body, at, 2)[0]
    found, at = [], 0
    while at < len(names):
        name, at = _vector(names, at, 2)
        found.append(name)
    return found
