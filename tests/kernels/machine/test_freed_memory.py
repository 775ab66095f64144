"""Freed memory stays with the process, so that no pass takes its pages anew."""

import platform
import subprocess
import sys

import pytest

LOOP = """
import resource
from kernels.machine.freed_memory import keep_freed_memory


def gradients_of_a_table():
    return len([bytearray(25_000_000) for _ in range(4)])


def interrupts():
    gradients_of_a_table()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    gradients_of_a_table()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


before = interrupts()
print(keep_freed_memory(), before, interrupts())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has another way")
def test_a_second_pass_takes_no_new_pages() -> None:
    done = subprocess.run([sys.executable, "-c", LOOP], capture_output=True, text=True, check=True)
    kept, before, after = done.stdout.split()
    assert kept == "True" and int(before) > 10_000 and int(after) < 100
