# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates as they lie on a VM. Only CERTIFICATE blocks ever leave it: a key may stand in the same file."""

from __future__ import annotations

from typing import Any

from ..._pem import blocks
from ..._routes.schema import Route
from ..certificates import certificate
from .material import public_files

#: Prints each file's name and its certificates, and nothing else of it (GNU sed).
COMMAND = ["sed", "--separate", "--quiet", "-e", "1F", "-e", "/-----BEGIN CERTIFICATE-----/,/-----END CERTIFICATE-----/p"]

_USES = {
    "listener": "nginx presents",
    "listener_ca": "vouches for nginx",
    "gateway_ca": "nginx verifies the gateway with",
    "client": "nginx shows the gateway",
}


def paths(routes: list[Route], folder: str) -> list[str]:
    """The files to read, each once."""
    return sorted({path for route in routes for path in public_files(route, folder).values() if path})


def read(printed: str) -> dict[str, str]:
    """PEM by path, from what :data:`COMMAND` printed."""
    found: dict[str, str] = {}
    path, block = "", False
    for line in printed.splitlines():
        # a line of base64 may begin with / too
        if line.startswith("/") and not block:
            path = line
            continue
        block = line != "-----END CERTIFICATE-----" and (block or line == "-----BEGIN CERTIFICATE-----")
        found[path] = found.get(path, "") + line + "\n"
    return {path: "\n".join(pem) + "\n" for path, text in found.items() if path and (pem := blocks(text))}


def trust(routes: list[Route], files: dict[str, str], folder: str, given: str = "") -> dict[str, str]:
    """What clients verify nginx with, by route: what is given, else the CA beside nginx's certificate, else the route's own CA.

    The latter two only where they signed it; a route that has none of them is left to the client's system's CAs. Where nginx passes
    TLS on, clients see the gateway's certificate, for which the route's own CA vouches.
    """
    found = {}
    for route in routes:
        paths_, passed = public_files(route, folder), route.listen.mode == "passthrough"
        issuers = {each["issuer"] for each in _facts(files.get(paths_["listener"], ""))}
        candidates = [given, *(files.get(paths_[use], "") for use in ("listener_ca", "gateway_ca"))]
        signed = (text for text in candidates if text == given or passed or issuers & {each["subject"] for each in _facts(text)})
        found[route.name] = next(filter(None, signed), "")
    return {name: text for name, text in found.items() if text}


def fingerprints(files: dict[str, str]) -> dict[str, str]:
    """SHA-256 of each file's first certificate; files that can't be read are left out."""
    return {path: found[0]["sha256"] for path, text in files.items() if (found := _facts(text))}


def certificates(routes: list[Route], vm: str, files: dict[str, str], folder: str) -> list[dict[str, Any]]:
    """The report's entries for the certificates in a VM's files: of a chain the leaf, of a bundle of CAs all."""
    return [
        certificate(each, _USES[use], route.name, [f"{vm}:{path}"])
        for route in routes
        for use, path in public_files(route, folder).items()
        for each in _facts(files.get(path, ""))[: None if use.endswith("_ca") else 1]
    ]


def _facts(text: str) -> list[dict[str, Any]]:
    from ..._x509 import pem  # needs cryptography, which only the controller has to have
    from ..._x509.facts import facts

    try:
        return [facts(each) for each in pem.load(text)] if text else []
    except pem.PemError:
        return []
