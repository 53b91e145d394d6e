# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of `tls_secret` as typed values; contradictions are refused by entry and field."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from .. import _files
from .._errors import EdgeError
from .._x509 import sign
from .._x509.material import CA_IN_FOLDER, SHAPES, Shape
from . import users as needing
from .authority import STAGES

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
CA_DAYS, LEAF_DAYS = 3650, 90


@dataclass(frozen=True)
class Reference:
    """A Secret, or a ConfigMap, by namespace and name."""

    namespace: str
    name: str
    kind: str = "Secret"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def title(self) -> str:
        """How sentences name it."""
        return f"{self.kind} {self}"


@dataclass(frozen=True)
class Issue:
    """A certificate to be made by us.

    :ivar usage: server, client or ca.
    :ivar ca: the CA's Secret; None for a CA itself.
    :ivar names: SANs of a leaf.
    :ivar days: validity.
    :ivar renew_before: days before its end at which a leaf is renewed.
    :ivar key_type: ecdsa, rsa, or "" = ecdsa for new keys, any for a CA that exists.
    :ivar folder: where the CA's key is kept; "" = in its Secret.
    :ivar roll_over: a step from one CA to the next, of :data:`.authority.STAGES`; "" = none.
    :ivar spare: whether names of users that are gone may stay until it is issued anew for another reason.
    """

    usage: str
    ca: Optional[Reference]
    names: list[str]
    days: int
    renew_before: int
    key_type: str
    common_name: str
    folder: str = ""
    roll_over: str = ""
    spare: bool = False


@dataclass(frozen=True)
class Entry:
    """One Secret that shall be there; at most one of ``issue``, ``files``, ``secret``, ``pem`` is set.

    :ivar required: none of them is: somebody else makes it, it must be there.
    :ivar users: the run's routes that need it, each with its names; None where nobody counts them.
    """

    ref: Reference
    kind: str
    issue: Optional[Issue] = None
    files: Optional[dict[str, Optional[str]]] = None
    secret: Optional[dict[str, Optional[str]]] = None
    pem: Optional[dict[str, Optional[str]]] = field(default=None, repr=False)
    ca: Optional[Reference] = None
    include_ca: bool = False
    usage: str = ""
    names: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    adopt: bool = False
    keep_foreign: bool = False
    required: bool = False
    users: Optional[dict[str, tuple[str, ...]]] = None

    @property
    def shape(self) -> Shape:
        """What the reader expects."""
        return CA_IN_FOLDER if self.kind == "ca" and self.issue and self.issue.folder else SHAPES[self.kind]

    @property
    def source(self) -> Optional[Reference]:
        """The Secret it is copied from, if it is."""
        return Reference(str(self.secret["namespace"]), str(self.secret["name"])) if self.secret else None

    def needed_by(self, users: needing.Users) -> Entry:
        """With the names, labels and annotation that follow from all its users."""
        names = needing.names(users)
        return replace(
            self,
            issue=self.issue and replace(self.issue, names=names, spare=True),
            names=tuple(names),
            labels={**self.labels, **needing.labelled(users)},
            annotations={**self.annotations, **needing.annotation(users)},
        )


def entries(params: list[dict[str, Any]], state: str = "present") -> list[Entry]:
    """All of them, or one error that names every entry that can't be used.

    :raises EdgeError: ENTRY_INVALID.
    """
    result: list[Entry] = []
    problems: list[str] = []
    for number, raw in enumerate(params):
        where = f"secrets[{number}] ({raw.get('namespace')}/{raw.get('name')})"
        try:
            entry = _entry(raw, state)
            if any(each.ref == entry.ref for each in result):
                raise EdgeError(f"the same {entry.ref.kind} is listed twice")
            result.append(entry)
        except EdgeError as error:
            problems.append(f"{where}: {error.sentence}")
    if problems:
        raise EdgeError(" ".join(problems).rstrip("."), code="ENTRY_INVALID")
    return result


def _entry(raw: dict[str, Any], state: str) -> Entry:
    ref = reference(raw, raw.get("kind") or "Secret")
    issue_raw, source = raw.get("issue"), raw.get("from") or {}
    kind = raw.get("for") or ("ca" if issue_raw and issue_raw.get("usage") == "ca" else "tls")
    base = Entry(
        ref,
        kind,
        labels={str(key): str(value) for key, value in (raw.get("labels") or {}).items()},
        annotations={str(key): str(value) for key, value in (raw.get("annotations") or {}).items()},
        adopt=bool(raw.get("adopt")),
        keep_foreign=bool(raw.get("keep_foreign")),
    )
    if state != "present":
        return base
    if ref.kind == "ConfigMap" and base.shape.key:
        raise EdgeError(f"a ConfigMap can't hold a key, which {kind} needs", fix="Use it for: gateway_ca, or leave out kind")
    given = [name for name in ("files", "secret", "pem") if source.get(name)]
    if bool(issue_raw) + len(given) > 1:
        raise EdgeError("give at most one of issue, from.files, from.secret and from.pem")
    if base.adopt and base.keep_foreign:
        raise EdgeError("adopt and keep_foreign exclude each other")
    users = _users(raw.get("users"))
    if users is not None and (kind == "ca" or not (issue_raw or source.get("secret"))):
        raise EdgeError("users belong to what is issued or copied here", fix="Remove them, or give issue or from.secret")
    if users is not None and issue_raw and issue_raw.get("names"):
        raise EdgeError("issue.names and users are both given", fix="Give each user its names, and leave out issue.names")
    issue = _issue(issue_raw, kind, [name for needed in (users or {}).values() for name in needed]) if issue_raw else None
    if source.get("secret"):
        reference(source["secret"])
    for name in ("files", "pem"):
        _check_parts(source.get(name), kind, name)
    expect = raw.get("expect") or {}
    return replace(
        base,
        required=not issue_raw and not given,
        issue=issue,
        files=source.get("files"),
        secret=source.get("secret"),
        pem=source.get("pem"),
        ca=reference(raw["ca"]) if raw.get("ca") else None,
        include_ca=bool(raw.get("include_ca")),
        usage=(issue.usage if issue else expect.get("usage")) or {"gateway": "server", "iks_alb": "client", "ca": "ca"}.get(kind, ""),
        names=tuple(issue.names if issue else expect.get("names") or ()),
        users=users,
    )


def _users(raw: Optional[dict[str, Any]]) -> Optional[dict[str, tuple[str, ...]]]:
    if raw is None:
        return None
    if not raw or not all(isinstance(needed, list) for needed in raw.values()):
        raise EdgeError("users is no dictionary of routes, each with a list of names")
    if any("/" in route or route == needing.UNKNOWN for route in raw):
        raise EdgeError("users names something that is no route")
    return {str(route): tuple(map(str, needed)) for route, needed in raw.items()}


def by_need(listed: list[Entry]) -> list[Entry]:
    """Put sources before the Secrets that are made from them; otherwise keep the order.

    :raises EdgeError: ENTRY_INVALID where Secrets need each other in a circle.
    """
    known = {each.ref: each for each in listed}
    result: list[Entry] = []

    def add(entry: Entry, above: tuple[Reference, ...]) -> None:
        if entry.ref in above:
            raise EdgeError("Secrets are made from each other in a circle", where=entry.ref.title, code="ENTRY_INVALID")
        for need in (entry.issue.ca if entry.issue else None, entry.source, entry.ca):
            if need in known:
                add(known[need], (*above, entry.ref))
        if entry not in result:
            result.append(entry)

    for entry in listed:
        add(entry, ())
    return result


def _check_parts(given: Optional[dict[str, Optional[str]]], kind: str, source: str) -> None:
    if given is None:
        return
    shape = SHAPES[kind]
    needed = ["certificate", "key"] if shape.certificate else []
    missing = [each for each in needed if not given.get(each)]
    if not shape.certificate and not (given.get("ca") or given.get("certificate")):
        missing = ["ca"]
    if missing:
        raise EdgeError(f"from.{source} lacks {' and '.join(missing)}, which a Secret for {kind} needs")


def _issue(raw: dict[str, Any], kind: str, users_names: list[str]) -> Issue:
    usage = raw.get("usage") or {"ca": "ca", "iks_alb": "client"}.get(kind, "server")
    if (usage == "ca") != (kind == "ca"):
        raise EdgeError(
            f"a Secret for {kind} can't be issued with usage {usage}", fix="A CA is for: ca with usage: ca; leaves are for: gateway or tls"
        )
    if not SHAPES[kind].certificate:
        raise EdgeError(f"a Secret for {kind} holds only CA certificates", fix="Copy them with from.secret from the CA's Secret")
    names = [str(each) for each in raw.get("names") or users_names]
    if usage == "ca" and (raw.get("ca") or names):
        raise EdgeError("a CA is self-signed and has no names", fix="Leave out issue.ca and issue.names")
    if usage != "ca" and not (raw.get("ca") and names):
        raise EdgeError("a leaf needs issue.ca and at least one name, in issue.names or in users")
    for each in names:
        sign.general_name(each)
    folder = str(raw.get("folder") or (raw.get("ca") or {}).get("folder") or "")
    if usage != "ca" and (raw.get("roll_over") or raw.get("folder")):
        raise EdgeError("roll_over and folder are a CA's", fix="Say in issue.ca.folder where the CA is")
    days = int(raw.get("days") or (CA_DAYS if usage == "ca" else LEAF_DAYS))
    renew_before = days // 3 if raw.get("renew_before") is None else int(raw["renew_before"])
    if days < 1 or days > 36500 or not 0 <= renew_before < days:
        raise EdgeError(f"days {days} and renew_before {renew_before} don't fit: 1 <= days <= 36500 and 0 <= renew_before < days")
    return Issue(
        usage,
        reference(raw["ca"]) if raw.get("ca") else None,
        names,
        days,
        renew_before,
        raw.get("key_type") or "",
        raw.get("common_name") or "",
        _files.checked_path(folder) if folder else "",
        _stage(raw.get("roll_over") or ""),
    )


def _stage(text: str) -> str:
    if text not in ("", *STAGES):
        raise EdgeError(f"roll_over {text[:100]!r} is none of {', '.join(STAGES)}")
    return text


def reference(raw: dict[str, Any], kind: str = "Secret") -> Reference:
    """``{namespace, name}``, checked as the API server would.

    :raises EdgeError: NAME_INVALID.
    """
    namespace, name = str(raw.get("namespace") or ""), str(raw.get("name") or "")
    if not _NAMESPACE.fullmatch(namespace):
        raise EdgeError(f"{namespace[:100]!r} is no namespace name", code="NAME_INVALID")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise EdgeError(f"{name[:100]!r} is no {kind} name", code="NAME_INVALID")
    return Reference(namespace, name, kind)
