"""Install the pinned torch into the environment that runs this: the CPU build, unless the machine has a GPU of NVIDIA.

Most package indexes offer a build with gigabytes of GPU libraries under the same name and version. Whether the index of
this machine does is read from the file's metadata before anything is downloaded.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
"""PyTorch's own index of builds without GPU libraries."""
_LARGEST_CPU_BUILD = 400e6
_GPU_LIBRARY = re.compile(rb"^Requires-Dist: (nvidia|cuda|triton)", re.MULTILINE)


def has_gpu() -> bool:
    """Whether NVIDIA's driver sees a GPU."""
    if shutil.which("nvidia-smi") is None:
        return False
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True)
    return done.returncode == 0 and b"GPU" in done.stdout


def pinned() -> str:
    """Read the requirement of ``pyproject.toml``."""
    text = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r"torch==[\w.]+", text)
    assert found is not None, "pyproject.toml pins torch"
    return found[0]


def brings_gpu_libraries(requirement: str) -> bool:
    """Whether what pip would take from its index needs GPU libraries; False where the index cannot say."""
    from pip._internal.commands import create_command

    name, version = requirement.split("==")
    command: Any = create_command("download")
    options, _ = command.parse_args(["--quiet", name])
    with command.main_context():
        session = command.get_default_session(options)
        finder = command._build_package_finder(options, session)
        fitting = [item for item in finder.find_all_candidates(name) if str(item.version).split("+")[0] == version]
        if not fitting:
            return False
        link = finder.make_candidate_evaluator(name).compute_best_candidate(fitting).best_candidate.link
        about = link.metadata_link()
        if about is not None:
            answer = session.get(about.url_without_fragment)
            if answer.ok:
                return _GPU_LIBRARY.search(answer.content) is not None
        size = session.head(link.url_without_fragment, allow_redirects=True).headers.get("Content-Length", "0")
        return int(size) > _LARGEST_CPU_BUILD


def main() -> None:
    """Install it."""
    requirement, index = pinned(), []
    if not has_gpu():
        try:
            index = ["--index-url", CPU_BUILDS] if brings_gpu_libraries(requirement) else []
        except Exception as error:  # another version of pip: then pip's own choice it is
            print(f"which build the index offers is unknown ({error}); taking it as it is", file=sys.stderr)
    where = "PyTorch's index of CPU builds" if index else "pip's index"
    print(f"installing {requirement} from {where}", file=sys.stderr)
    sys.exit(subprocess.run([sys.executable, "-m", "pip", "install", "-q", *index, requirement]).returncode)


if __name__ == "__main__":
    main()
