# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's daemons: how each is run, and how it says that it is ready.

All listen on the node's own address on the lab's bridge, so nothing of the lab is reachable from the machine's network.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from functools import partial

from . import build, configuration, mounts, settings
from .configuration import PORTS, ranges
from .pki import PKI
from .processes import Daemon
from .shell import succeeds

ETCD, ETCD_PEER = f"https://{settings.NODE_IP}:2379", f"https://{settings.NODE_IP}:2380"
ETCD_DATA = settings.STATE / "etcd"
CTR = ("ctr", "--address", str(configuration.CONTAINERD_SOCKET), "--namespace", "k8s.io")
# In the order in which they are stopped: nobody restarts what is being taken away.
NAMES = ("kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd", "containerd")


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


def controller(name: str, *more: str) -> Daemon:
    """A daemon that does its work through the API server and serves only its health."""
    config = f"{PKI}/{name}.kubeconfig"
    return Daemon(
        name,
        (
            str(build.path(name)),
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            f"--bind-address={settings.NODE_IP}",
            f"--tls-cert-file={PKI}/node.crt",
            f"--tls-private-key-file={PKI}/node.key",
            "--leader-elect=false",
            "--profiling=false",
            *more,
        ),
        configuration=(PKI / f"{name}.crt",),
        ready=READY[name],
    )


def kube_controller_manager() -> Daemon:
    """The controllers, and the signer of certificate requests."""
    return controller(
        "kube-controller-manager",
        f"--client-ca-file={PKI}/ca.crt",
        f"--root-ca-file={PKI}/ca.crt",
        f"--service-account-private-key-file={PKI}/service-account.key",
        f"--cluster-signing-cert-file={PKI}/ca.crt",
        f"--cluster-signing-key-file={PKI}/ca.key",
        "--use-service-account-credentials",
    )


def kube_scheduler() -> Daemon:
    """The scheduler."""
    return controller("kube-scheduler")


def containerd() -> Daemon:
    """The container runtime, with folders and a socket of its own."""
    config = configuration.FOLDER / "containerd.toml"
    return Daemon(
        "containerd",
        ("containerd", "--config", str(config)),
        configuration=(config,),
        ready=READY["containerd"],
        within=mounts.entry,
    )


def kubelet() -> Daemon:
    """The node's agent, in the mount namespace that it shares with containerd."""
    config = configuration.FOLDER / "kubelet.json"
    addresses = ranges(settings.NODE_IP, settings.NODE_IP6)
    return Daemon(
        "kubelet",
        (
            str(build.path("kubelet")),
            f"--config={config}",
            f"--kubeconfig={PKI}/kubelet.kubeconfig",
            f"--root-dir={configuration.KUBELET_ROOT}",
            f"--hostname-override={settings.NODE_NAME}",
            f"--node-ip={addresses}",
        ),
        configuration=(config, PKI / "kubelet.crt"),
        ready=READY["kubelet"],
        within=mounts.entry,
    )


def kube_proxy() -> Daemon:
    """Services as iptables rules."""
    config = configuration.FOLDER / "kube-proxy.json"
    return Daemon(
        "kube-proxy",
        (str(build.path("kube-proxy")), f"--config={config}"),
        configuration=(config, PKI / "kube-proxy.crt"),
        ready=READY["kube-proxy"],
    )


def containerd_ready() -> str:
    """Whether containerd answers, from its database: it also runs when it can't open that."""
    return "" if succeeds([*CTR, "images", "list", "-q"], timeout=5) else "it doesn't list its images"


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
