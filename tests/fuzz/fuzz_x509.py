# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged certificates, keys and Secrets, by the million: every reader answers with facts or an EdgeError, quickly, and repeats no key.

    python -m tests.fuzz.fuzz_x509 --iterations 1000000 --seed 1

Each iteration is made from the seed and its own number alone, so that one can be repeated: ``--first N --iterations 1``. The work is
done in a child process; one that stands still for GUARD seconds is a hang, also inside a C library.
"""

from __future__ import annotations

import argparse
import base64
import json
import mmap
import os
import random
import signal
import struct
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._secrets import fitness, inspect
from plugins.module_utils._x509 import chain, facts, material, pem
from tests.unit.x509.pki import Pair, intermediate, leaf, make, root, rsa_key

#: seconds of one iteration after which it is a hang; long, because the machine may be busy
GUARD = 20.0
CPU_GUARD = 1.0

ROOT = root()
MID = intermediate(ROOT)
LEAF = leaf(MID, sans=["DNS:shop.example.com", "DNS:*.example.com", "IP:192.0.2.1", "URI:spiffe://td/ns/a/sa/b"], eku=["server", "client"])
RSA = Pair(LEAF.cert, rsa_key(1024))
EDWARDS = Pair(LEAF.cert, ed25519.Ed25519PrivateKey.generate())
P384 = Pair(LEAF.cert, ec.generate_private_key(ec.SECP384R1()))
KEYS = [LEAF.key_pem(), LEAF.key_pem("PKCS1"), P384.key_pem(), EDWARDS.key_pem(), RSA.key_pem(), RSA.key_pem("PKCS1"),
        LEAF.key_pem(password=b"x"), RSA.key_pem("PKCS1", b"x")]  # fmt: skip
CERTS = [LEAF.pem + MID.pem, LEAF.pem + MID.pem + ROOT.pem, ROOT.pem, make("old", key=rsa_key(1024), v1=True).pem]
TEXTS = [each.encode() for each in [*CERTS, *KEYS, LEAF.pem + LEAF.key_pem(), LEAF.key_pem() + LEAF.pem]]
DERS = [each.der for each in (LEAF, MID, ROOT)] + [pem.blocks(each)[0].der for each in KEYS[:7]]
PIECES = [
    *b"\n".join(TEXTS).split(b"\n")[:200:7], b"", b" ", b"\t", b"\xef\xbb\xbf", b"-----BEGIN CERTIFICATE-----",
    b"-----END CERTIFICATE-----",
    b"-----BEGIN PRIVATE KEY-----", b"-----END PRIVATE KEY-----", b"----BEGIN CERTIFICATE----", b"-----BEGIN", b"Proc-Type: 4,ENCRYPTED",
    b"x:y", b"\\n", b"\x00", b"\r", b"LS0tLS1CRUdJTi", b"\xe2\x80\x94BEGIN CERTIFICATE",
]  # fmt: skip
ODD: list[Any] = [None, "", "=", "====", "\u2603", 7, 1.5, True, [], {}, ["x"], {"a": "b"}, "A" * 5000]
ENTRIES = ["tls.crt", "tls.key", "ca.crt", "cert", "key", "cacert", "x.pem", "../../x", "a\nb", "", "{{ x }}"]
#: base64 of all private keys, of which no part may be repeated
HIDDEN = "".join("".join(each.split("\n")[1:-2]) for each in KEYS)
WINDOW = 16


@dataclass
class Tally:
    """What came out."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0


def damaged(rng: random.Random, data: bytes) -> bytes:
    """``data`` after one to four accidents."""
    for _each in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(8)
        if kind == 0:
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :] if at < len(data) else data[:-1]
        elif kind == 2:
            data = data[:at] + data[at + rng.choice((1, 1, 5, 64, 400)) :]
        elif kind == 3:
            data = data[:at] + rng.randbytes(rng.choice((1, 2, 8))) + data[at:]
        elif kind == 4:
            data = data[:at] + rng.choice(PIECES) + data[at:]
        elif kind == 5:
            end = at + rng.choice((1, 30, 200))
            data = data[:end] + data[at:]
        elif kind == 6:
            data = data[:at]
        else:
            data = data.replace(*rng.choice(((b"\n", b"\r\n"), (b"\n", b""), (b"\n", b" "), (b"-----", b"----"), (b"\n", b"\n\n"))))
    return data


def wrapped(rng: random.Random, der: bytes) -> bytes:
    """DER as a PEM block, whatever it is."""
    label = rng.choice((b"CERTIFICATE", b"CERTIFICATE", b"PRIVATE KEY", b"EC PRIVATE KEY", b"RSA PRIVATE KEY", b"X509 CERTIFICATE"))
    return b"-----BEGIN %s-----\n%s-----END %s-----\n" % (label, base64.encodebytes(der), label)


def text(rng: random.Random) -> bytes:
    """Something that somebody might take for PEM."""
    kind = rng.randrange(10)
    if kind < 5:
        return damaged(rng, rng.choice(TEXTS))
    if kind < 8:
        return b"".join(wrapped(rng, damaged(rng, rng.choice(DERS))) for _each in range(rng.choice((1, 1, 2))))
    if kind < 9:
        return b"\n".join(rng.choice(PIECES) for _each in range(rng.randrange(12)))
    return damaged(rng, rng.choice(DERS))


def secret(rng: random.Random) -> Any:
    """What an API server, or somebody who plays one, may send."""
    data: Any = {}
    for name in rng.sample(ENTRIES, rng.randrange(5)):
        kind = rng.randrange(8)
        value: Any = base64.b64encode(rng.choice(TEXTS) if kind < 3 else text(rng)).decode()
        if kind == 6:
            value = damaged(rng, value.encode()).decode("latin-1")
        elif kind == 7:
            value = rng.choice(ODD)
        data[name] = value
    whole: dict[str, Any] = {"metadata": {"namespace": "shop", "name": "web"}, "type": "kubernetes.io/tls", "data": data}
    if rng.randrange(20) == 0:
        whole[rng.choice(("metadata", "data"))] = rng.choice(ODD)
    return whole


def read(rng: random.Random) -> tuple[str, str]:
    """One damaged thing, read by one of the readers: a word for what came of it, and what is shown of it."""
    kind = rng.randrange(16)
    if kind >= 14:
        return inspected(rng)
    if kind >= 10:
        return deep(rng), ""
    if kind < 3:
        mapping = {role: rng.choice((None, None, "", *ENTRIES)) for role in ("certificate", "key", "ca")} if rng.randrange(3) == 0 else None
        given = secret(rng)
        shown = json.dumps(material.describe(material.decoded(given))) if rng.randrange(4) == 0 else ""
        held = material.from_secret(given, mapping)
        json.dumps(material.summary(held))
        if rng.randrange(20) == 0:
            json.dumps([each.as_dict() for each in fitness.findings(held, rng.choice(("server", "client", "ca")), ["shop.example.com"])])
            chain.order(held.certs)
            chain.in_order(held.certs, held.key)
        return "secret", shown
    given_text = text(rng)
    data: str | bytes = given_text if rng.randrange(2) else given_text.decode("utf-8", rng.choice(("replace", "surrogateescape", "ignore")))
    if kind < 5:
        pem.private_key(data)
        return "key", ""
    if kind < 6:
        return "blocks", repr(pem.blocks(data, "somewhere"))
    for each in pem.load(data):
        json.dumps(facts.facts(each))
    return "certificates", ""


def inspected(rng: random.Random) -> tuple[str, str]:
    """A Secret or ConfigMap as tls_secret_info reads it: whatever is wrong with it is a finding, and no error."""
    given = secret(rng)
    if rng.randrange(4) == 0:
        given["kind"] = "ConfigMap"
    if rng.randrange(8) == 0:
        given[rng.choice(("type", "kind", "binaryData"))] = rng.choice(ODD)
    uses = [inspect.Use(rng.choice(("server", "client", "ca")), ("shop.example.com",), rng.choice(("", "nginx", "envoy")))]
    entries = {role: rng.choice((None, "", *ENTRIES)) for role in ("certificate", "key", "ca")} if rng.randrange(3) == 0 else None
    # building chains takes long: most Secrets are read only
    beside, trusted = (secret(rng), secret(rng)) if rng.randrange(20) == 0 else (None, None)
    if trusted is None:
        held = inspect.hold(given, entries)
        return "held", json.dumps([each.as_dict() for each in held.faults.values()]) + repr(held)
    report = inspect.inspect(given, uses if rng.randrange(2) else (), entries, trusted=trusted, verified_by=True, beside=beside)
    report.why_not(rng.choice(("present", "fit", "changed")), report.fingerprint)
    return "inspected", json.dumps(report.result())


def deep(rng: random.Random) -> str:
    """A certificate with one wrong byte or bit, which often still parses, and what is concluded from it."""
    der = bytearray(rng.choice(DERS[:3]))
    at = rng.randrange(len(der))
    der[at] = rng.randrange(256) if rng.randrange(2) else der[at] ^ 1 << rng.randrange(8)
    cert = pem.certificate(bytes(der))
    json.dumps(facts.facts(cert))
    facts.key_matches(LEAF.key, cert)
    if rng.randrange(20) == 0:
        others = [MID.cert, ROOT.cert]
        held = (
            material.Material([cert, *others], LEAF.key, others[1:])
            if rng.randrange(2)
            else material.Material([LEAF.cert], LEAF.key, [cert])
        )
        json.dumps([each.as_dict() for each in fitness.findings(held, rng.choice(("server", "client", "ca")), ["shop.example.com"])])
        material.ordered(held)
    return "damaged certificate"


def one(seed: int, number: int, tally: Tally) -> None:
    """One iteration."""
    rng = random.Random(seed << 32 | number)
    started = time.thread_time()
    shown = ""
    try:
        outcome, shown = read(rng)
    except EdgeError as error:
        outcome, shown = error.code, error.sentence + json.dumps(error.as_result())
        if not outcome:
            tally.failures.append(f"{number}: an error without a code: {shown[:200]}")
    except Exception:
        outcome = "TRACEBACK"
        tally.failures.append(f"{number}: {traceback.format_exc(limit=-4)}")
    took = time.thread_time() - started
    tally.slowest = max(tally.slowest, took)
    if took > CPU_GUARD:
        outcome = "HANG"
        tally.failures.append(f"{number}: took {took:.1f} s")
    if any(shown[at : at + WINDOW] in HIDDEN for at in range(0, max(0, len(shown) - WINDOW), WINDOW // 2)):
        outcome = "LEAK"
        tally.failures.append(f"{number}: shows a part of a key")
    tally.outcomes[outcome] += 1


def run(iterations: int, seed: int, first: int = 0, progress: Any = None) -> Tally:
    """Iterations one after the other in this process."""
    tally = Tally()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cryptography's, about what a later release will refuse
        for number in range(first, first + iterations):
            one(seed, number, tally)
            if progress is not None:
                progress(number)
            if len(tally.failures) > 20:
                break
    return tally


def guarded(iterations: int, seed: int, first: int) -> int:
    """The same in a child that is watched; the exit code."""
    counter = mmap.mmap(-1, 8)
    child = os.fork()
    if child == 0:
        tally = run(iterations, seed, first, lambda number: struct.pack_into("<Q", counter, 0, number))
        done = sum(tally.outcomes.values())
        bad = {kind: tally.outcomes[kind] for kind in ("TRACEBACK", "HANG", "LEAK")}
        print("\n".join(f"{count:9d} {kind}" for kind, count in tally.outcomes.most_common()))
        print("\n".join(tally.failures))
        print(f"{done} iterations, seed {seed}: {bad['TRACEBACK']} tracebacks, {bad['HANG']} hangs, {bad['LEAK']} leaks;", end=" ")
        print(f"slowest {tally.slowest * 1000:.0f} ms of CPU, {time.process_time():.0f} s of CPU in all")
        sys.stdout.flush()
        os._exit(1 if tally.failures else 0)
    seen, since = -1, time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.2)
        now = struct.unpack_from("<Q", counter, 0)[0]
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > GUARD:
            os.kill(child, signal.SIGKILL)
            print(f"HANG behind iteration {now}, seed {seed}")
            return 2


def main() -> int:
    """Parse options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    return guarded(given.iterations, given.seed, given.first)


if __name__ == "__main__":
    sys.exit(main())
