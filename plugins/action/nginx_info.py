# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx_info as a whole: one command of the host's shell, read here."""

from __future__ import annotations

from typing import Any

from ..module_utils._nginx import nginx_info as host
from ..plugin_utils._action import EdgeAction

ARGUMENTS: dict[str, Any] = {"binary": {"type": "str", "default": "nginx"}, "name": {"type": "str", "default": "edgemesh"}}


class ActionModule(EdgeAction):
    """See the module nginx_info."""

    ARGUMENTS = ARGUMENTS

    def work(self, params: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Ask, and read the answers."""
        asked = host.questions(params["binary"], params["name"])
        done = self._low_level_execute_command(f"{self._compute_environment_string()} {asked.text()}".strip())
        found = host.read(asked.answers(done["stdout"]))
        return {
            "changed": False,
            "installed": bool(found.build),
            "version": found.version,
            "build": found.build,
            "os_family": found.os_family,
            "ipv6_addresses": list(found.ipv6_addresses),
            "name_servers": list(found.name_servers),
            "selinux": found.selinux,
            "parts": list(found.parts),
        }
