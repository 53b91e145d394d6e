# SPDX-License-Identifier: GPL-3.0-or-later
"""A private CA as it is kept, and how it gives way to the next: both are trusted until every leaf has moved.

A roll-over has three steps, each a change of one object, so that a killed run leaves the state before or after it:

1. ``add`` makes the successor. It signs nothing yet, but is among the trusted certificates, which copies and exports take along.
2. ``switch`` lets it sign. Leaves are issued anew; the predecessor stays trusted.
3. ``finish`` no longer trusts the predecessor.

``cancel`` takes back ``add``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Optional

from .._errors import EdgeError
from .._x509 import chain, facts, pem
from .._x509.library import x509
from .._x509.material import Material, from_secret

ADD, SWITCH, FINISH, CANCEL = STAGES = ("add", "switch", "finish", "cancel")
CERTIFICATE, KEY, TRUST = "tls.crt", "tls.key", "ca.crt"
NEXT_CERTIFICATE, NEXT_KEY = "next.crt", "next.key"
_BLOCK = re.compile(rb"-----BEGIN [^-]+-----.*?-----END [^-]+-----", re.DOTALL)


@dataclass(frozen=True)
class Authority:
    """
    :ivar signing: what leaves are made with; its ``ca`` is all that is trusted.
    :ivar successor: made, and trusted, but not signing yet; None but between ``add`` and ``switch``.
    """

    signing: Material
    successor: Optional[Material] = None

    @property
    def trusted(self) -> list[x509.Certificate]:
        """What verifies leaves of this CA, of its successor and of its predecessor."""
        return self.signing.trust

    @property
    def retiring(self) -> list[x509.Certificate]:
        """Trusted CAs that no longer sign."""
        path = chain.in_order([*self.signing.certs, *self.trusted], self.signing.key)
        stays = [*path, *(self.successor.certs if self.successor else [])]
        return [each for each in self.trusted if each not in stays]

    def step(self, stage: str, new: Callable[[], Optional[Material]], where: str) -> Optional[Authority]:
        """This CA after one step of a roll-over; unchanged where the step is done already. None: only the run can make it.

        :param new: makes the successor.
        :raises EdgeError: ROLL_OVER_ORDER.
        """
        if stage == ADD and not self.successor and not self.retiring:
            made = new()
            return self._trusting([*self.trusted, *made.certs], made) if made else None
        if stage == SWITCH and self.successor:
            following = Material(self.successor.certs, self.successor.key, [*self.successor.certs, *self.trusted])
            return Authority(following)._trusting(following.ca)
        if stage == SWITCH and not self.retiring:
            raise _order(where, "there is no second CA to switch to", "add it, and let everybody who verifies trust it")
        if stage == FINISH and self.successor:
            raise _order(where, "the second CA does not sign yet", "switch to it, and let every leaf be issued anew")
        if stage == FINISH:
            gone = self.retiring
            return self._trusting([each for each in self.trusted if each not in gone])
        if stage == CANCEL and self.successor:
            added = self.successor.certs
            return self._trusting([each for each in self.trusted if each not in added])
        if stage == CANCEL and self.retiring:
            raise _order(where, "the second CA signs already, so there is no way back", "finish, and roll over once more if need be")
        return self

    def _trusting(self, certs: list[x509.Certificate], successor: Optional[Material] = None) -> Authority:
        return Authority(replace(self.signing, ca=list(dict.fromkeys(certs))), successor)


def _order(where: str, what: str, first: str) -> EdgeError:
    return EdgeError(what, where=where, fix=f"First {first}", code="ROLL_OVER_ORDER")


def load(secret: dict[str, Any]) -> Authority:
    """The CA in a Secret.

    :raises EdgeError: an entry can't be read.
    """
    data = secret.get("data") or {}
    following: dict[str, Optional[str]] = {"certificate": NEXT_CERTIFICATE, "key": NEXT_KEY}
    successor = from_secret(secret, following) if NEXT_CERTIFICATE in data or NEXT_KEY in data else None
    return Authority(from_secret(secret), successor and Material(successor.certs, successor.key))


def dump(authority: Authority) -> dict[str, bytes]:
    """The entries of a Secret."""
    entries = {
        CERTIFICATE: pem.dump(authority.signing.certs).encode("ascii"),
        KEY: authority.signing.key_pem(),
        TRUST: pem.dump(authority.trusted).encode("ascii"),
    }
    if authority.successor:
        entries[NEXT_CERTIFICATE] = pem.dump(authority.successor.certs).encode("ascii")
        entries[NEXT_KEY] = authority.successor.key_pem()
    return entries


def load_file(text: bytes, where: str) -> Authority:
    """The CA in one PEM file: its key, then perhaps its successor's, and all trusted certificates, those of the keys first."""
    blocks = [(b"PRIVATE KEY" in each[:40], each) for each in _BLOCK.findall(text)]
    keys = [pem.private_key(each, where) for is_key, each in blocks if is_key]
    certs = pem.certificates(b"\n".join(each for is_key, each in blocks if not is_key), where)
    pairs = [Material([each for each in certs if facts.key_matches(key, each)], key) for key in keys[:2]]
    signing = pairs[0] if pairs else Material()
    return Authority(replace(signing, ca=certs), pairs[1] if len(pairs) > 1 else None)


def dump_file(authority: Authority) -> bytes:
    """One file, so that it is replaced whole."""
    keys = [authority.signing.key_pem(), *([authority.successor.key_pem()] if authority.successor else [])]
    first = [*authority.signing.certs, *(authority.successor.certs if authority.successor else [])]
    return b"".join(keys) + pem.dump(list(dict.fromkeys([*first, *authority.trusted]))).encode("ascii")
