# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that Ansible itself may show: all but credentials, keys and Secrets' values.

Ansible logs a module's options to syslog and returns them as ``invocation``. It masks the exact values of ``no_log`` options, so a
key inside an option of another kind would be logged: such an option is ``no_log`` as a whole, which keeps it out of the log. But
then each word in it is starred out wherever it occurs in the result: "config" in "my-config" as well. So once the module runs, only
the secret texts in these options stay hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Optional

from ._errors import EdgeError
from ._kubeconfig import is_text, kubeconfig_content

HIDDEN = "(hidden)"
_CREDENTIALS = frozenset({"token", "password", "client-key-data", "id-token", "refresh-token", "access-token", "client-secret", "value"})
#: options that are ``no_log`` only for what is below one of these names in them
_SECRET_PARTS = {
    "kubeconfig": _CREDENTIALS,
    "definitions": frozenset[str](),
    "secrets": frozenset({"pem"}),
    "_files": frozenset({"content"}),
}


def hide(no_log_values: set[str], shown: dict[str, Any]) -> None:
    """Change what Ansible will show; for every module, as soon as it runs.

    :param no_log_values: AnsibleModule's own set: what is starred out.
    :param shown: AnsibleModule's own ``params``: what is returned as ``invocation``.
    """
    given = {name: value for name, value in shown.items() if value is not None}
    # A credential stays hidden although the same word occurs elsewhere.
    secret = {text for name in ("api_key", "password", "proxy_headers") for text in _texts(given.get(name), frozenset(), True)}
    secret &= no_log_values
    for name in given.keys() & _SECRET_PARTS.keys():
        option: Any = given[name]
        if name == "kubeconfig":
            option = _parsed(option)
            if option is None or is_text(given[name]):
                shown[name] = HIDDEN  # text: what is secret in it can't be told
            no_log_values.difference_update(_texts(given[name], frozenset(), True))
        elif name == "definitions":
            shown[name] = _without_values(option)
        hide_only(no_log_values, option, _SECRET_PARTS[name])
        secret.update(_texts(option, _SECRET_PARTS[name], False))
    no_log_values.update(secret)


def hide_only(no_log_values: set[str], option: Any, names: frozenset[str]) -> None:
    """Let Ansible mask, of all of ``option``, only what stands under one of ``names``, at whatever depth."""
    secret = set(_texts(option, names, False))
    no_log_values.difference_update(set(_texts(option, names, True)) - secret)
    no_log_values.update(secret)


def without_unknown(arguments: Mapping[str, Any], specification: Mapping[str, Any]) -> dict[str, Any]:
    """Without the values of options that there aren't: nothing says that what stands under a misspelt name is no key.

    :param arguments: what a task gave.
    :param specification: the module's argument specification.
    """
    known = {name for option, rules in specification.items() for name in (option, *rules.get("aliases", ()))}
    return {name: value if name in known else HIDDEN for name, value in arguments.items()}


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


def _parsed(kubeconfig: Any) -> Optional[Any]:
    """What a kubeconfig says; None where it is text that can't be read."""
    try:
        return kubeconfig_content(kubeconfig)
    except EdgeError:
        return None


def _without_values(definition: Any) -> Any:
    if isinstance(definition, list):
        return [_without_values(item) for item in definition]
    if not isinstance(definition, dict):
        return HIDDEN  # text: what is secret in it can't be told
    if "items" in definition:
        return {**definition, "items": _without_values(definition["items"])}
    if definition.get("kind") != "Secret":
        return definition
    # The annotations may hold a copy of it all.
    return {name: definition[name] for name in ("apiVersion", "kind", "type") if name in definition}
