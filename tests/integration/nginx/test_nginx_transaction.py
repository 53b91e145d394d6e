# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx_config's transaction against real nginx: what is asked for is tested, served and confirmed, and goes without a trace."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from nginx_machine import NAME, TLS, Machine, site

from tests.figures import FIGURES

pytestmark = pytest.mark.lab


# --- the good way ---


def test_served_confirmed_and_quiet_the_second_time(vm: Machine) -> None:
    first = vm.good(site("one"))
    assert (first["changed"], first["tested"], first["how_tested"], first["confirmed"]) == (True, True, "namespace", True)
    assert vm.get() == "one"
    assert vm.get(8088, "user.example.com") == "user"
    before, workers = vm.stamps(), vm.workers()
    second = vm.good(site("one"))
    assert (second["changed"], second["generation"], second["confirmed"]) == (False, first["generation"], True)
    assert (vm.stamps(), vm.workers()) == (before, workers), "no file rewritten, nothing reloaded"


def test_check_mode_tests_and_touches_nothing(vm: Machine) -> None:
    before, workers = vm.stamps(), vm.workers()
    first = vm.good(site("one"), check=True)
    assert (first["changed"], first["tested"], first["confirmed"], first["generation"][:5]) == (True, True, False, "0001-")
    assert "unknown directive" in vm.refused({"a.conf": "nonsense on;"}, check=True)["why"]
    vm.good(site("one"), state="absent", check=True)
    assert (vm.stamps(), vm.workers(), vm.get()) == (before, workers, "")
    assert vm.good(site("one"))["generation"] == first["generation"], "check mode foretold it"
    before = vm.stamps()
    assert vm.good(state="absent", check=True)["changed"]
    assert vm.stamps() == before
    assert vm.sh("ls -d /tmp/edgemesh-* /run/edgemesh-* 2>/dev/null || true") == ""


def test_a_test_of_a_stopped_nginx_leaves_no_pid_file(vm: Machine) -> None:
    vm.sh("service nginx stop")
    vm.good(site("one"), check=True)
    assert vm.run("test -e /run/nginx.pid").returncode == 1


def test_changes_follow_and_old_generations_go(vm: Machine) -> None:
    for text in ("one", "two", "three", "four"):
        assert vm.good(site(text), keep=2)["changed"]
        assert vm.get() == text
    kept = vm.sh("ls /etc/nginx/edgemesh/generations").split()
    assert [name[:4] for name in kept] == ["0003", "0004"]


def test_a_file_no_longer_listed_is_gone(vm: Machine) -> None:
    vm.good({**site("one"), "more.conf": "server { listen 8081; return 200 more; }", "snippets/x": "# x\n"})
    assert vm.get(8081) == "more"
    vm.good(site("one"))
    assert vm.get(8081) == ""
    assert vm.get() == "one"


def test_absent_brings_everything_back(vm: Machine) -> None:
    before = vm.tree()
    vm.good(site("one"), default_site="disabled")
    assert "./sites-enabled/default" not in vm.tree()
    assert vm.get(80, "anything") == "", "the welcome page is gone"
    gone = vm.good(state="absent")
    assert (gone["changed"], gone["confirmed"]) == (True, True)
    assert vm.tree() == before
    assert (vm.get(), "Welcome" in vm.get(80, "anything")) == ("", True)
    again = vm.stamps()
    assert vm.good(state="absent")["changed"] is False
    assert vm.stamps() == again


def test_rotated_material_is_tested_and_reloaded(vm: Machine) -> None:
    vm.new_certificate()
    tls = site("tls", "8443 ssl", TLS)
    material = ["/etc/x.crt", "/etc/x.key"]
    vm.good(tls, depends_on=material)
    assert vm.good(tls, depends_on=material)["changed"] is False
    old, workers = vm.presented(), vm.workers()
    vm.new_certificate()
    outcome = vm.good(tls, depends_on=material)
    assert (outcome["changed"], outcome["material_changed"]) == (True, material)
    assert vm.presented() != old
    assert not vm.workers() & workers
    # a key of another certificate never gets as far as a reload
    vm.sh("cp /etc/x.key /root/keep && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out /etc/x.key")
    assert "key values mismatch" in vm.refused(tls, depends_on=material)["why"]
    assert vm.presented() != old


def test_what_a_hand_changed_is_put_right(vm: Machine) -> None:
    first = vm.good(site("one"))["generation"]
    vm.sh("echo 'server { listen 8090; return 200 x; }' > /etc/nginx/edgemesh/current/x.conf; service nginx reload")
    vm.becomes("x", 8090)
    second = vm.good(site("one"))
    assert second["changed"]
    assert second["generation"] != first
    assert (vm.get(8090), vm.get()) == ("", "one")


# --- started, stopped, other ways to reload ---


def test_nginx_is_started_when_asked(vm: Machine) -> None:
    vm.sh("service nginx stop")
    idle = vm.good(site("one"), start=False)
    assert (idle["changed"], idle["tested"], idle["confirmed"]) == (True, True, False)
    assert vm.good(site("one"), start=False)["changed"] is False
    assert vm.workers() == set()
    started = vm.good(site("one"))
    assert (started["changed"], started["confirmed"], vm.get()) == (True, True, "one")


def test_no_init_at_all(vm: Machine) -> None:
    vm.sh("service nginx stop; mv /etc/init.d/nginx /root/")
    try:
        assert vm.good(site("one"))["confirmed"], "started by itself"
        assert vm.good(site("two"))["confirmed"], "reloaded by a signal to the master"
        assert vm.get() == "two"
    finally:
        vm.sh("mv /root/nginx /etc/init.d/")


def test_a_killed_master_does_not_keep_nginx_from_starting(vm: Machine) -> None:
    """Which is why the confirmation server has no unix socket."""
    vm.good(site("one"))
    vm.sh("pkill -9 nginx; rm -f /run/nginx.pid; service nginx start")
    vm.becomes("one")
    assert vm.good(site("one"))["changed"] is False


def test_no_further_socket_where_nginx_listens_anyway(vm: Machine) -> None:
    before = vm.sh("ss -Hltn | awk '{print $4}' | sort")
    vm.good(site("one", "80"))
    assert vm.sh("ss -Hltn | awk '{print $4}' | sort") == before


def test_old_workers_may_drain(vm: Machine) -> None:
    vm.good({"slow.conf": f"server {{ listen 8080; server_name {NAME}; location / {{ return 200 one; }} }}\n"})
    # half a request keeps an old worker busy, once it has read it
    with socket.create_connection((vm.host.address, 8080)) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        vm.sh("while ss -Htn sport = :8080 | awk '$2 > 0' | grep -q .; do sleep 0.05; done")
        outcome = vm.good(site("two"))
        assert outcome["confirmed"]
        assert outcome["draining"] >= 1
        assert vm.get() == "two"
        client.sendall(f"Host: {NAME}\r\nConnection: close\r\n\r\n".encode())
        assert client.makefile().read().endswith("one")


def test_without_the_right_to_mount(vm: Machine) -> None:
    """As in most containers: the same verdicts, and nothing left behind."""
    limited = {"wrapper": "setpriv --bounding-set -sys_admin --inh-caps -sys_admin"}
    before = vm.tree()
    foretold = vm.good(site("one"), check=True, default_site="disabled", **limited)
    assert foretold["how_tested"] == "beside_main"
    error = vm.refused({"a.conf": "nonsense on;"}, **limited)
    assert "/etc/nginx/edgemesh/current/a.conf:1" in error["why"].replace(foretold["generation"], "x").replace("generations/x", "current")
    assert vm.tree() == before
    assert vm.good(site("one"), default_site="disabled", **limited)["confirmed"]
    assert vm.get() == "one"
    vm.good(state="absent", **limited)
    assert vm.tree() == before


def test_another_main_file_and_prefix(vm: Machine) -> None:
    vm.sh(
        "mkdir -p /srv/web/conf/conf.d /srv/web/logs; cat > /srv/web/conf/nginx.conf",
        "pid /srv/web/my.pid; error_log /srv/web/logs/error.log; events {} http { access_log off; include conf.d/*.conf; }",
    )
    try:
        vm.good(site("other", "8099"), main="/srv/web/conf/nginx.conf")
        assert vm.get(8099) == "other"
        assert vm.good(site("other", "8099"), main="/srv/web/conf/nginx.conf")["changed"] is False
        vm.good(site("more", "8099"), main="/srv/web/conf/nginx.conf")
        assert vm.get(8099) == "more"
        assert vm.run("test -e /etc/nginx/edgemesh").returncode == 1
    finally:
        vm.sh("kill $(cat /srv/web/my.pid); rm -rf /srv/web")


def test_another_prefix(vm: Machine) -> None:
    vm.sh(
        "mkdir -p /srv/web/logs /srv/web/conf/conf.d; cat > /srv/web/conf/nginx.conf",
        "pid logs/my.pid; error_log logs/error.log; events {} http { access_log logs/access.log; include conf.d/*.conf; }",
    )
    where = {"prefix": "/srv/web", "main": "conf/nginx.conf"}
    try:
        vm.good(site("other", "8099"), **where)
        assert vm.good(site("other", "8099"), **where)["changed"] is False
        vm.good(site("more", "8099"), **where)
        assert (vm.get(8099), vm.get(8088, "user.example.com")) == ("more", "user")
        assert vm.run("test -e /etc/nginx/edgemesh").returncode == 1
    finally:
        vm.sh("kill $(cat /srv/web/logs/my.pid); rm -rf /srv/web")


def test_an_nginx_built_with_other_paths(vm: Machine) -> None:
    """The distribution's program with other paths of the same length in it, which its -V then tells."""
    vm.sh(
        "mkdir -p /srv/proxy/conf.d /srv/log/nginx && "
        "sed -e 's,/etc/nginx,/srv/proxy,g; s,/run/nginx.pid,/srv/nginy.pid,g; s,/var/log/nginx,/srv/log/nginx,g' /usr/sbin/nginx "
        "> /srv/built && chmod +x /srv/built && cat > /srv/proxy/nginx.conf",
        "events {} http { access_log off; include conf.d/*.conf; }",
    )
    try:
        assert "--conf-path=/srv/proxy/nginx.conf" in vm.sh("/srv/built -V 2>&1")
        vm.good(site("built", "8099"), binary="/srv/built")
        assert vm.good(site("built", "8099"), binary="/srv/built")["changed"] is False
        assert "unknown directive" in vm.refused({"a.conf": "nonsense on;"}, binary="/srv/built")["why"]
        vm.good(site("more", "8099"), binary="/srv/built")
        assert (vm.get(8099), vm.get(8088, "user.example.com")) == ("more", "user")
        assert vm.run("test -e /etc/nginx/edgemesh").returncode == 1
        vm.good(state="absent", binary="/srv/built")
        assert vm.get(8099) == ""
    finally:
        vm.sh("kill $(cat /srv/nginy.pid); rm -rf /srv/proxy /srv/log /srv/built")


def test_two_hundred_files(vm: Machine) -> None:
    """Many files cost little more than one, and the second run costs next to nothing and writes nothing."""

    def routes(count: int) -> dict[str, str]:
        return {
            f"{number:03}.conf": f'server {{ listen 8080; server_name r{number}.example.com; location / {{ return 200 "{number}"; }} }}\n'
            for number in range(count)
        }

    def timed(files: dict[str, str]) -> tuple[float, dict[str, Any]]:
        started = time.monotonic()
        outcome = vm.good(files)
        return time.monotonic() - started, outcome

    for _chance in range(3):  # other work on the machine may fall on either of the two
        vm.good(state="absent")
        one, _outcome = timed(routes(1))
        vm.good(state="absent")
        many, _outcome = timed(routes(200))
        if many < 3 * one:
            break
    else:
        pytest.fail(f"1 file: {one:.2f} s, 200 files: {many:.2f} s")
    assert vm.get(host="r199.example.com") == "199"
    before, workers = vm.stamps(), vm.workers()
    second, outcome = timed(routes(200))
    third, again = timed(routes(200))
    assert (outcome["changed"], again["changed"]) == (False, False)
    assert (vm.stamps(), vm.workers()) == (before, workers), "no file rewritten, nothing reloaded"
    FIGURES.append(f"1 file: {one:.2f} s; 200 files: {many:.2f} s, second and third run {second:.2f} and {third:.2f} s")
