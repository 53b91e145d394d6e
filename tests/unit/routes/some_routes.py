# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes as users write them, any that the schema takes, for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

LABEL = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
SECRET = st.one_of(LABEL, st.builds("{}/{}".format, LABEL, LABEL))
SERVICE = st.fixed_dictionaries({"namespace": LABEL, "name": LABEL, "port": st.integers(1, 65535)})
FILES = {"cert_file": "/etc/ssl/own/tls.crt", "key_file": "/etc/ssl/own/tls.key"}
PAIR = st.one_of(SECRET, st.just(FILES))
AUTHORITY = st.one_of(SECRET, st.just({"file": "/etc/ssl/own/ca.crt"}))
PATHS = st.lists(st.sampled_from(["/", "/api", "/api/v1", "/static/", "/a-b_c.d"]), min_size=1, max_size=3, unique=True)


def _optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def route(draw: st.DrawFn, name: str = "shop", modes: tuple[str, ...] = ("simple", "mutual", "passthrough")) -> dict[str, Any]:
    """One route whose TLS nginx ends, or passes on where its mode is passthrough."""
    mode, tls = draw(st.sampled_from(modes)), draw(st.booleans())
    host = draw(st.sampled_from([f"{name}.example.com", f"{name}.example.org"]))
    upstream: dict[str, Any] = {"mode": mode, **draw(_optional(verify=st.booleans(), verify_depth=st.integers(1, 5), server_ca=AUTHORITY))}
    if draw(st.booleans()):
        upstream["server_name"] = f"inner-{name}.example.com"
    if mode == "mutual":
        upstream.update(client_certificate=draw(PAIR), client_ca=draw(SECRET), client_names=draw(st.lists(LABEL, max_size=2, unique=True)))
    if mode == "passthrough" or draw(st.integers(0, 5)) == 0:
        return _passed(draw, name, host, mode)
    listen: dict[str, Any] = {
        "tls": tls,
        **draw(_optional(port=st.sampled_from([8443, 9443] if tls else [8081, 9081]), http_port=st.sampled_from([80, 8080]))),
    }
    if tls:
        listen.update(certificate=draw(PAIR), **draw(_optional(hsts=st.booleans())))
    grpc = tls and draw(st.booleans())
    timeouts = _optional(
        connect_timeout=st.sampled_from(["1s", "5s"]), read_timeout=st.sampled_from(["10s", "1m"]), buffering=st.booleans()
    )
    proxy = {**draw(timeouts), **({"protocol": "grpc"} if grpc else {})}
    paths = draw(PATHS)
    made: dict[str, Any] = {
        "name": name,
        "host": host,
        "listen": listen,
        "upstream_tls": upstream,
        "paths": [{"path": path, "service": draw(SERVICE)} for path in paths],
        "proxy": proxy,
    }
    if draw(st.booleans()):
        made["paths"][0]["proxy"] = {**draw(timeouts), **({"protocol": draw(st.sampled_from(["http", "grpc"]))} if tls else {})}
    if draw(st.booleans()):
        made["rate_limit"] = "10r/s"
    if draw(st.booleans()):
        made["access"] = {"deny": ["203.0.113.0/24"], "allow": [{"paths": ["/a/*"], "methods": ["GET"]}]}
    if draw(st.booleans()):
        made["hosts"] = [f"*.{name}.example.net"]
        made.pop("access", None)
    return made


def _passed(draw: st.DrawFn, name: str, host: str, mode: str) -> dict[str, Any]:
    """Clients speak TLS to the gateway, or to the app behind it."""
    return {
        "name": name,
        "host": host,
        "listen": {"mode": "passthrough", **draw(_optional(port=st.sampled_from([8443, 9443])))},
        "upstream_tls": {"mode": mode, **draw(_optional(server_ca=AUTHORITY)), **({"client_ca": draw(SECRET)} if mode == "mutual" else {})},
        "paths": [{"path": "/", "service": draw(SERVICE)}],
        "proxy": {"proxy_protocol": draw(st.booleans())},
    }


@st.composite
def route_lists(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Up to three routes that get on with each other."""
    return [draw(route(name)) for name in ("shop", "pay", "news")[: draw(st.integers(1, 3))]]
