# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Secrets routes need, and what the private CA does about them."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._lists import Run
from plugins.module_utils._routes.needs import needs, places
from plugins.module_utils._routes.reading import LEAVES, Reading
from plugins.module_utils._secrets.entries import Reference, entries
from plugins.module_utils._secrets.needs import Need, by_kind, plan, read

CA = {"namespace": "edgemesh", "name": "edge-ca"}

OURS = {"app.kubernetes.io/component": "private-ca"}
AT_GATEWAYS = {"app.kubernetes.io/component": "gateway-routes"}


def route(name: str = "shop", gateway: str = "main", certificate: Any = "public", **tls: Any) -> dict[str, Any]:
    return {
        "name": name,
        "host": f"{name}.example.com",
        "gateway": gateway,
        "listen": {"certificate": certificate},
        "upstream_tls": {"mode": "mutual", "client_certificate": "edge-client", **tls},
        "paths": [{"service": {"namespace": "a", "name": "b", "port": 80}}],
    }


def wanted(*routes: dict[str, Any], issue: Any = LEAVES, gateways: Any = None) -> dict[str, dict[str, dict[str, Any]]]:
    """Each list of the plan by ``namespace/name``; the needs travel as the role gets them."""
    reading = Reading.of_variables({"edge_routes": list(routes), "edge_gateways": gateways or {"main": {}}, "edge_issue": list(issue)})
    stated = needs(reading)
    carried = read([need.as_dict() for need in stated], "private_ca_needs")
    assert carried == stated
    made = plan(carried, Reference(reading.namespace, reading.ca), reading.run)
    assert made["ca"] == CA
    # all of it is what tls_secret takes
    entries([*made["issued"], *made["copies"], *made["required"]])
    entries(made["expected"])
    return {
        kind: {f"{each['namespace']}/{each['name']}": each for each in made[kind]} for kind in ("issued", "copies", "required", "expected")
    }


def test_everything_issued() -> None:
    plan = wanted(route(client_names=["edge.example.com"], server_name="gw.example.com"))
    assert {name: (entry["for"], entry["issue"], entry["users"], entry["labels"]) for name, entry in plan["issued"].items()} == {
        "istio-system/edge-shop": ("gateway", {"ca": CA, "usage": "server"}, {"shop": ["gw.example.com"]}, AT_GATEWAYS),
        "edgemesh/edge-client": ("tls", {"ca": CA, "usage": "client"}, {"shop": ["edge.example.com"]}, OURS),
        "edgemesh/public": ("tls", {"ca": CA, "usage": "server"}, {"shop": ["shop.example.com"]}, OURS),
    }
    assert plan["copies"]["istio-system/edge-shop-cacert"]["from"] == {"secret": CA}
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
    assert plan["copies"]["istio-system/edge-shop-cacert"]["from"] == {"secret": {"namespace": "corp", "name": "ca"}}


def test_a_shared_secret_has_each_route_with_its_names() -> None:
    plan = wanted(route(client_names=["a.example.com"]), route("cart", client_names=["b.example.com"]), route("blog"))
    assert plan["issued"]["edgemesh/edge-client"]["users"] == {
        "shop": ["a.example.com"],
        "cart": ["b.example.com"],
        "blog": ["edge-client"],  # a client without names is called like its Secret
    }
    assert plan["copies"]["istio-system/edge-cart-cacert"]["users"] == {"cart": []}


def test_nothing_at_a_gateway_that_is_not_ours() -> None:
    plan = wanted(route(), gateways={"main": {"istio_gateway": "istio-system/public"}})
    assert "istio-system/edge-shop" not in plan["issued"]
    assert plan["copies"] == {}


def test_passthrough_needs_no_credential() -> None:
    plan = wanted(route(mode="passthrough", client_certificate=None))
    assert list(plan["issued"]) == ["edgemesh/public"]
    assert plan["copies"] == {}


def test_what_clients_verify_themselves_bears_all_their_names() -> None:
    entry = route(client_certificate=None, client_names=["partner.example"], client_ca="partners")
    entry = {**entry, "hosts": ["*.shop.example.com"], "listen": {"mode": "passthrough"}}
    plan = wanted(entry)
    assert list(plan["issued"]) == ["istio-system/edge-shop"], "clients bring their own, and nginx shows none"
    assert plan["issued"]["istio-system/edge-shop"]["users"] == {"shop": ["shop.example.com", "*.shop.example.com"]}
    assert plan["copies"]["istio-system/edge-shop-cacert"]["from"] == {"secret": {"namespace": "edgemesh", "name": "partners"}}


def test_files_are_nobodys_secret() -> None:
    plan = wanted(
        route(certificate={"cert_file": "/a.crt", "key_file": "/a.key"}, mode="simple", client_certificate=None, server_ca={"file": "/ca"})
    )
    # a gateway certificate that nginx trusts by a file of the user's comes from the user too
    assert plan["issued"] == {}
    assert list(plan["required"]) == ["istio-system/edge-shop"]


def test_two_uses_of_one_secret() -> None:
    both = r"Secret edgemesh/edge-client: can't serve both nginx as a client of gateway main in route shop and nginx as a "
    with pytest.raises(EdgeError, match=rf"{both}server in route shop: its usage would be client and server. Use two Secrets"):
        wanted(route(certificate="edge-client"))
    with pytest.raises(EdgeError, match=f"{both}client .* one is issued here, the other is somebody else's"):
        wanted(route(), route("cart", client_ca="corp/ca"))


def test_a_certificate_that_cert_manager_has_issued_is_checked_like_one_of_somebody_else() -> None:
    plan = wanted(route(client_names=["edge.example.com"]))
    assert plan["expected"]["edgemesh/edge-client"]["expect"] == {"usage": "client", "names": ["edge.example.com"]}
    assert set(plan["expected"]) == set(plan["issued"])


@pytest.mark.parametrize(("issue", "way"), [(["gateway", "client"], "[gateway, client, listener]"), ([], "[listener]")])
def test_the_way_out_is_what_to_set(issue: list[str], way: str) -> None:
    reading = Reading.of_variables({"edge_routes": [route()], "edge_issue": issue})
    said = plan(needs(reading), Reference("edgemesh", "edge-ca"), Run())["way_out"]
    assert f"To have edgemesh/public (nginx as a server in route shop) issued, set edge_issue: {way}." in said


def test_there_is_no_way_out_where_another_ca_has_to_sign() -> None:
    reading = Reading.of_variables({"edge_routes": [route(server_ca="corp/ca")], "edge_issue": ["listener"]})
    assert plan(needs(reading), Reference("edgemesh", "edge-ca"), Run())["way_out"] == ""


def test_names_are_sorted_as_a_certificate_has_them() -> None:
    assert by_kind(["shop.example.com", "*.example.com", "192.0.2.1", "2001:db8::1", "spiffe://td/ns/a/sa/b", "DNS:x.example.com"]) == {
        "dnsNames": ["shop.example.com", "*.example.com", "x.example.com"],
        "ipAddresses": ["192.0.2.1", "2001:db8::1"],
        "uris": ["spiffe://td/ns/a/sa/b"],
    }


PARTNER = {"who": "the partner", "secret": "partner/client", "usage": "client", "names": "partner.example", "issue": "yes"}


def test_anybody_may_write_needs_down() -> None:
    (need,) = read([{**PARTNER, "secret": {"namespace": "partner", "name": "client"}, "signer": "edgemesh/edge-ca"}], "private_ca_needs")
    assert need == Need(
        "the partner", Reference("partner", "client"), "tls", "client", ["partner.example"], Reference("edgemesh", "edge-ca"), True
    )
    made = plan(
        [need, *read([{"who": "a server", "secret": "partner/ca", "form": "nginx_ca", "copy_of": "edgemesh/edge-ca"}], "n")],
        need.signer,  # type: ignore[arg-type]
        Run(),
    )
    assert [(each["labels"], each["users"]) for each in made["issued"]] == [(OURS, {"": ["partner.example"]})], "the list's as a whole"
    assert made["copies"][0]["from"] == {"secret": CA}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"usge": "client"}, "private_ca_needs[0].usge: is not a known key. Did you mean usage?"),
        (
            {"form": "tsl"},
            'private_ca_needs[0].form: "tsl" is not one of gateway, gateway_ca, nginx_ca, iks_alb, tls, ca. Did you mean tls?',
        ),
        ({"secret": "client"}, 'private_ca_needs[0].secret: "client" is not namespace/name'),
        ({"signer": "anybdy"}, 'private_ca_needs[0].signer: "anybdy" is not one of anybody, ca_in_a_file. Did you mean anybody?'),
        ({"usage": ""}, "private_ca_needs[0].usage: and form disagree: a Secret for tls needs a usage"),
        ({"form": "gateway_ca"}, "private_ca_needs[0].usage: and form disagree: a Secret for gateway_ca has no usage"),
        ({"copy_of": "a/b"}, "private_ca_needs[0].copy_of: is given, but a Secret for tls holds a certificate"),
    ],
)
def test_a_need_that_can_not_be_met_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EdgeError) as refusal:
        read([{**PARTNER, **change}], "private_ca_needs")
    assert sentence in refusal.value.sentence


def test_secrets_of_routes_that_are_gone_are_looked_for_at_every_gateway() -> None:
    gone = [{"name": "shop", "state": "absent"}]
    assert places(Reading.of_variables({"edge_routes": gone})) == ["edgemesh", "istio-system"]
    gateways = {"main": {"namespace": "mesh"}, "other": {"namespace": "far"}}
    assert places(Reading.of_variables({"edge_routes": gone, "edge_gateways": gateways, "edge_namespace": "pki"})) == ["pki", "mesh", "far"]


def certificate(name: str, *names: str, users: str = "", labels: Any = None) -> dict[str, Any]:
    """cert-manager's, as it is in the cluster."""
    metadata = {"namespace": "edgemesh", "name": name, "labels": {"app.kubernetes.io/managed-by": "edgemesh", **OURS, **(labels or {})}}
    if users:
        metadata["annotations"] = {"edgemesh.nginx-istio/needed-by": users}
    return {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": metadata, "spec": {"dnsNames": list(names)}}


def test_cert_manager_issues_for_the_routes_that_the_run_does_not_list_too() -> None:
    reading = Reading.of_variables({"edge_routes": [route(client_names=["a.example"]), {"name": "blog", "state": "absent"}]})
    live = [
        certificate("edge-client", users='{"default/cart":["b.example"],"default/blog":["c.example"]}'),
        certificate("blog", users='{"default/blog":["d.example"]}'),
        certificate("cart", users='{"default/cart":["e.example"]}'),
        certificate("store", users='{"team-b/blog":["f.example"]}'),
    ]
    made = plan(needs(reading), Reference("edgemesh", "edge-ca"), reading.run, ["edgemesh"], live)
    client = next(each for each in made["certificates"] if each["name"] == "edge-client")
    assert client["names"] == {"dnsNames": ["b.example", "a.example"]}
    assert client["annotations"] == {"edgemesh.nginx-istio/needed-by": '{"default/cart":["b.example"],"default/shop":["a.example"]}'}
    assert [each["metadata"]["name"] for each in made["unneeded"]] == ["blog"]
    of_before = plan(needs(reading), Reference("edgemesh", "edge-ca"), reading.run, ["edgemesh"], [certificate("edge-client", "z.example")])
    assert of_before["certificates"][1]["names"] == {"dnsNames": ["z.example", "a.example"]}
    other = certificate("edge-client", users='{"team-b/store":["f.example"]}')
    with pytest.raises(EdgeError, match="belongs to route store of list team-b"):
        plan(needs(reading), Reference("edgemesh", "edge-ca"), reading.run, ["edgemesh"], [other])
