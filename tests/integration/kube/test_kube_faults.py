# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_objects through a proxy that breaks things in front of a real API server."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kube_proxy import Asked, Fault, Plan, Proxy, cut, first, lost, refuse, reset
from kube_rig import config_map, objects, secret

from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.deadline import Backoff

pytestmark = pytest.mark.cluster

FAULTS: dict[str, Fault] = {
    "429": refuse(429),
    "429 with Retry-After": refuse(429, "1"),
    "500": refuse(500),
    "503": refuse(503),
    "reset": reset,
    "lost": lost,
    "cut": cut,
}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pauses, a tenth as long; what a server asks for stays."""
    monkeypatch.setattr(Backoff, "FIRST", 0.05)


@pytest.fixture
def through(client: Client) -> Iterator[Callable[..., Client]]:
    made: list[Proxy] = []

    def make(plan: Plan, seconds: float = 60) -> Client:
        made.append(Proxy(client._transport, plan))
        return made[-1].client(seconds)

    yield make
    for proxy in made:
        proxy.close()


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_what_passes_is_survived_and_told_as_it_was(name: str, method: str, through: Any, namespace: str) -> None:
    """The first two requests of the method fail; what became of the object is told right although an answer was lost."""
    verbs = {"GET": ("get", "list", "watch"), "PATCH": ("patch",), "DELETE": ("delete",)}[method]

    def plan() -> Plan:
        return first(2, FAULTS[name], *verbs)

    old, new = [config_map("c", namespace)], [config_map("c", namespace, {"a": "new"})]
    for definitions, state, action in (
        (old, "present", "created"),
        (new, "present", "changed"),
        (new, "present", "unchanged"),
        (new, "absent", "deleted"),
    ):
        outcome = objects(through(plan()), definitions, state=state)
        assert (outcome.error, outcome.actions) == (None, [action])


def test_many_random_faults_leave_exactly_what_was_asked_for(through: Any, namespace: str, new_client: Any) -> None:
    dice = random.Random(7)
    definitions = [config_map(f"c{number}", namespace) for number in range(15)]
    definitions += [secret(f"s{number}", namespace, stringData={"a": "b"}) for number in range(15)]
    kinds = list(FAULTS.values())

    def plan(_asked: Asked) -> Fault | None:
        return dice.choice(kinds) if dice.random() < 0.25 else None

    assert objects(through(plan), definitions).actions == ["created"] * 30
    assert objects(new_client(), definitions).actions == ["unchanged"] * 30
    assert objects(through(plan), definitions, state="absent").actions == ["deleted"] * 30
    assert objects(new_client(), definitions, state="absent").actions == ["absent"] * 30


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_does_not_pass_ends_at_the_deadline(status: int, through: Any, namespace: str, new_client: Any) -> None:
    definitions = [config_map(f"c{number}", namespace) for number in range(12)]
    started = time.monotonic()
    outcome = objects(through(first(1000, refuse(status, "30"), "patch"), 3), definitions)
    assert time.monotonic() - started < 5
    assert outcome.error is not None
    assert "made up; tried" in outcome.error.sentence
    assert outcome.actions == ["failed"] * 12


@pytest.mark.parametrize("status", [401, 403, 422])
def test_what_can_not_pass_fails_at_once(status: int, through: Any, namespace: str) -> None:
    started = time.monotonic()
    outcome = objects(through(first(1000, refuse(status))), [config_map("c", namespace)])
    assert time.monotonic() - started < 2
    assert outcome.error is not None
    assert outcome.error.as_result()["status"] == status
