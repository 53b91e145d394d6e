"""Whether a request through nginx arrived as somebody else: the same request alone against one that follows another's. Pure."""

from __future__ import annotations

from typing import Any, Optional

from .._probe import echo

Result = dict[str, Any]

# refusals that are about who the client is
_NOBODY = {
    "CLIENT_CERT_MISSING",
    "CLIENT_CERT_UNTRUSTED",
    "CLIENT_CERT_EXPIRED",
    "CLIENT_CERT_REFUSED",
    "CLIENT_NAME_NOT_PINNED",
    "EKU_NO_CLIENTAUTH",
}
# what a gateway answers on a connection that is another host's, or another client's
_ELSEWHERE = {"HOST_NOT_ROUTED", "MISDIRECTED_REQUEST", "RBAC_DENIED"}
# nginx's own answers: the request did not arrive
_OWN = ("NGINX_",)


def borrowed(alone: Result, after: Result) -> str:
    """A clause that says what arrived in place of the request's own identity; "" where nothing shows that it did.

    :param alone: the very request, sent past nginx over a connection of its own.
    :param after: the request through nginx, after another one whose connection and session it may find there.
    """
    if not arrived(after):
        return ""
    own, seen = who(alone), who(after)
    if own is not None and seen is not None and own != seen:
        return f"it arrives as {seen or 'nobody'}, and alone as {own or 'nobody'}"
    if alone["code"] in _NOBODY:
        return f"it is let in, and alone it is refused ({alone['code']})"
    for one, other in ((alone, after), (after, alone)):
        if one["code"] in _ELSEWHERE and arrived(other) and not other["code"]:
            return f"the gateway answers {_status(after)}, and alone {_status(alone)}"
    return ""


def kept(alone: Result, after: Result) -> str:
    """A clause that says how it shows that the request arrived as itself; "" where nothing shows it."""
    own, seen = who(alone), who(after)
    if arrived(after) and seen is not None and seen == own:
        return f"arrives as {seen or 'nobody'}, as alone"
    if alone["code"] in _NOBODY and not arrived(after):
        return f"is refused, as alone ({alone['code']})"
    return ""


def arrived(result: Result) -> bool:
    """Whether somebody behind nginx answered."""
    return bool(result.get("http")) and not str(result["code"]).startswith(_OWN)


def who(result: Result) -> Optional[str]:
    """Who the app says the gateway's client was; "" for nobody, None where the answer does not tell.

    The client certificate's subject and hash. Behind a gateway that asks for none, the app's own proxy still names the gateway: that is by
    its SPIFFE name, because each pod of the gateway has a certificate of its own.
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
