# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions do, on plain data."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import _disk as disk
from .._errors import EdgeError
from .._routes.reading import Reading
from .._schema.fields import read
from . import kinds
from .carried import Seen
from .html import page
from .kind import Kind
from .model import Proof
from .report import Run, report
from .verdict import Evidence


def given(kind: Kind, values: Mapping[str, Any], here: str, check: bool) -> Any:
    """What the kind's plan is told, with the defaults.

    :param values: the option ``given`` of module proof_probe.
    :param here: the inventory name of the host that is looked at.
    :param check: nothing was changed in this run.
    :raises EdgeError: names the value.
    """
    return read(kind.given, {**values, "here": here, "check": check, "foreign_ca": _foreign_ca()}, "given")


def logged(proofs: list[Proof]) -> tuple[list[str], list[str]]:
    """The gateways whose access logs these proofs need, as ``namespace/service``, and what is in them once they have written all of it.

    The latter are user agents, up to the quote behind them.
    """
    found = [proof.wanted for proof in proofs if proof.judge == "access_log"]
    return sorted({each["gateway"] for each in found}), [f'{each["user_agent"]}"' for each in found]


def reported(options: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """The model of proof.json.

    :param options: those of module proof_report.
    :param check: in check mode what fails may not have been set up yet.
    """
    answers, logs = options["answers"], options["log"]
    planned = [Seen.of(text) for text in options["seen"]]
    seen = [*planned, *(Seen.of(each["evidence"]) for each in answers if "evidence" in each)]
    problems = [problem for each in logs for problem in each["problems"]]
    lines = [line for each in logs for line in each["lines"]]
    evidence = Evidence(
        trouble={
            **{each.by: each.trouble for each in seen if each.trouble},
            **{each["item"]: each.get("msg") or "no answer" for each in answers if "evidence" not in each},
        },
        log=lines if lines or (logs and not problems) else None,
        no_log="; ".join(problems) or Evidence.no_log,
    )
    said = Reading.of(options["routes"])
    run = Run(
        version=version(Path(__file__).resolve().parents[3]),
        id=options["run"],
        check_mode=check,
        absent=tuple(options["absent"]),
        minimum=options["minimum"],
        list_name=said.list_name,
        takes_away=said.exclusive or bool(said.absent),
    )
    routes = [(kind, route) for kind in kinds.KINDS.values() for route in kind.routes(options["routes"])]
    proofs = [proof for each in planned for proof in each.proofs]
    results = [result for each in seen for result in each.results]
    return report(run, routes, proofs, results, evidence, [entry for each in planned for entry in each.certificates])


def written(model: dict[str, Any], folder: str) -> str:
    """Write proof.json and proof.html; returns the folder.

    :param folder: made if it is missing; "" makes a temporary one.
    :raises EdgeError: it can't be written to.
    """
    pages = {"proof.json": json.dumps(model, indent=4, ensure_ascii=False) + "\n", "proof.html": page(model)}
    try:
        place = os.path.abspath(folder) if folder else tempfile.mkdtemp(prefix="edgemesh-proof-")
        for name, text in pages.items():
            # A browser, or a program, that reads the report at this moment gets all of one run.
            disk.write(os.path.join(place, name), text, 0o644)
    except OSError as error:
        raise EdgeError("the report can't be written", where=str(error.filename or folder), why=str(error.strerror),
                        fix="Choose a folder on the controller in which the user who runs Ansible may write") from None  # fmt: skip
    return place


def _foreign_ca() -> str:
    """A CA certificate that signed nothing; its key is gone."""
    from .._x509.library import Encoding
    from .._x509.sign import new_ca

    return str(new_ca("edgemesh nobody", 1).certs[0].public_bytes(Encoding.PEM).decode())


def version(root: Path) -> str:
    """The collection's version: from its manifest where it is installed, from galaxy.yml in a checkout."""
    manifest = root / "MANIFEST.json"
    if manifest.is_file():
        return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    lines = (root / "galaxy.yml").read_text(encoding="utf-8").splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith("version:"))
