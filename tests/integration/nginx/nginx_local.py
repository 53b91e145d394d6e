"""The machine's own nginx on a rendered configuration in a folder: tested, or run as a process of ours."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

from lab import apt, settings

_PATH = os.environ.get("PATH", "") + ":/usr/sbin"
_MATERIAL = re.compile(r"(?<= )(/etc/edgemesh/tls|/base)/")


@functools.cache
def package(name: str, file: str) -> Path:
    """A file of a Debian package, unpacked into the cache: nothing is installed."""
    folder = settings.CACHE / "nginx-tests" / name
    if not (folder / file).exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-q", name], cwd=folder, check=True, capture_output=True)
        subprocess.run(["dpkg-deb", "-x", str(next(folder.glob(f"{name}_*.deb"))), str(folder)], check=True)
    return folder / file


def binary() -> str:
    return shutil.which("nginx", path=_PATH) or str(package("nginx", "usr/sbin/nginx"))


#: Debian 13's nginx, and the libraries that it was built with.
_TRIXIE = ("nginx", "libnginx-mod-stream", "libc6", "libssl3t64", "libpcre2-8-0", "libcrypt1", "zlib1g")


@functools.cache
def trixie() -> Path:
    """Where the packages of Debian 13's nginx lie unpacked, in the cache; its own loader lets it run on an older Debian."""
    folder = settings.CACHE / "nginx-tests" / "trixie"
    if not (folder / "tree/usr/sbin/nginx").exists():
        for name in ("sources", "lists/partial", "archives/partial", "debs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        main = apt.sources("trixie").split("\n\n")[0]
        (folder / "sources/debian.sources").write_text(main + "\n")
        (folder / "status").touch()
        places = {
            "Etc::sourcelist": "/dev/null", "Etc::sourceparts": folder / "sources", "State::lists": folder / "lists",
            "State::status": folder / "status", "Cache": folder,
        }  # fmt: skip
        options = [part for name, path in places.items() for part in ("-o", f"Dir::{name}={path}")]
        options += ["-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"]
        subprocess.run(["apt-get", *options, "update"], check=True, capture_output=True)
        subprocess.run(["apt-get", *options, "download", *_TRIXIE], cwd=folder / "debs", check=True, capture_output=True)
        fresh = folder / "tree.new"
        shutil.rmtree(fresh, ignore_errors=True)
        for deb in (folder / "debs").glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(deb), str(fresh)], check=True)
        fresh.rename(folder / "tree")
    return folder / "tree"


def program(release: str = "") -> list[str]:
    """The command of this machine's nginx, or of Debian 13's."""
    if release != "trixie" or apt.host_release() == "trixie":
        return [binary()]
    libraries = trixie() / "usr/lib/x86_64-linux-gnu"
    return [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries), str(trixie() / "usr/sbin/nginx")]


@functools.cache
def stream_module(release: str = "") -> str:
    """The line that loads the stream module, empty where nginx has it built in."""
    if release == "trixie" and len(program(release)) > 1:
        return f"load_module {trixie()}/usr/lib/nginx/modules/ngx_stream_module.so;\n"
    built = subprocess.run([binary(), "-V"], capture_output=True, text=True, check=True).stderr
    if "--with-stream " in built + " ":
        return ""
    installed = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    module = installed if installed.exists() else package("libnginx-mod-stream", "usr/lib/nginx/modules/ngx_stream_module.so")
    return f"load_module {module};\n"


class Nginx:
    """A folder with certificates and a main file, for this machine's nginx or Debian 13's (``trixie``)."""

    def __init__(self, folder: Path, release: str = "") -> None:
        self.folder, self.release = folder, release
        self.pair = (folder / "pair.crt", folder / "pair.key")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test",
             "-addext", "subjectAltName=DNS:*.example.com", "-keyout", str(self.pair[1]), "-out", str(self.pair[0])],
            check=True, capture_output=True,
        )  # fmt: skip

    def write(self, http: str, stream: str = "", main: str = "") -> None:
        """The main file; the material that it names becomes the folder's one pair."""
        for name in ("tls", "logs"):
            (self.folder / name).mkdir(exist_ok=True)
        http = _MATERIAL.sub(f"{self.folder}/tls/", http)
        for path in re.findall(rf"{self.folder}/tls/[^; ]+", http):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.pair[path.endswith(".key")], path)
        http, stream = (text.replace("/var/log/nginx/", f"{self.folder}/logs/") for text in (http, stream))
        whole = stream_module(self.release) if stream else ""
        whole += f"pid {self.folder}/pid;\nerror_log {self.folder}/logs/error.log;\n{main}events {{ }}\n"
        whole += f"http {{\naccess_log off;\n{http}}}\n" + (f"stream {{\n{stream}}}\n" if stream else "")
        (self.folder / "nginx.conf").write_text(whole)

    @property
    def _command(self) -> list[str]:
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
        done = subprocess.run([*self._command, "-T"], capture_output=True, text=True, check=True)
        return self.build() + done.stdout

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def test(self) -> str:
        """What ``nginx -T`` complains of; empty when it is content."""
        done = subprocess.run([*self._command, "-T"], capture_output=True, text=True, errors="replace", check=False)
        return "" if done.returncode == 0 and not re.search(r"\[(emerg|alert|crit|error|warn)\]", done.stderr) else done.stderr
