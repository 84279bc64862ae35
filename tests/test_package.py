"""The installed package: its exports, what importing it costs, and that its metadata agree."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import cppo_trl

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "numpy", "rich")


@pytest.fixture(scope="module")
def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(text: str) -> list[Requirement]:
    lines = (line.strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("module", ["cppo_trl", "cppo_trl.cli", "cppo_trl.problems"])
def test_import_leaves_heavy_packages_alone(module):
    code = f"import sys, {module}; print(*sorted(sys.modules.keys() & {set(HEAVY)}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", cppo_trl.__all__)
def test_export_resolves(name):
    assert getattr(cppo_trl, name) is not None
    assert name in dir(cppo_trl)


def test_star_import_gives_the_exports():
    namespace = {}
    exec("from cppo_trl import *", namespace)
    assert set(cppo_trl.__all__) <= namespace.keys()


def test_exported_classes_say_what_they_are():
    exported = [getattr(cppo_trl, name) for name in cppo_trl.__all__]
    assert [item.__name__ for item in exported if callable(item) and not item.__doc__] == []


def test_unknown_attribute_is_named():
    with pytest.raises(AttributeError, match="'cppo_trl' has no attribute 'CPPOTrainr'"):
        _ = cppo_trl.CPPOTrainr


def test_versions_agree():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == cppo_trl.__version__
    assert metadata.version("cppo-trl") == cppo_trl.__version__


def test_package_is_marked_as_typed():
    assert (resources.files(cppo_trl) / "py.typed").is_file()


def test_constraints_pin_every_requirement_within_its_range(setup_cfg):
    pins = {
        pin.name.lower(): next(iter(pin.specifier)).version
        for pin in requirements((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    }
    extras = setup_cfg["options.extras_require"]
    wanted = requirements(setup_cfg["options"]["install_requires"])
    wanted += [item for extra in extras if extra != "vllm" for item in requirements(extras[extra])]
    outside = [str(item) for item in wanted if pins.get(item.name.lower()) not in item.specifier]
    assert len(wanted) > 10
    assert outside == []


def test_every_requirement_has_an_upper_bound(setup_cfg):
    wanted = requirements(setup_cfg["options"]["install_requires"])
    open_ended = [
        str(item) for item in wanted if not any(part.operator == "<" for part in item.specifier)
    ]
    assert open_ended == []


def test_makefile_installs_the_torch_of_the_constraints():
    installed = re.findall(r"torch==(\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert installed == re.findall(
        r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
