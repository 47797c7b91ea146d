"""A small run ends under the kernel's limit, and what wants more than its limit fails; never timed."""

import shlex
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import harness
from memory_limit import kernel_limit
from run_all import HERE


def test_a_run_ends_under_the_limit_of_the_kernel(small_dataset: Path, tmp_path: Path) -> None:
    options = ["--tiny", "--json", "--data", str(small_dataset), "--scratch", str(tmp_path)]
    [figure] = harness.from_json(
        harness.run_process([sys.executable, str(HERE / "memory_limit.py"), *options]).result
    )
    assert figure.ours is not None and 0.3 < figure.ours <= 2.0
    assert figure.theirs == 2.0 and "score and report" in figure.note
    assert not list(tmp_path.iterdir())


def test_a_process_that_wants_more_than_the_limit_fails() -> None:
    for wanted, ends in ((10_000_000, True), (400_000_000, False)):
        work = shlex.join([sys.executable, "-c", f"print(len(bytes(b'x' * {wanted})))"])
        with kernel_limit(200_000_000) as limit:
            ended = subprocess.run(["sh", "-c", f"{limit.enter} && exec {work}"], capture_output=True)
        assert (ended.returncode == 0) is ends
