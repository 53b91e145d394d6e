# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads plain data into dataclasses: coerces, fills in defaults, and refuses with the entry and the field named.

A survey, an extra variable or a template may hand over any value as text, so every kind accepts its text form. ``None``
and ``""`` mean "not given".
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .. import _values as values
from .._errors import EdgeError
from .._quoted import KEY, may_be_key

T = TypeVar("T")
#: a value as given and where it stands -> the typed value, or EdgeError
Kind = Callable[[Any, str], Any]

# Stands in for "no default": dataclasses let a field without one follow others only with kw_only, which Python 3.9 lacks.
REQUIRED: Any = object()


def of(kind: Kind, default: Any = REQUIRED) -> Any:
    """A dataclass field of this kind; without a default it must be given."""
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=default.copy, metadata={"kind": kind})  # pylint: disable=invalid-field-call
    return dataclasses.field(default=default, metadata={"kind": kind})  # pylint: disable=invalid-field-call


def given(value: Any) -> bool:
    """Whether a value says anything at all."""
    return value is not None and not (isinstance(value, str) and not value.strip())


def refuse(where: str, what: str, fix: str = "", why: str = "") -> EdgeError:
    """The error for a value that can't be used."""
    return EdgeError(what, where=where, why=why, fix=fix, code="BAD_ROUTE")


def wrong_type(value: Any, where: str, wanted: str) -> EdgeError:
    """Names the class of the value, not the value: it could be anything."""
    return refuse(where, f"is {class_of(value)}, must be {wanted}")


def class_of(value: Any) -> str:
    """What a YAML author would call the value."""
    names: tuple[tuple[Any, str], ...] = (
        (type(None), "empty"), (bool, "a boolean"), (int, "an integer"), (float, "a number"), (str, "a text"),
        (Mapping, "a dictionary"), ((list, tuple), "a list"),
    )  # fmt: skip
    return next((name for kind, name in names if isinstance(value, kind)), type(value).__name__)


def quoted(value: Any) -> str:
    """The value for an error message; shortened, and never key material."""
    text = str(value)
    if may_be_key(text):
        return KEY
    return json.dumps(text if len(text) <= 80 else text[:77] + "...", ensure_ascii=False)


def meant(word: str, known: Any) -> str:
    """A "did you mean" sentence for a misspelt word, or the list of what is known."""
    close = difflib.get_close_matches(str(word), [str(name) for name in known], n=1, cutoff=0.6)
    return f"Did you mean {close[0]}?" if close else f"Known are: {', '.join(str(name) for name in known)}"


# Kinds


def text(value: Any, where: str) -> str:
    """A text of one line; numbers are taken as written."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise wrong_type(value, where, "a text")
    result = str(value).strip()
    if any(not char.isprintable() for char in result):
        raise refuse(where, f"{quoted(result)} holds a control character or a line break")
    return result


def boolean(value: Any, where: str) -> bool:
    """true/false, yes/no, on/off, 1/0, in any case."""
    if not isinstance(value, (bool, str, int)):
        raise wrong_type(value, where, "a boolean")
    return values.boolean(value.strip() if isinstance(value, str) else value, where)


def integer(low: int, high: int) -> Kind:
    """A whole number from ``low`` to ``high``."""

    def kind(value: Any, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise wrong_type(value, where, "a whole number")
        return int(values.integer(value.strip() if isinstance(value, str) else value, where, low, high))

    return kind


def choice(*words: str) -> Kind:
    """One of these words."""

    def kind(value: Any, where: str) -> str:
        word = text(value, where)
        if word not in words:
            raise refuse(where, f"{quoted(word)} is not one of {', '.join(words)}", meant(word, words) if word else "")
        return word

    return kind


def list_of(kind: Kind, some: bool = False) -> Kind:
    """A list; as text: JSON, or entries separated by commas or line breaks. ``some``: at least one entry."""

    def read_list(value: Any, where: str) -> list[Any]:
        entries = value
        if isinstance(value, str):
            entries = from_json(value, where) if value.lstrip().startswith("[") else value.replace("\n", ",").split(",")
            entries = [entry for entry in entries if given(entry)]
        if isinstance(entries, Mapping) or not isinstance(entries, (list, tuple)):
            raise wrong_type(value, where, "a list")
        if some and not entries:
            raise refuse(where, "is an empty list", "Give at least one entry")
        return [kind(entry, f"{where}[{index}]") for index, entry in enumerate(entries)]

    return read_list


def mapping(value: Any, where: str) -> dict[str, Any]:
    """A dictionary, or JSON text of one, taken as it is."""
    data = from_json(value, where) if isinstance(value, str) else value
    if not isinstance(data, Mapping):
        raise wrong_type(value, where, "a dictionary")
    # An unquoted key "on" is a boolean in YAML 1.1.
    return {"on" if key is True else str(key): item for key, item in data.items()}


def from_json(value: str, where: str) -> Any:
    """The value of a JSON text."""
    try:
        return json.loads(value)
    except ValueError as error:
        place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise refuse(where, f"is a text that is not valid JSON{place}", "Give a list or dictionary, or its JSON text") from None


def nested(schema: type[Any]) -> Kind:
    """An entry of its own dataclass; a text is what the schema's ``shorthand`` makes of it, or JSON."""

    def kind(value: Any, where: str) -> Any:
        return read(schema, value, where)

    return kind


def read(schema: type[T], value: Any, where: str) -> T:
    """One entry. The schema may have ``shorthand(value) -> dict`` for values that aren't dictionaries and ``finished(where)``.

    :raises EdgeError: for an unknown or missing key, or a value that its kind refuses.
    """
    shorthand = getattr(schema, "shorthand", None)
    if shorthand and not isinstance(value, Mapping) and not (isinstance(value, str) and value.lstrip().startswith("{")):
        value = shorthand(value, where)
    data = mapping(value, where)
    known = {item.name: item for item in dataclasses.fields(schema)}  # type: ignore[arg-type]
    for key in data:
        if key not in known:
            raise refuse(f"{where}.{key}", "is not a known key", meant(key, known))
    made = {}
    for name, item in known.items():
        if given(data.get(name)):
            made[name] = item.metadata["kind"](data[name], f"{where}.{name}")
        elif item.default is REQUIRED:
            raise refuse(f"{where}.{name}", "is missing")
    entry: Any = schema(**made)
    return entry.finished(where) if hasattr(entry, "finished") else entry  # type: ignore[no-any-return]
