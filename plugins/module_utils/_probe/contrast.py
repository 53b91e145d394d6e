# SPDX-License-Identifier: GPL-3.0-or-later
"""When a cause is ambiguous on the wire: the same probe with one thing changed decides. Pure.

A server that hangs up may miss the server name, the PROXY header, or a host; only trying tells which.
"""

from __future__ import annotations

from dataclasses import replace

from .classify import Found
from .observation import Observation
from .spec import Expect, Path, Tls

_AMBIGUOUS_TLS = {"NO_SNI", "WRONG_SNI", "PROXY_PROTOCOL_ONE_SIDED", "HANDSHAKE_TIMEOUT", "HANDSHAKE_FAILED", "TLS_CIPHER_GAP"}
_AMBIGUOUS_PLAIN = {"HTTP_NO_ANSWER", "HTTP_GARBLED", "HTTP_TIMEOUT"}


def variants(made: Path, code: str, alerted: bool = False) -> dict[str, Path]:
    """What to try after ``code``, by what is changed; {} where the code stands by itself.

    :param alerted: the server refused by a TLS alert.
    """
    once = replace(made, consecutive=1, expect=Expect())
    name = _own_name(made)
    other = "" if made.proxy_protocol else "v1"
    if made.tls is None and code in _AMBIGUOUS_PLAIN:
        tries = {"tls": replace(once, tls=Tls(sni=name, rules="none"), http=None)}
        return tries if made.proxy_protocol else {**tries, "proxy": replace(once, proxy_protocol=other)}
    if made.tls is not None and code in _AMBIGUOUS_TLS:
        named = replace(once, tls=replace(made.tls, sni=name), http=None)
        tries = {} if name == made.tls.sni else {"sni": named}
        # who answers by an alert has read the hello, so it waits for no PROXY header in front of it
        return tries if alerted and not made.proxy_protocol else {**tries, "proxy": replace(named, proxy_protocol=other)}
    if code == "HOST_NOT_ROUTED" and made.tls and made.http and made.tls.verify_name not in ("", made.http.host):
        return {"host": replace(once, http=replace(made.http, host=made.tls.verify_name))}
    return {}


def decide(made: Path, found: Found, seen: dict[str, Observation]) -> Found:
    """The cause in the light of what the variants saw."""
    if "tls" in seen and _speaks_tls(seen["tls"]):
        return Found("PLAINTEXT_TO_TLS_PORT", found.phase)
    if "sni" in seen and _speaks_tls(seen["sni"]):
        if made.tls and made.tls.sni:
            return Found("WRONG_SNI", found.phase, f"; the name {_own_name(made)} works")
        return Found("NO_SNI", found.phase)
    if "proxy" in seen and (_speaks_tls(seen["proxy"]) if made.tls else seen["proxy"].http is not None):
        side = "it is sent, and not expected" if made.proxy_protocol else "it is expected, and not sent"
        return Found("PROXY_PROTOCOL_ONE_SIDED", found.phase, f": {side}")
    if found.code == "PROXY_PROTOCOL_ONE_SIDED" and "proxy" in seen:
        return Found("WRONG_SNI" if made.tls and made.tls.sni else "NO_SNI", found.phase)
    host = seen.get("host")
    if host and host.http and host.http.status != 404:
        return Found(found.code, found.phase, f"; Host {made.tls.verify_name if made.tls else ''} is routed")
    return found


def _speaks_tls(seen: Observation) -> bool:
    """Whether a handshake got as far as a certificate."""
    return bool(seen.tls and seen.tls.chain)


def _own_name(made: Path) -> str:
    """The name that ought to be sent: the one that is verified, else the Host."""
    name = (made.tls.verify_name if made.tls else "") or (made.http.host.partition(":")[0] if made.http else "")
    return name or made.address
