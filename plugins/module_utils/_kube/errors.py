# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of the API, in words that a person can act on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional

from .._errors import EdgeError
from .._loose import mapping, mappings
from .resources import Resource
from .text import clean

#: Worth another attempt: the same request may succeed a moment later.
TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
# Server-side apply reports a manifest that does not fit the kind's schema as 500; no attempt will ever mend that.
_MALFORMED = re.compile(
    r"failed to (create typed patch object|convert new object|create typed (live|new) object)|error decoding patch|request is too large"
)
# Admission that looks at objects which a controller is still making in a new namespace.
_NOT_YET = re.compile(r"error looking up service account|no API token found for service account")
_RBAC = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>[a-z]+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)


class ApiError(EdgeError):
    """A request to the Kubernetes API failed.

    :ivar status: HTTP status; 0 = there was no answer.
    :ivar reason: the API's own word (``NotFound``, ``Conflict``, ``Forbidden``, ...), or ours where there is no answer.
    :ivar transient: another attempt may succeed.
    :ivar retry_after: seconds that the server asked to wait.
    :ivar ambiguous: the server may have done what was asked although it did not say so.
    :ivar repeated: an earlier attempt of the same request was ambiguous.
    """

    def __init__(
        self,
        what: str,
        *,
        status: int,
        reason: str = "",
        transient: bool = False,
        retry_after: float = 0.0,
        ambiguous: bool = False,
        **parts: Any,
    ) -> None:
        self.status, self.reason, self.transient, self.retry_after, self.ambiguous = status, reason, transient, retry_after, ambiguous
        self.repeated = False
        super().__init__(what, status=status, reason=reason, **parts)


@dataclass(frozen=True)
class Asked:
    """What was asked, as far as the error for it needs that.

    :ivar verbs: RBAC verbs that the operation needs, for the Role that is offered on 403.
    :ivar hidden: values that must not be quoted from the answer (a Secret's).
    :ivar precondition: the request named a resourceVersion; a conflict about it is the caller's to handle.
    :ivar create: the request was to make what must not exist.
    """

    where: str
    verbs: tuple[str, ...] = ()
    resource: Optional[Resource] = None
    namespace: Optional[str] = None
    hidden: tuple[str, ...] = ()
    precondition: bool = False
    create: bool = False


@dataclass(frozen=True)
class _Refusal:
    """An answer with ``status`` ≥300, read as far as it can be. ``message`` quotes nothing hidden."""

    asked: Asked
    status: int
    message: str
    reason: str
    details: dict[str, Any]
    causes: list[dict[str, Any]]
    retry_after: float

    def error(self, what: str, **parts: Any) -> ApiError:
        return ApiError(what, **{"status": self.status, "where": self.asked.where, "reason": self.reason, "why": self.message, **parts})


def from_answer(status: int, data: bytes, retry_after: str, asked: Asked) -> ApiError:
    """The error for an answer with ``status`` ≥300."""
    body = _status_object(data)
    message = str(body.get("message") or clean(data.decode("utf-8", "replace"), 200))
    for value in asked.hidden:
        message = message.replace(value, "(hidden)")
    message = clean(re.sub(r"got &value\..*", "got something else", message) if asked.hidden else message)
    details = mapping(body.get("details"))
    refusal = _Refusal(
        asked, status, message, str(body.get("reason") or ""), details, mappings(details.get("causes")), _seconds(retry_after)
    )
    return (_redirect if status < 400 else _BY_STATUS.get(status, _invalid))(refusal)


def _status_object(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) and body.get("kind") == "Status" else {}


def _seconds(retry_after: str) -> float:
    # The API server only sends seconds; a date (a proxy's) is treated as "a moment".
    try:
        return max(0.0, float(retry_after)) if retry_after else 0.0
    except ValueError:
        return 1.0


# -- one function for each kind of status --------------------------------------------------------------------------------


def _redirect(it: _Refusal) -> ApiError:
    fix = "Give the API server's own URL, not that of a console or a login page"
    return it.error(f"this is no API server: it answers {it.status}, a redirect", code="REDIRECT", why="", fix=fix)


def _unauthorized(it: _Refusal) -> ApiError:
    return it.error("the API server does not accept the credentials", code="UNAUTHORIZED", fix="Renew the credentials")


def _forbidden(it: _Refusal) -> ApiError:
    if _NOT_YET.search(it.message):
        return it.error("the API server is not ready for this object yet", code="API_FAILED", transient=True)
    denied = _RBAC.search(it.message)
    if denied:
        return _denied(it, denied)
    # Admission, quota, pod security: the message is the reason, no Role would help.
    if "is being terminated" in it.message:
        return it.error("the namespace is being deleted", code="TERMINATING", fix="Run again when it is gone")
    return it.error("the API server forbids it", code="FORBIDDEN")


def _denied(it: _Refusal, denied: re.Match[str]) -> ApiError:
    user, group, resource = denied["user"], denied["group"], it.asked.resource
    place = None if "at the cluster scope" in it.message else denied["namespace"] or it.asked.namespace
    if denied["verb"] == "impersonate" or resource is None or resource.group != group:
        verbs: tuple[str, ...] = (denied["verb"],)
    else:
        verbs = tuple(sorted({denied["verb"], *it.asked.verbs}))
    return it.error(
        f"{clean(user, 200) or 'this user'} may not {denied['verb']} {denied['resource']}"
        + (f" in namespace {clean(place, 253)}" if place else " (cluster-wide)"),
        code="FORBIDDEN",
        fix="Have an administrator apply the role in error.role",
        role=role(user, verbs, group, denied["resource"], place),
    )


def _not_found(it: _Refusal) -> ApiError:
    if it.reason == "NotFound" and it.details.get("kind") == "namespaces":
        what = f"the namespace {clean(it.details.get('name'), 253)} does not exist"
        return it.error(what, code="NAMESPACE_NOT_FOUND", why="", fix="Create it first, or list it too")
    if it.reason == "NotFound" and it.details.get("name"):
        return it.error("the object does not exist", code="NOT_FOUND")
    resource = it.asked.resource
    kind = f"{resource.kind} of {resource.api_version}" if resource else "this path"
    fix = "Install what provides it (its CRDs), or correct kind and apiVersion"
    return it.error(f"the cluster does not know {kind}", code="KIND_NOT_FOUND", why="", fix=fix)


def _conflict(it: _Refusal) -> ApiError:
    managers = [cause for cause in it.causes if cause.get("reason") == "FieldManagerConflict"]
    if managers:
        return _field_conflict(it, managers)
    if it.reason == "AlreadyExists" and it.asked.create:
        return it.error("the object exists already", code="ALREADY_EXISTS")
    return it.error("the object was changed by someone else meanwhile", code="MODIFIED", transient=not it.asked.precondition)


def _field_conflict(it: _Refusal, managers: list[dict[str, Any]]) -> ApiError:
    conflicts = []
    for cause in managers:
        manager = re.search(r'conflict with "([^"]*)"', str(cause.get("message", "")))
        name = clean(manager[1], 100) if manager else clean(cause.get("message"), 200)
        conflicts.append({"field": clean(cause.get("field"), 200), "manager": name})
    return it.error(
        "another field manager owns fields of this change",
        code="CONFLICT",
        why="; ".join(f"{each['field']} belongs to {each['manager']}" for each in conflicts[:10]),
        fix="Leave these fields out, or take them over with force_conflicts: true",
        conflicts=conflicts,
    )


def _gone(it: _Refusal) -> ApiError:
    return it.error("the requested state of the list is too old", code="GONE")


def _passing(it: _Refusal) -> ApiError:
    if _MALFORMED.search(it.message):
        return _invalid(it)
    return it.error(
        f"the API server answered {it.status}",
        code="API_BUSY" if it.status == 429 else "API_FAILED",
        transient=True,
        retry_after=it.retry_after,
        ambiguous=it.status >= 500,
    )


def _invalid(it: _Refusal) -> ApiError:
    refused = it.status in (400, 413, 415, 422) or _MALFORMED.search(it.message)
    what = "the API server refuses it" if refused else f"the API server answered {it.status}"
    fields = sorted({clean(cause.get("field"), 200) for cause in it.causes if cause.get("field")})
    return it.error(what, code="INVALID", fields=fields)


_BY_STATUS: dict[int, Callable[[_Refusal], ApiError]] = {
    401: _unauthorized,
    403: _forbidden,
    404: _not_found,
    409: _conflict,
    410: _gone,
    **dict.fromkeys(TRANSIENT_STATUS, _passing),
}


def role(user: str, verbs: tuple[str, ...], group: str, plural: str, namespace: Optional[str]) -> str:
    """A Role (ClusterRole without ``namespace``) and its binding to ``user`` as YAML, ready to apply."""
    kind = "Role" if namespace else "ClusterRole"
    place = f", namespace: {json.dumps(namespace)}" if namespace else ""
    account = re.fullmatch(r"system:serviceaccount:([a-z0-9.-]+):([a-z0-9.-]+)", user)
    subject = (
        f"{{kind: ServiceAccount, namespace: {account[1]}, name: {account[2]}}}"
        if account
        else f"{{kind: User, apiGroup: rbac.authorization.k8s.io, name: {json.dumps(user)}}}"
    )
    name = f"edgemesh-{plural.partition('/')[0]}"
    return f"""\
apiVersion: rbac.authorization.k8s.io/v1
kind: {kind}
metadata: {{name: {name}{place}}}
rules:
  - {{apiGroups: [{json.dumps(group)}], resources: [{json.dumps(plural)}], verbs: [{", ".join(verbs)}]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {kind}Binding
metadata: {{name: {name}{place}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {name}}}
subjects:
  - {subject}
"""
