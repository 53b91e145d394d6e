#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: edgemesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What gateways wrote about certain requests."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_log_info
short_description: Lines of ingress gateways' logs that contain a text
version_added: "0.1.0"
author: edgemesh maintainers (@edgemesh)
description:
  - Reads the logs of all running pods behind gateways' Services, and returns the lines that contain a text, such as a probe's
    user agent.
  - A log that may not be read, or a missing gateway, is no failure; RV(results[].problems) reports it.
extends_documentation_fragment:
  - edgemesh.nginx_istio._attributes
  - edgemesh.nginx_istio._attributes.read_only
  - edgemesh.nginx_istio._kube_connection
options:
  gateways:
    description: The gateways' Services, each as V(namespace/name). Their pods are those that the Service selects.
    type: list
    elements: str
    required: true
  container:
    description: The container that writes the access log.
    type: str
    default: istio-proxy
  contains:
    description: Only lines that contain this text are returned.
    type: str
    required: true
  expected:
    description: Texts that must each be in a line of one of the gateways.
    type: list
    elements: str
    default: []
  wait:
    description:
      - Whether to read again until all of O(expected) is there.
      - Envoy doesn't write each line at once; under Istio it does so every second.
    type: bool
    default: false
  wait_timeout:
    description: Seconds for which O(wait) reads again. Lines that are still missing then are no error.
    type: int
    default: 3
  since:
    description: How many seconds to look back.
    type: int
    default: 600
  timeout:
    description: Seconds for the whole task.
    type: int
    default: 30
notes:
  - Needs the RBAC verb C(get) on C(services) and C(pods/log) and C(list) on C(pods) in the gateways' namespaces; as a ready Role in
    C(docs/rbac/gateway_log_info.yaml).
requirements:
  - kubernetes on the host that runs the task
seealso:
  - module: edgemesh.nginx_istio.edge_probe
"""

EXAMPLES = r"""
- name: What the gateway logged about one request
  edgemesh.nginx_istio.gateway_log_info:
    gateways: [istio-system/istio-ingressgateway]
    contains: my-user-agent/4711
    since: 60
"""

RETURN = r"""
results:
  description: One entry for each gateway, in order.
  returned: always
  type: list
  elements: dict
  contains:
    gateway:
      description: The gateway's Service as V(namespace/name).
      type: str
    lines:
      description: The lines that contain the text, pod by pod.
      type: list
      elements: str
    problems:
      description: Why a log could not be read, one sentence each.
      type: list
      elements: str
"""

from typing import Any

from ..module_utils._ansible import run
from ..module_utils._kube.arguments import CONNECTION_ARGUMENTS
from ..module_utils._kube.connection import connect
from ..module_utils._kube.deadline import Deadline
from ..module_utils._mesh import gateway_log_info as podlog

#: seconds between two looks
_PAUSE = 0.3
ARGUMENTS: dict[str, Any] = {
    **CONNECTION_ARGUMENTS,
    "gateways": {"type": "list", "elements": "str", "required": True},
    "container": {"type": "str", "default": "istio-proxy"},
    "contains": {"type": "str", "required": True},
    "expected": {"type": "list", "elements": "str", "default": []},
    "wait": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 3},
    "since": {"type": "int", "default": 600},
    "timeout": {"type": "int", "default": 30},
}


def work(_module: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Read each gateway's log, again until all that is expected is there."""
    client = connect(params)
    patience = Deadline(params["wait_timeout"] if params["wait"] else 0)
    while True:
        results = []
        for gateway in params["gateways"]:
            lines, problems = podlog.read(client, gateway, params["container"], params["since"], params["contains"])
            results.append({"gateway": gateway, "lines": lines, "problems": problems})
        written = "\n".join(line for each in results for line in each["lines"])
        if patience.expired or all(text in written for text in params["expected"]):
            return {"changed": False, "results": results}
        patience.pause(_PAUSE)


def main() -> None:
    """Entry point."""
    run(work, argument_spec=ARGUMENTS)


if __name__ == "__main__":
    main()
