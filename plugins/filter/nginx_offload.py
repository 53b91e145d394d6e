"""Filters that stand between a user's values and nginx's configuration."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._errors import EdgeError
from ..module_utils._nginx import values
from ..module_utils._nginx.offload import Settings, as_dict, offload
from ..module_utils._plain import plain


def nginx_offload(
    routes: Any,
    upstreams: Any = None,
    nginx_version: Any = "",
    material: Any = "/etc/edgemesh/tls",
    acme_webroot: Any = "",
    ipv6: Any = True,
    check: Any = False,
) -> dict[str, Any]:
    """What the role's template writes; see nginx_offload.yml."""
    try:
        settings = Settings(
            version=str(plain(nginx_version) or ""),
            material=plain(material),
            acme_webroot=plain(acme_webroot) or "",
            ipv6=values.boolean(plain(ipv6), "ipv6"),
            check=values.boolean(plain(check), "check"),
        )
        addresses = plain(upstreams) or {}
        return as_dict(offload(plain(routes), json.loads(addresses) if isinstance(addresses, str) else addresses, settings))
    except EdgeError as error:
        raise AnsibleFilterError(error.sentence) from None


def nginx_value(value: Any, kind: Any, where: Any = "") -> str:
    """One value checked as the given kind; see nginx_value.yml."""
    try:
        check = values.TYPES[values.choice(plain(kind), "nginx_value", sorted(values.TYPES))]
        return check(plain(value), str(plain(where)))
    except EdgeError as error:
        raise AnsibleFilterError(error.sentence) from None


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"nginx_offload": nginx_offload, "nginx_value": nginx_value}
