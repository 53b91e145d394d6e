# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ground floor reads in texts: addresses and certificates."""

from __future__ import annotations

import base64

import pytest

from plugins.module_utils import _pem
from plugins.module_utils._address import ip

BODY = base64.b64encode(b"certificate").decode()
BLOCK = f"-----BEGIN CERTIFICATE-----\n{BODY}\n-----END CERTIFICATE-----"
KEY = BLOCK.replace("CERTIFICATE", "PRIVATE KEY")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" [2001:DB8:0::1] ", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2", ""),
        ("192.0.2.1:443", ""),
        ("shop.example.com", ""),
        ("", ""),
    ],
)
def test_an_address_has_one_spelling(text: str, address: str) -> None:
    assert ip(text) == address


def test_only_certificates_are_taken_out_of_a_file_with_a_key() -> None:
    text = f"{KEY}\n{BLOCK}\n# the CA\n{BLOCK}\n"
    assert (_pem.blocks(text), _pem.base64_der(text), _pem.der(text)) == ([BLOCK] * 2, [BODY] * 2, [b"certificate"] * 2)
    assert not _pem.is_all(text)


@pytest.mark.parametrize(("text", "is_all"), [(f"{BLOCK}\n{BLOCK}\n", True), (f"{BLOCK}\n{KEY}", False), ("\n", False)])
def test_nothing_but_certificates(text: str, is_all: bool) -> None:
    assert _pem.is_all(text) is is_all
