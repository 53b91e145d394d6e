# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs with nginx 1.22 (Debian 12) and 1.26 (Debian 13), made for these tests and removed afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from nginx_load import SLOW_SIZE, build
from nginx_machine import USER_SITE, Machine
from nginx_rig import Rig

from tests.spare_vms import spare

# Debian 13's nginx stands in the demo and in Molecule; in the long form here too.
RELEASES = ["bookworm", "trixie"] if os.environ.get("EDGEMESH_SOAK") else ["bookworm"]


@pytest.fixture(scope="session", params=RELEASES)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A fresh VM on which nginx was installed as a user would."""
    with spare(request.param) as host:
        machine = Machine(host, build(tmp_path_factory.mktemp("load")))
        machine.sh("apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -qy --no-install-recommends install nginx", timeout=600)
        machine.new_certificate()
        machine.sh(f"cp /etc/x.crt /etc/user.crt; cp /etc/x.key /etc/user.key; head -c {SLOW_SIZE} /dev/zero > /srv/slow")
        machine.upload("/etc/nginx/conf.d/user.conf", USER_SITE)
        machine.sh("service nginx restart && nginx -t && cp -a /etc/nginx /root/nginx.orig")
        machine.upload_driver()
        yield machine
        machine.close()


@pytest.fixture
def vm(installed: Machine) -> Iterator[Machine]:
    """The same VM with nginx as after its installation; whatever a test does, the user's own files stay as they are."""
    installed.sh(
        "pkill -9 -x nginx; while pgrep -x nginx >/dev/null; do sleep 0.02; done; umount /etc/nginx/edgemesh 2>/dev/null; "
        "rm -rf /etc/nginx /run/nginx.pid /var/log/nginx/*; cp -a /root/nginx.orig /etc/nginx; "
        "cp /etc/user.crt /etc/x.crt; cp /etc/user.key /etc/x.key; nginx"
    )
    before = installed.tree(ours=False)
    yield installed
    after = installed.tree(ours=False)
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    # our own doing, which absent undoes: the include's folder, and the default site that was put aside
    assert changed <= {"./sites-enabled/default"}, changed


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """This machine's nginx on a folder."""
    made = Rig(tmp_path)
    yield made
    made.kill()
