#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether and how Ansible can work in a pod; see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: probe_pod_info
short_description: Internal - the way for Ansible to run modules in a pod of the cluster
version_added: "0.1.0"
description:
  - Internal to the collection's roles; may change in any release.
  - Returns a name for a new pod, the variables of connection P(kubernetes.core.kubectl#connection) for it with the credentials that
    the collection's modules use, and pods that earlier runs left behind.
  - No credential is in the variables. If kubectl would show one on its command line, no pod can be used.
author:
  - edgemesh maintainers (@edgemesh)
options:
  namespace:
    description: The pod's namespace.
    type: str
    required: true
  image:
    description: The pod's image. When empty there is no pod.
    type: str
    default: ""
  timeout:
    description: Seconds for the whole task.
    type: int
    default: 30
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.read_only
  - edgemesh.nginx_istio._kube_connection
requirements:
  - kubectl on the controller
notes:
  - Needs C(list) on C(pods).
"""

EXAMPLES = r"""
- name: See how a pod would be reached
  edgemesh.nginx_istio.probe_pod_info:
    namespace: shop
    image: docker.io/library/python:3.13-slim
"""

RETURN = r"""
reason:
  description: Why there is no pod; empty if there can be one.
  type: str
  returned: success
name:
  description: A name for the pod.
  type: str
  returned: success
over:
  description: Pods of ours in the namespace that have ended, or are older than their own deadline, as definitions for k8s_objects.
  type: list
  elements: dict
  returned: success
connection:
  description: The connection's variables; empty if there is a reason.
  type: dict
  returned: success
"""

import secrets
import shutil
from datetime import datetime, timezone
from typing import Any

from ..module_utils._ansible import run
from ..module_utils._errors import EdgeError
from ..module_utils._kube import probe_pod
from ..module_utils._kube.arguments import CONNECTION_ARGUMENTS
from ..module_utils._kube.connection import connect, given
from ..module_utils._kube.labels import selector

ARGUMENTS: dict[str, Any] = {
    **CONNECTION_ARGUMENTS,
    "namespace": {"type": "str", "required": True},
    "image": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 30},
}


def work(module: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Look at what there is; without an image, or in check mode, the cluster isn't asked."""
    reason = _reason(module.check_mode, params["image"])
    connection: dict[str, Any] = {}
    over: list[dict[str, Any]] = []
    if not reason:
        try:
            connection = probe_pod.connection(given(params))
        except EdgeError as error:
            reason = error.sentence
    if not reason:
        pods, _version = connect(params).list("Pod", params["namespace"], labels=selector(probe_pod.LABELS))
        over = probe_pod.over(pods, datetime.now(timezone.utc))
    name = f"edgemesh-probe-{secrets.token_hex(4)}"
    return {"changed": False, "reason": reason, "name": name, "over": over, "connection": connection}


def _reason(check: bool, image: str) -> str:
    if not image:
        return "no image is named for a probe pod"
    if check:
        return "check mode makes no probe pod"
    return "" if shutil.which("kubectl") else "a probe pod is reached by kubectl, which is not on the controller's PATH"


def main() -> None:
    """Entry point."""
    run(work, argument_spec=ARGUMENTS)


if __name__ == "__main__":
    main()
