# SPDX-License-Identifier: GPL-3.0-or-later
"""A key that was pasted into another field is not quoted by the refusal."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from plugins.module_utils import _values as values
from plugins.module_utils._errors import EdgeError
from plugins.module_utils._quoted import may_be_key, without_query
from plugins.module_utils._schema.fields import choice, quoted

KEYS: dict[str, Callable[[], Any]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


def pem(kind: str) -> str:
    return KEYS[kind]().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def refusals(text: str) -> list[str]:
    """What both ways to refuse say of this text."""
    said = [quoted(text)]
    for read in (values.hostname, values.port, values.file_path, choice("http", "grpc")):
        with pytest.raises(EdgeError) as refused:
            read(text, "edge_host")
        said.append(refused.value.sentence)
    return said


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize(
    "write",
    [
        lambda text: text,
        lambda text: "".join(text.splitlines()[1:-1]),
        lambda text: text.splitlines()[1],
        lambda text: " ".join(text.splitlines()[1:-1]),
        lambda text: base64.b64encode(text.encode()).decode(),
    ],
    ids=["PEM", "its body", "its first line of base64", "its body in one line", "base64 of it"],
)
def test_no_letter_of_a_key_is_quoted(kind: str, write: Callable[[str], str]) -> None:
    text = write(pem(kind))
    for said in refusals(text.strip()):
        assert "what looks like key material" in said
        assert not any(text[at : at + 12] in said for at in range(0, len(text) - 12, 4))


@pytest.mark.parametrize(
    "text",
    [
        "shop.example.com",
        "a-very-long-name-of-a-host-that-nobody-would-type.in-a-very-long-domain-of-theirs.example.com",
        "/etc/edgemesh/tls/edgemesh/edge-client/tls.crt",
        os.path.join("/srv", *["certificates"] * 6),
        "ab" * 32,
        ":".join(["AB"] * 32),
        "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account",
    ],
)
def test_what_is_no_key_is_quoted(text: str) -> None:
    assert not may_be_key(text)
    assert text[:70] in quoted(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://x.example/?key=s3cr3t", "https://x.example/?key=…"),
        ("https://x/a?key=s3cr3t&user=me#top", "https://x/a?key=…&user=…#top"),
        (
            "nginx passes /a?key=s3cr3t, and says 'https://x/?t=s3cr3t' (conf:3)",
            "nginx passes /a?key=…, and says 'https://x/?t=…' (conf:3)",
        ),
        ("https://x/$uri?id=$arg_id;", "https://x/$uri?id=…;"),
        ("is it so? a=b", "is it so? a=b"),
        ("https://x/?", "https://x/?"),
    ],
)
def test_of_a_query_the_names_are_shown_and_no_value(text: str, shown: str) -> None:
    assert without_query(text) == shown
