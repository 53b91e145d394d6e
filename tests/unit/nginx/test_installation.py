# SPDX-License-Identifier: GPL-3.0-or-later
"""What `nginx -V` says about an installation, what `nginx -T` says about a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.module_utils._errors import EdgeError
from plugins.module_utils._nginx.change.installation import discover, processes, verdict

DEBIAN = (
    "nginx version: nginx/1.22.1\nbuilt with OpenSSL 3.0.20\nTLS SNI support enabled\n"
    "configure arguments: --with-cc-opt='-g -O2 -ffile-prefix-map=/build/x=. --conf-path=/no' --prefix=/usr/share/nginx "
    "--conf-path=/etc/nginx/nginx.conf --error-log-path=stderr --pid-path=/run/nginx.pid --with-stream=dynamic\n"
)


def program(folder: Path, says: str, code: int = 0) -> str:
    path = folder / "nginx"
    path.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{says}END\nexit {code}\n")
    path.chmod(0o755)
    return str(path)


def test_a_packaged_nginx(tmp_path: Path) -> None:
    found = discover(program(tmp_path, DEBIAN))
    assert found is not None
    assert (found.version, found.version_text) == ((1, 22, 1), "1.22.1")
    assert (found.main, found.folder, found.pid_file) == ("/etc/nginx/nginx.conf", "/etc/nginx", "/run/nginx.pid")
    assert found.command("-T") == [found.binary, "-T"]
    assert found.path("logs/x") == "/usr/share/nginx/logs/x"


def test_an_nginx_built_with_relative_paths_or_none(tmp_path: Path) -> None:
    found = discover(
        program(tmp_path, "nginx version: openresty/1.27.1.2\nconfigure arguments: --prefix=/opt/web --pid-path=run/nginx.pid\n")
    )
    assert found is not None
    assert (found.main, found.pid_file, found.error_log) == (
        "/opt/web/conf/nginx.conf",
        "/opt/web/run/nginx.pid",
        "/opt/web/logs/error.log",
    )
    found = discover(program(tmp_path, "nginx version: nginx/1.30.0\n"))
    assert found is not None
    assert found.main == "/usr/local/nginx/conf/nginx.conf"


def test_another_main_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    found = discover(program(tmp_path, DEBIAN), str(tmp_path / "link" / "my.conf"))
    assert found is not None
    assert found.main == str(tmp_path / "real" / "my.conf"), "the folder's links are followed"
    assert found.command("-T") == [found.binary, "-T", "-c", found.main]
    same = discover(program(tmp_path, DEBIAN), "/etc/nginx/nginx.conf")
    assert same is not None
    assert same.default_main


RED_HAT = (
    "nginx version: nginx/1.26.3\nbuilt by gcc 14.2.1 20250110 (Red Hat 14.2.1-7) (GCC)\nconfigure arguments: --prefix=/usr/share/nginx "
    "--sbin-path=/usr/sbin/nginx --modules-path=/usr/lib64/nginx/modules --conf-path=/etc/nginx/nginx.conf "
    "--error-log-path=/var/log/nginx/error.log --http-log-path=/var/log/nginx/access.log --pid-path=/run/nginx.pid "
    "--lock-path=/run/lock/subsys/nginx --user=nginx --group=nginx --with-ld-opt='-Wl,-z,relro --pid-path=/no'\n"
)


def test_red_hats_nginx(tmp_path: Path) -> None:
    found = discover(program(tmp_path, RED_HAT))
    assert found is not None
    assert (found.main, found.pid_file, found.error_log) == ("/etc/nginx/nginx.conf", "/run/nginx.pid", "/var/log/nginx/error.log")


def test_another_prefix(tmp_path: Path) -> None:
    says = "nginx version: nginx/1.28.0\nconfigure arguments: --prefix=/opt/web --pid-path=run/nginx.pid --error-log-path=/var/log/e\n"
    found = discover(program(tmp_path, says), prefix="/srv/web")
    assert found is not None
    assert (found.main, found.pid_file, found.error_log) == ("/srv/web/conf/nginx.conf", "/srv/web/run/nginx.pid", "/var/log/e")
    assert found.command("-T") == [found.binary, "-T", "-p", "/srv/web"]
    assert (found.default_main, found.as_built) == (True, False), "no service manager that knows the name alone may look after it"
    found = discover(program(tmp_path, says), "other.conf", "/srv/web")
    assert found is not None
    assert found.command("-t") == [found.binary, "-t", "-p", "/srv/web", "-c", "/srv/web/other.conf"]
    same = discover(program(tmp_path, says), prefix="/opt/web/")
    assert same is not None
    assert (same.as_built, same.command("-T")) == (True, [same.binary, "-T"])


def test_no_nginx_and_what_is_none(tmp_path: Path) -> None:
    assert discover(str(tmp_path / "nowhere")) is None
    for says, code in (("hello\n", 0), (DEBIAN, 1)):
        with pytest.raises(EdgeError) as caught:
            discover(program(tmp_path, says, code))
        assert str(tmp_path) in caught.value.where


def test_a_verdict_names_what_counts() -> None:
    dated = '2026/11/21 09:50:16 [emerg] 16042#16042: unexpected "x" in /c/a.conf:1\nnginx: configuration file /c/nginx.conf test failed\n'
    assert verdict(1, "", dated, "namespace").complaints == ['unexpected "x" in /c/a.conf:1']
    plain = 'nginx: [warn] low bits\nnginx: [emerg] unknown directive "foo" in /c/a.conf:2\nnginx: configuration file x test failed\n'
    assert verdict(1, "", plain, "namespace").why == 'unknown directive "foo" in /c/a.conf:2'
    assert verdict(1, "", "", "namespace").why == "nginx -T ended with 1"
    good = verdict(0, "dump", "nginx: [warn] x\n", "namespace")
    assert (good.good, good.complaints, good.dump) == (True, [], "dump")
    assert "MII" not in str(verdict(1, "", "[emerg] 1#1: PEM -----BEGIN PRIVATE KEY----- MII\n", "namespace").complaints)


@pytest.mark.parametrize("content", ["", "\n", "no", "1", "99999999"])
def test_a_stale_pid_file_is_no_running_nginx(tmp_path: Path, content: str) -> None:
    (tmp_path / "pid").write_text(content)
    assert processes(str(tmp_path / "pid")).master == 0
    assert processes(str(tmp_path / "none")).master == 0
