"""Which Secrets routes need, and from whom."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._routes.load import load_dicts as load
from plugins.module_utils._routes.trust import LEAVES, secrets

CA = {"namespace": "edgemesh", "name": "edge-ca"}

SHARED = {"app.kubernetes.io/managed-by": "edgemesh", "app.kubernetes.io/component": "private-ca"}


def route(name: str = "shop", gateway: str = "main", certificate: Any = "public", **tls: Any) -> dict[str, Any]:
    return {
        "name": name,
        "host": f"{name}.example.com",
        "gateway": gateway,
        "listen": {"certificate": certificate},
        "upstream_tls": {"mode": "mutual", "client_certificate": "edge-client", **tls},
        "paths": [{"service": {"namespace": "a", "name": "b", "port": 80}}],
    }


def wanted(*entries: dict[str, Any], issue: Any = LEAVES, gateways: Any = None) -> dict[str, dict[str, dict[str, Any]]]:
    plan = secrets(load(list(entries), gateways or {"main": {}}), CA, list(issue))
    return {kind: {f"{entry['namespace']}/{entry['name']}": entry for entry in plan[kind]} for kind in plan}


def test_everything_issued() -> None:
    plan = wanted(route(client_names=["edge.example.com"], server_name="gw.example.com"))
    assert {name: (entry["for"], entry["issue"]) for name, entry in plan["issued"].items()} == {
        "istio-system/edge-shop": ("gateway", {"ca": CA, "usage": "server", "names": ["gw.example.com"]}),
        "edgemesh/edge-client": ("tls", {"ca": CA, "usage": "client", "names": ["edge.example.com"]}),
        "edgemesh/public": ("tls", {"ca": CA, "usage": "server", "names": ["shop.example.com"]}),
    }
    assert plan["gateway_ca"]["istio-system/edge-shop-cacert"]["from"] == {"secret": CA}
    assert plan["required"] == {}


def test_what_is_not_issued_must_exist() -> None:
    plan = wanted(route(), issue=["gateway"])
    assert list(plan["issued"]) == ["istio-system/edge-shop"]
    assert {name: entry["expect"] for name, entry in plan["required"].items()} == {
        "edgemesh/edge-client": {"usage": "client", "names": []},
        "edgemesh/public": {"usage": "server", "names": ["shop.example.com"]},
    }


def test_a_foreign_ca_signs_its_own_leaves() -> None:
    plan = wanted(route(server_ca="corp/ca", client_ca="edge-ca"))
    assert list(plan["issued"]) == ["edgemesh/edge-client", "edgemesh/public"]
    assert {name: entry["for"] for name, entry in plan["required"].items()} == {
        "istio-system/edge-shop": "gateway",
        "corp/ca": "gateway_ca",
    }
    plan = wanted(route(client_ca="corp/ca"))
    assert set(plan["required"]) == {"edgemesh/edge-client", "corp/ca"}
    assert plan["gateway_ca"]["istio-system/edge-shop-cacert"]["from"] == {"secret": {"namespace": "corp", "name": "ca"}}


def test_a_shared_secret_gets_all_names() -> None:
    plan = wanted(route(client_names=["a.example.com"]), route("cart", client_names=["b.example.com"]))
    client = plan["issued"]["edgemesh/edge-client"]
    assert client["issue"]["names"] == ["a.example.com", "b.example.com"]
    # and is no single route's
    assert client["labels"] == SHARED
    assert plan["issued"]["istio-system/edge-cart"]["labels"]["edgemesh.nginx-istio/route"] == "cart"


def test_three_routes_share_a_secret() -> None:
    plan = wanted(route(), route("cart"), route("blog"))
    assert plan["issued"]["edgemesh/edge-client"]["labels"] == SHARED


def test_a_client_without_names_is_called_like_its_secret() -> None:
    assert wanted(route())["issued"]["edgemesh/edge-client"]["issue"]["names"] == ["edge-client"]


def test_nothing_at_a_gateway_that_is_not_ours() -> None:
    plan = wanted(route(), gateways={"main": {"istio_gateway": "istio-system/public"}})
    assert "istio-system/edge-shop" not in plan["issued"]
    assert plan["gateway_ca"] == {}


def test_passthrough_needs_no_credential() -> None:
    plan = wanted(route(mode="passthrough", client_certificate=None))
    assert list(plan["issued"]) == ["edgemesh/public"]
    assert plan["gateway_ca"] == {}


def test_what_clients_verify_themselves_bears_all_their_names() -> None:
    entry = route(client_certificate=None, client_names=["partner.example"], client_ca="partners")
    entry = {**entry, "hosts": ["*.shop.example.com"], "listen": {"mode": "passthrough"}}
    plan = wanted(entry)
    assert list(plan["issued"]) == ["istio-system/edge-shop"], "clients bring their own, and nginx shows none"
    assert plan["issued"]["istio-system/edge-shop"]["issue"]["names"] == ["shop.example.com", "*.shop.example.com"]
    assert plan["gateway_ca"]["istio-system/edge-shop-cacert"]["from"] == {"secret": {"namespace": "edgemesh", "name": "partners"}}


def test_files_are_nobodys_secret() -> None:
    plan = wanted(
        route(certificate={"cert_file": "/a.crt", "key_file": "/a.key"}, mode="simple", client_certificate=None, server_ca={"file": "/ca"})
    )
    # a gateway certificate that nginx trusts by a file of the user's comes from the user too
    assert plan["issued"] == {}
    assert list(plan["required"]) == ["istio-system/edge-shop"]


def test_two_uses_of_one_secret() -> None:
    with pytest.raises(EdgeError, match="Secret edgemesh/edge-client: would be a server and a client certificate"):
        wanted(route(certificate="edge-client"))
    with pytest.raises(EdgeError, match="Secret edgemesh/edge-client: is to be issued for one use and is somebody else's in another"):
        wanted(route(certificate="edge-client"), issue=["client"])
