# SPDX-License-Identifier: GPL-3.0-or-later
"""What several lists' runs make of one host together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._lists import OTHER_LIST, Owner, Run
from plugins.module_utils._nginx.change.desired import Desired
from plugins.module_utils._nginx.change.merge import merge
from plugins.module_utils._nginx.change.parts import Change, Part, files_alone, read

NOTHING = Desired({})
LISTS = ("a", "b", "default")


@st.composite
def changes(draw: st.DrawFn, list_name: str = "") -> Change:
    """A run of a list: any parts made, absent ones, exclusive or not. Shared files are named by their content or bear a rank."""
    name = list_name or draw(st.sampled_from(LISTS))
    routes = st.sampled_from(["r1", "r2", "r3"])
    made = draw(st.lists(routes, unique=True))
    parts = []
    for route in made:
        shared: list[dict[str, Any]] = [
            {"path": f"upstream-{which}.conf", "content": f"# {which}\n"} for which in draw(st.lists(st.sampled_from("xyz"), unique=True))
        ]
        rank = draw(st.sampled_from([None, 0, 1, 2]))
        if rank is not None:
            shared.append({
                "path": "bucket.conf", "content": f"# {rank}\n", "rank": rank,
                "instead": [{"present": ["upstream-x.conf", "upstream-y.conf"], "content": f"# both {rank}\n"}],
            })  # fmt: skip
        parts.append({
            "name": route,
            "files": [{"path": f"route-{name}-{route}.conf", "content": draw(st.sampled_from(["# one\n", "# two\n"]))}],
            "shared": shared,
            "depends_on": draw(st.lists(st.sampled_from(["/k1", "/k2"]))),
            "claims": {f"{name} {route}": "words"},
        })  # fmt: skip
    absent = draw(st.lists(routes.filter(lambda route: route not in made)))
    return read(name, parts, absent, draw(st.booleans()), draw(st.sampled_from(["keep", "disabled"])))


def served(*runs: Change) -> Desired:
    """What is there after these runs, each reading what the one before wrote."""
    wanted = NOTHING
    for run in runs:
        wanted = again(merge(wanted, run))
    return wanted


def again(wanted: Desired) -> Desired:
    """As the next run reads it from the manifest."""
    parts = tuple(Part.of_dict(json.loads(json.dumps(part.as_dict())), wanted.files) for part in wanted.parts)
    return Desired(wanted.files, wanted.depends_on, wanted.default_site, parts, wanted.default_sites)


def of(wanted: Desired, list_name: str) -> dict[str, Part]:
    return {part.owner.route: part for part in wanted.parts if part.owner.list_name == list_name}


@given(st.lists(changes(), max_size=6), changes())
def test_a_run_leaves_other_lists_as_they_are(runs: list[Change], last: Change) -> None:
    before, after = served(*runs), served(*runs, last)
    for name in {*LISTS} - {last.run.list_name}:
        assert of(after, name) == of(before, name)
        for part in of(before, name).values():
            assert all(after.files[path] == text for path, text in part.files.items())
            assert part.shared.keys() <= after.files.keys()
        assert before.default_sites.get(name) == after.default_sites.get(name)


@given(st.lists(changes("a"), max_size=3), st.lists(changes("b"), max_size=3), st.data())
def test_the_order_of_two_lists_runs_does_not_matter(ours: list[Change], theirs: list[Change], data: st.DataObject) -> None:
    """Each list's own runs have an order; how two lists' runs fall in between each other is chance."""
    mixed, left = [], [list(ours), list(theirs)]
    while any(left):
        mixed.append(data.draw(st.sampled_from([one for one in left if one])).pop(0))
    assert served(*mixed) == served(*ours, *theirs)


@given(st.lists(changes(), min_size=1, max_size=6))
def test_a_second_run_changes_nothing(runs: list[Change]) -> None:
    once, twice = served(*runs), served(*runs, runs[-1])
    assert once == twice
    assert once.digest({}) == twice.digest({})


@given(st.lists(changes(), max_size=6))
def test_a_run_has_its_list_as_it_says(runs: list[Change]) -> None:
    wanted: dict[tuple[str, str], Part] = {}
    for change in runs:
        run = change.run
        for key in list(wanted):
            if key[0] == run.list_name and (run.exclusive or key[1] in run.absent):
                del wanted[key]
        wanted.update({(run.list_name, part.owner.route): part for part in change.parts})
    assert {(part.owner.list_name, part.owner.route): part for part in served(*runs).parts} == wanted


@given(st.lists(changes(), max_size=6))
def test_a_file_is_there_exactly_while_a_part_names_it(runs: list[Change]) -> None:
    wanted = served(*runs)
    assert wanted.files.keys() == {path for part in wanted.parts for path in (*part.files, *part.shared)}
    assert set(wanted.depends_on) == {path for part in wanted.parts for path in part.depends_on}
    ranks = [part.shared["bucket.conf"].rank for part in wanted.parts if "bucket.conf" in part.shared]
    if ranks:
        both = {"upstream-x.conf", "upstream-y.conf"} <= wanted.files.keys()
        assert wanted.files["bucket.conf"] == f"# {'both ' if both else ''}{max(ranks)}\n"


@given(st.lists(changes(), max_size=6), st.sampled_from(LISTS))
def test_the_end_of_a_list_is_as_if_it_had_never_been(runs: list[Change], name: str) -> None:
    assert served(*runs, Change(Run.teardown(name))) == served(*(run for run in runs if run.run.list_name != name))


# --- refused ---


def part(name: str, **more: Any) -> Mapping[str, Any]:
    return {"name": name, **more}


def refusal(before: Change, change: Change) -> EdgeError:
    with pytest.raises(EdgeError) as caught:
        merge(merge(NOTHING, before), change)
    return caught.value


@pytest.mark.parametrize(
    ("theirs", "ours", "what"),
    [
        ({"claims": {"443/x": "host x on port 443"}}, {"claims": {"443/x": "host x on port 443"}}, "host x on port 443"),
        ({"agrees": {"port 443": "TLS"}}, {"agrees": {"port 443": "plain HTTP"}}, "port 443 is TLS and can't be plain HTTP too: it"),
        ({"files": [{"path": "x", "content": ""}]}, {"files": [{"path": "x", "content": ""}]}, "file x"),
        ({"files": [{"path": "x", "content": ""}]}, {"shared": [{"path": "x", "content": ""}]}, "file x"),
        ({"shared": [{"path": "x", "content": ""}]}, {"files": [{"path": "x", "content": ""}]}, "file x"),
        (
            {"shared": [{"path": "x", "content": "1"}]},
            {"shared": [{"path": "x", "content": "2"}]},
            "shared file x, which has another content there,",
        ),
    ],
)
def test_what_another_part_has_is_refused_by_its_name(theirs: dict[str, Any], ours: dict[str, Any], what: str) -> None:
    error = refusal(read("b", [part("store", **theirs)]), read("a", [part("shop", **ours)]))
    assert (error.code, error.what) == (OTHER_LIST, f"{what} belongs to route store of list b")
    assert error.where == "route shop of list a on this host"
    error = refusal(read("a", [part("pay", **theirs)]), read("a", [part("shop", **ours)]))
    assert (error.code, error.what) == ("BAD_ROUTE", f"{what} belongs to route pay of list a already")
    assert "list route pay in the same run, or set it to absent" in error.fix
    with pytest.raises(EdgeError):
        merge(NOTHING, read("a", [part("pay", **theirs), part("shop", **ours)]))


def test_candidates_of_one_rank_are_equal_whatever_a_higher_one_says() -> None:
    """Otherwise it would be the end of the highest that brings the refusal, and hits the wrong list."""
    low, high, other = ([part(name, shared=[{"path": "x", "content": text, "rank": rank}])] for name, text, rank in
                        (("low", "1", 0), ("high", "2", 1), ("other", "3", 0)))  # fmt: skip
    before = merge(merge(NOTHING, read("a", low)), read("b", high))
    assert before.files == {"x": "2"}
    with pytest.raises(EdgeError) as caught:
        merge(before, read("c", other))
    assert caught.value.what.endswith("belongs to route low of list a")


def test_one_run_may_hand_on_what_a_part_had() -> None:
    claims = {"443/x": "host x on port 443"}
    before = merge(NOTHING, read("a", [part("shop", claims=claims)]))
    for run in (
        read("a", [part("pay", claims=claims)], absent=["shop"]),
        read("a", [part("pay", claims=claims)], exclusive=True),
        read("a", [part("pay", claims=claims), part("shop")]),
    ):
        assert Owner("a", "pay") in [each.owner for each in merge(before, run).parts]


def test_files_without_parts_are_all_that_their_list_has() -> None:
    before = merge(merge(NOTHING, read("a", [part("shop")])), read("b", [part("shop")]))
    after = merge(before, files_alone("a", [{"path": "x.conf", "content": ""}], ["/k"], "keep"))
    assert [each.owner.key for each in after.parts] == ["a/files", "b/shop"]
    assert (after.files, after.depends_on) == ({"x.conf": ""}, ("/k",))


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"files": [{"path": "../x", "content": ""}]}, "parts[0].files[0].path"),
        ({"files": [{"path": "x", "content": ""}] * 2}, "parts[0].files[1].path"),
        ({"files": [{"path": "x", "content": "-----BEGIN PRIVATE KEY-----"}]}, "parts[0].files[0] (x)"),
        ({"shared": [{"path": "manifest.json", "content": ""}]}, "parts[0].shared[0].path"),
        ({"shared": [{"path": "x", "content": "-----BEGIN PRIVATE KEY-----"}]}, "parts[0].shared[0] (x)"),
        (
            {"shared": [{"path": "x", "content": "", "instead": [{"present": [], "content": "-----BEGIN PRIVATE KEY-----"}]}]},
            "parts[0].shared[0] (x)",
        ),
        ({"depends_on": ["k"]}, "parts[0].depends_on[0]"),
        ({"material": ["/a/../k"]}, "parts[0].material[0]"),
        ({"probes": [{"client": {"key": "-----BEGIN PRIVATE KEY-----"}}]}, "parts[0].probes[0]"),
        ({"claims": {"a": 1}}, "parts[0].claims"),
        ({"claims": {"a": "-----BEGIN PRIVATE KEY-----\n"}}, "parts[0].claims"),
        ({"agrees": {"a": "b\nc"}}, "parts[0].agrees"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(given: dict[str, Any], where: str) -> None:
    with pytest.raises(EdgeError) as caught:
        read("a", [part("shop", **given)])
    assert caught.value.where == where


def test_names_are_checked() -> None:
    for wrong in (lambda: read("a/b", []), lambda: read("a", [part("x/y")]), lambda: read("a", [], ["../x"])):
        with pytest.raises(EdgeError):
            wrong()
    with pytest.raises(EdgeError, match="listed twice"):
        read("a", [part("x"), part("x")])
    with pytest.raises(EdgeError, match="to be made and absent"):
        read("a", [part("x")], ["x"])
