"""From routes to proofs, from what was seen to the report, from the report to a page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from cryptography.hazmat.primitives.serialization import Encoding

from ..module_utils._errors import EdgeError
from ..module_utils._plain import plain
from ..module_utils._proof import configured, files
from ..module_utils._proof.checks import NEGATIVE, POSITIVE
from ..module_utils._proof.html import page
from ..module_utils._proof.judge import Evidence
from ..module_utils._proof.model import Machine, Options
from ..module_utils._proof.plan import plan, probes
from ..module_utils._proof.report import Run, report
from ..module_utils._x509.sign import new_ca

MATERIAL = "/etc/edgemesh/tls"


def proof_files(routes: Any, material: Any = MATERIAL) -> list[str]:
    """The command that reads a VM's certificates; see proof_files.yml."""
    paths = files.paths(plain(routes), plain(material))
    return [*files.COMMAND, *paths] if paths else []


def proof_plan(routes: Any, **options: Any) -> dict[str, Any]:
    """Proofs and probes for one VM; see proof_plan.yml."""
    given, entries = plain(options), plain(routes)
    material = given.get("material") or MATERIAL
    found = files.read(given.get("files") or "")
    nginx, unknown = configured.upstreams(entries, given.get("nginx") or "")
    machine = Machine(
        name=given["vm"],
        address=given["address"],
        gateways=given.get("gateways") or {},
        nginx=nginx,
        nginx_unknown=unknown,
        trust=files.trust(entries, found, material, given.get("front_ca") or ""),
        tls_dir=material,
    )
    wanted = Options(
        run=given["run"],
        foreign_ca=new_ca("edgemesh nobody", 1).certs[0].public_bytes(Encoding.PEM).decode(),
        client_ca_file=given.get("client_ca_file") or Options.client_ca_file,
        repeat=int(given.get("repeat") or Options.repeat),
        echo_path=given.get("echo_path") or "",
        websocket_path=given.get("websocket_path") or "",
    )
    try:
        planned = plan(entries, machine, given.get("clients") or [], wanted)
    except EdgeError as error:
        raise AnsibleFilterError(error.sentence) from None
    return {"proofs": [proof.as_dict() for proof in planned], "probes": probes(planned)}


def proof_report(
    routes: Any,
    seen: Any,
    run: Any = "",
    log: Any = None,
    addresses: Any = None,
    absent: Any = (),
    check: Any = False,
    minimum: Any = None,
    material: Any = MATERIAL,
) -> dict[str, Any]:
    """The model of proof.json; see proof_report.yml."""
    entries, machines, logs = plain(routes), plain(seen), plain(log) or []
    texts = {machine["vm"]: files.read(machine.get("files") or "") for machine in machines}
    problems = [problem for each in logs for problem in each["problems"]]
    lines = [line for each in logs for line in each["lines"]]
    evidence = Evidence(
        fingerprints={vm: files.fingerprints(each) for vm, each in texts.items()},
        addresses=plain(addresses) or {},
        trouble={vantage: text for machine in machines for vantage, text in (machine.get("trouble") or {}).items()},
        log=lines if lines or (logs and not problems) else None,
        **({"no_log": "; ".join(problems)} if problems else {}),
    )
    needed = {kind: int((plain(minimum) or {}).get(kind, least)) for kind, least in ((POSITIVE, 5), (NEGATIVE, 6))}
    about = Run(version=_version(), id=str(plain(run)), check_mode=bool(plain(check)), absent=tuple(plain(absent)), minimum=needed)
    proofs = [proof for machine in machines for proof in machine["proofs"]]
    results = [result for machine in machines for result in machine["results"]]
    return report(about, entries, proofs, results, evidence, files.certificates(entries, texts, plain(material)))


def proof_html(model: Any) -> str:
    """proof.html; see proof_html.yml."""
    return page(plain(model))


def _version() -> str:
    """The collection's version: from its manifest where it is installed, from galaxy.yml in a checkout."""
    root = Path(__file__).resolve().parents[2]
    manifest = root / "MANIFEST.json"
    if manifest.is_file():
        return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    lines = (root / "galaxy.yml").read_text(encoding="utf-8").splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith("version:"))


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"proof_files": proof_files, "proof_html": proof_html, "proof_plan": proof_plan, "proof_report": proof_report}
