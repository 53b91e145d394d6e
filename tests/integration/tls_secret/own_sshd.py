# SPDX-License-Identifier: GPL-3.0-or-later
"""An SSH server of the test's own, on a loopback address, with a host key and an ordinary user of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ADDRESS = "127.0.0.22"
USER, UID = "edgemesh-test", 64022
CONFIG = """\
ListenAddress {address}:{port}
HostKey {base}/host_key
AuthorizedKeysFile {base}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
MaxStartups 100
"""
# The user exists for this server and what it starts only: they have a list of users of their own.
START = """\
mount --bind {base}/passwd /etc/passwd && mount --bind {base}/group /etc/group && mount --bind {base}/shadow /etc/shadow &&
mount -t tmpfs -o mode=755 none /run && mkdir /run/sshd && exec {program} -D -e -f {base}/sshd_config"""
# Bash would run this machine's own ~/.bashrc before every command.
_PLAIN_SHELL = re.compile(r"(?<=:)/bin/bash$", re.MULTILINE)


@dataclass
class Sshd:
    """Where it is; ``home`` is the ordinary user's."""

    base: Path
    port: int

    @property
    def home(self) -> Path:
        return self.base / "home"

    def variables(self, user: str) -> dict[str, str]:
        """What a host of an inventory needs to be reached as this user."""
        return {
            "ansible_host": ADDRESS,
            "ansible_port": str(self.port),
            "ansible_user": user,
            "ansible_ssh_private_key_file": f"{self.base}/user_key",
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={self.base}/known_hosts -o StrictHostKeyChecking=yes",
        }


@contextlib.contextmanager
def sshd() -> Iterator[Sshd]:
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("needs sshd on this machine")
    if os.geteuid() != 0:
        pytest.skip("needs root, for an SSH server that several users can log in to")
    with tempfile.TemporaryDirectory(dir="/var/lib", prefix="edgemesh-test-") as name, socket.socket() as probe:
        base = Path(name)
        base.chmod(0o755)
        (base / "home").mkdir(mode=0o700)
        os.chown(base / "home", UID, UID)
        for key in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", base / key], check=True)
        shutil.copy(base / "user_key.pub", base / "authorized_keys")
        probe.bind((ADDRESS, 0))
        port = probe.getsockname()[1]
        probe.close()
        (base / "known_hosts").write_text(f"[{ADDRESS}]:{port} {(base / 'host_key.pub').read_text()}")
        (base / "sshd_config").write_text(CONFIG.format(address=ADDRESS, port=port, base=base))
        (base / "passwd").write_text(
            f"{_PLAIN_SHELL.sub('/bin/sh', Path('/etc/passwd').read_text())}{USER}:*:{UID}:{UID}::{base}/home:/bin/sh\n"
            f"sshd:*:{UID + 1}:{UID + 1}::/run/sshd:/usr/sbin/nologin\n"
        )
        (base / "group").write_text(f"{Path('/etc/group').read_text()}{USER}:x:{UID}:\n")
        shutil.copy("/etc/shadow", base / "shadow")
        with (base / "shadow").open("a") as shadow:
            shadow.write(f"{USER}:*:19000:0:99999:7:::\n")
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", START.format(base=base, program=program)]
        with (base / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
            try:
                _wait(port, server, base / "log")
                yield Sshd(base, port)
            finally:
                server.terminate()


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((ADDRESS, port), 1):
            return
        time.sleep(0.05)
    pytest.fail(f"the SSH server does not answer: {log.read_text()}")
