"""Waiting by list and watch, within the client's one deadline, through every fault that passes by itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator
from typing import Any, Optional

from .._errors import EdgeError
from .client import Client
from .deadline import Backoff
from .errors import ApiError
from .ready import Never
from .resources import Resource

Objects = dict[str, dict[str, Any]]
#: Longest watch, in seconds; a connection that died unnoticed is given up after that.
PERIOD = 45.0
#: Seconds between looks where watching is not allowed.
POLL = 2.0


def wait_for(
    client: Client,
    kind: str,
    name: str,
    namespace: Optional[str],
    why_not: Callable[[Optional[dict[str, Any]]], str],
    *,
    api_version: Optional[str] = None,
) -> Optional[dict[str, Any]]:
    """Wait until ``why_not(object, or None when there is none)`` returns an empty string; returns that object.

    :raises EdgeError: ``code`` TIMEOUT at the deadline, with the last reason; at once when the reason is a :class:`.ready.Never`.
    :raises ApiError: at once for what waiting can't mend (401, 403, an unknown kind).
    """
    resource = client.resource(kind, api_version)
    found: Optional[dict[str, Any]] = None
    reason = ""

    def done(objects: Objects) -> bool:
        nonlocal found, reason
        found = objects.get(name)
        reason = why_not(found)
        return not reason or isinstance(reason, Never)

    trouble = follow(client, resource, namespace, [name], done)
    if reason or trouble:
        raise EdgeError(
            "waiting is of no use" if isinstance(reason, Never) else f"waited {client.deadline.seconds:g} s in vain",
            where=resource.title(namespace, name),
            why="; ".join(part for part in (reason, trouble) if part),
            code="TIMEOUT",
        )
    return found


def follow(
    client: Client,
    resource: Resource,
    namespace: Optional[str],
    names: Optional[Collection[str]],
    done: Callable[[Objects], bool],
    *,
    labels: Optional[str] = None,
    metadata_only: bool = False,
) -> str:
    """Keep ``done`` told about objects (those that are not there are not in its argument) until it returns True.

    :param names: which objects; None = all. :param labels: label selector that they must match.
    :returns: empty when ``done`` was; at the deadline what was wrong with the API lately, or "" when nothing was: ask ``done``'s
        own records what it lacked.
    :raises ApiError: for what waiting can't mend, and when there was no answer at all.
    """
    watch = _Watch(client, resource, namespace, names, labels, metadata_only)
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

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: Optional[str],
        names: Optional[Collection[str]],
        labels: Optional[str],
        metadata_only: bool,
    ) -> None:
        self._client, self._resource, self._namespace = client, resource, namespace
        self._names = None if names is None else frozenset(names)
        self._how: dict[str, Any] = {
            "api_version": resource.api_version,
            "labels": labels,
            "fields": f"metadata.name={next(iter(names))}" if names is not None and len(names) == 1 else None,
            "metadata_only": metadata_only,
        }
        self._objects: Objects = {}
        self._version = ""
        self._may_list = True
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
        if self._may_list:
            try:
                items, self._version = self._client.list(self._resource.kind, self._namespace, **self._how)
            except ApiError as error:
                if error.status != 403 or self._names is None:
                    raise
                self._may_list = False
                self._poll(error, "list")
            else:
                self._objects = {item["metadata"]["name"]: item for item in items if self._wanted(item["metadata"]["name"])}
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
        self.barren = True
        # The periods differ so that what waits together does not come back together.
        period = PERIOD * random.uniform(0.7, 1.0)  # noqa: S311
        for event, item in self._client.watch(
            self._resource.kind, self._namespace, resource_version=self._version, timeout=period, **self._how
        ):
            self.barren = False
            metadata = item["metadata"]
            self._version = metadata.get("resourceVersion") or self._version
            name = metadata.get("name")
            if event == "BOOKMARK" or not self._wanted(name):
                continue
            if event == "DELETED":
                self._objects.pop(name, None)
            else:
                self._objects[name] = item
            yield self._objects
        if self._client.deadline.spent - started > 1.0:
            self.barren = False

    def _wanted(self, name: str) -> bool:
        return self._names is None or name in self._names

    def forgive(self, error: ApiError) -> bool:
        """Whether to list again after ``error``."""
        if error.status == 403 and self.may_watch:
            self._poll(error, "watch")
            return True
        self._faults += 1
        self.trouble = error.sentence if self._faults == 1 else f"{error.sentence} {self._faults} faults in all"
        # 410: the server has forgotten the place where the watch was to go on.
        return error.transient or error.status == 410

    def _poll(self, error: ApiError, verb: str) -> None:
        self.may_watch = False
        self._client.warn(f"{error.what}: looking every {POLL:g} s instead; grant the verb {verb}")
