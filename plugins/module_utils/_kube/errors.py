"""What the API answers when it does not do as asked, said so that a person can act on it."""

from __future__ import annotations

import json
import re
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


def from_answer(
    status: int,
    data: bytes,
    retry_after: str = "",
    *,
    where: str,
    verbs: tuple[str, ...] = (),
    resource: Optional[Resource] = None,
    namespace: Optional[str] = None,
    hidden: tuple[str, ...] = (),
    precondition: bool = False,
    create: bool = False,
) -> ApiError:
    """The error for an answer with ``status`` ≥300.

    :param verbs: RBAC verbs that the operation needs, for the Role that is offered on 403.
    :param hidden: values that must not be quoted from the answer (a Secret's).
    :param precondition: the request named a resourceVersion; a conflict about it is the caller's to handle.
    :param create: the request was to make what must not exist.
    """
    body = _status_object(data)
    message = str(body.get("message") or clean(data.decode("utf-8", "replace"), 200))
    for value in hidden:
        message = message.replace(value, "(hidden)")
    message = clean(re.sub(r"got &value\..*", "got something else", message) if hidden else message)
    reason = str(body.get("reason") or "")
    details = mapping(body.get("details"))
    causes = mappings(details.get("causes"))
    common: dict[str, Any] = {"status": status, "where": where, "reason": reason}

    if status < 400:
        fix = "Give the API server's own URL, not that of a console or a login page"
        return ApiError(f"this is no API server: it answers {status}, a redirect", code="REDIRECT", fix=fix, **common)
    if status == 401:
        return ApiError(
            "the API server does not accept the credentials", why=message, code="UNAUTHORIZED", fix="Renew the credentials", **common
        )
    if status == 403 and not _NOT_YET.search(message):
        return _forbidden(message, verbs, resource, namespace, common)
    if status == 404:
        if reason == "NotFound" and details.get("kind") == "namespaces":
            return ApiError(
                f"the namespace {clean(details.get('name'), 253)} does not exist",
                code="NAMESPACE_NOT_FOUND",
                fix="Create it first, or list it too",
                **common,
            )
        if reason == "NotFound" and details.get("name"):
            return ApiError("the object does not exist", code="NOT_FOUND", why=message, **common)
        kind = f"{resource.kind} of {resource.api_version}" if resource else "this path"
        return ApiError(
            f"the cluster does not know {kind}",
            code="KIND_NOT_FOUND",
            fix="Install what provides it (its CRDs), or correct kind and apiVersion",
            **common,
        )
    if status == 409:
        managers = [cause for cause in causes if cause.get("reason") == "FieldManagerConflict"]
        if managers:
            return _field_conflict(managers, common)
        if reason == "AlreadyExists" and create:
            return ApiError("the object exists already", code="ALREADY_EXISTS", why=message, **common)
        return ApiError(
            "the object was changed by someone else meanwhile", code="MODIFIED", why=message, transient=not precondition, **common
        )
    if status == 410:
        return ApiError("the requested state of the list is too old", code="GONE", why=message, **common)
    malformed = bool(_MALFORMED.search(message))
    if status in TRANSIENT_STATUS and not malformed:
        return ApiError(
            f"the API server answered {status}",
            why=message,
            code="API_BUSY" if status == 429 else "API_FAILED",
            transient=True,
            retry_after=_seconds(retry_after),
            ambiguous=status >= 500,
            **common,
        )
    if status == 403:
        return ApiError("the API server is not ready for this object yet", why=message, code="API_FAILED", transient=True, **common)
    fields = sorted({clean(cause.get("field"), 200) for cause in causes if cause.get("field")})
    return ApiError(
        "the API server refuses it" if status in (400, 413, 415, 422) or malformed else f"the API server answered {status}",
        why=message,
        code="INVALID",
        fields=fields,
        **common,
    )


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


def _field_conflict(causes: list[dict[str, Any]], common: dict[str, Any]) -> ApiError:
    conflicts = []
    for cause in causes:
        manager = re.search(r'conflict with "([^"]*)"', str(cause.get("message", "")))
        conflicts.append(
            {
                "field": clean(cause.get("field"), 200),
                "manager": clean(manager.group(1), 100) if manager else clean(cause.get("message"), 200),
            }
        )
    words = "; ".join(f"{each['field']} belongs to {each['manager']}" for each in conflicts[:10])
    return ApiError(
        "another field manager owns what would be changed",
        why=words,
        code="CONFLICT",
        fix="Leave these fields out, or take them over with force_conflicts: true",
        conflicts=conflicts,
        **common,
    )


def _forbidden(
    message: str, verbs: tuple[str, ...], resource: Optional[Resource], namespace: Optional[str], common: dict[str, Any]
) -> ApiError:
    denied = _RBAC.search(message)
    if not denied:
        # Admission, quota, pod security: the message is the reason, no Role would help.
        if "is being terminated" in message:
            return ApiError("the namespace is being deleted", why=message, code="TERMINATING", fix="Run again when it is gone", **common)
        return ApiError("the API server forbids it", why=message, code="FORBIDDEN", **common)
    user, group = denied["user"], denied["group"]
    place = None if "at the cluster scope" in message else denied["namespace"] or namespace
    if denied["verb"] == "impersonate":
        verbs = ("impersonate",)
    elif resource is None or resource.group != group:
        verbs = (denied["verb"],)
    else:
        verbs = tuple(sorted({denied["verb"], *verbs}))
    return ApiError(
        f"{clean(user, 200) or 'this user'} may not {denied['verb']} {denied['resource']}"
        + (f" in namespace {clean(place, 253)}" if place else " (cluster-wide)"),
        why=message,
        code="FORBIDDEN",
        fix="Have an administrator apply the role in error.role",
        role=role(user, verbs, group, denied["resource"], place),
        **common,
    )


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
