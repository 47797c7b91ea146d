"""Real markets cut into test years: the files, the folds, and one data set per market.

Nothing after the last of a market's years is read. Trains nothing; `real_market.py` does.
"""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from gogooku3.config import RunConfig, load_config
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.features.build import build_dataset
from gogooku3.files.atomic import atomic_path, write_text_atomic
from gogooku3.models.forecaster import FoldData
from gogooku3.pipeline.input_checks import check_inputs
from gogooku3.pipeline.memory_plan import release_memory
from gogooku3.pipeline.prepare_data import PANEL_FILE, PreparedData, build_panel, load_frame, prepare
from gogooku3.pipeline.step_log import StepLog
from gogooku3.runs.folder import CONFIG, RunFolder
from gogooku3.safety.walk_forward import Fold
from gogooku3.schema import HORIZONS, KEYS, target_column


@dataclass(frozen=True)
class MarketFile:
    """A file of daily prices.

    Attributes:
        name: of the file.
        years: on which choices are made.
        final: to be looked at once, after every choice.
    """

    name: str
    years: Sequence[int]
    final: Sequence[int] = ()


MARKETS = {
    "nasdaq": MarketFile("nasdaq_ohlcv_2009_2017.parquet", range(2012, 2017)),
    "tokyo": MarketFile("tse_ohlcv_2010_2016.parquet", range(2012, 2017)),
    "china": MarketFile("cn_ohlcv_2018_2025.parquet", range(2020, 2024), final=(2024, 2025)),
}


def choose_years(
    markets: Sequence[str] | None, years: Sequence[int] | None, final: bool
) -> dict[str, list[int]]:
    """Test years of each market.

    Raises:
        ConfigError: a market or year is not offered.
    """
    offered = {name: list(each.final if final else each.years) for name, each in MARKETS.items()}
    offered = {name: own for name, own in offered.items() if own}
    names = list(dict.fromkeys(markets or offered))
    if absent := [name for name in names if name not in offered]:
        raise ConfigError(
            f"--final has no years of {choices(absent)}, only of {choices(offered)}; leave it out"
        )
    known = {year for name in names for year in offered[name]}
    if unknown := set(years or ()) - known:
        raise ConfigError(
            f"--years has {choices(sorted(unknown))}, but the years of {choices(names)} are "
            f"{choices(sorted(known), 20)}; choose among them"
        )
    chosen = {name: [year for year in offered[name] if not years or year in years] for name in names}
    return {name: own for name, own in chosen.items() if own}


class Market:
    """One market up to the last of its years: the data set, and the folds of all years over one panel.

    Args:
        prices: file of daily prices.
        years: test years, ascending.
        folder: of everything that is written.
        config: of the data set and the panel.
        log: receives progress and warnings.
    """

    def __init__(
        self, prices: Path, years: Sequence[int], folder: Path, config: RunConfig, log: StepLog
    ) -> None:
        self.years, self.config, self.log = years, config, log
        self.folder = open_run(folder, config)
        data = config.dataset.data_path
        if not data.is_file():
            print(f"{folder.name}: building the data set", file=sys.stderr, flush=True)
            build_dataset(cut_prices(prices, max(years), folder / "prices.parquet"), data)
        self.inputs = check_inputs(config)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """Keys and targets of every row."""
        return load_frame(self.inputs, self.log)[0]

    @cached_property
    def prepared(self) -> PreparedData:
        """The normalised panel with one fold per year, and the graphs."""
        print(f"{self.folder.path.name}: preparing the panel", file=sys.stderr, flush=True)
        panel = build_panel(self.inputs, self.frame, self.folder, self.log)
        folds = year_folds(panel.dates, self.years, self.inputs.splitter.embargo_days)
        return prepare(self.inputs, panel, self.folder, self.log, folds)

    def fold(self, year: int, config: RunConfig) -> FoldData:
        """The fold of a year, for a network with these settings."""
        data = dataclasses.replace(self.prepared, config=config)
        if not config.graph.enabled:
            data = dataclasses.replace(data, returns=None, schedule=None)
        return data.fold(self.years.index(year))

    @property
    def targets(self) -> pl.DataFrame:
        """`date, code, target_{h}d`."""
        return self.frame.select(*KEYS, *map(target_column, HORIZONS))

    def close(self) -> None:
        """Release the panel."""
        vars(self).pop("prepared", None)
        (self.folder.path / PANEL_FILE).unlink(missing_ok=True)
        release_memory()


def cut_prices(prices: Path, last_year: int, out: Path) -> Path:
    """Copy the prices up to the end of a year; returns `out`."""
    with atomic_path(out) as temporary:
        rows = pl.scan_parquet(prices).filter(pl.col("Date") <= date(last_year, 12, 31))
        rows.collect().write_parquet(temporary)
    return out


def year_folds(dates: np.ndarray, years: Sequence[int], embargo_days: int) -> list[Fold]:
    """One fold per year: trained on all days before the year but the last `embargo_days`.

    Args:
        dates: trading days of the market, ascending, `datetime64[D]`.
        years: to be tested.
        embargo_days: trading days between training and test.

    Raises:
        DataError: a year has no days, or none before it to train on.
    """
    folds = []
    for number, year in enumerate(years):
        start, stop = np.searchsorted(
            dates, np.array([f"{year}-01-01", f"{year + 1}-01-01"], "datetime64[D]")
        )
        if start == stop or start <= embargo_days:
            raise DataError(
                f"{year} has {stop - start} trading days and {start} before it, but the prices are from "
                f"{dates[0]} to {dates[-1]}; choose years with enough days before them"
            )
        folds.append(Fold(number, range(int(start) - embargo_days), range(int(start), int(stop))))
    return folds


def open_run(path: Path, config: RunConfig) -> RunFolder:
    """The folder of fits with these settings, created if missing.

    Raises:
        ConfigError: the folder was created with other settings.
    """
    if not (path / CONFIG).is_file():
        write_text_atomic(path / CONFIG, config.to_yaml())
    # The folder may have been moved, with the data set in it.
    elif load_config(path / CONFIG).model_copy(update={"dataset": config.dataset}) != config:
        raise ConfigError(f"{path} was created with other settings; choose another --out, or remove it")
    return RunFolder.open(path)
