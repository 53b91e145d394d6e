# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx's rules as we read them; that nginx agrees is tested with a real one in tests/integration/probe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._nginx.read.effective import Effective, Proxy, effective, read


def dump(http: str, version: str = "1.22.1", **files: str) -> str:
    text = f"nginx version: nginx/{version}\n# configuration file /etc/nginx/nginx.conf:\nevents {{ }}\nhttp {{\n{http}\n}}\n\n"
    return text + "".join(f"# configuration file /etc/nginx/{name.replace('__', '/')}:\n{content}\n\n" for name, content in files.items())


def way(http: str, host: str = "a.example", path: str = "/", version: str = "1.22.1", **files: str) -> Effective:
    return effective(read(dump(http, version, **files)), host, path)


def proxy(http: str, host: str = "a.example", path: str = "/", version: str = "1.22.1") -> Proxy:
    found = way(http, host, path, version).proxy
    assert found
    return found


def location(inside: str, version: str = "1.22.1", server: str = "", http: str = "") -> Proxy:
    return proxy(f"{http}\nserver {{ listen 80; server_name a.example; {server}\nlocation / {{ {inside} }} }}", version=version)


def test_defaults_of_the_seed() -> None:
    found = location("proxy_pass https://192.0.2.1:32536;")
    assert (found.addresses, found.http_version, found.sni, found.verify) == ([("192.0.2.1", 32536)], "1.0", "", False)
    assert (found.host, found.headers, found.ssl_name) == ("192.0.2.1:32536", {"Connection": "close"}, "192.0.2.1")
    assert found.protocols == ["TLSv1", "TLSv1.1", "TLSv1.2"]


@pytest.mark.parametrize(
    ("version", "http_version", "connection", "keepalive", "protocols"),
    [
        ("1.22.1", "1.0", "close", False, "TLSv1.2"),
        ("1.23.4", "1.0", "close", False, "TLSv1.3"),
        ("1.26.3", "1.0", "close", False, "TLSv1.3"),
        ("1.29.6", "1.0", "close", False, "TLSv1.3"),
        ("1.29.7", "1.1", "", True, "TLSv1.3"),
        ("1.30.1", "1.1", "", True, "TLSv1.3"),
    ],
)
def test_defaults_by_version(version: str, http_version: str, connection: str, keepalive: bool, protocols: str) -> None:
    found = location("proxy_pass https://mesh;", version, http="upstream mesh { server 192.0.2.1:443; }")
    assert (found.http_version, found.headers["Connection"], found.keepalive) == (http_version, connection, keepalive)
    assert found.protocols[-1] == protocols


def test_one_header_drops_all_inherited_ones() -> None:
    found = way(
        "proxy_set_header X-One 1; server { listen 80; server_name a.example; proxy_set_header Host $host;\n"
        "location / { proxy_pass http://192.0.2.1; } location /own { proxy_set_header X-Two 2; proxy_pass http://192.0.2.1; } }",
        path="/own",
    )
    assert found.proxy
    assert (found.proxy.host, found.proxy.headers) == ("192.0.2.1", {"Connection": "close", "X-Two": "2"})
    assert found.lost_host == "/etc/nginx/nginx.conf:3"
    inherited = way(
        "proxy_set_header X-One 1; server { listen 80; server_name a.example; proxy_set_header Host $host;\n"
        "location / { proxy_pass http://192.0.2.1; } }"
    )
    assert inherited.proxy
    assert (inherited.proxy.host, inherited.proxy.headers, inherited.lost_host) == ("a.example", {"Connection": "close"}, "")


def test_an_empty_header_is_not_sent() -> None:
    assert location('proxy_pass http://192.0.2.1; proxy_set_header Connection ""; proxy_set_header Host "";').host == ""


@pytest.mark.parametrize(
    ("target", "host", "addresses"),
    [
        ("http://192.0.2.1", "192.0.2.1", [("192.0.2.1", 80)]),
        ("http://192.0.2.1:80", "192.0.2.1", [("192.0.2.1", 80)]),
        ("https://192.0.2.1:443/x", "192.0.2.1", [("192.0.2.1", 443)]),
        ("https://gw.example:8443", "gw.example:8443", [("gw.example", 8443)]),
        ("https://[2001:db8::1]:8443", "[2001:db8::1]:8443", [("2001:db8::1", 8443)]),
        # a server without a port is at 80, also behind https
        ("https://mesh", "mesh", [("192.0.2.1", 80), ("2001:db8::2", 30443), ("node.example", 30443)]),
        ("http://unix:/run/app.sock:/x", "localhost", []),
    ],
)
def test_targets(target: str, host: str, addresses: list[tuple[str, int]]) -> None:
    mesh = (
        "upstream mesh { server 192.0.2.1; server [2001:db8::2]:30443 weight=2; server node.example:30443 backup;"
        " server 192.0.2.9:1 down; server unix:/s; }"
    )
    found = location(f"proxy_pass {target};", http=mesh)
    assert found.addresses == addresses
    assert found.host == host


@pytest.mark.parametrize(
    ("target", "where", "asked", "sent"),
    [
        ("http://h", "/", "/a/b?c=d", "/a/b?c=d"),
        ("http://h/", "/", "/a/b?c=d", "/a/b?c=d"),
        ("http://h/x/", "/a/", "/a/b?c=d", "/x/b?c=d"),
        ("http://h/x", "/a", "/a/b", "/x/b"),
        ("http://h/", "/a/", "/a/b", "/b"),
        ("http://h/x", "= /a", "/a?c=d", "/x?c=d"),
        ("http://h/x/$1", "~ ^/a/(.*)$", "/a/b", "/x/b"),
        ("http://h/x/$name", "~ ^/a/(?<name>.*)$", "/a/b", "/x/b"),
        ("http://h", "~ ^/a", "/a/b", "/a/b"),
    ],
)
def test_path_sent_on(target: str, where: str, asked: str, sent: str) -> None:
    found = proxy(f"server {{ listen 80; server_name a.example; location {where} {{ proxy_pass {target}; }} }}", path=asked)
    assert found.path == sent


@pytest.mark.parametrize(
    ("settings", "sni", "name"),
    [
        ("", "", "mesh"),
        ("proxy_ssl_server_name on;", "mesh", "mesh"),
        ("proxy_ssl_server_name on; proxy_ssl_name gw.example;", "gw.example", "gw.example"),
        ("proxy_ssl_server_name on; proxy_ssl_name gw.example:8443;", "gw.example", "gw.example"),
        ("proxy_ssl_server_name on; proxy_ssl_name $host;", "a.example", "a.example"),
        ("proxy_ssl_server_name on; proxy_ssl_name 192.0.2.1;", "", "192.0.2.1"),  # RFC 6066: no address
        ("proxy_ssl_name gw.example;", "", "gw.example"),
    ],
)
def test_server_name(settings: str, sni: str, name: str) -> None:
    found = location(f"proxy_pass https://mesh; {settings}", http="upstream mesh { server 192.0.2.1:443; }")
    assert (found.sni, found.ssl_name) == (sni, name)


def test_files_are_relative_to_the_main_file() -> None:
    found = location("proxy_pass https://h; proxy_ssl_trusted_certificate tls/ca.crt; proxy_ssl_certificate /abs/c.crt;")
    assert (found.ca, found.certificate) == ("/etc/nginx/tls/ca.crt", "/abs/c.crt")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("a.example", "exact"),
        ("A.EXAMPLE", "exact"),
        ("a.example.", "exact"),
        ("x.b.example", "leading long"),
        ("x.y.b.example", "leading long"),
        ("d.example", "dot"),
        ("x.d.example", "dot"),
        ("z.example", "leading"),
        ("c.org", "trailing"),
        ("n1.net", "pattern"),
        ("other.test", "default"),
    ],
)
def test_which_server(host: str, expected: str) -> None:
    names = {
        "first": "unused.example.net", "default": "_", "pattern": "~^n\\d+\\.net$", "trailing": "c.*", "leading": "*.example",
        "leading long": "*.b.example", "dot": ".d.example", "exact": "a.example",
    }  # fmt: skip
    servers = "".join(
        f'server {{ listen 80{" default_server" if title == "default" else ""}; server_name {name}; return 200 "{title}"; }}\n'
        for title, name in names.items()
    )
    found = way(servers, host)
    assert found.answer == f"return 200 {expected}"
    assert found.by_name == (expected != "default")


def test_tls_listener_comes_before_plain_one_and_name_before_default() -> None:
    redirecting = "server { listen 80; server_name a.example; return 301 https://$host$request_uri; }"
    secure = "server { listen 443 ssl; server_name a.example; location / { proxy_pass http://192.0.2.1; } }"
    both = way(f"{redirecting} {secure}")
    assert both.listen
    assert (both.listen.port, both.listen.tls, both.proxy is not None) == (443, True, True)
    other = way(f"{redirecting} {secure.replace('a.example', 'b.example')}")
    assert (other.answer, other.by_name) == ("return 301 https://a.example/", True)
    chosen = effective(read(dump(f"{redirecting} {secure}")), "a.example", port=80)
    assert chosen.answer.startswith("return 301")


@pytest.mark.parametrize(
    ("listen", "address", "port"),
    [
        ("8080", "127.0.0.1", 8080), ("*:8080", "127.0.0.1", 8080), ("0.0.0.0:8080", "127.0.0.1", 8080), ("[::]:8080", "::1", 8080),
        ("192.0.2.7:8080", "192.0.2.7", 8080), ("192.0.2.7", "192.0.2.7", 80), ("localhost:8080", "127.0.0.1", 8080),
    ],
)  # fmt: skip
def test_where_to_reach_nginx(listen: str, address: str, port: int) -> None:
    found = way(f"server {{ listen {listen}; server_name a.example; return 204; }}").listen
    assert found
    assert (found.address, found.port) == (address, port)


def test_try_files_ends_in_a_named_location() -> None:
    found = way(
        "server { listen 80; server_name a.example; location / { try_files $uri @mesh; } location @mesh { proxy_pass http://192.0.2.1; } }"
    )
    assert (found.location, found.proxy and found.proxy.addresses) == ("@mesh", [("192.0.2.1", 80)])


def test_proxy_pass_is_not_inherited_by_a_nested_location() -> None:
    http = "server { listen 80; server_name a.example; location / { proxy_pass http://192.0.2.1; location /static/ { root /srv; } } }"
    assert way(http, path="/static/x").proxy is None
    assert way(http, path="/other").proxy is not None


def test_maps_and_sets_are_followed() -> None:
    http = (
        'map $http_upgrade $connection_upgrade { default upgrade; "" ""; }\n'
        "map $host $mesh_name { hostnames; default none.example; *.example gw.$host; ~^b\\.(?<rest>.+)$ $rest; }\n"
        "server { listen 80; server_name a.example; set $backend 192.0.2.1; location / { proxy_pass https://$backend:8443;"
        " proxy_ssl_server_name on; proxy_ssl_name $mesh_name; proxy_set_header Connection $connection_upgrade; } }"
    )
    found = proxy(http)
    assert (found.addresses, found.sni, found.headers) == ([("192.0.2.1", 8443)], "gw.a.example", {"Connection": ""})


def test_what_only_nginx_knows_is_said() -> None:
    found = way("geo $near { default 192.0.2.1; } server { listen 80; server_name a.example; location / { proxy_pass http://$near; } }")
    assert found.proxy
    assert (found.proxy.addresses, len(found.notes)) == ([], 1)
    looping = location("proxy_pass http://192.0.2.1; set $a $b; set $b $a; proxy_set_header X $a;")
    assert "X" not in looping.headers


def test_rewrite_that_stays_is_followed_and_another_is_noted() -> None:
    stays = way(
        "server { listen 80; server_name a.example; location /old/ { rewrite ^/old/(.*)$ /new/$1 break; proxy_pass http://192.0.2.1; } }",
        path="/old/x?y=z",
    )
    assert stays.proxy
    assert stays.proxy.path == "/new/x?y=z"
    goes = way("server { listen 80; server_name a.example; rewrite ^/old /new; location / { proxy_pass http://192.0.2.1; } }", path="/old")
    assert "rewrites the path" in goes.notes[0]


def test_included_files_and_places() -> None:
    found = way(
        "include conf.d/*.conf;",
        conf__d__shop_conf="",
        **{"conf.d__a.conf": "server {\n listen 80;\n server_name a.example;\n return 204;\n}"},
    )
    assert found.server == "/etc/nginx/conf.d/a.conf:1"


@pytest.mark.parametrize(
    "text", ["", "nginx: command not found", "# configuration file /etc/nginx/nginx.conf:\n", "# configuration file /a:\nevents {}\n"]
)
def test_nothing_to_read(text: str) -> None:
    found = effective(read(text), "a.example")
    assert (found.listen, found.proxy) == (None, None)


WORDS = """listen 80 ; { } server_name a.example location / ~ ^~ = @x proxy_pass http://$host https://mesh proxy_set_header Host $x
    set map if return rewrite ^ last try_files upstream mesh server default ( [ \\ $1 ${host} ~( *.a 443 ssl unix:/s [::1]:1 on"""


@given(st.lists(st.sampled_from(WORDS.split()), max_size=60))
def test_nothing_that_parses_breaks_the_reader(words: list[str]) -> None:
    try:
        config = read(dump(f"server {{ listen 80; {' '.join(words)} }}"))
    except EdgeError:
        return
    effective(config, "a.example", "/x")


def test_quic_is_another_port_of_that_number() -> None:
    found = way("server { listen 443 ssl; listen 443 quic reuseport; server_name a.example; location / { proxy_pass https://192.0.2.1; } }")
    assert found.listen
    assert (found.listen.port, found.listen.tls, found.by_name) == (443, True, True)


GRPC = (
    "grpc_pass grpcs://mesh; grpc_ssl_server_name on; grpc_ssl_name m.example; grpc_ssl_verify on; grpc_ssl_verify_depth 3;"
    "grpc_ssl_trusted_certificate /ca.crt; grpc_ssl_certificate /c.crt; grpc_ssl_certificate_key /c.key; grpc_set_header Host $host;"
)
MESH = "upstream mesh { server 192.0.2.1:443; keepalive 8; }"


def test_grpc_is_read_as_the_proxy_module() -> None:
    plain = GRPC.replace("grpc_pass grpcs", "proxy_pass https").replace("grpc_", "proxy_")
    found, same = location(GRPC, http=MESH), location(f"proxy_http_version 1.1; {plain}", http=MESH)
    for name in ("scheme", "addresses", "upstream", "host", "sni", "ssl_name", "verify", "verify_depth", "ca", "certificate", "keepalive"):
        assert getattr(found, name) == getattr(same, name), name
    assert (found.prefix, found.http_version, found.headers) == ("grpc", "2", {})
    assert found.places["proxy_ssl_name"] == same.places["proxy_ssl_name"] != ""


@pytest.mark.parametrize(
    ("target", "scheme", "address"),
    [
        ("grpcs://192.0.2.1:443", "https", ("192.0.2.1", 443)),
        ("grpcs://192.0.2.1", "https", ("192.0.2.1", 443)),
        ("grpc://192.0.2.1:9000", "http", ("192.0.2.1", 9000)),
        ("192.0.2.1:9000", "http", ("192.0.2.1", 9000)),
        ("grpcs://[2001:db8::1]:443", "https", ("2001:db8::1", 443)),
    ],
)
def test_where_grpc_pass_leads(target: str, scheme: str, address: tuple[str, int]) -> None:
    found = location(f"grpc_pass {target};")
    assert (found.scheme, found.addresses, found.verify, found.sni) == (scheme, [address], False, "")


def test_grpc_inherits_and_loses_headers_by_its_own_directives() -> None:
    found = way(
        "grpc_set_header Host $host; proxy_set_header X-Other 1; server { listen 80; server_name a.example; grpc_ssl_verify on;\n"
        "location / { grpc_set_header X-Own 1; grpc_pass grpcs://192.0.2.1:443; } }"
    )
    assert found.proxy
    assert (found.proxy.host, found.proxy.headers, found.proxy.verify) == ("192.0.2.1", {"X-Own": "1"}, True)
    assert found.lost_host.endswith("nginx.conf:3")


def test_a_text_in_the_words_of_the_locations_module() -> None:
    found = location("grpc_pass grpcs://192.0.2.1:443;")
    fix = "proxy_ssl_server_name on; proxy_ssl_name a.example; proxy_set_header Host $host; proxy_pass https://mesh;"
    assert found.own(fix) == "grpc_ssl_server_name on; grpc_ssl_name a.example; grpc_set_header Host $host; grpc_pass grpcs://mesh;"
    assert location("proxy_pass https://192.0.2.1;").own(fix) == fix
    assert found.own("proxy_protocol on;") == "proxy_protocol on;", "that is another module's"
