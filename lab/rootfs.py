# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian root file systems: built once by mmdebstrap, kept in the cache as a tar and unpacked, shared read-only by VMs.

mmdebstrap rather than debootstrap: it installs with the machine's own apt, so mirrors, proxies and credentials are
apt's matter, and it needs one third of the time.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import shutil
import tarfile
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from . import apt, files, settings
from .apt import File
from .shell import run

# The lab's users need them on the machine itself.
HOST_PACKAGES = ("debian-archive-keyring", "iproute2", "mmdebstrap", "openssh-client", "util-linux", "zstd")
COMMON = ("ca-certificates", "iproute2", "openssh-server", "procps", "python3", "sudo", "sysvinit-core")
# One root for each release: clients are of the newer one and need more; the older one does without, so that nobody comes to count on it.
PACKAGES = {"bookworm": COMMON, "trixie": (*COMMON, "curl", "openssl")}

# Documentation and translations: two thirds of the files and none of the behaviour.
DPKG = "".join(f"path-exclude=/usr/share/{name}/*\n" for name in ("doc", "info", "locale", "man"))
SSHD = """\
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
MaxStartups 100:30:300
MaxSessions 100
"""

# Runs on the machine when all packages are in; $1 is the root. What it removes belongs to the machine, or to one VM only.
CUSTOMIZE = """\
set -eu
cd "$1"
rm -f etc/apt/sources.list etc/apt/sources.list.d/* etc/apt/auth.conf etc/apt/auth.conf.d/* etc/apt/apt.conf.d/90machine
rm -f etc/ssh/ssh_host_*_key* etc/machine-id etc/hostname etc/resolv.conf
chroot . update-ca-certificates >/dev/null 2>&1
chroot . useradd --create-home --shell /bin/bash admin
install -d -m 700 root/.ssh
install -d -m 700 -o 1000 -g 1000 home/admin/.ssh
echo 'admin ALL=(ALL) NOPASSWD: ALL' >etc/sudoers.d/admin
chmod 440 etc/sudoers.d/admin
# A namespace has no disks, clock or terminals to set up: straight to runlevel 2, without getty.
sed -i -e '/^si:/d' -e '/getty/d' -e 's,^l2:.*,l2:2:wait:/etc/init.d/rc 2 >>/var/log/boot 2>\\&1,' etc/inittab
"""


class Step(Protocol):
    """A piece of work under way."""

    def note(self, text: str) -> None:
        """Say what is being done right now."""


class Progress(Protocol):
    """Whoever shows the work to a person."""

    def step(self, title: str) -> AbstractContextManager[Step]:
        """Report the block as one step."""


@dataclass(frozen=True)
class Root:
    """The root file system of a release.

    :param release: Debian code name.
    """

    release: str

    @property
    def packages(self) -> tuple[str, ...]:
        """Beside Debian's essential and required ones."""
        return PACKAGES[self.release]

    @property
    def key(self) -> str:
        """Names it, and changes with everything that it is made of."""
        contents = [[file.path, file.content.hex()] for file in apt.authorities()]
        recipe = [self.release, sorted(self.packages), DPKG, SSHD, CUSTOMIZE, contents]
        return f"{self.release}-{hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]}"

    @property
    def folder(self) -> Path:
        """Where it is unpacked. Nothing may be written there: all VMs of its kind share it."""
        return settings.CACHE / "roots" / self.key

    @property
    def tar(self) -> Path:
        """What it is unpacked from: survives being copied to another machine by whatever keeps caches."""
        return self.folder.with_suffix(".tar.zst")

    def ensure(self, progress: Progress) -> Path:
        """Build and unpack it unless that is done; return the folder.

        :raises EdgeError: a package can't be had, or a program is missing.
        """
        if not self.folder.is_dir():
            if not self.tar.is_file():
                with progress.step(f"Debian {self.release} root file system"):
                    self.build()
            with files.whole_folder(self.folder) as folder:
                run(["tar", "--zstd", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", self.tar, "-C", folder])
        return self.folder

    def build(self) -> None:
        """Make the tar. One at a time: whoever calls it holds the lab's lock."""
        work = self.folder.with_suffix(".work")
        shutil.rmtree(work, ignore_errors=True)  # of a killed build: its mounts died with it
        work.mkdir(parents=True)
        (work / "debian.sources").write_text(apt.sources(self.release))
        (work / "customize").write_text(CUSTOMIZE)
        (work / "dpkg").write_text(DPKG)
        (work / "files.tar").write_bytes(
            archive([File("/etc/ssh/sshd_config.d/lab.conf", SSHD.encode()), *apt.client_files(), *apt.authorities()])
        )
        # A pid and a mount namespace of its own that end with this process: a killed build leaves neither processes nor mounts.
        alone = ("setpriv", "--pdeathsig", "KILL", "unshare", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")
        run(
            [
                *(*alone, "mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar", f"--include={','.join(self.packages)}"),
                f"--dpkgopt={work}/dpkg",
                f"--setup-hook=tar-in {work}/files.tar /",
                f'--customize-hook=sh {work}/customize "$1"',
                *(self.release, work / "root.tar.zst", work / "debian.sources"),
            ],
            env={"TMPDIR": str(work)},
            timeout=1800,
            fix=f"Check that `apt-get update` works here, and: apt-get install {' '.join(HOST_PACKAGES)}",
        )
        (work / "root.tar.zst").replace(self.tar)
        shutil.rmtree(work)


def archive(members: Iterable[File]) -> bytes:
    """An uncompressed tar of some files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            entry = tarfile.TarInfo(member.path.lstrip("/"))
            entry.size, entry.mode, entry.mtime = len(member.content), member.mode, int(time.time())
            entry.uid = entry.gid = member.owner
            tar.addfile(entry, io.BytesIO(member.content))
    return buffer.getvalue()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; wait for whoever holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
