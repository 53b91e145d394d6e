# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that stand between a user's values and nginx's configuration."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ..module_utils._errors import EdgeError
from ..module_utils._plain import plain
from ..plugin_utils._filters import answer


def nginx_offload(
    read: Any,
    groups: Any,
    upstreams: Any = None,
    nginx_build: Any = "",
    material: Any = "",
    acme_webroot: Any = "",
    ipv6: Any = True,
    resolvers: Any = (),
    resolved: Any = None,
    inner_port: Any = 488,
    check: Any = False,
    state: Any = "present",
) -> str:
    """What the role's templates write; see nginx_offload.yml."""
    from ..module_utils import _values as values
    from ..module_utils._nginx.write.blocks import Settings
    from ..module_utils._nginx.write.offload import as_dict, offload
    from ..module_utils._routes.places import TLS_DIR
    from ..plugin_utils._reading import reading

    def make() -> str:
        absent = values.choice(plain(state), "state", ("present", "absent")) == "absent"
        own = [groups] if isinstance(groups, str) else [str(group) for group in plain(groups) or []]
        wanted = [route for route in reading(read).routes if route.on in own]
        if not wanted and not absent:
            raise EdgeError(
                "none of the routes is for this host",
                where="edge_routes",
                why=f"its groups are {', '.join(own)}" if own else "",
                fix="Set `on` of a route to one of its groups, or nginx_offload_state to absent",
                code="BAD_ROUTE",
            )
        settings = Settings(
            build=str(plain(nginx_build) or ""),
            material=plain(material) or TLS_DIR,
            acme_webroot=plain(acme_webroot) or "",
            ipv6=values.boolean(plain(ipv6), "ipv6"),
            resolvers=_given(resolvers) or [],
            resolved={one["item"]: _addresses(one.get("stdout", "")) for one in plain(resolved) or []},
            inner_port=plain(inner_port),
            check=absent or values.boolean(plain(check), "check"),
        )
        return json.dumps(as_dict(offload(wanted, _given(upstreams) or {}, settings)))

    return str(answer(make))


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
        return {"nginx_offload": nginx_offload, "nginx_offload_probes": nginx_offload_probes, "nginx_value": nginx_value}
