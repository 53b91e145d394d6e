# SPDX-License-Identifier: GPL-3.0-or-later
"""What we sign, judged by others: openssl in its strictest mode, and Python's own TLS in a handshake of both sides."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._probe.foreign import foreign_certificate
from plugins.module_utils._secrets import fitness
from plugins.module_utils._x509 import chain, clock, facts, pem, sign
from plugins.module_utils._x509.material import Material
from tests.unit.x509.pki import NOW, intermediate, root


@pytest.fixture(scope="module", params=sign.KEY_TYPES)
def ca(request: pytest.FixtureRequest) -> Material:
    return sign.new_ca("edge-ca", 3650, request.param, NOW)


def test_ca_is_as_strict_programs_want_it(ca: Material) -> None:
    known = facts.facts(ca.leaf)
    assert known["ca"]
    assert known["path_length"] == 0
    assert known["key_usage"] == ["keyCertSign", "cRLSign"]
    assert known["subject_key_id"] == known["authority_key_id"] != ""
    for kind in (x509.BasicConstraints, x509.KeyUsage):
        assert ca.leaf.extensions.get_extension_for_class(kind).critical
    assert fitness.findings(ca, "ca", now=NOW) == []


@pytest.mark.parametrize("key_type", sign.KEY_TYPES)
@pytest.mark.parametrize("usage", ["server", "client"])
def test_openssl_accepts_a_leaf_in_its_strictest_mode(ca: Material, key_type: str, usage: str, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl program")
    made = sign.new_leaf(ca, ["shop.example.com", "192.0.2.1", "spiffe://td/ns/a/sa/b"], usage, 90, key_type, now=NOW)
    (tmp_path / "leaf").write_text(pem.dump(made.certs))
    (tmp_path / "ca").write_text(pem.dump(ca.ca))
    command = [
        openssl,
        "verify",
        "-x509_strict",
        "-auth_level",
        "2",
        "-CAfile",
        "ca",
        "-purpose",
        f"ssl{usage}",
        "-verify_hostname",
        "shop.example.com",
    ]
    answer = subprocess.run([*command, "leaf"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert fitness.findings(made, usage, ["shop.example.com", "192.0.2.1", "spiffe://td/ns/a/sa/b"], NOW) == []


def test_both_sides_of_a_strict_handshake_accept(ca: Material, tmp_path: Path) -> None:
    def context(purpose: ssl.Purpose, usage: str) -> ssl.SSLContext:
        made = sign.new_leaf(ca, ["shop.example.com"], usage, 90, now=NOW)
        (tmp_path / usage).write_bytes(pem.dump(made.certs).encode() + made.key_pem())
        result = ssl.create_default_context(purpose, cadata=pem.dump(ca.ca))
        result.verify_flags |= ssl.VERIFY_X509_STRICT
        result.verify_mode = ssl.CERT_REQUIRED
        result.load_cert_chain(tmp_path / usage)
        return result

    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context(ssl.Purpose.CLIENT_AUTH, "server").wrap_bio(to_server, to_client, server_side=True)
    client = context(ssl.Purpose.SERVER_AUTH, "client").wrap_bio(to_client, to_server, server_hostname="shop.example.com")
    waiting = [client, server]
    for _turn in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass
    assert waiting == []
    assert server.getpeercert()["subjectAltName"] == (("DNS", "shop.example.com"),)


def test_a_leaf_never_outlives_its_ca() -> None:
    short = sign.new_ca("short", 10, now=NOW)
    made = sign.new_leaf(short, ["a"], "server", 90, now=NOW)
    assert made.leaf.not_valid_after_utc == short.leaf.not_valid_after_utc
    assert made.leaf.not_valid_before_utc == NOW - timedelta(minutes=5)
    with pytest.raises(EdgeError, match="expired"):
        sign.new_leaf(short, ["a"], "server", 90, now=NOW + timedelta(days=11))


def test_leaf_under_an_intermediate_brings_the_chain() -> None:
    top = root(path_length=1)
    mid = intermediate(top, path_length=0)
    made = sign.new_leaf(Material([mid.cert, top.cert], mid.key), ["a.example.com"], "server", 30, now=NOW)
    assert made.certs[1:] == [mid.cert]
    assert made.trust == [top.cert]
    assert chain.verify(made.certs, made.trust, name="a.example.com", now=NOW).ok


def test_serials_and_keys_are_never_the_same(ca: Material) -> None:
    made = [sign.new_leaf(ca, ["a"], "server", 1, now=NOW) for _each in range(20)]
    assert len({each.leaf.serial_number for each in made}) == 20
    assert len({facts.spki_sha256(each.leaf.public_key()) for each in made}) == 20
    assert all(each.leaf.serial_number.bit_length() > 100 for each in made)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "a;b",
        "a\nb",
        "-a",
        "a-",
        "*.*.a",
        "a.*",
        "ä.example",
        "a..b",
        "256.1.1.1",
        "1.2.3",
        "x" * 64 + ".com",
        "http://",
        "DNS:1.2.3.4",
        "IP:a",
        "URI:a",
        "$x",
    ],
)
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(EdgeError) as refused:
        sign.general_name(name)
    assert refused.value.code == "NAME_INVALID"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Shop.Example.com", "DNS:shop.example.com"),
        ("*.example.com", "DNS:*.example.com"),
        ("localhost", "DNS:localhost"),
        ("192.0.2.1", "IP:192.0.2.1"),
        ("2001:db8::1", "IP:2001:db8::1"),
        ("IP:192.0.2.1", "IP:192.0.2.1"),
        ("spiffe://td/ns/a/sa/b", "URI:spiffe://td/ns/a/sa/b"),
        ("URI:spiffe://td/ns/a/sa/b", "URI:spiffe://td/ns/a/sa/b"),
    ],
)
def test_good_names(name: str, text: str) -> None:
    assert facts.san_text(sign.general_name(name)) == text


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    value, code = "", "NAME_INVALID"
    try:
        value = facts.san_text(sign.general_name(text))
    except EdgeError as error:
        code = error.code
    assert code == "NAME_INVALID"
    assert (value.isprintable(), value.isascii(), value == value.strip()) == (True, True, True)


def test_material_does_not_show_its_key(ca: Material) -> None:
    assert "PRIVATE" not in repr(ca)
    assert "key" not in repr(ca)


def test_the_probes_foreign_certificate_has_one_fault_its_issuer() -> None:
    text = foreign_certificate()
    at = text.index("-----BEGIN PRIVATE KEY")
    certs, key = pem.certificates(text[:at]), pem.private_key(text[at:])
    assert len(certs) == 1
    for minutes in (-50, 0, 50):  # by the clock of whoever judges it
        found = fitness.findings(Material(certs, key), "client", ["foreign.invalid"], clock.now() + timedelta(minutes=minutes))
        assert not [each for each in found if each.severity == fitness.ERROR]
    of_the_same_name = sign.new_ca("edgemesh foreign CA", 1).certs
    assert {each.code for each in fitness.findings(Material(certs, key, of_the_same_name), "client")} <= {
        "SIGNATURE_WRONG",
        "ISSUER_MISSING",
    }
    assert not chain.verify(certs, of_the_same_name, purpose="client").ok
