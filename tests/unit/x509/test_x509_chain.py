# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts on chains: as listed in sets.py, and as `openssl verify` gives them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._x509 import chain, clock, names
from tests.unit.x509.libcrypto import Libcrypto
from tests.unit.x509.pki import DAY, NOW, intermediate, leaf, root
from tests.unit.x509.sets import Set, all_sets

OPENSSL = shutil.which("openssl") or ""
SETS = pytest.mark.parametrize("each", all_sets(), ids=lambda each: each.title)


@SETS
@pytest.mark.parametrize("rules", ["nginx", "envoy"])
def test_verdict_is_the_listed_one(each: Set, rules: str) -> None:
    verdict = each.verdict(rules, each.purpose)
    assert (verdict.ok, verdict.code) == (getattr(each, rules) == "", getattr(each, rules)), verdict.reason
    assert bool(verdict.reason) != verdict.ok


def envoys_own(each: Set) -> bool:
    """Where Envoy's rules are not OpenSSL's with other flags: how it reads files, what it thinks of anchors, keys, names and usages."""
    differ = each.nginx != each.envoy and {"NAME_MISMATCH", "KEY_TYPE_REFUSED", "KEY_USAGE_WRONG"} & {each.nginx, each.envoy}
    differ = bool(differ and "192.0.2.1" not in str(each.name)) or each.title.startswith("anchor: ")
    return each.ca_text is not None or each.name_as("client") is not None or differ


@pytest.mark.skipif(not OPENSSL, reason="needs the openssl program")
@pytest.mark.parametrize(
    ("each", "rules"),
    [pytest.param(each, "nginx", id=f"nginx-{each.title}") for each in all_sets()]
    + [pytest.param(each, "envoy", id=f"envoy-{each.title}") for each in all_sets() if not envoys_own(each)],
)
def test_openssl_agrees(each: Set, rules: str, tmp_path: Path) -> None:
    """The program itself, given the same files, says the same, with the same error number."""
    (tmp_path / "leaf").write_text(each.chain[0].pem)
    (tmp_path / "sent").write_text("".join(more.pem for more in each.chain[1:]))
    (tmp_path / "ca").write_bytes(each.ca_pem.encode())
    command = [OPENSSL, "verify", "-no-CApath", "-no-CAstore", "-CAfile", "ca", "-attime", str(int(NOW.timestamp()))]
    command += ["-purpose", "sslserver" if each.purpose == "server" else "sslclient"]
    command += ["-auth_level", "2"] if rules == "nginx" else ["-partial_chain", "-auth_level", "0"]
    if len(each.chain) > 1:
        command += ["-untrusted", "sent"]
    if rules == "nginx":
        command += ["-verify_depth", str(each.depth)]
    if each.name and each.purpose == "server":
        command += ["-verify_ip" if rules == "envoy" and each.name[0].isdigit() else "-verify_hostname", each.name]
    answer = subprocess.run([*command, "leaf"], cwd=tmp_path, capture_output=True, text=True, check=False)
    ours = each.verdict(rules, each.purpose)
    refused = not ours.ok and ours.code != "KEY_TYPE_REFUSED"  # which shows in a handshake only
    assert (answer.returncode != 0) == refused, answer.stdout + answer.stderr + ours.text
    if refused and each.ca_text is None:
        theirs = {int(number) for number in re.findall(r"error (\d+) at", answer.stdout + answer.stderr)}
        theirs |= {62} if 64 in theirs else set()  # it has a number of its own for addresses
        assert ours.openssl in theirs, (answer.stderr, ours)


def test_depth_is_nginx_verify_depth() -> None:
    ca = root()
    first = intermediate(ca, "First")
    second = intermediate(first, "Second")
    sent = [leaf(second).cert, second.cert, first.cert]
    assert chain.verify(sent, ca.cert, now=NOW, depth=2).ok
    verdict = chain.verify(sent, ca.cert, now=NOW, depth=1)
    assert (verdict.code, verdict.openssl) == ("CHAIN_TOO_LONG", 22)


def test_sentences_name_the_certificate_and_the_cause() -> None:
    ca = root()
    mid = intermediate(ca, "Mid")
    assert "CN=Test Root" in chain.verify(leaf(mid).pem, mid.pem, now=NOW).reason
    foreign = chain.verify(leaf(ca, ids=False).pem, root().pem, now=NOW).reason
    assert "another key" in foreign
    assert clock.text(NOW - DAY) in chain.verify(leaf(ca, not_before=NOW - 9 * DAY, not_after=NOW - DAY).pem, ca.pem, now=NOW).reason
    assert "DNS:shop.example.com" in chain.verify(leaf(ca).pem, ca.pem, now=NOW, name="x.example.com").reason


def test_what_cannot_be_read_is_a_verdict() -> None:
    ca = root()
    assert chain.verify("", ca.pem).code == "PEM_EMPTY"
    assert chain.verify(leaf(ca).pem, "junk").code == "PEM_NO_BLOCK"
    assert chain.verify([], ca.pem).code == "CHAIN_EMPTY"
    assert chain.verify(leaf(ca).pem, []).code == "TRUST_EMPTY"
    with pytest.raises(ValueError, match="rules"):
        chain.verify(leaf(ca).pem, ca.pem, rules="apache")


def test_takes_der_pem_and_objects_alike() -> None:
    ca = root()
    mid = intermediate(ca)
    end = leaf(mid)
    for sent in ([end.der, mid.der], end.pem + mid.pem, (end.pem + mid.pem).encode(), [end.cert, mid.cert], [end.pem, mid.der]):
        assert chain.verify(sent, ca.der, now=NOW).ok


def test_order_and_in_order() -> None:
    ca = root()
    mid = intermediate(ca)
    end, stranger = leaf(mid), leaf(root("Stranger"))
    assert chain.order([end.cert, mid.cert, ca.cert]) == ""
    assert "certificate 2" in chain.order([end.cert, ca.cert, mid.cert])
    shuffled = [ca.cert, stranger.cert, mid.cert, end.cert]
    assert chain.in_order(shuffled, end.key) == [end.cert, mid.cert, ca.cert]
    assert chain.in_order([mid.cert, end.cert]) == [end.cert, mid.cert]


LABEL = st.sampled_from(
    ["a", "*", "www", "w*", "*w", "w*w", "xn--a", "xn--*", "*-b", "-a", "a-", "b-*", "com", "example", "", "A", "_x", "**"]
)
HOST = st.lists(LABEL, min_size=1, max_size=4).map(".".join)


def test_names_match_as_openssl_matches() -> None:
    """Every pattern against every name of a grid."""
    firsts = ["a", "*", "ww", "w*", "*w", "w*w", "xn--a", "xn--*", "*-b", "w-b", "-a", "A", "**", "*-"]
    rests = [".example.com", ".EXAMPLE.com", ".com", "", ".*.com", ".e-.com", ".b.example.com", ".a.b.example.com"]
    hosts = [first + rest for first in ["a", "ww", "w", "www", "xn--a", "w-b", "*", "", "-b", "a_b"] for rest in rests if first + rest]
    ca, openssl = root(), Libcrypto()
    wrong = []
    for pattern in [first + rest for first in firsts for rest in rests]:
        cert = leaf(ca, cn="x", sans=[f"DNS:{pattern}"])
        wrong += [
            (pattern, host) for host in set(openssl.hosts(cert, hosts)) ^ {each for each in hosts if names.openssl_match(pattern, each)}
        ]
    assert not wrong


@given(HOST, HOST)
def test_name_rules_hold_for_any_names(pattern: str, name: str) -> None:
    for match in (names.openssl_match, names.envoy_match):
        if match(pattern, name):
            assert pattern.lower() == name.lower() or "*" in pattern or name.startswith(".")
        if "*" not in pattern and not pattern.startswith(".") and pattern:
            assert match(pattern, pattern.upper())
