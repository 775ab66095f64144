"""One dependency list: the lock, the conda file and the Makefile wrap it; the wheel holds code and no data."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    rows = [line.split("==") for line in (ROOT / "requirements.lock").read_text().split() if line]
    assert all(len(row) == 2 for row in rows), "every row of the lock pins one version"
    return {canonical(name): version for name, version in rows}


@pytest.mark.parametrize("group", ["dependencies", *sorted(PROJECT["optional-dependencies"].keys() - {"peers"})])
def test_the_lock_pins_every_dependency_within_its_range(group):
    listed = PROJECT["dependencies"] if group == "dependencies" else PROJECT["optional-dependencies"][group]
    pins = locked()
    for requirement in map(Requirement, listed):
        version = pins.get(canonical(requirement.name))
        assert version is not None, f"{requirement.name} is not in requirements.lock"
        assert requirement.specifier.contains(version), f"{requirement} but the lock has {version}"


def test_the_lock_is_what_is_installed():
    for name, version in locked().items():
        assert metadata.version(name).split("+")[0] == version, name


def test_conda_and_make_wrap_the_same_list():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert conda[-1] == {"pip": ["-r requirements.lock", "-e ."]}
    minimum = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert minimum.contains(next(item for item in conda if str(item).startswith("python=")).split("=")[1])
    makefile = (ROOT / "Makefile").read_text()
    assert makefile.index("'^torch=='") < makefile.index("-r requirements.lock"), "torch is installed first"


def test_versions_stay_out_of_the_range_that_breaks_gpt2():
    # transformers reads the version of any distribution named "kernels" and changes its imports in this range.
    assert "0.18.2" > PROJECT["version"] or PROJECT["version"] >= "0.19.0"


GPT2 = (
    "from transformers import GPT2Config, GPT2ForSequenceClassification; "
    "GPT2ForSequenceClassification(GPT2Config(n_layer=1, n_embd=8, n_head=1))"
)


def test_gpt2_imports_beside_our_kernels_package():
    done = subprocess.run(
        [sys.executable, "-c", f"import kernels; {GPT2}; print(kernels.__file__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(ROOT / "kernels" / "__init__.py")


def test_the_wheel_holds_code_only_and_gpt2_imports_from_it(tmp_path):
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(tmp_path),
            str(ROOT),
        ],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if re.search(r"\.(csv|parquet|gz|safetensors|pkl)$", name)]
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
    assert {
        "run.py",
        "kernels/__init__.py",
        "pipeline/engine/key_defaults.json",
        "pipeline/reporting/templates/report.html",
    } <= set(names)
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(site)!r}); import kernels; {GPT2}; print(kernels.__file__)",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert str(site) in done.stdout
