# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the role's template as Ansible does, and reads it back with nginx-crossplane."""

from __future__ import annotations

import copy
import functools
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crossplane
import jinja2
import yaml

from plugins.module_utils import _values as values
from plugins.module_utils._nginx.change.desired import Desired
from plugins.module_utils._nginx.change.merge import merge
from plugins.module_utils._nginx.change.parts import read as change
from plugins.module_utils._nginx.read.syntax import matching
from plugins.module_utils._nginx.write.blocks import Settings
from plugins.module_utils._nginx.write.offload import as_dict, offload
from plugins.module_utils._nginx.write.parts import parts
from plugins.module_utils._routes.load import load

ROLE = Path(__file__).parents[3] / "roles" / "nginx_offload"
ADDRESSES = {"main": ["192.0.2.10:30443", "[2001:db8::10]:30443"]}


def route(**changes: Any) -> dict[str, Any]:
    """A route as a user writes it; keys with dots reach inside, None removes."""
    made: dict[str, Any] = {
        "name": "shop",
        "host": "shop.example.com",
        "listen": {"certificate": "shop-public"},
        "upstream_tls": {"mode": "simple"},
        "paths": [{"path": "/", "service": {"namespace": "shop", "name": "web", "port": 8000}}],
    }
    for place, value in changes.items():
        *parents, last = place.split("__")
        target = made
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = copy.deepcopy(value)
    return made


MUTUAL = {
    "upstream_tls__mode": "mutual",
    "upstream_tls__client_certificate": "edge-client",
    "upstream_tls__client_names": ["edge.example.com"],
}


#: The gateway ends TLS, or hands it on to the app; nginx does neither.
PASSED = {"listen": {"mode": "passthrough", "port": 8443}}
SERVICE = {"namespace": "shop", "name": "web", "port": 8000}
#: What people ask for, one route for each; together they are one host's configuration.
EXAMPLES: dict[str, dict[str, Any]] = {
    "plain": {"listen": {"tls": False}},
    "mutual": {**MUTUAL, "listen__hsts": {"include_subdomains": True, "preload": True}},
    "wildcard": {"hosts": ["wildcard.example.com", "*.wildcard.example.com", "x" * 50 + ".example.com"]},
    "uploads": {"proxy": {"client_max_body_size": "2g", "request_buffering": False, "send_timeout": "10m"}},
    "events": {"paths": [
        {"service": SERVICE}, {"path": "/events", "service": SERVICE, "proxy": {"buffering": False, "read_timeout": "1h"}},
    ]},
    "grpc": {**MUTUAL, "proxy": {"protocol": "grpc", "read_timeout": "1h"}},
    "mixed": {**MUTUAL, "paths": [
        {"service": SERVICE}, {"path": "/shop.v1.Cart/", "service": SERVICE, "proxy": {"protocol": "grpc"}},
        {"path": "/import", "match": "exact", "service": SERVICE, "proxy": {"client_max_body_size": "0", "websocket": False}},
    ]},
    "limited": {"rate_limit": {"rate": "10r/s", "burst": 20, "connections": 10}},
    "logged": {**MUTUAL, "access_log": "json"},
    "unlogged": {"access_log": "off", "upstream_tls__verify": False},
    "acme": {"listen": {
        "certificate": {"cert_file": "/etc/edgemesh/tls/a.crt", "key_file": "/etc/edgemesh/tls/a.key"}, "acme_webroot": "/srv/acme",
    }},
    "passed": {**PASSED, "proxy": {"proxy_protocol": True}, "access_log": "json"},
    "passed-on": {**PASSED, "hosts": ["*.passed-on.example.com"], "upstream_tls": {"mode": "passthrough"}},
    "passed-beside": {"listen": {"mode": "passthrough"}, "upstream_tls": {"mode": "mutual"}, "access_log": "off"},
}  # fmt: skip


def example(name: str) -> dict[str, Any]:
    """One of them, under a name and a host of its own."""
    return route(**{"name": name, "host": f"{name}.example.com", **EXAMPLES[name]})


def plan(*routes: dict[str, Any], gateways: Any = None, upstreams: Any = None, **settings: Any) -> dict[str, Any]:
    """The templates' data for routes as users write them."""
    build = f"nginx version: nginx/{settings.pop('version', '1.22.1')}\n{settings.pop('configured', '')}"
    settings = {"build": build, "acme_webroot": "/var/www/html", "ipv6": False, **settings}
    return as_dict(offload(load(list(routes), gateways), ADDRESSES if upstreams is None else upstreams, Settings(**settings)))


def blocks(made: dict[str, Any], kind: str, context: str = "http") -> list[dict[str, Any]]:
    """The data of the files of one shape."""
    return [file["it"] for file in made[context] if file["kind"] == kind]


def depends_on(made: dict[str, Any]) -> set[str]:
    """What all parts refer to."""
    return {path for part in made["parts"] for path in part["depends_on"]}


@functools.cache
def template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    environment.filters["edgemesh.nginx_istio.nginx_value"] = lambda value, kind, where="": values.TYPES[kind](value, where)
    environment.filters["to_json"] = json.dumps
    return environment.from_string((ROLE / "templates" / name).read_text())


@functools.cache
def defaults() -> dict[str, Any]:
    return dict(yaml.safe_load((ROLE / "defaults" / "main.yml").read_text()))


def parts_of(made: dict[str, Any], **variables: Any) -> list[dict[str, Any]]:
    """What the role hands to nginx_config."""
    given = {**defaults(), "nginx_offload_plan": made, **variables}
    return parts(made, "".join(template(name).render(given) for name in ("routes.conf.j2", "stream.conf.j2")))


def merged(*lists: list[dict[str, Any]]) -> dict[str, str]:
    """The files of a generation, by path, that has the parts of these lists."""
    whole = Desired({})
    for number, each in enumerate(lists):
        whole = merge(whole, change(f"list{number}", each))
    return dict(whole.files)


def files_of(made: dict[str, Any], **variables: Any) -> dict[str, str]:
    """The same for one list alone."""
    return merged(parts_of(made, **variables))


def inlined(files: dict[str, str], folder: str = "", order: Callable[[str], Any] = str) -> str:
    """The text that nginx reads in the http or (``stream/``) in the stream context, with everything included.

    :param order: of paths; nginx's is that of names.
    """

    def bring(match: re.Match[str]) -> str:
        return "".join(INCLUDE.sub(bring, files[path]) for path in sorted(files, key=order) if matching(f"/{match[1]}", [there(path)]))

    return "".join(INCLUDE.sub(bring, files[path]) for path in sorted(files, key=order) if matching(f"/{folder}*.conf", [f"/{path}"]))


def there(path: str) -> str:
    return f"/edgemesh/current/{path}"


def dumped(files: dict[str, str]) -> str:
    """What ``nginx -T`` prints where these are all that it reads."""
    main = f"events {{ }}\nhttp {{\n{CONTEXT.format('')}}}\nstream {{\n{CONTEXT.format('stream/')}}}\n"
    texts = {"/etc/nginx/nginx.conf": main, **{f"/etc/nginx{there(path)}": text for path, text in files.items()}}
    return "".join(f"# configuration file {path}:\n{text}\n" for path, text in texts.items())


CONTEXT = "    include edgemesh/current/{}*.conf;\n"
INCLUDE = re.compile(r"^ *include (edgemesh/current/[^;]+);\n", re.MULTILINE)


def render(made: dict[str, Any], **variables: Any) -> str:
    """All that nginx reads in the http context."""
    return inlined(files_of(made, **variables))


def render_stream(made: dict[str, Any], **variables: Any) -> str:
    """All that it reads in the stream context, empty where there is nothing."""
    return inlined(files_of(made, **variables), "stream/")


def read_back(text: str, context: str = "http") -> list[dict[str, Any]]:
    """The directives that nginx-crossplane finds, as nginx would in this context."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"events {{ }}\n{context} {{\n{text}}}\n")
        file.flush()
        # of `resolver` in an upstream of the stream context, new in nginx 1.27.3, crossplane doesn't know
        parsed = crossplane.parse(file.name, single=True, check_ctx=context == "http", check_args=True)
    assert parsed["status"] == "ok", parsed["errors"]
    return list(parsed["config"][0]["parsed"][1]["block"])


def flat(block: list[dict[str, Any]], above: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], list[str]]]:
    """(names from the outside in, arguments) for each directive in order."""
    found = []
    for one in block:
        here = (*above, one["directive"])
        found.append((here, list(one["args"])))
        found += flat(one.get("block", []), here)
    return found


def servers(text: str) -> list[dict[str, list[list[str]]]]:
    """The server blocks as directive name -> argument lists, locations under ``location <path>``."""
    return [_directives(one["block"]) for one in read_back(text) if one["directive"] == "server"]


def _directives(block: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in block:
        if "block" in one:
            found[" ".join([one["directive"], *one["args"]])] = _directives(one["block"])
        else:
            found.setdefault(one["directive"], []).append(one["args"])
    return found
