# SPDX-License-Identifier: GPL-3.0-or-later
"""Several lists at one gateway: a run changes its own list's policies, and settings only while nobody else needs them."""

from __future__ import annotations

import copy
import json
from typing import Any, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils._access import neighbours, plan, policies, probes, standing
from plugins.module_utils._access.declared import Declared
from plugins.module_utils._access.live import Live
from plugins.module_utils._access.probes import Clients
from plugins.module_utils._access.standing import Policy
from plugins.module_utils._errors import EdgeError
from plugins.module_utils._lists import Owner
from plugins.module_utils._routes.reading import Reading
from tests.unit.access.test_access_plan import DEPLOYMENT, LABELS, NAMESPACE, OFFERED, PORTS, SERVICE, TOKENS, named, pod
from tests.unit.access.test_access_policies import CLIENTS, RULES, apart, denied
from tests.unit.access.test_access_settings import STANDARD, Server, without_empty

DENY = {"deny": ["192.0.2.7"]}
CONFIG = "proxy.istio.io/config"


def route(name: str, access: Optional[dict[str, Any]] = None, **changes: Any) -> dict[str, Any]:
    made = {"name": name, "host": f"{name}.example.com", "listen": {"certificate": "c"},
            "paths": [{"service": {"namespace": "a", "name": "b", "port": 1}}], **changes}  # fmt: skip
    return {**made, "access": access} if access else made


def declared(list_name: str, *routes: dict[str, Any], gateway: Optional[dict[str, Any]] = None, exclusive: bool = False) -> Declared:
    variables: dict[str, Any] = {"edge_list": list_name, "edge_routes": list(routes), "edge_exclusive": exclusive}
    return Declared.of(Reading.of_variables({**variables, **({} if gateway is None else {"edge_gateways": {"main": gateway}})}))


class Cluster:
    """A gateway and the policies at it, changed as the role changes them."""

    def __init__(self) -> None:
        self.policies: dict[str, dict[str, Any]] = {}
        self.settings = {
            each["kind"]: Server(each) for each in ({**DEPLOYMENT, "spec": {"strategy": STANDARD, **DEPLOYMENT["spec"]}}, SERVICE)
        }
        self.first = self.configured()

    def live(self) -> Live:
        config = self.settings["Deployment"].live["spec"]["template"]["metadata"].get("annotations", {}).get(CONFIG, "{}")
        started = pod("gw-1", json.loads(config))
        return Live([*(server.live for server in self.settings.values()), started, *self.policies.values()])

    def configured(self) -> Any:
        return {kind: without_empty(copy.deepcopy(server.live)) for kind, server in self.settings.items()}

    def of(self, list_name: str) -> dict[str, dict[str, Any]]:
        return {name: each for name, each in self.policies.items() if Policy(each).owner.list_name == list_name}

    def run(self, wanted: Declared, **options: bool) -> None:
        self.change(plan.plan(wanted, self.live(), **options))

    def end(self, list_name: str, **options: bool) -> plan.Plan:
        planned = plan.ended(declared(list_name, gateway={}), self.live(), **options)
        self.change(planned)
        return planned

    def change(self, planned: plan.Plan) -> None:
        for each in planned.settings:
            self.settings[each["kind"]].apply(each)
        for each in planned.policies:
            self.policies[each["metadata"]["name"]] = each
        for each in planned.removed:
            del self.policies[each["metadata"]["name"]]


LISTS = ("default", "b")
RUNS = st.fixed_dictionaries(
    {
        "end": st.booleans(),
        "routes": st.dictionaries(st.sampled_from(["1", "2", "3"]), st.sampled_from(["deny", "open", "absent"])),
        "gateway": st.sampled_from([None, {}, {"access": DENY}]),
        "exclusive": st.booleans(),
    }
)


def expected(before: set[str], own: str, run: dict[str, Any]) -> set[str]:
    """The names of a list's policies after a run, said once more and differently."""
    if run["end"]:
        return set()
    after = set() if run["exclusive"] else set(before)
    for name, state in run["routes"].items():
        policy = f"edge-{own}{name}-deny"
        after = after | {policy} if state == "deny" else after - {policy}
    policy = "edge-gateway.main-deny" if own == "default" else f"edge-gateway.{own}.main-deny"
    if run["gateway"] is not None:
        after = after | {policy} if run["gateway"] else after - {policy}
    return after


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(LISTS), RUNS), min_size=1, max_size=8))
def test_in_any_order_of_runs_a_list_changes_its_own_and_settings_stay_while_they_are_needed(
    runs: list[tuple[str, dict[str, Any]]],
) -> None:
    cluster = Cluster()
    model: dict[str, set[str]] = {name: set() for name in LISTS}
    for own, run in runs:
        other = next(name for name in LISTS if name != own)
        theirs, everything = copy.deepcopy(cluster.of(other)), copy.deepcopy(cluster.policies)
        if run["end"]:
            cluster.end(own)
        else:
            routes = [
                {"name": f"{own}{name}", "state": "absent"}
                if state == "absent"
                else route(f"{own}{name}", DENY if state == "deny" else None)
                for name, state in run["routes"].items()
            ]
            wanted = declared(own, *routes, gateway=run["gateway"], exclusive=run["exclusive"])
            if run["gateway"] and any(".main-deny" in name for name in model[other]):
                with pytest.raises(EdgeError, match=f"access of all of Service .* belongs to list {other}") as refusal:
                    cluster.run(wanted)
                assert refusal.value.code == "OTHER_LIST"
                assert cluster.policies == everything
                continue
            cluster.run(wanted)
            second = plan.plan(wanted, cluster.live())
            assert (second.removed, {each["metadata"]["name"]: each for each in second.policies}.items() <= cluster.policies.items()) == (
                [], True,
            )  # fmt: skip
        model[own] = expected(model[own], own, run)
        assert set(cluster.of(own)) == model[own]
        assert cluster.of(other) == theirs
        if cluster.policies:
            assert "numTrustedProxies" in json.dumps(cluster.settings["Deployment"].live["spec"])
        elif run["end"]:
            assert cluster.configured() == cluster.first


def test_the_settings_that_stay_are_named_with_the_list_that_needs_them() -> None:
    cluster = Cluster()
    cluster.run(declared("a", route("shop", DENY)))
    cluster.run(declared("b", route("pay", DENY)))
    assert cluster.end("a").kept == [
        "Deployment gw keeps its settings: route pay of list b needs them.",
        "Service istio-ingressgateway keeps its settings: route pay of list b needs them.",
    ]
    assert cluster.end("b").kept == []
    assert cluster.configured() == cluster.first


def test_the_end_of_all_lists() -> None:
    cluster = Cluster()
    cluster.run(declared("a", route("shop", DENY), gateway={"access": DENY}))
    cluster.run(declared("b", route("pay", DENY)))
    cluster.end("c", all_lists=True)
    assert cluster.policies == {}
    assert cluster.configured() == cluster.first


def test_the_mesh_keeps_its_configuration_while_a_policy_at_any_gateway_needs_it() -> None:
    mesh = named("ConfigMap", "istio", data={"mesh": "defaultConfig: {}\n"})
    front = {"front": {"kind": "http_proxy", "scope": "mesh"}}
    (elsewhere,) = plan.plan(declared("b", route("pay", DENY), gateway=front), Live([SERVICE, DEPLOYMENT, mesh])).policies
    elsewhere["metadata"]["namespace"] = "elsewhere"
    ended = plan.ended(declared("a", gateway=front), Live([SERVICE, DEPLOYMENT, mesh, elsewhere]))
    assert [each["kind"] for each in ended.settings] == ["Deployment", "Service"]
    assert ended.kept == ["ConfigMap istio keeps its settings: route pay of list b needs them."]
    with pytest.raises(EdgeError, match=r"the front .*hops: 1, scope: mesh.* belongs to route pay of list b"):
        plan.plan(declared("a", gateway={"front": {"hops": 2, "scope": "mesh"}}), Live([SERVICE, DEPLOYMENT, mesh, elsewhere]))


def test_policies_at_gateways_that_a_run_does_not_list_stay() -> None:
    mesh = named("ConfigMap", "istio", data={"mesh": "defaultConfig: {}\n"})
    mine = declared("a", route("shop", DENY), gateway={"front": {"kind": "http_proxy", "scope": "mesh"}})
    (elsewhere,) = plan.plan(mine, Live([SERVICE, DEPLOYMENT, mesh])).policies
    elsewhere["metadata"]["namespace"] = "elsewhere"
    live = Live([SERVICE, DEPLOYMENT, mesh, elsewhere])
    for all_lists in (False, True):
        ended = plan.ended(mine, live, all_lists=all_lists)
        assert ended.removed == []
        assert ended.kept == ["ConfigMap istio keeps its settings: route shop of list a needs them."]
    assert plan.plan(mine, live).removed == []


# What is refused


def test_a_policy_of_that_name_is_another_lists() -> None:
    cluster = Cluster()
    cluster.run(declared("a", route("shop", DENY)))
    with pytest.raises(EdgeError, match="AuthorizationPolicy istio-system/edge-shop-deny belongs to route shop of list a") as refusal:
        cluster.run(declared("b", route("shop", DENY, host="other.example.com")))
    assert refusal.value.code == "OTHER_LIST"


def test_a_front_is_one_for_all_lists_that_restrict_by_it() -> None:
    cluster = Cluster()
    cluster.run(declared("a", route("shop", DENY)))
    other = declared("b", route("pay"), gateway={"front": {"hops": 2}})
    with pytest.raises(
        EdgeError,
        match=r"edge_gateways\.main\.front: the front of Service istio-system/istio-ingressgateway "
        r"\(kind: http_proxy, hops: 1, scope: gateway\) belongs to route shop of list a",
    ) as refusal:
        cluster.run(other)
    assert refusal.value.code == "OTHER_LIST"
    assert "gateway_access_control_all_lists" in refusal.value.fix
    cluster.run(other, all_lists=True)
    assert '"numTrustedProxies":2' in json.dumps(cluster.settings["Deployment"].live["spec"]).replace("\\", "")


def test_a_front_that_no_policy_was_made_for_has_no_owner() -> None:
    cluster = Cluster()
    cluster.run(declared("a", route("shop"), gateway={"front": {"hops": 2}}))
    cluster.run(declared("b", route("pay", DENY), gateway={"front": {"hops": 1, "health_checks": ["192.0.2.9"]}}))
    cluster.run(declared("c", route("store", DENY)))


def test_a_front_does_not_change_below_the_routes_of_the_list_that_a_run_does_not_name() -> None:
    cluster = Cluster()
    cluster.run(declared("a", route("shop", DENY)))
    with pytest.raises(
        EdgeError, match=r"is not the front of .* \(kind: http_proxy, hops: 1, scope: gateway\) that route shop of list a has"
    ):
        cluster.run(declared("a", route("pay", DENY), gateway={"front": {"hops": 2}}))
    cluster.run(declared("a", route("shop", DENY), route("pay", DENY), gateway={"front": {"hops": 2}}))


def test_two_lists_may_say_the_same_proxies() -> None:
    cluster = Cluster()
    front = {"front": {"kind": "http_proxy", "proxies": ["192.0.2.8", "192.0.2.9"]}}
    cluster.run(declared("a", route("shop"), gateway=front))
    cluster.run(declared("b", gateway={**front, "access": DENY}))
    cluster.end("a")
    assert set(cluster.policies) == {"edge-gateway.b.main-deny", "edge-gateway.b.main-proxies"}


def test_another_gateway_of_the_namespace_is_another_matter() -> None:
    labels = {"app": "other"}
    service = named("Service", "other", spec={**OFFERED, "selector": labels, "ports": PORTS})
    deployment = named("Deployment", "other", spec={"template": {"metadata": {"labels": labels}}})
    cluster = Cluster()
    cluster.run(declared("a", route("shop", DENY), gateway={"access": DENY}))
    other = declared("b", gateway={"service": "other", "access": DENY, "front": "none"})
    made = plan.plan(other, Live([service, deployment, SERVICE, DEPLOYMENT, *cluster.policies.values()]))
    assert [each["metadata"]["name"] for each in made.policies] == ["edge-gateway.b.main-deny"]


# From before there were lists


def earlier(cluster: Cluster) -> None:
    """Policies as the version before left them."""
    cluster.run(declared("default", route("shop", DENY), gateway={"access": DENY}))
    for each in cluster.policies.values():
        del each["metadata"]["annotations"]
        for label in ("edgemesh.nginx-istio/list", policies.GATEWAY_LABEL):
            each["metadata"]["labels"].pop(label, None)


def test_policies_of_the_version_before_are_the_default_lists() -> None:
    cluster = Cluster()
    earlier(cluster)
    found = {policy.name: (policy.owner, policy.gateway) for policy in standing.every(cluster.live())}
    assert found == {
        "edge-shop-deny": (Owner("default", "shop"), ""),
        "edge-gateway.main-deny": (Owner("default"), "main"),
    }
    before = copy.deepcopy(cluster.policies)
    cluster.run(declared("b", route("pay", DENY), exclusive=True))
    assert {name: cluster.policies[name] for name in before} == before
    cluster.run(declared("default", route("shop", DENY), gateway={}))
    assert set(cluster.policies) == {"edge-shop-deny", "edge-pay-deny"}, "the gateway's own is no longer declared"
    cluster.end("default")
    assert set(cluster.policies) == {"edge-pay-deny"}


def test_the_front_of_policies_of_the_version_before_is_the_one_that_is_set() -> None:
    cluster = Cluster()
    earlier(cluster)
    with pytest.raises(EdgeError, match=r"the front of .* \(as the gateway is configured\) belongs to list default"):
        cluster.run(declared("b", route("pay", DENY), gateway={"front": "node_port"}))
    cluster.run(declared("b", route("pay", DENY)))


# What others' policies deny


def test_who_is_denied_by_another_list_is_named_with_it() -> None:
    cluster = Cluster()
    cluster.run(declared("a", gateway={"access": {"allow": ["198.51.100.0/24"]}}))
    mine = declared("b", route("pay"), route("store"))
    clients = Clients({}, {"VM v": ["203.0.113.4"], "client c": ["198.51.100.9"]}, own=["203.0.113.5", "198.51.100.5"])
    arrivals, said = probes.judge(mine, [], {}, cluster.live(), clients)
    assert arrivals == []
    assert said == [
        "edge_gateways.main: policy edge-gateway.a.main-allow of list a denies VM v (203.0.113.4), so its requests to route pay are "
        "answered 403. Admit it in list a"
    ]
    assert neighbours.denials(declared("a", route("pay"), gateway={}), mine.gateways[0], cluster.live(), clients.probing) == []


def test_a_pod_is_not_asked_as_a_client_that_another_list_denies() -> None:
    cluster = Cluster()
    cluster.run(declared("a", gateway={"access": {"allow": ["198.51.100.0/24"]}}))
    made = probes.pods(declared("b", route("pay")), cluster.live(), consecutive=1)
    assert [each["name"] for each in made.paths] == ["main gw-1 0: pay lets in 198.51.100.0"]
    cluster.run(declared("c", route("pay", {"deny": ["198.51.100.0/24"]})))
    made = probes.pods(declared("c", route("pay", {"deny": ["198.51.100.0/24"]})), cluster.live(), consecutive=1)
    assert [each["name"] for each in made.paths] == ["main gw-1 0: pay denies 198.51.100.0"], "nobody comes in through both"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(RULES, max_size=2), st.lists(RULES, max_size=2), st.sampled_from(CLIENTS), st.sampled_from(["/", "/admin/a", "/x.php"]),
    st.booleans(), st.sampled_from(["host", "wildcard", "passthrough"]), st.sampled_from(["shop.example.com", "x.wild.example.com"]),
)  # fmt: skip
def test_what_a_policy_denies_is_read_as_istio_does(
    allow: list[Any], deny: list[Any], client: str, path: str, whole: bool, kind: str, host: str
) -> None:
    access = {"allow": apart(allow), "deny": apart(deny), "allow_lockout": True}
    if kind == "passthrough":
        access = {**access, "allow": [], "deny": ["192.0.2.0/25"]}
    mode = {"upstream_tls": {"mode": "passthrough"}, "listen": {"mode": "passthrough"}} if kind == "passthrough" else {}
    hosts = {"hosts": ["shop.example.com", "*.wild.example.com"]} if kind == "wildcard" else {}
    theirs = route("shop", None if whole else access, **mode, **hosts)
    front = {"front": "node_port", **({"access": access} if whole else {})}
    made = plan.plan(declared("a", theirs, gateway=front), Live([SERVICE, DEPLOYMENT, {**TOKENS, "spec": {}}]))
    (mine,) = declared("b", route("x", host=host, probe={"path": path})).routes
    request = {"client": client, "path": path, "method": "GET", "groups": None, "identity": "", "host": host}
    assert any(Policy(each).denies(mine, client) for each in made.policies) == denied(made.policies, request, sni=host)


def test_a_policy_that_keeps_strangers_from_the_gateway_says_nothing_of_clients() -> None:
    front = {"front": {"kind": "http_proxy", "proxies": ["192.0.2.8"]}}
    (made,) = plan.plan(declared("a", route("shop"), gateway=front), Live([SERVICE, DEPLOYMENT])).policies
    (mine,) = declared("b", route("pay")).routes
    assert not Policy(made).denies(mine, "203.0.113.9")
    assert Policy(made).spec["selector"] == {"matchLabels": LABELS}
    assert Policy(made).namespace == NAMESPACE
