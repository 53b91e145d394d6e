# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that look like ours and are not: a survey's typing error must not be a setting that silently isn't there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from .._schema.fields import refuse
from .reading import VARIABLES

#: What the playbooks ask for beside the list of routes.
PLAYBOOKS = (
    "edge_controller", "edge_kubeconfig", "edge_context", "edge_vms", "edge_become", "edge_serial", "edge_install_istio", "edge_demo_app",
    "edge_remove_ca", "edge_all_lists",
)  # fmt: skip
KNOWN = frozenset((*VARIABLES, *PLAYBOOKS))
# An inventory may have its own edge_* variables. A name that differs from ours in one or two letters is a misspelling.
_CLOSE = 0.8


def check(names: Iterable[str]) -> None:
    """Refuses the first variable whose name is nearly one of ours.

    :raises EdgeError: naming the variable and what was probably meant.
    """
    for name in sorted(names):
        if name.startswith("edge_") and not name.startswith("edge__") and name not in KNOWN:
            close = difflib.get_close_matches(name, KNOWN, n=1, cutoff=_CLOSE)
            if close:
                raise refuse(
                    name, "is no variable of this collection, so it would have no effect",
                    f"Did you mean {close[0]}? If it is your own, choose a name that doesn't begin with edge_",
                )  # fmt: skip
