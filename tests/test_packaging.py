"""One dependency list, taken by hash; the wheel holds code and configuration, the source distribution all."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement

from pipeline.engine.cells import compose_run
from pipeline.entry import execute
from pipeline.errors import UserError
from scripts.install_torch import pinned
from scripts.write_lock import locked_line

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKED_EXTRAS = PROJECT["optional-dependencies"].keys() - {"peers", "adapters"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    rows = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    pin = re.compile(r"([\w.-]+)==(\S+)(?: --hash=sha256:[0-9a-f]{64})+")
    assert all(pin.fullmatch(row) for row in rows), "every row of the lock pins one version and its files"
    return {canonical(match[1]): match[2] for match in map(pin.fullmatch, rows)}


@pytest.mark.parametrize("group", ["dependencies", *sorted(LOCKED_EXTRAS)])
def test_the_lock_pins_every_dependency_within_its_range(group):
    listed = PROJECT["dependencies"] if group == "dependencies" else PROJECT["optional-dependencies"][group]
    pins = {**locked(), "torch": pinned().split("==")[1]}
    for requirement in map(Requirement, listed):
        version = pins.get(canonical(requirement.name))
        assert version is not None, f"{requirement.name} is not in requirements.lock"
        assert requirement.specifier.contains(version), f"{requirement} but the lock has {version}"


def test_the_lock_is_what_is_installed():
    for name, version in locked().items():
        assert metadata.version(name).split("+")[0] == version, name


@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_the_lock_is_whole_under_each_python(python):
    here = {**default_environment(), "python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    pins = locked()
    wanted = {name: [Requirement(text) for text in metadata.requires(name) or []] for name in pins}
    lacking = {
        f"{name} needs {requirement}"
        for name, requirements in wanted.items()
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(here)
        if canonical(requirement.name) not in {*pins, "torch"}
    }
    assert not lacking


def test_every_pin_has_a_file_for_each_python():
    files = [("example-1.0-cp313-cp313-manylinux_2_28_x86_64.whl", "a" * 64), ("example-1.0.zip", "b" * 64)]
    assert locked_line("example", "1.0", files) == f"example==1.0 --hash=sha256:{'a' * 64} --hash=sha256:{'b' * 64}"
    with pytest.raises(SystemExit, match="example==1.0 has no file for Python 3.11"):
        locked_line("example", "1.0", files[:1])
    locked_line("example", "1.0", [("example-1.0-cp311-abi3-manylinux_2_17_x86_64.whl", "a" * 64)])
    locked_line("example", "1.0", [("example-1.0-py3-none-any.whl", "a" * 64)])


def test_the_setup_takes_torch_first_and_the_rest_by_hash():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    minimum = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert minimum.contains(next(item for item in conda if str(item).startswith("python=")).split("=")[1])
    makefile = (ROOT / "Makefile").read_text()
    assert makefile.index("install_torch.py") < makefile.index("-r requirements.lock"), "torch is installed first"
    assert "--require-hashes --no-deps --no-build-isolation" in makefile


def index_with_torch(folder: Path, requires: str) -> None:
    """An index in a folder whose torch needs a library; its metadata lies beside the file, as on package indexes."""
    page = folder / "torch"
    page.mkdir(parents=True)
    wheel = "torch-2.13.0-py3-none-any.whl"
    (page / wheel).write_bytes(b"not opened")
    text = f"Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\nRequires-Dist: {requires}\n"
    (page / f"{wheel}.metadata").write_text(text)
    link = f'<a href="{wheel}" data-core-metadata="true" data-dist-info-metadata="true">{wheel}</a>'
    (page / "index.html").write_text(f"<!doctype html><html><body>{link}</body></html>")


@pytest.mark.parametrize(("requires", "gpu"), [("nvidia-cublas; platform_system == 'Linux'", True), ("sympy", False)])
def test_a_build_with_gpu_libraries_is_told_from_its_metadata(tmp_path, requires, gpu):
    index_with_torch(tmp_path, requires)
    settings = {"INDEX_URL": tmp_path.as_uri(), "CONFIG_FILE": "/dev/null", "EXTRA_INDEX_URL": "", "FIND_LINKS": ""}
    environment = {**os.environ, **{f"PIP_{name}": value for name, value in settings.items()}}
    ask = "from scripts.install_torch import brings_gpu_libraries as ask; print(ask('torch==2.13.0'))"
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == str(gpu), done.stderr


def test_cleaning_keeps_artifacts_and_deleting_them_is_asked_for(tmp_path):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    report = tmp_path / "artifacts" / "report" / "study-0"
    report.mkdir(parents=True)

    def make(target: str, answer: str) -> int:
        return subprocess.run(["make", target], cwd=tmp_path, input=answer, text=True, capture_output=True).returncode

    assert make("clean", "") == 0 and report.is_dir()
    assert make("clean-artifacts", "") != 0 and make("clean-artifacts", "y\n") != 0 and report.is_dir()
    assert make("clean-artifacts", "yes\n") == 0 and not report.exists()


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


@pytest.mark.slow
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
        "conf/config.yaml",
        "conf/experiment/quickstart.yaml",
        "kernels/__init__.py",
        "pipeline/engine/key_defaults.json",
        "analysis/pages/templates/page.html",
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
    helped = [sys.executable, str(site / "run.py"), "--help", "kernel"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(helped, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "kernel.kind=pntk" in done.stdout, done.stderr


def test_names_of_files_are_ascii():
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True).stdout.split(b"\0")
    assert not [name for name in listed if not name.isascii()], "archives write other letters in more than one way"


def test_the_source_distribution_holds_what_a_run_and_the_tests_need(tmp_path):
    source = tmp_path / "source"
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True).stdout.split("\n")
    for name in filter(None, listed):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    build = "import setuptools.build_meta as b; b.build_sdist('../made')"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = (tmp_path / "made").glob("*.tar.gz")
    with tarfile.open(made) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    lacking = {name for name in listed if name and not name.startswith(".") and name not in names}
    assert not lacking


def test_another_publishers_kernels_is_named(tmp_path, monkeypatch):
    info = tmp_path / "kernels-0.18.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kernels\nVersion: 0.18.3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        ImportError, match="hides Hugging Face's of the same name .version 0.18.3 .*pip uninstall kernels"
    ):
        exec("from kernels import get_kernel")
    overrides = ["data=parabola", "stage=prepare", f"paths.store={tmp_path}/store"]
    with pytest.raises(UserError, match="'kernels' 0.18.3 of another publisher .* `pip uninstall kernels`"):
        execute(compose_run(tuple(overrides)), overrides)
    assert not (tmp_path / "store").exists()
