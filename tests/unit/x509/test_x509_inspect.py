# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Secret holds, whatever is wrong with it, and for what it is fit."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any

import pytest

from plugins.module_utils._secrets.inspect import Use, holds_certificates, inspect
from plugins.module_utils._x509 import clock
from tests.unit.x509.pki import DAY, NOW, Pair, intermediate, leaf, root

ROOT = root()
WEB = leaf(ROOT, "shop.example.com")
CLIENT = leaf(ROOT, "edge.example.com", eku=["client"])
SERVER = Use("server", ("shop.example.com",))


def secret(type_: str = "Opaque", **data: str) -> dict[str, Any]:
    encoded = {name.replace("__", "."): base64.b64encode(text.encode()).decode() for name, text in data.items()}
    return {"kind": "Secret", "metadata": {"namespace": "shop", "name": "web"}, "type": type_, "data": encoded}


def tls(pair: Pair = WEB, **data: str) -> dict[str, Any]:
    return secret("kubernetes.io/tls", tls__crt=pair.pem, tls__key=pair.key_pem(), **data)


def config_map(**data: str) -> dict[str, Any]:
    return {
        "kind": "ConfigMap",
        "metadata": {"namespace": "shop", "name": "trust"},
        "data": {k.replace("__", "."): v for k, v in data.items()},
    }


OPAQUE = secret(tls__crt=WEB.pem, tls__key=WEB.key_pem(), ca__crt=ROOT.pem)


def codes(live: Any, *uses: Use, **more: Any) -> set[str]:
    return {each.code for each in inspect(live, uses, **more).findings}


@pytest.mark.parametrize(
    ("live", "use", "entries"),
    [
        (tls(), Use("server", ("shop.example.com",)), {"certificate": "tls.crt", "key": "tls.key"}),
        (OPAQUE, SERVER, {"certificate": "tls.crt", "key": "tls.key", "ca": "ca.crt"}),
        (secret(cert=WEB.pem, key=WEB.key_pem(), cacert=ROOT.pem), SERVER, {"certificate": "cert", "key": "key", "ca": "cacert"}),
        (tls(CLIENT), Use("client", ("edge.example.com",)), {"certificate": "tls.crt", "key": "tls.key"}),
        (secret("nginx.org/ca", ca__crt=ROOT.pem), Use("ca"), {"ca": "ca.crt"}),
        (secret(cacert=ROOT.pem), Use("ca"), {"ca": "cacert"}),
        (config_map(ca__crt=ROOT.pem), Use("ca"), {"ca": "ca.crt"}),
        (config_map(**{"root-cert__pem": ROOT.pem}), Use("ca"), {"ca": "root-cert.pem"}),
        (tls(ROOT), Use("ca"), {"certificate": "tls.crt", "key": "tls.key"}),
    ],
)  # fmt: skip
def test_every_shape_is_understood_asked_or_not(live: Any, use: Use, entries: dict[str, str]) -> None:
    for uses in ((use,), ()):
        report = inspect(live, uses)
        result = report.result()
        assert (result["fit"], result["findings"], result["entries"]) == (True, [], entries)
        assert result["uses"][0]["use"] == use.use
        for until in ("present", "fit", "changed"):
            assert report.why_not(until, "another") == ""


def test_the_result_is_facts_and_no_key() -> None:
    middle = intermediate(ROOT)
    web = leaf(middle, "shop.example.com", not_before=NOW - 30 * DAY, not_after=NOW + 3 * DAY)
    live = secret(tls__crt=web.pem + middle.pem, tls__key=web.key_pem(), ca__crt=ROOT.pem)
    text = json.dumps(inspect(live, [SERVER]).result())
    for line in web.key_pem().splitlines():
        assert line not in text
    result = json.loads(text)
    assert result["certificate"]["sans"] == ["DNS:shop.example.com"]
    assert [each["subject"] for each in result["chain"] + result["ca"]] == ["CN=Test Intermediate", "CN=Test Root"]
    assert (result["key"]["type"], result["key"]["matches"]) == ("ecdsa", True)
    assert result["expires"] == clock.text(NOW + 3 * DAY)
    assert result["ca_from"] == "Secret shop/web"
    assert [each["code"] for each in result["findings"]] == ["CERT_EXPIRES_SOON"]
    assert result["fit"]


@pytest.mark.parametrize(
    ("live", "uses", "code", "words"),
    [
        (tls(), [Use("server", ("other.example.com",))], "NAME_MISMATCH", "does not cover other.example.com"),
        (tls(), [Use("client")], "EKU_NO_CLIENTAUTH", "without clientAuth"),
        (secret(tls__crt=WEB.pem, tls__key=CLIENT.key_pem()), [SERVER], "KEY_MISMATCH", "does not belong"),
        (secret(tls__crt=WEB.pem), [SERVER], "KEY_MISSING", "no private key"),
        (tls(leaf(ROOT, not_after=NOW - dt.timedelta(hours=1))), [SERVER], "CERT_EXPIRED", "expired at"),
        (tls(), [Use("ca")], "CA_MISSING", "no CA certificate"),
        (secret(cacert=WEB.pem), [Use("ca")], "CA_FLAG_MISSING", "is no CA"),
        (secret("kubernetes.io/tls", tls__crt="", tls__key=""), [SERVER], "ENTRY_MISSING", "key tls.crt: the entry is empty"),
        (secret("nginx.org/ca", cacert=ROOT.pem), [Use("ca")], "ENTRY_MISSING", "key ca.crt: the entry is not there; with content: cacert"),
        (secret(tls__crt="junk", tls__key=WEB.key_pem()), [SERVER], "PEM_NO_BLOCK", "Secret shop/web, key tls.crt"),
        (secret(tls__crt=WEB.pem, tls__key="junk"), [SERVER], "PEM_NO_BLOCK", "Secret shop/web, key tls.key"),
        ({**secret(), "data": {"cacert": "%%%"}}, [Use("ca")], "SECRET_BASE64", "key cacert: the entry is not base64"),
        (secret(other="x"), [], "CERTIFICATE_MISSING", "there is no certificate"),
        (None, [SERVER, Use("ca")], "SECRET_MISSING", "it does not exist"),
    ],
)  # fmt: skip
def test_what_makes_it_unfit_is_said_once_with_its_code(live: Any, uses: list[Use], code: str, words: str) -> None:
    report = inspect(live, uses)
    assert not report.fit
    assert code in {each.code for each in report.findings if each.severity == "error"}
    assert words in " ".join(each["why"][0] for each in report.result()["uses"]) or not uses
    assert report.why_not("fit")
    assert len({each.sentence for each in report.findings}) == len(report.findings)


def test_a_fault_in_one_entry_does_not_hide_or_spoil_the_others() -> None:
    live = tls(WEB, ca__crt="junk")
    report = inspect(live, [SERVER, Use("ca")])
    assert [each["fit"] for each in report.uses] == [True, False]
    assert "ca.crt" in report.uses[1]["why"][0]
    assert report.result()["certificate"]["common_name"] == "shop.example.com"
    broken_key = inspect(secret(cert=WEB.pem, key="junk", cacert=ROOT.pem), [SERVER, Use("ca")])
    assert [each["fit"] for each in broken_key.uses] == [False, True]
    assert not {"KEY_MISSING", "CERTIFICATE_MISSING"} & {each.code for each in broken_key.findings}


def test_present_means_that_no_entry_is_missing_or_empty() -> None:
    assert inspect(None).why_not("present") == "it does not exist"
    assert inspect(secret("kubernetes.io/tls", tls__crt="", tls__key="")).why_not("present") == "entries tls.crt, tls.key missing or empty"
    assert inspect(secret(other="x")).why_not("present") == "it holds no certificate"
    assert inspect(secret(tls__crt="junk")).why_not("present") == ""
    assert inspect(tls(), entries={"ca": "my-ca"}).why_not("present") == "entry my-ca missing or empty"
    only_ca: dict[str, Any] = {"certificate": None, "key": None, "ca": "my-ca"}
    live = secret("kubernetes.io/tls", **{"my-ca": ROOT.pem})
    assert inspect(live, entries=only_ca).why_not("present") == "entries tls.crt, tls.key missing or empty"


def test_changed_means_fit_and_another_one() -> None:
    report = inspect(tls())
    for old in (report.fingerprint, report.result()["certificate"]["sha256"]):
        assert "still the one" in report.why_not("changed", old)
    assert report.why_not("changed", "00ff") == ""
    assert inspect(tls(CLIENT), [SERVER]).why_not("changed", "00ff") != ""
    more_trust = inspect(secret(cacert=ROOT.pem + root("Next").pem))
    assert more_trust.fingerprint != inspect(secret(cacert=ROOT.pem)).fingerprint
    assert more_trust.result()["expires"]


def test_entries_with_names_of_their_own() -> None:
    live = secret(**{"server__pem": WEB.pem, "server-key__pem": WEB.key_pem(), "tls__crt": "junk"})
    names: dict[str, Any] = {"certificate": "server.pem", "key": "server-key.pem", "ca": None}
    assert inspect(live, [SERVER], names).fit
    assert "ENTRY_MISSING" in codes(live, SERVER, entries={"key": "nowhere"})


def test_a_ca_that_peers_verify_by_is_judged_and_one_that_lies_beside_is_only_compared() -> None:
    stranger = root("Stranger")
    beside = inspect(tls(WEB, ca__crt=stranger.pem), [SERVER])
    assert beside.fit
    assert {each.severity for each in beside.findings} == {"warning"}
    assert "if that is meant to verify it" in beside.findings[0].sentence
    assert inspect(tls(), [SERVER], trusted=secret(cacert=ROOT.pem), verified_by=True).fit
    assert inspect(tls(), [SERVER], trusted=config_map(ca__crt=ROOT.pem), verified_by=True).fit
    for trusted in (secret(cacert=stranger.pem), secret(other="x"), None):
        assert not inspect(tls(), [SERVER], trusted=trusted, verified_by=True).fit
    middle = intermediate(ROOT)
    partial = secret(cacert=middle.pem)
    web = leaf(middle, "shop.example.com")
    assert not inspect(tls(web), [Use("server", (), "nginx")], trusted=partial, verified_by=True).fit
    assert inspect(tls(web), [Use("server", (), "envoy")], trusted=partial, verified_by=True).fit


def test_istios_separate_ca_counts_before_the_one_inside() -> None:
    uses = [SERVER, Use("ca", (), "envoy")]
    cacert = {**secret(cacert=ROOT.pem), "metadata": {"namespace": "shop", "name": "web-cacert"}}
    assert inspect(tls(), uses, beside=cacert).fit
    assert inspect(tls(), uses, beside=cacert).ca_from == "Secret shop/web-cacert"
    assert not inspect(tls(), uses).fit
    right, wrong = tls(WEB, ca__crt=ROOT.pem), tls(WEB, ca__crt=WEB.pem)
    for inside, beside, found in ((right, None, ("Secret shop/web", True)), (wrong, None, ("Secret shop/web", False)),
                                  (wrong, cacert, ("Secret shop/web-cacert", True))):  # fmt: skip
        report = inspect(inside, uses, beside=beside)
        assert (report.ca_from, report.fit) == found
    assert inspect(right, [SERVER], beside=cacert).ca_from == "Secret shop/web"  # nobody asked for a CA
    empty = {**secret(tls__crt=ROOT.pem), "metadata": {"namespace": "shop", "name": "web-cacert"}}
    shadowed = inspect(right, uses, beside=empty)
    assert not shadowed.fit
    assert shadowed.why_not("fit") == (
        "Secret shop/web-cacert has no entry cacert or ca.crt, and where it exists Istio looks for a CA nowhere else."
    )


def test_istio_takes_certificate_and_key_as_a_pair() -> None:
    """Of two pairs the generic one; of halves of two, none."""
    both = secret(cert=WEB.pem, key=WEB.key_pem(), tls__crt=CLIENT.pem, tls__key=CLIENT.key_pem())
    assert inspect(both, [SERVER]).held.entries == {"certificate": "cert", "key": "key"}
    assert inspect(secret(cert=WEB.pem, tls__crt=WEB.pem, tls__key=WEB.key_pem()), [SERVER]).held.entries["certificate"] == "tls.crt"
    mixed = inspect(secret(tls__crt=WEB.pem, key=WEB.key_pem()), [SERVER])
    assert mixed.why_not("present") == "entry tls.key missing or empty"
    assert "with content: key, tls.crt" in mixed.findings[0].sentence


@pytest.mark.parametrize(
    "live",
    [
        {},
        {"kind": "Secret", "metadata": None, "data": "x"},
        {"kind": "ConfigMap", "data": {"ca.crt": 7, "cacert": None}},
        {"kind": "ConfigMap", "data": {"ca.crt": "\ud800"}, "binaryData": {"ca.crt": "//79"}},
        {"kind": "Secret", "metadata": {"name": "a\nb"}, "data": {"tls.crt": 7, "tls.key": ["x"], "ca.crt": "////"}},
        {"kind": "Secret", "type": ["x"], "data": {"\x00\u202e": "eA==", **{f"k{number}": "" for number in range(10_000)}}},
    ],
)
def test_a_hostile_object_is_only_unfit(live: Any) -> None:
    report = inspect(live, [SERVER, Use("ca")])
    assert not report.fit
    assert "\n" not in report.findings[0].sentence
    json.dumps(report.result())
    holds_certificates(live)


def test_what_holds_no_certificates_is_told_apart() -> None:
    assert holds_certificates(tls())
    assert holds_certificates(secret("kubernetes.io/tls"))
    assert holds_certificates(secret(cacert="x"))
    assert holds_certificates(config_map(ca__crt="x"))
    assert not holds_certificates(secret(password="x"))
