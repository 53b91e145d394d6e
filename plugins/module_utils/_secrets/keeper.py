# SPDX-License-Identifier: GPL-3.0-or-later
"""Private CAs as `tls_secret` asks for them: made once, never replaced silently, rolled over in steps that prove they are safe."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Optional

from .._errors import EdgeError
from .._x509 import facts, sign
from .._x509.material import TLS, Material
from . import authority as kept
from . import fitness, folder
from .authority import Authority
from .entries import Entry, Issue, Reference
from .relatives import Objects, Relatives, relatives, unmoved, untrusting

#: warn of a CA's end this long before, at most
NOTICE = timedelta(days=180)


class Keeper:
    """Plans the CAs of one task.

    :ivar planned: each CA as it will be, as far as it is known; None where only the run can make it.
    :ivar warnings: for the user.
    """

    def __init__(self, client: Objects, listed: list[Entry], now: datetime, warnings: list[str]) -> None:
        self._client = client
        self._listed = listed
        self._now = now
        self.planned: dict[Reference, Optional[Authority]] = {}
        self.warnings = warnings

    def plan(self, entry: Entry, issue: Issue, existing: Optional[dict[str, Any]], why: list[str], make: bool) -> Optional[Authority]:
        """The CA as it shall be; None when only the run can make it (``make`` is the run).

        :raises EdgeError: CA_LOST, CA_DOES_NOT_FIT, ROLL_OVER_ORDER, CA_NOT_TRUSTED_YET, CA_STILL_NEEDED.
        """
        there = self.load(entry.ref, issue.folder, existing) or self._made_meanwhile(entry, issue, existing)
        if there is None:
            why.append("there is no such CA yet")
            made = self._new(entry, issue, []) if make else None
            result = Authority(made) if made else None
        else:
            result = self._step(entry, issue, there, make)
            self._check(entry, issue, existing, result or there)
            if issue.roll_over and result != there:
                why.append(f"roll-over: {issue.roll_over}")
        # what signs is known also where the second CA is not
        self.planned[entry.ref] = result or there
        return result

    def load(self, ref: Reference, path: str, secret: Optional[dict[str, Any]]) -> Optional[Authority]:
        """The CA as it is kept in its Secret, or in folder ``path``."""
        if not path:
            return kept.load(secret) if secret else None
        file = folder.path_of(path, ref.name)
        text = folder.read(file)
        return kept.load_file(text, file) if text is not None else None

    def _new(self, entry: Entry, issue: Issue, taken: list[str]) -> Material:
        """A new CA, by another name than those that are ``taken``: equal names make equal errors."""
        name = issue.common_name
        if not name:
            name = f"{entry.ref.name} {self._now:%Y-%m-%d}"[-64:]
            if name in taken:
                name = f"{entry.ref.name} {self._now:%Y-%m-%dT%H:%M:%SZ}"[-64:]
        return sign.new_ca(name, issue.days, issue.key_type or "ecdsa", self._now)

    def _step(self, entry: Entry, issue: Issue, there: Authority, make: bool) -> Optional[Authority]:
        if not issue.roll_over:
            return there
        taken = [name for each in there.trusted for name in facts.common_names(each)]
        result = there.step(issue.roll_over, lambda: self._new(entry, issue, taken) if make else None, entry.ref.title)
        if issue.roll_over == kept.SWITCH and there.successor:
            self._check_trusted(entry, there.successor)
        if issue.roll_over == kept.FINISH and there.retiring:
            self._check_moved(entry, there)
        return result

    def _relatives(self, entry: Entry) -> Relatives:
        return relatives(self._client, entry.ref, [each.ref.namespace for each in self._listed])

    def _check_trusted(self, entry: Entry, successor: Material) -> None:
        known = self._relatives(entry)
        late = untrusting(self._client, known.found, successor.certs)
        if late:
            raise EdgeError(
                f"these Secrets don't trust the second CA yet, so it can't take over: {', '.join(map(known.said, late))}",
                where=entry.ref.title,
                why="peers that verify with them would refuse its certificates",
                fix="Update them first: run the playbook that makes them, with each of these lists",
                code="CA_NOT_TRUSTED_YET",
                secrets=[each.title for each in late],
            )
        self._say_unseen(entry, known)

    def _check_moved(self, entry: Entry, there: Authority) -> None:
        known = self._relatives(entry)
        late = unmoved(self._client, known.found, there)
        if late:
            raise EdgeError(
                f"certificates of the old CA are still in use, so it has to stay trusted: {', '.join(map(known.said, late))}",
                where=entry.ref.title,
                fix="Renew them first: run the playbook that makes them, with each of these lists",
                code="CA_STILL_NEEDED",
                secrets=[each.title for each in late],
            )
        self._say_unseen(entry, known)

    def _say_unseen(self, entry: Entry, known: Relatives) -> None:
        if known.unseen:
            self._warn(f"{entry.ref.title}: what belongs to this CA was not looked for among {', '.join(known.unseen)}: list is forbidden.")

    def _made_meanwhile(self, entry: Entry, issue: Issue, existing: Optional[dict[str, Any]]) -> Optional[Authority]:
        """None for a CA that was never made. One that is gone while what it signed is still there was lost."""
        known = self._relatives(entry)
        left = [entry.ref] if existing else []
        left += [each for each in known.found if each not in left]
        if left:
            # Another run may have made the CA, and what it signed, since we looked: writing then finds it there, and plans again.
            there = self.load(entry.ref, issue.folder, self._client.get(entry.ref.kind, entry.ref.name, entry.ref.namespace))
            if there:
                return there
            names = ", ".join(each.title for each in left[:10]) + (f" and {len(left) - 10} more" if len(left) > 10 else "")
            file = issue.folder
            raise EdgeError(
                f"the CA's {'file' if file else 'Secret'} is gone, but certificates that it signed, or copies of its own, remain: {names}",
                where=folder.path_of(file, entry.ref.name) if file else entry.ref.title,
                why="a new CA would break everything that trusts the old one",
                fix="Restore it from a backup; or, to start with a new CA, delete these as well; or give the new CA another name",
                code="CA_LOST",
                secrets=[str(each) for each in left],
            )
        return None

    def _check(self, entry: Entry, issue: Issue, existing: Optional[dict[str, Any]], result: Authority) -> None:
        """A CA is never replaced silently: everything that trusts it would break at once."""
        pairs = [result.signing, *([result.successor] if result.successor else [])]
        problems = []
        if existing and not issue.folder and existing.get("type") != TLS:
            problems.append(f"its type is {existing.get('type')}, not {TLS}.")
        if any(not each.certs or each.key is None or not facts.key_matches(each.key, each.leaf) for each in pairs):
            problems.append("its key does not belong to its certificate, or one of them is missing.")
        if not issue.roll_over:
            ca = Material(ca=result.signing.certs[:1])
            problems += [each.sentence for each in fitness.findings(ca, "ca", now=self._now) if each.severity == "error"]
        if issue.roll_over != kept.ADD:  # a second CA may be another than the first; in check mode it isn't there yet
            problems += _differences(issue, pairs)
        if problems:
            raise EdgeError(
                "the existing CA differs from the requested one, and a CA is never replaced silently",
                where=entry.ref.title,
                why=" ".join(problems),
                fix="Request the existing CA; or roll over to a second CA (issue.roll_over); or give the new CA another name; "
                "or delete this Secret and the ones it issued",
                code="CA_DOES_NOT_FIT",
            )
        end = result.signing.leaf.not_valid_after_utc
        if not result.successor and end - self._now < min(timedelta(days=issue.renew_before), NOTICE):
            known = facts.facts(result.signing.leaf)
            self._warn(f"{entry.ref.title}: the CA expires at {known['not_after']}; leaves can't outlive it. Roll over to a second CA.")

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _differences(issue: Issue, pairs: list[Material]) -> list[str]:
    """Requested properties that neither the CA nor its successor has."""
    known = [facts.facts(each.leaf) for each in pairs if each.certs]
    problems = []
    types, names = [each["key"]["type"] for each in known], [each["common_name"] for each in known]
    if issue.key_type and issue.key_type not in types:
        problems.append(f"its key is {' or '.join(types) or 'missing'}, but {issue.key_type} is asked for.")
    if issue.common_name and issue.common_name not in names:
        problems.append(f"its common name is {' or '.join(names) or 'missing'}, but {issue.common_name} is asked for.")
    return problems
