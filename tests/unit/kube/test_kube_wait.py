# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kube_api import Api, cuts, events, lists, refuses, resets, says, serving, silent, thing

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._kube import wait
from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.errors import ApiError
from plugins.module_utils._kube.ready import Never
from plugins.module_utils._kube.transport import Answer, Transport
from plugins.module_utils._kube.wait import wait_for

THERE = thing("a", data={"ready": "yes"})
NOT_YET = thing("a", "12")


def why_not(live: Any) -> str:
    if live is None:
        return "it does not exist"
    return "" if live.get("data") else "it has no data"


def may_not(verb: str) -> Any:
    who = f'configmaps is forbidden: User "bob" cannot {verb} resource "configmaps" in API group "" in the namespace "n"'
    return refuses(403, "Forbidden", who)


def look(client: Client) -> Any:
    return wait_for(client, "ConfigMap", "a", "n", why_not)


def test_what_is_there_takes_one_request() -> None:
    with serving(lists(THERE)) as api:
        assert look(api.client())["data"] == {"ready": "yes"}
        assert len(api.requests) == 1
        assert api.requests[0].query["fieldSelector"] == "metadata.name=a"


def test_an_event_ends_the_wait_at_once() -> None:
    with serving(lists(version="33"), events(("ADDED", NOT_YET), ("MODIFIED", THERE), hold=20)) as api:
        started = time.monotonic()
        look(api.client(30))
        assert time.monotonic() - started < 1
        watched = api.requests[1].query
        assert watched["resourceVersion"] == "33"
        assert watched["allowWatchBookmarks"] == "true"
        assert 1 <= int(watched["timeoutSeconds"]) <= 30


def test_events_of_other_objects_do_not_count() -> None:
    other = thing("b", data={"ready": "yes"})
    with serving(lists(), events(("ADDED", other), ("ADDED", THERE))) as api:
        assert look(api.client())["metadata"]["name"] == "a"


def test_a_deleted_object_is_gone() -> None:
    with serving(lists(NOT_YET), events(("DELETED", NOT_YET), hold=1)) as api, pytest.raises(EdgeError, match="it does not exist"):
        look(api.client(0.8))


def test_a_bookmark_moves_on_where_the_next_watch_starts() -> None:
    bookmark = ("BOOKMARK", {"kind": "ConfigMap", "metadata": {"resourceVersion": "99"}})
    with serving(lists(version="1"), events(bookmark), events(("ADDED", THERE))) as api:
        look(api.client())
        assert [request.query.get("resourceVersion") for request in api.requests] == [None, "1", "99"]


@pytest.mark.parametrize(
    "fault",
    [
        events(("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"})),
        events(("ERROR", {"kind": "Status", "code": 500, "reason": "InternalError", "message": "oops"})),
        refuses(410, "Expired"),
        refuses(429, "TooManyRequests", Retry_After="1"),
        refuses(500, "InternalError"),
        refuses(503, "ServiceUnavailable"),
        resets,
        events(("ADDED", NOT_YET), then=resets),
        events(b'{"type": "ADDED", "object": {"meta', then=cuts),
        events(b"<html>\n"),
        events(b'{"type": "ADDED"}\n'),
        events(b'["ADDED", {}]\n'),
        events(("ADDED", "nothing")),
    ],
)
def test_a_broken_watch_begins_again(fault: Any) -> None:
    with serving(lists(version="1"), lists(version="1"), lists(THERE, version="2"), watches=[fault, fault, events(hold=1)]) as api:
        look(api.client(10))
        assert sum(request.watch for request in api.requests) >= 2


@pytest.mark.parametrize("line", [b"<html>", b'{"type": "ERROR", "object": {"code": 410}}'])
def test_a_watch_that_breaks_is_closed_before_the_error_is_seen(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the error is there, so are its frames; what is left in them is closed by the garbage collector, in the middle of anything."""
    closed = []

    def lines() -> Iterator[bytes]:
        try:
            yield line
        finally:
            closed.append(line)

    monkeypatch.setattr(Transport, "stream", lambda *_args, **_more: (Answer(200, {}, b""), lines()))
    with serving() as api, pytest.raises(ApiError) as caught:
        next(api.client().watch("ConfigMap", "n", resource_version="1"))
    assert closed == [line], caught.value.sentence


def test_a_watch_that_ends_at_once_is_not_begun_in_a_rush() -> None:
    with serving(lists(), events()) as api:
        with pytest.raises(EdgeError):
            look(api.client(1.5))
        assert len(api.requests) < 100  # a loop without pauses makes thousands


def test_a_line_may_arrive_in_pieces_and_without_chunks() -> None:
    for chunked in (True, False):
        tail = b'{"metadata": {"name": "a"}, "data": {"x": "' + b"y" * 1_000_000
        pieces = events(b'{"type": "ADD', b'ED", "object": ', tail, b'"}}}\n', chunked=chunked)
        with serving(lists(), pieces) as api:
            assert len(look(api.client())["data"]["x"]) == 1_000_000


def test_a_half_open_watch_is_found_out_by_a_last_look() -> None:
    api: Api
    with serving(lists(), silent) as api:
        done: list[Any] = []
        thread = threading.Thread(target=lambda: done.append(look(api.client(1.2))))
        started = time.monotonic()
        thread.start()
        time.sleep(0.3)
        api.answers = [lists(THERE)]
        thread.join(10)
        assert done
        assert time.monotonic() - started < 3.2


def test_a_half_open_watch_is_given_up_after_its_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "PERIOD", 1.0)
    with serving(lists(), silent, lists(THERE)) as api:
        started = time.monotonic()
        look(api.client(30))
        assert time.monotonic() - started < 4


def test_without_the_right_to_watch_it_polls_and_says_so() -> None:
    forbidden = may_not("watch")
    with serving(lists(), forbidden, lists(), lists(), lists(THERE)) as api:
        client = api.client()
        look(client)
        assert [request.watch for request in api.requests] == [False, True, False, False, False]
        assert client.warnings == ["bob may not watch configmaps in namespace n: polling every 0.05 s instead; grant the verb watch"]


def test_without_the_right_to_list_it_gets() -> None:
    forbidden = may_not("list")
    missing = says({"kind": "Status", "reason": "NotFound", "details": {"name": "a", "kind": "configmaps"}}, 404)
    with serving(forbidden, missing, says(THERE)) as api:
        client = api.client()
        look(client)
        assert "grant the verb list" in client.warnings[0]
        assert api.requests[-1].path == "/api/v1/namespaces/n/configmaps/a"


def test_without_any_right_it_fails_at_once_with_the_role() -> None:
    forbidden = may_not("get")
    with serving(forbidden) as api:
        with pytest.raises(ApiError) as caught:
            look(api.client(30))
        assert "kind: Role\n" in caught.value.as_result()["role"]
        assert len(api.requests) == 2


@pytest.mark.parametrize("refusal", [refuses(401, "Unauthorized"), says(b"404 page not found", 404), refuses(422, "Invalid")])
def test_what_waiting_does_not_mend_fails_at_once(refusal: Any) -> None:
    for answers in ([refusal], [lists(), refusal]):
        with serving(*answers) as api:
            started = time.monotonic()
            with pytest.raises(ApiError):
                look(api.client(30))
            assert time.monotonic() - started < 1


def test_a_watch_renews_credentials() -> None:
    with serving(lists(), refuses(401, "Unauthorized"), events(("ADDED", THERE))) as api:
        fresh = api.client()._transport
        look(api.client(renew=lambda _used: fresh))


def test_at_the_deadline_it_says_what_was_missing_and_what_was_wrong() -> None:
    with serving(lists(NOT_YET), watches=[events(hold=60)]) as api:
        started = time.monotonic()
        with pytest.raises(EdgeError) as caught:
            look(api.client(1))
        assert caught.value.sentence == "ConfigMap n/a: timed out after 1 s: it has no data."
        assert time.monotonic() - started < 2
    with serving(lists(NOT_YET), watches=[refuses(503, "ServiceUnavailable", "no")]) as api, pytest.raises(EdgeError) as caught:
        look(api.client(0.5))
    assert "it has no data" in caught.value.why
    assert "503" in caught.value.why


def test_a_cluster_that_never_answered_is_not_taken_for_an_empty_one() -> None:
    with serving(refuses(503, "ServiceUnavailable", "no")) as api, pytest.raises(ApiError, match="answered 503: no; tried"):
        look(api.client(0.5))


def test_what_will_never_be_is_not_waited_for() -> None:
    with serving(lists(NOT_YET)) as api, pytest.raises(EdgeError, match=r"waiting can't help: it failed"):
        wait_for(api.client(30), "ConfigMap", "a", "n", lambda _live: Never("it failed"))


def test_quiet_time_takes_two_requests() -> None:
    """A LIST and one watch that lasts at least half a minute if the server lets it."""
    with serving(lists(), events(hold=3), events(("ADDED", THERE))) as api:
        thread = threading.Thread(target=lambda: look(api.client(120)))
        thread.start()
        time.sleep(2)
        assert len(api.requests) == 2
        assert 30 <= int(api.requests[1].query["timeoutSeconds"]) <= 45
        thread.join(5)
        assert not thread.is_alive()


def test_a_list_that_is_forbidden_fails_at_once() -> None:
    with serving(may_not("list")) as api:
        started = time.monotonic()
        client = api.client(30)
        with pytest.raises(ApiError, match="may not list"):
            wait.follow(client, wait.Target(client.resource("ConfigMap"), "n", None), lambda _objects: False)
        assert (len(api.requests), client.warnings) == (1, [])
        assert time.monotonic() - started < 1


def chatters(handler: Any) -> None:
    """Bookmarks for ever, whatever the watch's time was to be."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    while not handler.api.stopping.wait(0.05):
        handler.wfile.write(b'{"type": "BOOKMARK", "object": {"kind": "ConfigMap"}}\n')
        handler.wfile.flush()


def starts_well(handler: Any) -> None:
    """An event, and then silence: the socket's own timeout starts anew with it."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.api.stopping.wait(0.8)
    handler.wfile.write(b'{"type": "ADDED", "object": {"kind": "ConfigMap", "metadata": {"name": "a"}}}\n')
    handler.wfile.flush()
    handler.api.stopping.wait(30)


def loris(handler: Any) -> None:
    """A header that never ends."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not handler.api.stopping.wait(0.05):
        handler.wfile.write(b"y")
        handler.wfile.flush()


@pytest.mark.parametrize("fault", [chatters, starts_well, loris])
def test_the_deadline_holds_against_a_watch_that_never_ends(fault: Any) -> None:
    with serving(lists(), watches=[fault]) as api:
        started = time.monotonic()
        with pytest.raises(EdgeError, match="timed out"):
            look(api.client(1))
        assert time.monotonic() - started < 2.5


def test_the_deadline_holds_against_lists_that_never_answer() -> None:
    """Many targets, each with a last look that hangs."""
    for fault in (loris, silent):
        with serving(fault) as api:
            client = api.client(1)
            targets = [wait.Target(client.resource("ConfigMap"), f"n{number}", [f"a{number}"]) for number in range(20)]
            started = time.monotonic()
            with pytest.raises(ApiError):
                wait.follow_all(client, targets, lambda _seen: False)
            assert time.monotonic() - started < 2.5


def test_pages_that_grow_too_old_are_read_in_one_piece() -> None:
    first = says({"metadata": {"continue": "x"}, "items": [THERE]})
    with serving(first, refuses(410, "Expired"), lists(THERE, NOT_YET, "junk", {"metadata": None}, version="9")) as api:
        items, version = api.client().list("ConfigMap", "n")
        assert [len(items), version] == [2, "9"]
        assert [(request.query.get("limit"), request.query.get("continue")) for request in api.requests] == [
            ("500", None),
            ("500", "x"),
            (None, None),
        ]


def test_several_targets_are_judged_together() -> None:
    """What one of them lacks may come in the other's watch."""

    def both(seen: list[Any]) -> bool:
        assert threading.current_thread() is threading.main_thread()
        return all("a" in objects for objects in seen)

    slow = events(("ADDED", THERE), hold=20)
    with serving(lists(), watches=[events(hold=20), slow]) as api:
        client = api.client(10)
        targets = [wait.Target(client.resource("ConfigMap"), "n", ["a"]), wait.Target(client.resource("ConfigMap"), "m", ["a"])]
        assert wait.follow_all(client, targets[1:], lambda seen: True) == ""
        started = time.monotonic()
        assert wait.follow_all(client, targets, lambda seen: any("a" in objects for objects in seen)) == ""
        assert time.monotonic() - started < 5
    with serving(lists(THERE)) as api:
        client = api.client(5)
        assert wait.follow_all(client, targets, both) == ""


def test_one_target_that_can_not_be_had_ends_the_wait_for_all() -> None:
    with serving(refuses(401, "Unauthorized")) as api:
        client = api.client(30)
        targets = [wait.Target(client.resource("ConfigMap"), name, ["a"]) for name in ("n", "m")]
        started = time.monotonic()
        with pytest.raises(ApiError, match="credentials"):
            wait.follow_all(client, targets, lambda _seen: False)
        assert time.monotonic() - started < 1


def test_at_the_deadline_the_last_look_of_several_targets_counts() -> None:
    with serving(lists(), watches=[events(hold=60)]) as api:
        client = api.client(1)
        targets = [wait.Target(client.resource("ConfigMap"), name, ["a"]) for name in ("n", "m")]
        threading.Timer(0.5, lambda: setattr(api, "answers", [lists(THERE)])).start()
        assert wait.follow_all(client, targets, lambda seen: all("a" in objects for objects in seen)) == ""
        assert client.deadline.expired


def test_what_a_server_asks_for_is_waited_for_in_full() -> None:
    with serving(lists(), lists(THERE), watches=[refuses(429, "TooManyRequests", Retry_After="2")]) as api:
        started = time.monotonic()
        look(api.client(10))
        assert 2 <= time.monotonic() - started < 4
