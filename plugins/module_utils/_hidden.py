"""What Ansible may show of an option that holds secret text somewhere inside.

Ansible logs options to syslog, nested ones by their representation, in which newlines are written as backslash and n: its masking
of exact values misses a key there. Such an option is therefore ``no_log`` as a whole, which keeps it out of the log. But then each
word in it would be starred out of all results; so once the module runs, only the secret texts stay hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def hide_only(no_log_values: set[str], option: Any, names: frozenset[str]) -> None:
    """Let Ansible mask, of all of ``option``, only what stands under one of ``names``, at whatever depth.

    :param no_log_values: AnsibleModule's own set.
    """
    secret = set(_texts(option, names, False))
    no_log_values.difference_update(set(_texts(option, names, True)) - secret)
    no_log_values.update(secret)


def _texts(value: Any, names: frozenset[str], inside: bool) -> Iterator[str]:
    """Every scalar as text; without ``inside`` only those below one of ``names``."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, names, inside or name in names)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, names, inside)
    elif inside and value is not None and not isinstance(value, bool):
        yield str(value)
