# SPDX-License-Identifier: GPL-3.0-or-later
"""Material judged for a use: what is refused, what is only said, and nothing on good material."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from plugins.module_utils._secrets import fitness
from plugins.module_utils._x509 import chain, clock, sign
from plugins.module_utils._x509.material import Material
from tests.unit.x509.own import Own, all_own
from tests.unit.x509.pki import DAY, NOW, Pair, intermediate, leaf, make, root, rsa_key

CA = root()
MID = intermediate(CA)
SCT = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), b"\x04\x02\x00\x00")
POLICY = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("2.23.140.1.2.1"), None)])
BROKEN = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.37"), b"\x05\x00")
EXPIRED = {"not_before": NOW - 30 * DAY, "not_after": NOW - DAY}


def material(*chain: Pair, ca: tuple[Pair, ...] = (), key: object = None) -> Material:
    return Material([each.cert for each in chain], key or chain[0].key, [each.cert for each in ca])


def codes(found: list[fitness.Finding]) -> dict[str, str]:
    assert all(each.sentence.endswith(".") for each in found)
    assert [each.severity for each in found] == sorted([each.severity for each in found])  # errors first
    return {each.code: each.severity for each in found}


E, W = "error", "warning"
OLD = leaf(CA, **EXPIRED)


@pytest.mark.parametrize(
    ("given", "use", "names", "reader", "expected"),
    [
        (material(leaf(CA), ca=(CA,)), "server", ["shop.example.com"], "", {}),
        (material(leaf(MID), MID, ca=(CA,)), "server", [], "", {}),
        (material(leaf(CA, eku=["client"]), ca=(CA,)), "client", [], "", {}),
        (material(leaf(CA, eku=None, key=rsa_key(2048)), ca=(CA,)), "client", [], "envoy", {}),
        (material(leaf(CA, sans=["DNS:*.example.com"])), "server", ["shop.example.com", "*.example.com"], "", {}),
        (Material(), "server", [], "", {"CERTIFICATE_MISSING": E}),
        (Material([leaf(CA).cert]), "server", [], "", {"KEY_MISSING": E}),
        (material(leaf(CA), key=leaf(CA).key), "server", [], "", {"KEY_MISMATCH": E}),
        (material(MID, leaf_of_mid := leaf(MID), key=leaf_of_mid.key), "server", [], "", {"LEAF_NOT_FIRST": E}),
        (material(leaf_of_mid, CA, MID), "server", [], "", {"ORDER_WRONG": W}),
        (material(OLD, ca=(CA,)), "server", [], "", {"CERT_EXPIRED": E}),
        (material(leaf(CA, not_before=NOW + DAY)), "server", [], "", {"CERT_NOT_YET_VALID": E}),
        (material(leaf(CA, not_before=NOW - 80 * DAY, not_after=NOW + 6 * DAY)), "server", [], "", {"CERT_EXPIRES_SOON": W}),
        (material(leaf(CA, not_before=NOW - DAY / 4, not_after=NOW + DAY)), "server", [], "", {}),
        (material(leaf(CA)), "client", [], "", {"EKU_NO_CLIENTAUTH": E}),
        (material(leaf(CA, extra=[(SCT, False)])), "client", [], "", {"PUBLIC_CERT_AS_CLIENT": E}),
        (material(leaf(CA, extra=[(POLICY, False)]), ca=(CA,)), "client", [], "", {"PUBLIC_CERT_AS_CLIENT": E}),
        (material(leaf(CA, extra=[(SCT, False), (POLICY, False)]), ca=(CA,)), "server", [], "", {}),
        (material(leaf(CA, extra=[(BROKEN, False)], eku=None), ca=(CA,)), "server", [], "", {"CERT_UNREADABLE": E}),
        (material(leaf(CA, eku=["client"])), "server", [], "", {"EKU_NO_SERVERAUTH": E}),
        (material(leaf(CA, key=rsa_key(1024))), "server", [], "", {"KEY_TOO_SMALL": E}),
        (material(leaf(CA, key=ed25519.Ed25519PrivateKey.generate())), "server", [], "", {"KEY_TYPE_REFUSED": E}),
        (material(leaf(CA, key=ed25519.Ed25519PrivateKey.generate())), "server", [], "nginx", {"KEY_TYPE_REFUSED": W}),
        (
            material(leaf(CA, key=ec.generate_private_key(ec.SECP521R1()))),
            "client",
            [],
            "nginx",
            {"EKU_NO_CLIENTAUTH": E, "KEY_TYPE_REFUSED": W},
        ),
        (material(leaf(CA, key_usage=["key_agreement"]), ca=(CA,)), "server", [], "nginx", {"KEY_USAGE_WRONG": W}),
        (material(leaf(CA, key_usage=["key_agreement"]), ca=(CA,)), "server", [], "envoy", {"KEY_USAGE_WRONG": E}),
        (material(leaf(CA, sans=None)), "server", ["shop.example.com"], "nginx", {"NO_SAN": W}),
        (material(leaf(CA, sans=None)), "server", ["shop.example.com"], "envoy", {"NO_SAN": E, "NAME_MISMATCH": E}),
        (material(leaf(CA)), "server", ["other.example.com"], "", {"NAME_MISMATCH": E}),
        (material(leaf(CA), ca=(root(),)), "server", [], "", {"ISSUER_MISSING": E}),
        (material(leaf(CA), ca=(root(),)), "server", [], "nginx", {"ISSUER_MISSING": E}),
        (material(leaf(CA), ca=(root(),)), "server", [], "envoy", {"ISSUER_MISSING": E}),
        (material(leaf_of_mid, ca=(MID,)), "server", [], "", {"ROOT_MISSING": E}),
        (material(leaf_of_mid, ca=(MID,)), "server", [], "envoy", {"ROOT_MISSING": W}),
        (material(make("old", key=rsa_key(), v1=True)), "server", [], "nginx", {"NO_SAN": W, "OLD_STYLE": W}),
        (material(CA), "server", [], "", {"NO_SAN": W, "LEAF_IS_CA": W, "KEY_USAGE_WRONG": E}),
        (material(leaf(CA), ca=(CA,)), "ca", [], "", {}),
        (Material(), "ca", [], "", {"CA_MISSING": E}),
        (Material(ca=[leaf(CA).cert]), "ca", [], "", {"CA_FLAG_MISSING": E, "ROOT_MISSING": E}),
        (Material(ca=[MID.cert]), "ca", [], "nginx", {"ROOT_MISSING": E}),
        (Material(ca=[MID.cert]), "ca", [], "envoy", {"ROOT_MISSING": W}),
        (Material(ca=[root(key_usage=None).cert]), "ca", [], "", {"OLD_STYLE": W}),
        (Material(ca=[root("gone", **EXPIRED).cert]), "ca", [], "", {"CERT_EXPIRED": E}),
        (Material(ca=[root("gone", **EXPIRED).cert, CA.cert]), "ca", [], "", {"CERT_EXPIRED": W}),
    ],
)
def test_findings(given: Material, use: str, names: list[str], reader: str, expected: dict[str, str]) -> None:
    assert codes(fitness.findings(given, use, names, NOW, reader)) == expected


def test_the_clock_is_the_callers() -> None:
    good = material(leaf(CA), ca=(CA,))
    assert not fitness.findings(good, "server", now=NOW)
    assert codes(fitness.findings(good, "server", now=NOW + timedelta(days=400))) == {"CERT_EXPIRED": E}


@pytest.mark.parametrize("each", all_own(), ids=lambda each: each.title)
def test_what_a_program_loads_for_itself(each: Own) -> None:
    assert (each.code("nginx"), each.code("envoy")) == (each.nginx, each.envoy)


def test_one_clock_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is given no time asks the one clock, which tests set."""
    good = material(leaf(CA), ca=(CA,))
    assert not fitness.findings(good, "server")
    assert chain.verify(good.certs, good.ca).ok
    later = NOW + timedelta(days=400)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert {each.code for each in fitness.findings(good, "server")} == {"CERT_EXPIRED"}
    assert [each.code for each in fitness.dates(good.certs)] == ["CERT_EXPIRED"]
    assert chain.verify(good.certs, good.ca, rules="envoy").code == "CERT_EXPIRED"
    assert sign.new_ca("later", 1).leaf.not_valid_after_utc == later.replace(microsecond=0) + DAY
