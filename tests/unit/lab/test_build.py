# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from lab import build, settings
from lab.progress import Progress
from plugins.module_utils._errors import EdgeError


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "go.mod").write_text("module example.test/hello\n\ngo 1.26\n")
    (folder / "go.sum").write_text("")
    (folder / "main.go").write_text('package main\n\nvar greeting = "none"\n\nfunc main() { print(greeting) }\n')
    return folder


def test_key_changes_with_everything_that_is_built_from(module: Path) -> None:
    def keys() -> str:
        return build.key(module, "example.test/hello", "-X a=b", "1.26.0", "amd64")

    seen = [keys()]
    assert keys() == seen[0]
    for name in ("go.mod", "go.sum", "main.go"):
        with (module / name).open("a") as file:
            file.write("\n// more\n")
        seen.append(keys())
    for other in itertools.product(
        ("example.test/hello", "example.test/other"), ("-X a=b", "-X a=c"), ("1.26.0", "1.27.0"), ("amd64", "arm64")
    ):
        seen.append(build.key(module, *other))
    assert len(set(seen)) == len(seen) - 1  # the last loop gives the present one once more


def test_key_is_not_fooled_by_what_does_not_matter(module: Path) -> None:
    before = build.key(module)
    (module / "README").write_text("words")
    assert build.key(module) == before


def test_every_module_is_pinned_with_its_checksums() -> None:
    assert {binary.module for binary in build.BINARIES.values()} == {folder.name for folder in build.MODULES.iterdir()}
    for binary in build.BINARIES.values():
        pinned = (binary.folder / "go.mod").read_text()
        assert "latest" not in pinned
        # The lab's own program needs no other module.
        assert (binary.folder / "go.sum").exists() or "require" not in pinned


def test_versions_told_to_the_linker_are_those_of_the_modules() -> None:
    assert f"k8s.io/kubernetes {build.KUBERNETES}" in (build.MODULES / "kubernetes" / "go.mod").read_text()
    assert f"k8s.io/kubectl {build.KUBECTL.replace('v1.', 'v0.')}" in (build.MODULES / "istio" / "go.mod").read_text()
    assert f"-{build.ISTIO_REVISION} " in (build.MODULES / "istio" / "go.mod").read_text()
    assert f"-X k8s.io/component-base/version.gitVersion={build.KUBERNETES}" in build.BINARIES["kubelet"].flags
    assert "-X k8s.io/client-go/pkg/version.gitMinor=35" in build.BINARIES["kubelet"].flags


class TestRealCompiler:
    @pytest.fixture(autouse=True)
    def _place(self, module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        if build.version_of("go") < build.GO_MINIMUM:
            pytest.skip("needs Go 1.26 on PATH")
        monkeypatch.setattr(build, "MODULES", module.parent)
        monkeypatch.setattr(settings, "CACHE", tmp_path / "cache")

    def test_program_gets_its_flags(self, module: Path) -> None:
        binary = build.Binary("hello", module.name, "example.test/hello", ("-X main.greeting=hello",))
        build.compile_one(binary, Progress())
        assert os.popen(f"{binary.path} 2>&1").read() == "hello"

    def test_failed_build_leaves_nothing_and_says_why(self, module: Path) -> None:
        (module / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
        binary = build.Binary("hello", module.name, "example.test/hello")
        with pytest.raises(EdgeError, match="undefined: undefined"):
            build.compile_one(binary, Progress())
        assert list(binary.path.parent.iterdir()) == []


def test_version_of_what_is_no_go(tmp_path: Path) -> None:
    fake = tmp_path / "go"
    fake.write_text("#!/bin/sh\necho go version go1.19.8 linux/amd64\n")
    fake.chmod(0o755)
    assert build.version_of(str(fake)) == (1, 19, 8)
    assert build.version_of(str(tmp_path / "missing")) == (0,)
