"""nginx_config's transaction against real nginx: what works is confirmed, what fails leaves what was there, serving."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from nginx_machine import NAME, Machine, site

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
    new_certificate(vm)
    tls = site("tls", "8443 ssl", TLS)
    material = ["/etc/x.crt", "/etc/x.key"]
    vm.good(tls, depends_on=material)
    assert vm.good(tls, depends_on=material)["changed"] is False
    old, workers = presented(vm), vm.workers()
    new_certificate(vm)
    outcome = vm.good(tls, depends_on=material)
    assert (outcome["changed"], outcome["material_changed"]) == (True, material)
    assert presented(vm) != old
    assert not vm.workers() & workers
    # a key of another certificate never gets as far as a reload
    vm.sh("cp /etc/x.key /root/keep && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out /etc/x.key")
    assert "key values mismatch" in vm.refused(tls, depends_on=material)["why"]
    assert presented(vm) != old


def test_what_a_hand_changed_is_put_right(vm: Machine) -> None:
    first = vm.good(site("one"))["generation"]
    vm.sh("echo 'server { listen 8090; return 200 x; }' > /etc/nginx/edgemesh/current/x.conf; service nginx reload; sleep 1")
    assert vm.get(8090) == "x"
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
    vm.sh("pkill -9 nginx; rm -f /run/nginx.pid; service nginx start; sleep 0.5")
    assert vm.get() == "one"
    assert vm.good(site("one"))["changed"] is False


def test_no_further_socket_where_nginx_listens_anyway(vm: Machine) -> None:
    before = vm.sh("ss -Hltn | awk '{print $4}' | sort")
    vm.good(site("one", "80"))
    assert vm.sh("ss -Hltn | awk '{print $4}' | sort") == before


def test_old_workers_may_drain(vm: Machine) -> None:
    vm.good({"slow.conf": f"server {{ listen 8080; server_name {NAME}; location / {{ return 200 one; }} }}\n"})
    # half a request keeps an old worker busy
    hold = "import socket, time; s = socket.create_connection(('127.0.0.1', 8080)); s.sendall(b'GET / HTTP/1.1\\r\\n'); time.sleep(8)"
    vm.sh(f'(timeout 9 python3 -c "{hold}" >/dev/null 2>&1 &) ; sleep 0.5')
    started = time.monotonic()
    assert vm.good(site("two"))["confirmed"]
    assert time.monotonic() - started < 6
    assert vm.get() == "two"


def test_without_the_right_to_mount(vm: Machine) -> None:
    """As in most containers: the same verdicts, and nothing left behind."""
    limited = {"prefix": "setpriv --bounding-set -sys_admin --inh-caps -sys_admin"}
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


# --- refused before anything is touched ---


def refused_untouched(vm: Machine, files: dict[str, str] | None = None, **request: Any) -> dict[str, Any]:
    """A refusal that leaves disk, workers and answers as they are."""
    before, workers = vm.stamps(), vm.workers()
    error = vm.refused(files, **request)
    assert (vm.stamps(), vm.workers()) == (before, workers)
    return error


def test_files_that_nginx_refuses(vm: Machine) -> None:
    vm.good(site("one"))
    error = refused_untouched(vm, {"site.conf": "server { listen 8080; \n nonsense on; }"})
    assert error["what"] == "nginx refuses the new configuration"
    assert 'unknown directive "nonsense" in /etc/nginx/edgemesh/current/site.conf:2' in error["why"]
    assert vm.get() == "one"


def test_a_main_file_that_was_broken_before(vm: Machine) -> None:
    vm.good(site("one"))
    vm.sh("cp /etc/nginx/nginx.conf /root/; echo 'nonsense on;' >> /etc/nginx/nginx.conf")
    error = refused_untouched(vm, site("two"))
    assert "already broken, without this change" in error["what"]
    assert "nonsense" in error["why"]
    assert vm.good(site("one"))["changed"] is False, "what serves is left alone"
    vm.sh("cat /root/nginx.conf > /etc/nginx/nginx.conf")
    assert vm.get() == "one"


def test_a_main_file_that_never_includes_us(vm: Machine) -> None:
    vm.sh("sed -i.bak 's,include /etc/nginx/conf.d,#&,' /etc/nginx/nginx.conf")
    error = refused_untouched(vm, site("one"))
    assert "include conf.d/edgemesh.conf in its http block" in error["what"]
    vm.sh("mv /etc/nginx/nginx.conf.bak /etc/nginx/nginx.conf")


def test_material_that_is_not_there(vm: Machine) -> None:
    error = refused_untouched(vm, site("one"), depends_on=["/etc/nowhere.pem"])
    assert "/etc/nowhere.pem" in error["why"]
    outcome = vm.good(site("one"), depends_on=["/etc/nowhere.pem"], check=True)
    assert (outcome["changed"], outcome["tested"]) == (True, False)
    assert "/etc/nowhere.pem" in outcome["not_tested"]


def test_unknown_hosts_of_a_users_site_are_not_taken(vm: Machine) -> None:
    """conf.d is read before sites-enabled, so a site that relies on being the only one would lose its requests."""
    vm.sh(
        "rm /etc/nginx/sites-enabled/default; cat > /etc/nginx/sites-enabled/blog", "server { listen 80; server_name _; return 200 blog; }"
    )
    vm.sh("service nginx reload; sleep 0.5")
    error = refused_untouched(vm, site("one", "80"))
    assert "/etc/nginx/sites-enabled/blog:1" in error["fix"]
    assert vm.get(80, "blog.example.com") == "blog"
    vm.good(site("one", "80"), take_over=True)
    assert (vm.get(80), vm.get(80, "blog.example.com")) == ("one", "one")
    vm.good(state="absent")
    vm.sh("sed -i 's/listen 80/& default_server/' /etc/nginx/sites-enabled/blog; service nginx reload; sleep 0.5")
    vm.good(site("one", "80"))
    assert (vm.get(80), vm.get(80, "blog.example.com")) == ("one", "blog")
    vm.good(state="absent")
    vm.sh("rm /etc/nginx/sites-enabled/blog; ln -s /etc/nginx/sites-available/default /etc/nginx/sites-enabled/default")


@pytest.mark.parametrize("use", ["echo '# mine' >> /etc/nginx/sites-available/default", "echo hello > /var/www/html/index.html"])
def test_a_default_site_in_use_stays(vm: Machine, use: str) -> None:
    vm.sh("cp -a /etc/nginx/sites-available/default /root/default; " + use)
    try:
        outcome = vm.good(site("one"), default_site="disabled")
        assert "sites-enabled/default stays" in outcome["warnings"][0]
        assert vm.get(80, "anything") != ""
        assert vm.good(site("one"), default_site="disabled")["changed"] is False
    finally:
        vm.sh("cp -a /root/default /etc/nginx/sites-available/default; rm -f /var/www/html/index.html")


# --- failures after the swap: rolled back ---


def rolled_back(vm: Machine, files: dict[str, str], **request: Any) -> dict[str, Any]:
    """A change that fails half-way: generation one serves again, and nobody saw anything else."""
    outcome = vm.good(site("one"))
    tree = vm.tree()
    with vm.load() as user, vm.load(8080, NAME, ("one", "two")) as ours:
        error = vm.refused(files, **request)
    assert error["serving"] == outcome["generation"], error
    assert (user.failures, ours.failures) == ([], [])
    assert user.answers > 10
    assert vm.tree() == tree, "not even a trace of the failed generation"
    assert vm.live_config_is_good()
    assert vm.get() == "one"
    assert vm.good(site("one"))["changed"] is False
    return error


def test_a_reload_that_nobody_does(vm: Machine) -> None:
    """The reload command says 0 and does nothing, once."""
    vm.sh(
        "mkdir -p /opt/fake; cat > /opt/fake/service; chmod +x /opt/fake/service; rm -f /opt/fake/done",
        '#!/bin/sh\n[ -e /opt/fake/done ] && exec /usr/sbin/service "$@"\ntouch /opt/fake/done\nexit 0\n',
    )
    error = rolled_back(vm, site("two"), prefix="env PATH=/opt/fake:$PATH", timeout=3)
    assert "workers are still those of before the reload" in error["why"]


def test_an_address_that_another_program_holds(vm: Machine) -> None:
    """nginx's own test doesn't see that; the reload does."""
    vm.sh("(timeout 60 python3 -m http.server 8777 >/dev/null 2>&1 & echo $! > /run/holder) ; sleep 1")
    try:
        error = rolled_back(vm, {**site("two"), "b.conf": "server { listen 8777; }"})
        assert "bind() to 0.0.0.0:8777 failed (98" in error["why"]
    finally:
        vm.sh("kill $(cat /run/holder)")


def test_a_certificate_that_vanishes_between_test_and_reload(vm: Machine) -> None:
    new_certificate(vm)
    error = rolled_back(
        vm,
        {**site("two"), "tls.conf": site("tls", "8443 ssl", TLS)["site.conf"]},
        depends_on=["/etc/x.crt"],
        at={"tested": "rm /etc/x.crt"},
    )
    assert "cannot load certificate" in error["why"]


def test_new_workers_that_crash(vm: Machine) -> None:
    """Each time the reload is done they are killed, until the change is taken back."""
    outcome = vm.good(site("one"))
    vm.upload("/run/crash", "while [ -e /run/crash ]; do pkill -9 -P $(cat /run/nginx.pid); sleep 0.05; done")
    start = "[ ! -e /run/crash ] || (sh /run/crash &)"
    error = vm.refused(site("two"), at={"reloaded": start, "rolled back": "rm /run/crash; sleep 0.5"}, timeout=5)
    assert error.get("rolled_back") is True, error
    assert "exited on signal 9" in error["why"]
    assert error["serving"] == outcome["generation"]
    assert vm.get() == "one"


def test_when_even_going_back_fails_it_says_so_and_the_next_run_mends_it(vm: Machine) -> None:
    new_certificate(vm)
    tls = {**site("one"), "tls.conf": site("tls", "8443 ssl", TLS)["site.conf"]}
    vm.good(tls, depends_on=["/etc/x.crt"])
    with vm.load() as user, vm.load(8080, NAME, ("one",)) as ours:
        error = vm.refused({**tls, **site("two")}, depends_on=["/etc/x.crt"], at={"tested": "mv /etc/x.crt /root/x.crt"})
        assert error["rolled_back"] is False
        assert "going back failed too" in error["why"]
        assert "cannot load certificate" in error["why"]
    assert (user.failures, ours.failures) == ([], []), "nginx itself goes on with what it has"
    vm.sh("mv /root/x.crt /etc/x.crt")
    outcome = vm.good({**tls, **site("two")}, depends_on=["/etc/x.crt"])
    assert (outcome["changed"], outcome["repaired"], vm.get()) == (True, True, "two")


def test_a_full_disk(vm: Machine) -> None:
    outcome = vm.good(site("one"))
    vm.sh("mv /etc/nginx/edgemesh /root/ours; mkdir /etc/nginx/edgemesh; mount -t tmpfs -o size=64k tmpfs /etc/nginx/edgemesh")
    vm.sh("cp -a /root/ours/. /etc/nginx/edgemesh/; rm -r /root/ours")
    try:
        tree = vm.tree()
        error = vm.refused({**site("two"), "big": "# " + "x" * 200_000})
        assert error["why"] == "No space left on device"
        assert vm.tree() == tree
        assert vm.get() == "one"
        assert vm.good(site("one"))["generation"] == outcome["generation"]
    finally:
        vm.sh("umount /etc/nginx/edgemesh")


# --- killed, and several at once ---


def test_killed_at_any_step_the_next_run_converges(vm: Machine) -> None:
    vm.good(site("one"))
    steps = vm.apply(site("two"))["steps"]
    assert len(steps) >= 8, steps
    texts = ["two", "one"] * len(steps)
    with vm.load() as user, vm.load(8080, NAME, ("one", "two")) as ours:
        for number in range(1, len(steps) + 1):
            target = texts[number]
            assert vm.apply(site(target), kill_at=number) == {"killed": True}
            assert vm.live_config_is_good(), f"killed at {steps[number - 1]}: a reload by somebody else would fail"
            outcome = vm.good(site(target))
            assert outcome["confirmed"], steps[number - 1]
            assert vm.get() == target
            assert vm.good(site(target))["changed"] is False
    assert (user.failures, ours.failures) == ([], [])


def test_killed_while_installing_and_while_removing(vm: Machine) -> None:
    before = vm.tree()
    steps = vm.apply(site("one"), default_site="disabled")["steps"]
    gone = vm.apply(state="absent")["steps"]
    assert {"included", "default site disabled"} <= set(steps)
    assert "default site restored" in gone
    with vm.load() as user:
        for number in range(1, len(steps) + 1):
            assert vm.apply(site("one"), default_site="disabled", kill_at=number) == {"killed": True}
            assert vm.live_config_is_good(), steps[number - 1]
            if number % 2:
                assert vm.good(site("one"), default_site="disabled")["confirmed"]
                assert vm.get() == "one"
            vm.good(state="absent")
            assert vm.tree() == before, f"installation killed at {steps[number - 1]}"
        for number in range(1, len(gone) + 1):
            vm.good(site("one"), default_site="disabled")
            assert vm.apply(state="absent", kill_at=number) == {"killed": True}
            assert vm.live_config_is_good(), gone[number - 1]
            vm.good(state="absent")
            assert vm.tree() == before, f"removal killed at {gone[number - 1]}"
    assert user.failures == []


def test_killed_then_refused_serves_the_last_good_one(vm: Machine) -> None:
    first = vm.good(site("one"))["generation"]
    steps = vm.apply(site("one2"), check=False)["steps"]
    first = vm.good(site("one"))["generation"]
    for number in range(1, len(steps) + 1):
        assert vm.apply(site("two"), kill_at=number) == {"killed": True}
        vm.refused({"site.conf": "nonsense on;"})
        recorded = steps.index("recorded") + 1 <= number
        assert vm.get() == ("two" if recorded else "one"), steps[number - 1]
        assert vm.sh("basename $(readlink /etc/nginx/edgemesh/current)").endswith(first[5:]) is not recorded
        vm.good(site("one"))


def test_two_runs_at_once_take_turns(vm: Machine) -> None:
    vm.good(site("one"))
    results: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda text=text: results.append(vm.apply(site(text)))) for text in ("two", "three", "four")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert [("outcome" in result, result.get("outcome", {}).get("confirmed")) for result in results] == [(True, True)] * 3
    assert len({result["outcome"]["generation"] for result in results}) == 3
    assert vm.get() in ("two", "three", "four")
    held = vm.run(
        "flock /etc/nginx sleep 6 & sleep 0.3; python3 -B /opt/edgemesh-test/nginx_driver.py; wait", '{"files": {}, "timeout": 2}'
    )
    assert b"another run has been changing it for 2 s" in held.stdout


# --- helpers ---

TLS = "ssl_certificate /etc/x.crt; ssl_certificate_key /etc/x.key;"


def new_certificate(vm: Machine) -> None:
    vm.sh("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /etc/x.key -out /etc/x.crt -days 30 -subj /CN=x")


def presented(vm: Machine) -> str:
    return vm.sh("openssl s_client -connect 127.0.0.1:8443 </dev/null 2>/dev/null | openssl x509 -noout -fingerprint")
