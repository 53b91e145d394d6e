# SPDX-License-Identifier: GPL-3.0-or-later
"""tls_secret_export's controller side: what goes into which file, and what the host is told."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._hidden import hide_only
from plugins.module_utils._secrets import tls_secret_export as export
from tests.unit.x509.pki import DAY, NOW, intermediate, leaf, root

CA = root()
MID = intermediate(CA)
END = leaf(MID)
REF = {"namespace": "edge", "name": "client"}
PATHS = {part: f"/etc/x/{part}" for part in export.PARTS}


def secret(**entries: str) -> dict[str, Any]:
    data = {name.replace("_", "."): base64.b64encode(text.encode()).decode() for name, text in entries.items()}
    return {"metadata": REF, "data": data}


def filled(given: dict[str, Any], **paths: str) -> dict[str, str]:
    (made,) = export.exports([{"secret": REF, **paths}])
    export.fill(made, given)
    return {file.part: (file.content or b"").decode() for file in made.files}


FULL = secret(tls_crt=END.pem + MID.pem + CA.pem, tls_key=END.key_pem("PKCS1"), ca_crt=CA.pem)


def test_parts() -> None:
    assert filled(FULL, **PATHS) == {
        "cert": END.pem + MID.pem + CA.pem,
        "fullchain": END.pem + MID.pem + CA.pem,
        "leaf": END.pem,
        "chain": MID.pem,
        "ca": CA.pem,
        "key": END.key_pem(),
    }


def test_opaque_names_and_mapping() -> None:
    assert filled(secret(cert=END.pem, key=END.key_pem(), cacert=CA.pem), cert="/a", ca="/b")["ca"] == CA.pem
    mapped = {"secret": {**REF, "certificate": "c", "key": "k"}, "cert": "/a", "key": "/b"}
    (made,) = export.exports([mapped])
    export.fill(made, secret(c=END.pem, k=END.key_pem()))
    assert made.certificate is not None
    assert made.certificate["sans"] == ["DNS:shop.example.com"]


def test_the_ca_of_a_ca_is_its_own_certificate() -> None:
    assert filled(secret(tls_crt=CA.pem, tls_key=CA.key_pem()), ca="/a") == {"ca": CA.pem}


@pytest.mark.parametrize(
    ("given", "paths", "code"),
    [
        (secret(tls_crt=END.pem, tls_key=END.key_pem()), {"ca": "/a"}, "PART_MISSING"),
        (secret(tls_crt=END.pem, tls_key=END.key_pem()), {"chain": "/a"}, "PART_MISSING"),
        (secret(ca_crt=CA.pem), {"key": "/a"}, "PART_MISSING"),
        (secret(tls_crt=END.pem, tls_key=leaf(CA).key_pem()), {"cert": "/a", "key": "/b"}, "KEY_MISMATCH"),
        (secret(tls_crt="junk", tls_key=END.key_pem()), {"cert": "/a"}, "PEM_NO_BLOCK"),
        ({"metadata": REF, "data": {"tls.crt": "%%%"}}, {"cert": "/a"}, "SECRET_BASE64"),
        ({"metadata": REF}, {"cert": "/a"}, "PART_MISSING"),
    ],
)
def test_what_can_not_be_exported_is_named(given: dict[str, Any], paths: dict[str, str], code: str) -> None:
    with pytest.raises(EdgeError, match="edge/client") as refused:
        filled(given, **paths)
    assert refused.value.code == code


def test_an_expired_certificate_is_exported_with_a_warning() -> None:
    (made,) = export.exports([{"secret": REF, "cert": "/a"}])
    old = leaf(CA, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    assert [each.code for each in export.fill(made, secret(tls_crt=old.pem))] == ["CERT_EXPIRED"]


def test_content_is_sent_only_when_asked_for() -> None:
    (made,) = export.exports([{"secret": REF, "key": "/a", "owner": "www-data"}])
    export.fill(made, FULL)
    told = export.instruction(made, made.files[0], send=False)
    assert told["content"] is None
    assert (told["secret"], told["mode"], told["owner"], len(told["sha256"])) == (True, "0600", "www-data", 64)
    assert export.instruction(made, made.files[0], send=True)["content"] == END.key_pem()
    assert "PRIVATE" not in repr(made)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({"cert": "relative"}, "clean absolute path"),
        ({"cert": "/a/../b"}, "clean absolute path"),
        ({}, "nothing is exported"),
        ({"cert": "/a", "key": "/a"}, "written twice"),
        ({"key": "/a", "mode": "0644"}, "lets others read"),
        ({"key": "/a", "mode": "0660"}, "the group write"),
        ({"key": "/a", "mode": 0o604}, "lets others read"),
        ({"cert": "/a", "public_mode": "0666"}, "lets others write"),
        ({"key": "/a", "mode": "u=rw"}, "no octal mode"),
        ({"key": "/a", "mode": 384.0}, "no octal mode"),
        ({"key": "/a", "mode": True}, "no octal mode"),
        ({"key": "/a", "mode": "0698"}, "no octal mode"),
    ],
)
def test_requests_that_are_refused(raw: dict[str, Any], text: str) -> None:
    with pytest.raises(EdgeError, match=text) as refused:
        export.exports([{"secret": REF, **raw}])
    assert "exports[0] (edge/client)" in refused.value.sentence


@pytest.mark.parametrize("value", ["0640", "640", 0o640])
def test_modes_as_people_write_them(value: Any) -> None:
    assert export.octal(value, 0) == 0o640


def test_only_secret_texts_stay_hidden() -> None:
    option = [{"path": "/a", "content": "KEY", "n": 7, "flag": True, "pem": {"key": ["K2", None], "other": "K3"}}]
    masked = {"/a", "KEY", "7", "K2", "K3", "elsewhere"}
    hide_only(masked, option, frozenset({"content", "pem"}))
    assert masked == {"KEY", "K2", "K3", "elsewhere"}
