# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine's own nginx on a rendered configuration in a folder: tested, or run as a process of ours."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from lab import apt
from tests.nginx_releases import program, stream_module

_MATERIAL = re.compile(r"(?<= )(/etc/edgemesh/tls|/base)/")


class Nginx:
    """A folder with certificates and a main file, for the nginx of a Debian release, by default the machine's own."""

    def __init__(self, folder: Path, release: str = "") -> None:
        self.folder, self.release = folder, release or apt.host_release()
        self.pair = (folder / "pair.crt", folder / "pair.key")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test",
             "-addext", "subjectAltName=DNS:*.example.com", "-keyout", str(self.pair[1]), "-out", str(self.pair[0])],
            check=True, capture_output=True,
        )  # fmt: skip

    def write(self, http: str, stream: str = "", main: str = "", files: Mapping[str, str] | None = None) -> None:
        """The main file; the material that it names becomes the folder's one pair.

        :param files: of a generation, which the main file includes before ``http``.
        """
        for name in ("tls", "logs"):
            (self.folder / name).mkdir(exist_ok=True)
        shutil.rmtree(self.folder / "edgemesh", ignore_errors=True)
        for path, text in (files or {}).items():
            file = self.folder / "edgemesh/current" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._here(text))
        if files:
            http = f"include edgemesh/current/*.conf;\n{http}"
            # only a host whose nginx has the module reads them
            stream = "include edgemesh/current/stream/*.conf;\n" if any(re.fullmatch(r"stream/[^/]+\.conf", path) for path in files) else ""
        whole = stream_module(self.release) if stream else ""
        whole += f"pid {self.folder}/pid;\nerror_log {self.folder}/logs/error.log;\n{main}"
        # room for all that waits while what is behind it is slow
        whole += "worker_rlimit_nofile 8192;\nevents { worker_connections 4096; }\n"
        whole += f"http {{\naccess_log off;\n{self._here(http)}}}\n" + (f"stream {{\n{self._here(stream)}}}\n" if stream else "")
        (self.folder / "nginx.conf").write_text(whole)

    def _here(self, text: str) -> str:
        text = _MATERIAL.sub(f"{self.folder}/tls/", text)
        for path in re.findall(rf"{self.folder}/tls/[^; ]+", text):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.pair[path.endswith(".key")], path)
        return text.replace("/var/log/nginx/", f"{self.folder}/logs/")

    @property
    def command(self) -> list[str]:
        """What runs it."""
        return [
            *program(self.release),
            "-e",
            str(self.folder / "logs/early.log"),
            "-p",
            str(self.folder),
            "-c",
            str(self.folder / "nginx.conf"),
        ]

    def build(self) -> str:
        """What ``nginx -V`` says."""
        return subprocess.run([*program(self.release), "-V"], capture_output=True, text=True, check=True).stderr

    def dump(self) -> str:
        """What ``nginx -v -T`` says on both streams."""
        done = subprocess.run([*self.command, "-T"], capture_output=True, text=True, check=True)
        return self.build() + done.stdout

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def test(self) -> str:
        """What ``nginx -T`` complains of; empty when it is content."""
        done = subprocess.run([*self.command, "-T"], capture_output=True, text=True, errors="replace", check=False)
        return "" if done.returncode == 0 and not re.search(r"\[(emerg|alert|crit|error|warn)\]", done.stderr) else done.stderr
