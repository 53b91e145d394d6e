# SPDX-License-Identifier: GPL-3.0-or-later
"""The task behind module gateway_routes_change: what other lists have is looked at, and ours is applied, while no other run is there."""

from __future__ import annotations

from typing import Any

from .._kube import parallel
from .._kube.client import Client
from .._kube.errors import ApiError
from .._kube.k8s_objects import Objects
from .._kube.labels import FIELD_MANAGER, LIST_LABEL, MANAGED_BY, selector
from .._kube.lease import held, holder
from .._kube.manifests import Manifest
from .._lists import Owner, Run
from .._routes.reading import Reading
from .gateway_routes import ISTIO, places, prune
from .other_lists import refuse

#: Requests at a time.
_WORKERS = 6


class Change:
    """One task.

    :param params: the module's options.
    :raises EdgeError: when an option or a definition can't be right; nothing has been asked of the cluster then.
    """

    def __init__(self, params: dict[str, Any], *, check: bool, diff: bool) -> None:
        self._read = Reading.of(params["read"])
        self._check, self._judge_only = check, params["judge_only"]
        present = params["state"] == "present"
        self._run = self._read.run if present else Run.teardown(self._read.list_name)
        every_list = not present and params["all_lists"]
        self._objects = Objects(
            {
                **params,
                "definitions": params["definitions"] if present else [],
                "src": [],
                "wait": True,
                "concurrency": _WORKERS,
                "field_manager": FIELD_MANAGER,
                "list": None if every_list else self._run.list_name,
                "prune": prune(self._read, None if every_list else self._run),
            },
            check=check,
            diff=diff,
        )

    def change(self, client: Client) -> None:
        """Do it, or predict it.

        :raises EdgeError: OTHER_LIST, before anything is changed; OTHER_RUN; or when an object failed.
        """
        if self._check or self._judge_only:
            self._judge(client)
            if not self._judge_only:
                self._objects.change(client)
            return
        with held(client, places(self._read), holder(self._run.list_name)):
            self._judge(client)
            self._objects.change(client)

    def _judge(self, client: Client) -> None:
        """Refuse what another list has."""
        live: list[Manifest] = []

        def look(query: tuple[str, str]) -> None:
            namespace, kind = query
            labels = f"{LIST_LABEL}!={self._run.list_name}" + (f",{selector(MANAGED_BY)}" if kind == "VirtualService" else "")
            try:
                live.extend(client.list(kind, namespace, labels=labels, api_version=ISTIO)[0])
            except ApiError as error:
                if error.status != 404:
                    raise

        wanted = self._objects.manifests
        namespaces = places(self._read) if wanted else []
        parallel.each(look, [(namespace, kind) for namespace in namespaces for kind in ("Gateway", "VirtualService")], _WORKERS)
        refuse(self._run, self._read.routes, wanted, live)

    def result(self) -> dict[str, Any]:
        """As k8s_objects returns it, and ``gone``."""
        if self._judge_only:
            return {"changed": False, "results": [], "gone": []}
        result = self._objects.result()
        went = [each for each in result["results"] if each.get("route") and each["changed"]]
        owners = {(Owner(each["list"], each["route"]), each["namespace"]) for each in went}
        gone = [f"{owner} in namespace {namespace}" for owner, namespace in sorted(owners) if owner.route not in self._run.present]
        return {**result, "gone": gone}
