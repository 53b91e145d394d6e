"""Container images without an engine: docker-archive tars of one layer, imported by `ctr`.

Their tags come from what is in them, so that the pull policy stays IfNotPresent and nothing stale is ever run.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterable, Mapping
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
    """

    name: str
    key: str
    entries: tuple[Entry, ...]
    config: Mapping[str, Any] = field(default_factory=dict)

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
        ),
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
            entries = [resolve(entry) for entry in image.entries]
            if image.name == "proxyv2":
                entries += iptables(build.envoy())
            archive(image, entries)
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
    extensions = sorted(folder.glob("*.so"))
    libraries = {Path(name) for file in (*programs, *extensions, *others) for name in linked(file)}
    variants = {"nft": programs[0], "legacy": programs[1]}
    links = [
        Entry(f"usr/sbin/{family}{suffix}{tool}", link=variants["legacy" if suffix == "-legacy" else "nft"].name)
        for family in ("iptables", "ip6tables")
        for suffix in ("", "-nft", "-legacy")
        for tool in ("", "-save", "-restore")
    ]
    # On a merged-/usr machine ldd says /lib/...: the same place in the image, with the links that lead there.
    roots = [Entry("lib", link="usr/lib"), Entry("lib64", link="usr/lib64"), Entry("sbin", link="usr/sbin"), Entry("bin", link="usr/bin")]
    return [
        *roots,
        Entry("usr/bin/"),
        *(Entry(f"usr/sbin/{program.name}", program) for program in programs),
        *links,
        *(Entry(str(extension)[1:], extension) for extension in extensions),
        *(Entry(usr(library)[1:], library.resolve()) for library in sorted(libraries)),
    ]


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
