"""The package lists its most useful names, and importing it costs nothing."""

import subprocess
import sys

import pytest

import analysis


def test_importing_the_package_loads_no_library():
    code = (
        "import sys, analysis; print(sorted({'numpy', 'scipy', 'torch', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_listed_name_is_found_where_the_list_says():
    for name in analysis.__all__:
        assert getattr(analysis, name).__name__ == name
    assert dir(analysis) == analysis.__all__
    with pytest.raises(AttributeError, match="no attribute 'trimming_lever'"):
        _ = analysis.trimming_lever
