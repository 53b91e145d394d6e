# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks for a private key in anything that was printed, logged, stored or passed on a command line, in every form it may take."""

from __future__ import annotations

import base64
import functools
import operator
import os
import subprocess
import textwrap
from collections.abc import Iterable

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

WINDOW = 40
#: whatever 40 characters are cut out of a text, one whole block of this size is among them
BLOCK = WINDOW // 2
#: a block of which fewer characters than this are the key's own, and not every key's, is no secret and turns up by chance
OWN = 10


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
    """Every form of the key but for what is no secret in it: what stands around its numbers, and the public half."""
    pairs = [
        (text[at : at + BLOCK], other[at : at + BLOCK])
        for text, other in zip(_texts(key), _texts(_another(key)), strict=True)
        for at in range(0, len(text) - BLOCK + 1, BLOCK)
    ]
    return frozenset(block for block, other in pairs if sum(map(operator.ne, block, other)) >= OWN) - _public(key)


def _texts(key: str) -> list[str]:
    """Raw, stripped, by line, joined, in DER; and all of that in base64 (in its three alignments), URL-safe, and hex."""
    lines = [line for line in key.strip().splitlines() if "-----" not in line]
    joined = "".join(lines)
    texts = [*lines, joined, joined.translate(str.maketrans("+/", "-_"))]
    for data in (key.encode(), key.strip().encode(), joined.encode(), repr(key).encode(), base64.b64decode(joined)):
        for shift in range(3):
            # the last piece depends on where the text ends
            texts.append(base64.b64encode(data[shift:]).decode()[:-4])
            texts.append(base64.urlsafe_b64encode(data[shift:]).decode()[:-4])
        texts += [data.hex(), data.hex().upper()]
    return texts


def _another(key: str) -> str:
    """What another key would look like: the same but for the numbers, which are random (and belong together in no way)."""
    begin, *lines, end = key.strip().splitlines()
    der = base64.b64decode("".join(lines))
    public, private = _numbers(key)
    for number in (public, *private):
        assert number in der
        der = der.replace(number, os.urandom(len(number)))
    return "\n".join((begin, *textwrap.wrap(base64.b64encode(der).decode(), 64), end, ""))


def _numbers(key: str) -> tuple[bytes, list[bytes]]:
    """The public one (RSA's modulus, a point of the curve), and the private ones."""
    loaded = serialization.load_pem_private_key(key.encode(), None)
    if isinstance(loaded, rsa.RSAPrivateKey):
        of = loaded.private_numbers()
        private = [of.d, of.p, of.q, of.dmp1, of.dmq1, of.iqmp]
        return _bytes(of.public_numbers.n), [_bytes(number) for number in private]
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    point = loaded.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return point, [_bytes(loaded.private_numbers().private_value)]


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _public(key: str) -> frozenset[str]:
    """What of the key stands in its certificate as well, at whatever offset."""
    data, _private = _numbers(key)
    texts = [data.hex(), data.hex().upper()]
    for pad in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # the first and the last piece depend on what is around it
            texts.append(encode(b"\0" * pad + data).decode()[4:-4])
    return frozenset(text[at : at + BLOCK] for text in texts for at in range(len(text) - BLOCK + 1))
