"""The Secrets that routes need: which the private CA issues, which are copies of a CA's certificate, which must be there already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional

from .._schema.fields import refuse

LEAVES = ("gateway", "client", "listener")
# Which role removes it again, beside other people's things and other roles' of ours.
COMPONENT = "app.kubernetes.io/component"
GATEWAY_ROUTES, PRIVATE_CA = {COMPONENT: "gateway-routes"}, {COMPONENT: "private-ca"}
Name = dict[str, str]
Entry = dict[str, Any]


@dataclass(frozen=True)
class Leaf:
    """A certificate of a route.

    :ivar leaf: one of :data:`LEAVES`.
    :ivar reader: what tls_secret's ``for`` is.
    :ivar signer: the Secret of the CA that has to have signed it; empty = a CA in a file, None = any.
    """

    leaf: str
    secret: Name
    reader: str
    usage: str
    names: list[str]
    signer: Optional[Name]


def secrets(routes: list[dict[str, Any]], ca: Name, issue: list[str]) -> dict[str, list[Entry]]:
    """What the trust step has to do for these routes, as entries for tls_secret.

    :param ca: namespace and name of the private CA's Secret.
    :param issue: which leaves it issues, of :data:`LEAVES`; all others are somebody else's.
    :returns: ``issued``; ``gateway_ca``, by which gateways know the CA of their clients; ``required``, which must exist.
    :raises EdgeError: where one Secret would have to serve two uses.
    """
    issued: dict[tuple[str, str], Entry] = {}
    required: dict[tuple[str, str], Entry] = {}
    authorities: dict[tuple[str, str], Entry] = {}
    for route in routes:
        tls = route["upstream_tls"]
        for leaf in _leaves(route):
            ours = leaf.leaf in issue and leaf.signer in (None, ca)
            entry = _entry(issued if ours else required, leaf.secret, leaf.reader)
            if ours:
                _add(entry, "issue", leaf, {"ca": ca})
                _label(entry, {**route["labels"], **(GATEWAY_ROUTES if leaf.leaf == "gateway" else PRIVATE_CA)})
            else:
                _add(entry, "expect", leaf)
        for authority in (tls["server_ca"], tls["client_ca"]):
            if authority and authority["secret"] not in (None, ca):
                _entry(required, authority["secret"], "gateway_ca")
        if makes_gateway(route) and tls["mode"] == "mutual":
            place = {"namespace": route["gateway"]["namespace"], "name": f"{tls['credential']}-cacert"}
            entry = _entry(authorities, place, "gateway_ca")
            entry["from"] = {"secret": tls["client_ca"]["secret"]}
            _label(entry, {**route["labels"], **GATEWAY_ROUTES})
    for namespace, name in issued.keys() & required.keys():
        raise refuse(f"Secret {namespace}/{name}", "is to be issued for one use and is somebody else's in another", "Use two Secrets")
    return {"issued": list(issued.values()), "gateway_ca": list(authorities.values()), "required": list(required.values())}


def makes_gateway(route: dict[str, Any]) -> bool:
    """Whether the route gets an Istio Gateway of ours, with credentials of its own."""
    return not route["gateway"]["istio_gateway"]


def _leaves(route: dict[str, Any]) -> Iterator[Leaf]:
    tls, listen = route["upstream_tls"], route["listen"]
    if makes_gateway(route) and tls["mode"] != "passthrough":
        place = {"namespace": route["gateway"]["namespace"], "name": tls["credential"]}
        # who passes on what clients say sends their SNI, and they verify the name that they called
        names = route["hosts"] if listen["mode"] == "passthrough" else [tls["server_name"]]
        yield Leaf("gateway", place, "gateway", "server", names, tls["server_ca"]["secret"] or {})
    client = (tls["client_certificate"] or {}).get("secret")
    if client:
        signer = (tls["client_ca"] or tls["server_ca"])["secret"] or {}
        yield Leaf("client", client, "tls", "client", tls["client_names"], signer)
    listener = (listen["certificate"] or {}).get("secret")
    if listener:
        yield Leaf("listener", listener, "tls", "server", route["hosts"], None)


def _entry(entries: dict[tuple[str, str], Entry], secret: Name, reader: str) -> Entry:
    entry = entries.setdefault((secret["namespace"], secret["name"]), {**secret, "for": reader})
    if entry["for"] != reader:
        raise refuse(f"Secret {secret['namespace']}/{secret['name']}", f"would be a {reader} and a {entry['for']}", "Use two Secrets")
    return entry


def _add(entry: Entry, part: str, leaf: Leaf, more: Optional[Entry] = None) -> None:
    """Lets ``entry`` serve this leaf too: its names besides those of other routes."""
    terms = entry.setdefault(part, {**(more or {}), "usage": leaf.usage, "names": []})
    if terms["usage"] != leaf.usage:
        raise refuse(
            f"Secret {entry['namespace']}/{entry['name']}", f"would be a {leaf.usage} and a {terms['usage']} certificate", "Use two Secrets"
        )
    # A client that nobody knows by a name is called like its Secret.
    names = leaf.names or ([entry["name"]] if part == "issue" else [])
    terms["names"] = list(dict.fromkeys([*terms["names"], *names]))


def _label(entry: Entry, labels: dict[str, str]) -> None:
    """The labels of its route; of a Secret that routes share, what they have in common."""
    before = entry.get("labels", labels)
    entry["labels"] = {name: value for name, value in labels.items() if before.get(name) == value}
