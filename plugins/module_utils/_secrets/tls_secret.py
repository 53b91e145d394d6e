# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings Secrets to what is asked: plans every one first, writes only when all can be written, and survives races.

A Secret is created with create and updated with its resourceVersion, so that two runs at once end with one result; one that does
not carry our label is left alone. What others are made from is written first, so that a killed run leaves whole Secrets, and the
next run goes on from there. Nothing here returns, prints or raises key material.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Optional, Protocol

from .._errors import EdgeError
from .._kube.errors import ApiError
from .._lists import Run
from .._x509 import clock, facts, sign
from .._x509.material import Material, from_pem, from_secret, ordered, to_data
from . import authority as kept
from . import fitness, folder, unneeded
from . import users as needing
from .entries import Entry, Issue, Reference, by_need
from .keeper import Keeper
from .plan import ISSUER, KNOWN_LATER, SOURCE, SOURCE_VERSION, File, Plan, action, check_owner, manifest, ours
from .reissue import check_use, names_of, why_anew
from .relatives import Objects

__all__ = ["KNOWN_LATER", "Delivery", "Plan", "Secrets"]

#: How often a Secret that others change at the same time is read and planned again. Each of them writes it once, so as many may run.
ATTEMPTS = 30


class Secrets(Objects, Protocol):
    """What this needs of :class:`.._kube.client.Client`."""

    def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Make one; 409 where it exists."""

    def replace(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Write one at its resourceVersion; 409 where it has changed."""

    def delete(
        self, kind: str, name: str, namespace: Optional[str] = None, uid: Optional[str] = None, *, version: Optional[str] = None
    ) -> None:
        """Remove one; 409 where it is not at this resourceVersion."""


class Delivery:
    """One task's work on a list of Secrets.

    :param client: the API.
    :param run: whose users come and go; entries without users have nothing of it.
    :param check_mode: predict only.
    :param lenient: take material that its reader would refuse, and say so.
    :param read_file: how files are read; tests replace it.
    :ivar warnings: for the user.
    """

    def __init__(
        self,
        client: Secrets,
        entries: list[Entry],
        *,
        run: Optional[Run] = None,
        check_mode: bool = False,
        lenient: bool = False,
        now: Optional[datetime] = None,
        read_file: Optional[Callable[[str], bytes]] = None,
    ) -> None:
        self._client = client
        self._entries = entries
        self._order = by_need(entries)
        self._run = run or Run()
        self._check_mode = check_mode
        self._lenient = lenient
        self._now = now or clock.now()
        self._read_file = read_file or _read_file
        self._seen: dict[Reference, Optional[dict[str, Any]]] = {}
        #: Secrets of this task as they will be, for those that are made from them; None where only the run knows their content
        self._foreseen: dict[Reference, Optional[dict[str, Any]]] = {}
        self.warnings: list[str] = []
        self._keeper = Keeper(client, entries, self._now, self.warnings)

    def present(self) -> list[Plan]:
        """Make every Secret what its entry says.

        :raises EdgeError: before anything is written when one of them can't be; afterwards only when the API refuses.
        """
        plans = self._plan_all(lambda entry: self._plan(entry, make=False))
        for plan in plans:
            self._warn(plan)
        return plans if self._check_mode else self._write_all(lambda entry: self._plan(entry, make=True))

    def absent(self) -> list[Plan]:
        """Remove every listed Secret of ours."""
        plans = self._plan_all(self._plan_absent)
        return plans if self._check_mode else self._write_all(self._plan_absent)

    def unneeded(self, authorities: Iterable[Reference] = ()) -> list[Plan]:
        """Take away the run's users that go from the listed Secrets, and every Secret whose last user goes; CAs after the others.

        :param authorities: those of the list that are CAs. They have no users; each goes where nothing else remains that it vouches for.
        :raises EdgeError: CA_IN_USE, before anything changes.
        """
        cas = set(authorities)

        def plan(entry: Entry) -> Plan:
            return self._plan_absent(entry) if entry.ref in cas else unneeded.plan(entry, self._read(entry.ref), self._run)

        plans = self._plan_all(plan)
        for each in plans:
            if each.entry.ref in cas and each.action == "deleted":
                gone = [other.entry.ref for other in plans if other.action == "deleted"]
                unneeded.check_unused(self._client, each, gone, self.warnings)
        self._order.sort(key=lambda entry: entry.ref in cas)
        return plans if self._check_mode else self._write_all(plan)

    def _plan_all(self, plan: Callable[[Entry], Plan]) -> list[Plan]:
        plans, errors = [], []
        for entry in self._order:
            try:
                each = plan(entry)
            except EdgeError as error:
                if isinstance(error, ApiError) and error.status != 403:
                    raise  # it would be the same for all
                errors.append((entry, error))
            else:
                plans.append(each)
                if each.changes and each.action != "deleted":
                    self._foreseen[entry.ref] = each.manifest if each.material is not None else None
        if errors:
            raise _together(errors, len(self._entries))
        self._foreseen.clear()
        return self._as_listed(plans)

    def _write_all(self, plan: Callable[[Entry], Plan]) -> list[Plan]:
        done: list[Plan] = []
        for entry in self._order:
            try:
                done.append(self._write(entry, plan))
            except EdgeError as error:
                error.details["results"] = [each.result(False) for each in done]
                raise
        return self._as_listed(done)

    def _as_listed(self, plans: list[Plan]) -> list[Plan]:
        places = {entry.ref: index for index, entry in enumerate(self._entries)}
        return sorted(plans, key=lambda each: places[each.entry.ref])

    def _write(self, entry: Entry, plan: Callable[[Entry], Plan]) -> Plan:
        for attempt in range(ATTEMPTS):
            each = plan(entry)
            try:
                self._send(each)
                return each
            except ApiError as error:
                if error.code not in ("ALREADY_EXISTS", "MODIFIED") or attempt == ATTEMPTS - 1:
                    raise
                self._seen.pop(entry.ref, None)  # somebody else was there in between: look again
        raise AssertionError("unreachable")

    def _send(self, plan: Plan) -> None:
        ref = plan.entry.ref
        if plan.file is not None:
            folder.write(plan.file.path, plan.file.content, plan.file.before)
        if not plan.changes:
            return
        if plan.action in ("deleted", "recreated") and plan.before is not None:
            metadata = plan.before["metadata"]
            # a user that came meanwhile keeps it
            self._client.delete(ref.kind, ref.name, ref.namespace, uid=metadata.get("uid"), version=metadata.get("resourceVersion"))
            self._seen[ref] = None
        if plan.manifest is not None:
            self._seen[ref] = self._client.replace(plan.manifest) if plan.action == "changed" else self._client.create(plan.manifest)

    # -- planning --------------------------------------------------------------------------------------------------------

    def _plan_absent(self, entry: Entry) -> Plan:
        existing = self._read(entry.ref)
        if existing is None:
            return Plan(entry, "absent")
        if entry.keep_foreign and not ours(existing):
            return Plan(entry, "unchanged", ["it is not ours, so it stays"], existing)
        check_owner(entry, existing)
        return Plan(entry, "deleted", before=existing)

    def _plan(self, entry: Entry, make: bool) -> Plan:
        existing = self._read(entry.ref)
        if entry.required or (entry.keep_foreign and existing is not None and not ours(existing)):
            return self._found(entry, existing)
        if existing is not None:
            check_owner(entry, existing)
        if entry.users is not None:
            entry = self._with_users(entry, entry.users, existing)
        why: list[str] = []
        if entry.issue and entry.issue.usage == "ca":
            return self._ca(entry, entry.issue, existing, why, make)
        annotations = dict(entry.annotations)
        if entry.issue:
            material = self._leaf(entry, entry.issue, existing, why, make)
            annotations[ISSUER] = str(entry.issue.ca)
        else:
            material, source_version = self._given(entry)
            if entry.source:
                annotations.update({SOURCE: str(entry.source), SOURCE_VERSION: source_version or KNOWN_LATER})
        if material is not None:
            material = self._with_ca(entry, material)
        data = to_data(entry.shape, material, entry.include_ca) if material is not None else None
        return self._planned(entry, existing, material, data, annotations, why)

    def _with_users(self, entry: Entry, wanted: dict[str, tuple[str, ...]], existing: Optional[dict[str, Any]]) -> Entry:
        """The entry for those who need it besides this run's routes, too."""
        before = needing.read(existing, names_of(existing)) if existing is not None and ours(existing) else {}
        users = needing.merged(before, self._run, wanted, entry.ref.title)
        others = [owner for owner in users if owner.route not in wanted]
        if existing is not None and others:
            check_use(entry, existing, others)
        return entry.needed_by(users)

    def _ca(self, entry: Entry, issue: Issue, existing: Optional[dict[str, Any]], why: list[str], make: bool) -> Plan:
        authority = self._keeper.plan(entry, issue, existing, why, make)
        material = authority.signing if authority else None
        data, file = None, None
        if authority and issue.folder:
            data = to_data(entry.shape, authority.signing)
            file = self._file(entry, issue, authority)
        elif authority:
            data = kept.dump(authority)
        plan = self._planned(entry, existing, material, data, dict(entry.annotations), why)
        if plan.action == "recreated":
            raise EdgeError(
                "the CA's Secret would have to be deleted and made anew, and a run that is killed in between would lose the CA",
                where=entry.ref.title,
                why="; ".join(why),
                fix="Make it anew by hand without immutable: true, from a backup that you have tried",
                code="CA_IMMUTABLE",
            )
        plan.file = file
        return plan

    @staticmethod
    def _file(entry: Entry, issue: Issue, authority: kept.Authority) -> Optional[File]:
        path = folder.path_of(issue.folder, entry.ref.name)
        before, content = folder.read(path), kept.dump_file(authority)
        return File(path, content, before) if content != before else None

    def _planned(
        self,
        entry: Entry,
        existing: Optional[dict[str, Any]],
        material: Optional[Material],
        data: Optional[dict[str, bytes]],
        annotations: dict[str, str],
        why: list[str],
    ) -> Plan:
        found = self._judge(entry, material) if material is not None else []
        wanted = manifest(entry, data, annotations, existing)
        does = action(existing, wanted, why)
        if does == "changed" and existing is not None:
            wanted["metadata"]["resourceVersion"] = existing["metadata"].get("resourceVersion")
        return Plan(entry, does, why, existing, wanted, material, found)

    def _found(self, entry: Entry, existing: Optional[dict[str, Any]]) -> Plan:
        """Somebody else's Secret: it must be there and fit for its use, and stays as it is."""
        if existing is None:
            if not self._check_mode:
                raise EdgeError(
                    f"the {entry.ref.kind} does not exist",
                    where=entry.ref.title,
                    fix="Make it first, or have it issued, or correct namespace and name",
                    code="SECRET_MISSING",
                )
            self.warnings.append(f"{entry.ref.title} does not exist (yet), so its fitness could not be checked.")
            return Plan(entry, "absent", ["it does not exist (yet)"])
        if entry.issue and entry.issue.roll_over:
            raise EdgeError(
                "the CA is somebody else's, so it is not rolled over here",
                where=entry.ref.title,
                fix="Have its owner do it, or take it over with adopt: true",
                code="NOT_OURS",
            )
        material = self._as_ca(entry, from_secret(existing))
        found = self._judge(replace(entry, issue=None), material)
        return Plan(entry, "unchanged", ["it is somebody else's, and used as it is"], existing, None, material, found)

    def _leaf(self, entry: Entry, issue: Issue, existing: Optional[dict[str, Any]], why: list[str], make: bool) -> Optional[Material]:
        ca = self._issuer(issue.ca, issue.folder) if issue.ca else None
        if existing is None:
            why.append("there is no such Secret yet")
        else:
            try:
                current = from_secret(existing)
            except EdgeError as error:
                why.append(f"the existing file can't be read ({error.code})")
            else:
                why += why_anew(issue, current, ca, self._now)
                if ca is not None and not why:
                    later = entry.include_ca and issue.ca in self._foreseen and self._foreseen[issue.ca] is None
                    return None if later else replace(current, ca=ca.trust)  # which may have grown by a second CA
        if ca is None or not make:
            return None
        return sign.new_leaf(ca, issue.names, issue.usage, issue.days, issue.key_type or "ecdsa", issue.common_name, self._now)

    def _issuer(self, ref: Reference, path: str) -> Optional[Material]:
        """The CA's certificate and key; None where it will be there only after the run.

        :raises EdgeError: CA_SECRET_MISSING, CA_KEY_MISSING, and what reading it raises.
        """
        if ref in self._keeper.planned:
            authority = self._keeper.planned[ref]
        else:
            authority = self._keeper.load(ref, path, None if path else self._needed(ref))
        if authority is None:
            if ref in self._foreseen or self._check_mode:
                return None
            raise EdgeError(
                "the CA's file does not exist" if path else "the CA's Secret does not exist",
                where=folder.path_of(path, ref.name) if path else ref.title,
                fix="Make it first (an entry with issue: {usage: ca}, before this one), or correct the name",
                code="CA_SECRET_MISSING",
            )
        material, where = authority.signing, ref.title
        if not material.certs or material.key is None:
            raise EdgeError("the CA's certificate or key is missing", where=where, code="CA_KEY_MISSING")
        if not facts.key_matches(material.key, material.leaf):
            raise EdgeError("the CA's key does not belong to its certificate", where=where, code="KEY_MISMATCH")
        if not facts.facts(material.leaf)["ca"]:
            raise EdgeError("this is no CA's certificate", where=where, code="CA_FLAG_MISSING")
        if material.leaf.not_valid_after_utc <= self._now:
            raise EdgeError("the CA has expired", where=where, fix="Roll over to a second CA (issue.roll_over)", code="CA_EXPIRED")
        return material

    def _given(self, entry: Entry) -> tuple[Optional[Material], str]:
        """Material from a Secret, files or PEM text, and the source's version; None where it will be there only after the run."""
        if entry.secret and entry.source:
            secret = self._needed(entry.source)
            if secret is None:
                if entry.source in self._foreseen or self._check_mode:
                    return None, ""
                raise EdgeError(
                    "the Secret to copy from does not exist",
                    where=entry.source.title,
                    fix="Make it first, or correct namespace and name",
                    code="SOURCE_MISSING",
                )
            mapping = {role: entry.secret.get(role) for role in ("certificate", "key", "ca")}
            material = from_secret(secret, mapping)
            version = "" if entry.source in self._foreseen else secret["metadata"].get("resourceVersion")
            return self._as_ca(entry, material), str(version or "")
        if entry.files:
            try:
                texts = {role: self._read_file(path) for role, path in entry.files.items() if path}
            except EdgeError:
                if self._check_mode:
                    return None, ""
                raise
            where = {role: f"file {path}" for role, path in entry.files.items()}
        else:
            texts = {role: text.encode() for role, text in (entry.pem or {}).items() if text}
            where = {role: f"secrets ({entry.ref}).from.pem.{role}" for role in ("certificate", "key", "ca")}
        return self._as_ca(entry, from_pem(texts.get("certificate"), texts.get("key"), texts.get("ca"), where)), ""

    @staticmethod
    def _as_ca(entry: Entry, material: Material) -> Material:
        """For Secrets that hold only a CA: its own entry, else the self-signed certificates of the chain."""
        material = ordered(material)
        return material if entry.shape.certificate else Material(ca=material.trust or material.certs)

    def _with_ca(self, entry: Entry, material: Material) -> Material:
        if entry.ca is None:
            return material
        secret = self._needed(entry.ca)
        if secret is None:
            if entry.ca in self._foreseen or self._check_mode:
                return material
            raise EdgeError("the CA's Secret does not exist", where=entry.ca.title, code="CA_SECRET_MISSING")
        return Material(material.certs, material.key, from_secret(secret).trust)

    def _judge(self, entry: Entry, material: Material) -> list[fitness.Finding]:
        reader = {"gateway": "envoy", "gateway_ca": "envoy", "nginx_ca": "nginx", "iks_alb": "nginx"}.get(entry.kind, "")
        if not entry.shape.certificate:
            found = fitness.findings(material, "ca", now=self._now, reader=reader)
        elif entry.kind == "ca":
            rolling = entry.issue and entry.issue.roll_over  # away from a CA that may have expired
            ca = Material(ca=material.trust if rolling else material.certs[:1])
            found = [*fitness.pair(material), *fitness.findings(ca, "ca", now=self._now, reader=reader)]
        else:
            extended = facts.facts(material.leaf)["extended_key_usage"] if material.certs else None
            use = entry.usage or ("client" if extended and "clientAuth" in extended and "serverAuth" not in extended else "server")
            judge = fitness.beside if entry.kind == "gateway" else fitness.findings  # whose CA is its clients'
            found = judge(material, use, [] if entry.issue else entry.names, now=self._now, reader=reader)
        if entry.include_ca and not material.trust:
            found.insert(0, fitness.Finding("CA_MISSING", fitness.ERROR, "the CA is to be included, but the source has none.", "Give ca"))
        bad = [each for each in found if each.severity == fitness.ERROR]
        if bad and not self._lenient:
            raise EdgeError(
                f"the material is not fit for its use ({entry.kind}): " + " ".join(each.sentence for each in bad).rstrip("."),
                where=entry.ref.title,
                fix=f"{bad[0].fix or 'Give other material'}; or write it nevertheless with check: warn",
                code=bad[0].code,
                findings=[each.as_dict() for each in found],
            )
        return found

    def _warn(self, plan: Plan) -> None:
        for each in plan.findings:
            if each.severity == fitness.ERROR or each.code == "CERT_EXPIRES_SOON":
                self.warnings.append(f"{plan.entry.ref.title}: {each.code}: {each.sentence}")

    # -- the API ---------------------------------------------------------------------------------------------------------

    def _needed(self, ref: Reference) -> Optional[dict[str, Any]]:
        """A Secret that another is made from, as it will be then."""
        return self._foreseen[ref] if ref in self._foreseen else self._read(ref)

    def _read(self, ref: Reference) -> Optional[dict[str, Any]]:
        if ref not in self._seen:
            self._seen[ref] = self._client.get(ref.kind, ref.name, ref.namespace)
        return self._seen[ref]


def _together(errors: list[tuple[Entry, EdgeError]], count: int) -> EdgeError:
    if len(errors) == 1:
        return errors[0][1]
    return EdgeError(
        f"{len(errors)} of {count} Secrets can't be delivered, so none was touched",
        why=" ".join(f"({entry.ref}) {error.sentence}" for entry, error in errors),
        code=errors[0][1].code,
        errors=[{"secret": str(entry.ref), **error.as_result()} for entry, error in errors],
    )


def _read_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read((1 << 20) + 1)
    except OSError as error:
        raise EdgeError("the file can't be read", where=path, why=str(error.strerror), code="FILE_UNREADABLE") from None
