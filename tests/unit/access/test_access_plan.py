# SPDX-License-Identifier: GPL-3.0-or-later
"""From live objects to what is applied, what arrives at a gateway, and who would be locked out."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from plugins.module_utils._access import lockout, plan, probes, seen
from plugins.module_utils._access.declared import Declared
from plugins.module_utils._access.live import Live
from plugins.module_utils._access.plan import Plan
from plugins.module_utils._access.probes import Arrival, Clients, Pods
from plugins.module_utils._errors import EdgeError
from plugins.module_utils._routes.load import gateways
from plugins.module_utils._routes.reading import Reading

NAMESPACE, LABELS = "istio-system", {"app": "gw", "istio": "gw"}


def named(kind: str, name: str, **more: Any) -> dict[str, Any]:
    version = {"Deployment": "apps/v1", "DaemonSet": "apps/v1"}.get(kind, "v1")
    metadata = {"name": name, "namespace": NAMESPACE, **more.pop("metadata", {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


def pod(name: str, config: dict[str, Any], address: str = "10.0.0.7", **metadata: Any) -> dict[str, Any]:
    env = [{"name": "PROXY_CONFIG", "value": json.dumps(config)}]
    return named("Pod", name, metadata={"labels": {**LABELS, "x": "y"}, **metadata}, spec={"containers": [{"env": env}]},
                 status={"phase": "Running", "podIP": address})  # fmt: skip


PORTS = [{"name": "https", "port": 443, "targetPort": 8443}]
OFFERED = {"selector": LABELS, "type": "NodePort", "externalTrafficPolicy": "Cluster", "ports": PORTS}
SERVICE = named("Service", "istio-ingressgateway", spec=OFFERED)
DEPLOYMENT = named("Deployment", "gw", spec={"template": {"metadata": {"labels": {**LABELS, "sidecar.istio.io/inject": "true"}}}})
OTHER = named("Deployment", "other", spec={"template": {"metadata": {"labels": {"app": "other"}}}})
LIVE = [SERVICE, DEPLOYMENT, OTHER, pod("gw-1", {})]


def shop(**changes: Any) -> dict[str, Any]:
    return {"name": "shop", "host": "shop.example.com", "listen": {"certificate": "c"},
            "paths": [{"service": {"namespace": "a", "name": "b", "port": 1}}], **changes}  # fmt: skip


def declared(gateway: dict[str, Any], *routes: dict[str, Any], **more: dict[str, Any]) -> Declared:
    return Declared.of(Reading.of_variables({"edge_gateways": {"main": gateway, **more}, "edge_routes": list(routes)}))


def planned(gateway: dict[str, Any], *routes: dict[str, Any], live: Any = None, **options: bool) -> Plan:
    return plan.plan(declared(gateway, *routes), Live(LIVE if live is None else live), **options)


def unlike(gateway: dict[str, Any], live: Any) -> list[str]:
    return plan.unlike(declared(gateway), Live(live))


@pytest.mark.parametrize(
    ("front", "said"),
    [
        ({"kind": "http_proxy", "hops": 1}, ["X-Forwarded-For"]),
        ({"kind": "tcp_proxy"}, ["PROXY header"]),
        ({"kind": "http_proxy", "hops": 1, "proxies": ["192.0.2.8"]}, []),
        ({"kind": "node_port"}, []),
    ],
)
def test_who_could_forge_an_address_is_said_where_lists_go_by_it(front: dict[str, Any], said: list[str]) -> None:
    assert planned({"front": front}, shop()).believed == []
    for made in (
        planned({"front": front}, shop(access={"deny": ["192.0.2.7"]})),
        planned({"front": front, "access": {"deny": ["192.0.2.7"]}}, shop()),
    ):
        assert [header for each in made.believed for header in ("X-Forwarded-For", "PROXY header") if header in each] == said


def test_everything_follows_from_the_front() -> None:
    made = planned({"front": {"kind": "tcp_proxy", "provider": "eks"}}, shop(access={"deny": ["192.0.2.7"]}))
    workload, service = made.settings
    assert workload["metadata"]["name"] == "gw"
    assert json.loads(workload["spec"]["template"]["metadata"]["annotations"]["proxy.istio.io/config"]) == {
        "gatewayTopology": {"proxyProtocol": {}},
        "proxyMetadata": {"ENVOY_STATUS_PORT_ENABLE_PROXY_PROTOCOL": "true"},
    }
    assert service["metadata"]["annotations"]["service.beta.kubernetes.io/aws-load-balancer-proxy-protocol"] == "*"
    (policy,) = made.policies
    assert policy["spec"]["selector"] == {"matchLabels": LABELS}
    assert made.interrupted == ["edge_gateways.main: from nothing trusted to PROXY protocol"]


def test_without_topology_only_policies() -> None:
    made = planned({"access": {"deny": ["192.0.2.7"]}}, sets_topology=False)
    assert (made.settings, len(made.policies)) == ([], 1)


def test_hops_change_without_interruption() -> None:
    live = [SERVICE, DEPLOYMENT, pod("gw-1", {"gatewayTopology": {"numTrustedProxies": 1}})]
    assert planned({"front": {"hops": 2}}, live=live).interrupted == []
    assert planned({"front": "node_port"}, live=live).interrupted == []
    assert unlike({"front": {"hops": 1}}, live) == []
    assert unlike({"front": {"hops": 2}}, live) == ["Pod istio-system/gw-1: 1 trusted HTTP hop"]
    proxied = [SERVICE, DEPLOYMENT, pod("gw-1", {"gatewayTopology": {"proxyProtocol": {}}})]
    assert planned({"front": "node_port"}, live=proxied).interrupted == ["edge_gateways.main: from PROXY protocol to nothing trusted"]


def test_pods_that_end_do_not_count() -> None:
    old = pod("gw-0", {"gatewayTopology": {"numTrustedProxies": 1}}, deletionTimestamp="2026-01-01T00:00:00Z")
    assert unlike({"front": "node_port"}, [*LIVE, old]) == []


def test_a_gateway_of_the_gateway_api_is_a_target() -> None:
    made_for = {"labels": {"gateway.networking.k8s.io/gateway-name": "public"}}
    service = {**SERVICE, "metadata": {**SERVICE["metadata"], **made_for}}
    (policy,) = planned({"access": {"deny": ["192.0.2.7"]}}, live=[service, DEPLOYMENT]).policies
    assert policy["spec"]["targetRefs"] == [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public"}]
    assert "selector" not in policy["spec"]


def test_what_is_not_there() -> None:
    with pytest.raises(
        EdgeError, match=r"edge_gateways\.main: there is no Service istio-system/istio-ingressgateway\. Install the gateway"
    ):
        planned({}, live=[])
    with pytest.raises(EdgeError, match="no Deployment or DaemonSet makes the pods"):
        planned({}, live=[SERVICE, OTHER])
    assert planned({}, live=[], check=True).missing == ["main"]
    with pytest.raises(EdgeError, match="the mesh's configuration is not there"):
        planned({"front": {"scope": "mesh"}})


def test_two_entries_for_one_gateway_agree() -> None:
    with pytest.raises(EdgeError, match=r"edge_gateways\.b\.front: differs from that of main, and both are of Service"):
        plan.plan(declared({"front": "node_port"}, b={}), Live(LIVE))
    made = plan.plan(declared({}, plain={"port": "http2"}), Live(LIVE))
    assert [each["kind"] for each in made.settings] == ["Deployment", "Service"]


TOKENS = {"apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication", "metadata": {"name": "jwt", "namespace": NAMESPACE}}
VERIFIERS: list[tuple[str, dict[str, Any], bool]] = [
    ("all of the namespace", {}, True),
    ("this gateway", {"selector": {"matchLabels": {"istio": "gw"}}}, True),
    ("another", {"selector": {"matchLabels": {"istio": "other"}}}, False),
    ("a Gateway", {"targetRefs": [{"kind": "Gateway", "name": "public"}]}, False),
]


@pytest.mark.parametrize(("spec", "verified"), [row[1:] for row in VERIFIERS], ids=[row[0] for row in VERIFIERS])
def test_claims_are_verified_by_somebody(spec: dict[str, Any], verified: bool) -> None:
    gateway, live = {"access": {"deny": [{"claims": {"groups": "guests"}}]}}, [*LIVE, {**TOKENS, "spec": spec}]
    if verified:
        assert planned(gateway, live=live).policies
    else:
        with pytest.raises(EdgeError, match="access names claims, but no RequestAuthentication verifies tokens here"):
            planned(gateway, live=live)
    elsewhere = {**TOKENS, "metadata": {"name": "jwt", "namespace": "root"}, "spec": spec}
    if spec:
        with pytest.raises(EdgeError, match="access names claims"):
            planned(gateway, live=[*LIVE, elsewhere])


def test_absent_takes_back_what_is_noted() -> None:
    noted = {"edgemesh.nginx-istio/before": json.dumps({"proxy.istio.io/config": "concurrency: 2"})}
    ours = {"annotations": {"proxy.istio.io/config": '{"concurrency":2,"gatewayTopology":{"numTrustedProxies":1}}'}, "labels": LABELS}
    live = {**DEPLOYMENT, "metadata": {**DEPLOYMENT["metadata"], "annotations": noted}, "spec": {"template": {"metadata": ours}}}
    workload, service = plan.ended(declared({}), Live([SERVICE, live])).settings
    assert workload["spec"]["template"]["metadata"]["annotations"] == {"proxy.istio.io/config": "concurrency: 2"}
    assert set(service) == {"apiVersion", "kind", "metadata"}
    assert set(service["metadata"]) == {"name", "namespace"}


# What arrives


def line(agent: str, forwarded: str, remote: str = "198.18.0.9:0") -> str:
    return json.dumps({"user_agent": agent, "x_forwarded_for": forwarded, "downstream_remote_address": remote, "response_code": 200})


WAYS = [
    (f"{seen.MARKER},203.0.113.9,198.18.0.11", 1, ["203.0.113.9", "198.18.0.11"], False),
    ("203.0.113.9, 198.18.0.11", 1, ["203.0.113.9", "198.18.0.11"], True),
    (f"{seen.MARKER},198.18.0.9", 0, ["198.18.0.9"], False),
    (f"{seen.MARKER},2001:db8::9,198.18.0.20,198.18.0.11", 2, ["2001:db8::9", "198.18.0.20", "198.18.0.11"], False),
]


@pytest.mark.parametrize(("forwarded", "hops", "chain", "replaced"), WAYS)
def test_hops_are_counted_behind_the_mark(forwarded: str, hops: int, chain: list[str], replaced: bool) -> None:
    arrived = seen.seen("e", ["noise", line("a/1", "1.2.3.4"), line("a/0", forwarded)], "a/0")
    assert arrived
    assert (arrived.hops, arrived.chain, arrived.replaced, arrived.client) == (hops, chain, replaced, "198.18.0.9")


def test_the_text_format() -> None:
    text = (
        f'[2026-01-01T00:00:00.000Z] "GET / HTTP/1.1" 200 - via_upstream - "-" 0 13 1 1 "{seen.MARKER},203.0.113.9,198.18.0.11" "a/0" "id" '
        '"shop.example.com" "10.0.0.1:80" outbound|80||web 10.0.0.2:1 10.0.0.2:443 203.0.113.9:0 shop.example.com -'
    )
    arrived = seen.seen("e", [text], "a/0")
    assert arrived
    assert (arrived.hops, arrived.client) == (1, "203.0.113.9")


def test_nothing_arrived() -> None:
    assert seen.seen("e", [line("a/1", "1.2.3.4")], "a/0") is None
    assert seen.seen("e", [line("a/0", "-"), line("a/0", seen.MARKER)], "a/0") is None


def judge(gateway: dict[str, Any], forwarded: str, *routes: dict[str, Any], live: Any = None, **options: Any) -> list[Arrival]:
    given = declared(gateway, *(routes or (shop(),)))
    (asked,) = probes.through(given, {"main": ["198.18.0.11:443"]}, "r")
    lines = {"istio-system/istio-ingressgateway": [line(asked.agent, forwarded)]}
    clients = Clients(options.get("clients", {}), options.get("probing", {}), options.get("own", []))
    return probes.judge(given, [asked], lines, Live(LIVE if live is None else live), clients)[0]


def test_a_front_that_fits() -> None:
    (arrival,) = judge({"front": {"hops": 1}}, WAYS[0][0])
    assert arrival == Arrival("main", "198.18.0.11:443", ["203.0.113.9", "198.18.0.11"], 1, "198.18.0.9", False, "http_proxy")


MISFITS: list[tuple[Any, str, str]] = [
    ({"hops": 2}, WAYS[0][0], "says 2 hops, but a request through 198.18.0.11:443 came by 1 HTTP proxy: addresses on the way: 203.0.113.9 -> 198.18.0.11 -> gateway; the gateway would believe an address that a client forges in X-Forwarded-For. Set it to kind: http_proxy with hops: 1"),  # noqa: E501
    ({"hops": 1}, WAYS[3][0], "says 1 hop, but a request through 198.18.0.11:443 came by 2 HTTP proxies"),
    ("node_port", WAYS[0][0], "all clients would have a proxy's address. Set it to kind: http_proxy with hops: 1"),
    ({"hops": 1}, WAYS[2][0], "came by no HTTP proxies"),
]  # fmt: skip


@pytest.mark.parametrize(("front", "forwarded", "sentence"), MISFITS)
def test_a_front_that_does_not_fit(front: Any, forwarded: str, sentence: str) -> None:
    with pytest.raises(EdgeError) as refusal:
        judge({"front": front}, forwarded)
    assert sentence in refusal.value.sentence
    assert refusal.value.where == "edge_gateways.main.front"


LOCAL = [{**SERVICE, "spec": {**SERVICE["spec"], "externalTrafficPolicy": "Local"}}, DEPLOYMENT]
ALLOW = {"allow": ["198.51.100.0/24"]}
VMS = {"edge_nginx": {"a": "198.18.0.11", "b": "2001:db8::b"}, "others": {"c": "198.18.0.13"}}


def test_this_run_is_not_locked_out() -> None:
    with pytest.raises(EdgeError, match=r"edge_routes \(shop\)\.access: would lock out this run's own client \(203\.0\.113\.9\)"):
        judge({}, WAYS[0][0], shop(access=ALLOW))
    assert judge({}, WAYS[0][0], shop(access={**ALLOW, "allow_lockout": True}))
    assert judge({}, WAYS[0][0], shop(access={"allow": ["203.0.113.0/24"]}))
    with pytest.raises(EdgeError, match=r"edge_gateways\.main\.access: would lock out"):
        judge({"access": {"deny": ["203.0.113.9"]}}, WAYS[0][0])


def test_a_source_that_is_translated_tells_nothing_so_our_own_addresses_count() -> None:
    gateway, route = {"front": "node_port"}, shop(access=ALLOW)
    assert judge(gateway, WAYS[2][0], route, own=["10.9.9.9", "198.51.100.4"])
    with pytest.raises(EdgeError, match=r"own client \(10\.9\.9\.9\)"):
        judge(gateway, WAYS[2][0], route, own=["10.9.9.9"])
    with pytest.raises(EdgeError, match=r"own client \(198\.18\.0\.9\)"):
        judge(gateway, WAYS[2][0], route, live=LOCAL, own=["198.51.100.4"])


def test_vms_monitoring_and_health_checks_come_in() -> None:
    allow = {"allow": ["203.0.113.0/24"]}
    with pytest.raises(EdgeError, match=r"would lock out VM a \(198\.18\.0\.11\)"):
        judge({}, WAYS[0][0], shop(access=allow), clients={"VM a": ["198.18.0.11"]})
    with pytest.raises(EdgeError, match=r"would lock out 192\.0\.2\.0/24"):
        judge({}, WAYS[0][0], shop(access=allow), clients={"192.0.2.0/24": ["192.0.2.0/24"]})
    with pytest.raises(EdgeError, match=r"would lock out the health checks from 35\.191\.0\.0/16\. Admit them"):
        judge({"front": {"provider": "gke"}}, WAYS[0][0], shop(access=allow))
    with pytest.raises(EdgeError, match=r"would lock out the health checks from 192\.0\.2\.9/32"):
        judge({"front": {"health_checks": ["192.0.2.9"]}}, WAYS[0][0], shop(access=allow))


def test_who_probes_comes_in_by_address_for_routes_that_a_list_is_about() -> None:
    clients = {"a": "198.18.0.11", "d": "198.18.0.14", "named": "client.example.com"}
    assert probes.probing(declared({}, shop()).guarded, VMS, clients) == {}
    for guarded in (declared({}, shop(access=ALLOW)), declared({"access": ALLOW}, shop())):
        assert probes.probing(guarded.guarded, VMS, clients) == {
            "VM a": ["198.18.0.11"],
            "VM b": ["2001:db8::b"],
            "client d": ["198.18.0.14"],
        }


def test_admits() -> None:
    (gateway,) = gateways({"main": {"access": {"allow": ["192.0.2.0/24", {"methods": "GET"}], "deny": ["192.0.2.7", {"paths": "/a"}]}}})
    access = gateway.access
    assert access
    assert lockout.admits(access, "203.0.113.9"), "by GET"
    assert not lockout.admits(access, "192.0.2.7")
    assert lockout.admits(access, "192.0.2.8"), "not to /a, but elsewhere"
    assert not lockout.admits(dataclasses.replace(access, allow=access.allow[:1]), "2001:db8::1")


# What is asked of every pod


def pods(gateway: dict[str, Any], *routes: dict[str, Any], live: Any = None) -> Pods:
    return probes.pods(declared(gateway, *routes), Live(LIVE if live is None else live), consecutive=4)


def test_every_pod_is_asked_as_an_allowed_and_as_a_denied_client() -> None:
    made = pods({"front": {"hops": 2}}, shop(access={"allow": ["198.51.100.0/24"]}, probe={"status": 418}))
    assert made.connect == [{"name": "main gw-1", "address": "10.0.0.7", "port": 8443}]
    let_in, denied = made.paths
    assert let_in["http"]["headers"] == {"X-Forwarded-For": "198.51.100.0, 192.0.2.78"}
    assert let_in["expect"] == {"status": ["418"]}
    assert (let_in["consecutive"], let_in["tls"]["sni"]) == (4, "shop.example.com")
    assert denied["expect"] == {"status": ["403"], "body_contains": "RBAC: access denied"}
    assert denied["http"]["headers"]["X-Forwarded-For"].startswith("192.0.2.79")


def test_the_very_request_is_judged() -> None:
    """Entries about other requests, or about tokens and certificates that we don't have, don't fit it."""
    access = {"allow": ["198.51.100.0/24", {"claims": {"groups": "staff"}}, {"methods": "POST"}], "deny": [{"paths": "/admin*"}]}
    for path, said in (("/", ["lets in 198.51.100.0", "denies 192.0.2.79"]), ("/admin/x", ["denies 198.51.100.0"])):
        made = pods({}, shop(access=access, probe={"path": path}))
        assert [each["name"].partition(": shop ")[2] for each in made.paths] == said


def test_a_route_for_everybody_answers() -> None:
    (path,) = pods({}, shop(probe={"status": 418})).paths
    assert path["expect"] == {"status": ["418"]}


def test_a_pod_that_wants_the_header_gets_it() -> None:
    (path,) = pods({"front": "tcp_proxy"}, shop()).paths
    assert path["proxy_protocol"] == "v2"
    assert pods({"front": "tcp_proxy"}, shop(upstream_tls={"mode": "mutual", "client_certificate": "c"})).paths == []


def test_a_gateway_without_routes_is_asked_for_no_host() -> None:
    http = [{"name": "http2", "port": 80, "targetPort": 80}]
    live = [{**SERVICE, "spec": {**OFFERED, "ports": http}}, DEPLOYMENT, pod("gw-1", {})]
    gateway = {"port": "http2", "access": {"deny": ["198.51.100.0/24"]}}
    let_in, denied = pods(gateway, live=live).paths
    assert "tls" not in denied
    assert let_in["expect"]["status"] == ["100-402", "404-599"]
    assert denied["http"]["headers"] == {"X-Forwarded-For": "198.51.100.0"}
    assert pods({"access": {"deny": ["198.51.100.0/24"]}}).paths == [], "TLS takes a server name"


def test_requests_through_the_front_are_what_a_client_would_send() -> None:
    (asked,) = probes.through(declared({}, shop()), {"main": ["198.18.0.11:443"]}, "r")
    assert (asked.probe["address"], asked.probe["port"], asked.probe["tls"]["sni"]) == ("198.18.0.11", 443, "shop.example.com")
    assert asked.probe["http"]["headers"] == {"User-Agent": asked.agent, "X-Forwarded-For": seen.MARKER}


OFFER = {"main": ["198.18.0.1:30443"]}


def test_clients_come_in_where_the_user_says_else_at_the_proxies_else_at_the_gateway() -> None:
    def entries(front: str, given: dict[str, list[str]] | None = None) -> list[str]:
        return probes.entries(declared({"front": front}, shop()), given or {}, OFFER, VMS)["main"]

    assert entries("http_proxy") == entries("tcp_proxy") == ["198.18.0.11:443", "[2001:db8::b]:443"]
    assert entries("node_port") == OFFER["main"]
    assert entries("http_proxy", {"main": ["cdn.example.com:443"]}) == ["cdn.example.com:443"]
    with pytest.raises(EdgeError, match=r"entries\.main: 'x' is not an address with a port"):
        entries("http_proxy", {"main": ["x"]})


def test_the_cluster_is_asked_only_where_nobody_else_knows_where_clients_come_in() -> None:
    for front, given, unknown in (("http_proxy", {}, []), ("node_port", {}, ["main"]), ("node_port", OFFER, [])):
        assert [gateway.name for gateway in probes.unknown(declared({"front": front}, shop()), given)] == unknown
    assert probes.unknown(declared({"front": "node_port"}), {}) == [], "without a route nothing can be asked"


# What is declared


def test_nothing_is_looked_at_where_nobody_is_kept_out() -> None:
    assert not declared({}, shop()).restricts
    for some in (
        declared({}, shop(access={"deny": ["192.0.2.7"]})),
        declared({"access": {"deny": ["192.0.2.7"]}}),
        declared({"front": {"kind": "http_proxy", "proxies": ["192.0.2.8"]}}),
    ):
        assert some.restricts


POLICIES = {
    "api_version": "security.istio.io/v1",
    "kind": "AuthorizationPolicy",
    "label_selectors": ["app.kubernetes.io/component=access-control,app.kubernetes.io/managed-by=edgemesh"],
}


def test_policies_of_ours_are_looked_for_where_a_gateway_is_also_when_no_access_is_left() -> None:
    for variables in ({"edge_routes": [shop()]}, {"edge_routes": [{"name": "shop", "state": "absent"}]}):
        assert Declared.of(Reading.of_variables(variables)).policy_queries() == [{**POLICIES, "namespace": "istio-system"}]


def test_policies_of_all_gateways_are_looked_for_where_one_speaks_for_the_whole_mesh() -> None:
    assert declared({"front": {"scope": "mesh"}}).policy_queries() == [POLICIES]


def test_only_what_is_needed_is_read() -> None:
    def kinds(gateway: dict[str, Any], **more: dict[str, Any]) -> list[tuple[str, str]]:
        return [(each["kind"], each.get("namespace", "")) for each in declared(gateway, **more).queries("istiod", "istio")]

    gateways = [("Service", NAMESPACE), ("Pod", NAMESPACE), ("Deployment", NAMESPACE), ("DaemonSet", NAMESPACE)]
    usual = [("AuthorizationPolicy", NAMESPACE), *gateways]
    assert kinds({}, second={"port": "http2"}) == usual
    assert kinds({"front": {"scope": "mesh"}}) == [("AuthorizationPolicy", ""), *gateways, ("ConfigMap", "istiod")]
    verifiers = [("RequestAuthentication", NAMESPACE), ("RequestAuthentication", "istiod")]
    assert kinds({"access": {"deny": [{"claims": {"groups": "guests"}}]}}) == [*usual, *verifiers]


@pytest.mark.parametrize(
    ("address", "known"),
    [("[2001:DB8::1]", "2001:db8::1"), ("::ffff:192.0.2.7", "192.0.2.7"), ("fe80::1%eth0", ""), ("vm1.example.com", "")],
)
def test_only_an_address_that_policies_compare_is_held_against_lists(address: str, known: str) -> None:
    assert seen.plain(address) == known
