# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away VM of the lab with an nginx of its own, as the tests see it."""

from __future__ import annotations

import http.client
import io
import json
import os
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from nginx_load import RATE, SLOW_RATE, Load

from lab import identity, settings
from lab.settings import Host

CHECKOUT = Path(__file__).resolve().parents[3]
DRIVER = "/opt/edgemesh-test"
NAME = "web.example.com"
#: Beside the distribution's: what a user may have there already.
TLS = "ssl_certificate /etc/x.crt; ssl_certificate_key /etc/x.key;"
USER_TLS = TLS.replace("/etc/x", "/etc/user")
USER_SITE = f"server {{ listen 8088; listen 8449 ssl http2; {USER_TLS} server_name user.example.com; return 200 user; }}\n"


def site(text: str, listen: str = "8080", more: str = "") -> dict[str, str]:
    """A configuration that answers with a text."""
    return {"site.conf": f'server {{ listen {listen}; server_name {NAME}; {more} location / {{ return 200 "{text}"; }} }}\n'}


def busy(text: str) -> dict[str, str]:
    """The same for load: over TLS, with an answer that takes its time."""
    slow = f"location = /slow {{ alias /srv/slow; limit_rate {SLOW_RATE}; }}"
    return site(text, "8443 ssl http2", f"listen 8080; {TLS} {slow}")


class Machine:
    """A VM reached over SSH as root."""

    def __init__(self, host: Host, load_program: Path = Path()) -> None:
        self.host, self.load_program = host, load_program
        # a socket's path must be short, which pytest's folders are not
        self._control = tempfile.mkdtemp(prefix="ssh-")
        self._ssh = [
            "ssh", *identity.SSH_OPTIONS.split(), "-o", "BatchMode=yes", "-o", "ControlMaster=auto",
            "-o", f"ControlPath={self._control}/%C", "-o", "ControlPersist=120", "-i", str(settings.SSH_KEY), f"admin@{host.address}",
        ]  # fmt: skip

    def close(self) -> None:
        """End the connection."""
        subprocess.run([*self._ssh, "-O", "exit"], capture_output=True, check=False)
        shutil.rmtree(self._control, ignore_errors=True)

    def run(self, command: str, given: bytes | str = b"", timeout: float = 600) -> subprocess.CompletedProcess[bytes]:
        """A shell command as root, whatever its exit code."""
        data = given.encode() if isinstance(given, str) else given
        return subprocess.run(
            [*self._ssh, f"sudo sh -c {shlex.quote(command)}"], input=data, capture_output=True, timeout=timeout, check=False
        )

    def sh(self, command: str, given: bytes | str = b"", timeout: float = 600) -> str:
        """A shell command as root that must succeed; its output."""
        done = self.run(command, given, timeout)
        assert done.returncode == 0, f"{command}\n{done.stdout.decode()}{done.stderr.decode()}"
        return done.stdout.decode().strip()

    def upload(self, path: str, content: str | bytes) -> None:
        self.sh(f"cat > {path}", content)

    def upload_driver(self) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(Path(__file__).with_name("nginx_driver.py"), "nginx_driver.py")
            # the ground floor as a whole, and nginx's rooms over it
            for part in (*CHECKOUT.glob("plugins/module_utils/_*.py"), CHECKOUT / "plugins/module_utils/_nginx"):
                tar.add(part, part.relative_to(CHECKOUT), filter=_no_bytecode)
        self.sh(f"rm -rf {DRIVER} && mkdir -p {DRIVER} && tar -x -C {DRIVER}", packed.getvalue())

    def apply(self, files: dict[str, str] | None = None, wrapper: str = "", **request: Any) -> dict[str, Any]:
        """One transaction; ``wrapper`` is a command that runs it, such as setpriv. A killed one answers ``{"killed": true}``."""
        request = {"files": files or {}, **request}
        done = self.run(f"{wrapper} python3 -B {DRIVER}/nginx_driver.py", json.dumps(request))
        if done.returncode == 137:
            return {"killed": True}
        assert done.returncode == 0, done.stderr.decode()
        return dict(json.loads(done.stdout))

    def good(self, files: dict[str, str] | None = None, **request: Any) -> dict[str, Any]:
        """One transaction that must succeed; its outcome."""
        said = self.apply(files, **request)
        assert "outcome" in said, said.get("sentence", said)
        return dict(said["outcome"])

    def refused(self, files: dict[str, str] | None = None, **request: Any) -> dict[str, Any]:
        """One transaction that must fail; its error, with the whole sentence."""
        said = self.apply(files, **request)
        assert "error" in said, said
        return {**said["error"], "sentence": said["sentence"]}

    def get(self, port: int = 8080, host: str = NAME, path: str = "/") -> str:
        """The answer's text, or "" when there is none."""
        try:
            connection = http.client.HTTPConnection(self.host.address, port, timeout=60)
            connection.request("GET", path, headers={"Host": host})
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            return ""

    def becomes(self, text: str, port: int = 8080, host: str = NAME) -> None:
        """Wait for an answer that somebody else's reload brings, and until the workers of before have gone."""
        until = time.monotonic() + 60
        while (found := self.get(port, host)) != text or len(self.workers()) > (os.cpu_count() or 1):
            assert time.monotonic() < until, f"port {port} answers {found!r}, not {text!r}, or old workers stay: {self.workers()}"
            time.sleep(0.05)

    def tree(self, *, ours: bool = True) -> dict[str, str]:
        """Type, mode and content of everything under the configuration folder."""
        skip = "" if ours else "-not -path './edgemesh*' -not -path ./conf.d/edgemesh.conf"
        listed = self.sh(
            f"cd /etc/nginx && find . {skip} -printf '%p|%y%m|%l\\n' | sort; find . {skip} -type f -exec sha256sum {{}} + | sort -k 2"
        )
        found: dict[str, str] = {}
        for line in listed.splitlines():
            if "|" in line:
                path, *facts = line.split("|")
                found[path] = "|".join(facts)
            else:
                digest, path = line.split(maxsplit=1)
                found[path] += f"|{digest}"
        return found

    def stamps(self) -> str:
        """Inode and times of everything under the configuration folder."""
        return self.sh("cd /etc/nginx && find . -printf '%p %i %T@ %C@\\n' | sort")

    def workers(self) -> set[str]:
        return set(self.sh("pgrep -f '^nginx: worker process' || true").split())

    def new_certificate(self) -> None:
        """The one that TLS names, made anew."""
        self.sh(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /etc/x.key -out /etc/x.crt -days 30 -subj /CN=x"
        )

    def presented(self) -> str:
        """The certificate that clients see at port 8443."""
        return self.sh("openssl s_client -connect 127.0.0.1:8443 </dev/null 2>/dev/null | openssl x509 -noout -fingerprint")

    def live_config_is_good(self) -> bool:
        """Whether a reload by somebody else would work right now."""
        return self.run("nginx -t").returncode == 0

    def load(self, *, user: bool = False, rate: int = RATE) -> Load:
        """Requests to our site, or to the user's, until the block ends."""
        port, host = (8449, "user.example.com") if user else (8443, NAME)
        return Load(self.load_program, self.host.address, port, host, rate)


def _no_bytecode(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in info.name else info
