# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from lab import images, settings
from lab.images import Entry, Image


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    monkeypatch.setattr(settings, "CACHE", tmp_path)
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF...")
    return Image(
        "thing",
        "0123456789ab",
        (
            Entry("usr/local/bin/thing", program),
            Entry("etc/passwd", b"root", mode=0o644),
            Entry("tmp/", mode=0o1777),
            Entry("bin", link="usr/bin"),
        ),
        {"Entrypoint": ["/usr/local/bin/thing"], "User": "1337"},
    )


def members(path: Path, inner: str = "") -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as outer:
        if not inner:
            return {member.name: member for member in outer}
        with tarfile.open(fileobj=outer.extractfile(inner)) as layer:
            return {member.name: member for member in layer}


def content(path: Path, name: str) -> bytes:
    with tarfile.open(path) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def test_archive_is_what_docker_load_reads(image: Image) -> None:
    images.archive(image, image.entries)
    (manifest,) = json.loads(content(image.path, "manifest.json"))
    assert manifest["RepoTags"] == ["localhost/edgemesh/thing:0123456789ab"]
    config = json.loads(content(image.path, manifest["Config"]))
    (layer,) = manifest["Layers"]
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(content(image.path, layer)).hexdigest()]
    assert config["config"] == {"Entrypoint": ["/usr/local/bin/thing"], "User": "1337"}
    assert config["os"] == "linux"


def test_layer_has_every_folder_before_what_is_in_it(image: Image) -> None:
    images.archive(image, image.entries)
    found = members(image.path, "layer.tar")
    assert list(found) == ["bin", "etc", "etc/passwd", "tmp", "usr", "usr/local", "usr/local/bin", "usr/local/bin/thing"]
    assert found["bin"].issym()
    assert found["tmp"].mode == 0o1777
    assert found["usr/local/bin/thing"].mode == 0o755
    assert {(member.mtime, member.uid) for member in found.values()} == {(0, 0)}


def test_same_input_gives_the_same_bytes(image: Image) -> None:
    images.archive(image, image.entries)
    first = image.path.read_bytes()
    image.path.unlink()
    images.archive(image, reversed(image.entries))
    assert image.path.read_bytes() == first


def test_interrupted_archive_leaves_nothing(image: Image) -> None:
    with pytest.raises(FileNotFoundError):
        images.archive(image, (*image.entries, Entry("usr/bin/other", Path("/does/not/exist"))))
    assert list(image.path.parent.iterdir()) == []


def test_tag_depends_on_every_part_and_is_never_latest() -> None:
    assert images.tag("a", "b") != images.tag("a", "c") != images.tag("ab")
    assert len(images.tag("a")) == 12


def test_libraries_get_below_usr_where_the_roots_folders_are_links() -> None:
    assert images.usr(Path("/lib/x86_64-linux-gnu/libc.so.6")) == "/usr/lib/x86_64-linux-gnu/libc.so.6"
    assert images.usr(Path("/usr/lib/libz.so")) == "/usr/lib/libz.so"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a container of the image `python` sees as its root."""
    if not Path("/var/lib/dpkg/info", f"{images.debian_python()[0]}.list").exists():
        pytest.skip("the image is made of Debian's Python, which this machine lacks")
    folder = tmp_path_factory.mktemp("python")
    entries = tuple(images.python())
    tar = folder / "layer.tar"
    with tarfile.open(tar, "w") as layer:
        for name, entry in sorted(images.with_parents(entries).items()):
            images.add(layer, name, entry)
    with tarfile.open(tar) as layer:
        layer.extractall(folder / "root", filter="fully_trusted")
    return folder / "root"


def test_python_image_needs_nothing_of_the_machine(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    asks = "import ssl, json, http.client, tempfile; print(ssl.create_default_context() and ssl.HAS_TLSv1_3)"
    run = ["/usr/sbin/chroot", "--userspec=65534:65534", root, "/bin/sh", "-c", f"id -u && sleep 0 && python3 -c '{asks}'"]
    done = subprocess.run(run, env={"PATH": "/usr/bin", "HOME": "/tmp"}, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["65534", "True"], done.stderr


def test_python_image_has_what_the_kubectl_connection_runs(root: Path) -> None:
    assert {"python3", *images.COMMANDS} <= {path.name for path in (root / "usr/bin").iterdir()}
    assert sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink()) < 60e6
