# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading nginx configuration: words, blocks, positions, and the dump of ``nginx -T``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._nginx.read.syntax import Directive, effective, matching, parse, split_dump

TRICKY = r"""
# a comment with ; and {
user www-data;events{worker_connections 768;}
http {
    log_format main '$remote_addr "$request" \'quoted\' ; { }';   # trailing
    map $http_upgrade $connection { default upgrade; "" ''; "~^a\.b{2}$" x; }
    server { listen 80; server_name ~^(?<x>[a-z]+)\.example\.com$ "two words";
        location ~ \.php$ { return 200 "multi
line ${host}"; }
        if ($host = a}b) { return 403; }
        set $x ${host}suffix;
    }
}
"""


def shape(block: list[Directive]) -> list[Any]:
    return [(one.name, one.args, None if one.block is None else shape(one.block)) for one in block]


def test_words_blocks_and_quotes() -> None:
    user, events, http = parse(TRICKY, "x.conf")
    assert (user.name, user.args, user.line) == ("user", ["www-data"], 3)
    assert shape(events.block or []) == [("worker_connections", ["768"], None)]
    log, upgrade, server = http.block or []
    assert log.args == ["main", """$remote_addr "$request" 'quoted' ; { }"""]
    assert [(one.name, one.args) for one in upgrade.block or []] == [("default", ["upgrade"]), ("", [""]), ("~^a\\.b{2}$", ["x"])]
    names = server.find("server_name")[0].args
    assert names == ["~^(?<x>[a-z]+)\\.example\\.com$", "two words"]
    location, condition, variable = (server.block or [])[2:]
    assert (location.block or [])[0].args == ["200", "multi\nline ${host}"]
    assert condition.args == ["($host", "=", "a}b)"]
    assert variable.args == ["$x", "${host}suffix"]


def test_positions_cover_the_directive() -> None:
    for one in parse(TRICKY):
        text = TRICKY[one.start : one.end]
        assert text.startswith(one.name)
        assert text.endswith("}" if one.block is not None else ";")


@pytest.mark.parametrize("text", ["a b", "a {", "}", "a; }", "{ a; }", ";", "a { b }", 'a "b;'])
def test_what_nginx_refuses_too(text: str) -> None:
    with pytest.raises(EdgeError):
        parse(text, "x.conf")


WORD = st.text(st.sampled_from("abz019-._/$*~^()[]|+?:=,@!"), min_size=1, max_size=12)
QUOTED = st.text(st.sampled_from("abz01 ;{}#$'\n\t/"), max_size=12).map(lambda text: '"' + text + '"')
DIRECTIVES = st.recursive(
    st.tuples(WORD, st.lists(st.one_of(WORD, QUOTED), max_size=4), st.none()),
    lambda inner: st.tuples(WORD, st.lists(st.one_of(WORD, QUOTED), max_size=3), st.lists(inner, max_size=4)),
    max_leaves=12,
)


def write(directives: list[Any], gap: str) -> str:
    return gap.join(
        " ".join([name, *args]) + (";" if block is None else " {" + gap + write(block, gap) + gap + "}") for name, args, block in directives
    )


def unquoted(directives: list[Any]) -> list[Any]:
    return [(name, [arg.strip('"') for arg in args], None if block is None else unquoted(block)) for name, args, block in directives]


@given(st.lists(DIRECTIVES, max_size=5), st.sampled_from(["\n", " ", "\n# ;{}'\"\n", "\t\r\n"]))
def test_reads_back_what_was_written(directives: list[Any], gap: str) -> None:
    assert shape(parse(write(directives, gap))) == unquoted(directives)


@given(st.text(st.sampled_from("ab ;{}#\"'\\$\n\t"), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text, "x")
    except EdgeError as error:
        if "x" not in error.where:
            pytest.fail(f"a refusal that names no file: {error}")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="nginx-crossplane is a tool of the controller's tests")
def test_agrees_with_crossplane(tmp_path: Path) -> None:
    import crossplane

    path = tmp_path / "nginx.conf"
    # nginx takes a } inside a word, crossplane does not
    text = TRICKY.replace("a}b", "ab")
    path.write_text(text)
    read = crossplane.parse(str(path), single=True, check_ctx=False, check_args=False)["config"][0]["parsed"]

    def crossed(block: list[dict[str, Any]]) -> list[Any]:
        return [
            (one["directive"], [strip(one, arg) for arg in one["args"]], crossed(one["block"]) if "block" in one else None) for one in block
        ]

    def strip(one: dict[str, Any], arg: str) -> str:
        return arg.replace("\\'", "'")

    def ours(block: list[Directive]) -> list[Any]:
        # crossplane takes the parentheses off an `if`
        return [
            (
                one.name,
                [arg.strip("()") for arg in one.args] if one.name == "if" else one.args,
                None if one.block is None else ours(one.block),
            )
            for one in block
        ]

    assert ours(parse(text)) == crossed(read)


DUMP = """\
# configuration file /etc/nginx/nginx.conf:
pid /run/x.pid;
include modules-enabled/*.conf;
http {
    include conf.d/*.conf;
    include /etc/nginx/sites-enabled/[ab]*;
}

# configuration file /etc/nginx/conf.d/b.conf:
server { listen 81; include snippets/tls.conf; }

# configuration file /etc/nginx/snippets/tls.conf:
ssl_protocols TLSv1.2;

# configuration file /etc/nginx/conf.d/a.conf:
server { listen 80; }

# configuration file /etc/nginx/sites-enabled/bad:
server { listen 82; }
"""


def test_a_dump_becomes_one_tree() -> None:
    assert list(split_dump(DUMP))[1:3] == ["/etc/nginx/conf.d/b.conf", "/etc/nginx/snippets/tls.conf"]
    pid, http = effective(DUMP)
    assert pid.args == ["/run/x.pid"]
    assert [(server.find("listen")[0].args[0], server.file, server.line) for server in http.find("server")] == [
        ("80", "/etc/nginx/conf.d/a.conf", 1),
        ("81", "/etc/nginx/conf.d/b.conf", 1),
        ("82", "/etc/nginx/sites-enabled/bad", 1),
    ]
    assert http.find("server")[1].find("ssl_protocols")[0].file == "/etc/nginx/snippets/tls.conf"
    assert effective("") == []


def test_includes_match_as_glob_does() -> None:
    paths = ["/c/conf.d/b.conf", "/c/conf.d/a.conf", "/c/conf.d/.a.conf", "/c/conf.d/x/a.conf", "/c/conf.d/a.conf.bak"]
    assert matching("/c/conf.d/*.conf", paths) == ["/c/conf.d/a.conf", "/c/conf.d/b.conf"]
    assert matching("/c/conf.d/.*.conf", paths) == ["/c/conf.d/.a.conf"]
    assert matching("/c/./conf.d/[!b].conf", paths) == ["/c/conf.d/a.conf"]
    assert matching("/c/conf.d/b.conf", paths) == ["/c/conf.d/b.conf"]
