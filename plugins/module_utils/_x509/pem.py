# SPDX-License-Identifier: GPL-3.0-or-later
"""PEM, read block by block, as strictly as OpenSSL, BoringSSL and Go together, with faults that name the block.

Fault codes of the text as a whole: PEM_EMPTY, PEM_TOO_LONG, PEM_NOT_TEXT, PEM_UTF16, PEM_DER, PEM_BOM, PEM_DOUBLE_BASE64,
PEM_ESCAPED_NEWLINES, PEM_CARRIAGE_RETURN, PEM_NO_BLOCK. Of one block: PEM_BOM, PEM_ONE_LINE, PEM_JOINED, PEM_INDENTED,
PEM_BOUNDARY_DAMAGED, PEM_UNTERMINATED, PEM_LABEL_MISMATCH, PEM_STRAY_END, PEM_HEADERS, PEM_BLANK_LINE, PEM_BASE64,
PEM_KEY_AMONG_CERTIFICATES, PEM_NOT_A_CERTIFICATE, CERT_UNREADABLE, KEY_ENCRYPTED, KEY_LABEL_WRONG, KEY_UNREADABLE, KEY_TYPE,
KEY_SEVERAL; and KEY_MISSING.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

from .._errors import EdgeError
from .der import KINDS, is_der, tags
from .library import ec, ed448, ed25519, rsa, serialization, x509

PrivateKey = Union[rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey]
Certificates = Union[str, bytes, x509.Certificate, Sequence[Union[str, bytes, x509.Certificate]]]

CERTIFICATE_LABELS = ("CERTIFICATE", "X509 CERTIFICATE")
#: label -> the form of key that it announces, and the ASN.1 tag by which that form goes on after its version
KEY_FORMS = {"PRIVATE KEY": ("PKCS#8", 0x30), "RSA PRIVATE KEY": ("PKCS#1", 0x02), "EC PRIVATE KEY": ("SEC1", 0x04)}
#: a file larger than this is not a chain or a key; the API server's limit for a whole Secret is 1 MiB
MAX_BYTES = 1 << 20
BOM = "\ufeff"
_NO_BOM = "Save the file as UTF-8 without BOM"

_BOUNDARY = re.compile(r"-----(BEGIN|END) ([A-Z0-9 ]{1,60})-----")
#: what was a boundary before somebody lost dashes, changed case, or pasted it through a word processor
_DAMAGED = re.compile(r"(?i)[-\u2010-\u2015\u2212]{2}.{0,3}\b(BEGIN|END)\b.{0,40}\b(CERTIFICATE|PRIVATE KEY)\b")
_BLANKS = str.maketrans("", "", " \t")


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
    found: list[Block] = []
    label, body, number = "", [], 0
    for line in (each.rstrip(" \t") for each in _text(data, where).split("\n")):
        mark = _boundary(line, where, number if label and "-----BEGIN" not in line else number + 1)
        if mark is None:
            if label:
                body.append(line)
            elif _DAMAGED.search(line):
                raise PemError(
                    "a line was a PEM boundary once, but is damaged, so programs skip the block",
                    where=where,
                    block=number + 1,
                    code="PEM_BOUNDARY_DAMAGED",
                    fix="Copy the file again, as it is",
                )
            continue
        kind, name = mark
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


def _boundary(line: str, where: str, block: int) -> tuple[str, str] | None:
    """``("BEGIN" or "END", label)``; None for any other line."""
    marks = _BOUNDARY.findall(line)
    if not marks:
        return None
    if _BOUNDARY.fullmatch(line):
        kind, name = marks[0]
        return kind, name
    if len(marks) > 1 and marks[0][0] == "BEGIN" and marks[1] == ("END", marks[0][1]):
        what, code, fix = "a whole PEM block stands on one line", "PEM_ONE_LINE", "Keep its newlines (in YAML: | and not >)"
    elif len(marks) > 1:
        what, code, fix = "two PEM boundaries share a line", "PEM_JOINED", "Put a newline between the files when joining them"
    elif line.startswith(BOM):
        what, code, fix = "a byte order mark stands in front of the block, so programs skip it", "PEM_BOM", _NO_BOM
    elif _BOUNDARY.fullmatch(line.strip()):
        what, code, fix = (
            "a PEM boundary is indented, so programs skip the block",
            "PEM_INDENTED",
            "Remove the spaces in front of its lines",
        )
    else:
        what, code, fix = "other text shares the line of a PEM boundary", "PEM_JOINED", "Put the boundary on a line of its own"
    raise PemError(what, where=where, block=block, code=code, fix=fix)


def certificates(data: str | bytes, where: str = "", strict: bool = True) -> list[x509.Certificate]:
    """All certificates of ``data`` in order.

    :param strict: nothing else may be among them; otherwise it is passed over, as programs do.
    :raises PemError: PEM_KEY_AMONG_CERTIFICATES, PEM_NOT_A_CERTIFICATE, CERT_UNREADABLE and all of :func:`blocks`.
    """
    result = []
    for block in blocks(data, where):
        if block.is_certificate:
            result.append(certificate(block.der, where, block.number))
        elif strict and block.is_key:
            raise PemError(
                "a private key stands among certificates",
                where=where,
                block=block.number,
                code="PEM_KEY_AMONG_CERTIFICATES",
                fix="Keep the key in a file or entry of its own",
            )
        elif strict:
            raise PemError(f"{block.label} is not a certificate", where=where, block=block.number, code="PEM_NOT_A_CERTIFICATE")
    return result


def certificate(der: bytes, where: str = "", block: int = 0) -> x509.Certificate:
    """One certificate from DER.

    :raises PemError: CERT_UNREADABLE.
    """
    try:
        return _read(der)
    except Exception:  # whose text may quote what was read
        raise PemError("the certificate can't be read", where=where, block=block, code="CERT_UNREADABLE") from None


# Of some hundred probes most see the same few certificates.
@functools.lru_cache(maxsize=256)
def _read(der: bytes) -> x509.Certificate:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # serial 0 and other oddities are findings of ours, not Python warnings
        cert = x509.load_der_x509_certificate(der)
        # read late, and all else relies on them
        for late in ("version", "subject", "issuer", "not_valid_before_utc", "not_valid_after_utc"):
            getattr(cert, late)
        return cert


def load(source: Certificates, where: str = "") -> list[x509.Certificate]:
    """Certificates from whatever form they come in: PEM text or bytes, DER bytes, objects, or a list of these."""
    if isinstance(source, x509.Certificate):
        return [source]
    if isinstance(source, bytes) and is_der(source):
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
        raise _encrypted(where, block.number)
    if block.label not in KEY_FORMS:
        raise PemError(f"{block.label} is not supported", where=where, block=block.number, code="KEY_TYPE")
    label, tag = KEY_FORMS[block.label][0], tags(block.der)[1]
    held = next((form for form, own in KEY_FORMS.values() if own == tag), label)
    if held != label:
        raise PemError(
            f"{block.label} announces {label}, but holds {held}, so programs can't read it",
            where=where,
            block=block.number,
            code="KEY_LABEL_WRONG",
            fix="Write it anew (openssl pkey -in <file> -out <file>)",
        )
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
    """``data`` as lines that end with a newline alone."""
    if len(data) > MAX_BYTES:
        raise PemError(f"the text is longer than {MAX_BYTES} bytes", where=where, code="PEM_TOO_LONG")
    if isinstance(data, bytes):
        data = _decoded(data, where)
    code = what = fix = ""
    if not data.strip():
        code, what = "PEM_EMPTY", "the text is empty"
    elif "\0" in data:
        code, what = "PEM_NOT_TEXT", "this is not text"
    elif data.startswith(BOM):
        code, what, fix = "PEM_BOM", "the text starts with a byte order mark, so programs skip the first block", _NO_BOM
    elif "-----BEGIN" not in data and data.lstrip().startswith("LS0tLS1CRUdJTi"):
        code, what = "PEM_DOUBLE_BASE64", "this is base64 of PEM: it was encoded once too often"
        fix = "Decode it once, or put it under data instead of stringData"
    elif "-----\\n" in data or "-----\\r\\n" in data:
        code, what, fix = "PEM_ESCAPED_NEWLINES", "the newlines are written as backslash and n", "Turn them into real newlines"
    else:
        data = data.replace("\r\n", "\n")
        if "\r" not in data:
            return data
        code, what, fix = "PEM_CARRIAGE_RETURN", "a carriage return stands without a newline", "Save the file with Unix line ends"
    raise PemError(what, where=where, code=code, fix=fix)


def _decoded(data: bytes, where: str) -> str:
    if is_der(data):
        what, fix = KINDS.get(tags(data), ("this is DER", "Convert it to PEM"))
        raise PemError(f"{what}, not PEM", where=where, code="PEM_DER", fix=fix)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise PemError("the text is UTF-16, which no program reads", where=where, code="PEM_UTF16", fix=_NO_BOM)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise PemError("this is not text", where=where, code="PEM_NOT_TEXT") from None


def _encrypted(where: str, block: int) -> PemError:
    return PemError(
        "the private key is encrypted, which nginx, Istio and Kubernetes can't use",
        where=where,
        block=block,
        code="KEY_ENCRYPTED",
        fix="Decrypt it first (openssl pkey -in <file> -out <file>)",
    )


def _decode(lines: list[str], label: str, number: int, where: str) -> bytes:
    if any(":" in line for line in lines):
        if any(line.startswith("Proc-Type:") and "ENCRYPTED" in line for line in lines):
            raise _encrypted(where, number)
        raise PemError(f"{label} has header lines", where=where, block=number, code="PEM_HEADERS")
    if "" in lines:
        what = f"an empty line stands inside {label}, and programs take what is above it for headers"
        raise PemError(what, where=where, block=number, code="PEM_BLANK_LINE", fix="Remove it")
    try:
        der = base64.b64decode("".join(lines).translate(_BLANKS), validate=True)
    except (ValueError, binascii.Error):
        der = b""
    if not der:
        raise PemError(f"the body of {label} is not base64", where=where, block=number, code="PEM_BASE64")
    return der
