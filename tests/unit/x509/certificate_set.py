# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of certificates that somebody presents and somebody else judges."""

from __future__ import annotations

from dataclasses import dataclass

from plugins.module_utils._x509 import chain
from tests.unit.x509.pki import Pair

NAME = "shop.example.com"


@dataclass(frozen=True)
class Set:
    """What a peer presents, and what is trusted.

    :ivar nginx: the expected code in the set's own role, "" = accepted; likewise ``envoy``.
    :ivar chain: leaf first.
    :ivar purpose: its own role; every set is judged in the other one too.
    :ivar name: what must be covered in its own role.
    :ivar ca_text: the CA file, where it is not simply the certificates.
    :ivar depth: nginx's verify depth.
    """

    title: str
    chain: tuple[Pair, ...]
    ca: tuple[Pair, ...]
    nginx: str
    envoy: str
    purpose: str = "server"
    name: str | None = NAME
    ca_text: str | None = None
    depth: int = 9

    @property
    def chain_pem(self) -> str:
        return "".join(each.pem for each in self.chain)

    @property
    def ca_pem(self) -> str:
        return "".join(each.pem for each in self.ca) if self.ca_text is None else self.ca_text

    def name_as(self, purpose: str) -> str | None:
        """The name that must be covered in a role. nginx always checks a server's."""
        return self.name if purpose == self.purpose else {"server": NAME, "client": None}[purpose]

    def verdict(self, rules: str, purpose: str) -> chain.Verdict:
        """What we say."""
        name = self.name_as(purpose)
        return chain.verify(
            self.chain_pem, self.ca_pem, rules=rules, purpose=purpose, name=name, depth=self.depth if rules == "nginx" else None
        )
