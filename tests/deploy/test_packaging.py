# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The package: the real packager's build context, complete and pinned, and the application run out of it."""

from __future__ import annotations

import json
import re
import shutil
from importlib import metadata
from pathlib import Path

import pytest
from comparison import assert_equal_values
from container import can_mount, read_dockerfile, run_container
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pe_monai import __version__
from pe_monai.cli import main
from pe_monai.deploy.context import FILES, check_context
from pe_monai.deploy.packaging import make_package
from pe_monai.deploy.source import read_requirements
from pe_monai.errors import DeployError
from pe_monai.weights import sha256_of


@pytest.fixture(scope="module")
def package(small_bundle, tmp_path_factory):
    """The package of the small bundle, made by the command line, as where there is no docker engine."""
    output = tmp_path_factory.mktemp("package") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pe_monai.deploy.packaging.find_engine", lambda: False)
        assert main(["deploy", "package", "-o", str(output), "--bundle", str(small_bundle)]) == 0
    return output


@pytest.fixture
def context(package, tmp_path) -> Path:
    """A copy of the build context, to be spoilt."""
    return Path(shutil.copytree(package / "context", tmp_path / "context"))


@pytest.mark.holoscan
def test_build_context(package):
    context = package / "context"
    assert check_context(context) == []
    app, pkg = (json.loads((context / "map" / f"{name}.json").read_text()) for name in ("app", "pkg"))
    assert json.loads(app["command"]) == ["python3", "/opt/holoscan/app"] and app["version"] == __version__
    assert app["sdk"] == "monai-deploy" and pkg["models"] == {"pe": "/opt/holoscan/models/pe"}
    assert pkg["resources"]["gpu"] == 0
    image = read_dockerfile(context / "Dockerfile")
    assert image.environment["HOLOSCAN_MODEL_PATH"] == "/opt/holoscan/models"
    assert image.entrypoint == ("/var/holoscan/tools",) and image.workdir == "/var/holoscan"
    assert [path.name for path in (context / "models" / "pe").iterdir()] == ["model.ts"]  # the SDK wants no other file
    lines = (context / "pip" / "requirements.txt").read_text().split()
    assert {"torch==2.13.0+cpu", "holoscan-cu13==4.2.0", "holoscan-cli==4.2.0"} <= set(lines)
    names = {path.relative_to(context / "app").as_posix() for path in (context / "app").rglob("*") if path.is_file()}
    assert "pe_monai/report/study.html.jinja" in names
    assert not [name for name in names if name.endswith((".pt", ".ts", ".pyc"))]
    report = json.loads((package / "package.json").read_text())
    assert report["model_sha256"] == sha256_of(context / "models" / "pe" / "model.ts") and report["image"] is None
    assert "docker buildx build" in report["missing"][0] and "--torch-index" in report["missing"][1]


@pytest.mark.holoscan
def test_gpu_variant_replaces_the_package(small_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("pe_monai.deploy.packaging.find_engine", lambda: False)
    made = make_package(tmp_path / "out", small_bundle, "gpu", "echo/effusion:7", "registry.example/cuda:13", None)
    again = make_package(tmp_path / "out", small_bundle, "gpu", "echo/effusion:7", "registry.example/cuda:13", None)
    assert made == again and len(made.missing) == 1 and made.image is None
    text = (made.context / "Dockerfile").read_text()
    assert "FROM registry.example/cuda:13 AS base" in text and 'LABEL tag="echo/effusion:7"' in text
    assert "torch==2.13.0" in (made.context / "pip" / "requirements.txt").read_text().split()
    assert json.loads((made.context / "map" / "pkg.json").read_text())["resources"]["gpu"] == 1
    with pytest.raises(DeployError, match="packager said"):
        make_package(tmp_path / "out", small_bundle, tag="Not A Tag")


@pytest.mark.holoscan
@pytest.mark.parametrize("name", FILES)
def test_a_file_is_missing(context, name):
    (context / name).unlink()
    assert check_context(context) == [f"{name} is missing."]


@pytest.mark.holoscan
@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("Dockerfile", "COPY ./models ", "COPY ./nothing ", "lacks 'COPY ./models /opt/holoscan/models'"),
        ("map/app.json", "/opt/holoscan/app", "/opt/other", "its command is"),
        ("map/app.json", "HOLOSCAN_INPUT_PATH", "OTHER", "lacks HOLOSCAN_INPUT_PATH"),
        ("map/pkg.json", "/models/pe", "/models/other", "its models are"),
        ("pip/requirements.txt", "holoscan-cu13==4.2.0", "holoscan-cu13", "'holoscan-cu13' is not pinned"),
        ("pip/requirements.txt", "torch==", "touch==", "torch is missing"),
        ("app.config", "sha256: ", "sha256: 0", "SHA-256 is not the one"),
        ("tools", 'exit "${exit_code:-0}"', "", "exit code is lost"),
    ],
)
def test_a_file_is_not_as_it_should_be(context, name, old, new, problem):
    path = context / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert any(problem in text for text in check_context(context))


@pytest.mark.holoscan
def test_stray_files(context):
    (context / "app" / "frame.dcm").touch()
    assert check_context(context) == ["app/frame.dcm: does not belong into an image."]


def test_folder_of_others_is_left_alone(small_bundle, tmp_path):
    (tmp_path / "letter.txt").touch()
    with pytest.raises(FileExistsError, match="holds no package"):
        make_package(tmp_path, small_bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.holoscan
def test_requirements_hold_all_that_is_installed():
    """Each package that the extra brings is pinned, and to what these tests ran with."""
    pins = {}
    for line in read_requirements("cpu"):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            pins[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==").split("+")[0]
    found: dict[str, str] = {}
    open_ones = [("pe_monai", frozenset({"deploy"}))]
    seen = set()
    while open_ones:
        name, extras = open_ones.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found[canonicalize_name(name)] = metadata.version(name).split("+")[0]
        for requirement in map(Requirement, metadata.requires(name) or []):
            marker, names = requirement.marker, [{"extra": extra} for extra in extras] or [{"extra": ""}]
            if marker is None or any(marker.evaluate(environment) for environment in names):
                open_ones.append((requirement.name, frozenset(requirement.extras)))
    for name in ("pe-monai", "pip", "setuptools"):
        found.pop(name, None)
    assert {name: pins.get(name) for name in found} == found


def test_variants_differ_in_torch_alone():
    cpu, gpu = (set(read_requirements(variant)) for variant in ("cpu", "gpu"))
    assert cpu ^ gpu == {"torch==2.13.0", "torch==2.13.0+cpu"}
    assert all(re.match(r"[\w.-]+==[\w.+]+( *;.*)?$", line) for line in cpu | gpu)


@pytest.mark.holoscan
@pytest.mark.skipif(not can_mount(), reason="this user may not mount: run the tests as root")
@pytest.mark.skipif(shutil.which("jq") is None, reason="the package's entry point needs jq")
def test_application_out_of_the_package(package, small_bundle, study, tmp_path):
    """The entry point, variables, paths and files of the container, except that Python is the one that tests."""
    context = Path(shutil.copytree(package / "context", tmp_path / "context"))
    with (context / "app" / "pe_monai" / "__init__.py").open("a") as file:
        file.write('__version__ += "+packaged"\n')  # tells the package's own copy from the one under test
    output = tmp_path / "output"
    output.mkdir()
    done = run_container(context, tmp_path / "root", study, output, "--device", "cpu")
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-3000:]
    assert "Launching application python3 /opt/holoscan/app" in done.stderr
    assert json.loads((output / "manifest.json").read_text())["pe_monai"] == f"{__version__}+packaged"
    assert study.name not in done.stderr
    main(["segment", str(study), "-o", str(tmp_path / "command"), "--bundle", str(small_bundle), "--device", "cpu"])
    assert_equal_values(output, tmp_path / "command")
    show = run_container(context, tmp_path / "root2", study, output, "show", "pkg")
    assert show.returncode == 0 and "/opt/holoscan/models/pe" in show.stdout
