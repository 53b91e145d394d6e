# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server with its store, both of the tests' own: it may be killed, and its clients may be anybody."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from lab import build, pki
from lab.files import write


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _number in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class OwnApi:
    """etcd and kube-apiserver on 127.0.0.1. No controllers, so namespaces are not cleaned up and service accounts are not made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self._etcd_port, self._peer_port = free_ports(3)
        self.url = f"https://127.0.0.1:{self.port}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.authority = pki.authority(folder, "ca", "edgemesh-test")
        pki.leaf(folder, self.authority, "apiserver", "kube-apiserver", names=("localhost", "127.0.0.1"), server=True)
        signer = pki.authority(folder, "service-account", "edgemesh-test-tokens")
        public = signer.key.public_key().public_bytes(pki.serialization.Encoding.PEM, pki.serialization.PublicFormat.SubjectPublicKeyInfo)
        write(folder / "service-account.pub", public)
        self.kubeconfig = self.kubeconfig_of("edgemesh-test-admin", "system:masters")

    def kubeconfig_of(self, user: str, group: str = "") -> Path:
        """Credentials of anybody, by certificate."""
        pki.leaf(self.folder, self.authority, user, user, group)

        def encoded(name: str) -> str:
            return base64.b64encode((self.folder / name).read_bytes()).decode()

        cluster = {"server": self.url, "certificate-authority-data": encoded("ca.crt")}
        credentials = {"client-certificate-data": encoded(f"{user}.crt"), "client-key-data": encoded(f"{user}.key")}
        path = self.folder / f"{user}.kubeconfig"
        path.write_text(json.dumps(kubeconfig(cluster, credentials)))
        return path

    def start(self) -> None:
        """Both; ready when this returns."""
        program = build.path("kube-apiserver")
        if not program.exists():
            pytest.fail("kube-apiserver has not been built: `make lab`")
        etcd = f"http://127.0.0.1:{self._etcd_port}"
        peer = f"http://127.0.0.1:{self._peer_port}"
        if "etcd" not in self._processes:
            self._run(
                "etcd", "etcd", f"--data-dir={self.folder / 'etcd'}", f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
                "--unsafe-no-fsync", "--log-level=error",
            )  # fmt: skip
        self._run(
            "kube-apiserver", str(program), f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}", f"--client-ca-file={self.folder}/ca.crt", f"--tls-cert-file={self.folder}/apiserver.crt",
            f"--tls-private-key-file={self.folder}/apiserver.key", "--authorization-mode=RBAC", "--profiling=false",
            "--service-account-issuer=https://edgemesh.test", f"--service-account-key-file={self.folder}/service-account.pub",
            f"--service-account-signing-key-file={self.folder}/service-account.key", "--service-cluster-ip-range=192.0.2.0/24",
            # There is no controller that would make one, and pods are not the matter here.
            "--disable-admission-plugins=ServiceAccount", "--feature-gates=DetectCacheInconsistency=false",
            "--endpoint-reconciler-type=none",
        )  # fmt: skip
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        context.load_cert_chain(self.folder / "edgemesh-test-admin.crt", self.folder / "edgemesh-test-admin.key")
        end = time.monotonic() + 90
        while True:
            with contextlib.suppress(OSError), urlopen(f"{self.url}/readyz", context=context, timeout=5) as answer:
                if answer.status == 200:
                    return
            if time.monotonic() > end or self._processes["kube-apiserver"].poll() is not None:
                pytest.fail(f"kube-apiserver does not become ready: {(self.folder / 'kube-apiserver.log').read_text()[-2000:]}")
            time.sleep(0.2)

    def kill(self, name: str = "kube-apiserver") -> None:
        """SIGKILL."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for name in list(self._processes):
            self.kill(name)

    def pause(self, seconds: float) -> None:
        """The API server stands still: connections stay open, nothing is answered."""
        process = self._processes["kube-apiserver"]
        process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            process.send_signal(signal.SIGCONT)

    def _run(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            environment = {**os.environ, "ETCD_UNSUPPORTED_ARCH": os.uname().machine}
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def kubeconfig(cluster: dict[str, str], user: dict[str, str]) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
