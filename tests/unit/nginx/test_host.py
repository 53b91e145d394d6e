# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx_info: what a host is asked, and what is made of its answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import pytest

if sys.version_info < (3, 11):
    pytest.skip("answers are read on the controller", allow_module_level=True)

import yaml
from hypothesis import given
from hypothesis import strategies as st

from plugins.action import nginx_info
from plugins.module_utils._errors import EdgeError
from plugins.module_utils._nginx import nginx_info as host
from plugins.module_utils._nginx.change.desired import Desired, Manifest
from plugins.module_utils._nginx.change.generations import Store
from plugins.module_utils._nginx.change.merge import merge
from plugins.module_utils._nginx.change.parts import read
from plugins.module_utils._nginx.write.blocks import Settings
from plugins.module_utils._script import Answer
from plugins.modules import nginx_info as module
from tests.unit.proof.test_proof_written import described

BUILD = """nginx version: nginx/1.26.3
built with OpenSSL 3.5.1 1 Jul 2025
TLS SNI support enabled
configure arguments: --prefix=/usr/share/nginx --with-http_v3_module --with-stream=dynamic
"""
#: os-release of systems as they come
RELEASES = {
    'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\n': "Debian",
    "ID=ubuntu\nID_LIKE=debian\n": "Debian",
    "ID=linuxmint\nID_LIKE='ubuntu debian'\n": "Debian",
    'ID="rhel"\nID_LIKE="fedora"\n': "RedHat",
    'ID="rocky"\nID_LIKE="rhel centos fedora"\n': "RedHat",
    "ID=fedora\n": "RedHat",
    'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n': "",
    'VERSION_ID="13"\nVARIANT_ID=debian\n': "",
    "": "",
}
INET6 = """00000000000000000000000000000001 01 80 10 80       lo
20010db8001800000000000000000012 02 40 00 80     eth0
fe8000000000000000edc6fffe12000c 02 40 20 80     eth0
20010db8001800000000000000000012 03 40 00 80     eth1
"""
RESOLV = """# nameserver 192.0.2.9
search example.com
nameserver 192.0.2.53
nameserver\t2001:db8::53 # the second
nameserver fe80::1%eth0
options ndots:5
"""


def answers(**changed: Optional[Answer]) -> dict[str, Answer]:
    said: dict[str, Optional[Answer]] = {
        "nginx": Answer(BUILD, 0), "os": Answer("ID=debian\n", 0), "servers": Answer(RESOLV, 0), "ipv6": Answer(INET6, 0),
        "selinux": Answer("", 1), "parts": Answer("cat: no such file\n", 1), **changed,
    }  # fmt: skip
    return {name: answer for name, answer in said.items() if answer is not None}


def test_a_host_as_it_answers() -> None:
    assert set(host.questions("nginx").commands) == set(answers())
    found = host.read(answers())
    assert (found.build, found.version, found.os_family, found.selinux) == (BUILD, "1.26.3", "Debian", False)
    assert found.ipv6_addresses == ("2001:db8:18::12", "fe80::ed:c6ff:fe12:c")
    assert found.name_servers == ("192.0.2.53", "2001:db8::53", "fe80::1%eth0")
    assert found.parts == ()
    assert Settings(build=found.build).version == (1, 26, 3)


@pytest.mark.parametrize(("release", "family"), RELEASES.items())
def test_families(release: str, family: str) -> None:
    assert host.read(answers(os=Answer(release, 0))).os_family == family


def test_what_is_not_there() -> None:
    none = Answer("cat: No such file or directory\n", 1)
    found = host.read(answers(nginx=Answer("/bin/sh: 1: nginx: not found\n", 127), os=none, servers=none, ipv6=none, selinux=Answer("", 0)))
    assert (found.build, found.version, found.os_family, found.ipv6_addresses, found.name_servers) == ("", "", "", (), ())
    assert found.selinux
    for other in (Answer("OpenResty 1\n", 0), Answer(BUILD, 1)):
        assert not host.read(answers(nginx=other)).build, "no nginx, or one that fails"


def test_no_answer_is_said() -> None:
    with pytest.raises(EdgeError, match=r"did not answer \(nginx, ipv6\).*-vvv"):
        host.read(answers(nginx=None, ipv6=None))


def test_whose_what_is_on_a_host(tmp_path: Path) -> None:
    """Read where nginx_config wrote it, beside the main file that this nginx was built with."""
    wanted = merge(
        Desired({}), read("a", [{"name": "shop", "claims": {"443/s.example": "host s.example on port 443"}, "agrees": {"port 443": "TLS"}}])
    )
    store = Store(str(tmp_path / "conf"), "edge")
    manifest = Manifest(wanted.digest({}), "keep", "127.101.1.1:80", "/run/nginx.pid", parts=[part.as_dict() for part in wanted.parts])
    (tmp_path / "conf").mkdir()
    store.write_state()
    store.write_generation("0001-000000000000", wanted, manifest)
    store.activate("0001-000000000000")
    program = tmp_path / "nginx"
    program.write_text(
        f"#!/bin/sh\necho 'nginx version: nginx/1.2.3\nconfigure arguments: --x=1 --conf-path={tmp_path}/conf/nginx.conf --y' >&2\n"
    )
    program.chmod(0o755)
    found = Action().work({"binary": str(program), "name": "edge"}, {})
    assert found["parts"] == [
        {"list": "a", "name": "shop", "claims": {"443/s.example": "host s.example on port 443"}, "agrees": {"port 443": "TLS"}}
    ]
    assert Action().work({"binary": str(program), "name": "other"}, {})["parts"] == []
    (tmp_path / "conf/edge/current/parts.json").write_text('[{"list": "a"}, 1')
    assert Action().work({"binary": str(program), "name": "edge"}, {})["parts"] == []


@given(st.dictionaries(st.sampled_from(sorted(answers())), st.builds(Answer, st.text(), st.integers(0, 255))))
def test_any_answer_is_read(said: dict[str, Answer]) -> None:
    found = host.read({**answers(), **said})
    assert found.os_family in ("", "Debian", "RedHat")
    assert not any(char.isspace() for server in found.name_servers for char in server)


class Action(nginx_info.ActionModule):
    """The action, with this machine for the host."""

    def __init__(self, environment: str = "") -> None:
        self.environment = environment
        self._task = SimpleNamespace(check_mode=True)

    def _compute_environment_string(self, raw_environment_out: Any = None) -> str:
        return self.environment

    def _low_level_execute_command(self, command: str) -> dict[str, str]:
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=30)
        return {"stdout": done.stdout, "stderr": done.stderr}


def test_its_options_and_results_are_the_documented_ones(tmp_path: Path) -> None:
    assert described(yaml.safe_load(module.DOCUMENTATION)["options"]) == nginx_info.ARGUMENTS
    result = Action().work({"binary": str(tmp_path / "no such nginx"), "name": "nobodys"}, {})
    assert result.keys() == {"changed", *yaml.safe_load(module.RETURN)}
    assert (result["changed"], result["installed"], result["version"]) == (False, False, "")


def test_the_program_that_is_asked(tmp_path: Path) -> None:
    for folder, version in (("path", "1.1.1"), ("it's here", "2.2.2")):
        program = tmp_path / folder / "nginx"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\n[ "$1" = -V ] && echo nginx version: nginx/{version} >&2\n')
        program.chmod(0o755)
    found = Action(f"PATH={tmp_path / 'path'}:{os.environ['PATH']}").work({"binary": "nginx", "name": "edgemesh"}, {})
    assert (found["installed"], found["version"]) == (True, "1.1.1"), "the task's environment counts"
    assert Action().work({"binary": str(tmp_path / "it's here" / "nginx"), "name": "edgemesh"}, {})["version"] == "2.2.2"
