"""The steps of a diagnosis between the tasks that look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError

from ..module_utils._plain import plain
from ..plugin_utils._filters import answer

if TYPE_CHECKING:
    from ..module_utils._nginx.read.effective import Effective


def nginx_effective(dump: Any, host: Any, path: Any = "/", port: Any = None) -> dict[str, Any]:
    """What nginx does with a request; see nginx_effective.yml."""
    from ..module_utils._nginx.read.effective import read
    from ..module_utils._nginx.read.sharing import look

    def effective(text: Any) -> Effective:
        config = read("\n".join(text) if isinstance(text, list) else str(text))
        return look(config, str(plain(host)), str(plain(path)) or "/", int(port) if port else None)

    return asdict(answer(effective, dump))


def diagnosis_paths(
    way: Any, host: Any, path: Any = "/", gateway: Any = (), port: Any = None, results: Any = None, turns: Any = False
) -> list[dict[str, Any]]:
    """What to probe first, by turns, or after ``results``; see diagnosis_paths.yml."""
    from ..module_utils._diagnose import ladder as plan

    known, addresses, seen = _way(way), _addresses(gateway), plain(results)
    if plain(turns):
        return plan.turns(known, str(plain(host)), str(plain(path)) or "/")
    if seen is None:
        return plan.first_look(known, str(plain(host)), str(plain(path)) or "/", addresses, int(plain(port)) if plain(port) else None)
    return plan.ladder(known, str(plain(host)), seen, addresses) if known else []


def diagnosis(
    way: Any,
    host: Any,
    path: Any = "/",
    results: Any = (),
    steps: Any = (),
    host_facts: Any = "",
    broken: Any = "",
    turns: Any = (),
) -> dict[str, Any]:
    """The verdict; see diagnosis.yml."""
    from ..module_utils._diagnose import hostfacts, verdict

    facts = hostfacts.facts_of(str(plain(broken)), str(plain(host_facts)))
    found = verdict.diagnose(_way(way), str(plain(host)), str(plain(path)) or "/", plain(results), plain(steps), facts, plain(turns))
    return asdict(found)


def diagnosis_text(found: Any) -> list[str]:
    """The verdict in lines; see diagnosis_text.yml."""
    from ..module_utils._diagnose import report

    return report.text(plain(found))


def _way(way: Any) -> Effective | None:
    from ..module_utils._nginx.read.effective import Effective

    known = plain(way)
    return Effective.from_dict(known) if known else None


def _addresses(gateway: Any) -> list[tuple[str, int]]:
    listed = plain(gateway) or []
    found = []
    for entry in [text.strip() for text in listed.split(",")] if isinstance(listed, str) else listed:
        address, colon, port = str(entry).rpartition(":")
        if not (colon and address and port.isdigit()):
            raise AnsibleFilterError(f"diagnose_gateway: {entry!r} is not address:port, for example 192.0.2.10:30443.")
        found.append((address.strip("[]"), int(port)))
    return found


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {
            "nginx_effective": nginx_effective,
            "diagnosis_paths": diagnosis_paths,
            "diagnosis": diagnosis,
            "diagnosis_text": diagnosis_text,
        }
