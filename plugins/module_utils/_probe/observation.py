# SPDX-License-Identifier: GPL-3.0-or-later
"""What a probe saw on the wire, in a form that travels as JSON from the host to the controller."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Failure:
    """Where and how a probe ended before its last phase.

    ``kind``: no_address, refused, unreachable, denied, timeout, closed (the peer ended the connection in an orderly
    way or not at all), reset, alert, tls (an error of our own TLS library), certificate (our client certificate can't
    be used), garbled (no HTTP).
    """

    phase: str
    kind: str
    alert: int | None = None
    reason: str = ""
    text: str = ""


@dataclass
class TlsSeen:
    """The handshake. ``chain``: base64 DER, leaf first; ``chain_from`` says how it could be read.

    ``requested``: whether the server asked for a client certificate (None: this Python can't tell); ``authorities``:
    base64 DER names of the CAs it takes, where it names any. ``client``: base64 DER of the certificates we showed.
    """

    version: str = ""
    cipher: str = ""
    alpn: str = ""
    chain: list[str] = field(default_factory=list)
    chain_from: str = ""
    requested: bool | None = None
    authorities: list[str] = field(default_factory=list)
    client: list[str] = field(default_factory=list)
    library: str = ""


@dataclass
class HttpSeen:
    """The answer. ``body`` is cut at the limit, with undecodable bytes replaced. ``before``: statuses of the requests before it."""

    status: int = 0
    version: str = ""
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    body_bytes: int = 0
    truncated: bool = False
    before: list[int] = field(default_factory=list)


@dataclass
class Observation:
    """One probe. ``times`` are milliseconds by phase; ``not_tested`` maps a phase to why it wasn't."""

    started: str = ""
    source: str = ""
    connected: str = ""
    addresses: list[str] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    tls: TlsSeen | None = None
    http: HttpSeen | None = None
    failure: Failure | None = None
    not_tested: dict[str, str] = field(default_factory=dict)
    attempts: int = 1

    def as_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Observation:
        """The reverse of :meth:`as_dict`."""
        seen = dict(data)
        for name, kind in (("tls", TlsSeen), ("http", HttpSeen), ("failure", Failure)):
            if seen.get(name) is not None:
                seen[name] = kind(**seen[name])
        return cls(**seen)

    @property
    def likeness(self) -> tuple[Any, ...]:
        """Two attempts with equal likeness saw the same thing."""
        failure = self.failure and (self.failure.phase, self.failure.kind, self.failure.alert)
        return (failure, self.http and self.http.status, self.tls and tuple(self.tls.chain[:1]), tuple(self.not_tested))
