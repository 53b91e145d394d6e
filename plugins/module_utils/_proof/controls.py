"""Verdicts in the light of each other: no proof without its control, and one root cause for a failure through nginx."""

from __future__ import annotations

from typing import Any

from .._probe.causes import Context
from .causes import CAUSES
from .checks import CHECKS, POSITIVE
from .judge import FAILED, NOT_TESTED, OK, Verdict

Proofs = list[dict[str, Any]]


def settle(proofs: Proofs, verdicts: dict[str, Verdict], *, check_mode: bool) -> dict[str, Verdict]:
    """The final verdicts, by proof id.

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
                    NOT_TESTED, why=f"means nothing without its control: {CHECKS[control['check']].title}", root=control["id"]
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
        if proof["check"] == "path.answer" and settled[proof["id"]].status == FAILED:
            settled[proof["id"]] = _rooted(proof, proofs, settled)
    return settled


def _rooted(proof: dict[str, Any], proofs: Proofs, settled: dict[str, Verdict]) -> Verdict:
    """A failure through nginx, explained by what fails, or doesn't, between the same VM and the gateway."""
    symptom = settled[proof["id"]]
    nearer = [other for other in proofs if other["vantage"] == proof["machine"] and other["route"] == proof["route"]]
    for other in nearer:
        root = settled[other["id"]]
        if root.status == FAILED and CHECKS[other["check"]].polarity == POSITIVE:
            return Verdict(FAILED, symptom.observed, root.why, root.code, root.fix, other["id"])
    direct = [settled[other["id"]].status for other in nearer if other["check"] == "gateway.answer"]
    if direct and set(direct) == {OK}:
        cause = CAUSES["NGINX_UNLIKE_REPLAY"]
        context = Context(
            host=proof["route"], detail=f" from {proof['machine']}; what the client saw: {symptom.why}" if symptom.why else ""
        )
        return Verdict(FAILED, symptom.observed, cause.sentence(context), cause.code, cause.remedy(context))
    return symptom
