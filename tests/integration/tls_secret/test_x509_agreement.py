# SPDX-License-Identifier: GPL-3.0-or-later
"""Do a real nginx and a real Envoy accept exactly the chains that we say they accept, and refuse the others for our reason?

Handshakes are made, not assumed. Each program judges every set of tests/unit/x509/sets.py in both roles that it has at a mesh's edge: as
the one that verifies a server (nginx towards the gateway, Envoy towards an outside server), and as the one that verifies a client
certificate. docs/certificates.md holds what came out; EDGEMESH_WRITE_DOCS=1 writes it.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.tls_secret import x509_programs as programs
from tests.integration.tls_secret.x509_programs import CREDENTIALS, OWN, ROLES, SETS, SIDES, Program
from tests.unit.x509.agreement import CREDENTIAL_HEAD, OWN_HEAD, SETS_HEAD, cell, row, rows, write

#: our code, or how it begins -> what the program says then. nginx tells the last of several errors, and a CA without the flag has several.
SAID = {
    "PEM_": "load|PEM|no start line|is empty",
    "PEM_BOM": "load|PEM|unable to (get|verify)",  # the block behind it is skipped
    "CERT_UNREADABLE": "load|PEM|asn1",
    "TRUST_EMPTY": "load|no certificate",
    "KEY_": "load|PEM|no start line|pass",
    "KEY_MISMATCH": "mismatch|no shared cipher",
    "LEAF_NOT_FIRST": "mismatch|load certificate chain",
    "KEY_TOO": "too (weak|small)|2048",
    "DIGEST_TOO_WEAK": "too weak",
    "KEY_TYPE_REFUSED": "wrong curve|handshake failure|did not return a certificate",
    "CERT_EXPIRED": "has expired",
    "CERT_NOT_YET_VALID": "not yet valid",
    "ISSUER_MISSING": "unable to (get|verify)",
    "ROOT_MISSING": "unable to get issuer|purpose",
    "SELF_SIGNED": "self.signed|unable to get local issuer",
    "ROOT_NOT_TRUSTED": "self.signed certificate in",
    "SIGNATURE_WRONG": "signature",
    "EKU_": "purpose",
    "PUBLIC_CERT_AS_CLIENT": "purpose",
    "KEY_USAGE_WRONG": "purpose|key usage",
    "CA_FLAG_MISSING": "invalid CA|purpose|key ?usage|expired|unable to get local issuer",
    "PATH_LENGTH_EXCEEDED": "path length",
    "CHAIN_TOO_LONG": "too long|unable to get local issuer",  # beyond the depth nothing is looked for
    "CRITICAL_EXTENSION": "critical",
    "NAME_CONSTRAINT": "subtree",
    "NAME_MISMATCH": "does not match|SAN",
}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short, because the path of a unix socket has at most 107 characters; with every set's files, and somebody who shows each."""
    with tempfile.TemporaryDirectory(prefix="x509") as name:
        made = Path(name)
        made.chmod(0o755)
        programs.write_all(made)
        servers = programs.backends(made)
        yield made
        for server in servers:
            server.stop()


@pytest.fixture(scope="module")
def both(folder: Path) -> Iterator[dict[str, Program]]:
    """nginx and Envoy."""
    with programs.nginx(folder) as nginx, programs.envoy(folder) as envoy:
        yield {"nginx": nginx, "envoy": envoy}


class Comparison:
    """Collects where a program does something else than we say, or says something else."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.refused: list[tuple[Program, str, str, str]] = []

    def cell(self, program: Program, title: str, name: str, code: str, accepted: bool, asks_why: bool = True) -> str:
        """One answer, as the table shows it."""
        if accepted == bool(code):
            self.wrong.append(f"{title}: {program.side} {'accepts' if accepted else 'refuses'} it, we say {code or 'fine'}")
        elif code and asks_why:
            self.refused.append((program, title, name, code))
        return cell(code, accepted)

    def done(self) -> None:
        """Nothing may be wrong."""
        for program, title, name, code in self.refused:
            said = program.reason(name).replace("_", " ")
            best = max((each for each in SAID if code.startswith(each)), key=len)
            if not re.search(SAID[best], said, re.IGNORECASE):
                self.wrong.append(f"{title}: we say {code}, {program.side} says: {said}")
        assert not self.wrong, "\n".join(self.wrong)


def compare(head: str, made: list[str]) -> None:
    """The table under ``head`` holds exactly these rows; with EDGEMESH_WRITE_DOCS it is made so."""
    if os.environ.get("EDGEMESH_WRITE_DOCS"):
        write(head, made)
    assert rows(head) == made


@pytest.mark.lab
def test_what_the_real_programs_load_for_themselves(both: dict[str, Program]) -> None:
    """A key that isn't the certificate's, and other files that keep nginx and Envoy from starting to serve."""
    comparison, made = Comparison(), []
    for number, each in enumerate(OWN):
        name = f"own{number}"
        answers = {side: both[side].accepts(name, programs.anyone()) for side in SIDES}
        made.append(row(each.title, *(comparison.cell(both[side], each.title, name, each.code(side), answers[side]) for side in SIDES)))
    comparison.done()
    compare(OWN_HEAD, made)


@pytest.mark.lab
def test_what_a_gateway_makes_of_a_credential(both: dict[str, Program], folder: Path) -> None:
    """Secrets with the wrong entries, and CAs that shadow each other: who knocks gets in exactly when we say so."""
    made, wrong = [], []
    for number, each in enumerate(CREDENTIALS):
        code, accepted = each.code(), both["envoy"].accepts(f"credential{number}", programs.guest(folder))
        if accepted == bool(code):
            wrong.append(f"{each.title}: Envoy {'lets in' if accepted else 'refuses'}, we say {code or 'fine'}")
        made.append(row(each.title, cell(code, accepted)))
    assert not wrong, "\n".join(wrong)
    compare(CREDENTIAL_HEAD, made)


@pytest.mark.lab
def test_the_real_programs_agree(both: dict[str, Program]) -> None:
    """Our verdict on every set, in both roles, is what nginx and Envoy do; and the documentation shows that."""
    comparison, made, accepted = Comparison(), [], dict.fromkeys(SIDES, 0)
    for number, each in enumerate(SETS):
        cells = []
        for side in SIDES:
            for role in ROLES:
                answer = both[side].judges(number, role)
                accepted[side] += answer
                title, code = f"{each.title} (of a {role})", each.verdict(side, role).code
                # in the other role there may be several reasons
                cells.append(comparison.cell(both[side], title, f"{number}.{role}", code, answer, role == each.purpose))
        made.append(row(each.title, *cells))
    comparison.done()
    for count in accepted.values():  # the comparison would be empty if a side accepted or refused everything
        assert 60 <= count <= 2 * len(SETS) - 60, accepted
    compare(SETS_HEAD, made)
