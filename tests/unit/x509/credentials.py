# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets as an Istio gateway is given them by the name of a credential: what it takes of them, and what it can't use."""

from __future__ import annotations

import base64
import functools
from dataclasses import dataclass
from typing import Any, Optional

from plugins.module_utils._secrets.inspect import Use, inspect
from plugins.module_utils._x509 import chain
from tests.unit.x509.certificate_set import NAME
from tests.unit.x509.pki import Pair, leaf, root

NAMESPACE, CREDENTIAL, CACERT = "istio-system", "web", "web-cacert"


@dataclass(frozen=True)
class Credential:
    """A credential, and who comes to the gateway that has it.

    :ivar web: entries of its Secret; None = there is no such Secret in the gateway's namespace. :ivar cacert: of ``<name>-cacert``.
    :ivar expected: the code of our verdict, "" = it serves. :ivar mutual: the gateway wants a client certificate (tls.mode MUTUAL).
    """

    title: str
    web: Optional[dict[str, str]]
    expected: str = ""
    cacert: Optional[dict[str, str]] = None
    mutual: bool = False

    def secret(self, name: str) -> Optional[dict[str, Any]]:
        """As the API has it."""
        entries = self.web if name == CREDENTIAL else self.cacert
        if entries is None:
            return None
        data = {key: base64.b64encode(value.encode()).decode() for key, value in entries.items()}
        return {"kind": "Secret", "metadata": {"namespace": NAMESPACE, "name": name}, "type": "Opaque", "data": data}

    def code(self) -> str:
        """Why we say that nobody gets through; "" = they do."""
        uses = [Use("server", (NAME,), "envoy"), *([Use("ca", (), "envoy")] if self.mutual else [])]
        report = inspect(self.secret(CREDENTIAL), uses, beside=self.secret(CACERT))
        errors = [each.code for each in report.findings if each.severity == "error"]
        if errors or not self.mutual:
            return errors[0] if errors else ""
        return chain.verify(visitor().pem, report.ca, rules="envoy", purpose="client").code

    def istiod_sends(self) -> dict[str, dict[str, str]]:
        """Resource name -> what istiod makes of the Secrets (its GetCertInfo and GetCaCert); nothing where it finds nothing."""

        def first(entries: dict[str, str], *choices: tuple[str, ...]) -> tuple[str, ...]:
            return next((tuple(entries[name] for name in names) for names in choices if all(entries.get(name) for name in names)), ())

        sent = {}
        pair = first(self.web or {}, ("cert", "key"), ("tls.crt", "tls.key"))
        if pair:
            sent[CREDENTIAL] = dict(zip(("certificate", "key"), pair))
        trusted = first((self.web if self.cacert is None else self.cacert) or {}, ("cacert",), ("ca.crt",))
        if trusted:
            sent[CACERT] = {"ca": trusted[0]}
        return sent


@functools.cache
def gateway_ca() -> Pair:
    """Issues the gateway's certificates."""
    return root("Credential Root")


@functools.cache
def client_ca() -> Pair:
    """Issues the visitor's."""
    return root("Visitor Root")


@functools.cache
def visitor() -> Pair:
    """Who comes, where a client certificate is wanted."""
    return leaf(client_ca(), "visitor.example.com", eku=["client"])


@functools.cache
def all_credentials() -> list[Credential]:
    """Every one."""
    ca, right, other = gateway_ca(), client_ca().pem, root("Other Visitor Root").pem
    end, renewed, elsewhere = leaf(ca), leaf(ca), leaf(ca, "other.example.com")
    pem, key = end.pem, end.key_pem()
    pair = {"tls.crt": pem, "tls.key": key}
    wrong = {"tls.crt": elsewhere.pem, "tls.key": elsewhere.key_pem()}
    once_more = {name: base64.b64encode(text.encode()).decode() for name, text in pair.items()}

    def mutual(title: str, web: dict[str, str], expected: str = "", cacert: Optional[dict[str, str]] = None) -> Credential:
        return Credential(f"mutual: {title}", {**pair, **web}, expected, cacert, mutual=True)

    return [
        Credential("`tls.crt` and `tls.key`", pair),
        Credential("`cert` and `key`", {"cert": pem, "key": key}),
        Credential("both pairs, `cert` right and `tls.crt` of another name", {**wrong, "cert": pem, "key": key}),
        Credential("both pairs, `tls.crt` right and `cert` of another name",
                   {**pair, "cert": elsewhere.pem, "key": elsewhere.key_pem()}, "NAME_MISMATCH"),
        Credential("both pairs, `key` empty", {**pair, "cert": elsewhere.pem, "key": ""}),
        Credential("not in the gateway's namespace", None, "SECRET_MISSING"),
        Credential("no entry at all", {}, "CERTIFICATE_MISSING"),
        Credential("both entries empty, as before a first issue", {"tls.crt": "", "tls.key": ""}, "CERTIFICATE_MISSING"),
        Credential("`tls.key` empty", {**pair, "tls.key": ""}, "KEY_MISSING"),
        Credential("`tls.crt` empty", {**pair, "tls.crt": ""}, "CERTIFICATE_MISSING"),
        Credential("`tls.crt` beside `key`", {"tls.crt": pem, "key": key}, "ENTRY_MISSING"),
        Credential("`cert` beside `tls.key`", {"cert": pem, "tls.key": key}, "ENTRY_MISSING"),
        Credential("other names (`server.pem`, `server-key.pem`)", {"server.pem": pem, "server-key.pem": key}, "CERTIFICATE_MISSING"),
        Credential("one half renewed", {**pair, "tls.crt": renewed.pem}, "KEY_MISMATCH"),
        Credential("base64 twice", once_more, "PEM_DOUBLE_BASE64"),
        Credential("newline lost at the join", {**pair, "tls.crt": pem.rstrip() + ca.pem}, "PEM_JOINED"),
        mutual("`ca.crt` in the same Secret", {"ca.crt": right}),
        mutual("`cacert` in the same Secret", {"cacert": right}),
        mutual("`cacert` empty, `ca.crt` right", {"cacert": "", "ca.crt": right}),
        mutual("`cacert` wrong, `ca.crt` right", {"cacert": other, "ca.crt": right}, "ISSUER_MISSING"),
        mutual("in `<name>-cacert`", {}, "", {"cacert": right}),
        mutual("in `<name>-cacert` as `ca.crt`", {}, "", {"ca.crt": right}),
        mutual("`<name>-cacert` right, `ca.crt` in the same Secret wrong", {"ca.crt": other}, "", {"cacert": right}),
        mutual("`<name>-cacert` wrong, `ca.crt` in the same Secret right", {"ca.crt": right}, "ISSUER_MISSING", {"cacert": other}),
        mutual("`<name>-cacert` without `cacert` and `ca.crt`, `ca.crt` in the same Secret right", {"ca.crt": right}, "CA_MISSING",
               {"tls.crt": right}),
        mutual("`<name>-cacert` empty, `ca.crt` in the same Secret right", {"ca.crt": right}, "CA_MISSING", {"cacert": ""}),
        mutual("no CA anywhere", {}, "CA_MISSING"),
        mutual("old and new CA", {"ca.crt": other + right}),
        mutual("the visitor's certificate instead of its CA", {"ca.crt": leaf(client_ca()).pem}, "CA_FLAG_MISSING"),
        mutual("newline lost between two CAs", {"ca.crt": other.rstrip() + right}, "PEM_JOINED"),
    ]  # fmt: skip
