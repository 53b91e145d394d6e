# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of value that the schema's fields hold: nginx's typed values, and Kubernetes' names."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .. import _values as values
from .fields import Kind, mapping, quoted, refuse, text, wrong_type


def typed(check: Callable[[Any, str], Any], wanted: str, convert: Callable[[Any], Any] = str) -> Kind:
    """A kind from one of nginx's typed values."""

    def kind(value: Any, where: str) -> Any:
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise wrong_type(value, where, wanted)
        return convert(check(value.strip() if isinstance(value, str) else value, where))

    return kind


def matching(pattern: str, what: str, fix: str) -> Kind:
    """A text that is all of this pattern."""
    whole = re.compile(pattern)

    def kind(value: Any, where: str) -> str:
        word = text(value, where)
        if not whole.fullmatch(word):
            raise refuse(where, f"{quoted(word)} is not {what}", fix)
        return word

    return kind


port = typed(values.port, "a port", int)
concrete_host = typed(values.hostname, "a host name")
host = typed(lambda value, where: values.hostname(value, where, wildcard=True), "a host name")
host_port = typed(values.endpoint, "an address with a port")
file_path = typed(values.file_path, "an absolute path")
url_path = typed(values.url_path, "a URL path")
duration = typed(values.duration, "a duration")
size = typed(values.size, "a size")
rate = typed(values.rate, "a rate")

_LOWER = "Write lower-case letters, digits and -, starting and ending with a letter or digit"
dns_label = matching(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "a name that Kubernetes takes (at most 63 characters)", _LOWER)
object_name = matching(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "the name of a Kubernetes object", _LOWER)
# stands in names of objects and files after a prefix of ours
name = matching(
    r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", "a name (at most 40 characters)", "Write lower-case letters, digits and -, starting with a letter"
)
group = matching(r"[A-Za-z_][A-Za-z0-9_]{0,62}", "the name of an inventory group", "Write letters, digits and _")
service_port = matching(
    r"[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?", "the name or number of a Service's port", "Write it as the Service does, such as https or 443"
)
namespaced_name = matching(
    r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "namespace/name", "Write it as istio-system/public-gateway"
)


def credential(value: Any, where: str) -> str:
    """The name of a gateway's Secret."""
    word: str = object_name(value, where)
    if word.endswith("-cacert"):
        raise refuse(where, f"{quoted(word)} ends in -cacert, which Istio takes for the CA of another credential", "Choose another name")
    return word


def labels(value: Any, where: str) -> dict[str, str]:
    """Kubernetes labels."""
    return {text(key, where): text(item, f"{where}.{key}") for key, item in mapping(value, where).items()}
