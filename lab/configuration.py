# SPDX-License-Identifier: GPL-3.0-or-later
"""What containerd, CNI, kubelet and kube-proxy are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import files, images, network, settings
from .pki import PKI

FOLDER = settings.STATE / "config"
CONTAINERD_ROOT = settings.STATE / "containerd"
CONTAINERD_STATE = settings.RUN / "containerd"
CONTAINERD_SOCKET = CONTAINERD_STATE / "containerd.sock"
CNI_STATE = settings.STATE / "cni"
KUBELET_ROOT = settings.STATE / "kubelet"
PORTS = {
    "etcd": 2379,
    "kube-apiserver": settings.API_PORT,
    "kube-controller-manager": 10257,
    "kube-scheduler": 10259,
    "kubelet": 10248,
    "kube-proxy": 10256,
}


def ranges(ipv4: str, ipv6: str) -> str:
    """Both families' values, or IPv4's alone where the machine has no IPv6."""
    return f"{ipv4},{ipv6}" if network.has_ipv6() else ipv4


def configure() -> None:
    """Write the configuration files; unchanged ones stay, so that nothing is restarted for them."""
    write_json("kubelet.json", kubelet_configuration())
    write_json("kube-proxy.json", kube_proxy_configuration())
    write_json("cni/10-edgelab.conflist", cni_configuration())
    files.write(FOLDER / "containerd.toml", containerd_configuration())
    files.write(FOLDER / "resolv.conf", resolv_conf(Path("/etc/resolv.conf").read_text()))


def write_json(name: str, content: dict[str, Any]) -> None:
    """One configuration file."""
    files.write(FOLDER / name, json.dumps(content, indent=1) + "\n")


def resolv_conf(machine: str) -> str:
    """The machine's resolvers without those that only itself can reach."""
    lines = [line for line in machine.splitlines() if line.startswith("nameserver") and not line.split()[1].startswith(("127.", "::1"))]
    return "".join(f"{line}\n" for line in lines)


def containerd_configuration() -> str:
    """Settings for a machine without CAP_SYS_RESOURCE and hugetlb, and paths of our own."""
    return f'''version = 2
root = "{CONTAINERD_ROOT}"
state = "{CONTAINERD_STATE}"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.opt",  # makes /opt/containerd
]

[grpc]
address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{images.images()["pause"].reference}"
# Without CAP_SYS_RESOURCE no sandbox could lower its score, and every one would die.
restrict_oom_score_adj = true
tolerate_missing_hugetlb_controller = true
# Else empty files stay in /run/netns for every pod.
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{FOLDER}/cni"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
'''


def cni_configuration() -> dict[str, Any]:
    """Pods on a bridge. Their way out is masqueraded by our own chain: the plugin's would leave one behind for every killed pod."""
    subnets = [[{"subnet": subnet}] for subnet in ranges(settings.POD_CIDR, settings.POD_CIDR6).split(",")]
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}][: len(subnets)]
    return {
        "cniVersion": "0.4.0",
        "name": "edgelab",
        "plugins": [
            {
                "type": "bridge",
                "bridge": settings.POD_BRIDGE,
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {"type": "host-local", "dataDir": str(CNI_STATE), "ranges": subnets, "routes": routes},
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def kubelet_configuration() -> dict[str, Any]:
    """A node that shares its machine: it evicts nothing, and looks at no disk but its own."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": settings.NODE_IP,
        "healthzBindAddress": settings.NODE_IP,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": f"{PKI}/ca.crt"}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{PKI}/node.crt",
        "tlsPrivateKeyFile": f"{PKI}/node.key",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{settings.CGROUP}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [settings.CLUSTER_DNS],
        "clusterDomain": settings.CLUSTER_DOMAIN,
        "resolvConf": str(FOLDER / "resolv.conf"),
        "podLogsDir": str(settings.LOGS / "pods"),
        "volumePluginDir": str(KUBELET_ROOT / "volume-plugins"),
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "maxOpenFiles": 20000,
        "oomScoreAdj": 0,
        "serializeImagePulls": False,
        "registerNode": True,
        # Status and volumes are looked at more often than on a node of thousands.
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
    }


def kube_proxy_configuration() -> dict[str, Any]:
    """NodePorts on the lab's own addresses only, and no kernel settings that it could not give back."""
    addresses = [f"{settings.NODE_IP}/32", f"{settings.NODE_IP6}/128"][: len(ranges("4", "6").split(","))]
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "bindAddress": settings.NODE_IP,
        "healthzBindAddress": f"{settings.NODE_IP}:{PORTS['kube-proxy']}",
        "metricsBindAddress": f"{settings.NODE_IP}:10249",
        "hostnameOverride": settings.NODE_NAME,
        "clientConnection": {"kubeconfig": f"{PKI}/kube-proxy.kubeconfig"},
        "clusterCIDR": ranges(settings.POD_CIDR, settings.POD_CIDR6),
        "nodePortAddresses": addresses,
        "oomScoreAdj": 0,
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
            "udpTimeout": "0s",
            "udpStreamTimeout": "0s",
        },
        "iptables": {"localhostNodePorts": False, "minSyncPeriod": "100ms", "syncPeriod": "30s"},
    }
