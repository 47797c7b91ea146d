"""The shortest example of a leak: minimal, runnable, and showing the leak."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from tests.safety import leaky_pipelines as leaky

from gogooku3.safety import audit


def output_of(program: str) -> str:
    """The program's standard output."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "reproducer.py", "exec"), {})
    return printed.getvalue()


@pytest.mark.parametrize(
    ("pipeline", "probe", "rows"),
    [
        # A price on day t and a later one of the same stock.
        (leaky.full_period_maximum, "altered", 2),
        # Two stocks, each with the day t and the altered day.
        (leaky.neighbours_rows_in_a_window, "altered", 4),
        (leaky.neighbours_past_in_a_window, "swapped", 4),
        (leaky.price_level, "rescaled", 1),
        # A row and the twenty after it, the last of which is removed.
        (leaky.rows_with_a_label, "removed", 21),
    ],
)
def test_the_example_is_minimal_and_shows_the_leak(
    pipeline: Callable[..., pl.DataFrame], probe: str, rows: int, prices: pl.DataFrame
) -> None:
    report = audit(pipeline, prices, cuts=1, probes=[probe], reproduce_seconds=60)
    (finding,) = report.leaks
    assert finding.reproducer is not None
    data = finding.reproducer.split('PRICES = """\\\n')[1].split('"""')[0]
    assert len(data.splitlines()) == rows + 1
    output = output_of(finding.reproducer)
    before, after = output.rsplit(" became ", 1)
    assert "[" not in before or before[before.rindex("[") :] != after.strip()
    assert "became" in output


def test_a_leak_found_by_several_probes_gets_one_example(prices: pl.DataFrame) -> None:
    report = audit(leaky.full_period_maximum, prices, cuts=1)
    assert [finding.reproducer is not None for finding in report.leaks] == [True, False, False]
    report = audit(leaky.full_period_maximum, prices, cuts=1, reproduce_seconds=0)
    assert [finding.reproducer for finding in report.leaks] == [None, None, None]


def test_a_function_that_can_t_be_imported_is_left_to_the_reader(prices: pl.DataFrame) -> None:
    report = audit(lambda prices: leaky.price_level(prices), prices, probes=["rescaled"])
    assert "pipeline = ...  # TODO" in (report.leaks[0].reproducer or "")


def test_pandas_pipelines_are_audited(prices: pl.DataFrame, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    (tmp_path / "scaling.py").write_text(
        "import pandas as pd\n"
        "def scaled(prices: pd.DataFrame) -> pd.Series:\n"
        "    prices = prices.set_index(['date', 'code'])\n"
        "    return prices['close'] / prices.groupby('code')['close'].transform('max')\n"
    )
    program = (
        "import polars as pl, sys; sys.path.insert(0, sys.argv[2]); from scaling import scaled\n"
        "from gogooku3.safety import audit\n"
        "report = audit(scaled, pl.read_parquet(sys.argv[1]), cuts=1, probes=['altered'])\n"
        "print(report); exec(report.leaks[0].reproducer, {})\n"
    )
    prices.write_parquet(tmp_path / "prices.parquet")
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "prices.parquet"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "'close' depends on the future" in done.stdout and "became" in done.stdout

    def untyped(frame):  # type: ignore[no-untyped-def]
        return frame.assign(x=frame["close"] / frame.groupby("code")["close"].shift(1))[["date", "code", "x"]]

    given = pandas.DataFrame({column.name: column.to_numpy() for column in prices})
    assert audit(untyped, given, cuts=1, probes=["altered", "truncated"]).verdict == "clean"
    assert audit(untyped, prices, cuts=1, probes=["altered", "truncated"]).verdict == "clean"
