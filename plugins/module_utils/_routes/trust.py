"""The Secrets that routes need: which the private CA issues, which are copies of its certificate, which must be there already."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .fields import refuse

LEAVES = ("gateway", "client", "listener")
Name = dict[str, str]


def secrets(routes: list[dict[str, Any]], ca: Name, issue: list[str]) -> dict[str, list[dict[str, Any]]]:
    """What the trust step has to do for these routes.

    :param ca: namespace and name of the private CA's Secret.
    :param issue: which leaves it issues, of :data:`LEAVES`; all others are somebody else's.
    :returns: ``issued`` and ``gateway_ca``, entries for tls_secret; ``required``, namespace and name of Secrets that must exist.
    :raises EdgeError: where one Secret would have to serve two uses.
    """
    issued: dict[tuple[str, str], dict[str, Any]] = {}
    required: dict[tuple[str, str], dict[str, Any]] = {}
    authorities: dict[tuple[str, str], dict[str, Any]] = {}
    for route in routes:
        labels = route["labels"]
        for leaf, name, usage, names, signer in _leaves(route):
            key = (name["namespace"], name["name"])
            if leaf not in issue or signer not in (None, ca):
                required.setdefault(key, {**name, "purpose": f"{leaf} certificate of route {route['name']}"})
                continue
            entry = issued.setdefault(key, {**name, "for": "gateway" if leaf == "gateway" else "tls", "labels": labels,
                                            "issue": {"ca": ca, "usage": usage, "names": []}})  # fmt: skip
            if entry["issue"]["usage"] != usage:
                raise refuse(
                    f"Secret {key[0]}/{key[1]}", f"would be a {usage} and a {entry['issue']['usage']} certificate", "Use two Secrets"
                )
            entry["issue"]["names"] += [host for host in names if host not in entry["issue"]["names"]]
            if entry["labels"] is not labels:
                entry["labels"] = {label: value for label, value in labels.items() if entry["labels"].get(label) == value}
        for name in _trusted(route):
            if name != ca:
                required.setdefault((name["namespace"], name["name"]), {**name, "purpose": f"CA of route {route['name']}"})
        if makes_gateway(route) and route["upstream_tls"]["mode"] == "mutual":
            place = {"namespace": route["gateway"]["namespace"], "name": f"{route['upstream_tls']['credential']}-cacert"}
            source = route["upstream_tls"]["client_ca"]["secret"]
            authorities[place["namespace"], place["name"]] = {**place, "for": "gateway_ca", "labels": labels, "from": {"secret": source}}
    both = issued.keys() & required.keys()
    if both:
        key = sorted(both)[0]
        raise refuse(f"Secret {key[0]}/{key[1]}", f"is issued, and also a {required[key]['purpose']}, which is not", "Use two Secrets")
    return {"issued": list(issued.values()), "gateway_ca": list(authorities.values()), "required": list(required.values())}


def makes_gateway(route: dict[str, Any]) -> bool:
    """Whether the route gets an Istio Gateway of ours, with credentials of its own."""
    return not route["gateway"]["istio_gateway"]


def _leaves(route: dict[str, Any]) -> Iterator[tuple[str, Name, str, list[str], Any]]:
    """Each certificate of a route: what for, its Secret, its usage, its names, and who has to sign it (None = anybody)."""
    tls, listen = route["upstream_tls"], route["listen"]
    if makes_gateway(route) and tls["mode"] != "passthrough":
        place = {"namespace": route["gateway"]["namespace"], "name": tls["credential"]}
        # Names that clients use need not be in it: nginx verifies the one that it sends.
        yield "gateway", place, "server", list(dict.fromkeys([tls["server_name"], *route["hosts"]])), tls["server_ca"]["secret"] or {}
    client = (tls["client_certificate"] or {}).get("secret")
    if client:
        signer = (tls["client_ca"] or tls["server_ca"])["secret"]
        yield "client", client, "client", tls["client_names"] or [client["name"]], signer
    listener = (listen["certificate"] or {}).get("secret")
    if listener:
        yield "listener", listener, "server", route["hosts"], None


def _trusted(route: dict[str, Any]) -> Iterator[Name]:
    """The Secrets of CAs that a route names."""
    for authority in (route["upstream_tls"]["server_ca"], route["upstream_tls"]["client_ca"]):
        if authority and authority["secret"]:
            yield authority["secret"]
