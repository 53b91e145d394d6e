# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting by list and watch, within the client's one deadline, through every fault that passes by itself."""

from __future__ import annotations

import contextlib
import queue
import random
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .._errors import EdgeError
from .client import Client
from .deadline import Backoff
from .errors import ApiError
from .ready import Never, Reason
from .resources import Resource

Objects = dict[str, dict[str, Any]]
#: Longest watch, in seconds; a connection that died unnoticed is given up after that.
PERIOD = 45.0
#: Seconds between looks where watching is not allowed.
POLL = 2.0
#: Seconds after which what is known is judged again although nothing has happened.
GLANCE = 1.0


@dataclass(frozen=True)
class Target:
    """What to look at: objects of one kind, in one namespace (None = everywhere).

    :ivar names: which objects; None = all. :ivar labels: label selector that they must match.
    """

    resource: Resource
    namespace: Optional[str]
    names: Optional[Collection[str]]
    labels: Optional[str] = None
    fields: Optional[str] = None
    metadata_only: bool = False


def wait_for(
    client: Client,
    kind: str,
    name: str,
    namespace: Optional[str],
    why_not: Callable[[Optional[dict[str, Any]]], Reason],
    *,
    api_version: Optional[str] = None,
) -> Optional[dict[str, Any]]:
    """Wait until ``why_not(object, or None when there is none)`` returns an empty string; returns that object.

    :raises EdgeError: ``code`` TIMEOUT at the deadline, with the last reason; at once when the reason is a :class:`.ready.Never`.
    :raises ApiError: at once for what waiting can't mend (401, 403, an unknown kind).
    """
    resource = client.resource(kind, api_version)
    found: Optional[dict[str, Any]] = None
    reason: Reason = ""

    def done(objects: Objects) -> bool:
        nonlocal found, reason
        found = objects.get(name)
        reason = why_not(found)
        return not reason or isinstance(reason, Never)

    trouble = follow(client, Target(resource, namespace, [name]), done)
    if reason or trouble:
        raise EdgeError(
            "waiting can't help" if isinstance(reason, Never) else f"timed out after {client.deadline.seconds:g} s",
            where=resource.title(namespace, name),
            why="; ".join(part for part in (str(reason), trouble) if part),
            code="TIMEOUT",
        )
    return found


def follow_all(client: Client, targets: Sequence[Target], done: Callable[[list[Objects]], bool]) -> str:
    """Like :func:`follow` for several targets at once: ``done`` gets the objects of each, once all have been listed.

    Each target is one LIST and one watch. ``done`` is called in the caller's thread, after each change and now and then without
    one, because time alone may change its answer (a certificate becomes valid).
    """
    news: queue.Queue[tuple[int, Any]] = queue.Queue()
    finished = threading.Event()

    def look(number: int, target: Target) -> None:
        def tell(objects: Objects) -> bool:
            news.put((number, dict(objects)))
            return finished.is_set()

        try:
            outcome: Any = follow(client, target, tell)
        except BaseException as error:
            outcome = error
        news.put((number, outcome))

    for number, target in enumerate(targets):
        # A watch in which nothing happens can't be told to stop: the process does not wait for it.
        threading.Thread(target=look, args=(number, target), daemon=True).start()
    seen: list[Optional[Objects]] = [None] * len(targets)
    troubles: dict[int, str] = {}
    pause = GLANCE
    try:
        while len(troubles) < len(targets):
            with contextlib.suppress(queue.Empty):
                number, said = news.get(timeout=pause)
                if isinstance(said, BaseException):
                    raise said
                if isinstance(said, str):
                    troubles[number] = said
                else:
                    seen[number] = said
            known = [each for each in seen if each is not None]
            if len(known) == len(targets) and news.empty():
                started = client.deadline.spent
                if done(known):
                    return ""
                pause = max(GLANCE, 10 * (client.deadline.spent - started))
        return next((each for each in troubles.values() if each), "")
    finally:
        finished.set()


def follow(client: Client, target: Target, done: Callable[[Objects], bool]) -> str:
    """Keep ``done`` told about objects (those that are not there are not in its argument) until it returns True.

    :returns: empty when ``done`` was; at the deadline what was wrong with the API lately, or "" when nothing was: ask ``done``'s
        own records what it lacked.
    :raises ApiError: for what waiting can't mend, and when there was no answer at all.
    """
    watch = _Watch(client, target)
    backoff = Backoff(client.deadline)
    while True:
        try:
            if done(watch.list()):
                return ""
            if not watch.may_watch:
                client.deadline.pause(POLL)
            while watch.may_watch and not client.deadline.expired:
                for objects in watch.events():
                    if done(objects):
                        return ""
                if watch.barren:
                    backoff.pause()
        except ApiError as error:
            if not watch.forgive(error):
                raise
            backoff.pause(error.retry_after)
        if client.deadline.expired:
            return _last_look(watch, done)


def _last_look(watch: _Watch, done: Callable[[Objects], bool]) -> str:
    """What the watch may have missed: a connection that died silently shows nothing until the deadline."""
    try:
        return "" if done(watch.list()) else watch.trouble
    except ApiError as error:
        if not watch.seen:
            raise
        return error.sentence


class _Watch:
    """The state of one list and watch."""

    def __init__(self, client: Client, target: Target) -> None:
        self._client, self._resource, self._namespace = client, target.resource, target.namespace
        self._names = None if target.names is None else frozenset(target.names)
        only = f"metadata.name={next(iter(self._names))}" if self._names is not None and len(self._names) == 1 else None
        self._how: dict[str, Any] = {
            "api_version": target.resource.api_version,
            "labels": target.labels,
            "fields": target.fields or only,
            "metadata_only": target.metadata_only,
        }
        self._objects: Objects = {}
        self._version = ""
        self._may_list = True
        self._watching = False
        self._faults = 0
        self.may_watch = True
        #: the objects have been seen at least once
        self.seen = False
        #: the last watch ended at once, with nothing in it
        self.barren = False
        #: the last fault, in words
        self.trouble = ""

    def list(self) -> Objects:
        """The objects as they are now."""
        self._watching = False
        if self._may_list:
            try:
                items, self._version = self._client.list(self._resource.kind, self._namespace, **self._how)
            except ApiError as error:
                if error.status != 403 or self._names is None:
                    raise
                self._may_list = False
                self._poll(error, "list")
            else:
                self._objects = {self._key(item): item for item in items if self._wanted(item["metadata"]["name"])}
                self.seen = True
                return self._objects
        get = self._client.get
        found = {name: get(self._resource.kind, name, self._namespace, self._resource.api_version) for name in self._names or ()}
        self._objects = {name: item for name, item in found.items() if item is not None}
        self.seen = True
        return self._objects

    def events(self) -> Iterator[Objects]:
        """The objects after each event that concerns them."""
        started = self._client.deadline.spent
        self.barren = self._watching = True
        # The periods differ so that what waits together does not come back together.
        period = PERIOD * random.uniform(0.7, 1.0)  # noqa: S311
        for event, item in self._client.watch(
            self._resource.kind, self._namespace, resource_version=self._version, timeout=period, **self._how
        ):
            self.barren = False
            metadata = item["metadata"]
            self._version = metadata.get("resourceVersion") or self._version
            if event == "BOOKMARK" or not self._wanted(metadata.get("name")):
                continue
            if event == "DELETED":
                self._objects.pop(self._key(item), None)
            else:
                self._objects[self._key(item)] = item
            yield self._objects
        if self._client.deadline.spent - started > 1.0:
            self.barren = False

    def _wanted(self, name: Any) -> bool:
        return self._names is None or name in self._names

    def _key(self, item: dict[str, Any]) -> str:
        """An object's name; with its namespace where several are looked at."""
        metadata = item["metadata"]
        everywhere = self._resource.namespaced and self._namespace is None
        return f"{metadata.get('namespace')}/{metadata['name']}" if everywhere else str(metadata["name"])

    def forgive(self, error: ApiError) -> bool:
        """Whether to list again after ``error``."""
        if error.status == 403 and self._watching and self.may_watch and not error.transient:
            self._poll(error, "watch")
            return True
        if self._watching and error.code == "NO_ANSWER" and self._client.deadline.expired:
            return True  # our own deadline cut the watch short
        self._faults += 1
        self.trouble = error.sentence if self._faults == 1 else f"{error.sentence} {self._faults} faults in all"
        # 410: the server has forgotten the place where the watch was to go on.
        return error.transient or error.status == 410

    def _poll(self, error: ApiError, verb: str) -> None:
        self.may_watch = False
        self._client.warn(f"{error.what}: polling every {POLL:g} s instead; grant the verb {verb}")
