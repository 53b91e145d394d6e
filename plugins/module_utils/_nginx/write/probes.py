"""Each route as a client on the nginx host itself asks for it: data for ``edge_probe``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: Whose certificate it is, the role ``verify`` proves; here nginx and all behind it must answer.
_ANSWERED = {"status": ["200-499"]}
#: Of a host, what stands for ``*.``.
_ANY = "edgemesh-probe."


def probes(plan: Mapping[str, Any], path: str = "/") -> list[dict[str, Any]]:
    """The probes of a plan (see the filter ``nginx_offload``).

    :param path: path and query to ask for.
    """
    return [*_ended(plan["servers"], path), *_passed(plan["passed"], path)]


def _ended(servers: list[Mapping[str, Any]], path: str) -> Iterator[dict[str, Any]]:
    for server in servers:
        host = server["names"].split()[0].replace("*.", _ANY)
        tls = {"tls": {"sni": host, "rules": "none"}} if server["tls"] else {}
        yield {**_to(server), **tls, "http": {"path": path, "host": host}, "expect": _ANSWERED}


def _passed(passed: list[Mapping[str, Any]], path: str) -> Iterator[dict[str, Any]]:
    for route in passed:
        asked = {**_to(route), "tls": {"sni": route["host"], "rules": "none"}}
        if route["asks"]:
            # only the gateway can ask for a certificate
            yield {**asked, "expect": {"refused": True, "codes": ["CLIENT_CERT_MISSING"]}}
        else:
            yield {**asked, "http": {"path": path, "host": route["host"]}, "expect": _ANSWERED}


def _to(route: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": route["route"], "address": "127.0.0.1", "port": int(route["port"])}
