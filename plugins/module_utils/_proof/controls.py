# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts in the light of each other: no proof without its control, and one root cause for a failure of the whole path."""

from __future__ import annotations

from collections import ChainMap
from typing import Any

from .._probe.causes import CAUSES, Context
from .checks import POSITIVE, Check
from .kind import Kind
from .verdict import FAILED, NOT_TESTED, OK, Verdict

Proofs = list[dict[str, Any]]


def settle(kind: Kind, proofs: Proofs, verdicts: dict[str, Verdict], *, check_mode: bool) -> dict[str, Verdict]:
    """The final verdicts, by proof id.

    :param proofs: all of one kind.
    :param check_mode: nothing may have been set up yet, so what fails counts as not tested.
    """
    by_id = {proof["id"]: proof for proof in proofs}
    settled: dict[str, Verdict] = {}

    def decide(proof: dict[str, Any]) -> Verdict:
        if proof["id"] not in settled:
            control = by_id.get(proof["control"])
            verdict = verdicts[proof["id"]]
            if control and not proof["reason"] and decide(control).status != OK:
                verdict = Verdict(
                    NOT_TESTED, why=f"means nothing without its control: {kind.checks[control['check']].title}", root=control["id"]
                )
            elif check_mode and verdict.status == FAILED:
                verdict = Verdict(
                    NOT_TESTED, verdict.observed, f"check mode: it may not have been set up yet. {verdict.why}", verdict.code, verdict.fix
                )
            settled[proof["id"]] = verdict
        return settled[proof["id"]]

    for proof in proofs:
        decide(proof)
    for proof in proofs:
        if settled[proof["id"]].status == FAILED and _is_symptom(kind, proof, by_id.get(proof["control"])):
            settled[proof["id"]] = _rooted(kind, proof, proofs, settled)
    return settled


def _is_symptom(kind: Kind, proof: dict[str, Any], control: dict[str, Any] | None) -> bool:
    """Whether it claims that the whole path works, and has no other such claim for its control."""

    def whole(check: Check) -> bool:
        return check.hop == kind.chain.whole.key and check.polarity == POSITIVE

    return whole(kind.checks[proof["check"]]) and not (control and whole(kind.checks[control["check"]]))


def _rooted(kind: Kind, proof: dict[str, Any], proofs: Proofs, settled: dict[str, Verdict]) -> Verdict:
    """A failure of the whole path, explained by what fails, or doesn't, from the place that it goes through: the nearest hop first."""
    symptom, order = settled[proof["id"]], kind.chain.order
    same = [
        other for other in proofs if other["vantage"] == proof["through"] and other["route"] == proof["route"] and not other["other_list"]
    ]
    checks = {other["id"]: kind.checks[other["check"]] for other in same}
    ahead = [each for each, check in checks.items() if check.polarity == POSITIVE and check.hop != kind.chain.whole.key]
    for each in sorted(ahead, key=lambda each: order.index(checks[each].hop)):
        root = settled[each]
        if root.status == FAILED:
            return Verdict(FAILED, symptom.observed, root.why, root.code, root.fix, each)
    last = {settled[each].status for each in ahead if checks[each].hop == kind.chain.between[-1].key and settled[each].root != proof["id"]}
    if last != {OK}:
        return symptom
    cause: Any = ChainMap(dict(kind.causes), CAUSES)[kind.unlike]
    context = Context(host=proof["route"], detail=f" from {proof['through']}; what the client saw: {symptom.why}" if symptom.why else "")
    return Verdict(FAILED, symptom.observed, cause.sentence(context), cause.code, cause.remedy(context))
