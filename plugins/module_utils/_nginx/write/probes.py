# SPDX-License-Identifier: GPL-3.0-or-later
"""Each route as a client on the nginx host itself asks for it: data for ``edge_probe``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._probe.entry import entry
from ..._probe.spec import Expect, Http, Path, Tls
from ..._routes.schema import Route

#: Role ``verify`` proves the certificate; here nginx and the hops behind it must answer.
_ANSWERED = Expect(status=tuple(range(200, 500)))
#: only the gateway can ask for a certificate
_ASKED = Expect(refused=True, codes=("CLIENT_CERT_MISSING",))


def probe(route: Route, path: str = "/") -> dict[str, Any]:
    """The probe of a route.

    :param path: path and query to ask for.
    """
    tls = Tls(sni=route.host, rules="none") if route.listen.tls else None
    asks = route.listen.mode == "passthrough" and route.upstream_tls.mode == "mutual"
    http, expect = (None, _ASKED) if asks else (Http(path=path, host=route.host), _ANSWERED)
    return entry(Path(route.name, "127.0.0.1", route.listen.port, tls=tls, http=http, expect=expect))


def probes(plan: Mapping[str, Any], path: str = "/") -> list[dict[str, Any]]:
    """The probes of a plan (see the filter ``nginx_offload``).

    :param path: path and query to ask for.
    """
    asked = [each for part in plan["parts"] for each in part["probes"]]
    return [{**each, "http": {**each["http"], "path": path}} if each.get("http") else each for each in asked]
