"""What Ansible itself may show of a task's options: all but credentials and Secrets' values.

Ansible logs a module's options and returns them as ``invocation``. An option declared ``no_log`` escapes that, but then each
word in it is starred out wherever it occurs, in any result: "config" in "my-config" as well. So kubeconfig and definitions
are declared ``no_log``, for the log, and once the module runs only what is secret in them stays hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._errors import EdgeError
from .diff import HIDDEN
from .kubeconfig import is_text, kubeconfig_content

_CREDENTIALS = frozenset({"token", "password", "client-key-data", "id-token", "refresh-token", "access-token", "client-secret", "value"})


def unhide(no_log_values: set[str], shown: dict[str, Any]) -> None:
    """Change what Ansible will show.

    :param no_log_values: AnsibleModule's own set: what is starred out.
    :param shown: AnsibleModule's own ``params``: what is returned as ``invocation``.
    """
    config = shown.get("kubeconfig")
    if config is not None:
        no_log_values.difference_update(_strings(config))
        try:
            no_log_values.update(_credentials(kubeconfig_content(config)))
        except EdgeError:
            shown["kubeconfig"] = HIDDEN  # broken text, secrets and all
        else:
            if is_text(config):
                shown["kubeconfig"] = HIDDEN
    definitions = shown.get("definitions")
    if definitions is not None:
        no_log_values.difference_update(_strings(definitions))
        shown["definitions"] = _without_values(definitions)


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


def _credentials(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, (dict, list)):
                yield from _credentials(item)
            elif item is not None and name in _CREDENTIALS:
                yield str(item)
    elif isinstance(value, list):
        for item in value:
            yield from _credentials(item)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif value is not None:
        yield str(value)
