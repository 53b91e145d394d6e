# SPDX-License-Identifier: GPL-3.0-or-later
"""Each route as a client on the nginx host itself asks for it: data for ``edge_probe``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..._probe.entry import entry
from ..._probe.spec import Expect, Http, Path, Tls

#: Role ``verify`` proves the certificate; here nginx and the hops behind it must answer.
_ANSWERED = Expect(status=tuple(range(200, 500)))
#: only the gateway can ask for a certificate
_ASKED = Expect(refused=True, codes=("CLIENT_CERT_MISSING",))
#: The probe's label in the place of a wildcard host's ``*.``.
_ANY = "edgemesh-probe."


def probes(plan: Mapping[str, Any], path: str = "/") -> list[dict[str, Any]]:
    """The probes of a plan (see the filter ``nginx_offload``).

    :param path: path and query to ask for.
    """
    return [entry(each) for each in (*_ended(plan["servers"], path), *_passed(plan["passed"], path))]


def _ended(servers: list[Mapping[str, Any]], path: str) -> Iterator[Path]:
    for server in servers:
        host = server["names"].split()[0].replace("*.", _ANY)
        yield _to(server, Tls(sni=host, rules="none") if server["tls"] else None, Http(path=path, host=host), _ANSWERED)


def _passed(passed: list[Mapping[str, Any]], path: str) -> Iterator[Path]:
    for route in passed:
        tls = Tls(sni=route["host"], rules="none")
        if route["asks"]:
            yield _to(route, tls, None, _ASKED)
        else:
            yield _to(route, tls, Http(path=path, host=route["host"]), _ANSWERED)


def _to(route: Mapping[str, Any], tls: Tls | None, http: Http | None, expect: Expect) -> Path:
    return Path(route["route"], "127.0.0.1", int(route["port"]), tls=tls, http=http, expect=expect)
