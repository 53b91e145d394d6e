# SPDX-License-Identifier: GPL-3.0-or-later
"""The task behind module tls_secret_info: Secrets and ConfigMaps with certificates, read or waited for."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple, Optional

from .._errors import EdgeError
from .._kube import parallel
from .._kube.client import Client
from .._kube.errors import ApiError
from .._kube.wait import Objects, Target, follow_all
from .._loose import mapping
from .._x509 import clock
from .._x509.purposes import CA
from .entries import reference
from .inspect import Report, Use, holds_certificates, inspect

#: Up to so many names of a namespace are watched one by one, which rights to these names alone permit; more need rights to all.
BY_NAME = 8
#: Requests at a time.
WORKERS = 6
#: What never holds certificates, and may be large.
_OTHER_TYPES = (
    "bootstrap.kubernetes.io/token helm.sh/release.v1 kubernetes.io/basic-auth kubernetes.io/dockercfg kubernetes.io/dockerconfigjson"
    " kubernetes.io/service-account-token kubernetes.io/ssh-auth"
)
_FIELDS = ",".join(f"type!={each}" for each in _OTHER_TYPES.split())


class Key(NamedTuple):
    """An object."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Asked:
    """One object that is asked for.

    :ivar trusted: the object with the CA by which peers verify it. :ivar old: fingerprint that it shall no longer have.
    """

    key: Key
    uses: tuple[Use, ...] = ()
    entries: dict[str, Optional[str]] = field(default_factory=dict)
    trusted: Optional[Key] = None
    old: str = ""

    @property
    def beside(self) -> Optional[Key]:
        """Istio's ``<name>-cacert``, of a credential that shall also serve as CA."""
        mutual = len({each.use == CA for each in self.uses}) == 2
        return Key("Secret", self.key.namespace, f"{self.key.name}-cacert") if mutual else None


@dataclass(frozen=True)
class Selection:
    """Objects by label and namespace (None = all)."""

    kind: str
    namespace: Optional[str]
    labels: Optional[str]
    uses: tuple[Use, ...]

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.kind}s{where}" + (f" with {self.labels}" if self.labels else "")


class Info:
    """One task.

    :param params: the module's options.
    :raises EdgeError: ENTRY_INVALID when an option can't be right.
    """

    def __init__(self, params: dict[str, Any], *, check: bool) -> None:
        self._wait = bool(params["wait"]) and not check
        self._until = params["until"]
        self._soon = timedelta(days=params["soon"])
        usual = _uses(params.get("uses"), "uses")
        self._asked = [_asked(raw, f"secrets[{number}]", usual) for number, raw in enumerate(params["secrets"])]
        self._selections = [_selection(raw, f"select[{number}]", usual) for number, raw in enumerate(params["select"])]
        if not self._asked and not self._selections:
            raise EdgeError("nothing is requested", fix="Give secrets, or select", code="ENTRY_INVALID")
        if self._until == "changed" and params["wait"]:
            if self._selections:
                raise EdgeError("until: changed needs names", where="select", fix="List them in secrets", code="ENTRY_INVALID")
            for number, asked in enumerate(self._asked):
                if not asked.old:
                    raise EdgeError("until: changed needs the old fingerprint", where=f"secrets[{number}] ({asked.key}).fingerprint",
                                    fix="Give fingerprint or certificate.sha256 of an earlier result", code="ENTRY_INVALID")  # fmt: skip
        self._live: dict[Key, dict[str, Any]] = {}
        self._selected: list[list[Asked]] = [[] for _each in self._selections]
        self._known: dict[Key, tuple[Any, Report]] = {}

    def look(self, client: Client) -> list[dict[str, Any]]:
        """The results: those of ``secrets`` in order, then those of ``select`` by namespace and name.

        :raises EdgeError: at the deadline (TIMEOUT, with what was still missing), or when the API refuses.
        """
        client.needs = ("get", "list", "watch") if self._wait else ("get",)
        if self._wait:
            trouble = follow_all(client, self._targets(client), self._done)
            if not self._complete():
                raise self._time_out(client, trouble)
        else:
            self._read(client)
        return self._results()

    def _results(self) -> list[dict[str, Any]]:
        return [self._result(each) for each in self._everything()]

    def _result(self, asked: Asked) -> dict[str, Any]:
        live = self._live.get(asked.key) or {}
        metadata = mapping(live.get("metadata"))
        return {
            "kind": asked.key.kind,
            "namespace": asked.key.namespace,
            "name": asked.key.name,
            "type": str(live.get("type") or ""),
            "resource_version": str(metadata.get("resourceVersion") or ""),
            **self._report(asked).result(),
        }

    def _everything(self) -> list[Asked]:
        return [*self._asked, *(asked for selected in self._selected for asked in selected)]

    def _report(self, asked: Asked) -> Report:
        """What is to be said of it; made anew when one of the objects has changed, or the time may have told."""
        keys = (asked.key, asked.trusted, asked.beside or Key("Secret", asked.key.namespace, f"{asked.key.name}-cacert"))
        objects = [self._live.get(key) if key else None for key in keys]
        versions = [None if each is None else str(mapping(each.get("metadata")).get("resourceVersion")) for each in objects]
        moment, cached = int(clock.now().timestamp()), self._known.get(asked.key)
        if cached and cached[0][:-1] == (asked, versions) and (cached[1].fit or cached[0][-1] == moment):
            return cached[1]
        live, trusted, beside = objects
        verified_by = asked.trusted is not None
        report = inspect(live, asked.uses, asked.entries, trusted=trusted, verified_by=verified_by, beside=beside, soon=self._soon)
        self._known[asked.key] = ((asked, versions, moment), report)
        return report

    # -- at once ---------------------------------------------------------------------------------------------------------

    def _read(self, client: Client) -> None:
        self._get(client, (key for asked in self._asked for key in (asked.key, asked.trusted) if key))
        self._get(client, (asked.beside for asked in self._asked if asked.beside))

        def select(number: int) -> None:
            each = self._selections[number]
            fields = _FIELDS if each.kind == "Secret" else None
            self._select(number, client.list(each.kind, each.namespace, labels=each.labels, fields=fields)[0])

        parallel.each(select, range(len(self._selections)), WORKERS)

    def _get(self, client: Client, keys: Iterable[Key]) -> None:
        """Read each object once; what may not be read is said of all together."""
        refused: list[ApiError] = []
        lock = threading.Lock()

        def get(key: Key) -> None:
            try:
                live = client.get(key.kind, key.name, key.namespace)
            except ApiError as error:
                if error.status != 403:
                    raise
                with lock:
                    refused.append(error)
                return
            if live is not None:
                with lock:
                    self._live[key] = {**live, "kind": key.kind}

        parallel.each(get, list(dict.fromkeys(keys)), WORKERS)
        if refused:
            raise _refusal(refused)

    def _select(self, number: int, objects: Iterable[dict[str, Any]]) -> None:
        selection, listed = self._selections[number], []
        for live in objects:
            metadata = mapping(live.get("metadata"))
            key = Key(selection.kind, str(metadata.get("namespace")), str(metadata.get("name")))
            if holds_certificates(live):
                self._live[key] = live
                listed.append(Asked(key, selection.uses))
        self._selected[number] = sorted(listed, key=lambda asked: asked.key)

    # -- waiting ---------------------------------------------------------------------------------------------------------

    def _targets(self, client: Client) -> list[Target]:
        self._sources: list[Any] = []
        targets = []
        groups: dict[tuple[str, str], dict[str, None]] = {}
        for asked in self._asked:
            for key in (asked.key, asked.trusted, asked.beside):
                if key:
                    groups.setdefault((key.kind, key.namespace), {})[key.name] = None
        for (kind, namespace), names in groups.items():
            for part in [[name] for name in names] if len(names) <= BY_NAME else [list(names)]:
                targets.append(Target(client.resource(kind), namespace, part))
                self._sources.append([Key(kind, namespace, name) for name in part])
        for number, each in enumerate(self._selections):
            fields = _FIELDS if each.kind == "Secret" else None
            targets.append(Target(client.resource(each.kind), each.namespace, None, each.labels, fields))
            self._sources.append(number)
        return targets

    def _done(self, seen: list[Objects]) -> bool:
        for source, objects in zip(self._sources, seen):
            if isinstance(source, int):
                for asked in self._selected[source]:
                    self._live.pop(asked.key, None)
                self._select(source, objects.values())
        # What is asked for by name counts, should a selection have it too.
        for source, objects in zip(self._sources, seen):
            for key in source if isinstance(source, list) else ():
                self._live.pop(key, None)
                if key.name in objects:
                    self._live[key] = objects[key.name]
        return self._complete()

    def _complete(self) -> bool:
        return all(self._selected) and not any(self._why_not(asked) for asked in self._everything())

    def _why_not(self, asked: Asked) -> str:
        return self._report(asked).why_not(self._until, asked.old)

    def _time_out(self, client: Client, trouble: str) -> EdgeError:
        missing = [(str(each), "there is none") for each, selected in zip(self._selections, self._selected) if not selected]
        missing += [(str(asked.key), why) for asked in self._everything() for why in [self._why_not(asked)] if why]
        where = missing[0][0] if len(missing) == 1 else ""
        words = [f"{name}: {why}" if not where else why for name, why in missing[:5]]
        more = [f"and {len(missing) - 5} more"] if len(missing) > 5 else []
        return EdgeError(
            f"timed out after {client.deadline.seconds:g} s of waiting until {self._until}",
            where=where,
            why="; ".join(part.rstrip(".") for part in [*words, *more, trouble] if part),
            code="TIMEOUT",
            missing=[{"object": name, "why": why} for name, why in missing],
            results=self._results(),
        )


def _refusal(refused: list[ApiError]) -> ApiError:
    """One error for all that may not be read, with every Role that is needed."""
    first = refused[0]
    roles = list(dict.fromkeys(str(error.details["role"]) for error in refused if error.details.get("role")))
    if len(roles) > 1:
        first.details["role"] = "---\n".join(roles)
        first.why = "; ".join([first.why, *dict.fromkeys(error.what for error in refused if error.what != first.what)])
        first.args = (first.sentence,)
    return first


def _uses(raw: Optional[list[dict[str, Any]]], where: str) -> tuple[Use, ...]:
    uses = []
    for number, each in enumerate(raw or []):
        names = tuple(str(name) for name in each.get("names") or [])
        if names and each["use"] == CA:
            raise EdgeError("a CA covers no names", where=f"{where}[{number}].names", fix="Leave them out", code="ENTRY_INVALID")
        uses.append(Use(each["use"], names, each.get("reader") or ""))
    return tuple(uses)


def _asked(raw: dict[str, Any], where: str, usual: tuple[Use, ...]) -> Asked:
    try:
        key = _key(raw)
        trusted = (
            _key({"namespace": key.namespace, **{name: value for name, value in raw["ca"].items() if value}}) if raw.get("ca") else None
        )
    except EdgeError as error:
        raise EdgeError(error.what, where=where, code="ENTRY_INVALID") from None
    entries = {role: raw["entries"].get(role) for role in ("certificate", "key", "ca")} if raw.get("entries") else {}
    return Asked(key, _uses(raw.get("uses"), f"{where}.uses") or usual, entries, trusted, str(raw.get("fingerprint") or "").lower())


def _key(raw: dict[str, Any]) -> Key:
    ref = reference(raw)
    return Key(raw.get("kind") or "Secret", ref.namespace, ref.name)


def _selection(raw: dict[str, Any], where: str, usual: tuple[Use, ...]) -> Selection:
    namespace, labels = raw.get("namespace") or None, raw.get("labels") or None
    if namespace is not None:
        try:
            reference({"namespace": namespace, "name": "any"})
        except EdgeError as error:
            raise EdgeError(error.what, where=f"{where}.namespace", code="ENTRY_INVALID") from None
    return Selection(raw.get("kind") or "Secret", namespace, labels, _uses(raw.get("uses"), f"{where}.uses") or usual)
