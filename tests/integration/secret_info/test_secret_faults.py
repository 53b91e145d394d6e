# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault of an API server, and of the way to it, for what reads and waits (tls_secret_info) and for what writes (tls_secret).

faults.py says which must be got over and which must end the task at once, and how. Whatever happens, the task ends before its
deadline + 2 s, and no Secret is ever half written.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube import client as kube_client
from plugins.module_utils._kube import deadline, wait
from plugins.module_utils._kube.client import Client
from plugins.module_utils._secrets import fitness
from plugins.module_utils._x509.material import from_secret
from tests.integration.kube.kube_proxy import Fault, Plan, Proxy, always, first
from tests.integration.secret_info.faults import ENDS_WRITE, FINAL, PASSING, PASSING_WATCH, Final, document
from tests.integration.secret_info.material import deliver, info, named, server, tls, wanted
from tests.integration.secret_info.own_api import OwnApi

pytestmark = pytest.mark.lab
SOAK = bool(os.environ.get("EDGEMESH_SOAK"))
DOCUMENT = Path(__file__).parents[3] / "docs" / "api_faults.md"
STAYING = [name for name, each in PASSING.items() if each.code]
#: How many requests of each verb meet the fault that passes; how long a task has for it, and how long where the fault stays.
TIMES, ENOUGH, PATIENCE = (3, 120, 6.0) if SOAK else (1, 60, 2.0)


def test_the_documentation_says_the_same() -> None:
    assert len(PASSING) + len(FINAL) >= 25
    if os.environ.get("EDGEMESH_WRITE_DOCS"):
        DOCUMENT.write_text(document())
    assert DOCUMENT.read_text() == document()


@dataclass
class Outcome:
    """What became of one task."""

    seconds: float
    error: EdgeError | None
    what: Any
    proxy: Proxy


class Cases:
    """Runs all tasks of a kind, several at a time, since most of their time they wait."""

    def __init__(self, admin: Client) -> None:
        self.admin = admin
        self._started = time.monotonic()

    def run(self, plan: Plan, seconds: float, work: Callable[[Client], Any], before: Callable[[], None] = lambda: None) -> Outcome:
        proxy = Proxy(self.admin._transport, plan)
        before()
        started = time.monotonic()
        error, what = None, None
        try:
            what = work(proxy.client(seconds))
        except EdgeError as caught:
            error = caught
        finally:
            proxy.close()
        return Outcome(time.monotonic() - started, error, what, proxy)

    def waits(self, namespace: str, name: str, plan: Plan, seconds: float) -> Outcome:
        """tls_secret_info, for a Secret that comes while it waits: first empty, then fit."""

        def others() -> None:
            time.sleep(0.4)
            made = self.admin.create(tls(namespace, name))
            time.sleep(0.3)
            self.admin.replace({**tls(namespace, name, server()), "metadata": made["metadata"]})

        maker = threading.Thread(target=others)
        uses = [{"use": "server", "names": ["shop.example.com"]}]
        outcome = self.run(plan, seconds, lambda client: info(client, named(namespace, name, uses=uses), wait=True), maker.start)
        maker.join()
        return outcome

    def writes(self, namespace: str, plan: Callable[[], Plan], seconds: float) -> Outcome:
        """tls_secret: makes three Secrets, changes one, and has nothing left to do."""
        self.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        changed = wanted(namespace)
        changed[1]["issue"] = {**changed[1]["issue"], "names": ["shop.example.com", "www.example.com"]}
        return self.run(
            plan(), seconds, lambda client: [deliver(client, wanted(namespace)), deliver(client, changed), deliver(client, changed)]
        )

    def whole(self, namespace: str) -> list[str]:
        """The Secrets of a namespace by name; every one is complete and fit."""
        found = self.admin.list("Secret", namespace)[0]
        for each in found:
            material = from_secret(each)
            assert fitness.pair(material) == [] if material.certs else material.ca, each["metadata"]["name"]
            assert each["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "edgemesh"}
        return sorted(each["metadata"]["name"] for each in found)


@pytest.fixture(scope="module", autouse=True)
def _impatient() -> Iterator[None]:
    """The same pauses, but shorter; what a server asks for stays. In the long form, as they are for users, but for what takes minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kube_client, "READ_TIMEOUT", 2.0 if SOAK else 1.0)
        patch.setattr(wait, "PERIOD", 8.0 if SOAK else 2.0)
        if not SOAK:
            patch.setattr(deadline.Backoff, "FIRST", 0.05)
            patch.setattr(wait, "POLL", 0.3)
        yield


@pytest.fixture(scope="module")
def cases(new_client: Callable[..., Client]) -> Cases:
    return Cases(new_client(3600))


def slug(*words: str) -> str:
    """An object's name."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(["f", *words]).lower())[:60].strip("-")


Results = dict[tuple[str, str], Outcome]


def together(jobs: dict[tuple[str, str], Callable[[], Outcome]]) -> Results:
    with ThreadPoolExecutor(max_workers=12) as pool:
        futures = {name: pool.submit(job) for name, job in jobs.items()}
        return {name: future.result() for name, future in futures.items()}


@pytest.fixture(scope="module")
def shared(cases: Cases) -> str:
    """The namespace of what is waited for."""
    cases.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "f-waited-for"}})
    return "f-waited-for"


@pytest.fixture(scope="module")
def passing(cases: Cases, shared: str) -> Results:
    jobs: dict[tuple[str, str], Callable[[], Outcome]] = {}
    for name, each in PASSING.items():
        jobs[name, "info"] = lambda n=name, f=each.fault: cases.waits(shared, slug("pass", n), first(TIMES, f), ENOUGH)
        jobs[name, "write"] = lambda n=name, f=each.fault: cases.writes(slug("pass", n), lambda: first(TIMES, f), ENOUGH)
    for name, fault in PASSING_WATCH.items():
        jobs[name, "info"] = lambda n=name, f=fault: cases.waits(shared, slug("watch", n), first(TIMES, f, "watch"), ENOUGH)
    return together(jobs)


@pytest.fixture(scope="module")
def staying(cases: Cases, shared: str) -> Results:
    """The same faults, but they do not pass."""
    jobs: dict[tuple[str, str], Callable[[], Outcome]] = {}
    for name in STAYING:
        jobs[name, "info"] = lambda n=name: cases.waits(shared, slug("stay", n), always(PASSING[n].fault), PATIENCE)
        # Reading is fine; the second thing to write fails.
        jobs[name, "write"] = lambda n=name, f=PASSING[name].fault: cases.writes(slug("stay", n), lambda: after(1, f, "create"), PATIENCE)
    for name, fault in PASSING_WATCH.items():
        jobs[name, "info"] = lambda n=name, f=fault: cases.waits(shared, slug("stayw", n), always(f, "watch"), PATIENCE)
    return together(jobs)


@pytest.fixture(scope="module")
def final(cases: Cases, shared: str) -> Results:
    jobs: dict[tuple[str, str], Callable[[], Outcome]] = {}
    for name, each in FINAL.items():
        jobs[name, "info list"] = lambda n=name, f=each.fault: cases.waits(shared, slug("end", n), always(f, "list", "get"), 60)
        for verb in (verb for verb, names in ENDS_WRITE.items() if name in names):
            jobs[name, f"write {verb}"] = lambda n=name, f=each.fault, v=verb: cases.writes(slug("end", v, n), lambda: always(f, v), 60)
    return together(jobs)


def after(count: int, fault: Fault, verb: str) -> Plan:
    """The fault from the request after the first ``count`` on."""
    seen = [0]

    def plan(asked: Any) -> Fault | None:
        seen[0] += asked.verb == verb
        return fault if asked.verb == verb and seen[0] > count else None

    return plan


@pytest.mark.parametrize("name", [*PASSING, *PASSING_WATCH])
def test_a_wait_gets_over_what_passes(name: str, passing: Results) -> None:
    outcome = passing[name, "info"]
    assert outcome.error is None, outcome.error
    assert [each["fit"] for each in outcome.what] == [True]
    assert outcome.seconds < ENOUGH
    assert {"list", "watch"} <= {each.verb for each in outcome.proxy.asked}


@pytest.mark.parametrize("name", PASSING)
def test_a_write_gets_over_what_passes_and_tells_what_it_did(name: str, passing: Results, cases: Cases) -> None:
    outcome = passing[name, "write"]
    assert outcome.error is None, outcome.error
    assert outcome.what == [["created"] * 3, ["unchanged", "changed", "unchanged"], ["unchanged"] * 3]
    assert outcome.seconds < ENOUGH
    assert set(ENDS_WRITE) == {each.verb for each in outcome.proxy.asked}
    assert cases.whole(slug("pass", name)) == ["edge-ca", "edge-shop", "edge-shop-cacert"]


@pytest.mark.parametrize("name", [*STAYING, *PASSING_WATCH])
def test_a_wait_ends_at_its_deadline_when_a_fault_stays(name: str, staying: Results) -> None:
    """With a fault of the watch alone, LISTs still tell; without an answer at all, that is the error."""
    outcome = staying[name, "info"]
    assert outcome.seconds < PATIENCE + 2
    if name in PASSING_WATCH:
        assert outcome.error is None, outcome.error
    else:
        assert outcome.error is not None
        assert outcome.error.code == PASSING[name].code


@pytest.mark.parametrize("name", STAYING)
def test_a_write_ends_at_its_deadline_when_a_fault_stays_with_nothing_half_written(name: str, staying: Results, cases: Cases) -> None:
    outcome = staying[name, "write"]
    assert outcome.seconds < PATIENCE + 2
    # "done, but": the API server did it, so the second one is there although nobody heard so.
    there = cases.whole(slug("stay", name))
    assert there in (["edge-ca"], ["edge-ca", "edge-shop"], ["edge-ca", "edge-shop-cacert"])
    assert outcome.error is not None
    assert outcome.error.code == PASSING[name].code
    assert outcome.error.as_result()["results"][0]["action"] == "created"
    # The next run mends it.
    assert sorted(set(deliver(cases.admin, wanted(slug("stay", name))))) == ["created", "unchanged"]
    assert len(cases.whole(slug("stay", name))) == 3


@pytest.mark.parametrize("name", FINAL)
def test_what_does_not_pass_ends_a_wait_at_once(name: str, final: Results) -> None:
    check_final(final[name, "info list"], FINAL[name])


@pytest.mark.parametrize(("name", "verb"), [(name, verb) for verb, names in ENDS_WRITE.items() for name in names])
def test_what_does_not_pass_ends_a_write_at_once_with_nothing_half_written(name: str, verb: str, final: Results, cases: Cases) -> None:
    check_final(final[name, f"write {verb}"], FINAL[name])
    assert len(cases.whole(slug("end", verb, name))) == (3 if verb == "update" else 0)


def check_final(outcome: Outcome, expected: Final) -> None:
    assert outcome.error is not None
    assert outcome.error.code == expected.code
    assert expected.words in outcome.error.sentence
    # Twelve tasks share the machine, each with a CA and leaves to make.
    assert outcome.seconds < 5


def test_a_restart_of_the_api_server_is_got_over(api: OwnApi, cases: Cases, new_client: Callable[..., Client]) -> None:
    """SIGKILL while one waits and while another is writing; and the same while it stands still."""
    admin = cases.admin
    ca = {"namespace": "f-restart", "name": "edge-ca"}
    many, more = (
        [{"namespace": "f-restart", "name": f"{name}{number}", "issue": {"ca": ca, "names": ["a.example"]}} for number in range(60)]
        for name in ("web", "api")
    )
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "f-restart"}})
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(lambda: info(new_client(120), named("f-restart", "late"), wait=True))
        writing = pool.submit(lambda: deliver(new_client(120), [*wanted("f-restart"), *many]))
        while len(admin.list("Secret", "f-restart")[0]) < 10:
            time.sleep(0.02)
        api.kill()
        assert not writing.done()
        api.start()
        admin.create(tls("f-restart", "late", server()))
        assert writing.result(60) == ["created"] * 63
        assert waiting.result(60)[0]["fit"]
        waiting = pool.submit(lambda: info(new_client(120), named("f-restart", "later"), wait=True))
        time.sleep(0.3)
        writing = pool.submit(lambda: deliver(new_client(120), more))
        time.sleep(0.1)
        api.pause(2.5)
        admin.create(tls("f-restart", "later", server()))
        assert writing.result(60) == ["created"] * 60
        assert waiting.result(60)[0]["fit"]
    assert deliver(admin, many + more) == ["unchanged"] * 120
