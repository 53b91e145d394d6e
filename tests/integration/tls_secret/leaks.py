"""Looks for a private key in anything that was printed, logged, stored or passed on a command line, in every form it may take."""

from __future__ import annotations

import base64
import functools
import os
import subprocess
from collections.abc import Iterable

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

WINDOW = 40
#: whatever 40 characters are cut out of a text, one whole block of this size is among them
BLOCK = WINDOW // 2


def leaks(key: str, text: str) -> list[str]:
    """Which pieces of the PEM key are in the text; [] = none."""
    return pieces([key], text)


def pieces(keys: Iterable[str], text: str) -> list[str]:
    """The same for several keys. grep looks for thousands of strings at once, where Python would read the text once for each."""
    wanted = os.memfd_create("pieces")
    try:
        os.write(wanted, "\n".join(frozenset().union(*(forms(key) for key in keys))).encode())
        command = ["grep", "-a", "-o", "-F", "-f", f"/dev/fd/{wanted}"]
        os.lseek(wanted, 0, os.SEEK_SET)
        done = subprocess.run(
            command,
            input=text.encode(errors="replace"),
            capture_output=True,
            pass_fds=[wanted],
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    finally:
        os.close(wanted)
    assert done.returncode in (0, 1), done.stderr
    return sorted(set(done.stdout.decode().split()))


@functools.cache
def forms(key: str) -> frozenset[str]:
    """Every form of the key but for what is no secret in it: what all keys have in common, and the public half."""
    return _forms(key) - _common(key) - _public(key)


def _forms(key: str) -> frozenset[str]:
    """Raw, stripped, by line, joined, in DER; and all of that in base64 (in its three alignments), URL-safe, and hex."""
    lines = [line for line in key.strip().splitlines() if "-----" not in line]
    joined = "".join(lines)
    der = base64.b64decode(joined)
    found: set[str] = set()
    for text in (*lines, joined):
        found |= _blocks(text)
    found |= _blocks(joined.translate(str.maketrans("+/", "-_")))
    for data in (key.encode(), key.strip().encode(), joined.encode(), repr(key).encode(), der):
        for shift in range(3):
            # the last piece depends on where the text ends
            found |= _blocks(base64.b64encode(data[shift:]).decode()[:-4])
            found |= _blocks(base64.urlsafe_b64encode(data[shift:]).decode()[:-4])
        found |= _blocks(data.hex()) | _blocks(data.hex().upper())
    return frozenset(found)


def _blocks(text: str) -> set[str]:
    return {text[at : at + BLOCK] for at in range(0, len(text) - BLOCK + 1, BLOCK)}


def _common(key: str) -> frozenset[str]:
    loaded = serialization.load_pem_private_key(key.encode(), None)
    return _same_in_all(loaded.key_size if isinstance(loaded, rsa.RSAPrivateKey) else 0)


@functools.cache
def _same_in_all(rsa_size: int) -> frozenset[str]:
    def make() -> str:
        made = rsa.generate_private_key(65537, rsa_size) if rsa_size else ec.generate_private_key(ec.SECP256R1())
        encryption = serialization.NoEncryption()
        return made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()

    return _forms(make()) & _forms(make())


def _public(key: str) -> frozenset[str]:
    """What of the key stands in its certificate as well, at whatever offset."""
    public = serialization.load_pem_private_key(key.encode(), None).public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        data = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
    else:
        data = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    texts = [data.hex(), data.hex().upper()]
    for pad in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # the first and the last piece depend on what is around it
            texts.append(encode(b"\0" * pad + data).decode()[4:-4])
    return frozenset(text[at : at + BLOCK] for text in texts for at in range(len(text) - BLOCK + 1))
