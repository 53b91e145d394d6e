# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares runs that the recorder wrote down, and looks for key material in what they printed.

runs.py same PREDICTED REAL           tasks and objects that check mode foresaw are those that the real run changed
runs.py unchanged RUN                 nothing changed
runs.py leaks KUBECTL KUBECONFIG LOG  no key of any Secret of ours is in the log, in any encoding
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

WINDOW = 40
OURS = "app.kubernetes.io/managed-by=edgemesh"


def changes(path: str) -> set[str]:
    """Each changed task by host and item, and each changed object of it; what goes with its namespace isn't counted.

    Namespaces of other tests come and go meanwhile.
    """
    entries = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    gone = (
        " edgemesh-test-",
        *(f" {match[1]}/" for entry in entries for each in entry["objects"] if (match := re.fullmatch("Namespace /(.+) deleted", each))),
    )
    found = set()
    for entry in entries:
        if entry["changed"]:
            place = f"{entry['host']}: {entry['task']}" + (f" ({entry['item']})" if entry["item"] else "")
            found.update([place, *(f"{place}: {each}" for each in entry["objects"] if not any(namespace in each for namespace in gone))])
    return found


def same(predicted: str, real: str) -> int:
    """1 if check mode and the real run differ."""
    foreseen, done = changes(predicted), changes(real)
    for line in sorted(foreseen - done):
        print(f"foreseen, not done: {line}")
    for line in sorted(done - foreseen):
        print(f"done, not foreseen: {line}")
    print(f"{len(done)} changes, {len(foreseen & done)} of them foreseen")
    return 1 if foreseen != done or not done else 0


def unchanged(path: str) -> int:
    """1 if anything changed, or nothing was run."""
    for line in sorted(changes(path)):
        print(f"changed: {line}")
    return 1 if changes(path) or not Path(path).read_text(encoding="utf-8") else 0


def needles(key: bytes) -> set[str]:
    """Pieces by which a key is recognised: of its PEM, its base64 body, its hex, and of the base64 of the PEM at each alignment."""
    text = key.decode()
    body = "".join(re.findall(r"^[A-Za-z0-9+/=]+$", text, re.MULTILINE))
    forms = [body, base64.b64decode(body).hex(), *(base64.b64encode(b"x" * shift + key).decode()[4:-4] for shift in range(3))]
    # The first bytes of a key are its type, and the same in all keys.
    return {form[at : at + WINDOW] for form in forms for at in range(WINDOW * 2, len(form) - WINDOW, 7)}


def leaks(kubectl: str, kubeconfig: str, log: str) -> int:
    """1 if key material is in the log, or there is no key to look for."""
    command = [kubectl, "--kubeconfig", kubeconfig, "get", "secrets", "-A", "-l", OURS, "-o", "json"]
    secrets = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["items"]
    keys = {
        f"{each['metadata']['namespace']}/{each['metadata']['name']}": each["data"]["tls.key"]
        for each in secrets
        if "tls.key" in each["data"]
    }
    haystack = Path(log).read_text(encoding="utf-8")
    joined = re.sub(r"[\s\\]|\\n", "", haystack)
    found = [
        name for name, value in keys.items() if any(piece in haystack or piece in joined for piece in needles(base64.b64decode(value)))
    ]
    for name in found:
        print(f"the key of Secret {name} is in {log}")
    marks = haystack.count("PRIVATE KEY-----")
    print(f"{len(keys)} keys, {len(haystack)} characters, {len(found)} found; {marks} private key headers")
    return 1 if found or marks or not keys else 0


if __name__ == "__main__":
    sys.exit({"same": same, "unchanged": unchanged, "leaks": leaks}[sys.argv[1]](*sys.argv[2:]))
