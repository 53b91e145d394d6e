# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM: what a plan is told about it, and what was found on it."""

# ruff: noqa: RUF009 - of() makes fields, as dataclasses.field() does
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..._probe.spec import Path
from ..._routes.places import TLS_DIR
from ..._schema.fields import integer, list_of, mapping, of, text
from ..._schema.kinds import file_path
from .. import kind
from ..kind import lines


def _addresses(value: Any, where: str) -> dict[str, list[str]]:
    return {name: list_of(text)(each, f"{where}.{name}") for name, each in mapping(value, where).items()}


@dataclass(frozen=True)
class Given(kind.Given):
    """What a plan is told.

    :param address: where clients reach the VM's nginx.
    :param clients: inventory names of those who ask through it.
    :param pod: the inventory name of a pod that probes from inside the cluster, or "" with the reason in ``no_pod``.
    :param apps: what pod_port_info found of the routes' Services.
    :param gateways: lists of ``host:port`` by gateway name; when empty they follow from ``services``.
    :param services: what node_port_info found of the gateways' Services.
    :param nginx: the command that runs nginx, in words.
    :param material: the folder for what comes from Secrets.
    :param listener_ca: PEM of the CA that clients verify nginx with; "" takes the one that signed its certificate, else their system's.
    :param client_ca_file: the system's CAs on clients.
    :param repeat: how many answers in a row ``path.repeat`` asks for.
    :param echo_path: a path where the app answers with the headers that it received; "" when there is none.
    :param websocket_path: a path where the app takes WebSocket upgrades; "" when there is none.
    """

    address: str = of(text)
    clients: list[str] = of(list_of(text), [])
    pod: str = of(text, "")
    no_pod: str = of(text, "no pod probes from inside the cluster")
    apps: list[dict[str, Any]] = of(list_of(mapping), [])
    gateways: dict[str, list[str]] = of(_addresses, {})
    services: list[dict[str, Any]] = of(list_of(mapping), [])
    nginx: list[str] = of(list_of(text), ["nginx"])
    material: str = of(file_path, TLS_DIR)
    listener_ca: str = of(lines, "")
    client_ca_file: str = of(file_path, "/etc/ssl/certs/ca-certificates.crt")
    repeat: int = of(integer(1, 1000), 10)
    echo_path: str = of(text, "")
    websocket_path: str = of(text, "")


@dataclass(frozen=True)
class Upstream:
    """How an nginx speaks to the gateway: what stands in its configuration, resolved for a route's request.

    ``sni`` "" sends none; ``name`` is what the certificate is verified for (proxy_ssl_name); ``shared`` says who else goes there with
    another TLS identity over what nginx keeps. ``prefix`` is that of its directives.
    """

    addresses: tuple[str, ...] = ()
    sni: str = ""
    name: str = ""
    verify: bool = False
    verify_depth: int = 1
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    http_version: str = "1.0"
    host: str = ""
    shared: str = ""
    prefix: str = "proxy"


@dataclass(frozen=True)
class Turn:
    """A request by turns with one that nginx sends to the same place as another client.

    :param check: whose identity is looked at: ``path.own_identity`` or ``path.lent_identity``.
    :param target: which of the two comes after which.
    :param request: host and path of the one that comes after.
    :param after: the probe that sends both over one connection to nginx.
    :param alone: the probe that sends it past nginx, as nginx's configuration says.
    """

    check: str
    target: str
    request: tuple[str, str]
    after: Path
    alone: Path


@dataclass(frozen=True)
class Machine:
    """A VM as it was found.

    :param gateways: for each gateway's name the ``host:port`` that nginx should use.
    :param nginx: for each route's name how nginx's own configuration speaks to the gateway.
    :param nginx_unknown: for each route's name that ``nginx`` lacks the reason why.
    :param turns: for each route's name the requests by turns that show whose identity arrives.
    :param trust: for each route's name the CA certificates (PEM) that clients verify nginx with; without one, their system's.
    :param fingerprints: SHA-256 of the first certificate in a file, by path.
    """

    gateways: dict[str, list[str]] = field(default_factory=dict)
    nginx: dict[str, Upstream] = field(default_factory=dict)
    nginx_unknown: dict[str, str] = field(default_factory=dict)
    turns: dict[str, list[Turn]] = field(default_factory=dict)
    trust: dict[str, str] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
