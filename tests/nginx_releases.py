# SPDX-License-Identifier: GPL-3.0-or-later
"""The nginx of each Debian release, run on this machine: nothing is installed, no root file system entered.

The machine's own release is its own package. Another one's is that release's package, started by the dynamic loader and the libraries of
the lab's root file system for that release.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from lab import apt, settings
from lab.progress import Progress
from lab.rootfs import Root, locked

VERSIONS = {"bookworm": "1.22", "trixie": "1.26"}
_BINARY, _STREAM = "usr/sbin/nginx", "usr/lib/nginx/modules/ngx_stream_module.so"
_PACKAGES = {_BINARY: "nginx", _STREAM: "libnginx-mod-stream"}


@cache
def program(release: str) -> tuple[str, ...]:
    """What to run in place of ``nginx``."""
    if release == apt.host_release():
        return (nginx_binary(),)
    root = Root(release).ensure(Progress())
    loader = next((root / "usr").glob("lib*/ld-linux*.so.*"), None) or next((root / "usr/lib").glob("*/ld-linux*.so.*"))
    libraries = ":".join(str(each) for each in (root / "usr/lib").glob("*-linux-gnu*"))
    return (str(loader), "--library-path", libraries, str(_unpacked(release) / _BINARY))


@cache
def stream_module(release: str) -> str:
    """The line that loads the stream module, empty where this nginx has it built in."""
    built = subprocess.run([*program(release), "-V"], capture_output=True, text=True, check=True).stderr
    if "--with-stream " in built + " ":
        return ""
    if release == apt.host_release():
        installed = Path("/", _STREAM)
        return f"load_module {installed if installed.exists() else _own(_STREAM)};\n"
    return f"load_module {_unpacked(release) / _STREAM};\n"


@cache
def nginx_binary() -> str:
    """The machine's nginx, else Debian's package unpacked into the cache: nothing is installed, no service started."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin") or str(_own(_BINARY))


def _own(file: str) -> Path:
    """A file of a package of this machine's release."""
    name = _PACKAGES[file]
    folder = settings.CACHE / "probe" / name
    with locked(settings.CACHE / "probe" / "nginx.lock"):
        if not (folder / file).exists():
            folder.mkdir(parents=True, exist_ok=True)
            _fetch(folder, [name], [])
    return folder / file


def _unpacked(release: str) -> Path:
    """Where the packages of another release lie."""
    folder = settings.CACHE / "probe" / f"nginx-{release}"
    with locked(settings.CACHE / "probe" / "nginx.lock"):
        if not all((folder / file).exists() for file in _PACKAGES):
            lists = folder / "lists"
            (lists / "partial").mkdir(parents=True, exist_ok=True)
            (folder / "debian.sources").write_text(apt.sources(release))
            places = {"Etc::sourcelist": folder / "debian.sources", "Etc::sourceparts": "/dev/null", "State::Lists": lists}
            options = [part for name, path in places.items() for part in ("-o", f"Dir::{name}={path}")]
            subprocess.run(["apt-get", "-q", *options, "update"], cwd=folder, check=True, capture_output=True)
            _fetch(folder, [*_PACKAGES.values()], options)
            shutil.rmtree(lists)
    return folder


def _fetch(folder: Path, names: list[str], options: list[str]) -> None:
    subprocess.run(["apt-get", "-q", *options, "download", *names], cwd=folder, check=True, capture_output=True)
    for name in names:
        subprocess.run(["dpkg-deb", "-x", str(max(folder.glob(f"{name}_*.deb"))), str(folder)], check=True)
