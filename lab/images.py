# SPDX-License-Identifier: GPL-3.0-or-later
"""Container images without an engine: docker-archive tars of one layer, imported by `ctr`.

Their tags come from what is in them, so that the pull policy stays IfNotPresent and nothing stale is ever run.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from . import build, files, settings
from .progress import Progress
from .shell import run

HUB = "localhost/edgemesh"
RECIPE = "2"  # change it with anything below that changes what an image holds
ISTIO_USER = 1337
DEBIAN_PYTHON = Path("/usr/bin/python3")
# what Ansible's connections and modules run in a container, beside Python
COMMANDS = ("cat", "chmod", "dd", "id", "ls", "mkdir", "rm", "sh", "sleep")


@dataclass(frozen=True)
class Entry:
    """A file, folder or link of an image; `content` is a path on this machine, or the bytes themselves."""

    name: str
    content: Path | bytes | None = None
    link: str = ""
    mode: int = 0o755
    user: int = 0


@dataclass(frozen=True)
class Image:
    """An image.

    :param key: changes with its content; becomes the tag.
    :param config: as in OCI's image configuration: Entrypoint, User, Env, ...
    :param machine: gives further entries: programs of this machine with their libraries.
    """

    name: str
    key: str
    entries: tuple[Entry, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    machine: Callable[[], Iterable[Entry]] = tuple

    @property
    def reference(self) -> str:
        """What a pod names."""
        return f"{HUB}/{self.name}:{self.key}"

    @property
    def path(self) -> Path:
        """Where its tar is kept."""
        return settings.CACHE / "images" / f"{self.name}-{self.key}.tar"


def tag(*parts: str) -> str:
    """A fixed tag from what an image is made of."""
    return hashlib.sha256("\0".join((RECIPE, *parts)).encode()).hexdigest()[:12]


@cache
def images() -> dict[str, Image]:
    """All images by short name."""
    key = {name: binary.key for name, binary in build.BINARIES.items()}
    # Istio composes both names from one hub and one tag.
    istio = tag(key["pilot-discovery"], key["pilot-agent"], build.ENVOY_WHEEL)
    base = (Entry("etc/passwd", accounts("/sbin/nologin"), mode=0o644), Entry("tmp/", mode=0o1777))
    both = (
        one_program("pause", tag(key["pause"])),
        one_program("coredns", tag(key["coredns"])),
        one_program("go-httpbin", tag(key["go-httpbin"]), image="httpbin", User="65534"),
        Image(
            "pilot",
            istio,
            (*base, Entry("usr/local/bin/pilot-discovery", build.path("pilot-discovery"))),
            {"Entrypoint": ["/usr/local/bin/pilot-discovery"], "User": f"{ISTIO_USER}:{ISTIO_USER}"},
        ),
        Image(
            "proxyv2",
            istio,
            (
                *base,
                Entry("usr/local/bin/pilot-agent", build.path("pilot-agent")),
                Entry("usr/local/bin/envoy", build.envoy()),
                Entry("var/lib/istio/envoy/", user=ISTIO_USER),
                Entry("var/lib/istio/envoy/envoy_bootstrap_tmpl.json", Path("tools/packaging/common/envoy_bootstrap.json"), mode=0o644),
            ),
            {"Entrypoint": ["/usr/local/bin/pilot-agent"], "WorkingDir": "/", "Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
            lambda: iptables(build.envoy()),
        ),
        Image("python", tag(*versions(debian_python())), base, {"Entrypoint": ["/usr/bin/python3"], "Env": ["PATH=/usr/bin"]}, python),
    )
    return {image.name: image for image in both}


def one_program(program: str, key: str, image: str = "", **config: Any) -> Image:
    """An image of nothing but one static program."""
    entry = Entry(f"usr/local/bin/{program}", build.path(program))
    return Image(image or program, key, (entry,), {"Entrypoint": [f"/{entry.name}"], **config})


def make(progress: Progress) -> None:
    """Write the tars that are missing."""
    wanted = [image for image in images().values() if not image.path.exists()]
    if not wanted:
        return
    with progress.step("write images", len(wanted)) as step:
        for image in wanted:
            archive(image, [*map(resolve, image.entries), *image.machine()])
            step.advance(note=image.name)


def resolve(entry: Entry) -> Entry:
    """The entry with a relative path found in Istio's module."""
    if isinstance(entry.content, Path) and not entry.content.is_absolute():
        return Entry(entry.name, build.istio_source() / entry.content, mode=entry.mode, user=entry.user)
    return entry


def archive(image: Image, entries: Iterable[Entry]) -> None:
    """Write an image as a docker-archive: manifest, configuration, one layer."""
    image.path.parent.mkdir(parents=True, exist_ok=True)
    temporary, layer = image.path.with_suffix(".part"), image.path.with_suffix(".layer")
    try:
        with tarfile.open(layer, "w", format=tarfile.GNU_FORMAT) as tar:
            for name, entry in sorted(with_parents(entries).items()):
                add(tar, name, entry)
        with layer.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        config = json.dumps(
            {
                "architecture": build.architecture(),
                "os": "linux",
                "config": dict(image.config),
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
                "history": [],
            }
        ).encode()
        manifest = [{"Config": "config.json", "RepoTags": [image.reference], "Layers": ["layer.tar"]}]
        with tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar:
            add(tar, "manifest.json", Entry("", json.dumps(manifest).encode(), mode=0o644))
            add(tar, "config.json", Entry("", config, mode=0o644))
            add(tar, "layer.tar", Entry("", layer, mode=0o644))
        temporary.replace(image.path)
    finally:
        layer.unlink(missing_ok=True)
        temporary.unlink(missing_ok=True)


def with_parents(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Entries by name, with the folders above them that nobody names."""
    named = {entry.name: entry for entry in entries}
    for name in list(named):
        parts = name.rstrip("/").split("/")[:-1]
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count]) + "/"
            named.setdefault(folder, Entry(folder))
    return named


def add(tar: tarfile.TarFile, name: str, entry: Entry) -> None:
    """Add one entry: owners and times are fixed, so that the same input gives the same bytes."""
    info = tarfile.TarInfo(name.rstrip("/"))
    info.mode, info.uid, info.gid, info.mtime = entry.mode, entry.user, entry.user, 0
    if entry.link:
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
        tar.addfile(info)
    elif entry.content is None:
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    elif isinstance(entry.content, bytes):
        info.size = len(entry.content)
        tar.addfile(info, io.BytesIO(entry.content))
    else:
        info.size = entry.content.stat().st_size
        with entry.content.open("rb") as file:
            tar.addfile(info, file)


def accounts(shell: str) -> bytes:
    """An /etc/passwd."""
    return f"root:x:0:0:root:/root:{shell}\nistio-proxy:x:{ISTIO_USER}:{ISTIO_USER}::/nonexistent:{shell}\n".encode()


def iptables(*others: Path) -> list[Entry]:
    """This machine's iptables with its extensions, all that istio-init runs, and the libraries of these and of ``others``."""
    programs = [Path(shutil.which(name) or f"/usr/sbin/{name}").resolve() for name in ("xtables-nft-multi", "xtables-legacy-multi")]
    folder = next(Path("/usr/lib").glob("*/xtables"))
    variants = {"nft": programs[0], "legacy": programs[1]}
    links = [
        Entry(f"usr/sbin/{family}{suffix}{tool}", link=variants["legacy" if suffix == "-legacy" else "nft"].name)
        for family in ("iptables", "ip6tables")
        for suffix in ("", "-nft", "-legacy")
        for tool in ("", "-save", "-restore")
    ]
    return [*with_libraries([*programs, *sorted(folder.glob("*.so"))], others), *links]


def debian_python() -> tuple[str, ...]:
    """The Debian packages of this machine's Python: interpreter and standard library."""
    name = DEBIAN_PYTHON.resolve().name
    return (f"{name}-minimal", f"lib{name}-minimal", f"lib{name}-stdlib")


def versions(packages: Iterable[str]) -> list[str]:
    """What distinguishes these installed packages, and with them the libraries of the same release, from others."""
    return run(["dpkg-query", "--show", *packages, "coreutils", "dash", "libc6"]).splitlines()


def python() -> list[Entry]:
    """This machine's Python as Debian ships it, a shell, and what Ansible runs with it, without Python's own tests."""
    listed = map(Path, run(["dpkg", "--listfiles", *debian_python()]).splitlines())
    files = [path for path in listed if path.is_file() and path.parts[2] in ("bin", "lib") and "test" not in path.parts]
    commands = [Path("/usr/bin", name) for name in COMMANDS]
    return [*with_libraries([*files, *commands]), Entry("usr/bin/python3", link=DEBIAN_PYTHON.resolve().name)]


def with_libraries(files: Iterable[Path], others: Iterable[Path] = ()) -> list[Entry]:
    """Files of this machine at their places below /usr, and the libraries that these and ``others`` are linked with."""
    linking = [path for path in (*files, *others) if path.suffix == ".so" or os.access(path, os.X_OK)]
    libraries = {Path(name) for path in linking for name in linked(path)}
    # On a merged-/usr machine ldd says /lib/...: the same place in the image, with the links that lead there.
    roots = [Entry(name, link=f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin")]
    return [*roots, Entry("usr/bin/"), *(Entry(usr(path)[1:], path.resolve()) for path in sorted({*files, *libraries}))]


def usr(path: Path) -> str:
    """The path below /usr, where the root's folders are links."""
    return str(path) if str(path).startswith("/usr/") else f"/usr{path}"


def linked(program: Path) -> list[str]:
    """The libraries that a program or library is linked with, and its loader."""
    said = run(["ldd", program], check=False)
    return [word for line in said.splitlines() for word in line.split() if word.startswith("/")]


def note() -> None:
    """Write down what the cluster can run, for users of the lab."""
    known = images()
    noted = {name: image.reference for name, image in known.items()} | {"hub": HUB, "tag": known["pilot"].key}
    files.write(settings.IMAGES, json.dumps(noted, indent=1) + "\n")


def load(ctr: tuple[str, ...], progress: Progress) -> None:
    """Import the images that containerd doesn't have."""
    present = set(run([*ctr, "images", "list", "-q"]).split())
    wanted = [image for image in images().values() if image.reference not in present]
    if not wanted:
        return
    with progress.step("load images", len(wanted)) as step, ThreadPoolExecutor(2) as pool:

        def one(image: Image) -> None:
            run([*ctr, "images", "import", image.path], timeout=300)
            step.advance(note=image.name)

        list(pool.map(one, wanted))
