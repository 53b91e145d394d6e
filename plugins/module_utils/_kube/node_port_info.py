# SPDX-License-Identifier: GPL-3.0-or-later
"""The task behind module node_port_info: Services, their endpoints and the nodes, looked up or waited for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._errors import EdgeError
from .client import Client
from .errors import ApiError
from .node_ports import Asked, Found, describe, endpoints_lack, nodes_lack, predicted, service_lacks
from .ready import Never, Reason
from .wait import Objects, Target, follow

_SERVICE_NAME = "kubernetes.io/service-name"


class Reach:
    """One task.

    :param params: the module's options.
    :raises EdgeError: when an option can't be right.
    """

    def __init__(self, params: dict[str, Any], *, check: bool) -> None:
        self._check = check
        self._wait = params["wait"] and not check
        self._until = params["wait_for"]
        self._types = params["address_types"]
        self._node_selector = params.get("node_selector") or None
        if not params["address_types"]:
            raise EdgeError("at least one type is needed", where="address_types", fix="Give InternalIP, ExternalIP or Hostname")
        self._asked = [
            Asked(str(each["namespace"]), str(each["name"]), [str(port).strip() for port in each.get("ports") or []])
            for each in params["services"]
        ]
        self._found = [Found() for _asked in self._asked]

    def look(self, client: Client) -> list[dict[str, Any]]:
        """The results, in order.

        :raises EdgeError: names every Service, or port, that isn't there, or isn't there in time.
        """
        trouble = ""
        for namespace in dict.fromkeys(asked.namespace for asked in self._asked):
            trouble = self._services(client, namespace) or trouble
            trouble = self._slices(client, namespace) or trouble
        trouble = self._nodes(client) or trouble
        results, errors = [], []
        for asked, found in zip(self._asked, self._found):
            try:
                results.append(self._result(client, asked, found, trouble))
            except EdgeError as error:
                errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            why = " ".join(error.sentence for error in errors[:5])
            raise EdgeError(f"{len(errors)} of {len(self._asked)} Services can't be used", why=why, code=errors[0].code)
        return results

    def _result(self, client: Client, asked: Asked, found: Found, trouble: str) -> dict[str, Any]:
        if self._check and found.service is None:
            client.warn(f"{asked.title} does not exist (yet): its ports are known after apply")
            return predicted(asked)
        lacking = self._lacking(asked, found) if self._wait else ""
        if lacking and not isinstance(lacking, Never):
            why = "; ".join(part for part in (lacking, trouble) if part)
            raise EdgeError(f"timed out after {client.deadline.seconds:g} s", where=asked.title, why=why, code="TIMEOUT")
        return describe(asked, found, self._types)

    def _lacking(self, asked: Asked, found: Found) -> Reason:
        return (
            service_lacks(asked, found, self._until)
            or endpoints_lack(asked, found, self._until)
            or nodes_lack(asked, found, self._until, self._types)
        )

    def _pairs(self, namespace: str) -> list[tuple[Asked, Found]]:
        return [(asked, found) for asked, found in zip(self._asked, self._found) if asked.namespace == namespace]

    def _services(self, client: Client, namespace: str) -> str:
        pairs = self._pairs(namespace)

        def done(objects: Objects) -> bool:
            for asked, found in pairs:
                found.service = objects.get(asked.name)
            return self._settled(service_lacks(asked, found, self._until) for asked, found in pairs)

        return follow(client, Target(client.resource("Service"), namespace, {asked.name for asked, _found in pairs}), done)

    def _settled(self, reasons: Iterable[Reason]) -> bool:
        return not self._wait or all(not reason or isinstance(reason, Never) for reason in reasons)

    def _usable(self, pairs: list[tuple[Asked, Found]]) -> list[tuple[Asked, Found]]:
        """Those of which more can be found out: the rest fails by itself."""
        return [(asked, found) for asked, found in pairs if not service_lacks(asked, found, ())]

    def _slices(self, client: Client, namespace: str) -> str:
        pairs = self._usable(self._pairs(namespace))
        if not pairs:
            return ""
        labels = f"{_SERVICE_NAME} in ({','.join(sorted({asked.name for asked, _found in pairs}))})"

        def done(objects: Objects) -> bool:
            for asked, found in pairs:
                found.slices = [each for each in objects.values() if each["metadata"].get("labels", {}).get(_SERVICE_NAME) == asked.name]
            return self._settled(endpoints_lack(asked, found, self._until) for asked, found in pairs)

        try:
            return follow(client, Target(client.resource("EndpointSlice"), namespace, None, labels), done)
        except ApiError as error:
            local = any((found.service or {}).get("spec", {}).get("externalTrafficPolicy") == "Local" for _asked, found in pairs)
            if error.status != 403 or local or (self._wait and "endpoint" in self._until):
                raise
            client.warn(f"{error.what}: has_endpoint is not known")
            return ""

    def _nodes(self, client: Client) -> str:
        pairs = self._usable(list(zip(self._asked, self._found)))
        if not pairs:
            return ""

        def done(objects: Objects) -> bool:
            for _asked, found in pairs:
                found.nodes = [objects[name] for name in sorted(objects)]
            return self._settled(nodes_lack(asked, found, self._until, self._types) for asked, found in pairs)

        return follow(client, Target(client.resource("Node"), None, None, self._node_selector), done)
