# SPDX-License-Identifier: GPL-3.0-or-later
"""A single-node Kubernetes out of plain processes: brought up from any state, and taken down without a trace."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from plugins.module_utils._errors import EdgeError

from . import api, cgroups, configuration, daemons, files, images, mounts, network, pki, settings
from .pki import PKI
from .processes import Daemon, boot_id, marked, running, stop
from .progress import Progress
from .shell import run

BOOT = settings.STATE / "boot"


def up(progress: Progress, install: Callable[[Progress, Callable[[], None]], None]) -> None:
    """Bring up whatever of the cluster isn't up: from nothing, from an interrupted start, after a restart of the machine.

    :param install: goes on as soon as the API server answers, while the node is still on its way; it is given a
        function that waits for the node.
    """
    pki.make()
    files.write(settings.KUBECONFIG, (PKI / "admin.kubeconfig").read_text(), 0o600)
    api.link_programs()
    images.note()
    configuration.configure()
    with ThreadPoolExecutor(2) as pool:
        runtime = pool.submit(start_runtime, progress)
        start_control_plane(progress)
        node = pool.submit(start_node, progress, runtime)
        api.apply("coredns.yaml", image=images.images()["coredns"].reference, dns=settings.CLUSTER_DNS)
        install(progress, node.result)
        node.result()
    files.write(BOOT, boot_id())


def start_node(progress: Progress, runtime: Future[None]) -> None:
    """Start kubelet and kube-proxy and wait until the node is ready."""
    proxy = daemons.kube_proxy()
    proxy.start()
    runtime.result()
    with progress.step("start the node"):
        agent = daemons.kubelet()
        agent.start()
        for daemon in (agent, proxy):
            daemon.wait()
        api.wait_for_node()
        wait_for_truth()


def wait_for_truth(seconds: float = 60) -> None:
    """Wait until the API shows no container as running that has ended.

    What it knows of pods is what the kubelet said last. After all processes were killed that is a lie, which would pass
    for a mesh that is ready.
    """
    deadline = time.monotonic() + seconds
    while ended := api.running_containers() - running_tasks():
        if time.monotonic() > deadline:
            raise EdgeError(f"the kubelet does not notice that {len(ended)} containers have ended", where=str(daemons.kubelet().log))
        time.sleep(0.2)


def running_tasks() -> set[str]:
    """Identifiers of the containers that containerd runs."""
    lines = [line.split() for line in run([*daemons.CTR, "tasks", "list"]).splitlines()[1:]]
    return {words[0] for words in lines if words[2] == "RUNNING"}


def start_control_plane(progress: Progress) -> None:
    """Start etcd, the API server and the controllers, and wait until they answer."""
    with progress.step("start the control plane"):
        # etcd doesn't wait for the disk.
        start_over_if_spoilt(daemons.etcd(), daemons.ETCD_DATA, progress)
        server = daemons.kube_apiserver()
        server.start()
        server.wait()
        controllers = [daemons.kube_controller_manager(), daemons.kube_scheduler()]
        for daemon in controllers:
            daemon.start()
        for daemon in controllers:
            daemon.wait()


def start_runtime(progress: Progress) -> None:
    """Start containerd with all images.

    Pods that lost all their shims can't be taken over: they are forgotten, and the kubelet makes them anew. As long as
    there are shims, containerd finds its pods again by itself.
    """
    cgroups.make()
    orphaned = running("containerd") is None and not any(name == "containerd" for name, _ in marked())
    if orphaned:
        remove_pods()
    daemon = daemons.containerd()
    start_over_if_spoilt(daemon, configuration.CONTAINERD_ROOT, progress)
    if orphaned and (known := run([*daemons.CTR, "containers", "list", "-q"]).split()):
        run([*daemons.CTR, "containers", "delete", *known])
        stop(daemon.name)  # it remembers at its start what the kubelet is told
        daemon.start()
        daemon.wait()
    images.load(daemons.CTR, progress)


def start_over_if_spoilt(daemon: Daemon, data: Path, progress: Progress) -> None:
    """Start a daemon; anew without its data if a restart of the machine has spoilt them, which needn't have reached the disk."""
    daemon.start()
    try:
        daemon.wait(20)
    except EdgeError:
        if not BOOT.exists() or BOOT.read_text() == boot_id():
            raise
        progress.line(f"The machine was restarted, and the data of {daemon.name} did not survive it: it begins anew.")
        stop(daemon.name)
        shutil.rmtree(data)
        daemon.start()
        daemon.wait(20)


def remove_pods() -> None:
    """End what pods have left and what CNI and kubelet know of them."""
    stop("kubelet")
    cgroups.kill()
    stop("mounts")  # and with it every mount of the pods
    for folder in (configuration.CONTAINERD_STATE, configuration.CNI_STATE, configuration.KUBELET_ROOT / "pods", mounts.PRIVATE):
        shutil.rmtree(folder, ignore_errors=True)


def down() -> None:
    """End every process of the cluster and every pod, and take its traces from the kernel."""
    for owner in (*daemons.NAMES, "mounts"):
        # Nothing of what they know is kept, so none needs to be asked politely.
        for name, process in list(marked()):
            if name == owner:
                process.kill()
    cgroups.kill()
    cgroups.remove()
    mounts.remove_folders()
    network.remove_chains()


def status() -> list[tuple[str, bool, str]]:
    """Each part with whether it is well and why not."""
    found = []
    for name in reversed(daemons.NAMES):
        why = daemons.READY[name]() if running(name) else "it doesn't run"
        found.append((name, not why, why))
    return found
