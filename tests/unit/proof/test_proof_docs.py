# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/proof.md has the tables of each kind of path, as its catalogue says. EDGEMESH_WRITE_DOCS=1 writes them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from plugins.module_utils._probe.causes import CAUSES, Context
from plugins.module_utils._proof import kinds
from plugins.module_utils._proof.checks import NEGATIVE, NEIGHBOURS, NEIGHBOURS_TITLE, Check
from plugins.module_utils._proof.judge import RULES
from plugins.module_utils._proof.kind import Kind
from plugins.module_utils._proof.kinds import KINDS

DOCS = Path(__file__).parents[3] / "docs" / "proof.md"
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


def row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def checks(kind: Kind) -> str:
    """A table for each hop, and one for the neighbours."""
    found = []
    for key, title in [*((hop.key, hop.title) for hop in kind.chain.hops), (NEIGHBOURS, NEIGHBOURS_TITLE)]:
        found += [f"### {title}", row("Check", "", "Claim", "Why this is evidence", "Control", "Required"), "|---" * 6 + "|"]
        found += [_check(check) for check in kind.checks.values() if check.hop == key]
        found.append("")
    return "\n".join(found[:-1])


def _check(check: Check) -> str:
    sign, control = ("-" if check.polarity == NEGATIVE else "+"), f"`{check.control}`" if check.control else ""
    name = f'<a id="{check.name}"></a>`{check.name}`'
    return row(name, sign, check.title, check.proves, control, "yes" if check.required else "")


def causes(kind: Kind) -> str:
    """Those that only its proofs find."""
    found = [row("Code", "Why", "Fix"), "|---" * 3 + "|"]
    for code, cause in kind.causes.items():
        found.append(row(f'<a id="{code.lower()}"></a>`{code}`', cause.sentence(Context()), f"`{cause.remedy(Context())}`"))
    return "\n".join(found)


@every_kind
@pytest.mark.parametrize("table", [checks, causes], ids=["checks", "causes"])
def test_the_tables_are_those_of_the_catalogue(kind: Kind, table: Callable[[Kind], str]) -> None:
    text, name = DOCS.read_text(encoding="utf-8"), f"{table.__name__} of {kind.name}"
    before, found, after = re.split(rf"(?s)(?<=<!-- {name} -->\n)(.*)(?=\n<!-- end of {name} -->)", text)
    if os.environ.get("EDGEMESH_WRITE_DOCS"):
        DOCS.write_text(before + table(kind) + after, encoding="utf-8")
    else:
        assert found == table(kind)


def test_nothing_else_has_an_anchor() -> None:
    known = {name for kind in KINDS.values() for name in (*kind.checks, *map(str.lower, kind.causes))}
    assert set(re.findall(r'<a id="([^"]+)"', DOCS.read_text(encoding="utf-8"))) == known


@every_kind
def test_what_checks_name_is_there(kind: Kind) -> None:
    hops = kind.chain.order
    for name, check in kind.checks.items():
        rule = kind.rules.get(check.judge) or RULES[check.judge]
        assert name == check.name
        assert check.hop in (*hops, NEIGHBOURS)
        assert check.control in ("", *kind.checks)
        assert rule.code in ("", *kind.causes, *CAUSES), "a failure by this rule would have no cause"
    assert kind.unlike in (*kind.causes, *CAUSES)


@every_kind
def test_the_hops_are_a_chain(kind: Kind) -> None:
    nodes = [node.key for node in kind.chain.nodes]
    assert [(hop.start, hop.end) for hop in kind.chain.hops] == [*zip(nodes, nodes[1:]), (nodes[0], nodes[-1])]


@every_kind
def test_each_hop_has_one_name_for_its_session_at_most(kind: Kind) -> None:
    named = [check.hop for check in kind.checks.values() if check.session]
    assert len(named) == len(set(named))


def test_the_core_names_no_kind() -> None:
    """But for the one list of them, and the collection's own name."""
    core = Path(kinds.__file__).parent
    for file in (*core.glob("*.py"), *core.glob("*.j2"), *(core.parents[1] / "action").glob("proof_*.py")):
        words = file.read_text(encoding="utf-8").replace("edgemesh.nginx_istio", "")
        named = set(re.findall(r"(?i)\w*nginx\w*|\bvms?\b|\w*proxy_\w+", words))
        assert named == ({"vm_nginx"} if file.name == "kinds.py" else set()), file
