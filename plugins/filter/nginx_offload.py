# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that stand between a user's values and nginx's configuration."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ..module_utils._plain import plain
from ..plugin_utils._filters import answer


def nginx_offload(
    read: Any,
    groups: Any,
    upstreams: Any = None,
    nginx_build: Any = "",
    parts: Any = (),
    material: Any = "",
    acme_webroot: Any = "",
    ipv6: Any = True,
    resolvers: Any = (),
    resolved: Any = None,
    inner_port: Any = 488,
    refuse_unknown_hosts: Any = True,
    access_log: Any = "/var/log/nginx/edgemesh.log",
    export: Any = True,
    probe_path: Any = "/",
    extra_files: Any = (),
    check: Any = False,
    state: Any = "present",
) -> str:
    """What the role's templates write; see nginx_offload.yml."""
    from ..module_utils import _values as values
    from ..module_utils._nginx.write.blocks import Settings
    from ..module_utils._nginx.write.host import for_host
    from ..module_utils._routes.places import TLS_DIR
    from ..plugin_utils._reading import reading

    def make() -> str:
        absent = values.choice(plain(state), "state", ("present", "absent")) == "absent"
        own = [groups] if isinstance(groups, str) else [str(group) for group in plain(groups) or []]
        settings = Settings(
            build=str(plain(nginx_build) or ""),
            material=plain(material) or TLS_DIR,
            acme_webroot=plain(acme_webroot) or "",
            ipv6=values.boolean(plain(ipv6), "ipv6"),
            resolvers=_given(resolvers) or [],
            resolved={one["item"]: _addresses(one.get("stdout", "")) for one in plain(resolved) or []},
            inner_port=plain(inner_port),
            refuse_unknown=values.boolean(plain(refuse_unknown_hosts), "refuse_unknown_hosts"),
            access_log=plain(access_log),
            export=values.boolean(plain(export), "export"),
            probe_path=str(plain(probe_path)),
            check=values.boolean(plain(check), "check"),
        )
        there, extra = plain(parts) or [], _given(extra_files) or []
        return json.dumps(for_host(reading(read), own, there, _given(upstreams) or {}, settings, extra, absent))

    return str(answer(make))


def nginx_offload_parts(plan: Any, written: Any) -> list[dict[str, Any]]:
    """What module nginx_config takes; see nginx_offload_parts.yml."""
    from ..module_utils._nginx.write.parts import parts

    made: list[dict[str, Any]] = answer(lambda text: parts(json.loads(text), str(plain(written))), plan)
    return made


def nginx_offload_probes(plan: Any, path: Any = "/") -> list[dict[str, Any]]:
    """What to ask on the host itself; see nginx_offload_probes.yml."""
    from ..module_utils._nginx.write.probes import probes

    found: list[dict[str, Any]] = answer(lambda text: probes(json.loads(text), str(plain(path))), plan)
    return found


def _given(value: Any) -> Any:
    """A list or dictionary, also as JSON text."""
    made = plain(value)
    return json.loads(made) if isinstance(made, str) and made.strip() else made


def _addresses(printed: str) -> list[str]:
    """The addresses that ``getent ahosts`` prints, each once; a link-local one can't be written into a configuration."""
    found = [line.split()[0] for line in printed.splitlines() if line.strip()]
    return [address for address in dict.fromkeys(found) if "%" not in address]


def nginx_value(value: Any, kind: Any, where: Any = "") -> str:
    """One value checked as the given kind; see nginx_value.yml."""
    from ..module_utils import _values as values

    known = answer(values.choice, kind, "nginx_value", sorted(values.TYPES))
    return str(answer(values.TYPES[known], value, str(where)))


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {
            "nginx_offload": nginx_offload,
            "nginx_offload_parts": nginx_offload_parts,
            "nginx_offload_probes": nginx_offload_probes,
            "nginx_value": nginx_value,
        }
