"""What the filters do, on plain data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import configured, files
from .checks import NEGATIVE, POSITIVE
from .html import page
from .judge import Evidence
from .model import Machine, Options
from .plan import plan, probes, turns
from .report import Run, report

MATERIAL = "/etc/edgemesh/tls"


def command(routes: list[dict[str, Any]], material: str) -> list[str]:
    """The command that prints the certificates of a VM's files; [] when there are none."""
    paths = files.paths(routes, material)
    return [*files.COMMAND, *paths] if paths else []


def planned(routes: list[dict[str, Any]], given: dict[str, Any]) -> dict[str, Any]:
    """Proofs and probes for one VM.

    :param given: the options of filter proof_plan.
    """
    material = given.get("material") or MATERIAL
    found = files.read(given.get("files") or "")
    echo_path = given.get("echo_path") or ""
    nginx = configured.read(routes, "\n".join(given.get("nginx") or []), echo_path)
    machine = Machine(
        name=given["vm"],
        address=given["address"],
        gateways=given.get("gateways") or {},
        nginx=nginx.upstreams,
        nginx_unknown=nginx.unknown,
        turns=nginx.turns,
        trust=files.trust(routes, found, material, given.get("front_ca") or ""),
        tls_dir=material,
    )
    options = Options(
        run=given["run"],
        foreign_ca=_foreign_ca(),
        client_ca_file=given.get("client_ca_file") or Options.client_ca_file,
        repeat=int(given.get("repeat") or Options.repeat),
        echo_path=echo_path,
        websocket_path=given.get("websocket_path") or "",
    )
    proofs = plan(routes, machine, given.get("clients") or [], options)
    return {"proofs": [proof.as_dict() for proof in proofs], "probes": probes(proofs), "turns": turns(proofs)}


def reported(routes: list[dict[str, Any]], machines: list[dict[str, Any]], given: dict[str, Any]) -> dict[str, Any]:
    """The model of proof.json.

    :param machines: what each VM has seen.
    :param given: the other options of filter proof_report.
    """
    logs = given.get("log") or []
    texts = {machine["vm"]: files.read(machine.get("files") or "") for machine in machines}
    problems = [problem for each in logs for problem in each["problems"]]
    lines = [line for each in logs for line in each["lines"]]
    evidence = Evidence(
        fingerprints={vm: files.fingerprints(each) for vm, each in texts.items()},
        trouble={vantage: text for machine in machines for vantage, text in (machine.get("trouble") or {}).items()},
        log=lines if lines or (logs and not problems) else None,
        no_log="; ".join(problems) or Evidence.no_log,
    )
    minimum = given.get("minimum") or {}
    run = Run(
        version=version(Path(__file__).resolve().parents[3]),
        id=str(given.get("run") or ""),
        check_mode=bool(given.get("check")),
        absent=tuple(given.get("absent") or ()),
        minimum={kind: int(minimum.get(kind, least)) for kind, least in ((POSITIVE, 5), (NEGATIVE, 6))},
    )
    proofs = [proof for machine in machines for proof in machine["proofs"]]
    results = [result for machine in machines for result in machine["results"]]
    shown = files.certificates(routes, texts, given.get("material") or MATERIAL)
    return report(run, routes, proofs, results, evidence, shown)


def drawn(model: dict[str, Any]) -> str:
    """proof.html."""
    return page(model)


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
