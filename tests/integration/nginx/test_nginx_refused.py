# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes that nginx_config refuses before anything is touched."""

from __future__ import annotations

from typing import Any

import pytest
from nginx_machine import Machine, site

pytestmark = pytest.mark.lab


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
    vm.sh("service nginx reload")
    vm.becomes("blog", 80, "blog.example.com")
    error = refused_untouched(vm, site("one", "80"))
    assert "/etc/nginx/sites-enabled/blog:1" in error["fix"]
    assert vm.get(80, "blog.example.com") == "blog"
    vm.good(site("one", "80"), take_over=True)
    assert (vm.get(80), vm.get(80, "blog.example.com")) == ("one", "one")
    vm.good(state="absent")
    vm.sh("sed -i 's/listen 80/& default_server/' /etc/nginx/sites-enabled/blog; service nginx reload")
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
