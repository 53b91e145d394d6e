# SPDX-License-Identifier: GPL-3.0-or-later
"""What a probe sends and what it expects: the module's options, and the same as types."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from .._address import bracketed, ip, join

PHASES = ("dns", "tcp", "proxy_protocol", "tls_handshake", "tls_first_read", "http", "policy")

_CLIENT: dict[str, Any] = {
    "type": "dict",
    "options": {
        "cert_file": {"type": "path"},
        "key_file": {"type": "path"},
        "foreign": {"type": "bool", "default": False},
    },
}
_TLS: dict[str, Any] = {
    "type": "dict",
    "options": {
        "sni": {"type": "str"},
        "verify_name": {"type": "str"},
        "ca_file": {"type": "path"},
        "ca_pem": {"type": "str"},
        "rules": {"type": "str", "choices": ["nginx", "envoy", "none"], "default": "nginx"},
        "verify_depth": {"type": "int"},
        "client": _CLIENT,
        "alpn": {"type": "list", "elements": "str", "default": []},
        "min_version": {"type": "str", "choices": ["1.0", "1.1", "1.2", "1.3"]},
        "max_version": {"type": "str", "choices": ["1.0", "1.1", "1.2", "1.3"]},
    },
}
_HTTP: dict[str, Any] = {
    "type": "dict",
    "options": {
        "version": {"type": "str", "choices": ["1.0", "1.1", "2"], "default": "1.1"},
        "method": {"type": "str", "default": "GET"},
        "path": {"type": "str", "default": "/"},
        "host": {"type": "str"},
        "headers": {"type": "dict", "default": {}},
        "after": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "method": {"type": "str", "default": "HEAD"},
                "path": {"type": "str", "default": "/"},
                "host": {"type": "str"},
            },
        },
    },
}
_EXPECT: dict[str, Any] = {
    "type": "dict",
    "options": {
        "status": {"type": "list", "elements": "str", "default": []},
        "http_version": {"type": "str", "choices": ["1.0", "1.1", "2"]},
        "body_contains": {"type": "str"},
        "body_json": {"type": "dict", "default": {}},
        "headers": {"type": "dict", "default": {}},
        "tls_version": {"type": "str", "choices": ["1.0", "1.1", "1.2", "1.3"]},
        "certificate_requested": {"type": "bool"},
        "leaf_sha256": {"type": "str"},
        "refused": {"type": "bool", "default": False},
        "phase": {"type": "list", "elements": "str", "choices": list(PHASES), "default": []},
        "codes": {"type": "list", "elements": "str", "default": []},
    },
}
PATH_OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "proxy_protocol": {"type": "str", "choices": ["v1", "v2"]},
    "tls": _TLS,
    "http": _HTTP,
    "consecutive": {"type": "int", "default": 1},
    "in_turn": {"type": "bool", "default": False},
    "expect": _EXPECT,
}
OPTIONS: dict[str, Any] = {
    "paths": {"type": "list", "elements": "dict", "required": True, "options": PATH_OPTIONS},
    "attempt_timeout": {"type": "int", "default": 10},
    "timeout": {"type": "int", "default": 120},
    "wait": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 30},
    "concurrency": {"type": "int", "default": 8},
    "fail": {"type": "bool", "default": True},
    # made by the action plugin, for paths with client.foreign
    "foreign_certificate": {"type": "str", "no_log": True},
}


@dataclass(frozen=True)
class Client:
    """The client certificate to show: two files on the probing host, or the throw-away foreign one."""

    cert_file: str = ""
    key_file: str = ""
    foreign: bool = False


@dataclass(frozen=True)
class Tls:
    """How to speak TLS. ``sni`` "" sends none; ``rules`` says by whose rules the server's chain is judged."""

    sni: str = ""
    verify_name: str = ""
    ca_file: str = ""
    ca_pem: str = ""
    rules: str = "nginx"
    verify_depth: int | None = None
    client: Client | None = None
    alpn: tuple[str, ...] = ()
    min_version: str = ""
    max_version: str = ""


@dataclass(frozen=True)
class Http:
    """One request. ``host`` "" sends no Host header; ``after`` are requests that go before it over the same connection."""

    version: str = "1.1"
    method: str = "GET"
    path: str = "/"
    host: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    after: tuple[Http, ...] = ()


@dataclass(frozen=True)
class Expect:
    """What makes a probe ``ok``. Empty fields expect nothing in particular; ``status`` empty means 200 to 399."""

    status: tuple[int, ...] = ()
    http_version: str = ""
    body_contains: str = ""
    body_json: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str | None] = field(default_factory=dict)
    tls_version: str = ""
    certificate_requested: bool | None = None
    leaf_sha256: str = ""
    refused: bool = False
    phase: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Path:
    """One path to probe: where to connect, what to send, what to expect. One ``in_turn`` asks what those before it left behind."""

    name: str
    address: str
    port: int
    proxy_protocol: str = ""
    tls: Tls | None = None
    http: Http | None = None
    consecutive: int = 1
    in_turn: bool = False
    expect: Expect = Expect()

    @property
    def target(self) -> str:
        """Where it connects, as text: ``198.18.0.1:30443``, ``[::1]:443``."""
        return join(self.address, self.port)


def path(options: dict[str, Any]) -> Path:
    """The typed form of one entry of ``paths``, with the defaults that depend on other options.

    :raises ValueError: for what can't be sent (names the option and why).
    """
    name, address, port = options["name"], options["address"].strip("[]"), options["port"]
    if not 0 < port < 65536:
        raise ValueError(f"port {port} is not between 1 and 65535")
    tls, http = options.get("tls"), options.get("http")
    host = (http or {}).get("host")
    if tls is not None:
        sni = tls.get("sni")
        if sni is None:
            sni = tls.get("verify_name") or _without_port(host or "") or ("" if ip(address) else address)
        tls = _tls(tls, sni)
    if http is not None:
        if host is None:
            host = (tls.sni if tls else "") or (bracketed(address) if port in (80, 443) else join(address, port))
        http = _http(http, host)
    return Path(
        name=name,
        address=address,
        port=port,
        proxy_protocol=options.get("proxy_protocol") or "",
        tls=tls,
        http=http,
        consecutive=max(1, options.get("consecutive") or 1),
        in_turn=bool(options.get("in_turn")),
        expect=_expect(options.get("expect") or {}),
    )


def _tls(tls: dict[str, Any], sni: str) -> Tls:
    if len(sni) > 253 or sni.startswith(".") or any(char.isspace() for char in sni):
        raise ValueError("tls.sni is not a host name")
    client = tls.get("client")
    if client is not None:
        client = Client(client.get("cert_file") or "", client.get("key_file") or "", bool(client.get("foreign")))
        if client.foreign == bool(client.cert_file or client.key_file):
            raise ValueError("tls.client takes either cert_file and key_file, or foreign: true")
        if not client.foreign and not (client.cert_file and client.key_file):
            raise ValueError("tls.client needs both cert_file and key_file")
    return Tls(
        sni=sni,
        verify_name=tls.get("verify_name") or sni,
        ca_file=tls.get("ca_file") or "",
        ca_pem=tls.get("ca_pem") or "",
        rules=tls.get("rules") or "nginx",
        verify_depth=tls.get("verify_depth"),
        client=client,
        alpn=tuple(tls.get("alpn") or ()),
        min_version=tls.get("min_version") or "",
        max_version=tls.get("max_version") or "",
    )


def _http(http: dict[str, Any], host: str) -> Http:
    version, after = http.get("version") or "1.1", http.get("after") or []
    if after and version != "1.1":
        raise ValueError("http.after needs a connection that stays, so HTTP/1.1")
    headers = {str(key): "" if value is None else str(value) for key, value in (http.get("headers") or {}).items()}
    method, target = http.get("method") or "GET", http.get("path") or "/"
    sent = [method, target, host, *headers, *headers.values()]
    if any(ord(char) < 32 or ord(char) == 127 for text in sent for char in text) or " " in method + target:
        raise ValueError("http has a control character or a blank where none can be sent")
    if any(":" in key or " " in key or not key for key in headers):
        raise ValueError("http.headers has a name that is no header name")
    # without a Connection header a connection stays
    before = tuple(
        _http({"headers": {"Connection": ""}, **each, "method": each.get("method") or "HEAD"}, each.get("host") or host) for each in after
    )
    return Http(version=version, method=method, path=target, host=host, headers=headers, after=before)


def _expect(expect: dict[str, Any]) -> Expect:
    return Expect(
        status=tuple(status for given in expect.get("status") or () for status in _statuses(str(given))),
        http_version=expect.get("http_version") or "",
        body_contains=expect.get("body_contains") or "",
        body_json=expect.get("body_json") or {},
        headers=expect.get("headers") or {},
        tls_version=expect.get("tls_version") or "",
        certificate_requested=expect.get("certificate_requested"),
        leaf_sha256=(expect.get("leaf_sha256") or "").replace(":", "").lower(),
        refused=bool(expect.get("refused")),
        phase=tuple(expect.get("phase") or ()),
        codes=tuple(expect.get("codes") or ()),
    )


def _statuses(given: str) -> range:
    """``418``, or from one to another: ``200-499``."""
    found = re.fullmatch("([1-5][0-9]{2})(?: *- *([1-5][0-9]{2}))?", given.strip())
    statuses = range(int(found[1]), int(found[2] or found[1]) + 1) if found else range(0)
    if not statuses:
        raise ValueError(f"expect.status takes a status from 100 to 599, or a range of them, such as 200-499, not {given!r}")
    return statuses


def _without_port(host: str) -> str:
    name = host.rpartition(":")[0] if host.count(":") == 1 or "]:" in host else host
    return "" if ip(name) else name
