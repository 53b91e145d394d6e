# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx does with a request; see nginx_effective.yml."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

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


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"nginx_effective": nginx_effective}
