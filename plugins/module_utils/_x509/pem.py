"""PEM, read block by block, as strictly as OpenSSL, BoringSSL and Go together, with faults that name the block.

Fault codes: PEM_EMPTY, PEM_BOM, PEM_NOT_TEXT, PEM_DER, PEM_DOUBLE_BASE64, PEM_ESCAPED_NEWLINES, PEM_NO_BLOCK, PEM_INDENTED,
PEM_JOINED, PEM_UNTERMINATED, PEM_LABEL_MISMATCH, PEM_STRAY_END, PEM_HEADERS, PEM_BASE64, PEM_KEY_AMONG_CERTIFICATES,
PEM_NOT_A_CERTIFICATE, CERT_UNREADABLE, KEY_MISSING, KEY_ENCRYPTED, KEY_UNREADABLE, KEY_SEVERAL, KEY_TYPE.
"""

from __future__ import annotations

import base64
import binascii
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

from .._errors import EdgeError
from .library import ec, ed448, ed25519, rsa, serialization, x509

PrivateKey = Union[rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey]
Certificates = Union[str, bytes, x509.Certificate, Sequence[Union[str, bytes, x509.Certificate]]]

CERTIFICATE_LABELS = ("CERTIFICATE", "X509 CERTIFICATE")
KEY_LABELS = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
#: a file larger than this is not a chain or a key; the API server's limit for a whole Secret is 1 MiB
MAX_BYTES = 1 << 20

_BOUNDARY = re.compile(r"-----(BEGIN|END) ([A-Z0-9 ]{1,60})-----")


class PemError(EdgeError):
    """Text that is not the PEM it should be. ``block`` counts from 1; 0 stands for the text as a whole."""

    def __init__(self, what: str, *, where: str, code: str, block: int = 0, fix: str = "") -> None:
        self.block = block
        place = f"{where}, block {block}" if where and block else where or (f"block {block}" if block else "")
        super().__init__(what, where=place, fix=fix, code=code)


@dataclass(frozen=True)
class Block:
    """One PEM block: its number (from 1), its label, and its bytes, which never show in a representation."""

    number: int
    label: str
    der: bytes

    def __repr__(self) -> str:
        return f"Block({self.number}, {self.label!r})"

    @property
    def is_certificate(self) -> bool:
        """True for the labels that stand for an X.509 certificate."""
        return self.label in CERTIFICATE_LABELS

    @property
    def is_key(self) -> bool:
        """True for every label that stands for a private key, readable to us or not."""
        return self.label.endswith("PRIVATE KEY")


def blocks(data: str | bytes, where: str = "") -> list[Block]:
    """Every block of ``data`` in order. Text between blocks is allowed, as ``openssl x509 -text`` writes it.

    :param where: how errors name the source, e.g. ``Secret shop/web, key tls.crt``.
    :raises PemError: at the first fault; nothing is skipped silently.
    """
    lines = _text(data, where).split("\n")
    found: list[Block] = []
    label, body, number = "", [], 0
    for line in (each.rstrip() for each in lines):
        marks = _BOUNDARY.findall(line)
        if not marks:
            if label:
                body.append(line)
            continue
        if len(marks) > 1:
            raise PemError(
                "two PEM boundaries share a line",
                where=where,
                block=number + 1,
                code="PEM_JOINED",
                fix="Put a newline between the files when joining them",
            )
        if _BOUNDARY.fullmatch(line) is None:
            if _BOUNDARY.fullmatch(line.strip()):
                raise PemError(
                    "a PEM boundary is indented, so programs skip the block",
                    where=where,
                    block=number + 1,
                    code="PEM_INDENTED",
                    fix="Remove the spaces in front of its lines",
                )
            raise PemError(
                "other text shares the line of a PEM boundary",
                where=where,
                block=number + 1,
                code="PEM_JOINED",
                fix="Put the boundary on a line of its own",
            )
        kind, name = marks[0]
        if kind == "BEGIN":
            if label:
                raise PemError(f"{label} has no END line", where=where, block=number, code="PEM_UNTERMINATED")
            label, body, number = name, [], number + 1
        elif not label:
            raise PemError(f"an END line for {name} has no BEGIN line", where=where, block=number + 1, code="PEM_STRAY_END")
        elif name != label:
            raise PemError(f"BEGIN {label} ends with END {name}", where=where, block=number, code="PEM_LABEL_MISMATCH")
        else:
            found.append(Block(number, label, _decode(body, label, number, where)))
            label = ""
    if label:
        raise PemError(f"{label} has no END line; the text is cut off", where=where, block=number, code="PEM_UNTERMINATED")
    if not found:
        raise PemError("the text holds no PEM block", where=where, code="PEM_NO_BLOCK")
    return found


def certificates(data: str | bytes, where: str = "") -> list[x509.Certificate]:
    """All certificates of ``data`` in order; nothing else may be among them.

    :raises PemError: PEM_KEY_AMONG_CERTIFICATES, PEM_NOT_A_CERTIFICATE, CERT_UNREADABLE and all of :func:`blocks`.
    """
    result = []
    for block in blocks(data, where):
        if block.is_key:
            raise PemError(
                "a private key stands among certificates",
                where=where,
                block=block.number,
                code="PEM_KEY_AMONG_CERTIFICATES",
                fix="Keep the key in a file or entry of its own",
            )
        if not block.is_certificate:
            raise PemError(f"{block.label} is not a certificate", where=where, block=block.number, code="PEM_NOT_A_CERTIFICATE")
        result.append(certificate(block.der, where, block.number))
    return result


def certificate(der: bytes, where: str = "", block: int = 0) -> x509.Certificate:
    """One certificate from DER.

    :raises PemError: CERT_UNREADABLE.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # serial 0 and other oddities are findings of ours, not Python warnings
            return x509.load_der_x509_certificate(der)
    except Exception:  # whose text may quote what was read
        raise PemError("the certificate can't be read", where=where, block=block, code="CERT_UNREADABLE") from None


def load(source: Certificates, where: str = "") -> list[x509.Certificate]:
    """Certificates from whatever form they come in: PEM text or bytes, DER bytes, objects, or a list of these."""
    if isinstance(source, x509.Certificate):
        return [source]
    if isinstance(source, bytes) and source[:1] == b"\x30":
        return [certificate(source, where)]
    if isinstance(source, (str, bytes)):
        return certificates(source, where)
    return [each for item in source for each in load(item, where)]


def private_key(data: str | bytes, where: str = "") -> PrivateKey:
    """The one private key in ``data`` (PKCS#1, PKCS#8, SEC1). Certificates beside it are passed over, as nginx does.

    :raises PemError: KEY_MISSING, KEY_SEVERAL, KEY_ENCRYPTED, KEY_UNREADABLE, KEY_TYPE and all of :func:`blocks`.
    """
    keys = [block for block in blocks(data, where) if block.is_key]
    if not keys:
        raise PemError("there is no private key", where=where, code="KEY_MISSING")
    if len(keys) > 1:
        raise PemError("there are several private keys", where=where, block=keys[1].number, code="KEY_SEVERAL")
    block = keys[0]
    if block.label == "ENCRYPTED PRIVATE KEY":
        raise PemError(
            "the private key is encrypted, which nginx, Istio and Kubernetes can't use",
            where=where,
            block=block.number,
            code="KEY_ENCRYPTED",
            fix="Decrypt it first (openssl pkey -in <file> -out <file>)",
        )
    if block.label not in KEY_LABELS:
        raise PemError(f"{block.label} is not supported", where=where, block=block.number, code="KEY_TYPE")
    try:
        key = serialization.load_der_private_key(block.der, password=None)
    except Exception:  # whose text may quote what was read
        raise PemError("the private key can't be read", where=where, block=block.number, code="KEY_UNREADABLE") from None
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)):
        raise PemError(f"a key of type {type(key).__name__} can't serve TLS", where=where, block=block.number, code="KEY_TYPE")
    return key


def dump(certs: Sequence[x509.Certificate]) -> str:
    """The certificates as PEM text, one after the other, each with its final newline."""
    return "".join(each.public_bytes(serialization.Encoding.PEM).decode("ascii") for each in certs)


def _text(data: str | bytes, where: str) -> str:
    if len(data) > MAX_BYTES:
        raise PemError(f"the text is longer than {MAX_BYTES} bytes", where=where, code="PEM_NOT_TEXT")
    if isinstance(data, bytes):
        if data[:2] in (b"\x30\x82", b"\x30\x81"):
            raise PemError("this is DER, not PEM", where=where, code="PEM_DER", fix="Convert it with openssl x509 -inform DER")
        try:
            data = data.decode("utf-8")
        except UnicodeDecodeError:
            raise PemError("this is not text", where=where, code="PEM_NOT_TEXT") from None
    if data.startswith("\ufeff"):
        raise PemError(
            "the text starts with a byte order mark, so programs skip the first block",
            where=where,
            code="PEM_BOM",
            fix="Save the file as UTF-8 without BOM",
        )
    if not data.strip():
        raise PemError("the text is empty", where=where, code="PEM_EMPTY")
    if "-----BEGIN" not in data and data.lstrip().startswith("LS0tLS1CRUdJTi"):
        raise PemError(
            "this is base64 of PEM: it was encoded once too often",
            where=where,
            code="PEM_DOUBLE_BASE64",
            fix="Decode it once, or put it under data instead of stringData",
        )
    if "-----\\n" in data or "-----\\r\\n" in data:
        raise PemError(
            "the newlines are written as backslash and n", where=where, code="PEM_ESCAPED_NEWLINES", fix="Turn them into real newlines"
        )
    return data.replace("\r\n", "\n").replace("\r", "\n")


def _decode(lines: list[str], label: str, number: int, where: str) -> bytes:
    if any(":" in line for line in lines):
        if any(line.startswith("Proc-Type:") and "ENCRYPTED" in line for line in lines):
            raise PemError(
                "the private key is encrypted, which nginx, Istio and Kubernetes can't use",
                where=where,
                block=number,
                code="KEY_ENCRYPTED",
                fix="Decrypt it first (openssl pkey -in <file> -out <file>)",
            )
        raise PemError(f"{label} has header lines", where=where, block=number, code="PEM_HEADERS")
    try:
        if "" in lines:  # OpenSSL takes what stands above an empty line for headers
            raise ValueError
        der = base64.b64decode("".join(line.strip() for line in lines), validate=True)
    except (ValueError, binascii.Error):
        der = b""
    if not der:
        raise PemError(f"the body of {label} is not base64", where=where, block=number, code="PEM_BASE64")
    return der
