"""The nginx of each Debian release, run on this machine: nothing is installed, no root file system entered.

The machine's own release is its own package. Another one's is that release's package, started by the dynamic loader and the libraries of
the lab's root file system for that release.
"""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from probe_rig import nginx_binary

from lab import apt, settings
from lab.progress import Progress
from lab.rootfs import Root, locked

VERSIONS = {"bookworm": "1.22", "trixie": "1.26"}


@cache
def program(release: str) -> tuple[str, ...]:
    """What to run in place of ``nginx``."""
    if release == apt.host_release():
        return (nginx_binary(),)
    root = Root(release).ensure(Progress())
    folder = settings.CACHE / "probe" / f"nginx-{release}"
    binary = folder / "usr/sbin/nginx"
    with locked(settings.CACHE / "probe" / "nginx.lock"):
        if not binary.exists():
            _unpack(release, folder)
    loader = next((root / "usr").glob("lib*/ld-linux*.so.*"), None) or next((root / "usr/lib").glob("*/ld-linux*.so.*"))
    libraries = ":".join(str(each) for each in (root / "usr/lib").glob("*-linux-gnu*"))
    return (str(loader), "--library-path", libraries, str(binary))


def _unpack(release: str, folder: Path) -> None:
    lists = folder / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "debian.sources").write_text(apt.sources(release))
    own = [
        "-o",
        f"Dir::Etc::sourcelist={folder}/debian.sources",
        "-o",
        "Dir::Etc::sourceparts=/dev/null",
        "-o",
        f"Dir::State::Lists={lists}",
    ]
    for command in (["update"], ["download", "nginx"]):
        subprocess.run(["apt-get", "-q", *own, *command], cwd=folder, check=True, capture_output=True)
    subprocess.run(["dpkg-deb", "-x", str(next(folder.glob("nginx_*.deb"))), str(folder)], check=True)
    subprocess.run(["rm", "-r", str(lists)], check=True)
