# SPDX-License-Identifier: GPL-3.0-or-later
"""PEM as people really paste it: every fault is named, with its block, and nothing of the text is repeated."""

from __future__ import annotations

import base64
import contextlib
import traceback

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._x509 import facts, pem
from tests.unit.x509.libcrypto import Libcrypto
from tests.unit.x509.pki import Pair, intermediate, leaf, make, root, rsa_key

CA = root()
MID = intermediate(CA)
END = leaf(MID)
CHAIN = END.pem + MID.pem
KEY = END.key_pem()
BODY = KEY.splitlines()[1]


def fault(text: str | bytes, read: str = "certificates") -> tuple[str, int]:
    with pytest.raises(pem.PemError) as refused:
        getattr(pem, read)(text, "Secret shop/web, key tls.crt")
    error = refused.value
    assert "Secret shop/web, key tls.crt" in error.sentence
    shown = "".join(traceback.format_exception(error)) + str(error.as_result())
    assert BODY[:20] not in shown
    assert BODY[-20:] not in shown
    return error.code, error.block


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("PEM_EMPTY", 0)),
        (" \n\n", ("PEM_EMPTY", 0)),
        ("hello", ("PEM_NO_BLOCK", 0)),
        ("\ufeff" + CHAIN, ("PEM_BOM", 0)),
        (("\ufeff" + CHAIN).encode(), ("PEM_BOM", 0)),
        (b"\xff\xfd\x00", ("PEM_NOT_TEXT", 0)),
        (CHAIN.encode("utf-16"), ("PEM_UTF16", 0)),
        ("A" * ((1 << 20) + 1), ("PEM_TOO_LONG", 0)),
        (b"\xff\xfe" + CHAIN.encode("utf-16-le"), ("PEM_UTF16", 0)),
        (CHAIN.replace("CERT", "\0CERT", 1), ("PEM_NOT_TEXT", 0)),
        (CHAIN.replace("\n", "\r"), ("PEM_CARRIAGE_RETURN", 0)),
        (base64.b64encode(CHAIN.encode()), ("PEM_DOUBLE_BASE64", 0)),
        (CHAIN.replace("\n", "\\n"), ("PEM_ESCAPED_NEWLINES", 0)),
        (END.pem.strip() + MID.pem, ("PEM_JOINED", 2)),
        (END.pem.replace("-----BEGIN", "x -----BEGIN"), ("PEM_JOINED", 1)),
        (END.pem + MID.pem.replace("-----BEGIN", "  -----BEGIN"), ("PEM_INDENTED", 2)),
        (END.pem + "\ufeff" + MID.pem, ("PEM_BOM", 2)),
        (END.pem.replace("\n", " "), ("PEM_ONE_LINE", 1)),
        (END.pem + MID.pem.replace("\n", ""), ("PEM_ONE_LINE", 2)),
        (END.pem.replace("\n-----END", "-----END"), ("PEM_JOINED", 1)),
        (END.pem + MID.pem.replace("-----", "----"), ("PEM_BOUNDARY_DAMAGED", 2)),
        (END.pem + MID.pem.replace("-----", "\u2014" * 2), ("PEM_BOUNDARY_DAMAGED", 2)),
        (MID.pem.lower() + END.pem, ("PEM_BOUNDARY_DAMAGED", 1)),
        (END.pem + MID.pem.replace("-----BEGIN", "----BEGIN"), ("PEM_BOUNDARY_DAMAGED", 2)),
        (END.pem + MID.pem[:-30], ("PEM_UNTERMINATED", 2)),
        (END.pem[:200] + "\n" + MID.pem, ("PEM_UNTERMINATED", 1)),
        (END.pem.replace("END CERTIFICATE", "END X509 CRL"), ("PEM_LABEL_MISMATCH", 1)),
        (END.pem + "-----END CERTIFICATE-----\n", ("PEM_STRAY_END", 2)),
        (END.pem.replace("-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\nComment: hello\n\n"), ("PEM_HEADERS", 1)),
        (END.pem + MID.pem.replace("MII", "M!I", 1), ("PEM_BASE64", 2)),
        (END.pem.replace("MII", "\nMII", 1), ("PEM_BLANK_LINE", 1)),
        (END.pem + MID.pem.replace("MII", "MII\u00a0", 1), ("PEM_BASE64", 2)),
        ("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", ("PEM_BASE64", 1)),
        (END.pem + KEY + MID.pem, ("PEM_KEY_AMONG_CERTIFICATES", 2)),
        (END.pem.replace("CERTIFICATE", "CERTIFICATE REQUEST"), ("PEM_NOT_A_CERTIFICATE", 1)),
        (END.pem + MID.pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), ("PEM_NOT_A_CERTIFICATE", 2)),
        (END.pem + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ("CERT_UNREADABLE", 2)),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_fault_of_certificates(text: str | bytes, expected: tuple[str, int]) -> None:
    assert fault(text) == expected


X25519 = x25519.X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
RSA = Pair(END.cert, rsa_key())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CHAIN, ("KEY_MISSING", 0)),
        (KEY + KEY, ("KEY_SEVERAL", 2)),
        (RSA.key_pem(password=b"secret"), ("KEY_ENCRYPTED", 1)),
        (END.pem + RSA.key_pem("PKCS1", b"secret"), ("KEY_ENCRYPTED", 2)),
        (KEY.replace(BODY, BODY[:16] + "AAAA" + BODY[20:]), ("KEY_UNREADABLE", 1)),
        (KEY.replace("PRIVATE KEY", "RSA PRIVATE KEY")[:-60] + "\n-----END RSA PRIVATE KEY-----\n", None),
        (KEY.replace("PRIVATE KEY", "OPENSSH PRIVATE KEY"), ("KEY_TYPE", 1)),
        (KEY.replace("PRIVATE KEY", "EC PRIVATE KEY"), ("KEY_LABEL_WRONG", 1)),
        (END.pem + RSA.key_pem("PKCS1").replace("RSA PRIVATE KEY", "PRIVATE KEY"), ("KEY_LABEL_WRONG", 2)),
        (RSA.key_pem("PKCS1").replace("RSA", "DSA"), ("KEY_TYPE", 1)),
        (X25519, ("KEY_TYPE", 1)),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_fault_of_keys(text: str, expected: tuple[str, int] | None) -> None:
    code, block = fault(text, "private_key")
    assert expected is None or (code, block) == expected


@pytest.mark.parametrize(
    "text",
    [
        CHAIN,
        CHAIN.replace("\n", "\r\n"),
        CHAIN.replace("\n", "  \n"),
        CHAIN.strip(),
        f"\n\nsubject=CN = x\n{END.pem}\n\nissuer=CN = y\n\n{MID.pem}\n",
        CHAIN.replace("CERTIFICATE", "X509 CERTIFICATE"),
        CHAIN.encode(),
    ],
    ids=["plain", "CRLF", "trailing blanks", "no last newline", "text between", "old label", "bytes"],
)
def test_what_programs_accept_is_accepted(text: str | bytes) -> None:
    assert pem.certificates(text) == [END.cert, MID.cert]


@pytest.mark.parametrize("key", [rsa_key(), ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()])
@pytest.mark.parametrize("form", ["PKCS8", "PKCS1"])
def test_keys_in_every_form(key: object, form: str) -> None:
    if isinstance(key, ed25519.Ed25519PrivateKey) and form == "PKCS1":
        return  # has only one form
    pair = Pair(END.cert, key)
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    read = pem.private_key(parameters + pair.key_pem(form) + END.pem)
    assert facts.spki_sha256(read.public_key()) == facts.spki_sha256(key.public_key())


@pytest.mark.parametrize(
    ("der", "says"),
    [
        (END.der, "a certificate"),
        (make("old", key=rsa_key(), v1=True).der, "a certificate"),
        (pem.blocks(KEY)[0].der, "a private key or a PKCS#12 file"),
        (pem.blocks(RSA.key_pem())[0].der, "a private key or a PKCS#12 file"),
        (pem.blocks(RSA.key_pem("PKCS1"))[0].der, "an RSA private key"),
        (pem.blocks(END.key_pem("PKCS1"))[0].der, "an EC private key"),
        (pem.blocks(RSA.key_pem(password=b"x"))[0].der, "an encrypted private key"),
        (Pair(END.cert, ed25519.Ed25519PrivateKey.generate()).key_der, "a private key or a PKCS#12 file"),
        (b"\x30\x00", "this is DER"),
    ],
)
def test_der_in_place_of_pem_is_named(der: bytes, says: str) -> None:
    with pytest.raises(pem.PemError, match=says) as refused:
        pem.private_key(der)
    assert (refused.value.code, refused.value.block) == ("PEM_DER", 0)


def test_a_block_does_not_show_its_bytes() -> None:
    block = pem.blocks(KEY)[0]
    assert repr(block) == "Block(1, 'PRIVATE KEY')"


PIECES = st.sampled_from(
    [*END.pem.splitlines(), *KEY.splitlines(), "", " ", "\ufeff", "-----BEGIN", "-----END CERTIFICATE-----", "x:y", "\\n", "\x00"]
)
MUTATED = st.tuples(
    st.sampled_from([CHAIN, KEY, RSA.key_pem("PKCS1"), RSA.key_pem(password=b"x")]), st.integers(0, 2000), st.binary(max_size=8)
).map(lambda parts: parts[0].encode()[: parts[1]] + parts[2] + parts[0].encode()[parts[1] + 1 :])


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=300), st.binary(max_size=300), st.lists(PIECES, max_size=30).map("\n".join), MUTATED))
def test_no_input_leads_to_anything_but_pem_errors(text: str | bytes) -> None:
    for read in (pem.blocks, pem.certificates, pem.private_key):
        refused = EdgeError("", code="PEM_")
        try:
            read(text)
        except pem.PemError as error:
            refused = error
        assert refused.code.startswith(("PEM_", "KEY_", "CERT_"))
        assert "\n" not in refused.sentence


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.lists(PIECES, max_size=30).map("\n".join).map(str.encode), MUTATED, MUTATED))
def test_what_is_accepted_openssl_reads_just_so(data: bytes) -> None:
    """Strict enough: there is nothing that we take and nginx would read otherwise, or not at all."""
    openssl = Libcrypto()
    with contextlib.suppress(pem.PemError):
        assert [each.public_bytes(Encoding.DER) for each in pem.certificates(data)] == openssl.certificates(data)
    with contextlib.suppress(pem.PemError):
        assert pem.private_key(data)
        assert openssl.has_key(data)


@pytest.mark.parametrize("lines", [64, 76, 300, 5000])
@pytest.mark.parametrize("end", ["\n", "\r\n", " \n", "\t \n"])
def test_lines_of_any_length_and_end_are_read_alike(lines: int, end: str) -> None:
    body = base64.b64encode(END.der).decode()
    text = "-----BEGIN CERTIFICATE-----\n" + "\n".join(body[at : at + lines] for at in range(0, len(body), lines))
    data = (text + "\n-----END CERTIFICATE-----\n" + CHAIN).replace("\n", end).encode()
    assert (
        [each.public_bytes(Encoding.DER) for each in pem.certificates(data)]
        == Libcrypto().certificates(data)
        == [END.der, END.der, MID.der]
    )


def test_oddities_are_facts_and_no_exceptions() -> None:
    old = make("old", key=rsa_key(), v1=True)
    known = facts.facts(old.pem)
    assert (known["version"], known["sans"], known["extended_key_usage"], known["key"]["type"]) == (1, [], None, "rsa")
    nobody = facts.facts(make(sans=["URI:spiffe://td/ns/a/sa/b", "IP:2001:db8::1", "DNS:a"]).der)
    assert (nobody["subject"], nobody["sans"]) == ("", ["URI:spiffe://td/ns/a/sa/b", "IP:2001:db8::1", "DNS:a"])
