"""Compare the network with LightGBM and a linear model, year by year, on three real markets.

    python benchmarks/real_market.py --data FOLDER --out OUT

For each market and year, every model is trained on all days of the market before the year, except the last 20
(the embargo; the last part of the training days is for validation), and predicts the days of the year. The
configuration is the shipped `model/atft/compact`. Scores, intervals and bars are described in
`market_scores.py`: pooled over markets, every market-year has the same weight, and the means of the
market-years are the blocks of the t interval. Prints Markdown, which is also written to OUT/table.md.

Prices after the last of the years are cut off before anything is computed, so the last labels are unknown.
NASDAQ 2017 is never read. China 2024 and 2025 are read only with --final.

An interrupted command is continued by repeating it: complete models are read back from OUT, and a network
continues from its checkpoint. Use another OUT after a change of the code.
"""

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path

import numpy as np
import polars as pl
from market_scores import AVERAGE, BASELINE, BLEND, LINEAR, NETWORK, TODAY, FitFacts, daily_scores, report
from market_years import MARKETS, Market, choose_years, open_run

from gogooku3.config import RunConfig, load_config
from gogooku3.errors import DataError, GogookuError, Interrupted, choices
from gogooku3.evaluation.rank_average import rank_average
from gogooku3.files.atomic import write_text_atomic
from gogooku3.files.tables import read_table
from gogooku3.models import forecaster
from gogooku3.models.forecaster import FoldData
from gogooku3.pipeline.fit import run_fits
from gogooku3.pipeline.plan import Fit, plan
from gogooku3.pipeline.step_log import StepLog
from gogooku3.runs.seal import is_sealed
from gogooku3.settings import settings
from gogooku3.training.network_forecaster import TRAINING, NetworkForecaster
from gogooku3.training.reproducibility import use_threads
from gogooku3.training.stop_signals import StopSignals

SHIPPED = "model/atft/compact"
NAMES = {forecaster.LIGHTGBM: BASELINE, forecaster.LINEAR: LINEAR, forecaster.NETWORK: NETWORK}
"""The tables' name of each forecaster."""
VARIANTS = {
    "network without graph": ("graph.enabled=false", "model.use_graph_attention=false"),
    "network without FAN": ("model.use_frequency_norm=false",),
    "network without attention": ("model.use_temporal_attention=false",),
}
"""Networks trained without one part, and their settings."""
MEMORY_GB = 12.0
"""Limit of memory; the panel of the largest market takes 2."""
SECONDS, TODAY_PREDICTIONS = "seconds.json", "today.parquet"
"""In a run's folder: seconds by fit, and the predictions of the network without windows and graph."""


@dataclass(frozen=True)
class YearRun:
    """The fits in one folder.

    Attributes:
        market, year, seed: which fits.
        network: the table's name of the network: `NETWORK`, or one of `VARIANTS`.
        folder: of the run.
        config: of all its fits.
        fits: all models for the first seed, otherwise only a network.
    """

    market: str
    year: int
    seed: int
    network: str
    folder: Path
    config: RunConfig
    fits: Sequence[Fit]


def without_windows(network: Path, fold: FoldData) -> pl.DataFrame:
    """Test predictions of a saved network by the parts that read only today's features."""
    loaded = NetworkForecaster.load(network)
    loaded.model.windows_share.zero_()
    return loaded.predict(fold)


def run_year(
    run: YearRun, market: Market, stop: StopSignals, progress: "Progress"
) -> Iterator[tuple[str, pl.DataFrame, FitFacts | None]]:
    """Fit or read back every model of a run; yields its name in the tables, test predictions and facts."""

    def fold_data(_: int) -> FoldData:
        return market.fold(run.year, run.config)

    folder = open_run(run.folder, run.config)
    with folder.locked():
        times = folder.path / SECONDS
        seconds = json.loads(times.read_text(encoding="utf-8")) if times.is_file() else {}
        for fit in run.fits:
            saved, name = folder.path / fit.folder, NAMES[fit.model]
            complete = is_sealed(saved)
            if not complete:
                fold_data(fit.fold)  # Preparing the panel is not part of the fit's time.
            started = time.perf_counter()
            (result,) = run_fits([fit], fold_data, run.config, folder, market.log, stop)
            if not complete:
                seconds[name] = time.perf_counter() - started
                folder.write_json(SECONDS, seconds)
            progress.done(run, fit, seconds.get(name), complete)
            if fit.model != forecaster.NETWORK:
                facts = FitFacts(run.market, run.year, run.seed, name, seconds.get(name))
                yield name, result.predictions, facts
                continue
            training = json.loads((saved / TRAINING).read_text(encoding="utf-8"))
            cost, stages = training["duration_s"], training["stages"]
            facts = FitFacts(run.market, run.year, run.seed, run.network, cost, stages)
            yield run.network, result.predictions, facts
            if run.network == NETWORK:
                today = folder.path / TODAY_PREDICTIONS
                if not today.is_file():
                    folder.write_table(today, without_windows(saved, fold_data(fit.fold)))
                yield TODAY, read_table(today), None


def with_averages(members: dict[str, list[pl.DataFrame]]) -> dict[str, list[pl.DataFrame]]:
    """Add the rank average of each network with LightGBM, and that of several networks."""
    networks, (trees,) = members[NETWORK], members[BASELINE]
    averages = {BLEND: [rank_average([network, trees]) for network in networks]}
    if len(networks) > 1:
        averages[AVERAGE] = [rank_average(networks)]
    return members | averages


class Progress:
    """Prints one line on standard error per fit, with the time left.

    Args:
        fits: models of all fits, in order.
    """

    def __init__(self, fits: Sequence[str]) -> None:
        self.total, self.left = len(fits), Counter(fits)
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def done(self, run: YearRun, fit: Fit, seconds: float | None, read_back: bool) -> None:
        """Report a fit that is complete."""
        self.left[fit.model] -= 1
        if seconds is not None:
            self.seconds[fit.model].append(seconds)
        number = self.total - self.left.total()
        name = run.network if fit.model == forecaster.NETWORK else NAMES[fit.model]
        cost = "read back" if read_back else f"{seconds:.0f} s"
        line = (
            f"[{number}/{self.total}] {run.market} {run.year}, {name}, seed {run.seed}: {cost}{self._rest()}"
        )
        print(line, file=sys.stderr, flush=True)

    def _rest(self) -> str:
        models = [model for model, count in self.left.items() if count]
        if not models or any(not self.seconds[model] for model in models):
            return ""
        seconds = sum(self.left[model] * float(np.mean(self.seconds[model])) for model in models)
        return f"; about {seconds / 60:.0f} min left"


def plan_runs(given: argparse.Namespace, years: dict[str, list[int]]) -> list[YearRun]:
    """Every run of the command, market by market and year by year."""
    runs = []
    networks = {NETWORK: (), **(VARIANTS if given.variants else {})}
    for market, own in years.items():
        folder = market_folder(given.out, market, own)
        for year, (network, parts), seed in product(own, networks.items(), dict.fromkeys(given.seeds)):
            config = load_settings(folder, seed, (*given.overrides, *parts))
            first = network == NETWORK and seed == given.seeds[0]
            fits = [fit for fit in plan(config, folds=1) if first or fit.model == forecaster.NETWORK]
            suffix = "" if network == NETWORK else "_" + network.removeprefix("network ").replace(" ", "_")
            path = folder / f"{year}_seed_{seed}{suffix}"
            runs.append(YearRun(market, year, seed, network, path, config, fits))
    return runs


def market_folder(out: Path, market: str, years: Sequence[int]) -> Path:
    """Folder of a market up to a year: another last year has another data set."""
    return out.absolute() / f"{market}_to_{max(years)}"


def load_settings(folder: Path, seed: int, overrides: Sequence[str] = ()) -> RunConfig:
    """The shipped configuration for a market's data set and one seed."""
    own = {
        "dataset.data_path": folder / "data.parquet",
        "training.seed": seed,
        "training.seeds": None,
        "training.progress_bar": False,
        "logging.tensorboard": False,
        # The plan of memory counts the predictions of a whole run, but here one year is scored at a time.
        "performance.memory_limit_gb": MEMORY_GB,
    }
    return load_config(SHIPPED, overrides, values=own, configs_dir=settings.configs_dir)


def walk_forward(given: argparse.Namespace, stop: StopSignals) -> str:
    """Fit and score everything; returns the tables.

    Raises:
        DataError: a file of prices is missing or too short.
        ConfigError: a market or year is not offered, or OUT holds fits with other settings.
    """
    years = choose_years(given.markets, given.years, given.final)
    prices = {name: given.data / MARKETS[name].name for name in years}
    if missing := [path.name for path in prices.values() if not path.is_file()]:
        raise DataError(f"{given.data} has no {choices(missing)}; give the folder of the prices with --data")
    runs = plan_runs(given, years)
    progress = Progress([fit.model for run in runs for fit in run.fits])
    daily, facts = [], []
    for name, of_market in groupby(runs, lambda run: run.market):
        base = load_settings(market_folder(given.out, name, years[name]), 0, given.overrides)
        use_threads(base.performance.threads)
        market = Market(prices[name], years[name], base.dataset.data_path.parent, base, StepLog())
        for year, of_year in groupby(of_market, lambda run: run.year):
            members = defaultdict(list)
            for run in of_year:
                for model, predictions, fitted in run_year(run, market, stop, progress):
                    members[model].append(predictions)
                    facts += [fitted] if fitted else []
            scores = daily_scores(with_averages(members), market.targets)
            daily.append(scores.select(pl.lit(name).alias("market"), pl.lit(year).alias("year"), pl.all()))
        market.close()
    return report(pl.concat(daily), facts)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the price files")
    parser.add_argument("--out", type=Path, required=True, help="folder of data sets, models and table.md")
    parser.add_argument("--markets", nargs="+", choices=list(MARKETS), help="default: all")
    parser.add_argument("--years", nargs="+", type=int, help="test years; default: all years for choosing")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="one network is trained for each")
    parser.add_argument(
        "--variants", action="store_true", help="also train networks without one part; each takes a training"
    )
    parser.add_argument(
        "--final",
        action="store_true",
        help="test China 2024 and 2025 instead: look at them once, after every choice",
    )
    parser.add_argument(
        "--overrides", nargs="+", default=[], metavar="KEY=VALUE", help="settings over the shipped ones"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    given, stop = parse(arguments), StopSignals()
    try:
        with stop.listening():
            tables = walk_forward(given, stop)
    except GogookuError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (Interrupted, KeyboardInterrupt) as stopped:
        print("stopped; repeat the command to continue", file=sys.stderr)
        return getattr(stopped, "exit_code", 130)
    write_text_atomic(given.out / "table.md", tables + "\n")
    print(tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
