"""Any text in any value is refused, or nginx reads exactly what was meant: the same directives, with only that value different."""

from __future__ import annotations

import copy
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("rendering happens on the controller", allow_module_level=True)

from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from nginx_rendering import MUTUAL, flat, read_back, render, route

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._nginx.offload import Settings, as_dict, offload
from plugins.module_utils._routes.load import load

# Every value distinct, so that it is seen where it goes.
WRITTEN = route(
    **MUTUAL,
    hosts=["shop.example.com", "www.base.example"],
    listen={
        "certificate": {"cert_file": "/base/front.crt", "key_file": "/base/front.key"}, "port": 8443, "http_port": 8080,
        "acme_webroot": "/base/acme", "hsts": {"max_age": 4711},
    },
    upstream_tls__server_name="sni.base.example", upstream_tls__verify_depth=7,
    proxy={"connect_timeout": "11s", "read_timeout": "12s", "send_timeout": "13s", "keepalive": 17, "next_upstream": ["http_502"]},
)  # fmt: skip
COMPLETE = load([WRITTEN])[0]
ADDRESS = "192.0.2.77:30443"
OUTSIDE = {"address": ADDRESS, "material": "/base/material", "ciphers": "BASE+CIPHERS", "version": "1.22.1"}

# Texts that mean something to nginx, Jinja, YAML or a shell, and the neighbourhoods of good values.
PIECES = st.sampled_from(
    [
        ";", "{", "}", "\n", "\r", "\t", " ", "\x00", "#", "$", "${x}", "$host", '"', "'", "\\", "..", "/", "*", "*.", "~", "{{", "{%",
        "}}", "%0a", "ssl_verify off;", "return 200;", "unix:/x", "a", "z", "0", "9", "-", ".", ":", "@", "é", "\u2028", "\u00a0", "\u0663",
        "on", "off", "443", "1.2.3.4",
    ]
)  # fmt: skip
TEXT = st.one_of(st.lists(PIECES, max_size=6).map("".join), st.text(max_size=30))


def leaves(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = False
    for key, item in items:
        found = True
        yield from leaves(item, (*above, key))
    if not found and not isinstance(value, (dict, list)):
        yield above


def lookup(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    value = copy.deepcopy(value)
    lookup(value, place[:-1])[place[-1]] = new
    return value


# Values of this host's configuration: the rest of the schema is for the cluster, and a boolean turns directives on and off.
PLACES = [
    place
    for place in sorted(leaves(COMPLETE), key=str)
    if place[0] in ("name", "hosts", "listen", "upstream_tls", "proxy", "identity")
    and place != ("upstream_tls", "mode")
    and lookup(COMPLETE, place) not in (None, True, False)
]


def configuration(complete: dict[str, Any], outside: dict[str, Any]) -> str:
    chosen = Settings(version=outside["version"], material=outside["material"], ipv6=False)
    made = as_dict(offload([complete], {"main": [outside["address"]]}, chosen))
    return render(made, nginx_offload_ciphers=outside["ciphers"])


BASE = flat(read_back(configuration(COMPLETE, OUTSIDE)))


def check(text: str, base_value: str, new_value: str, case: str) -> None:
    """The configuration differs from the base only by the new value in the base value's places."""
    found = [one for one in flat(read_back(text)) if one[0] != ("server_names_hash_bucket_size",)]
    if case == "proxy.keepalive" and new_value == "0":
        assert [name for name, _args in BASE if name[-1].startswith("keepalive")] == [
            name for name, _args in BASE if name not in [other for other, _args in found]
        ]
        return
    assert [name for name, _args in found] == [name for name, _args in BASE], "directives came or went"
    for (name, args), (_name, before) in zip(found, BASE):
        if args == before:
            continue
        expected = [swap(arg, base_value, new_value) for arg in before]
        if name[-1] == "return" and new_value == "443":
            expected = [arg.replace(":443$request_uri", "$request_uri") for arg in expected]
        assert [plainly(arg) for arg in args] == [plainly(arg) for arg in expected], f"{name}: {args}"


def swap(arg: str, old: str, new: str) -> str:
    return re.sub(rf"(?<![0-9A-Za-z]){re.escape(old)}(?![0-9A-Za-z])", lambda _match: new, arg)


def plainly(arg: str) -> str:
    """The canonical form may lower the case, drop zeros, name seconds: nothing that changes what nginx reads."""
    text = re.sub(r"(?<![0-9])0+(?=[0-9])", "", arg.lower())
    return re.sub(r"^([0-9]+)s?$", r"\1", text)


COUNT = int(os.environ.get("EDGEMESH_EXAMPLES") or (40000 if os.environ.get("EDGEMESH_SOAK") else 400))


@settings(max_examples=COUNT, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PLACES), st.one_of(TEXT, st.integers(-5, 70000), st.none(), st.booleans()))
def test_any_value_in_a_complete_route(place: tuple[Any, ...], value: Any) -> None:
    # no folder for ACME is a choice, not a value
    assume(value or place != ("listen", "acme_webroot"))
    try:
        text = configuration(replaced(COMPLETE, place, value), OUTSIDE)
    except EdgeError as error:
        event("refused")
        if not error.where:
            pytest.fail(f"a refusal that names no place: {error}")
        return
    event("accepted")
    check(text, str(lookup(COMPLETE, place)), str(value), ".".join(map(str, place)))


@settings(max_examples=COUNT, deadline=None)
@given(st.sampled_from(sorted(OUTSIDE)), st.one_of(TEXT, st.integers(-5, 70000)))
def test_any_value_of_the_role(name: str, value: Any) -> None:
    assume(name != "version")
    try:
        text = configuration(COMPLETE, {**OUTSIDE, name: value})
    except EdgeError:
        return
    if name == "address":
        host, _, port = str(value).rpartition(":")
        assert re.fullmatch(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+", host), host
        assert port.isdigit()
    check(text, OUTSIDE[name], str(value), name)


@settings(max_examples=COUNT, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(leaves(WRITTEN), key=str)), TEXT)
def test_any_text_that_a_user_writes(place: tuple[Any, ...], value: str) -> None:
    """Through the schema as well, from where the values come: what gets through is still a configuration of ours."""
    try:
        complete = load([replaced(WRITTEN, place, value)])[0]
        text = configuration(complete, OUTSIDE)
    except EdgeError:
        return
    found = flat(read_back(text))
    # what switches of the schema may add to the base
    extra = {("server_names_hash_bucket_size",), ("server", "location", "proxy_set_header"), ("server", "add_header")}
    assert {name for name, _args in found} <= {name for name, _args in BASE} | extra
    words = {word for _name, args in found for arg in args for word in arg.split()} - {"max-age=4711;", "includeSubDomains;"}
    assert not [word for word in words if set(word) & set(";{}\"'\\\n\x00")]


@pytest.mark.parametrize("value", ["443; return 200", "443 default_server", "unix:/x", "$port", "80\n"])
def test_the_property_would_notice(value: str) -> None:
    """The check itself, on a text that was not checked."""
    made = as_dict(offload([COMPLETE], {"main": [ADDRESS]}, Settings(ipv6=False)))
    made["servers"][0]["listen"] = (value,)
    with pytest.raises(AssertionError):
        check(render(made, nginx_offload_ciphers="BASE+CIPHERS"), "8443", value.strip(), "listen.port")
