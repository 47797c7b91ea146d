"""Tests the memory limit benchmark: a small run fits, a process above its limit fails."""

import shlex
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import harness
from memory_limit import kernel_limit
from run_all import HERE


def test_a_small_run_completes_under_the_kernel_limit(small_dataset: Path, tmp_path: Path) -> None:
    options = ["--tiny", "--json", "--data", str(small_dataset), "--scratch", str(tmp_path)]
    [figure] = harness.from_json(
        harness.run_process([sys.executable, str(HERE / "memory_limit.py"), *options]).result
    )
    assert figure.ours is not None and 0.3 < figure.ours <= 2.0
    assert figure.theirs == 2.5 and "score and report" in figure.note
    assert not list(tmp_path.iterdir())


def test_a_process_that_needs_more_than_the_limit_fails() -> None:
    for size, completes in ((10_000_000, True), (400_000_000, False)):
        work = shlex.join([sys.executable, "-c", f"print(len(bytes(b'x' * {size})))"])
        with kernel_limit(200_000_000) as limit:
            done = subprocess.run(["sh", "-c", f"{limit.enter} && exec {work}"], capture_output=True)
        assert (done.returncode == 0) is completes
