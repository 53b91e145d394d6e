# SPDX-License-Identifier: GPL-3.0-or-later
"""One part for each route: it depends on that route and the host alone, and nginx reads the same however routes are split over lists."""

from __future__ import annotations

import sys
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("rendering happens on the controller", allow_module_level=True)

from hypothesis import given, settings
from hypothesis import strategies as st
from nginx_rendering import ADDRESSES, EXAMPLES, MUTUAL, PASSED, example, files_of, merged, parts_of, plan, route

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._lists import OTHER_LIST
from plugins.module_utils._nginx.write.blocks import Settings
from plugins.module_utils._nginx.write.host import for_host
from plugins.module_utils._nginx.write.offload import as_dict, offload
from plugins.module_utils._nginx.write.parts import EXTRA, parts
from plugins.module_utils._routes.load import load
from plugins.module_utils._routes.reading import Reading
from tests.unit.routes.some_routes import route_lists

VERSIONS = st.sampled_from(["1.22.1", "1.26.3"])


def planned(routes: list[Any], version: str, **more: Any) -> dict[str, Any]:
    return as_dict(offload(routes, ADDRESSES, Settings(build=f"nginx version: nginx/{version}", **more)))


@given(route_lists(), VERSIONS, st.booleans(), st.data())
@settings(max_examples=150, deadline=None)
def test_split_over_any_lists_nginx_reads_the_same(written: list[dict[str, Any]], version: str, refuse: bool, data: st.DataObject) -> None:
    routes = load(written)
    whole = planned(routes, version, refuse_unknown=refuse)
    together = files_of(whole)
    lists: dict[int, list[Any]] = {}
    for one in routes:
        lists.setdefault(data.draw(st.integers(0, 3)), []).append(one)
    apart = [parts_of(planned(each, version, refuse_unknown=refuse)) for each in lists.values()]
    assert merged(*data.draw(st.permutations(apart))) == together
    # and each route's own files, and what it says of shared ones, are the same whatever the others are
    alone = {part["name"]: part for each in routes for part in parts_of(planned([each], version, refuse_unknown=refuse))}
    assert {part["name"]: part for part in parts_of(whole)} == alone


def test_what_goes_with_a_route_and_what_stays() -> None:
    shop, bank = parts_of(plan(route(**MUTUAL), route(name="bank", host="bank.example.com", listen={"mode": "passthrough"})))
    alone = merged([shop])
    assert alone.keys() == {
        "listen/443-ssl-http2.inc", "refuse-443.conf", "refuse-80.conf", "route-shop.conf", "stream/names/443/shop.map",
        "stream/port-443/idle-timeout.inc", "stream/port-443/told.inc", "stream/port-443/unknown.map", "websocket.conf",
        *(path for path in alone if path.startswith("upstream-edge_")),
    }  # fmt: skip
    both = merged([shop], [bank])
    changed = {path for path in alone if both[path] != alone[path]}
    assert changed == {"listen/443-ssl-http2.inc", "refuse-443.conf"}, "the port is the stream context's now"
    assert merged([bank]).keys().isdisjoint({"route-shop.conf", "websocket.conf", "stream/port-443/told.inc"})


def test_a_part_says_what_nobody_else_may_have_and_what_all_must_say() -> None:
    part, plain = parts_of(
        plan(route(hosts=["www.example.com"]), route(name="p", host="p.example.com", listen={"tls": False, "port": 8080}))
    )
    assert part["claims"] == {
        "route shop": "route shop",
        "443/shop.example.com": "host shop.example.com on port 443", "443/www.example.com": "host www.example.com on port 443",
        "80/shop.example.com": "host shop.example.com on port 80", "80/www.example.com": "host www.example.com on port 80",
    }  # fmt: skip
    assert part["agrees"] == {"port 443": "TLS", "port 80": "plain HTTP", "nginx_offload_inner_port": "488"}
    assert plain["agrees"] == {"port 8080": "plain HTTP"}
    assert [probe["name"] for probe in part["probes"]] == ["shop"]
    folder = "/etc/edgemesh/tls/edgemesh"
    assert part["material"] == (f"{folder}/edge-ca/ca.crt", f"{folder}/shop-public/tls.crt", f"{folder}/shop-public/tls.key")


def test_two_lists_with_gateways_of_one_name_and_other_addresses() -> None:
    other = route(name="b", host="b.example.com", upstream_tls__server_name="shop.example.com")
    first, second = (
        parts_of(plan(one, upstreams={"main": [address]})) for one, address in ((route(), "192.0.2.1:1"), (other, "192.0.2.2:1"))
    )
    files = merged(first, second)
    assert sum(path.startswith("upstream-") for path in files) == 2
    passing = [parts_of(plan(route(name=name, host=f"{name}.example.com", **PASSED), upstreams={"main": [address]}))
               for name, address in (("c", "192.0.2.1:443"), ("d", "192.0.2.2:443"))]  # fmt: skip
    assert sum(path.startswith("stream/edge_to_main") for path in merged(*passing)) == 2


def test_a_list_that_ran_before_the_host_changed_is_not_in_the_way() -> None:
    """nginx was updated, and the host has an IPv6 address now; the other list's parts are as they were."""
    old = parts_of(plan(route(), version="1.22.1", ipv6=False))
    new = parts_of(plan(route(name="b", host="b.example.com"), version="1.26.3", ipv6=True))
    files = merged(old, new)
    assert "listen [::]:443 ssl;\n    http2 on;" in files["refuse-443.conf"]
    assert files == {**merged(old), **merged(new), "listen/443-ssl-http2.inc": merged(old)["listen/443-ssl-http2.inc"]}


def test_each_list_has_the_log_of_its_own_at_a_port_that_passes_tls_on() -> None:
    each = [parts_of(plan(route(name=name, host=f"{name}.example.com", **PASSED, access_log="json"), access_log=f"/var/log/{name}.log"))
            for name in ("a", "b")]  # fmt: skip
    logs = [text for path, text in merged(*each).items() if "/logs/" in path]
    assert sorted(logs) == ["access_log /var/log/a.log edge_passed;\n", "access_log /var/log/b.log edge_passed;\n"]


def test_every_example_beside_every_other_in_lists_of_their_own() -> None:
    everything = files_of(plan(*map(example, EXAMPLES)))
    assert merged(*(parts_of(plan(example(name))) for name in EXAMPLES)) == everything


def test_a_template_that_forgets_a_file_is_refused() -> None:
    with pytest.raises(EdgeError, match="wrote no refuse-443") as caught:
        parts(plan(route()), "# file route-shop.conf\nserver { }\n")
    assert caught.value.where == "nginx_offload_template"


# --- a host ---


#: A host of both groups, and the gateways of its routes: the reading looks at each group's routes alone.
BOTH: dict[str, Any] = {"groups": ["edge_nginx", "others"], "edge_gateways": {"main": {}, "second": {"addresses": ["192.0.2.1:1"]}}}


def host(*routes: dict[str, Any], there: Any = (), groups: Any = ("edge_nginx",), extra: Any = (), absent: Any = False, **more: Any) -> Any:
    """The plan of a host, and its parts as nginx_info returns them; ``more`` are further variables."""
    reading = Reading.of_variables({"edge_routes": list(routes), **more})
    made = for_host(reading, groups, there, ADDRESSES, Settings(), extra, absent)
    return made, [{"list": made["list"], **{key: part[key] for key in ("name", "claims", "agrees")}} for part in made["parts"]]


def test_what_another_list_has_on_the_host_is_refused_before_anything_changes() -> None:
    _made, there = host(route(), edge_list="a")
    for taken in (
        route(name="other"), route(host="other.example.com"), route(name="b", host="b.example.com", listen={"tls": False, "port": 443}),
        route(name="b", host="b.example.com", listen={"tls": False}, hosts=["shop.example.com"]),
    ):  # fmt: skip
        with pytest.raises(EdgeError) as caught:
            host(taken, there=there, edge_list="b")
        assert (caught.value.code, "route shop of list a" in caught.value.sentence) == (OTHER_LIST, True)
    made, _parts = host(route(), there=there, edge_list="a")
    assert [part["name"] for part in made["parts"]] == ["shop"], "its own list may"
    assert host(route(name="b", host="b.example.com"), there=there, edge_list="b")


def test_what_nginx_would_serve_wrongly_is_refused() -> None:
    with pytest.raises(EdgeError, match="port 443 is TLS and can't be plain HTTP"):
        host(route(), route(name="b", host="b.example.com", listen={"tls": False, "port": 443}))
    twin = route(name="b", on="others", gateway="second")
    for other in (twin, {**twin, "listen": {"mode": "passthrough"}}):
        with pytest.raises(EdgeError, match=r"host shop\.example\.com on port 443 belongs to route shop"):
            host(route(gateway="main"), other, **BOTH)
    # the same host on two ports is two sites
    assert host(route(gateway="main"), {**twin, "listen": {"certificate": "c", "port": 8443, "http_port": 8080}}, **BOTH)


def test_routes_that_go_from_a_host() -> None:
    moved = route(name="moved", host="moved.example.com", on="others")
    made, _parts = host(route(), moved, {"name": "old", "state": "absent"})
    assert made["absent"] == ["old", "moved", EXTRA]
    _made, there = host({**moved, "on": "edge_nginx"})
    made, nothing = host(moved, there=there)
    assert (nothing, made["absent"]) == ([], ["moved", EXTRA])
    with pytest.raises(EdgeError, match="none of the routes is for this host"):
        host(moved)
    assert host({"name": "old", "state": "absent"})[0]["parts"] == ()
    assert host(edge_exclusive=True)[0]["exclusive"]
    made, _parts = host(route(), there=there, absent=True)
    assert (made["parts"], made["exclusive"]) == ((), True)


def test_a_lists_own_files_come_with_its_first_route_and_go_with_its_last() -> None:
    own = [{"path": "own.conf", "content": "server { listen 8099; }\n"}]
    made, there = host(route(), extra=own)
    assert made["extra"] == own
    gone = {"name": "shop", "state": "absent"}
    assert host(gone, there=there, extra=own)[0]["absent"] == ["shop", EXTRA]
    _made, both = host(route(), route(name="b", host="b.example.com"))
    still = host(gone, there=both, extra=own)[0]
    assert (still["absent"], still["extra"]) == (["shop"], []), "they stay as they are"


def test_a_check_needs_no_addresses() -> None:
    reading = Reading.of_variables({"edge_routes": [route()]})
    assert for_host(reading, ["edge_nginx"], [], {}, Settings(check=True))["parts"]
