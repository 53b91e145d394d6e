# SPDX-License-Identifier: GPL-3.0-or-later
"""What the app received, as far as it tells: the request headers in the body of an echo app."""

from __future__ import annotations

import json
import re
from typing import Any, Optional

_LINE = re.compile(r"^(?:RequestHeader=)?\s*([A-Za-z][A-Za-z0-9-]*)\s*[:=]\s*(.*?)\s*$")
# every request has one of these, so a body without them isn't an echo
_ALWAYS = {"host", "user-agent", "x-forwarded-for", "x-forwarded-proto"}


def received(body: str) -> Optional[dict[str, str]]:
    """The headers that the app shows, by lower-case name; None when the body is no echo.

    Understood: a JSON object with ``headers`` (go-httpbin, httpbin, http-https-echo, values as text or list), and lines
    ``Name: value`` or ``RequestHeader=Name:value`` (Istio's own echo, traefik/whoami).
    """
    try:
        document = json.loads(body)
    except ValueError:
        matches = (_LINE.match(line) for line in body.splitlines())
        headers = {match.group(1).lower(): match.group(2) for match in matches if match}
    else:
        headers = _from_json(document)
    return headers if _ALWAYS & headers.keys() else None


def _from_json(document: Any) -> dict[str, str]:
    if not isinstance(document, dict):
        return {}
    found = next((value for key, value in document.items() if str(key).lower() == "headers" and isinstance(value, dict)), document)
    return {str(name).lower(): ", ".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in found.items()}


def client_certificates(header: str) -> list[dict[str, str]]:
    """The elements of X-Forwarded-Client-Cert, outermost proxy first, each as ``{"by": ..., "hash": ..., "uri": ...}``.

    Keys are lower case; values may be quoted and then hold commas and semicolons. A key that comes twice keeps both values, by blank.
    """
    elements: list[dict[str, str]] = []
    for element in _outside_quotes(header, ","):
        pairs: dict[str, str] = {}
        for pair in _outside_quotes(element, ";"):
            key, _equals, value = pair.strip().partition("=")
            key, value = key.lower(), value.strip('"').replace('\\"', '"')
            if key:
                pairs[key] = f"{pairs[key]} {value}" if key in pairs else value
        if pairs:
            elements.append(pairs)
    return elements


def _outside_quotes(text: str, separator: str) -> list[str]:
    parts, quoted, current = [], False, ""
    previous = ""
    for char in text:
        if char == '"' and previous != "\\":
            quoted = not quoted
        if char == separator and not quoted:
            parts.append(current)
            current = ""
        else:
            current += char
        previous = char
    return [*parts, current]
