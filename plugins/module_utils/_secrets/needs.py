# SPDX-License-Identifier: GPL-3.0-or-later
"""The Secrets that a scenario needs, and what a private CA does about each: issue it, copy a CA into it, or check that it is there.

A scenario states its needs; nothing here knows which scenarios there are.
"""

# ruff: noqa: RUF009 - of() makes fields, as dataclasses.field() does
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Optional, Union

from .._kube.labels import COMPONENT, MANAGED_BY
from .._lists import Run
from .._loose import mapping as mapping_of
from .._schema import kinds
from .._schema.fields import boolean, choice, list_of, mapping, nested, of, refuse, text
from .._x509 import sign
from .._x509.library import x509
from .._x509.material import SHAPES
from . import users as needing
from .entries import Reference
from .unneeded import COMPONENTS

#: On what role private_ca makes, unless a need says which other part removes it.
PRIVATE_CA = {COMPONENT: "private-ca"}
CERT_MANAGER = "cert-manager.io/v1"
#: So many Secrets a sentence names.
_NAMED = 5


class Signer(Enum):
    """Whose signature a certificate needs, where that is not a CA in a Secret."""

    ANYBODY = "anybody"
    #: a CA that peers have in a file: only its owner can sign with it
    CA_IN_A_FILE = "ca_in_a_file"


def secret_name(value: Any, where: str) -> Reference:
    """``namespace/name``, or a dictionary of the two."""
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        namespace, _slash, name = kinds.namespaced_name(value, where).partition("/")
        return Reference(namespace, name)
    given = mapping(value, where)
    return Reference(kinds.dns_label(given.get("namespace"), f"{where}.namespace"), kinds.object_name(given.get("name"), f"{where}.name"))


def signed_by(value: Any, where: str) -> Union[Reference, Signer]:
    """A CA's Secret, or a word of :class:`Signer`."""
    if isinstance(value, str) and "/" not in value:
        return Signer(choice(*(each.value for each in Signer))(value, where))
    return secret_name(value, where)


@dataclass(frozen=True)
class Need:
    """One Secret: a certificate and its key, or CA certificates alone.

    :ivar user: the route of the list that needs it; none: the list as a whole.
    :ivar who: needs it, as sentences say it: "nginx as a client of gateway main in route shop".
    :ivar form: what ``for`` of tls_secret is.
    :ivar usage: server or client, of a certificate; CA certificates have none.
    :ivar names: names that the certificate must be valid for. Without any, a client's certificate has its Secret's name.
    :ivar signer: whose signature peers accept.
    :ivar issue: whether the private CA may issue it; it does where ``signer`` accepts it.
    :ivar copy_of: the Secret whose CA certificates are copied here.
    :ivar way_out: what a user sets to have it issued, for when it is missing.
    """

    who: str = of(text)
    secret: Reference = of(secret_name)
    form: str = of(choice(*SHAPES), "tls")
    usage: str = of(choice("server", "client"), "")
    names: list[str] = of(list_of(text), [])
    signer: Union[Reference, Signer] = of(signed_by, Signer.ANYBODY)
    issue: bool = of(boolean, False)
    copy_of: Optional[Reference] = of(secret_name, None)
    labels: dict[str, str] = of(kinds.labels, {})
    way_out: str = of(text, "")
    user: str = of(kinds.name, "")

    def finished(self, where: str) -> Need:
        """A usage exactly where there is a certificate, and only CA certificates are copied."""
        if bool(self.usage) != bool(SHAPES[self.form].certificate):
            verb = "has no usage" if self.usage else "needs a usage"
            raise refuse(
                f"{where}.usage", f"and form disagree: a Secret for {self.form} {verb}", "Set form and usage to what the reader expects"
            )
        if self.usage and self.copy_of:
            raise refuse(
                f"{where}.copy_of", f"is given, but a Secret for {self.form} holds a certificate", "Set form: gateway_ca or nginx_ca"
            )
        return self

    def as_dict(self) -> dict[str, Any]:
        """As users write it."""
        return {
            **vars(self),
            "secret": str(self.secret),
            "signer": self.signer.value if isinstance(self.signer, Signer) else str(self.signer),
            "copy_of": str(self.copy_of) if self.copy_of else None,
        }


def read(value: Any, where: str) -> list[Need]:
    """Needs from a list of dictionaries, or its JSON text.

    :raises EdgeError: names the entry and the field.
    """
    found: list[Need] = list_of(nested(Need))(value, where)
    return found


@dataclass(frozen=True)
class Wanted:
    """All needs of one Secret.

    :ivar need: what they have in common, with the names of all.
    :ivar users: each with its names.
    """

    need: Need
    users: dict[str, list[str]]


def plan(
    needs: Iterable[Need], ca: Reference, run: Run, namespaces: Iterable[str] = (), live: Iterable[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """What role private_ca does, as entries for tls_secret; its own CA, ``ca``, is in none of the lists.

    :param run: whose needs they are.
    :param namespaces: where Secrets of the list may be, those of the needs included.
    :param live: cert-manager's Certificates, where it issues.
    :returns: ``ca``, by namespace and name; ``issued``; ``copies`` of CA certificates; ``required``, which somebody else provides;
        ``route_list``, ``needed`` (all of these) and ``namespaces``, as tls_secret takes them; for cert-manager ``queries``,
        ``certificates`` (to ask for), ``unneeded`` (to remove) and ``expected`` (to check, once it has issued them); ``way_out``, a
        sentence for when one of ``required`` is missing.
    :raises EdgeError: where one Secret would have to serve two uses; OTHER_LIST.
    """
    places = list(dict.fromkeys(namespaces))
    wanted: dict[Reference, Wanted] = {}
    for need in needs:
        if need.secret != ca:
            mine = _as_handled(need, ca)
            wanted[need.secret] = _joined(wanted[need.secret], mine) if need.secret in wanted else Wanted(mine, {mine.user: mine.names})
    issued = [each for each in wanted.values() if each.need.issue]
    required = [each.need for each in wanted.values() if not each.need.issue and not each.need.copy_of]
    return {
        "ca": _place(ca),
        "route_list": needing.as_option(run),
        "issued": [_issued(each, ca) for each in issued],
        "copies": [_copied(each) for each in wanted.values() if each.need.copy_of],
        "required": [_checked(need) for need in required],
        "needed": [_place(ref) for ref in wanted],
        "namespaces": places,
        "queries": [{"api_version": CERT_MANAGER, "kind": "Certificate", "namespace": each} for each in places],
        **_with_cert_manager(issued, run, live),
        "expected": [_checked(each.need) for each in issued],
        "way_out": _way_out(required),
    }


def _with_cert_manager(issued: list[Wanted], run: Run, live: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    before = {_of(each): needing.read(each, _asked(each)) for each in live if _made_here(each)}
    asked = {each.need.secret for each in issued}
    return {
        "certificates": [_certificate(each, before.get(each.need.secret, {}), run) for each in issued],
        "unneeded": [
            {"apiVersion": CERT_MANAGER, "kind": "Certificate", "metadata": _place(ref)}
            for ref, users in before.items()
            if ref not in asked and not needing.remaining(users, run)
        ],
    }


def _certificate(wanted: Wanted, before: needing.Users, run: Run) -> dict[str, Any]:
    need = wanted.need
    users = needing.merged(before, run, wanted.users, f"Certificate {need.secret}")
    return {
        **_place(need.secret),
        "labels": {**MANAGED_BY, **need.labels, **needing.labelled(users)},
        "annotations": needing.annotation(users),
        "usage": need.usage,
        "names": by_kind(needing.names(users)),
    }


def _made_here(certificate: Mapping[str, Any]) -> bool:
    labels = mapping_of(mapping_of(certificate.get("metadata")).get("labels"))
    ours = MANAGED_BY.items() <= labels.items() and labels.get(COMPONENT) in COMPONENTS
    return ours and not mapping_of(certificate.get("spec")).get("isCA")


def _of(item: Mapping[str, Any]) -> Reference:
    return Reference(item["metadata"]["namespace"], item["metadata"]["name"])


def _asked(certificate: Mapping[str, Any]) -> list[str]:
    spec = mapping_of(certificate.get("spec"))
    return [str(name) for kind in ("dnsNames", "ipAddresses", "uris") for name in spec.get(kind) or []]


def _as_handled(need: Need, ca: Reference) -> Need:
    """The need with ``issue`` decided, and with the names and labels that follow from that."""
    ours = need.issue and bool(need.usage) and need.signer in (Signer.ANYBODY, ca)
    return replace(need, issue=ours, names=need.names or ([need.secret.name] if ours else []), labels={**PRIVATE_CA, **need.labels})


def _joined(wanted: Wanted, other: Need) -> Wanted:
    """One Secret for both: all names, and the labels that they have in common."""
    first = wanted.need
    for name, said in (("form", "its form"), ("usage", "its usage"), ("copy_of", "its source")):
        one, two = getattr(first, name), getattr(other, name)
        if one != two:
            raise _two_uses(first, other, f"{said} would be {one or 'none'} and {two or 'none'}")
    if first.issue != other.issue:
        raise _two_uses(first, other, "one is issued here, the other is somebody else's")
    labels = {**PRIVATE_CA, **{name: value for name, value in first.labels.items() if other.labels.get(name) == value}}
    users = {**wanted.users, other.user: list(dict.fromkeys([*wanted.users.get(other.user, []), *other.names]))}
    return Wanted(replace(first, names=list(dict.fromkeys([*first.names, *other.names])), labels=labels), users)


def _two_uses(first: Need, other: Need, why: str) -> Exception:
    return refuse(str(first.secret.title), f"can't serve both {first.who} and {other.who}", "Use two Secrets", why=why)


def _entry(need: Need, **more: Any) -> dict[str, Any]:
    return {**_place(need.secret), "for": need.form, **more}


def _issued(wanted: Wanted, ca: Reference) -> dict[str, Any]:
    need, issue = wanted.need, {"ca": _place(ca), "usage": wanted.need.usage}
    return _entry(need, labels=need.labels, keep_foreign=True, issue=issue, users=wanted.users)


def _copied(wanted: Wanted) -> dict[str, Any]:
    need = wanted.need
    return _entry(need, labels=need.labels, users=wanted.users, **{"from": {"secret": _place(need.copy_of)}})


def _checked(need: Need) -> dict[str, Any]:
    return _entry(need, **({"expect": {"usage": need.usage, "names": need.names}} if need.usage else {}))


def _place(ref: Optional[Reference]) -> dict[str, str]:
    return {"namespace": ref.namespace, "name": ref.name} if ref else {}


def _way_out(required: list[Need]) -> str:
    ways: dict[str, list[str]] = {}
    for need in required:
        if need.way_out:
            ways.setdefault(need.way_out, []).append(f"{need.secret} ({need.who})")
    return " ".join(f"To have {_some(secrets)} issued, set {way}." for way, secrets in ways.items())


def _some(secrets: list[str]) -> str:
    more = f" and {len(secrets) - _NAMED} more" if len(secrets) > _NAMED else ""
    return ", ".join(secrets[:_NAMED]) + more


def by_kind(names: Iterable[str]) -> dict[str, list[str]]:
    """Names as the fields of cert-manager's Certificate have them; only the fields that have any.

    :raises EdgeError: NAME_INVALID.
    """
    fields: dict[type, str] = {x509.DNSName: "dnsNames", x509.IPAddress: "ipAddresses", x509.UniformResourceIdentifier: "uris"}
    found: dict[str, list[str]] = {}
    for name in map(sign.general_name, names):
        found.setdefault(fields[type(name)], []).append(str(name.value))
    return found
