# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time in a namespace: a Lease that is there while a run holds it."""

from __future__ import annotations

import copy
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from typing import Any, Optional

from .._errors import EdgeError
from .._loose import mapping, number
from .client import Client
from .deadline import Deadline
from .errors import ApiError
from .labels import MANAGED_BY
from .text import clean

#: Name of the Lease in every namespace.
NAME = "edgemesh"
#: Seconds without a renewal after which a Lease belongs to nobody: its run was killed.
DURATION = 30
#: Seconds between two looks at a Lease that another run holds.
POLL = 0.5
#: Seconds for giving it back, whatever the task has left.
RELEASE = 5.0


def holder(list_name: str) -> str:
    """This run, as those who wait for it read it."""
    return f"list {list_name} (host {platform.node()}, process {os.getpid()}, started at {_now()})"


@contextmanager
def held(client: Client, namespaces: list[str], who: str, seconds: int = DURATION) -> Iterator[None]:
    """Keep all other runs out of these namespaces; waits for those that are there until the client's deadline.

    Where Leases may not be written, or there is no such namespace, the work goes on, with a warning in the first case.

    :param who: by :func:`holder`.
    :param seconds: after which the Lease is another run's if this one is killed; it is renewed three times as often.
    :raises EdgeError: OTHER_RUN, naming who holds the Lease, and since when.
    """
    with ExitStack() as stack:
        # In one order for all, so that no two runs wait for each other.
        for namespace in sorted(set(namespaces)):
            stack.enter_context(_Lease(client, namespace, who, seconds))
        yield


class _Lease:
    """One namespace's.

    :ivar _live: the Lease as this run has written it last; None while it doesn't hold it.
    """

    def __init__(self, client: Client, namespace: str, who: str, seconds: int) -> None:
        self._client, self._namespace, self._who, self._seconds = client, namespace, who, seconds
        self._live: Optional[dict[str, Any]] = None
        self._end = threading.Event()
        self._renewing = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> None:
        try:
            self._acquire()
        except ApiError as error:
            if error.status == 403:
                self._client.warn(f"Two runs at the same time are not kept apart in namespace {self._namespace}: {error.what}")
            elif error.code != "NAMESPACE_NOT_FOUND":
                raise
        if self._live:
            self._renewing.start()

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        if self._renewing.is_alive():
            self._renewing.join()
        if not self._live:
            return
        metadata = self._live["metadata"]
        try:
            self._apart(RELEASE).delete("Lease", NAME, self._namespace, uid=metadata["uid"], version=metadata["resourceVersion"])
        except ApiError as error:
            self._client.warn(f"{self._title} can't be given back and expires in {self._seconds} s: {error.what}")

    @property
    def _title(self) -> str:
        return f"Lease {self._namespace}/{NAME}"

    def _apart(self, seconds: float) -> Client:
        """The client with a deadline of its own."""
        client = copy.copy(self._client)
        client.deadline = Deadline(seconds)
        return client

    def _acquire(self) -> None:
        """Make the Lease; while another run has it, wait until that gives it back, or has not renewed it for as long as it said.

        Clocks of two machines may differ: what counts is how long this one has seen the same renewal.
        """
        deadline = self._client.deadline
        seen: dict[str, Any] = {}
        since, waited_for = 0.0, ""
        while True:
            try:
                self._live = self._client.create(self._manifest())
                break
            except ApiError as error:
                if error.code != "ALREADY_EXISTS":
                    raise
            live = self._client.get("Lease", NAME, self._namespace)
            if live is None:
                continue
            spec = mapping(live.get("spec"))
            if spec != seen:
                seen, since = spec, deadline.spent
            elif deadline.spent - since >= number(spec.get("leaseDurationSeconds"), DURATION):
                if self._take_over(str(live["metadata"]["resourceVersion"])):
                    break
                continue
            waited_for = clean(spec.get("holderIdentity"), 300)
            if not deadline.pause(POLL):
                why = f"{waited_for} holds it since {clean(spec.get('acquireTime'), 40)}; waited for {deadline.spent:.0f} s"
                fix = "Run again when that run has ended, or allow more time (timeout)"
                raise EdgeError("another run is changing the same namespace", where=self._title, why=why, fix=fix, code="OTHER_RUN")
        if waited_for:
            self._client.warn(f"waited for {waited_for}, which was changing namespace {self._namespace} too")

    def _take_over(self, version: str) -> bool:
        """Put our name into an expired Lease, unless somebody has been faster."""
        try:
            self._live = self._client.replace(self._manifest(version))
        except ApiError as error:
            if error.code not in ("MODIFIED", "NOT_FOUND"):
                raise
        return self._live is not None

    def _renew(self) -> None:
        """Until the end, or until another run has taken the Lease, because this one could not renew it for too long."""
        while self._live and not self._end.wait(self._seconds / 3):
            try:
                version = self._live["metadata"]["resourceVersion"]
                self._live = self._apart(self._seconds / 3).replace(self._manifest(version, self._live["spec"]["acquireTime"]))
            except ApiError as error:
                if error.code in ("MODIFIED", "NOT_FOUND"):
                    self._live = None
                    self._client.warn(f"{self._title} was lost to another run, so the two were not kept apart")

    def _manifest(self, version: str = "", acquired: str = "") -> dict[str, Any]:
        now = _now()
        metadata = {"name": NAME, "namespace": self._namespace, "labels": MANAGED_BY}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {**metadata, **({"resourceVersion": version} if version else {})},
            "spec": {
                "holderIdentity": self._who,
                "leaseDurationSeconds": self._seconds,
                "acquireTime": acquired or now,
                "renewTime": now,
            },
        }


def _now() -> str:
    return f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.%fZ}"
