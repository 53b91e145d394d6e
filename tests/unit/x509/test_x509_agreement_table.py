# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/certificates.md says what we say today; that nginx and Envoy do so is the integration test's to prove."""

from __future__ import annotations

import pytest

from tests.unit.x509.agreement import CREDENTIAL_HEAD, OWN_HEAD, SETS_HEAD, cell, row, rows
from tests.unit.x509.credentials import Credential, all_credentials
from tests.unit.x509.own import all_own
from tests.unit.x509.sets import all_sets

SIDES, ROLES = ("nginx", "envoy"), ("server", "client")


def agreed(title: str, *codes: str) -> str:
    """A row in which the programs do what we say."""
    return row(title, *(cell(code, not code) for code in codes))


def test_the_tables_are_up_to_date() -> None:
    """Else: run tests/integration/tls_secret/test_x509_agreement.py with EDGEMESH_WRITE_DOCS=1."""
    sets = [agreed(each.title, *(each.verdict(side, role).code for side in SIDES for role in ROLES)) for each in all_sets()]
    assert rows(SETS_HEAD) == sets
    assert rows(OWN_HEAD) == [agreed(each.title, *(each.code(side) for side in SIDES)) for each in all_own()]
    assert rows(CREDENTIAL_HEAD) == [agreed(each.title, each.code()) for each in all_credentials()]


def test_no_two_are_called_the_same() -> None:
    for each in (all_sets(), all_own(), all_credentials()):
        titles = [one.title for one in each]
        assert len(titles) == len(set(titles))


@pytest.mark.parametrize("each", all_credentials(), ids=lambda each: each.title)
def test_verdict_on_a_credential_is_the_listed_one(each: Credential) -> None:
    assert each.code() == each.expected
