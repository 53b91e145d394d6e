# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written is read back: for any route, the reader finds in the role's configuration how the route speaks to its gateway."""

from __future__ import annotations

import sys
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("rendering happens on the controller", allow_module_level=True)

from hypothesis import given, settings
from hypothesis import strategies as st
from nginx_rendering import dumped, files_of

from plugins.module_utils._nginx.read import effective as reader
from plugins.module_utils._nginx.read import sharing
from plugins.module_utils._nginx.write.blocks import Settings
from plugins.module_utils._nginx.write.offload import as_dict, offload
from plugins.module_utils._routes.load import load
from plugins.module_utils._routes.parts import Authority, KeyPair
from plugins.module_utils._routes.places import TLS_DIR, file_of
from plugins.module_utils._routes.schema import Route
from tests.unit.routes.some_routes import route_lists

ADDRESSES = [("192.0.2.10", 30443), ("2001:db8::10", 30443)]
VERSIONS = st.sampled_from(["1.22.1", "1.26.3", "1.29.7"])


def written(routes: list[Route], version: str) -> reader.Config:
    """nginx -T of a host with these routes alone."""
    build = f"nginx version: nginx/{version}"
    made = as_dict(offload(routes, {"main": ["192.0.2.10:30443", "[2001:db8::10]:30443"]}, Settings(build=build, ipv6=False)))
    return reader.read(f"{build}\n{dumped(files_of(made))}")


def certificate(pair: KeyPair | None) -> tuple[str, str]:
    if pair is None:
        return "", ""
    if pair.secret:
        return file_of(TLS_DIR, pair.secret, "tls.crt"), file_of(TLS_DIR, pair.secret, "tls.key")
    return pair.cert_file or "", pair.key_file or ""


def authority(ca: Authority) -> str:
    return file_of(TLS_DIR, ca.secret, "ca.crt") if ca.secret else ca.file or ""


def check(config: reader.Config, route: Route) -> None:
    tls = route.upstream_tls
    for path in route.paths:
        # a location's own path, and one below it
        for asked in dict.fromkeys([path.path, path.path.rstrip("/") + "/below" if path.match == "prefix" else path.path]):
            found = reader.effective(config, route.host, asked, route.listen.port)
            if route.listen.mode == "passthrough":
                assert (found.by_name, found.notes, found.passed) == (True, [], ADDRESSES)
                assert found.passed_tells == route.proxy.proxy_protocol
                continue
            proxy = found.proxy
            assert proxy, found.answer
            assert (found.by_name, found.notes, proxy.scheme, proxy.addresses) == (True, [], "https", ADDRESSES)
            assert (proxy.sni, proxy.ssl_name, proxy.host) == (tls.server_name, tls.server_name, route.host)
            assert (proxy.verify, proxy.ca) == (tls.verify, authority(tls.server_ca) if tls.verify else "")
            assert not tls.verify or proxy.verify_depth == tls.verify_depth
            assert (proxy.certificate, proxy.certificate_key) == certificate(tls.client_certificate)
            speaks = deepest(route, asked)
            assert (proxy.prefix, proxy.http_version) == (("grpc", "2") if speaks == "grpc" else ("proxy", "1.1"))
            assert proxy.protocols == ["TLSv1.2", "TLSv1.3"]
            assert proxy.headers["X-Forwarded-Client-Cert"] == ""


def deepest(route: Route, asked: str) -> str:
    """The protocol of the longest path with a way of its own that ``asked`` is below."""
    plain = route.proxy.protocol
    whole = next((path.proxy.protocol for path in route.paths if path.proxy and path.path == "/"), plain)
    own = [path for path in route.paths if path.proxy and path.match == "prefix" and path.path != "/" and asked.startswith(path.path)]
    return max(own, key=lambda path: len(path.path)).proxy.protocol if own else whole  # type: ignore[union-attr]


@given(route_lists(), VERSIONS)
@settings(max_examples=400, deadline=None)
def test_reader_and_writer_agree(lists: list[dict[str, Any]], version: str) -> None:
    routes = load(lists)
    config = written(routes, version)
    for route in routes:
        check(config, route)
    assert sharing.shared_identities(config) == []


def test_the_property_would_notice() -> None:
    (route,) = load([{"name": "shop", "host": "shop.example.com", "listen": {"certificate": "c"}, "paths": [{"service": SERVICE}]}])
    (other,) = load([{**OTHER, "upstream_tls": {"server_name": "inner.example.com"}}])
    with pytest.raises(AssertionError):
        check(written([route], "1.22.1"), other)


SERVICE = {"namespace": "shop", "name": "web", "port": 8000}
OTHER = {"name": "shop", "host": "shop.example.com", "listen": {"certificate": "c"}, "paths": [{"service": SERVICE}]}
