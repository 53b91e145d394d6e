"""The part of tls_secret_export that works on the controller: it reads the Secrets; the module of the same name writes the files."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display

from ..module_utils._errors import EdgeError
from ..module_utils._kube.connection import connect
from ..module_utils._kube.errors import ApiError
from ..module_utils._x509 import export, library
from ..modules.tls_secret_export import ARGUMENTS
from ..plugin_utils._action import EdgeAction

MODULE = "edgemesh.nginx_istio.tls_secret_export"
KNOWN_LATER = "(known after apply)"


class ActionModule(EdgeAction):
    """Tells the host digests first, and contents only of files that it has to write."""

    ARGUMENTS = ARGUMENTS

    def work(self, params: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Read, compare on the host, write there, and describe."""
        library.require()
        listed = export.exports(params["exports"])
        if params["state"] == "present":
            self._refuse_leaky_become()
            self._fill(listed, params)
        answer = self._ask(params, [export.instruction(each, file, False) for each in listed for file in each.files], task_vars)
        needed = set(answer.get("needed") or [])
        if needed:
            files = [export.instruction(each, file, file.path in needed) for each in listed for file in each.files]
            answer = self._ask(params, files, task_vars)
            if answer.get("needed"):
                raise EdgeError("files changed on the host while they were compared", fix="Run the task again", code="RACE")
        return self._result(listed, {each["path"]: each for each in answer["files"]}, params["state"] == "present")

    def _fill(self, listed: list[Any], params: dict[str, Any]) -> None:
        client = connect(params)
        secrets: dict[Any, Any] = {}
        errors: list[EdgeError] = []
        for each in listed:
            try:
                if each.ref not in secrets:
                    secrets[each.ref] = client.get("Secret", each.ref.name, each.ref.namespace)
                secret = secrets[each.ref]
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

    def _refuse_leaky_become(self) -> None:
        """To become an unprivileged user without pipelining, Ansible leaves the module's arguments where that user can read them."""
        if self._is_become_unprivileged() and not self._is_pipelining_enabled("new"):
            raise EdgeError(
                "a private key is not sent to an unprivileged become_user without pipelining",
                why="Ansible would put it into a temporary file that another user can read",
                fix="Turn pipelining on (ANSIBLE_PIPELINING=true), become root and set owner and group, or connect as that user",
                code="BECOME_LEAKS",
            )

    def _result(self, listed: list[Any], state: dict[str, dict[str, Any]], present: bool) -> dict[str, Any]:
        results, differences = [], []
        for each in listed:
            files = []
            for file in each.files:
                changed = bool(state[file.path]["changed"])
                public = file.content is not None and file.part != "key"
                files.append({"path": file.path, "part": file.part, "changed": changed, "sha256": file.digest if public else ""})
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
