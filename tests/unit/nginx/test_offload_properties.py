# SPDX-License-Identifier: GPL-3.0-or-later
"""Any text in any value is refused, or nginx reads exactly what was meant: the same directives, with only that value different."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import sys
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("rendering happens on the controller", allow_module_level=True)

from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from nginx_cases import (
    ADDRESS,
    BASES,
    OUTSIDE,
    TEXT,
    check,
    configuration,
    directives,
    leaves,
    lookup,
    replaced,
    without_the_slashless,
)
from nginx_rendering import render

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._nginx.write.blocks import Settings
from plugins.module_utils._nginx.write.offload import as_dict, offload
from plugins.module_utils._routes.load import load

NEW = {**OUTSIDE, "version": "1.27.3"}
DIRECTIVES = {(name, new): base.directives(NEW if new else OUTSIDE) for name, base in BASES.items() for new in (False, True)}
PLACES = [(name, place) for name, base in BASES.items() for place in base.places]
WRITTEN = [(name, place) for name, base in BASES.items() for place in sorted(leaves(base.written), key=str)]
ORDERED = {name: [path.path for path in load([base.written])[0].paths] for name, base in BASES.items()}
COUNT = int(os.environ.get("EDGEMESH_EXAMPLES") or (40000 if os.environ.get("EDGEMESH_SOAK") else 200))


def test_every_option_of_a_route_is_among_the_places() -> None:
    """An option that is added to the schema has to be added here."""
    asked = {part for _base, place in PLACES for part in place[-2:]}
    (whole,) = (route.as_dict() for route in load([BASES["ended"].written]))
    options = {*whole["proxy"], *whole["rate_limit"], *whole["listen"], *whole["upstream_tls"]}
    choices = {
        "mode", "protocol", "tls", "http2", "http3", "redirect_http", "verify", "buffering", "request_buffering", "websocket",
        "proxy_protocol",
    }  # fmt: skip
    # what only the gateway hears of
    elsewhere = {"client_ca", "client_names", "credential"}
    assert options - choices - elsewhere <= asked | {"certificate", "client_certificate", "server_ca"}


@settings(max_examples=COUNT, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PLACES), st.one_of(TEXT, st.integers(-5, 70000), st.none(), st.booleans()))
def test_any_value_of_a_route(where: tuple[str, tuple[Any, ...]], value: Any) -> None:
    base, place = where
    written = BASES[base].written
    # nothing at all is a choice, not a value
    assume(value is not None and str(value).strip())
    changed = replaced(written, place, value)
    try:
        texts = configuration(changed, OUTSIDE)
    except EdgeError as error:
        event("refused")
        if not error.where:
            pytest.fail(f"a refusal that names no place: {error}")
        return
    event("accepted")
    new = str(value).strip()
    if place[-1] == "path":
        # the longer path stands first
        (route,) = load([changed])
        ordered = [path.path for path in route.paths]
        assume(ordered == [new if path == lookup(written, place) else path for path in ORDERED[base]])
        if (new[:-1], "exact") not in [(path.path, path.match) for path in route.paths]:
            texts = without_the_slashless(texts, new)
    check(texts, DIRECTIVES[base, False], str(lookup(written, place)), new, ".".join(map(str, place)))


@settings(max_examples=COUNT, deadline=None)
@given(
    st.sampled_from(sorted(BASES)),
    st.booleans(),
    st.sampled_from(sorted(set(OUTSIDE) - {"version"})),
    st.one_of(TEXT, st.integers(-5, 70000)),
)
def test_any_value_of_the_role(base: str, new: bool, name: str, value: Any) -> None:
    outside = NEW if new else OUTSIDE
    # without a name server nginx doesn't resolve
    assume(value or name != "resolver")
    try:
        texts = configuration(BASES[base].written, {**outside, name: value})
    except EdgeError:
        return
    if name == "address":
        host, _, port = str(value).rpartition(":")
        assert re.fullmatch(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+", host), host
        assert port.isdigit()
    if name in ("found", "resolver") and (new == (name == "resolver")):
        # an IPv6 address has many forms, and one that is written
        address = ipaddress.ip_address(str(value).strip("[]"))
        value = f"[{address}]" if address.version == 6 else address
    check(texts, DIRECTIVES[base, new], outside[name], str(value), name)


@settings(max_examples=COUNT, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(WRITTEN), TEXT)
def test_any_text_that_a_user_writes(where: tuple[str, tuple[Any, ...]], value: str) -> None:
    """Through the schema as well, from where the values come: what gets through is still a configuration of ours."""
    base, place = where
    try:
        changed = replaced(BASES[base].written, place, value)
        (complete,) = load([changed])
        texts = configuration(changed, OUTSIDE)
    except EdgeError:
        return
    found = directives(texts)
    # what switches of the schema may add to the base
    extra = {("server", "location", "proxy_set_header"), ("server", "add_header")}
    assert {name for name, _args in found} <= {name for name, _args in DIRECTIVES[base, False]} | extra
    for name, args in found:
        if name[-1] == "log_format":
            said = json.loads(re.sub(r":\$\w+", ":0", "".join(args[2:])))
            assert base == "passed" or said["upstream"]["sni"] == complete.upstream_tls.server_name
        else:
            words = {word for arg in args for word in arg.split()} - {"max-age=4711;", "includeSubDomains;"}
            assert not [word for word in words if set(word) & set(";{}\"'\\\n\x00")], (name, args)


@pytest.mark.parametrize("value", ["443; return 200", "443 default_server", "unix:/x", "$port", "80\n"])
def test_the_property_would_notice(value: str) -> None:
    """The check itself, on a text that was not checked."""
    made = as_dict(offload(load([BASES["ended"].written]), {"main": [ADDRESS]}, Settings(ipv6=False)))
    next(file for file in made["http"] if file["kind"] == "sockets")["it"]["listen"] = (value,)
    with pytest.raises(AssertionError):
        check((render(made), ""), DIRECTIVES["ended", False], "8443", value.strip(), "listen.port")
