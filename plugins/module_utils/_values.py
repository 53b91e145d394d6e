# SPDX-License-Identifier: GPL-3.0-or-later
"""Typed values for nginx configuration: what is accepted needs no quoting, everything else is rejected.

nginx has no escape for ``$``, and an unquoted ``;`` or newline opens a new directive, so nothing here escapes. Each
function takes what a variable may hold (text or number), and the place to name in the error, and returns canonical text.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any

from ._errors import EdgeError
from ._quoted import KEY, may_be_key

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_FILE_PATH = re.compile(r"/[A-Za-z0-9/._+@=:,-]*")
_URL_PATH = re.compile(r"/[A-Za-z0-9/._~+,=:@-]*")
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_CIPHERS = re.compile(r"[A-Za-z0-9!][A-Za-z0-9+:!@=_-]{0,1023}")
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)?")
_SIZE = re.compile(r"([0-9]{1,9})([kmg])?", re.IGNORECASE)
_RATE = re.compile(r"([0-9]{1,6})r/([sm])")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_YEAR = 366 * 86400
_TERABYTE = 1 << 40


def _refuse(value: Any, where: str, what: str, fix: str) -> EdgeError:
    shown = repr(value)
    if may_be_key(shown):
        shown = KEY
    elif len(shown) > 80:
        shown = shown[:77] + "..."
    return EdgeError(f"{shown} is not {what}", where=where, fix=fix, code="BAD_VALUE")


def _text(value: Any, where: str, what: str, fix: str) -> str:
    """``value`` as text; a boolean, a list or nothing at all never stands for a value of ours."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise _refuse(value, where, what, fix)
    return str(value)


def hostname(value: Any, where: str = "", wildcard: bool = False) -> str:
    """A DNS name, in lower case; with ``wildcard`` also ``*.example.com``."""
    what = "a host name"
    fix = "Write a DNS name such as shop.example.com" + (" or *.example.com" if wildcard else "") + " (other scripts as xn-- labels)"
    text = _text(value, where, what, fix).lower()
    labels = text.split(".")
    if wildcard and len(labels) > 2 and labels[0] == "*":
        del labels[0]
    # an all-digit last label would make it an address, which SNI can't carry
    if len(text) > 253 or labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refuse(value, where, what, fix)
    return text


def map_name(value: Any, where: str = "") -> str:
    """A host name, also ``*.example.com``, as an entry of nginx's ``map``, which takes some words for something else."""
    text = hostname(value, where, wildcard=True)
    if text in ("default", "hostnames", "include", "volatile"):
        raise _refuse(value, where, "a name for nginx's map, where it has another meaning", "Write the full name, with its domain")
    return text


def port(value: Any, where: str = "") -> str:
    """A TCP port, 1 to 65535."""
    return integer(value, where, 1, 65535, what="a port")


def integer(value: Any, where: str = "", least: int = 0, most: int = 2**31 - 1, what: str = "a whole number") -> str:
    """A whole number in a range."""
    fix = f"Write a number from {least} to {most}"
    text = _text(value, where, what, fix)
    if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise _refuse(value, where, what, fix)
    return str(int(text))


def address(value: Any, where: str = "") -> str:
    """An IPv4 or IPv6 address, the latter in the brackets that nginx wants."""
    what, fix = "an IP address", "Write an address such as 192.0.2.7 or 2001:db8::7"
    text = _text(value, where, what, fix)
    try:
        # Python 3.9 accepts a scope ("fe80::1%x;") and leaves its text unchecked
        found = ipaddress.ip_address(text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text) if "%" not in text else None
    except ValueError:
        found = None
    if found is None or isinstance(value, int):
        raise _refuse(value, where, what, fix)
    return f"[{found}]" if found.version == 6 else str(found)


def endpoint(value: Any, where: str = "") -> str:
    """``host:port``, host being an address (IPv6 in brackets) or a DNS name."""
    what, fix = "an address with a port", "Write it as 192.0.2.7:30443, [2001:db8::7]:30443 or gateway.example.com:443"
    host, colon, number = _text(value, where, what, fix).rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        raise _refuse(value, where, what, fix)
    try:
        name = address(host) if host.startswith("[") or host.replace(".", "").isdigit() else hostname(host)
        return f"{name}:{port(number)}"
    except EdgeError:
        raise _refuse(value, where, what, fix) from None


def cidr(value: Any, where: str = "") -> str:
    """A network such as 192.0.2.0/24, without bits set right of the mask; an address alone stands for itself."""
    what, fix = "a network", "Write it as 192.0.2.0/24 or 2001:db8::/32"
    text = _text(value, where, what, fix)
    try:
        found = ipaddress.ip_interface(text) if "%" not in text and not isinstance(value, int) else None
    except ValueError:
        found = None
    # Python accepts "10.0.0.0/255.0.0.0" too; one notation is enough
    if found is None or not re.fullmatch(r"[0-9a-fA-F.:]+(?:/[0-9]{1,3})?", text):
        raise _refuse(value, where, what, fix)
    if found.ip != found.network.network_address:
        raise _refuse(value, where, what, f"Write {found.network}, or {found.ip} for the one address")
    return str(found.network)


def file_path(value: Any, where: str = "") -> str:
    """An absolute path of a file or a folder, without ``..``."""
    return _path(
        value, where, _FILE_PATH, "an absolute path", "Write an absolute path without .. that has only letters, digits and ._+@=:,-"
    )


def url_path(value: Any, where: str = "") -> str:
    """The path of a URL as nginx compares it: decoded, absolute, without ``..``."""
    return _path(value, where, _URL_PATH, "a URL path", "Write a path that starts with / and has only letters, digits and ._~+,=:@-")


def _path(value: Any, where: str, pattern: re.Pattern[str], what: str, fix: str) -> str:
    text = _text(value, where, what, fix)
    if len(text) > 1024 or not pattern.fullmatch(text) or ".." in text.split("/"):
        raise _refuse(value, where, what, fix)
    return text


def duration(value: Any, where: str = "") -> str:
    """A time such as 500ms, 5s, 10m, 12h or 30d, at most a year; a bare number means seconds."""
    what, fix = "a duration", "Write a number with ms, s, m, h or d, such as 60s"
    match = _DURATION.fullmatch(_text(value, where, what, fix))
    if not match or int(match[1]) * _SECONDS[match[2] or "s"] > _YEAR:
        raise _refuse(value, where, what, fix)
    return f"{int(match[1])}{match[2] or 's'}"


def seconds(checked: str) -> float:
    """How long a :func:`duration` is."""
    match = _DURATION.fullmatch(checked)
    return int(match[1]) * _SECONDS[match[2] or "s"] if match else 0


def size(value: Any, where: str = "") -> str:
    """A size such as 512, 16k, 10m or 1g, in bytes without a unit, at most 1 TiB."""
    what, fix = "a size", "Write a number of bytes, or one with k, m or g, such as 10m"
    match = _SIZE.fullmatch(_text(value, where, what, fix))
    unit = (match[2] or "").lower() if match else ""
    if not match or int(match[1]) * _BYTES[unit] > _TERABYTE:
        raise _refuse(value, where, what, fix)
    return f"{int(match[1])}{unit}"


def rate(value: Any, where: str = "") -> str:
    """How many requests in a second or a minute: 10r/s, 600r/m."""
    what, fix = "a rate", "Write requests per second or minute, such as 10r/s or 600r/m"
    match = _RATE.fullmatch(_text(value, where, what, fix))
    if not match or int(match[1]) == 0:
        raise _refuse(value, where, what, fix)
    return f"{int(match[1])}r/{match[2]}"


def header(value: Any, where: str = "") -> str:
    """The name of an HTTP header."""
    return _match(value, where, _HEADER, "a header name", "Write letters, digits, - and _ only, such as X-Request-Id")


def identifier(value: Any, where: str = "") -> str:
    """A name for an nginx variable (without ``$``), a zone or an upstream."""
    return _match(value, where, _IDENTIFIER, "an identifier", "Write letters, digits and _ only, not starting with a digit")


def name(value: Any, where: str = "") -> str:
    """The name of a route, a file or a Kubernetes object."""
    return _match(value, where, _NAME, "a name", "Write letters, digits, -, _ and . only, starting and ending with a letter or digit")


def ciphers(value: Any, where: str = "") -> str:
    """A list of ciphers in OpenSSL's notation."""
    return _match(value, where, _CIPHERS, "a cipher list", "Write it as OpenSSL does, such as ECDHE+AESGCM:ECDHE+CHACHA20")


def _match(value: Any, where: str, pattern: re.Pattern[str], what: str, fix: str) -> str:
    text = _text(value, where, what, fix)
    if not pattern.fullmatch(text):
        raise _refuse(value, where, what, fix)
    return text


def choice(value: Any, where: str, allowed: Sequence[str]) -> str:
    """One of the words in ``allowed``."""
    if not isinstance(value, str) or value not in allowed:
        raise _refuse(value, where, "one of the allowed words", "Use one of: " + ", ".join(allowed))
    return value


def boolean(value: Any, where: str = "") -> bool:
    """A truth value; text as Ansible reads it (survey answers and extra variables are strings)."""
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else value
    if isinstance(word, (str, int)):
        if word in ("true", "yes", "on", "1", "y", "t", 1):
            return True
        if word in ("false", "no", "off", "0", "n", "f", 0):
            return False
    raise _refuse(value, where, "true or false", "Write true or false")


#: The types by the name that templates use.
TYPES: dict[str, Callable[[Any, str], str]] = {
    "address": address,
    "cidr": cidr,
    "ciphers": ciphers,
    "duration": duration,
    "endpoint": endpoint,
    "file_path": file_path,
    "header": header,
    "hostname": hostname,
    "identifier": identifier,
    "integer": integer,
    "map_name": map_name,
    "name": name,
    "port": port,
    "rate": rate,
    "size": size,
    "url_path": url_path,
}
