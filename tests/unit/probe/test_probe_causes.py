# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of causes: complete, documented, and its sentences name only what there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from plugins.module_utils._probe import causes, classify
from plugins.module_utils._probe.causes import CAUSES, Context

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "causes.md").read_text(encoding="utf-8")
FULL = Context(
    target="198.51.100.1:30443", address="198.51.100.1", port="30443", sni="s.example", host="h.example", path="/p", name="n.example",
    ca="/ca.crt", cert="/c.crt", status="502", detail="because",
)  # fmt: skip


def test_every_code_has_one_chapter_and_every_chapter_a_code() -> None:
    chapters = re.findall(r"^## (.+)$", DOCUMENT, re.MULTILINE)
    assert chapters == list(CAUSES)
    linked = re.findall(r"\[([A-Z0-9_]+)\]\(#([a-z0-9_]+)\)", DOCUMENT.partition("\n## ")[0])
    assert [code for code, _anchor in linked] == list(CAUSES)
    assert all(anchor == code.lower() for code, anchor in linked)


def test_every_chapter_says_something() -> None:
    for chapter in DOCUMENT.split("\n## ")[1:]:
        title, _newline, text = chapter.partition("\n")
        assert len(text.split()) >= 8, title


@pytest.mark.parametrize("code", CAUSES)
def test_sentence_and_fix_are_one_line_each_with_nothing_left_open(code: str) -> None:
    cause = CAUSES[code]
    for text in (cause.sentence(FULL), cause.remedy(FULL)):
        assert text
        assert "\n" not in text
        assert not re.search(r"\{[a-z_]+\}", text)
        assert "  " not in text.replace("  #", " #")
    assert cause.sentence(FULL).endswith(".")
    assert cause.anchor == f"docs/causes.md#{code.lower()}"


def test_codes_are_upper_case_words_and_unique() -> None:
    assert len(CAUSES) == len(causes._TABLE)
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", code) for code in CAUSES)


def test_code_names_no_cause_that_the_table_lacks() -> None:
    """Every upper-case word in code position in the modules that classify is a row of the table, and every row is named somewhere."""
    used: set[str] = set()
    folder = ROOT / "plugins" / "module_utils"
    for file in ("_probe/classify.py", "_probe/contrast.py", "_probe/judge.py", "_diagnose/ladder.py", "_diagnose/verdict.py"):
        for node in ast.walk(ast.parse((folder / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", node.value):
                used.add(node.value)
    not_ours = {
        *classify.CHAIN_CODES,
        *classify._NOT_TLS,
        *classify._NO_VERSION,
        "TLS_RECORD",
        "CERT_EXPIRED",
        "NAME_MISMATCH",
        "ISSUER_MISSING",
        "CERTIFICATE_VERIFY_FAILED",
    }
    assert used - set(CAUSES) <= not_ours
    assert set(CAUSES) <= used
