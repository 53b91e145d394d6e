"""What the actions do, on plain data."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import _disk as disk
from .._errors import EdgeError
from .carried import Seen
from .html import page
from .judge import Evidence
from .model import Machine, Options
from .report import Run, report
from .vm_nginx import configured, files
from .vm_nginx.plan import plan, probes

MATERIAL = "/etc/edgemesh/tls"


@dataclass(frozen=True)
class Printed:
    """What commands printed on a VM: nginx by ``-v -T``, and :func:`command`."""

    nginx: str = ""
    files: str = ""


def command(routes: list[dict[str, Any]], material: str) -> list[str]:
    """The command that prints the certificates of a VM's files; [] when there are none."""
    paths = files.paths(routes, material)
    return [*files.COMMAND, *paths] if paths else []


def planned(routes: list[dict[str, Any]], given: dict[str, Any], printed: Printed) -> dict[str, Any]:
    """Proofs and probes for one VM.

    :param given: the options of module proof_probe.
    :param printed: what nginx printed, and the command for certificates (see :func:`command`).
    :returns: ``proofs``, and ``probes`` by who makes them.
    """
    material, echo_path = given["material"], given["echo_path"]
    nginx = configured.read(routes, printed.nginx, echo_path)
    machine = Machine(
        name=given["vm"],
        address=given["address"],
        gateways=given["gateways"],
        nginx=nginx.upstreams,
        nginx_unknown=nginx.unknown,
        turns=nginx.turns,
        trust=files.trust(routes, files.read(printed.files), material, given["front_ca"]),
        tls_dir=material,
    )
    options = Options(
        run=given["run"],
        foreign_ca=_foreign_ca(),
        client_ca_file=given["client_ca_file"],
        repeat=given["repeat"],
        echo_path=echo_path,
        websocket_path=given["websocket_path"],
    )
    proofs = plan(routes, machine, given["clients"], options)
    return {"proofs": [proof.as_dict() for proof in proofs], "probes": probes(proofs)}


def logged(proofs: list[dict[str, Any]]) -> list[str]:
    """What is in the gateway's access log once it has written all that these proofs need: user agents, up to the quote behind them."""
    return [f'{proof["wanted"]["user_agent"]}"' for proof in proofs if proof["judge"] == "access_log"]


def reported(given: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """The model of proof.json.

    :param given: the options of module proof_report.
    :param check: in check mode what fails may not have been set up yet.
    """
    routes, clients, logs = given["routes"], given["from_clients"], given["log"]
    machines = [Seen.of(text) for text in given["seen"]]
    seen = [*machines, *(Seen.of(client["evidence"]) for client in clients if "evidence" in client)]
    texts = {machine.by: files.read(machine.files) for machine in machines}
    problems = [problem for each in logs for problem in each["problems"]]
    lines = [line for each in logs for line in each["lines"]]
    evidence = Evidence(
        fingerprints={vm: files.fingerprints(each) for vm, each in texts.items()},
        trouble={
            **{each.by: each.trouble for each in seen if each.trouble},
            **{client["item"]: client.get("msg") or "no answer" for client in clients if "evidence" not in client},
        },
        log=lines if lines or (logs and not problems) else None,
        no_log="; ".join(problems) or Evidence.no_log,
    )
    run = Run(
        version=version(Path(__file__).resolve().parents[3]),
        id=given["run"],
        check_mode=check,
        absent=tuple(given["absent"]),
        minimum=given["minimum"],
    )
    proofs = [proof for machine in machines for proof in machine.proofs]
    results = [result for each in seen for result in each.results]
    return report(run, routes, proofs, results, evidence, files.certificates(routes, texts, given["material"]))


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
