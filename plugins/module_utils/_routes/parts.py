# SPDX-License-Identifier: GPL-3.0-or-later
"""What the routes of every scenario are made of: names of Secrets, key pairs, CAs, gateways, backends, probes."""

# ruff: noqa: RUF009 - of() makes fields, as dataclasses.field() does
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Optional

from .._schema import kinds
from .._schema.fields import boolean, choice, integer, list_of, nested, of, refuse, wrong_type
from .access import Access, Front, access_given, fits

# What a user leaves out and the run says: ``edge_namespace`` and ``edge_ca``, filled in by :mod:`.load`.
OWN_NAMESPACE = ""
OWN_CA_NAME = ""
ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname")


@dataclass(frozen=True)
class SecretName:
    """A Secret (or ConfigMap) by name; as text ``name`` or ``namespace/name``."""

    namespace: str = of(kinds.dns_label, OWN_NAMESPACE)
    name: str = of(kinds.object_name)

    @staticmethod
    def shorthand(value: Any, where: str) -> dict[str, Any]:
        """``name`` or ``namespace/name``."""
        if not isinstance(value, str):
            raise wrong_type(value, where, "the name of a Secret")
        namespace, _slash, name = value.strip().rpartition("/")
        return {"namespace": namespace, "name": name}


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its key: in a Secret, or already in files on the hosts that use it. A text names a Secret."""

    secret: Optional[SecretName] = of(nested(SecretName), None)
    cert_file: Optional[str] = of(kinds.file_path, None)
    key_file: Optional[str] = of(kinds.file_path, None)

    @staticmethod
    def shorthand(value: Any, where: str) -> dict[str, Any]:
        """The Secret's name."""
        return {"secret": SecretName.shorthand(value, where)}

    def finished(self, where: str) -> KeyPair:
        """Exactly one of the two forms."""
        files = (self.cert_file, self.key_file)
        if (self.secret is None) == (files == (None, None)) or (self.secret is None and None in files):
            raise refuse(where, "needs either secret, or both cert_file and key_file")
        return self


@dataclass(frozen=True)
class Authority:
    """CA certificates: in a Secret, or in a file on the hosts that use it. A text names a Secret."""

    secret: Optional[SecretName] = of(nested(SecretName), None)
    file: Optional[str] = of(kinds.file_path, None)

    @staticmethod
    def shorthand(value: Any, where: str) -> dict[str, Any]:
        """The Secret's name."""
        return {"secret": SecretName.shorthand(value, where)}

    def finished(self, where: str) -> Authority:
        """Exactly one of the two forms."""
        if (self.secret is None) == (self.file is None):
            raise refuse(where, "needs either secret or file")
        return self


OWN_CA = Authority(secret=SecretName(name=OWN_CA_NAME))


@dataclass(frozen=True)
class Gateway:
    """An ingress gateway of the mesh: where it lives, and how it is reached from outside."""

    name: str = of(kinds.name)
    namespace: str = of(kinds.dns_label, "istio-system")
    service: str = of(kinds.dns_label, "istio-ingressgateway")
    port: str = of(kinds.service_port, "https")  # of the Service: its name, or its number
    address: str = of(choice("node_ports", "load_balancer", "addresses"), "node_ports")
    addresses: list[str] = of(list_of(kinds.host_port), [])  # host:port, when address is "addresses"
    address_types: list[str] = of(list_of(choice(*ADDRESS_TYPES), some=True), list(ADDRESS_TYPES))
    istio_gateway: Optional[str] = of(kinds.namespaced_name, None)  # an existing Istio Gateway to attach routes to
    selector: dict[str, str] = of(kinds.labels, {})  # the gateway pods' labels; found from the Service when empty
    front: Front = of(nested(Front), Front(hops=1))
    access: Optional[Access] = of(access_given, None)  # who may come in, whatever the route

    def finished(self, where: str) -> Gateway:
        """Addresses given mean that these are used."""
        fits(self.access, self.front, f"{where}.access")
        if self.addresses and self.address == "node_ports":
            return dataclasses.replace(self, address="addresses")
        if (self.address == "addresses") != bool(self.addresses):
            raise refuse(f"{where}.addresses", "and address disagree", "Set address: addresses together with addresses: [host:port]")
        return self


@dataclass(frozen=True)
class UpstreamTls:
    """The TLS from nginx to the gateway. ``mode`` says what the gateway asks for."""

    mode: str = of(choice("simple", "mutual", "passthrough"), "simple")
    server_name: str = of(kinds.concrete_host, "")  # SNI, and the name that is verified; the route's host
    verify: bool = of(boolean, True)
    verify_depth: int = of(integer(1, 10), 3)
    server_ca: Authority = of(nested(Authority), OWN_CA)
    client_certificate: Optional[KeyPair] = of(nested(KeyPair), None)
    client_names: list[str] = of(list_of(kinds.host), [])  # names in the client certificate; the gateway accepts no others
    client_ca: Optional[Authority] = of(nested(Authority), None)  # who signs clients, for the gateway; server_ca
    credential: str = of(kinds.credential, "")  # the gateway's Secret, in its pods' namespace; edge-<route>

    def finished(self, where: str) -> UpstreamTls:
        """Client certificates exactly where the gateway asks for them."""
        if self.mode == "simple" and (self.client_certificate or self.client_ca or self.client_names):
            extra = next(name for name in ("client_certificate", "client_ca", "client_names") if getattr(self, name))
            raise refuse(
                f"{where}.{extra}", "is given, but mode is simple: the gateway won't ask for a client certificate", "Set mode: mutual"
            )
        if self.mode != "mutual":
            return self
        client_ca = self.client_ca or self.server_ca
        if client_ca.secret is None:
            raise refuse(f"{where}.client_ca", "must name a Secret: the gateway can't read a file of the VM")
        return dataclasses.replace(self, client_ca=client_ca)


@dataclass(frozen=True)
class Backend:
    """A Service in the mesh and its port."""

    namespace: str = of(kinds.dns_label)
    name: str = of(kinds.dns_label)
    port: int = of(kinds.port)


@dataclass(frozen=True)
class Probe:
    """The request that proves the route, and the answer that is right."""

    path: str = of(kinds.url_path, "/")
    status: int = of(integer(100, 599), 200)
    method: str = of(choice("GET", "HEAD", "OPTIONS", "POST"), "GET")
