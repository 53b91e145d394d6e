# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab keeps things and which addresses it uses.

Addresses come from 198.18.0.0/15 (RFC 2544, benchmarking) and 2001:db8::/32 (RFC 3849): nobody's real network, and
not RFC 1918, so Envoy treats a lab client as an external one, as it would a client on the Internet.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# Slow to make, safe to keep: Go binaries, image tars, Debian root tars. Keyed by what they are built from.
CACHE = Path(os.environ.get("EDGEMESH_CACHE", Path.home() / ".cache" / "edgemesh"))
# One lab for each machine: cluster state, PKI, VM roots.
STATE = Path("/var/lib/edgemesh-lab")
# Pid files, sockets, the lock: gone after a restart of the machine.
RUN = Path("/run/edgemesh-lab")

KUBECONFIG = STATE / "kubeconfig"
SSH_KEY = STATE / "ssh" / "id_ed25519"
KNOWN_HOSTS = STATE / "ssh" / "known_hosts"

BRIDGE = "edgelab0"
NODE_NAME = "edgelab"
NODE_IP = "198.18.0.1"
NODE_IP6 = "2001:db8:18::1"
NETWORK = "198.18.0.0/24"
NETWORK6 = "2001:db8:18::/64"
POD_CIDR = "198.18.64.0/20"
POD_CIDR6 = "2001:db8:18:64::/64"
SERVICE_CIDR = "198.18.128.0/20"
SERVICE_CIDR6 = "2001:db8:18:128::/112"
CLUSTER_DNS = "198.18.128.10"

# The ingress gateway's fixed NodePorts (Service istio-system/istio-ingressgateway).
NODE_PORTS = {"status-port": 30021, "http2": 30080, "https": 30443}


@dataclass(frozen=True)
class Host:
    """A "VM" or a client: its own network namespace and address on the lab's bridge."""

    name: str
    address: str
    address6: str
    release: str  # Debian release of its root file system


VMS = (
    Host("vm-deb12", "198.18.0.11", "2001:db8:18::11", "bookworm"),
    Host("vm-deb13", "198.18.0.12", "2001:db8:18::12", "trixie"),
)
CLIENTS = (
    Host("client-1", "198.18.0.101", "2001:db8:18::101", "trixie"),
    Host("client-2", "198.18.0.102", "2001:db8:18::102", "trixie"),
)

# What the lab offers to its users.
BIN = STATE / "bin"  # kubectl, helm, istioctl
CHARTS = STATE / "charts"  # Istio's Helm charts: base, istiod, gateway
IMAGES = STATE / "images.json"  # references that the cluster can pull without a registry
ECHO_HOST = "echo.lab.example"  # answered by the echo app through the gateway's plain port

# Inside.
LOGS = STATE / "logs"
API_PORT = 6443
POD_BRIDGE = "edgelab-pods"
CLUSTER_DOMAIN = "cluster.local"
CGROUP = "edgemesh-lab"  # parent of every pod's cgroup, in each hierarchy
