# SPDX-License-Identifier: GPL-3.0-or-later
"""A few things at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")


def each(work: Callable[[Item], Any], items: Collection[Item], workers: int) -> None:
    """Call ``work`` for every item, at most ``workers`` at once; all are done when this returns.

    :raises Exception: the first item's (in order) that failed.
    """
    if len(items) <= 1 or workers <= 1:
        for item in items:
            work(item)
        return
    with ThreadPoolExecutor(max_workers=min(workers, len(items))) as pool:
        for future in [pool.submit(work, item) for item in items]:
            future.result()
