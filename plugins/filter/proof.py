"""From routes to proofs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..plugin_utils._filters import answer


def proof_files(routes: Any, material: Any = "/etc/edgemesh/tls") -> list[str]:
    """The command that reads a VM's certificates; see proof_files.yml."""
    found: list[str] = _do("command", routes, material)
    return found


def proof_plan(routes: Any, **options: Any) -> dict[str, Any]:
    """Proofs and probes for one VM; see proof_plan.yml."""
    found: dict[str, Any] = _do("planned", routes, options)
    return found


def _do(name: str, *arguments: Any) -> Any:
    from ..module_utils._proof import entry
    from ..module_utils._x509 import library

    answer(library.require)
    return answer(getattr(entry, name), *arguments)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"proof_files": proof_files, "proof_plan": proof_plan}
