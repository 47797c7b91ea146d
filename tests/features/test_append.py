"""Appended days are bit-identical to a full rebuild."""

import datetime as dt
import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gogooku3.cli.main import app, main
from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.errors import DataError
from gogooku3.features import append, dataset_metadata
from gogooku3.features.build import build_dataset
from gogooku3.features.catalog import FORMULAS
from gogooku3.features.dataset_metadata import METADATA_KEY, read_build_metadata
from gogooku3.files.tables import collect, scan_table
from gogooku3.files.year_folder import table_files, year_file

OUTS = ("set.parquet", "set")
"""A file and a folder by year."""
N_DAYS = 1150
"""More than the longest lookback, so that old days are skipped."""


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_metadata, "BLOCK_ROWS", 256)


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


def build(prices: pl.DataFrame, place: Path, out: str = "set.parquet", **options):
    """Write the prices to a file and build a data set from it."""
    prices.write_parquet(place / "prices.parquet")
    return build_dataset(place / "prices.parquet", place / out, **options)


def read(out: Path) -> pl.DataFrame:
    return collect(scan_table(out), out)


def up_to(prices: pl.DataFrame, back: int) -> pl.DataFrame:
    """The prices without the last days."""
    days = prices["date"].unique().sort()
    return prices.filter(pl.col("date") <= days[len(days) - 1 - back])


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.one_of(st.integers(1, 40), st.integers(1, N_DAYS - 30)), min_size=1, max_size=3))
@pytest.mark.parametrize("out", OUTS)
def test_days_appended_in_any_portions_are_bit_identical_to_a_full_rebuild(
    prices: pl.DataFrame, whole: pl.DataFrame, out: str, cuts: set[int], tmp_path_factory
) -> None:
    place = tmp_path_factory.mktemp("cut")
    for back in sorted(cuts, reverse=True):
        build(up_to(prices, back), place, out, append=True)
    report = build(prices, place, out, append=True)
    assert report.added_days == min(cuts)
    assert read(report.out_path).equals(whole)


def test_the_appended_file_is_the_rebuilt_file(prices: pl.DataFrame, tmp_path: Path) -> None:
    path = build(up_to(prices, 3), tmp_path).out_path
    build(prices, tmp_path, append=True)
    appended = path.read_bytes()
    build(prices, tmp_path)
    assert path.read_bytes() == appended


def test_an_append_writes_only_the_years_with_changes(prices: pl.DataFrame, tmp_path: Path) -> None:
    years = prices["date"].dt.year().unique().sort().to_list()
    folder = build(up_to(prices, 3), tmp_path, "set").out_path
    assert [file.parent.name for file in table_files(folder)] == [f"year={year}" for year in years]
    before = {file: file.read_bytes() for file in table_files(folder)}
    report = build(prices, tmp_path, "set", append=True)
    assert report.written == (year_file(folder, years[-1]),)
    changed = [file for file in before if file.read_bytes() != before[file]]
    assert changed == list(report.written)
    metadata = read_build_metadata(folder)
    build(prices, tmp_path, "set")
    assert metadata == read_build_metadata(folder)


def test_other_readers_open_the_folder(prices: pl.DataFrame, whole: pl.DataFrame, tmp_path: Path) -> None:
    folder = build(prices, tmp_path, "set").out_path
    frame = pl.read_parquet(folder)
    assert frame.drop("year").equals(whole)
    assert (frame["year"] == frame["date"].dt.year()).all()


@pytest.mark.parametrize(("n_files", "later_days"), [(0, 5), (1, 0), (2, 5)])
def test_an_append_cut_off_between_two_years_is_completed_by_the_next(
    n_files: int, later_days: int, prices: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new days begin in January, so that the year before gets targets, and reach into a third year."""
    calendar = prices["date"].unique().sort()
    first_day = calendar.filter(calendar.dt.year() == calendar[-1].year - 1)[0]
    before = prices.filter(pl.col("date") < first_day)
    middle = up_to(prices, later_days)
    old = read(build(before, tmp_path, "set").out_path)
    write, calls = append.write_file, iter(range(9))

    def fail(*arguments, **options) -> None:
        if next(calls) == n_files:
            raise KeyboardInterrupt
        write(*arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(append, "write_file", fail)
        build(middle, tmp_path, "set", append=True)
    frame = read(tmp_path / "set")
    loaded = ProductionDatasetV3(tmp_path / "set", feature_columns=["ret_1d"]).load_data()
    assert loaded.equals(frame.sort("date", "code").select(loaded.columns))
    ends = [
        before["date"].max(),
        before["date"].max(),
        calendar.filter(calendar < dt.date(calendar[-1].year, 1, 1))[-1],
    ]
    assert frame["date"].max() == ends[n_files]
    features = pl.exclude("^target_.*$", "book_return")
    assert frame.filter(pl.col("date") < first_day).select(features).equals(old.select(features))
    assert {path.name for path in tmp_path.iterdir()} == {"set", ".set.lock", "prices.parquet"}
    build(prices, tmp_path, "set", append=True)
    (tmp_path / "other").mkdir()
    assert read(tmp_path / "set").equals(read(build(prices, tmp_path / "other", "set").out_path))


def test_an_interrupted_append_is_completed_without_new_days(
    prices: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the year before has been written, with targets that the shorter prices do not know."""
    calendar = prices["date"].unique().sort()
    first_day = calendar.filter(calendar.dt.year() == calendar[-1].year)[0]
    before = prices.filter(pl.col("date") < first_day)
    expected = read(build(before, tmp_path, "set").out_path)
    write, calls = append.write_file, iter(range(9))

    def fail(*arguments, **options) -> None:
        if next(calls):
            raise KeyboardInterrupt
        write(*arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(append, "write_file", fail)
        build(prices, tmp_path, "set", append=True)
    assert not read(tmp_path / "set").equals(expected)
    report = build(before, tmp_path, "set", append=True)
    assert (report.added_days, len(report.written)) == (0, 1)
    assert read(tmp_path / "set").equals(expected)
    assert build(before, tmp_path, "set", append=True).written == ()


@pytest.mark.parametrize("n_files", [0, 1])
def test_an_interrupted_rebuild_leaves_the_old_folder(
    n_files: int, make_prices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = make_prices(n_days=400, n_stocks=3)
    old = {file: file.read_bytes() for file in table_files(build(frame, tmp_path, "set").out_path)}
    write, calls = dataset_metadata.write_file, iter(range(9))

    def fail(*arguments, **options) -> None:
        if next(calls) == n_files:
            raise KeyboardInterrupt
        write(*arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dataset_metadata, "write_file", fail)
        build(frame.with_columns(pl.col("close") * 2), tmp_path, "set")
    assert {file: file.read_bytes() for file in table_files(tmp_path / "set")} == old
    assert {path.name for path in tmp_path.iterdir()} == {"set", ".set.lock", "prices.parquet"}


def test_a_rebuild_removes_years_without_prices(make_prices, tmp_path: Path) -> None:
    frame = make_prices(n_days=400, n_stocks=3)
    last_year = frame["date"].max().year
    build(frame, tmp_path, "set")
    build(frame.filter(pl.col("date").dt.year() < last_year), tmp_path, "set")
    assert not year_file(tmp_path / "set", last_year).exists()


def test_a_folder_that_lacks_a_year_is_refused(prices: pl.DataFrame, tmp_path: Path) -> None:
    folder = build(up_to(prices, 1), tmp_path, "set").out_path
    table_files(folder)[1].unlink()
    with pytest.raises(append.CannotAppend, match="are not those it was built from"):
        build(prices, tmp_path, "set", append=True)


@pytest.mark.parametrize("name", ["notes.txt", ".git", "year=2020/a.csv"])
def test_a_folder_of_other_files_is_never_replaced(name: str, make_prices, tmp_path: Path) -> None:
    frame = make_prices(n_days=40, n_stocks=3)
    other = tmp_path / "set" / name
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    for options in ({}, {"append": True}):
        with pytest.raises(DataError, match=re.escape(name)):
            build(frame, tmp_path, "set", **options)
    assert other.read_text() == "mine"


@pytest.mark.parametrize("out", OUTS)
def test_extra_families_are_appended_too(out: str, prices: pl.DataFrame, tmp_path: Path) -> None:
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
    build(up_to(frame, 5), one, out, extra=["statements"])
    added = read(build(frame, one, out, extra=["statements"], append=True).out_path)
    expected = read(build(frame, other, out, extra=["statements"]).out_path)
    assert added["sales_growth_250d"].count()
    assert added.equals(expected)


def test_without_a_new_day_nothing_is_written(prices: pl.DataFrame, tmp_path: Path) -> None:
    before = build(prices, tmp_path).out_path.stat()
    assert build(prices, tmp_path, append=True).added_days == 0
    after = (tmp_path / "set.parquet").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_missing_data_set_is_built_whole(prices: pl.DataFrame, tmp_path: Path) -> None:
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
@pytest.mark.parametrize("out", OUTS)
def test_prices_other_than_those_it_was_built_from_are_refused(
    out: str, change, make_prices, tmp_path: Path
) -> None:
    frame = make_prices(n_days=60, n_stocks=4, sectors=2)
    files = table_files(build(up_to(frame, 2), tmp_path, out).out_path)
    before = [file.read_bytes() for file in files]
    with pytest.raises(DataError, match=r"are not those it was built from.*build it again, without --append"):
        build(change(frame), tmp_path, out, append=True)
    assert [file.read_bytes() for file in files] == before


def test_a_data_set_built_differently_is_refused(make_prices, tmp_path: Path, monkeypatch) -> None:
    frame = make_prices(n_days=60, n_stocks=3)
    build(up_to(frame, 2), tmp_path, horizons=[1, 5])
    with pytest.raises(DataError, match=r"other targets .only then: none; only now: target_10d, target_20d"):
        build(frame, tmp_path, append=True)
    build(up_to(frame, 2), tmp_path)
    monkeypatch.setattr("gogooku3.features.build.__version__", "9.9")
    with pytest.raises(DataError, match=r"version 0.*this is 9\.9; build it again"):
        build(frame, tmp_path, append=True)
    pl.read_parquet(tmp_path / "set.parquet").write_parquet(tmp_path / "set.parquet")
    with pytest.raises(DataError, match="does not record which prices"):
        build(frame, tmp_path, append=True)


def test_a_data_set_of_other_formulas_is_refused(make_prices, tmp_path: Path) -> None:
    frame = make_prices(n_days=60, n_stocks=3)
    build(up_to(frame, 2), tmp_path)
    file = tmp_path / "set.parquet"
    built = read_build_metadata(file)
    assert built is not None and built.pop("formulas") == FORMULAS == 2
    pl.read_parquet(file).write_parquet(file, metadata={METADATA_KEY: json.dumps(built)})
    with pytest.raises(DataError, match=r"built with formulas 1, this is 2; build it again, without --app"):
        build(frame, tmp_path, append=True)


@pytest.mark.parametrize(
    "content", [b"", b"no table", b"PAR1" + bytes(99)], ids=["empty", "text", "cut short"]
)
def test_a_file_that_is_not_a_data_set_is_refused_and_unchanged(
    content: bytes, make_prices, tmp_path: Path
) -> None:
    out = tmp_path / "set.parquet"
    out.write_bytes(content)
    with pytest.raises(
        append.CannotAppend, match=r"set\.parquet is damaged, or not a data set; build it again"
    ):
        build(make_prices(n_days=40, n_stocks=3), tmp_path, append=True)
    assert out.read_bytes() == content


WRITER = """
import sys
from pathlib import Path
from gogooku3.files.atomic import atomic_folder, atomic_path
from gogooku3.files.locks import exclusive
out = Path(sys.argv[1])
lock = out.with_name(f".{out.name}.lock")
with exclusive(lock, ""), atomic_path(out), atomic_folder(out) as folder:
    (folder / "part.parquet").touch()
    print("writing", flush=True)
    sys.stdin.read()
"""
"""Holds the lock and the temporary files of a build until it is killed."""


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
        message = " ".join(capsys.readouterr().err.split())
        assert f"another build is writing {out} (process {other.pid} on " in message
        assert len(list(tmp_path.glob(".set.parquet.*-????????.tmp"))) == 3
        other.kill()
    assert out.read_bytes() == before
    assert build(frame, tmp_path, append=True).added_days == 1
    assert {path.name for path in tmp_path.iterdir()} == others | {
        ".set.parquet.lock",
        "prices.parquet",
        "set.parquet",
    }


@pytest.mark.parametrize(
    ("out", "written"), [("s.parquet", "rewrote {out} whole (a folder would"), ("s", "wrote year=2020")]
)
def test_the_command_prints_what_it_appended(out: str, written: str, make_prices, tmp_path: Path) -> None:
    frame = make_prices(n_days=60, n_stocks=3)
    path = tmp_path / out
    command = ["data", "build", "--prices", str(tmp_path / "p.csv"), "--out", str(path), "--append"]
    outputs = []
    for back in (2, 0, 0):
        up_to(frame, back).write_csv(tmp_path / "p.csv")
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        outputs.append(result.output)
    assert "added" not in outputs[0]
    assert f"added 2 of 60 days; {written.format(out=path)}" in outputs[1]
    assert "nothing to add" in outputs[2] and json.dumps(read_build_metadata(path))
