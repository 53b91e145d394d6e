# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of path that there are: one line for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from .._schema.fields import meant, refuse
from .kind import Kind

#: Packages beside this file; each has a module ``kind`` with a ``KIND``.
_PACKAGES = (
    "vm_nginx",
)  # fmt: skip

KINDS: dict[str, Kind] = {name: import_module(f"{__package__}.{name}.kind").KIND for name in _PACKAGES}


def named(name: str) -> Kind:
    """:raises EdgeError: there is no such kind."""
    if name not in KINDS:
        raise refuse("kind", f"{name} is no kind of path", meant(name, KINDS))
    return KINDS[name]


@contextmanager
def registered(kind: Kind) -> Iterator[None]:
    """One kind more, for as long as this lasts."""
    KINDS[kind.name] = kind
    try:
        yield
    finally:
        del KINDS[kind.name]
