# SPDX-License-Identifier: GPL-3.0-or-later
"""Istio on the lab, by Helm from the charts in Istio's own Go module, and the proof that it works."""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from plugins.module_utils._errors import EdgeError

from . import api, build, files, images, network, settings
from .progress import Progress
from .shell import run

NAMESPACE = "istio-system"
VALUES = Path(__file__).parent / "values"
#: A pod's annotation with istiod's settings.
SETTINGS = "edgelab-istiod"
SOURCES = {"base": "base", "istiod": "istio-control/istio-discovery", "gateway": "gateway"}


@dataclass(frozen=True)
class Release:
    """One Helm release.

    :param chart: folder below `settings.CHARTS`.
    :param settings: as in Helm's --set-string.
    """

    name: str
    chart: str
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def values(self) -> Path:
        """Its values file; may not exist."""
        return VALUES / f"{self.chart}.yaml"

    @property
    def digest(self) -> str:
        """Changes when it must be installed anew."""
        digest = hashlib.sha256(json.dumps([build.ISTIO_REVISION, self.settings]).encode())
        if self.values.exists():
            digest.update(self.values.read_bytes())
        return digest.hexdigest()[:16]


def releases() -> list[Release]:
    """What is installed, in this order."""
    istiod = {"global.hub": images.HUB, "global.tag": images.images()["pilot"].key}
    gateway: dict[str, str] = {}
    if network.has_ipv6():
        # Sidecars have to be told too: else they take in IPv4 alone, and plaintext over IPv6 gets past STRICT.
        sidecars = {"meshConfig.defaultConfig.proxyMetadata.ISTIO_DUAL_STACK": "true"}
        istiod |= {"env.ISTIO_DUAL_STACK": "true", "ipFamilyPolicy": "PreferDualStack", **sidecars}
        gateway |= {"service.ipFamilyPolicy": "PreferDualStack"}
    # What istiod puts into pods is there from their start on: a pod that names its settings is made anew with them.
    made = {f"podAnnotations.{SETTINGS}": Release("istiod", "istiod", istiod).digest}
    return [
        Release("istio-base", "base"),
        Release("istiod", "istiod", {**istiod, **made}),
        Release("istio-ingressgateway", "gateway", {**gateway, **made}),
    ]


def up(progress: Progress, node: Callable[[], None]) -> None:
    """Install Istio as far as it isn't there. The API server must answer.

    :param node: waits until pods are being run.
    """
    charts()
    with progress.step("install Istio"):
        base, istiod, gateway = releases()
        # Neither needs the other to be there, only the namespace.
        api.create_namespace(NAMESPACE)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(install, (base, istiod)))
    node()
    with progress.step("wait for istiod"):
        rollout("istiod")
    with progress.step("start the ingress gateway and the echo app"):
        install(gateway)
        made = istiod.settings[f"podAnnotations.{SETTINGS}"]
        api.apply("echo.yaml", image=images.images()["httpbin"].reference, host=settings.ECHO_HOST, istiod=made)
        rollout("istio-ingressgateway")
        wait_for_answer()


def charts() -> None:
    """Copy the charts to a place that stays the same, for users of the lab."""
    noted = settings.CHARTS / "revision"
    if noted.exists() and noted.read_text() == build.ISTIO_REVISION:
        return
    source = build.istio_source() / "manifests" / "charts"
    with files.whole_folder(settings.CHARTS) as folder:
        for name, below in SOURCES.items():
            # Go keeps modules read-only; a copy is meant to be removed again.
            shutil.copytree(source / below, folder / name, copy_function=shutil.copyfile)
        (folder / "revision").write_text(build.ISTIO_REVISION)


def install(release: Release) -> None:
    """Install or upgrade one release unless it is as it should be; an interrupted Helm is tidied up after."""
    state = helm("status", release.name, "-o", "json", check=False)
    info = json.loads(state)["info"] if state else {}
    if info.get("status") == "deployed" and info.get("description") == release.digest:
        return
    if info.get("status", "").startswith("pending"):
        # Helm takes its own unfinished work for another's and refuses; what it made already is adopted by its labels.
        api.kubectl("-n", NAMESPACE, "delete", "secret", "-l", f"owner=helm,name={release.name},status={info['status']}")
    helm(
        "upgrade",
        "--install",
        release.name,
        str(settings.CHARTS / release.chart),
        f"--description={release.digest}",
        *(["-f", str(release.values)] if release.values.exists() else []),
        *(f"--set-string={name}={value}" for name, value in release.settings.items()),
    )


def helm(*words: str, check: bool = True) -> str:
    """Run Helm on the lab, with caches of its own."""
    folders = {name: str(settings.STATE / "helm") for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
    return run([settings.BIN / "helm", f"--kubeconfig={settings.KUBECONFIG}", "-n", NAMESPACE, *words], env=folders, check=check)


def rollout(deployment: str, seconds: int = 120) -> None:
    """Wait for a Deployment."""
    try:
        api.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{deployment}", f"--timeout={seconds}s", timeout=seconds + 5)
    except EdgeError as error:
        pods = api.kubectl("-n", NAMESPACE, "get", "pods", "-o", "wide")
        raise EdgeError(
            f"{deployment} is not ready after {seconds} s", why=f"{error.why} / {pods}", fix="See: python -m lab status"
        ) from error


def answer() -> str:
    """Why the echo app doesn't answer through the gateway's NodePort, or ""."""
    connection = http.client.HTTPConnection(settings.NODE_IP, settings.NODE_PORTS["http2"], timeout=3)
    try:
        connection.request("GET", "/status/200", headers={"Host": settings.ECHO_HOST})
        response = connection.getresponse()
        response.read()
        return "" if response.status == 200 else f"the gateway answers {response.status} for {settings.ECHO_HOST}"
    except (OSError, http.client.HTTPException) as error:
        return f"{settings.NODE_IP}:{settings.NODE_PORTS['http2']}: {error or type(error).__name__}"
    finally:
        connection.close()


def wait_for_answer(seconds: float = 60) -> None:
    """Wait until a request has gone all the way."""
    deadline = time.monotonic() + seconds
    while why := answer():
        if time.monotonic() > deadline:
            raise EdgeError("the echo app does not answer through the gateway", why=why, fix="See: python -m lab status")
        time.sleep(0.1)
