# SPDX-License-Identifier: GPL-3.0-or-later
"""Would the other side accept this chain? Answered by nginx's rules and by Envoy's, which differ.

OpenSSL itself builds and checks the path (pyOpenSSL's X509Store: names, signatures, dates, basic constraints, name constraints,
critical extensions). What pyOpenSSL doesn't reach is added here: purpose, security level, depth, names.

| | nginx (OpenSSL) | Envoy (BoringSSL) |
|---|---|---|
| anchor | a self-signed root must be in the CA file | any trusted certificate, also an intermediate or the leaf |
| extensions of the anchor | as of the others | only name constraints |
| host name | DNS SAN, else common name | SAN only: DNS, IP or URI |
| keys | above OpenSSL's security level (2: RSA 2048, no SHA-1 signature) | RSA of any size, ECDSA on P-256 and P-384 |
| key usage of the leaf | one that OpenSSL knows for its purpose | digitalSignature |
| old Netscape type | honoured | unknown |
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Optional

from . import clock, facts, names, pem, purposes
from .der import is_der
from .library import Encoding, library_missing, x509
from .purposes import CLIENT, ENVOY, NGINX, SERVER

#: OpenSSL's verify error -> our code; the sentences are made in _sentence()
_OPENSSL_CODES = {
    2: "ROOT_MISSING", 20: "ISSUER_MISSING", 21: "ISSUER_MISSING", 27: "ISSUER_MISSING",
    18: "SELF_SIGNED", 19: "ROOT_NOT_TRUSTED",
    7: "SIGNATURE_WRONG", 4: "SIGNATURE_WRONG", 1: "CERT_UNREADABLE", 6: "CERT_UNREADABLE",
    9: "CERT_NOT_YET_VALID", 10: "CERT_EXPIRED", 13: "CERT_DATES_BAD", 14: "CERT_DATES_BAD",
    24: "CA_FLAG_MISSING", 37: "CA_FLAG_MISSING", 79: "CA_FLAG_MISSING", 32: "CA_FLAG_MISSING",
    25: "PATH_LENGTH_EXCEEDED", 22: "CHAIN_TOO_LONG", 26: "PURPOSE_WRONG", 34: "CRITICAL_EXTENSION", 41: "CERT_UNREADABLE",
    **dict.fromkeys((47, 48, 49, 51, 52, 53), "NAME_CONSTRAINT"),
}  # fmt: skip

#: OpenSSL's errors about extensions, which BoringSSL doesn't look at where it believes a certificate anyway
_EXTENSION_ERRORS = {24, 25, 34, 37, 79}
_PARTIAL_CHAIN = 0x80000
#: where OpenSSL starts to look for a block: at the start, and behind the block before
_BOM = re.compile(rf"(?:\A|(?<=-----\n)|(?<=-----\r\n)){pem.BOM}")
#: OpenSSL security level -> bits of security; RSA size and EC size that reach them
_LEVEL_BITS = {0: 0, 1: 80, 2: 112, 3: 128, 4: 192, 5: 256}
_RSA_BITS = ((15360, 256), (7680, 192), (3072, 128), (2048, 112), (1024, 80))
_DIGEST_BITS = {"md5": 39, "sha1": 63, "sha224": 112, "sha256": 128, "sha384": 192, "sha512": 256}


@dataclass(frozen=True)
class Verdict:
    """What one side would say.

    :ivar ok: accepted.
    :ivar code: "" or a stable upper-case word (CERT_EXPIRED, ISSUER_MISSING, ROOT_MISSING, NAME_MISMATCH, EKU_NO_CLIENTAUTH, ...).
    :ivar reason: "" or one sentence that names the certificate and the cause.
    :ivar openssl: OpenSSL's number for it (10 = expired, ...); 0 where it has none.
    :ivar depth: which certificate of the chain, 0 = leaf.
    """

    ok: bool
    code: str = ""
    reason: str = ""
    openssl: int = 0
    depth: int = 0

    @property
    def text(self) -> str:
        """ "" when accepted, else ``CODE: reason``."""
        return "" if self.ok else f"{self.code}: {self.reason}"


def verify(
    chain: pem.Certificates,
    ca: pem.Certificates,
    rules: str = NGINX,
    purpose: str = SERVER,
    name: Optional[str] = None,
    now: Optional[datetime] = None,
    depth: Optional[int] = None,
    security_level: int = 2,
) -> Verdict:
    """Judge a presented chain against trusted certificates.

    :param chain: leaf first, then what the peer sends with it.
    :param ca: the trusted certificates (proxy_ssl_trusted_certificate, ssl_client_certificate, cacert).
    :param rules: ``nginx`` or ``envoy``: whose eyes to look with.
    :param purpose: ``server`` when the chain is a server's, ``client`` when it is a client certificate.
    :param name: what must be covered; None = not checked. nginx: proxy_ssl_name, of clients nothing;
        Envoy: a DNS name, address or URI.
    :param now: the time to judge by; default the clock.
    :param depth: nginx's (proxy_)ssl_verify_depth = most intermediates between leaf and anchor; None = not limited.
    :param security_level: OpenSSL's (nginx only); 2 is the default of Debian and of OpenSSL >= 3.2.
    :raises EdgeError: pyOpenSSL is missing.
    :raises PemError: never for ``chain`` and ``ca``: what can't be read is a Verdict with the parser's code.
    """
    if rules not in (NGINX, ENVOY) or purpose not in (SERVER, CLIENT):
        raise ValueError("rules are nginx or envoy, purpose is server or client")
    try:
        presented = pem.load(chain, "the chain")
        trusted = _in_file(ca, rules) if isinstance(ca, (str, bytes)) and not is_der(ca) else pem.load(ca, "the trusted certificates")
    except pem.PemError as error:
        return Verdict(False, error.code, error.sentence)
    if not presented:
        return Verdict(False, "CHAIN_EMPTY", "no certificate was presented.")
    if not trusted:
        return Verdict(False, "TRUST_EMPTY", "there is no trusted certificate to verify against.")
    second = (now or clock.now()).replace(microsecond=0)  # finer than a certificate's dates are would only keep answers apart
    return _verdict(tuple(presented), tuple(trusted), rules, purpose, name, second, depth, security_level)


# Many paths present the same chain: a proof asks this some hundred times.
@functools.lru_cache(maxsize=1024)
def _verdict(
    presented: tuple[x509.Certificate, ...],
    trusted: tuple[x509.Certificate, ...],
    rules: str,
    purpose: str,
    name: Optional[str],
    now: datetime,
    depth: Optional[int],
    security_level: int,
) -> Verdict:
    if facts.facts(presented[0])["unreadable"]:  # which OpenSSL reports as all sorts of things
        return Verdict(False, *(purposes.problem(presented[0], purpose) or ("", "")))
    path, verdict = _build(presented, trusted, rules, now)
    if not verdict.ok:
        return verdict
    return (
        _check_purpose(path, trusted, purpose, rules)
        or _check_key_type(path, rules)
        or (_check_security(path, security_level) if rules == NGINX else None)
        or _check_depth(path, depth)
        or _check_name(path[0], None if (rules, purpose) == (NGINX, CLIENT) else name, rules)
        or Verdict(True)
    )


def order(chain: Sequence[x509.Certificate]) -> str:
    """Whether every certificate is followed by its issuer: "" or a sentence that names the first break."""
    for position, (cert, following) in enumerate(zip(chain, chain[1:]), 1):
        if not facts.issued_by(cert, following):
            return f"certificate {position + 1} ({facts.title(following)}) did not issue certificate {position} ({facts.title(cert)})"
    return ""


def in_order(certs: Sequence[x509.Certificate], key: Optional[pem.PrivateKey] = None) -> list[x509.Certificate]:
    """The certificates with the leaf first and each followed by its issuer; what doesn't belong to the leaf's chain is left out.

    The leaf is the one of ``key``, else the first that issued none of the others.
    """
    if not certs:
        return []
    leaf = next((each for each in certs if key is not None and facts.key_matches(key, each)), None)
    if leaf is None:
        leaf = next((each for each in certs if not any(other is not each and facts.issued_by(other, each) for other in certs)), certs[0])
    result = [leaf]
    while not facts.self_signed(result[-1]):
        issuer = next((each for each in certs if each not in result and facts.issued_by(result[-1], each)), None)
        if issuer is None:
            break
        result.append(issuer)
    return result


@functools.lru_cache(maxsize=64)
def _in_file(ca: str | bytes, rules: str) -> Sequence[x509.Certificate]:
    """What the program takes from a CA file: other blocks are passed over, and OpenSSL overlooks a byte order mark in front of one."""
    text = ca.decode("utf-8", "replace") if isinstance(ca, bytes) else ca
    return pem.certificates(_BOM.sub("", text) if rules == NGINX else text, "the trusted certificates", strict=False)


def _build(
    presented: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate], rules: str, now: datetime, believe: bool = True
) -> tuple[list[x509.Certificate], Verdict]:
    """The path that OpenSSL finds, or its first error in our words.

    :param believe: whether BoringSSL would take the trusted certificates as they are.
    """
    try:
        from OpenSSL import crypto  # late: not needed by those who only want facts
    except ImportError as error:
        raise library_missing(error.name or "OpenSSL") from None

    def native(cert: x509.Certificate) -> crypto.X509:
        return crypto.load_certificate(crypto.FILETYPE_ASN1, cert.public_bytes(Encoding.DER))

    store = crypto.X509Store()
    if rules == ENVOY:
        store.set_flags(_PARTIAL_CHAIN)
    store.set_time(now.astimezone(timezone.utc).replace(tzinfo=None))
    try:
        for each in trusted:
            store.add_cert(native(each))
        context = crypto.X509StoreContext(store, native(presented[0]), [native(each) for each in presented[1:]])
        path = [pem.certificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, each)) for each in context.get_verified_chain()]
    except crypto.X509StoreContextError as error:
        number, depth = int(error.errors[0]), int(error.errors[1])
        try:
            culprit = pem.certificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, error.certificate))
        except (crypto.Error, pem.PemError):  # it is so broken that it can't be written
            culprit = presented[min(depth, len(presented) - 1)]
        code = _OPENSSL_CODES.get(number, "CHAIN_REFUSED")
        verdict = Verdict(False, code, _sentence(code, culprit, str(error.errors[2]), presented, trusted), number, depth)
        if believe and rules == ENVOY and number in _EXTENSION_ERRORS and culprit in trusted:
            return _up_to(culprit, presented, trusted, now, verdict)
        return [], verdict
    except (crypto.Error, pem.PemError):
        return [], Verdict(False, "CERT_UNREADABLE", "OpenSSL can't read one of the certificates.")
    return path, Verdict(True)


def _up_to(
    anchor: x509.Certificate, presented: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate], now: datetime, refusal: Verdict
) -> tuple[list[x509.Certificate], Verdict]:
    """The path to an anchor whose extensions OpenSSL does not accept, as BoringSSL has it; ``refusal`` where there is none.

    Name constraints of such an anchor count for BoringSSL, but can't be evaluated here; and who may not sign has issued nothing.
    """
    usage = facts.facts(anchor)["key_usage"]
    if facts.has_name_constraints(anchor) or (usage is not None and "keyCertSign" not in usage and anchor != presented[0]):
        return [], refusal
    for code, wrong, number in (
        ("CERT_EXPIRED", anchor.not_valid_after_utc < now, 10),
        ("CERT_NOT_YET_VALID", anchor.not_valid_before_utc > now, 9),
    ):
        if wrong:
            return [], Verdict(False, code, _sentence(code, anchor, "", presented, trusted), number, refusal.depth)
    if anchor == presented[0]:
        return [anchor], Verdict(True)
    found: tuple[list[x509.Certificate], Verdict] = ([], refusal)
    for child in (*presented, *trusted):
        if child != anchor and facts.issued_by(child, anchor):
            path, verdict = _build(presented, [child], ENVOY, now, believe=child in trusted)
            found = ([*path, anchor], verdict) if verdict.ok else ([], verdict)
            if verdict.ok:
                break
    return found


def _sentence(
    code: str, cert: x509.Certificate, openssl: str, presented: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate]
) -> str:
    title = facts.title(cert)
    issuer = facts.name_text(cert.issuer) or "(no name)"
    if code == "CERT_EXPIRED":
        return f"{title} expired at {clock.text(cert.not_valid_after_utc)}."
    if code == "CERT_NOT_YET_VALID":
        return f"{title} is valid only from {clock.text(cert.not_valid_before_utc)} on."
    if code == "ROOT_MISSING":
        return f"the trusted certificates end at {title}; its issuer {issuer} is missing, and nginx needs the self-signed root."
    if code in ("ISSUER_MISSING", "SIGNATURE_WRONG", "SELF_SIGNED", "ROOT_NOT_TRUSTED"):
        if any(each.subject == cert.issuer and not facts.issued_by(cert, each) for each in trusted):
            return f"{title} was signed by another key than the trusted certificate with the same name {issuer} has."
        if code == "ISSUER_MISSING":
            sent = "the peer sent no intermediate" if len(presented) == 1 else f"the peer sent {len(presented)} certificates"
            return f"the issuer {issuer} of {title} is not trusted and was not sent ({sent})."
        if code == "SIGNATURE_WRONG":
            return f"the signature on {title} is not its issuer's."
        return f"{title} is self-signed and not among the trusted certificates."
    if code == "CA_FLAG_MISSING":
        return f"{title} is used as an issuer but is no CA (basicConstraints CA:TRUE and keyCertSign)."
    return f"{title}: {openssl}."


def _check_purpose(path: list[x509.Certificate], trusted: Sequence[x509.Certificate], purpose: str, rules: str) -> Optional[Verdict]:
    """BoringSSL checks what lies below the first trusted certificate; the leaf is taken for that only where there is no other."""
    checked = len(path) if rules == NGINX else next((at for at, each in enumerate(path) if at and each in trusted), 0)
    problems = [purposes.problem(cert, purpose, depth, rules) for depth, cert in enumerate(path[:checked])]
    for depth, problem in enumerate(problems or [purposes.usage_problem(path[0], purpose, rules)]):
        if problem:
            return Verdict(False, *problem, 26, depth)
    return None


def _check_security(path: list[x509.Certificate], level: int) -> Optional[Verdict]:
    """OpenSSL's security level: keys of all certificates, digests of all but the anchor."""
    wanted = _LEVEL_BITS[level]
    for depth, cert in enumerate(path):
        known = facts.facts(cert)
        key = known["key"]
        bits = next((strength for size, strength in _RSA_BITS if key["size"] >= size), 0) if key["type"] == "rsa" else key["size"] // 2
        if bits < wanted:
            sentence = (
                f"the {key['type']} key of {facts.title(cert)} has only {key['size']} bits, too few for OpenSSL's security level {level}."
            )
            return Verdict(False, "KEY_TOO_WEAK", sentence, 67 if depth else 66, depth)
        if depth < len(path) - 1 and _DIGEST_BITS.get(known["signature"], wanted) < wanted:
            sentence = f"{facts.title(cert)} is signed with {known['signature']}, which OpenSSL's security level {level} refuses."
            return Verdict(False, "DIGEST_TOO_WEAK", sentence, 68, depth)
    return None


def _check_key_type(path: list[x509.Certificate], rules: str) -> Optional[Verdict]:
    problem = purposes.key_problem(path[0], rules)
    return Verdict(False, *problem) if problem else None


def _check_depth(path: list[x509.Certificate], depth: Optional[int]) -> Optional[Verdict]:
    between = len(path) - 2
    if depth is None or between <= depth:
        return None
    sentence = f"there are {between} certificates between {facts.title(path[0])} and its anchor, but the verify depth is {depth}."
    return Verdict(False, "CHAIN_TOO_LONG", sentence, 22, depth + 1)


def _check_name(leaf: x509.Certificate, name: Optional[str], rules: str) -> Optional[Verdict]:
    if name is None or names.covers(leaf, name, rules):
        return None
    known = facts.facts(leaf)
    if known["sans"]:
        has = ", ".join(known["sans"])
    elif known["common_name"]:
        has = f"no SAN, only the common name {known['common_name']}"
    else:
        has = "no name at all"
    return Verdict(False, "NAME_MISMATCH", f"{facts.title(leaf)} does not cover {name}: it has {has}.", 62, 0)
