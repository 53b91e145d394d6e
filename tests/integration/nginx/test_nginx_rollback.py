# SPDX-License-Identifier: GPL-3.0-or-later
"""Going back to an earlier generation: a change like every other."""

from __future__ import annotations

import pytest
from nginx_machine import TLS, Machine, site

pytestmark = pytest.mark.lab


def test_back_to_the_previous_one_and_no_further(vm: Machine) -> None:
    one = vm.good(site("one"), default_site="disabled")["generation"]
    two = vm.good({**site("two"), "more.conf": "server { listen 8081; return 200 more; }"})["generation"]
    before, workers = vm.stamps(), vm.workers()
    foretold = vm.good(state="rolled_back", check=True)
    assert (foretold["changed"], foretold["tested"], vm.stamps(), vm.workers()) == (True, True, before, workers)
    back = vm.good(state="rolled_back")
    assert (back["changed"], back["tested"], back["confirmed"], back["previous"]) == (True, True, True, two)
    assert (back["generation"], back["generation"][5:]) == (foretold["generation"], one[5:])
    assert (vm.get(), vm.get(8081), vm.get(80, "anything")) == ("one", "", "")
    again = vm.stamps()
    assert vm.good(state="rolled_back")["changed"] is False
    assert vm.good(site("one"), default_site="disabled")["changed"] is False, "that is what a play would ask for"
    assert vm.stamps() == again
    assert vm.good(site("two"))["changed"]
    assert vm.get() == "two"


def test_back_to_one_by_name_or_number(vm: Machine) -> None:
    names = [vm.good(site(text), keep=4)["generation"] for text in ("one", "two", "three", "four")]
    vm.good(state="rolled_back", generation=names[1], keep=4)
    assert vm.get() == "two"
    assert vm.good(state="rolled_back", generation=names[1], keep=4)["changed"] is False
    vm.good(state="rolled_back", generation="3", keep=4)
    assert vm.get() == "three"
    error = vm.refused(state="rolled_back", generation="1")
    assert "there is no generation '1' to go back to" in error["what"], "the oldest have gone"
    assert names[2] in error["why"]
    vm.sh(f"echo '# mine' >> /etc/nginx/edgemesh/generations/{names[3]}/site.conf")
    assert "somebody changed them" in vm.refused(state="rolled_back", generation=names[3])["why"]
    assert vm.get() == "three"


def test_nothing_to_go_back_to(vm: Machine) -> None:
    before = vm.stamps()
    assert "no earlier generation" in vm.refused(state="rolled_back")["what"]
    assert vm.stamps() == before
    vm.good(site("one"))
    assert "no earlier generation" in vm.refused(state="rolled_back")["what"]
    assert vm.apply(site("two"), kill_at=6) == {"killed": True}
    assert "no earlier generation" in vm.refused(state="rolled_back")["what"], "one that never served is none"
    assert vm.get() == "one"


def test_files_come_back_material_stays_as_it_is(vm: Machine) -> None:
    tls, material = site("one", "8443 ssl", f"listen 8080; {TLS}"), ["/etc/x.crt", "/etc/x.key"]
    vm.good(tls, depends_on=material)
    vm.good(site("two"))
    vm.new_certificate()
    back = vm.good(state="rolled_back")
    assert (back["changed"], vm.get()) == (True, "one")
    assert vm.presented() == vm.sh("openssl x509 -in /etc/x.crt -noout -fingerprint")
    vm.good(site("two"))
    vm.sh("mv /etc/x.key /root/")
    assert "/etc/x.key" in vm.refused(state="rolled_back")["why"]
    vm.sh("mv /root/x.key /etc/")
    assert vm.get() == "two"
