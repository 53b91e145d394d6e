"""A single-node Kubernetes out of plain processes: brought up from any state, and taken down without a trace."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from plugins.module_utils._errors import EdgeError

from . import api, cgroups, configuration, daemons, files, images, mounts, network, pki, settings
from .pki import PKI
from .processes import boot_id, marked, running, stop
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
        start_etcd(progress)
        server = daemons.kube_apiserver()
        server.start()
        server.wait()
        controllers = [daemons.kube_controller_manager(), daemons.kube_scheduler()]
        for daemon in controllers:
            daemon.start()
        for daemon in controllers:
            daemon.wait()


def start_etcd(progress: Progress) -> None:
    """Start etcd. It doesn't wait for the disk, so a machine that lost its power may leave it data that it can't read: begin anew."""
    daemon = daemons.etcd()
    restarted = BOOT.exists() and BOOT.read_text() != boot_id()
    daemon.start()
    try:
        daemon.wait(30)
    except EdgeError:
        if not restarted:
            raise
        progress.line("The machine was restarted and etcd's data did not survive it: the cluster is made anew.")
        stop("etcd")
        shutil.rmtree(daemons.ETCD_DATA)
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
    daemon = daemons.containerd()
    daemon.start()
    daemon.wait()
    images.load(daemons.CTR, progress)


def remove_pods() -> None:
    """End what pods have left and forget what containerd, CNI and kubelet know of them."""
    stop("kubelet")
    cgroups.kill()
    stop("mounts")  # and with it every mount of the pods
    pods = configuration.KUBELET_ROOT / "pods"
    for folder in (configuration.CONTAINERD_ROOT, configuration.CONTAINERD_STATE, configuration.CNI_STATE, pods, mounts.PRIVATE):
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
