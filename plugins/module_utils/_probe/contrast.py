"""When a cause is ambiguous on the wire: the same probe with one thing changed decides. Pure.

A server that hangs up may miss the server name, the PROXY header, or a host; only trying tells which.
"""

from __future__ import annotations

import copy
from typing import Any

from .classify import Found
from .observation import Observation
from .spec import Path, path

Options = dict[str, Any]

_AMBIGUOUS_TLS = {"NO_SNI", "WRONG_SNI", "PROXY_PROTOCOL_ONE_SIDED", "HANDSHAKE_TIMEOUT", "HANDSHAKE_FAILED", "TLS_CIPHER_GAP"}
_AMBIGUOUS_PLAIN = {"HTTP_NO_ANSWER", "HTTP_GARBLED", "HTTP_TIMEOUT"}


def variants(options: Options, code: str, alerted: bool = False) -> dict[str, Options]:
    """What to try after ``code``, by what is changed; {} where the code stands by itself.

    :param alerted: the server refused by a TLS alert.
    """
    made = path(options)
    if made.tls is not None and code in _AMBIGUOUS_TLS:
        return _tls_variants(options, made, alerted)
    if made.tls is None and code in _AMBIGUOUS_PLAIN:
        tries = {"tls": _changed(options, tls={"sni": _own_name(made), "rules": "none"}, http=None)}
        if not made.proxy_protocol:
            tries["proxy"] = _changed(options, proxy_protocol="v1")
        return tries
    if code == "HOST_NOT_ROUTED" and made.tls and made.http and made.tls.verify_name not in ("", made.http.host):
        return {"host": _changed(options, http={**options["http"], "host": made.tls.verify_name})}
    return {}


def _tls_variants(options: Options, made: Path, alerted: bool) -> dict[str, Options]:
    tls = options["tls"]
    tries: dict[str, Options] = {}
    name = _own_name(made)
    if made.tls and name != made.tls.sni:
        tries["sni"] = _changed(options, tls={**tls, "sni": name}, http=None)
    # who answers by an alert has read the hello, so it waits for no PROXY header in front of it
    if made.proxy_protocol or not alerted:
        other = None if made.proxy_protocol else "v1"
        tries["proxy"] = _changed(options, tls={**tls, "sni": name}, proxy_protocol=other, http=None)
    return tries


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


def _changed(options: Options, **parts: Any) -> Options:
    """A copy of a path's options with some replaced (None takes one away), expecting nothing, tried once."""
    variant = {key: copy.deepcopy(value) for key, value in {**options, **parts}.items() if value is not None}
    return {**variant, "consecutive": 1, "expect": {"refused": False}}
