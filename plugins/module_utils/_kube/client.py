# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes API as verbs on plain dictionaries; every call is repeated within one deadline while that can help."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, Optional

from .._errors import EdgeError
from .._loose import mapping, mappings
from .deadline import Backoff, Deadline
from .errors import ApiError, Asked, from_answer
from .labels import FIELD_MANAGER
from .manifests import Manifest, contains, normalise
from .resources import Resource, from_crd, known
from .text import clean
from .transport import READ_TIMEOUT, Answer, Transport

__all__ = ["ApiError", "Client"]

#: Seconds for which a cluster that never answered is tried; later faults may last until the deadline.
FIRST_CONTACT = 20.0
#: Seconds that a request gets although the deadline has passed: for one last look.
MOMENT = 1.0
#: Objects in one page of a LIST.
PAGE = 500
#: Most of a log that is kept.
LOG_BYTES = 8 * 1024 * 1024
_METADATA = "application/json;as=PartialObjectMetadata{list};g=meta.k8s.io;v=v1,application/json;q=0.9"

_CONTENT_TYPES = {
    "apply": "application/apply-patch+yaml",
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}
_PODS = Resource("v1", "Pod", "pods", namespaced=True)
_LOGS = Resource("v1", "Pod", "pods/log", namespaced=True)
_WARNING = re.compile(r'\d{3} \S+ "((?:[^"\\]|\\.)*)"')


class Client:
    """Made by :func:`.connection.connect`; used by several threads at once.

    Objects are dictionaries as the API gives them. ``kind`` alone names well-known kinds; ``api_version`` is needed for
    others, and for ``Gateway``, which Istio and the Gateway API both have.

    :ivar deadline: all calls share it.
    :ivar warnings: the API's warnings, each once, in order; for ``module.warn``.
    :ivar field_manager: who applies.
    :ivar needs: RBAC verbs that the task needs on its kinds in the end: the Role that a refusal offers has them all at once.
    """

    def __init__(self, transport: Transport, deadline: Deadline, *, renew: Optional[Callable[[Transport], Transport]] = None) -> None:
        self._transport = transport
        self._renew = renew
        self.deadline = deadline
        self.field_manager = FIELD_MANAGER
        self.needs: tuple[str, ...] = ()
        self.warnings: list[str] = []
        self._lock = threading.Lock()
        self._learnt: dict[tuple[str, str], Resource] = {}

    def warn(self, text: str) -> None:
        """Note something for the user, once."""
        with self._lock:
            if text not in self.warnings:
                self.warnings.append(text)

    # -- kinds ---------------------------------------------------------------------------------------------------------

    def resource(self, kind: str, api_version: Optional[str] = None) -> Resource:
        """Where the API keeps ``kind``; asks the server (once) only for kinds that we do not know.

        :raises ApiError: with status 404 when the cluster does not know the kind.
        """
        if api_version is None:
            found = known(kind)
            if found is None:
                raise EdgeError(f"the kind {clean(kind, 100)} is ambiguous", fix="Give its api_version")
            return found
        with self._lock:
            learnt = self._learnt.get((api_version, kind))
        return learnt or known(kind, api_version) or self._discover(kind, api_version)

    def learn(self, crd: dict[str, Any]) -> None:
        """Kinds that a CustomResourceDefinition of this run will make."""
        with self._lock:
            for resource in from_crd(crd):
                self._learnt[(resource.api_version, resource.kind)] = resource

    def _discover(self, kind: str, api_version: str) -> Resource:
        where = f"{clean(kind, 100)} of {clean(api_version, 100)}"
        if not re.fullmatch(r"[a-z0-9.-]+(/[a-z0-9]+)?", api_version) or api_version.count("/") > 1:
            raise EdgeError("this is no API version", where=where, fix="Write it as group/version, or v1")
        path = "/api/v1" if api_version == "v1" else f"/apis/{api_version}"
        try:
            answer = self._call("GET", path, where=where)
        except ApiError as error:
            if error.status != 404:
                raise
            raise ApiError(
                f"the cluster does not serve {clean(api_version, 100)}",
                status=404,
                reason="NotFound",
                where=where,
                code="GROUP_NOT_FOUND",
                fix="Install what provides it (its CRDs), or correct apiVersion",
            ) from None
        resources = [each for each in answer.get("resources") or [] if isinstance(each, dict) and "/" not in each.get("name", "/")]
        with self._lock:
            for each in resources:
                resource = Resource(api_version, str(each.get("kind")), str(each["name"]), bool(each.get("namespaced")))
                self._learnt.setdefault((api_version, resource.kind), resource)
            found = self._learnt.get((api_version, kind))
        if found is None:
            kinds = ", ".join(sorted({str(each.get("kind")) for each in resources}))
            raise ApiError(
                "the cluster does not know this kind",
                status=404,
                reason="NotFound",
                where=where,
                why=f"{clean(api_version, 100)} has {clean(kinds, 500)}" if kinds else "",
                code="KIND_NOT_FOUND",
                fix="Install what provides it (its CRDs), or correct kind and apiVersion",
            )
        return found

    def serves(self, resource: Resource) -> bool:
        """Whether the API lists this kind and answers for it."""
        where, path = f"{resource.kind} of {clean(resource.api_version, 100)}", resource.path()
        try:
            listed = mappings(self._call("GET", path.rpartition("/")[0], where=where).get("resources"))
            self._call("GET", path, {"limit": "1"}, where=where, verbs=("list",), resource=resource)
        except ApiError as error:
            # Who may not list it is answered all the same.
            return error.status == 403
        return any(each.get("name") == resource.plural for each in listed)

    # -- reading -------------------------------------------------------------------------------------------------------

    def get(self, kind: str, name: str, namespace: Optional[str] = None, api_version: Optional[str] = None) -> Optional[dict[str, Any]]:
        """One object, or None when it (or its namespace) does not exist.

        :raises ApiError: also with status 404 when the cluster does not know the kind.
        """
        resource = self.resource(kind, api_version)
        where = resource.title(namespace, name)
        _check_place(resource, namespace, name, where)
        try:
            return self._call("GET", resource.path(namespace, name), where=where, verbs=("get",), resource=resource, namespace=namespace)
        except ApiError as error:
            if error.status == 404 and error.code != "KIND_NOT_FOUND":
                return None
            raise

    def list(
        self,
        kind: str,
        namespace: Optional[str] = None,
        labels: Optional[str] = None,
        fields: Optional[str] = None,
        api_version: Optional[str] = None,
        *,
        metadata_only: bool = False,
    ) -> tuple[list[dict[str, Any]], str]:
        """All objects of a kind, in a namespace or everywhere, and the list's resourceVersion (where a watch goes on from).

        :param labels: label selector. :param fields: field selector.
        :param metadata_only: leave the objects' content on the server.
        :raises ApiError: with status 404 when the cluster does not know the kind.
        """
        resource = self.resource(kind, api_version)
        where = f"{resource.plural}" + (f" in namespace {clean(namespace, 253)}" if namespace else "")
        query = _selectors(labels, fields)
        accept = _METADATA.format(list="List") if metadata_only else "application/json"
        items: list[dict[str, Any]] = []
        page, more = {"limit": str(PAGE)}, ""
        while True:
            try:
                answer = self._call(
                    "GET",
                    resource.path(namespace),
                    {**query, **page, **({"continue": more} if more else {})},
                    accept=accept,
                    where=where,
                    verbs=("get", "list", "watch"),
                    resource=resource,
                    namespace=namespace,
                )
            except ApiError as error:
                if error.status == 410 and more:  # the pages took longer than the server keeps history: all in one now
                    items, page, more = [], {}, ""
                    continue
                raise
            for item in mappings(answer.get("items")):
                if mapping(item.get("metadata")).get("name"):
                    item["apiVersion"], item["kind"] = resource.api_version, resource.kind
                    items.append(item)
            metadata = mapping(answer.get("metadata"))
            more = metadata.get("continue") or ""
            if not more:
                return items, str(metadata.get("resourceVersion") or "")

    def watch(
        self,
        kind: str,
        namespace: Optional[str] = None,
        labels: Optional[str] = None,
        fields: Optional[str] = None,
        api_version: Optional[str] = None,
        *,
        resource_version: str,
        timeout: float = 60.0,
        metadata_only: bool = False,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Changes since ``resource_version`` as ``(ADDED | MODIFIED | DELETED | BOOKMARK, object)``, for ``timeout`` seconds at most.

        One attempt, not repeated: the caller lists again. Ends without an error when the server ends it.

        :raises ApiError: when it can't start, when the connection breaks, and for an ERROR event (410 = list again).
        """
        resource = self.resource(kind, api_version)
        where = f"watch on {resource.plural}" + (f" in namespace {clean(namespace, 253)}" if namespace else "")
        seconds = max(1, int(min(timeout, max(self.deadline.remaining, 1.0))))
        query = {
            **_selectors(labels, fields),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
        }
        transport = self._transport
        for renewed in (False, True):
            answer, lines = transport.stream(
                resource.path(namespace),
                query,
                accept=_METADATA.format(list="") if metadata_only else "application/json",
                time_limit=min(seconds + 1.0, max(self.deadline.remaining, 0.2)),
                where=where,
            )
            if answer.status == 401 and self._renew and not renewed:
                self._transport = transport = self._renew(transport)
                continue
            break
        if answer.status != 200:
            raise self._error(answer, where=where, verbs=("get", "list", "watch"), resource=resource, namespace=namespace)
        # At once, also when this ends by an exception: left to the garbage collector, it would give the connection back to the pool at
        # any moment, also while the pool is locked by this very thread, which would wait for itself for ever.
        with contextlib.closing(lines):
            for line in lines:
                event_type, item = _event(line, where, resource, namespace)
                if event_type != "BOOKMARK" and not item["metadata"].get("name"):
                    continue
                item["apiVersion"], item["kind"] = resource.api_version, resource.kind
                yield event_type, item

    def log(self, pod: str, namespace: str, container: str, since: int) -> str:
        """What a container wrote in the last ``since`` seconds, at most 8 MiB of it, from its end.

        One attempt, not repeated: a node that does not answer must not use up the time for the other pods.

        :raises ApiError: as any call.
        """
        where = f"log of Pod {clean(namespace, 253)}/{clean(pod, 253)}"
        _check_place(_LOGS, namespace, pod, where)
        answer = self._transport.send(
            "GET",
            f"{_PODS.path(namespace, pod)}/log",
            {"container": container, "sinceSeconds": str(since)},
            accept="*/*",
            time_limit=max(MOMENT, self.deadline.remaining),
            where=where,
        )
        if answer.status != 200:
            raise self._error(answer, where=where, verbs=("get",), resource=_LOGS, namespace=namespace)
        return answer.data[-LOG_BYTES:].decode("utf-8", "replace")

    # -- writing -------------------------------------------------------------------------------------------------------

    def apply(self, manifest: Manifest, force: bool = False, dry_run: bool = False) -> dict[str, Any]:
        """Server-side apply. A ``metadata.resourceVersion`` in the manifest makes the server refuse if the object changed since.

        :param force: take over fields that another manager owns.
        :raises ApiError: ``code`` CONFLICT (with ``conflicts``), MODIFIED, INVALID, ...
        """
        manifest = normalise(manifest)
        query = {"fieldManager": self.field_manager, **({"force": "true"} if force else {}), **({"dryRun": "All"} if dry_run else {})}
        return self._write("PATCH", manifest, query, "apply", verbs=("create", "get", "patch"))

    def create(self, manifest: Manifest) -> dict[str, Any]:
        """Make an object that must not exist.

        :raises ApiError: ``code`` ALREADY_EXISTS. An attempt whose answer was lost is recognised and isn't an error.
        """
        manifest = normalise(manifest)
        try:
            return self._write("POST", manifest, {"fieldManager": self.field_manager}, "", verbs=("create",))
        except ApiError as error:
            if error.code == "ALREADY_EXISTS" and error.repeated:
                return self._as_sent(manifest, error)
            raise

    def replace(self, manifest: Manifest) -> dict[str, Any]:
        """Put the whole object in place of the one with the manifest's ``metadata.resourceVersion``.

        :raises ApiError: ``code`` MODIFIED when it changed since.
        """
        manifest = normalise(manifest)
        try:
            return self._write("PUT", manifest, {"fieldManager": self.field_manager}, "", verbs=("get", "update"))
        except ApiError as error:
            if error.code == "MODIFIED" and error.repeated:
                return self._as_sent(manifest, error)
            raise

    def patch(
        self, kind: str, name: str, namespace: Optional[str], body: Any, type: str = "merge", api_version: Optional[str] = None
    ) -> dict[str, Any]:
        """Patch by ``type`` merge, json or strategic."""
        resource = self.resource(kind, api_version)
        where = resource.title(namespace, name)
        _check_place(resource, namespace, name, where)
        return self._call(
            "PATCH",
            resource.path(namespace, name),
            {"fieldManager": self.field_manager},
            body=_encode(body, where),
            content_type=_CONTENT_TYPES[type],
            where=where,
            verbs=("get", "patch"),
            resource=resource,
            namespace=namespace,
            hidden=_hidden(resource, body),
        )

    def delete(
        self,
        kind: str,
        name: str,
        namespace: Optional[str] = None,
        uid: Optional[str] = None,
        api_version: Optional[str] = None,
        *,
        propagation: str = "Background",
        dry_run: bool = False,
        version: Optional[str] = None,
    ) -> None:
        """Delete; an object that isn't there is fine, and so is one with another ``uid`` (a successor of the one meant).

        :param version: its resourceVersion; None: any.
        :raises ApiError: ``code`` MODIFIED when it changed since ``version``.
        """
        resource = self.resource(kind, api_version)
        where = resource.title(namespace, name)
        _check_place(resource, namespace, name, where)
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": propagation,
            **({"preconditions": {"uid": uid, **({"resourceVersion": version} if version else {})}} if uid else {}),
            **({"dryRun": ["All"]} if dry_run else {}),
        }
        try:
            self._call(
                "DELETE",
                resource.path(namespace, name),
                body=_encode(options, where),
                content_type="application/json",
                where=where,
                verbs=("delete", "get"),
                resource=resource,
                namespace=namespace,
                precondition=bool(uid),
            )
        except ApiError as error:
            if error.status == 404:
                return
            there = self.get(kind, name, namespace, api_version) if error.status == 409 else {}
            if there is None or (there and (there["metadata"].get("uid") != uid or there["metadata"].get("deletionTimestamp"))):
                return
            raise

    def _write(self, method: str, manifest: Manifest, query: dict[str, str], patch: str, *, verbs: tuple[str, ...]) -> dict[str, Any]:
        metadata = manifest["metadata"]
        resource = self.resource(manifest["kind"], manifest["apiVersion"])
        name, namespace = metadata["name"], metadata.get("namespace") if resource.namespaced else None
        where = resource.title(namespace, name)
        _check_place(resource, namespace, name, where)
        return self._call(
            method,
            resource.path(namespace, "" if method == "POST" else name),
            query,
            body=_encode(manifest, where),
            content_type=_CONTENT_TYPES.get(patch, "application/json"),
            where=where,
            verbs=verbs,
            resource=resource,
            namespace=namespace,
            hidden=_hidden(resource, manifest),
            precondition="resourceVersion" in metadata,
            create=method == "POST",
        )

    def _as_sent(self, manifest: Manifest, error: ApiError) -> dict[str, Any]:
        metadata = manifest["metadata"]
        there = self.get(manifest["kind"], metadata["name"], metadata.get("namespace"), manifest["apiVersion"])
        # empty maps, as of annotations, are not kept
        wanted = {**manifest, "metadata": {key: value for key, value in metadata.items() if key != "resourceVersion" and value}}
        if there is None or not contains(there, wanted):
            raise error
        return there

    # -- one call ------------------------------------------------------------------------------------------------------

    def _call(
        self,
        method: str,
        path: str,
        query: Optional[dict[str, str]] = None,
        *,
        body: Optional[bytes] = None,
        content_type: str = "",
        accept: str = "application/json",
        where: str = "",
        **context: Any,
    ) -> dict[str, Any]:
        """Send until there is an answer that counts, and return its object; ``context`` is :class:`.errors.Asked`'s."""
        backoff = Backoff(self.deadline)
        attempts, ambiguous, renewed = 0, False, False
        while True:
            attempts += 1
            transport = self._transport
            left = self.deadline.grace(MOMENT)
            try:
                if left <= 0:
                    raise ApiError("there is no time left to ask the API server", status=0, where=where, code="NO_ANSWER", transient=True)
                answer = transport.send(
                    method,
                    path,
                    query or {},
                    body=body,
                    content_type=content_type,
                    accept=accept,
                    read_timeout=min(READ_TIMEOUT, left),
                    # An answer that only drips is given up, too: another attempt may fare better.
                    time_limit=min(2 * READ_TIMEOUT, left),
                    where=where,
                )
                self._note_warnings(answer)
                if answer.status < 300:
                    return answer.json(where)
                raise self._error(answer, where=where, **context)
            except ApiError as error:
                error.repeated = ambiguous
                if error.status == 401 and self._renew and not renewed:
                    renewed = True
                    self._transport = self._renew(transport)
                    continue
                lost = not transport.proven and self.deadline.spent > FIRST_CONTACT
                if not error.transient or lost or not backoff.pause(error.retry_after):
                    raise _last(error, attempts, self.deadline, transport) from None
                ambiguous = ambiguous or error.ambiguous

    def _error(self, answer: Answer, *, verbs: tuple[str, ...] = (), **context: Any) -> ApiError:
        asked = Asked(verbs=(*verbs, *self.needs), **context)
        return from_answer(answer.status, answer.data, answer.headers.get("Retry-After", ""), asked)

    def _note_warnings(self, answer: Answer) -> None:
        for header in answer.headers.getlist("Warning"):
            for found in _WARNING.finditer(header):
                self.warn(clean(re.sub(r"\\(.)", r"\1", found[1]), 500))


def _last(error: ApiError, attempts: int, deadline: Deadline, transport: Transport) -> ApiError:
    """The error to give up with: it says how often this was tried, or since when the token is too old."""
    more = ""
    if error.transient:
        more = f"tried {attempts} {'time' if attempts == 1 else 'times'} in {deadline.spent:.0f} s"
    elif error.status == 401:
        more = transport.token_expiry()
    error.why = "; ".join(part for part in (error.why, more) if part)
    error.args = (error.sentence,)
    return error


def _event(line: bytes, where: str, resource: Resource, namespace: Optional[str]) -> tuple[str, dict[str, Any]]:
    """One line of a watch.

    :raises ApiError: it is no event, or says that the watch has ended.
    """
    try:
        event = json.loads(line)
        event_type, item = event["type"], event["object"]
        item["metadata"] = mapping(item.get("metadata"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ApiError("the watch sent something that is no event", status=0, where=where, code="BROKEN_ANSWER", transient=True) from None
    if event_type == "ERROR":
        # Whatever it says, the watch has ended; a LIST tells whether more is wrong.
        status = item.get("code")
        status = status if isinstance(status, int) and 400 <= status < 600 else 500
        error = from_answer(status, json.dumps(item).encode(), "", Asked(where, resource=resource, namespace=namespace))
        error.transient = True
        raise error
    return event_type, item


def _selectors(labels: Optional[str], fields: Optional[str]) -> dict[str, str]:
    return {**({"labelSelector": labels} if labels else {}), **({"fieldSelector": fields} if fields else {})}


def _check_place(resource: Resource, namespace: Optional[str], name: str, where: str) -> None:
    """What the URL needs; the API server judges the rest."""
    if resource.namespaced and not namespace:
        raise EdgeError("metadata.namespace is missing", where=where, fix="Give the object a namespace")
    for part in (name, namespace or ""):
        if part in (".", "..") or "/" in part or "%" in part:
            raise EdgeError("this name can't be an object's", where=clean(where, 300), why="it has / or %, or is . or ..")


def _encode(body: Any, where: str) -> bytes:
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise EdgeError(
            "this can't be written as JSON", where=where, why=f"{type(error).__name__}: a date, NaN, binary data, or too deep"
        ) from None


def _hidden(resource: Resource, body: Any) -> tuple[str, ...]:
    """Values of a Secret that an answer might quote; short ones can't be told from the words around them, but say little either."""
    if resource.kind != "Secret" or resource.group:
        return ()
    found: list[str] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            for item in value.values():
                collect(item)
        elif isinstance(value, list):
            for item in value:
                collect(item)
        elif isinstance(value, str) and len(value) > 3:
            found.append(value)

    collect([value for field, value in body.items() if field in ("data", "stringData")] if isinstance(body, dict) else body)
    return tuple(sorted(found, key=len, reverse=True))
