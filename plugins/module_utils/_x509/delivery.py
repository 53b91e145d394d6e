"""Brings Secrets to what is asked: plans every one first, writes only when all can be written, and survives races.

A Secret is created with create and updated with its resourceVersion, so that two runs at once end with one result; one that does
not carry our label is left alone. Nothing here returns, prints or raises key material.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Optional, Protocol

from .._errors import EdgeError
from .._kube.errors import ApiError
from .._kube.labels import MANAGED_BY
from . import clock, facts, fitness, sign
from .entries import Entry, Issue, Reference, by_need
from .material import TLS, Material, decoded, describe, from_pem, from_secret, ordered, summary, to_data

KNOWN_LATER = "(known after apply)"
#: of a leaf: the Secret of the CA that issued it
ISSUER = "edgemesh.nginx-istio/issuer"
#: of a copy: namespace/name of its source, and the source's resourceVersion when it was copied
SOURCE, SOURCE_VERSION = "edgemesh.nginx-istio/source", "edgemesh.nginx-istio/source-version"
#: how often a Secret that others change at the same time is read and planned again
ATTEMPTS = 6


class Secrets(Protocol):
    """What this needs of :class:`.._kube.client.Client`."""

    def get(self, kind: str, name: str, namespace: Optional[str] = None) -> Optional[dict[str, Any]]:
        """Read one object; None where there is none."""

    def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Make one; 409 where it exists."""

    def replace(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Write one at its resourceVersion; 409 where it has changed."""

    def delete(self, kind: str, name: str, namespace: Optional[str] = None, uid: Optional[str] = None) -> None:
        """Remove one."""


@dataclass
class Plan:
    """What is to be done about one Secret.

    :ivar action: created, changed, recreated, deleted, unchanged or absent.
    :ivar why: reasons for it.
    :ivar material: None when only the run can make it.
    """

    entry: Entry
    action: str
    why: list[str] = field(default_factory=list)
    before: Optional[dict[str, Any]] = field(default=None, repr=False)
    manifest: Optional[dict[str, Any]] = field(default=None, repr=False)
    material: Optional[Material] = field(default=None, repr=False)
    findings: list[fitness.Finding] = field(default_factory=list)

    @property
    def changes(self) -> bool:
        """Whether anything is written."""
        return self.action not in ("unchanged", "absent")

    def result(self, predicted: bool) -> dict[str, Any]:
        """The entry of the module's ``results``: facts only."""
        action = self.action
        if predicted and self.changes:
            action = {"created": "would_create", "deleted": "would_delete"}.get(action, "would_change")
        certificate = summary(self.material) if self.material else None
        return {
            "namespace": self.entry.ref.namespace,
            "name": self.entry.ref.name,
            "for": self.entry.kind,
            "action": action,
            "changed": self.changes,
            "why": self.why,
            "certificate": certificate or (KNOWN_LATER if self.changes and self.action != "deleted" else None),
            "findings": [each.as_dict() for each in self.findings],
        }

    def difference(self) -> dict[str, Any]:
        """One element of ``diff``: facts, fingerprints and dates."""
        after: dict[str, Any] = {}
        if self.manifest is not None:
            after = _shown(self.manifest)
        if self.changes and self.action != "deleted" and self.material is None:
            after = {**after, "data": KNOWN_LATER}
        header = f"Secret {self.entry.ref}"
        return {"before_header": header, "after_header": header, "before": _shown(self.before) if self.before else {}, "after": after}


class Delivery:
    """One task's work on a list of Secrets.

    :param client: the API.
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
        check_mode: bool = False,
        lenient: bool = False,
        now: Optional[datetime] = None,
        read_file: Optional[Callable[[str], bytes]] = None,
    ) -> None:
        self._client = client
        self._entries = entries
        self._order = by_need(entries)
        self._check_mode = check_mode
        self._lenient = lenient
        self._now = now or clock.now()
        self._read_file = read_file or _read_file
        self._seen: dict[Reference, Optional[dict[str, Any]]] = {}
        #: Secrets of this task as they will be, for those that are made from them; None where only the run knows their content
        self._foreseen: dict[Reference, Optional[dict[str, Any]]] = {}
        self.warnings: list[str] = []

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
        return sorted(plans, key=lambda each: self._entries.index(each.entry))

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
        if not plan.changes:
            return
        if plan.action in ("deleted", "recreated") and plan.before is not None:
            self._client.delete("Secret", ref.name, ref.namespace, uid=plan.before["metadata"].get("uid"))
            self._seen[ref] = None
        if plan.manifest is not None:
            self._seen[ref] = self._client.replace(plan.manifest) if plan.action == "changed" else self._client.create(plan.manifest)

    # -- planning --------------------------------------------------------------------------------------------------------

    def _plan_absent(self, entry: Entry) -> Plan:
        existing = self._read(entry.ref)
        if existing is None:
            return Plan(entry, "absent")
        if entry.keep_foreign and not _ours(existing):
            return Plan(entry, "unchanged", ["it is not ours, so it stays"], existing)
        self._check_owner(entry, existing)
        return Plan(entry, "deleted", before=existing)

    def _plan(self, entry: Entry, make: bool) -> Plan:
        existing = self._read(entry.ref)
        if entry.required or (entry.keep_foreign and existing is not None and not _ours(existing)):
            return self._found(entry, existing)
        if existing is not None:
            self._check_owner(entry, existing)
        why: list[str] = []
        annotations = dict(entry.annotations)
        if entry.issue and entry.issue.usage == "ca":
            material = self._ca(entry, entry.issue, existing, why, make)
        elif entry.issue:
            material = self._leaf(entry, entry.issue, existing, why, make)
            annotations[ISSUER] = str(entry.issue.ca)
        else:
            material, source_version = self._given(entry)
            if entry.source:
                annotations.update({SOURCE: str(entry.source), SOURCE_VERSION: source_version or KNOWN_LATER})
        if material is not None:
            material = self._with_ca(entry, material)
        found = self._judge(entry, material) if material is not None else []
        manifest = _manifest(entry, material, annotations, existing)
        action = _action(existing, manifest, material, why)
        if action == "changed" and existing is not None:
            manifest["metadata"]["resourceVersion"] = existing["metadata"].get("resourceVersion")
        return Plan(entry, action, why, existing, manifest, material, found)

    def _found(self, entry: Entry, existing: Optional[dict[str, Any]]) -> Plan:
        """Somebody else's Secret: it must be there and fit for its use, and stays as it is."""
        if existing is None:
            if not self._check_mode:
                raise EdgeError(
                    "the Secret does not exist",
                    where=f"Secret {entry.ref}",
                    fix="Make it first, or have it issued, or correct namespace and name",
                    code="SECRET_MISSING",
                )
            self.warnings.append(f"Secret {entry.ref} does not exist (yet), so its fitness could not be checked.")
            return Plan(entry, "absent", ["it does not exist (yet)"])
        material = self._as_ca(entry, from_secret(existing))
        found = self._judge(replace(entry, issue=None), material)
        return Plan(entry, "unchanged", ["it is somebody else's, and used as it is"], existing, None, material, found)

    def _ca(self, entry: Entry, issue: Issue, existing: Optional[dict[str, Any]], why: list[str], make: bool) -> Optional[Material]:
        if existing is not None:
            material = from_secret(existing)
            self._check_ca(entry, issue, existing, material)
            return material
        self._check_not_lost(entry)
        why.append("there is no such CA yet")
        if not make:
            return None
        name = issue.common_name or f"{entry.ref.name} {self._now:%Y-%m-%d}"[-64:]
        return sign.new_ca(name, issue.days, issue.key_type or "ecdsa", self._now)

    def _check_ca(self, entry: Entry, issue: Issue, existing: dict[str, Any], material: Material) -> None:
        """A CA is never replaced silently: everything that trusts it would break at once."""
        problems = [
            each.sentence for each in fitness.findings(Material(ca=material.certs[:1]), "ca", now=self._now) if each.severity == "error"
        ]
        if existing.get("type") != TLS:
            problems.append(f"its type is {existing.get('type')}, not {TLS}.")
        if not material.certs or material.key is None or not facts.key_matches(material.key, material.leaf):
            problems.append("its key does not belong to its certificate, or one of them is missing.")
        known: dict[str, Any] = facts.facts(material.leaf) if material.certs else {"key": {"type": "none"}, "common_name": ""}
        if issue.key_type and known["key"]["type"] != issue.key_type:
            problems.append(f"its key is {known['key']['type']}, but {issue.key_type} is asked for.")
        if issue.common_name and known["common_name"] != issue.common_name:
            problems.append(f"its common name is {known['common_name']}, but {issue.common_name} is asked for.")
        if problems:
            raise EdgeError(
                "there is a CA, but it is not the one asked for, and a CA is never replaced silently",
                where=f"Secret {entry.ref}",
                why=" ".join(problems),
                fix="Ask for what is there; or give the new CA another name; or delete this Secret and the ones it issued",
                code="CA_DOES_NOT_FIT",
            )
        if material.leaf.not_valid_after_utc - self._now < timedelta(days=min(issue.renew_before, 180)):
            text = f"Secret {entry.ref}: the CA expires at {known['not_after']}; leaves can't outlive it. Plan its successor."
            if text not in self.warnings:
                self.warnings.append(text)

    def _check_not_lost(self, entry: Entry) -> None:
        """A CA that is gone while leaves of it are still there was lost, not never made."""
        for other in self._entries:
            if other.issue is None or other.issue.ca != entry.ref:
                continue
            leaf = self._read(other.ref)
            if leaf is not None and (leaf["metadata"].get("annotations") or {}).get(ISSUER) == str(entry.ref):
                raise EdgeError(
                    f"the CA's Secret is gone, but Secret {other.ref}, which it issued, is there",
                    where=f"Secret {entry.ref}",
                    why="a new CA would break everything that trusts the old one",
                    fix="Restore the Secret from a backup; or, to start with a new CA, delete the Secrets that it issued as well",
                    code="CA_LOST",
                )

    def _leaf(self, entry: Entry, issue: Issue, existing: Optional[dict[str, Any]], why: list[str], make: bool) -> Optional[Material]:
        ca = self._issuer(issue.ca) if issue.ca else None
        if existing is None:
            why.append("there is no such Secret yet")
        else:
            try:
                current = from_secret(existing)
            except EdgeError as error:
                why.append(f"what is there can't be read ({error.code})")
            else:
                why += self._why_anew(issue, current, ca)
                if not why:
                    return current
        if ca is None or not make:
            return None
        return sign.new_leaf(ca, issue.names, issue.usage, issue.days, issue.key_type or "ecdsa", issue.common_name, self._now)

    def _why_anew(self, issue: Issue, current: Material, ca: Optional[Material]) -> list[str]:
        """Why a leaf that exists doesn't do; [] when it does."""
        if not current.certs or current.key is None:
            return ["certificate or key is missing"]
        if not facts.key_matches(current.key, current.leaf):
            return ["the key does not belong to the certificate"]
        if ca is None:
            return ["its CA is made anew"]
        why = []
        if not facts.issued_by(current.leaf, ca.leaf):
            why.append("it is not issued by the CA as it is now")
        known = facts.facts(current.leaf)
        wanted = sorted(facts.san_text(sign.general_name(each)) for each in set(issue.names))
        if sorted(known["sans"]) != wanted:
            why.append(f"names: {', '.join(known['sans']) or 'none'} instead of {', '.join(wanted)}")
        if known["extended_key_usage"] != [f"{issue.usage}Auth"]:
            why.append(f"extended key usage: {known['extended_key_usage']} instead of {issue.usage}Auth")
        if known["key"]["type"] != (issue.key_type or "ecdsa"):
            why.append(f"key type: {known['key']['type']} instead of {issue.key_type or 'ecdsa'}")
        if issue.common_name and known["common_name"] != issue.common_name:
            why.append(f"common name: {known['common_name']} instead of {issue.common_name}")
        end = current.leaf.not_valid_after_utc
        due = end - timedelta(days=issue.renew_before) <= self._now
        # near the CA's own end a new leaf would not last longer: that is no reason to make one in every run
        if due and sign.not_after(ca, issue.days, self._now) > end:
            why.append(f"it expires at {known['not_after']}, within {issue.renew_before} days")
        return why

    def _issuer(self, ref: Reference) -> Optional[Material]:
        """The CA's certificate and key; None where it will be there only after the run.

        :raises EdgeError: CA_SECRET_MISSING, CA_KEY_MISSING, and what reading it raises.
        """
        secret = self._needed(ref)
        if secret is None:
            if ref in self._foreseen or self._check_mode:
                return None
            raise EdgeError(
                "the CA's Secret does not exist",
                where=f"Secret {ref}",
                fix="Make it first (an entry with issue: {usage: ca}, before this one), or correct the name",
                code="CA_SECRET_MISSING",
            )
        material = from_secret(secret)
        if not material.certs or material.key is None:
            raise EdgeError("the CA's certificate or key is missing", where=f"Secret {ref}", code="CA_KEY_MISSING")
        if not facts.key_matches(material.key, material.leaf):
            raise EdgeError("the CA's key does not belong to its certificate", where=f"Secret {ref}", code="KEY_MISMATCH")
        if not facts.facts(material.leaf)["ca"]:
            raise EdgeError("this is no CA's certificate", where=f"Secret {ref}", code="CA_FLAG_MISSING")
        if material.leaf.not_valid_after_utc <= self._now:
            raise EdgeError(
                "the CA has expired", where=f"Secret {ref}", fix="Make a new CA and issue everything from it", code="CA_EXPIRED"
            )
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
                    where=f"Secret {entry.source}",
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
            raise EdgeError("the CA's Secret does not exist", where=f"Secret {entry.ca}", code="CA_SECRET_MISSING")
        return Material(material.certs, material.key, from_secret(secret).trust)

    def _judge(self, entry: Entry, material: Material) -> list[fitness.Finding]:
        reader = {"gateway": "envoy", "gateway_ca": "envoy", "nginx_ca": "nginx"}.get(entry.kind, "")
        if not entry.shape.certificate:
            found = fitness.findings(material, "ca", now=self._now, reader=reader)
        elif entry.kind == "ca":
            found = [*fitness.pair(material), *fitness.findings(Material(ca=material.certs[:1]), "ca", now=self._now, reader=reader)]
        else:
            extended = facts.facts(material.leaf)["extended_key_usage"] if material.certs else None
            use = entry.usage or ("client" if extended and "clientAuth" in extended and "serverAuth" not in extended else "server")
            found = fitness.findings(material, use, [] if entry.issue else entry.names, now=self._now, reader=reader)
        if entry.include_ca and not material.trust:
            found.insert(0, fitness.Finding("CA_MISSING", fitness.ERROR, "the CA is to be included, but the source has none.", "Give ca"))
        bad = [each for each in found if each.severity == fitness.ERROR]
        if bad and not self._lenient:
            raise EdgeError(
                f"the material is not fit for its use ({entry.kind}): " + " ".join(each.sentence for each in bad).rstrip("."),
                where=f"Secret {entry.ref}",
                fix=f"{bad[0].fix or 'Give other material'}; or write it nevertheless with check: warn",
                code=bad[0].code,
                findings=[each.as_dict() for each in found],
            )
        return found

    def _warn(self, plan: Plan) -> None:
        for each in plan.findings:
            if each.severity == fitness.ERROR or each.code == "CERT_EXPIRES_SOON":
                self.warnings.append(f"Secret {plan.entry.ref}: {each.code}: {each.sentence}")

    # -- the API ---------------------------------------------------------------------------------------------------------

    def _needed(self, ref: Reference) -> Optional[dict[str, Any]]:
        """A Secret that another is made from, as it will be then."""
        return self._foreseen[ref] if ref in self._foreseen else self._read(ref)

    def _read(self, ref: Reference) -> Optional[dict[str, Any]]:
        if ref not in self._seen:
            self._seen[ref] = self._client.get("Secret", ref.name, ref.namespace)
        return self._seen[ref]

    @staticmethod
    def _check_owner(entry: Entry, existing: dict[str, Any]) -> None:
        metadata = existing["metadata"]
        if entry.adopt or _ours(existing):
            return
        managers = sorted({str(each.get("manager")) for each in metadata.get("managedFields") or [] if each.get("manager")})
        raise EdgeError(
            "the Secret exists and is not ours, so it is left alone",
            where=f"Secret {entry.ref}",
            why=f"it has no label app.kubernetes.io/managed-by=edgemesh; written by {', '.join(managers) or 'somebody else'}",
            fix="Choose another name, or take it over with adopt: true",
            code="NOT_OURS",
        )


def _ours(secret: dict[str, Any]) -> bool:
    labels = secret["metadata"].get("labels") or {}
    return all(labels.get(name) == value for name, value in MANAGED_BY.items())


def _manifest(
    entry: Entry, material: Optional[Material], annotations: dict[str, str], existing: Optional[dict[str, Any]]
) -> dict[str, Any]:
    """The Secret as it shall be; what others put on it (labels, annotations, finalizers, owners) stays."""
    old = existing["metadata"] if existing else {}
    metadata: dict[str, Any] = {key: old[key] for key in ("finalizers", "ownerReferences") if old.get(key)}
    metadata.update(
        name=entry.ref.name,
        namespace=entry.ref.namespace,
        labels={**(old.get("labels") or {}), **entry.labels, **MANAGED_BY},
        annotations={**(old.get("annotations") or {}), **annotations},
    )
    manifest: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": entry.shape.type}
    if material is not None:
        data = to_data(entry.shape, material, entry.include_ca)
        manifest["data"] = {name: base64.b64encode(value).decode("ascii") for name, value in sorted(data.items())}
    return manifest


def _action(existing: Optional[dict[str, Any]], manifest: dict[str, Any], material: Optional[Material], why: list[str]) -> str:
    if existing is None:
        why[:] = why or ["there is no such Secret yet"]
        return "created"
    if existing.get("type") != manifest["type"]:
        why.append(f"type: {existing.get('type')} instead of {manifest['type']}, which can't be changed in place")
        return "recreated"
    changed = material is None
    data = existing.get("data") or {}
    if material is not None and data != manifest["data"]:
        changed = True
        names = sorted(name for name in {*data, *manifest["data"]} if data.get(name) != manifest["data"].get(name))
        why.append(f"entries differ: {', '.join(names)}")
    for part in ("labels", "annotations"):
        old = existing["metadata"].get(part) or {}
        names = sorted(name for name, value in manifest["metadata"][part].items() if old.get(name) != value)
        if names:
            changed = True
            why.append(f"{part} differ: {', '.join(names)}")
    if changed and existing.get("immutable"):
        why.append("the Secret is immutable")
        return "recreated"
    return "changed" if changed else "unchanged"


def _shown(secret: dict[str, Any]) -> dict[str, Any]:
    """A Secret for a diff."""
    metadata = secret["metadata"]
    try:
        data: Any = describe(decoded(secret))
    except EdgeError as error:
        data = error.sentence
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if "last-applied" not in key}
    return {"type": secret.get("type"), "labels": metadata.get("labels") or {}, "annotations": annotations, "data": data}


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
