"""The controller's half of edge_probe: what the host saw is judged here, where the certificate tools are."""

from __future__ import annotations

from typing import Any

from ..module_utils._errors import EdgeError
from ..module_utils._probe import spec
from ..module_utils._probe.foreign import foreign_certificate
from ..module_utils._probe.judge import Trust, result
from ..module_utils._probe.observation import Observation
from ..plugin_utils._action import EdgeAction


class ActionModule(EdgeAction):
    """See the module edge_probe."""

    ARGUMENTS = spec.OPTIONS

    def work(self, params: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Probe from the task's host, judge here."""
        paths = _paths(params["paths"])
        if any(path.tls and path.tls.client and path.tls.client.foreign for path in paths):
            params["foreign_certificate"] = foreign_certificate()
        raw = self.module("edgemesh.nginx_istio.edge_probe", _given(params), task_vars)
        if raw.get("failed") or "observations" not in raw:
            return raw
        vantage = str(self._task.delegate_to or task_vars.get("inventory_hostname", ""))
        results = [
            result(path, [Observation.from_dict(each) for each in seen], _trust(path, raw["ca_files"]), vantage)
            for path, seen in zip(paths, raw["observations"])
        ]
        bad = [each for each in results if not each["ok"]]
        answer: dict[str, Any] = {"changed": False, "results": results, "ok": not bad, "python": raw["python"]}
        if bad:
            answer["msg"] = "; ".join(f"{each['name']}: {each['code']}: {each['sentence']}" for each in bad)
            answer["failed"] = bool(params["fail"])
        return answer


def _given(value: Any) -> Any:
    """The same without None: an option that was not given must not reach the module as one that was."""
    if isinstance(value, dict):
        return {key: _given(item) for key, item in value.items() if item is not None}
    return [_given(item) for item in value] if isinstance(value, list) else value


def _paths(options: list[dict[str, Any]]) -> list[spec.Path]:
    paths, names = [], set()
    for number, entry in enumerate(options):
        where = f"paths[{number}] ({entry['name']})"
        try:
            paths.append(spec.path(entry))
        except ValueError as error:
            raise EdgeError("the path can't be probed", where=where, why=str(error), fix="Correct this entry.") from None
        if entry["name"] in names:
            raise EdgeError("another path has the same name", where=where, fix="Give every path a name of its own.")
        names.add(entry["name"])
    return paths


def _trust(path: spec.Path, ca_files: dict[str, dict[str, str]]) -> Trust:
    if path.tls is None:
        return Trust()
    if path.tls.ca_pem:
        return Trust(pem=path.tls.ca_pem)
    if not path.tls.ca_file:
        return Trust()
    read = ca_files.get(path.tls.ca_file, {})
    error = read.get("error", "")
    return Trust(pem=read.get("pem", ""), error=f"{path.tls.ca_file}: {error}" if error else "")
