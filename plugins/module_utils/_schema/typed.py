# SPDX-License-Identifier: GPL-3.0-or-later
"""Dataclasses that were read once, between tasks: to plain data and back, without checking again what was checked."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, Union

T = TypeVar("T")
_NONE = type(None)


def build(schema: type[T], data: Mapping[str, Any]) -> T:
    """What ``dataclasses.asdict`` made of an entry of ``schema``, as that entry again.

    :param data: may hold more keys than the schema has fields; these are left out.
    """
    makers: dict[str, Callable[[Any], Any]] = _makers(schema)  # type: ignore[arg-type]
    return schema(**{name: make(data[name]) for name, make in makers.items() if name in data})


@functools.cache
def _makers(schema: type[Any]) -> dict[str, Callable[[Any], Any]]:
    hints = typing.get_type_hints(schema)
    return {field.name: _maker(hints[field.name]) for field in dataclasses.fields(schema)}


def _maker(hint: Any) -> Callable[[Any], Any]:
    if dataclasses.is_dataclass(hint):
        return functools.partial(build, typing.cast(type[Any], hint))
    inner = [each for each in typing.get_args(hint) if each is not _NONE]
    if typing.get_origin(hint) is Union and len(inner) == 1:
        make = _maker(inner[0])
        return lambda value: None if value is None else make(value)
    if typing.get_origin(hint) is list and dataclasses.is_dataclass(inner[0]):
        make = _maker(inner[0])
        return lambda value: [make(each) for each in value]
    return lambda value: value
