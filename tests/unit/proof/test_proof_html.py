# SPDX-License-Identifier: GPL-3.0-or-later
"""proof.html stands alone, shows everything, and lets nothing that came over the wire become markup."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from plugins.module_utils._proof.html import page
from plugins.module_utils._proof.report import Run, report
from plugins.module_utils._proof.safe import visible
from plugins.module_utils._proof.verdict import Evidence
from plugins.module_utils._proof.vm_nginx.kind import KIND
from tests.unit.proof.materials import others, routes
from tests.unit.proof.world import World

VOID = {"meta", "br", "link", "img", "input", "hr", "rect", "path"}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></text></svg></style></table><h1>owned",
    "<!-- -->&lt;&amp;",
    "{{ lookup('pipe', 'id') }}{% raw %}",
    "javascript:alert(1)//https://evil.example/",
    "a\x00b\x1b[31m\u202egnp.exe\u2066\u200b",
]


class Document(HTMLParser):
    """Collects tags and text, and insists on proper nesting."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.stack or self.stack[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def broken() -> dict[str, Any]:
    world = World(others=others())
    world.nginx["vm-deb12", "shop"].sends_sni = False
    return world.run()


@pytest.fixture(scope="module")
def model() -> dict[str, Any]:
    return broken()


@pytest.fixture(scope="module")
def document(model: dict[str, Any]) -> Document:
    return Document(page(model))


def test_it_loads_nothing_and_runs_nothing(model: dict[str, Any], document: Document) -> None:
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & {tag for tag, _attrs in document.tags}
    for _tag, attrs in document.tags:
        assert not [name for name in attrs if name.startswith("on") or name in ("src", "srcset", "action", "xlink:href")]
        assert (attrs.get("href") or "#").startswith("#")
    text = page(model)
    assert "default-src 'none'" in text
    assert not re.search(r"@import|url\(", text)


def test_every_proof_with_its_observed_value_is_on_it(model: dict[str, Any], document: Document) -> None:
    text = document.text
    for line in model["proofs"]:
        assert line["title"] in text
        assert line["observed"] in text
        assert line["cause"].get("why", "") in text


def test_what_failed_comes_first_with_cause_and_fix(model: dict[str, Any], document: Document) -> None:
    text = document.text
    failure = model["failures"][0]
    for part in (failure["code"], failure["why"], failure["fix"]):
        assert text.index(part) < text.index("Client to nginx")


def test_the_path_is_drawn_twice_for_each_route_with_observed_values_and_times(model: dict[str, Any]) -> None:
    drawings = re.findall(r"<svg class=\"(wide|tall)\".*?</svg>", page(model), re.DOTALL)
    assert drawings == ["wide", "tall"] * len(model["routes"])
    first = re.search(r"<svg class=\"wide\".*?</svg>", page(model), re.DOTALL)
    assert first
    words = Document(first[0]).text
    for expected in ("CLIENT", "NGINX", "MESH GATEWAY", "APP", "client-1, client-2", "vm-deb12, vm-deb13", "✗ TLS 1.3", "✓ mesh mTLS"):
        assert expected in words
    fact = next(fact for hop in model["hops"] for fact in hop["facts"])
    assert fact["at"][11:23] in words


def test_each_hop_shows_whom_it_takes_for_the_client() -> None:
    """nginx and the app know the clients; the gateway, which trusts nobody yet, knows the VMs."""
    first = re.search(r"<svg class=\"wide\".*?</svg>", page(World().run()), re.DOTALL)
    assert first
    seen = re.findall(r"<text[^>]*>sees ([^<]*)<title>(.*?)</title>", first[0])
    clients, machines = ("198.18.0.101 + 1", "198.18.0.101, 198.18.0.102"), ("198.18.0.11 + 1", "198.18.0.11, 198.18.0.12")
    assert seen == [clients, machines, clients]


def test_certificates_are_there_with_fingerprints_and_dates_each_once(model: dict[str, Any], document: Document) -> None:
    fingerprints = {entry["sha256"] for entry in model["certificates"]}
    for fingerprint in fingerprints:
        assert document.words.count(fingerprint) == 1
    for entry in model["certificates"]:
        assert entry["not_after"][:10] in document.text


def every_text(model: Any, put: str) -> Any:
    """The model with ``put`` added to every text in it, structure and times left alone."""
    keep = {
        "status",
        "hop",
        "kind",
        "key",
        "check",
        "polarity",
        "started",
        "began",
        "ended",
        "at",
        "not_before",
        "not_after",
        "proof",
        "id",
        "root",
        "from",
        "sha256",
    }
    if isinstance(model, dict):
        return {key: value if key in keep or (key == "proofs" and isinstance(value, list) and value and isinstance(value[0], str))
                else every_text(value, put) for key, value in model.items()}  # fmt: skip
    if isinstance(model, list):
        return [every_text(each, put) for each in model]
    return model + put if isinstance(model, str) else model


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_comes_over_the_wire_stays_text(model: dict[str, Any], document: Document, hostile: str) -> None:
    poisoned = Document(page(every_text(copy.deepcopy(model), hostile)))
    assert [tag for tag, _attrs in poisoned.tags if tag not in ("text", "title")] == [
        tag for tag, _attrs in document.tags if tag not in ("text", "title")
    ]
    assert {name for _tag, attrs in poisoned.tags for name in attrs} == {name for _tag, attrs in document.tags for name in attrs}


def test_what_can_not_be_seen_is_made_visible() -> None:
    assert visible("a\x00b\x1bc\u202ed\u200be") == "a\ufffdb\ufffdc\ufffdd\ufffde"
    assert visible("ä → ✓ 日本") == "ä → ✓ 日本"


@pytest.mark.parametrize("ok", [True, False])
@pytest.mark.parametrize("check_mode", [True, False])
def test_the_verdict_stands_on_top(ok: bool, check_mode: bool) -> None:
    model = broken() if not ok else World().run()
    model["check_mode"] = check_mode
    text = Document(page(model)).text
    assert (re.search("Every route .*is proven", text) is not None) == ok
    assert ("check mode" in text) == check_mode


def test_a_run_without_routes_or_results_still_makes_a_page() -> None:
    for entries in ([], routes()):
        Document(page(report(Run("0.1.0"), [(KIND, route) for route in entries], [], [], Evidence(), [])))
