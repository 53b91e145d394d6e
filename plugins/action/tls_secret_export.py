# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of tls_secret_export that works on the controller: it reads the Secrets; the module of the same name writes the files."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display

from ..module_utils._errors import EdgeError
from ..module_utils._kube import parallel
from ..module_utils._kube.connection import connect
from ..module_utils._kube.errors import ApiError
from ..module_utils._secrets import tls_secret_export as export
from ..module_utils._x509 import library
from ..modules.tls_secret_export import ARGUMENTS
from ..plugin_utils._action import EdgeAction
from ..plugin_utils._transport import refuse_leaky_transport

MODULE = "edgemesh.nginx_istio.tls_secret_export"
#: requests at once, and how many on one connection are faster than a second one
READERS, IN_A_ROW = 6, 8
KNOWN_LATER = "(known after apply)"


class ActionModule(EdgeAction):
    """Tells the host digests first, and contents only of files that it has to write."""

    ARGUMENTS = ARGUMENTS

    def work(self, params: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Read, compare on the host, write there, and describe."""
        library.require()
        listed = export.exports(params["exports"])
        if params["state"] == "present":
            if any(file.part == "key" for each in listed for file in each.files):
                refuse_leaky_transport(self)
            self._fill(listed, params)
        answer = self._ask(params, [export.instruction(each, file, False) for each in listed for file in each.files], task_vars)
        needed, restored = set(answer.get("needed") or []), answer["restored"]
        if needed:
            files = [export.instruction(each, file, file.path in needed) for each in listed for file in each.files]
            answer = self._ask(params, files, task_vars)
            if answer.get("needed"):
                raise EdgeError("files changed on the host while they were compared", fix="Run the task again", code="RACE")
        state = {each["path"]: {**each, "changed": each["changed"] or each["path"] in restored} for each in answer["files"]}
        return {**self._result(listed, state, params["state"] == "present"), "restored": restored}

    def _fill(self, listed: list[Any], params: dict[str, Any]) -> None:
        client = connect(params)
        secrets: dict[Any, Any] = {}

        def get(ref: Any) -> None:
            try:
                secrets[ref] = client.get("Secret", ref.name, ref.namespace)
            except EdgeError as error:
                secrets[ref] = error

        wanted = list(dict.fromkeys(each.ref for each in listed))
        parallel.each(get, wanted, min(READERS, 1 + len(wanted) // IN_A_ROW))
        errors: list[EdgeError] = []
        for each in listed:
            try:
                secret = secrets[each.ref]
                if isinstance(secret, EdgeError):
                    raise secret
                if secret is not None:
                    for finding in export.fill(each, secret):
                        Display().warning(f"Secret {each.ref}: {finding.code}: {finding.sentence}")
                elif not self.check_mode:
                    raise EdgeError(
                        "the Secret does not exist",
                        where=f"Secret {each.ref}",
                        fix="Make it first (edgemesh.nginx_istio.tls_secret), or correct namespace and name",
                        code="SECRET_MISSING",
                    )
            except EdgeError as error:
                if isinstance(error, ApiError) and error.status != 403:
                    raise  # it would be the same for all
                errors.append(error)
        for warning in client.warnings:
            Display().warning(warning)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise EdgeError(
                f"{len(errors)} of {len(listed)} Secrets can't be exported, so no file was touched",
                why=" ".join(error.sentence for error in errors),
                code=errors[0].code,
                errors=[error.as_result() for error in errors],
            )

    def _ask(self, params: dict[str, Any], files: list[dict[str, Any]], task_vars: dict[str, Any]) -> dict[str, Any]:
        answer = self.module(MODULE, {"exports": params["exports"], "state": params["state"], "_files": files}, task_vars)
        if answer.get("failed"):
            known = answer.get("error") or {}
            # also without `error`: what Ansible itself says when the module could not run, or could not set an owner
            raise EdgeError(
                known.get("what") or str(answer.get("msg") or "the module did not run on the host"),
                where=known.get("where") or str(answer.get("path") or ""),
                why=known.get("why", ""),
                fix=known.get("fix", ""),
                code=known.get("code") or "HOST_FAILED",
            )
        return answer

    def _result(self, listed: list[Any], state: dict[str, dict[str, Any]], present: bool) -> dict[str, Any]:
        results, differences = [], []
        for each in listed:
            files = []
            for file in each.files:
                changed = bool(state[file.path]["changed"])
                public = file.content is not None and file.part != "key"
                facts = {"path": file.path, "part": file.part, "changed": changed, "sha256": file.digest if public else ""}
                backup = state[file.path].get("backup_file")
                files.append({**facts, "backup_file": backup} if backup else facts)
                if changed:
                    differences.append(_difference(file, each.attributes, state[file.path]["before"], present))
            later = KNOWN_LATER if present else None
            results.append(
                {
                    "namespace": each.ref.namespace,
                    "name": each.ref.name,
                    "changed": any(file["changed"] for file in files),
                    "certificate": each.certificate or later,
                    "files": files,
                }
            )
        return {
            "changed": any(each["changed"] for each in results),
            "paths": [file.path for each in listed for file in each.files],
            "results": results,
            "diff": differences,
        }


def _difference(file: Any, attributes: dict[str, Any], before: dict[str, Any], present: bool) -> dict[str, Any]:
    after: dict[str, Any] = {"state": "absent"}
    if present:
        # owner and group that are not asked for stay as they are
        kept: dict[str, Any] = {name: before[name] for name in ("owner", "group") if name in before}
        asked = {name: value for name, value in attributes.items() if value is not None}
        after = {"state": "file", "mode": f"{file.mode:04o}", **kept, **asked, "content": file.shown}
    return {"before_header": file.path, "after_header": file.path, "before": before, "after": after}
