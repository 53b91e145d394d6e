"""A single-node Kubernetes out of plain processes: etcd, the control plane, containerd, kubelet, kube-proxy, CoreDNS."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from string import Template
from typing import Any

from plugins.module_utils._errors import EdgeError

from . import build, cgroups, files, images, mounts, network, pki, settings
from .pki import PKI
from .processes import Daemon, boot_id, marked, running, stop
from .progress import Progress
from .shell import run, succeeds

CONFIG = settings.STATE / "config"
ETCD, ETCD_PEER = f"https://{settings.NODE_IP}:2379", f"https://{settings.NODE_IP}:2380"
CONTAINERD_SOCKET = settings.RUN / "containerd" / "containerd.sock"
CONTAINERD_ROOT = settings.STATE / "containerd"
CONTAINERD_STATE = settings.RUN / "containerd"
KUBELET_ROOT = settings.STATE / "kubelet"
ETCD_DATA = settings.STATE / "etcd"
BOOT = settings.STATE / "boot"
CTR = ["ctr", "--address", str(CONTAINERD_SOCKET), "--namespace", "k8s.io"]
MANIFESTS = Path(__file__).parent / "manifests"

# In the order in which they are stopped: nobody restarts what is being taken away.
NAMES = ("kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd", "containerd")
PORTS = {"etcd": 2379, "kube-apiserver": settings.API_PORT, "kube-controller-manager": 10257, "kube-scheduler": 10259, "kubelet": 10248, "kube-proxy": 10256}


def up(progress: Progress) -> None:
    """Bring up whatever of the cluster isn't up: from nothing, from an interrupted start, after a restart of the machine."""
    pki.make()
    files.write(settings.KUBECONFIG, (PKI / "admin.kubeconfig").read_text(), 0o600)
    link_programs()
    images.note()
    configure()
    with ThreadPoolExecutor(3) as pool:
        runtime = pool.submit(start_runtime, progress)
        control = pool.submit(start_control_plane, progress)
        control.result()
        manifests = pool.submit(apply, "coredns.yaml", image=images.images()["coredns"].reference, dns=settings.CLUSTER_DNS)
        runtime.result()
        with progress.step("start kubelet and kube-proxy"):
            node = [kubelet(), kube_proxy()]
            for daemon in node:
                daemon.start()
            for daemon in node:
                daemon.wait()
            wait_for_node()
        manifests.result()
    files.write(BOOT, boot_id())


def start_control_plane(progress: Progress) -> None:
    """Start etcd, the API server and the controllers, and wait until they answer."""
    with progress.step("start the control plane"):
        start_etcd(progress)
        api = kube_apiserver()
        api.start()
        api.wait()
        controllers = [kube_controller_manager(), kube_scheduler()]
        for daemon in controllers:
            daemon.start()
        for daemon in controllers:
            daemon.wait()


def start_etcd(progress: Progress) -> None:
    """Start etcd. It doesn't wait for the disk, so a machine that lost its power may leave it data that it can't read: begin anew."""
    daemon = etcd()
    restarted = BOOT.exists() and BOOT.read_text() != boot_id()
    daemon.start()
    try:
        daemon.wait(30)
    except EdgeError:
        if not restarted:
            raise
        progress.line("The machine was restarted and etcd's data did not survive it: the cluster is made anew.")
        stop("etcd")
        shutil.rmtree(ETCD_DATA)
        daemon.start()
        daemon.wait(30)


def start_runtime(progress: Progress) -> None:
    """Start containerd with all images.

    Pods whose shims are all gone cannot be taken over. Then containerd's state is made anew from the image tars, which
    takes seconds and cannot leave anything stale; otherwise it finds its pods again by itself.
    """
    cgroups.make()
    if running("containerd") is None and not any(name == "containerd" for name, _ in marked()):
        remove_pods()
    daemon = containerd()
    daemon.start()
    daemon.wait()
    images.load(CTR, progress)


def remove_pods() -> None:
    """End what pods have left and forget what containerd, CNI and kubelet know of them."""
    cgroups.kill()
    if not mounts.alive():  # else folders may be mount points
        for folder in (CONTAINERD_ROOT, CONTAINERD_STATE, settings.STATE / "cni", KUBELET_ROOT / "pods"):
            shutil.rmtree(folder, ignore_errors=True)


def down() -> None:
    """End every process of the cluster and every pod, and take its traces from the kernel."""
    for name in NAMES:
        stop(name)
    for name, process in list(marked()):
        if name in (*NAMES, "mounts"):
            process.kill()
    cgroups.kill()
    cgroups.remove()
    stop("mounts")
    clean_rules()


def clean_rules() -> None:
    """Remove the chains of kube-proxy, kubelet and CNI; they are known by their names."""
    for family in ("iptables", "ip6tables"):
        saved = run([f"{family}-save"], check=False)
        if not saved:
            continue
        table = ""
        ours = ("KUBE-", "CNI-")
        chains: dict[str, list[str]] = {}
        jumps: list[tuple[str, str]] = []
        for line in saved.splitlines():
            words = line.split()
            if line.startswith("*"):
                table = line
            elif line.startswith(":") and words[0][1:].startswith(ours):
                chains.setdefault(table, []).append(words[0][1:])
            elif line.startswith("-A") and not words[1].startswith(ours) and any(
                word in ("-j", "-g") and words[at + 1].startswith(ours) for at, word in enumerate(words[:-1])
            ):
                chains.setdefault(table, [])
                jumps.append((table, "-D" + line[2:]))
        for table, names in chains.items():
            lines = [table, *(f":{name} - [0:0]" for name in names), *(rule for at, rule in jumps if at == table), *(f"-X {name}" for name in names)]
            run([f"{family}-restore", "--noflush"], text="\n".join([*lines, "COMMIT", ""]))


def status() -> list[tuple[str, bool, str]]:
    """Each part with whether it is well and why not."""
    found = []
    for name in reversed(NAMES):
        why = READY[name]() if running(name) else "it doesn't run"
        found.append((name, not why, why))
    return found


# --- Daemons -------------------------------------------------------------------------------------------------------


def etcd() -> Daemon:
    """The store, for the API server alone."""
    etcd_tls = (f"trusted-ca-file={PKI}/etcd-ca.crt", f"cert-file={PKI}/etcd.crt", f"key-file={PKI}/etcd.key", "client-cert-auth")
    return Daemon(
        "etcd",
        (
            "etcd",
            f"--data-dir={ETCD_DATA}",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            f"--listen-peer-urls={ETCD_PEER}",
            f"--initial-advertise-peer-urls={ETCD_PEER}",
            f"--initial-cluster=default={ETCD_PEER}",
            *(f"--{side}{name}" for side in ("", "peer-") for name in etcd_tls),
            "--unsafe-no-fsync",
            "--auto-compaction-retention=1h",
            "--log-level=warn",
        ),
        ready=READY["etcd"],
    )


def kube_apiserver() -> Daemon:
    """The API server, on the node's own address alone."""
    return Daemon(
        "kube-apiserver",
        (
            str(build.path("kube-apiserver")),
            f"--advertise-address={settings.NODE_IP}",
            f"--bind-address={settings.NODE_IP}",
            f"--secure-port={settings.API_PORT}",
            f"--etcd-servers={ETCD}",
            f"--etcd-cafile={PKI}/etcd-ca.crt",
            f"--etcd-certfile={PKI}/etcd-client.crt",
            f"--etcd-keyfile={PKI}/etcd-client.key",
            # etcd 3.4 lacks the progress requests that this check needs.
            "--feature-gates=DetectCacheInconsistency=false",
            f"--service-cluster-ip-range={ranges(settings.SERVICE_CIDR, settings.SERVICE_CIDR6)}",
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--profiling=false",
            f"--client-ca-file={PKI}/ca.crt",
            f"--tls-cert-file={PKI}/apiserver.crt",
            f"--tls-private-key-file={PKI}/apiserver.key",
            f"--kubelet-certificate-authority={PKI}/ca.crt",
            f"--kubelet-client-certificate={PKI}/apiserver-kubelet-client.crt",
            f"--kubelet-client-key={PKI}/apiserver-kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP,Hostname",
            f"--service-account-issuer=https://kubernetes.default.svc.{settings.CLUSTER_DOMAIN}",
            f"--service-account-key-file={PKI}/service-account.pub",
            f"--service-account-signing-key-file={PKI}/service-account.key",
            f"--requestheader-client-ca-file={PKI}/front-proxy-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={PKI}/front-proxy-client.crt",
            f"--proxy-client-key-file={PKI}/front-proxy-client.key",
        ),
        configuration=(PKI / "apiserver.crt",),
        ready=READY["kube-apiserver"],
    )


def kube_controller_manager() -> Daemon:
    """The controllers, and the signer of certificate requests."""
    config = f"{PKI}/kube-controller-manager.kubeconfig"
    return Daemon(
        "kube-controller-manager",
        (
            str(build.path("kube-controller-manager")),
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            f"--bind-address={settings.NODE_IP}",
            f"--tls-cert-file={PKI}/node.crt",
            f"--tls-private-key-file={PKI}/node.key",
            f"--client-ca-file={PKI}/ca.crt",
            f"--root-ca-file={PKI}/ca.crt",
            f"--service-account-private-key-file={PKI}/service-account.key",
            f"--cluster-signing-cert-file={PKI}/ca.crt",
            f"--cluster-signing-key-file={PKI}/ca.key",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--profiling=false",
        ),
        configuration=(PKI / "kube-controller-manager.crt",),
        ready=READY["kube-controller-manager"],
    )


def kube_scheduler() -> Daemon:
    """The scheduler."""
    config = f"{PKI}/kube-scheduler.kubeconfig"
    return Daemon(
        "kube-scheduler",
        (
            str(build.path("kube-scheduler")),
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            f"--bind-address={settings.NODE_IP}",
            f"--tls-cert-file={PKI}/node.crt",
            f"--tls-private-key-file={PKI}/node.key",
            "--leader-elect=false",
            "--profiling=false",
        ),
        configuration=(PKI / "kube-scheduler.crt",),
        ready=READY["kube-scheduler"],
    )


def containerd() -> Daemon:
    """The container runtime, with folders and a socket of its own."""
    config = CONFIG / "containerd.toml"
    return Daemon(
        "containerd",
        ("containerd", "--config", str(config)),
        configuration=(config,),
        ready=READY["containerd"],
        within=mounts.entry,
    )


def kubelet() -> Daemon:
    """The node's agent, in the mount namespace that it shares with containerd."""
    config = CONFIG / "kubelet.json"
    addresses = ranges(settings.NODE_IP, settings.NODE_IP6)
    return Daemon(
        "kubelet",
        (
            str(build.path("kubelet")),
            f"--config={config}",
            f"--kubeconfig={PKI}/kubelet.kubeconfig",
            f"--root-dir={KUBELET_ROOT}",
            f"--hostname-override={settings.NODE_NAME}",
            f"--node-ip={addresses}",
        ),
        configuration=(config, PKI / "kubelet.crt"),
        ready=READY["kubelet"],
        within=mounts.entry,
    )


def kube_proxy() -> Daemon:
    """Services as iptables rules."""
    config = CONFIG / "kube-proxy.json"
    return Daemon(
        "kube-proxy",
        (str(build.path("kube-proxy")), f"--config={config}"),
        configuration=(config, PKI / "kube-proxy.crt"),
        ready=READY["kube-proxy"],
    )


def containerd_ready() -> str:
    """Whether containerd answers on its socket."""
    return "" if succeeds([*CTR, "version"], timeout=5) else "no answer on its socket"


def answers(name: str, path: str, client: str = "", authority: str = "ca") -> str:
    """Why a daemon's health endpoint doesn't say that it is well, or "".

    :param client: the certificate to show; without one the endpoint is plain.
    """
    where = (settings.NODE_IP, PORTS[name])
    connection: http.client.HTTPConnection
    if client:
        context = ssl.create_default_context(cafile=str(PKI / f"{authority}.crt"))
        context.load_cert_chain(PKI / f"{client}.crt", PKI / f"{client}.key")
        connection = http.client.HTTPSConnection(*where, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection(*where, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
        failing = [line for line in text.splitlines() if line.startswith("[-]")]
        return "" if response.status == 200 else f"{path} answers {response.status} {' '.join(failing)}".strip()
    except (OSError, http.client.HTTPException) as error:
        return f"{where[0]}:{where[1]}{path}: {error}"
    finally:
        connection.close()


READY: dict[str, Callable[[], str]] = {
    "etcd": partial(answers, "etcd", "/health", client="etcd-client", authority="etcd-ca"),
    "kube-apiserver": partial(answers, "kube-apiserver", "/readyz", client="admin"),
    "kube-controller-manager": partial(answers, "kube-controller-manager", "/healthz", client="admin"),
    "kube-scheduler": partial(answers, "kube-scheduler", "/healthz", client="admin"),
    "containerd": containerd_ready,
    "kubelet": partial(answers, "kubelet", "/healthz"),
    "kube-proxy": partial(answers, "kube-proxy", "/healthz"),
}


# --- Configuration -------------------------------------------------------------------------------------------------


def ranges(ipv4: str, ipv6: str) -> str:
    """Both families' values, or IPv4's alone where the machine has no IPv6."""
    return f"{ipv4},{ipv6}" if network.has_ipv6() else ipv4


def configure() -> None:
    """Write the configuration files; unchanged ones stay, so that nothing is restarted for them."""
    write_json("kubelet.json", kubelet_configuration())
    write_json("kube-proxy.json", kube_proxy_configuration())
    write_json("cni/10-edgelab.conflist", cni_configuration())
    files.write(CONFIG / "containerd.toml", containerd_configuration())
    files.write(CONFIG / "resolv.conf", resolv_conf(Path("/etc/resolv.conf").read_text()))


def write_json(name: str, content: dict[str, Any]) -> None:
    """One configuration file."""
    files.write(CONFIG / name, json.dumps(content, indent=1) + "\n")


def resolv_conf(machine: str) -> str:
    """The machine's resolvers without those that only itself can reach."""
    lines = [line for line in machine.splitlines() if line.startswith("nameserver") and not line.split()[1].startswith(("127.", "::1"))]
    return "".join(f"{line}\n" for line in lines)


def containerd_configuration() -> str:
    """Settings for a machine without CAP_SYS_RESOURCE and hugetlb, and paths of our own."""
    return f'''version = 2
root = "{CONTAINERD_ROOT}"
state = "{CONTAINERD_STATE}"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]

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
conf_dir = "{CONFIG}/cni"

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
                "ipam": {"type": "host-local", "dataDir": str(settings.STATE / "cni"), "ranges": subnets, "routes": routes},
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
        "resolvConf": str(CONFIG / "resolv.conf"),
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
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s", "udpTimeout": "0s", "udpStreamTimeout": "0s"},
        "iptables": {"localhostNodePorts": False, "minSyncPeriod": "100ms", "syncPeriod": "30s"},
    }


# --- The API -------------------------------------------------------------------------------------------------------


def link_programs() -> None:
    """Offer kubectl and its like by name in a folder that users can put on their PATH."""
    settings.BIN.mkdir(parents=True, exist_ok=True)
    for name in ("kubectl", "helm", "istioctl"):
        link = settings.BIN / name
        if not link.is_symlink() or link.readlink() != build.path(name):
            link.unlink(missing_ok=True)
            link.symlink_to(build.path(name))


def kubectl(*words: str, text: str | None = None, timeout: float = 120) -> str:
    """Run kubectl as the lab's administrator."""
    return run([settings.BIN / "kubectl", f"--kubeconfig={settings.KUBECONFIG}", *words], text=text, timeout=timeout)


def apply(manifest: str, **values: str) -> None:
    """Apply one of the lab's manifests with its placeholders filled."""
    text = Template((MANIFESTS / manifest).read_text()).substitute(values)
    kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=edgemesh-lab", "-f", "-", text=text)


def wait_for_node(seconds: float = 60) -> None:
    """Wait until the node has registered and is ready."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            kubectl("wait", "--for=condition=Ready", f"node/{settings.NODE_NAME}", f"--timeout={seconds:g}s", timeout=seconds + 5)
            return
        except EdgeError as error:
            if "not found" not in error.why.lower() or time.monotonic() > deadline:
                raise
        time.sleep(0.2)
