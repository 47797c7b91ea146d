"""Days added to a data set give the bits of a whole build."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gogooku3.cli.main import app, main
from gogooku3.data.parquet_splice import Footer
from gogooku3.errors import DataError
from gogooku3.features import append, dataset_metadata
from gogooku3.features.build import build_dataset
from gogooku3.features.dataset_metadata import PricesDigest, read_build_metadata

GROUP = 256
N_DAYS = 1150
"""More than the longest lookback, so that it is cut off."""


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small row groups, so that some stay and some go."""
    for module in (append, dataset_metadata):
        monkeypatch.setattr(module, "BLOCK_ROWS", GROUP)


@pytest.fixture(scope="module")
def prices(make_prices) -> pl.DataFrame:
    """Holes, late listings; one stock ends early, one comes late, one pauses for years, one has no highs."""
    frame = make_prices(n_days=N_DAYS, n_stocks=6, sectors=2)
    day = pl.col("date").rank("dense")
    ended = (pl.col("code") == "S01") & (day > N_DAYS - 30)
    early = (pl.col("code") == "S02") & (day < N_DAYS - 12)
    paused = (pl.col("code") == "S03") & day.is_between(200, N_DAYS - 8)
    blind = (pl.col("code") == "S04") & (day > N_DAYS - 500)
    high = pl.when(~blind).then("high").alias("high")
    return frame.filter(~(ended | early | paused)).with_columns(high, known_market_cap=pl.col("close") * 1e6)


@pytest.fixture(scope="module")
def whole(prices: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return pl.read_parquet(build(prices, tmp_path_factory.mktemp("whole")).out_path)


def build(prices: pl.DataFrame, place: Path, **options):
    """Build the prices' data set in a folder, from a file of theirs there."""
    prices.write_parquet(place / "prices.parquet")
    return build_dataset(place / "prices.parquet", place / "set.parquet", **options)


def up_to(prices: pl.DataFrame, back: int) -> pl.DataFrame:
    """The prices without the last days."""
    days = prices["date"].unique().sort()
    return prices.filter(pl.col("date") <= days[len(days) - 1 - back])


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.one_of(st.integers(1, 40), st.integers(1, N_DAYS - 30)), min_size=1, max_size=3))
def test_days_added_in_any_portions_give_the_bits_of_a_whole_build(
    prices: pl.DataFrame, whole: pl.DataFrame, cuts: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("cut")
    for back in sorted(cuts, reverse=True):
        build(up_to(prices, back), place, append=True)
    report = build(prices, place, append=True)
    assert report.added_days == min(cuts)
    assert pl.read_parquet(report.out_path).equals(whole)


def test_the_file_is_that_of_a_whole_build_and_old_groups_are_copied(
    prices: pl.DataFrame, tmp_path: Path
) -> None:
    path = build(up_to(prices, 3), tmp_path).out_path
    days = up_to(prices, 3)["date"].unique().sort()
    settled = up_to(prices, 3).filter(pl.col("date") < days[-20]).height // GROUP
    old = path.read_bytes()[: Footer.read(path).begin(settled)]
    build(prices, tmp_path, append=True)
    assert settled > 10 and path.read_bytes().startswith(old)
    account, groups = read_build_metadata(path), Footer.read(path).group_rows
    build(prices, tmp_path)
    assert (account, groups) == (read_build_metadata(path), Footer.read(path).group_rows)


def test_extra_families_are_added_too(prices: pl.DataFrame, tmp_path: Path) -> None:
    frame = prices.with_columns(
        pl.lit(1e6).alias(f"known_{name}")
        for name in ("net_profit_ttm", "net_profit_forecast", "net_profit_forecast_before", "equity")
    ).with_columns(
        known_sales_ttm=pl.col("close") * 3,
        known_operating_profit_ttm=pl.col("close"),
        known_total_assets=pl.col("close") * 9,
        known_disclosure_age=pl.col("close"),
    )
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    build(up_to(frame, 5), one, extra=["statements"])
    added = build(frame, one, extra=["statements"], append=True)
    expected = build(frame, other, extra=["statements"])
    assert "sales_growth_250d" in pl.read_parquet(added.out_path).drop_nulls("sales_growth_250d").columns
    assert pl.read_parquet(added.out_path).equals(pl.read_parquet(expected.out_path))


def test_without_a_new_day_nothing_is_written(prices: pl.DataFrame, tmp_path: Path) -> None:
    before = build(prices, tmp_path).out_path.stat()
    assert build(prices, tmp_path, append=True).added_days == 0
    after = (tmp_path / "set.parquet").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_what_is_not_there_is_built_whole(prices: pl.DataFrame, tmp_path: Path) -> None:
    few = up_to(prices, N_DAYS - 40)
    assert build(few, tmp_path, append=True).added_days == few["date"].n_unique()


REVISED = pl.when(pl.col("date") == pl.col("date").min()).then(pl.col("close") + 1e-9).otherwise("close")


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.with_columns(REVISED.alias("close")),
        lambda frame: frame.filter(pl.col("code") != "S00"),
        lambda frame: pl.concat([frame, frame.head(1).with_columns(code=pl.lit("S99"))]),
        lambda frame: frame.with_columns(sector=pl.lit("one")),
        lambda frame: frame.filter(pl.col("date") < dt.date(2020, 2, 1)),
    ],
    ids=["revised", "a stock less", "a stock more", "other sectors", "days less"],
)
def test_other_prices_than_it_was_built_from_are_refused(change, make_prices, tmp_path: Path) -> None:
    frame = make_prices(n_days=60, n_stocks=4, sectors=2)
    build(up_to(frame, 2), tmp_path)
    before = (tmp_path / "set.parquet").read_bytes()
    with pytest.raises(DataError, match=r"are not those it was built from.*build it anew, without --append"):
        build(change(frame), tmp_path, append=True)
    assert (tmp_path / "set.parquet").read_bytes() == before


def test_a_data_set_built_otherwise_is_refused(make_prices, tmp_path: Path, monkeypatch) -> None:
    frame = make_prices(n_days=60, n_stocks=3)
    build(up_to(frame, 2), tmp_path, horizons=[1, 5])
    with pytest.raises(DataError, match=r"other targets .only then: none; only now: target_10d, target_20d"):
        build(frame, tmp_path, append=True)
    build(up_to(frame, 2), tmp_path)
    monkeypatch.setattr("gogooku3.features.build.__version__", "9.9")
    with pytest.raises(DataError, match=r"version 0.*this is 9\.9; build it anew"):
        build(frame, tmp_path, append=True)
    pl.read_parquet(tmp_path / "set.parquet").write_parquet(tmp_path / "set.parquet")
    with pytest.raises(DataError, match="does not tell which prices"):
        build(frame, tmp_path, append=True)


@pytest.mark.parametrize(
    "content", [b"", b"no table", b"PAR1" + bytes(99)], ids=["empty", "text", "cut short"]
)
def test_what_is_no_data_set_is_refused_and_left_as_it_is(
    content: bytes, make_prices, tmp_path: Path
) -> None:
    out = tmp_path / "set.parquet"
    out.write_bytes(content)
    with pytest.raises(append.CannotAppend, match=r"set.parquet is damaged, or no data set; build it anew"):
        build(make_prices(n_days=40, n_stocks=3), tmp_path, append=True)
    assert out.read_bytes() == content


def test_the_digest_knows_every_value_and_no_order(make_prices) -> None:
    frame = make_prices(n_days=30, n_stocks=3, sectors=2)
    known = str(PricesDigest(frame))
    assert str(PricesDigest(frame.sample(fraction=1, shuffle=True, seed=1))) == known
    for name in frame.columns:
        other = frame[name].reverse() if name in ("code", "sector") else frame[name].shift(1)
        assert str(PricesDigest(frame.with_columns(other.alias(name)))) != known, name
    swapped = frame.rename({"high": "low", "low": "high"})
    assert str(PricesDigest(swapped)) != known


WRITER = """
import sys
from pathlib import Path
from gogooku3.files.atomic import atomic_path, temporary_folder_beside
from gogooku3.files.locks import exclusive
out = Path(sys.argv[1])
lock = out.with_name(f".{out.name}.lock")
with exclusive(lock, ""), atomic_path(out), temporary_folder_beside(out) as parts:
    (Path(parts) / "tail.parquet").touch()
    print("writing", flush=True)
    sys.stdin.read()
"""
"""What a build does with files, until it is killed."""


def test_a_second_writer_is_refused_and_what_a_killed_one_left_is_removed(
    make_prices, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = make_prices(n_days=40, n_stocks=3)
    before = build(up_to(frame, 1), tmp_path).out_path.read_bytes()
    frame.write_parquet(tmp_path / "prices.parquet")
    others = {".set.parquet.old.parquet.abcd1234.tmp", ".sets.parquet.abcd1234.tmp", ".set.parquet.mine.tmp"}
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / ".set.oracle.json.abcd1234.tmp").touch()
    command = [sys.executable, "-c", WRITER, str(tmp_path / "set.parquet")]
    prices, out = tmp_path / "prices.parquet", tmp_path / "set.parquet"
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "writing\n"
        with pytest.raises(SystemExit) as refused:
            main(["data", "build", "--prices", str(prices), "--out", str(out)])
        assert refused.value.code == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"another build is writing {out} (process {other.pid} on " in said
        assert len(list(tmp_path.glob(".set.parquet.????????.tmp"))) == 2
        other.kill()
    assert out.read_bytes() == before
    assert build(frame, tmp_path, append=True).added_days == 1
    assert {path.name for path in tmp_path.iterdir()} == others | {
        ".set.parquet.lock",
        "prices.parquet",
        "set.parquet",
    }


def test_the_command_says_what_it_added(make_prices, tmp_path: Path) -> None:
    frame = make_prices(n_days=60, n_stocks=3)
    command = [
        "data",
        "build",
        "--prices",
        str(tmp_path / "p.csv"),
        "--out",
        str(tmp_path / "s.parquet"),
        "--append",
    ]
    said = []
    for back in (2, 0, 0):
        up_to(frame, back).write_csv(tmp_path / "p.csv")
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        said.append(result.output)
    assert "added" not in said[0] and "added 2 of 60 days" in said[1]
    assert "nothing to add" in said[2] and json.dumps(read_build_metadata(tmp_path / "s.parquet"))
