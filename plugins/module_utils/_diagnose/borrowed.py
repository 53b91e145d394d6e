# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a request through nginx arrived with another client's identity: it is compared with the same request alone. Pure."""

from __future__ import annotations

from typing import Any, Optional

from .._probe import echo

Result = dict[str, Any]

# the gateway refuses the client, not the request
_CLIENT_REFUSED = {
    "CLIENT_CERT_MISSING",
    "CLIENT_CERT_UNTRUSTED",
    "CLIENT_CERT_EXPIRED",
    "CLIENT_CERT_REFUSED",
    "CLIENT_NAME_NOT_PINNED",
    "EKU_NO_CLIENTAUTH",
}
# the gateway answers so on a connection of another host or another client
_ELSEWHERE = {"HOST_NOT_ROUTED", "MISDIRECTED_REQUEST", "RBAC_DENIED"}


def borrowed(alone: Result, after: Result) -> str:
    """A clause that says whose identity arrived instead of the request's own; "" where nothing shows it.

    :param alone: the request past nginx, over a connection of its own.
    :param after: the request through nginx, after another one that left a connection and a session there.
    """
    if not arrived(after):
        return ""
    own, seen = who(alone), who(after)
    if own is not None and seen is not None and own != seen:
        return f"it arrives as {seen or 'nobody'}, and alone as {own or 'nobody'}"
    if alone["code"] in _CLIENT_REFUSED:
        return f"it is let in, and alone it is refused ({alone['code']})"
    for one, other in ((alone, after), (after, alone)):
        if one["code"] in _ELSEWHERE and arrived(other) and not other["code"]:
            return f"the gateway answers {_status(after)}, and alone {_status(alone)}"
    return ""


def kept(alone: Result, after: Result) -> str:
    """A clause that says why the request certainly arrived with its own identity; "" where nothing shows it."""
    own, seen = who(alone), who(after)
    if arrived(after) and seen is not None and seen == own:
        return f"arrives as {seen or 'nobody'}, as alone"
    if alone["code"] in _CLIENT_REFUSED and not arrived(after):
        return f"is refused, as alone ({alone['code']})"
    return ""


def arrived(result: Result) -> bool:
    """Whether the answer comes from behind nginx."""
    return bool(result.get("http")) and not str(result["code"]).startswith("NGINX_")


def who(result: Result) -> Optional[str]:
    """The gateway's client as the app received it: subject and hash of its certificate; "" for none, None where the answer does not tell.

    Behind a gateway that asks for no certificate the app's sidecar names the gateway. Its SPIFFE name is taken then, because each pod of
    the gateway has a certificate of its own.
    """
    headers = echo.received(str((result.get("http") or {}).get("body") or ""))
    if headers is None:
        return None
    elements = echo.client_certificates(headers.get("x-forwarded-client-cert", ""))
    if not elements:
        return ""
    first = elements[0]
    if first.get("by", "").startswith("spiffe://") and first.get("uri", "").startswith("spiffe://"):
        return first["uri"]
    return " ".join(f"{key.capitalize()}={first[key]}" for key in ("subject", "hash") if first.get(key))


def _status(result: Result) -> int:
    return int((result.get("http") or {}).get("status") or 0)
