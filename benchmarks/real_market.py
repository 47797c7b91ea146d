"""A real market: the network, the network without each part, and LightGBM, on days none of them saw.

    python benchmarks/real_market.py --prices nasdaq_ohlcv_2009_2017.parquet

builds the data set, trains every model with three seeds, and prints daily IC and rank IC of every horizon
with block-bootstrap intervals and a paired test against LightGBM. The days are those of Feng et al. (2019,
"Temporal Relational Ranking for Stock Prediction"): training 2013 to 2015, validation 2016, test 2017; a
second setting trains from 2010. The last 20 days of training and of validation are an embargo, so that every
label closes before the next part begins. Epochs and numbers of trees are chosen on validation days;
`--score validation` shows those days and leaves the test alone.

Everything made on the way lies in --out, and what is there is not made again: a stopped run goes on.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gogooku3.atomic import atomic_path, write_text_atomic
from gogooku3.config import RunConfig, load_config
from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.evaluation.daily import daily_ic
from gogooku3.evaluation.ensemble import rank_average
from gogooku3.evaluation.significance import bootstrap_interval, newey_west, paired_difference
from gogooku3.features.build import build_dataset
from gogooku3.features.quality import QUALITY_FEATURES, quality_cube
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.safety.cross_section import DayStatistics, PanelNormalizer
from gogooku3.safety.market_state import MarketState
from gogooku3.schema import HORIZONS
from gogooku3.settings import settings

EMBARGO_DAYS = 20
CONFIG = "model/atft/compact"
BASELINE, NETWORK, BLEND = "lightgbm", "network", "network + lightgbm"
TREES: dict[str, list[str]] = {BASELINE: [], "lightgbm on ranks": ["lightgbm.label=rank"]}
VARIANTS: dict[str, list[str]] = {
    NETWORK: [],
    "without graph": ["graph.enabled=false", "model.use_graph_attention=false"],
    "without FAN": ["model.use_frequency_norm=false"],
    "without attention": ["model.use_temporal_attention=false"],
}
"""What is trained, and the settings that make it."""


@dataclass(frozen=True)
class Setting:
    """First day of training, of validation and of test, the last day of the test, and settings of its own."""

    train: date
    validation: date
    test: date
    end: date
    overrides: tuple[str, ...] = ()


SETTINGS = {
    "2013": Setting(date(2013, 1, 2), date(2016, 1, 4), date(2017, 1, 3), date(2017, 12, 8)),
    # Twice the days an epoch: fewer epochs, as many steps.
    "2010": Setting(
        date(2010, 1, 4),
        date(2016, 1, 4),
        date(2017, 1, 3),
        date(2017, 12, 8),
        ("training.epochs=3", "scheduler.T_max=3"),
    ),
}


@dataclass(frozen=True)
class Job:
    """One training: a setting, a model and a seed."""

    setting: str
    model: str
    seed: int

    def file(self, out: Path, part: str) -> Path:
        """Where its predictions of a part ("validation" or "test") lie."""
        return (
            out / "predictions" / f"{self.setting}_{self.model.replace(' ', '_')}_{self.seed}_{part}.parquet"
        )


class Market:
    """The normalised panel of a price file, made once and mapped from disk by every training.

    Args:
        out: folder that `make` filled.
    """

    def __init__(self, out: Path) -> None:
        self.folder = out / "panel"
        self.panel: Panel = self._panel()

    @staticmethod
    def make(prices: Path, out: Path) -> None:
        """Build the data set, lay out and normalise the panel, and keep it in `out`."""
        folder = out / "panel"
        if (folder / "meta.json").is_file():
            return
        data_set = out / "ml_dataset_full.parquet"
        if not data_set.is_file():
            print("building the data set ...", flush=True)
            build_dataset(prices, data_set)
        loader = ProductionDatasetV3(data_set)
        frame, names = loader.load_data(), loader.feature_names
        panel = Panel.from_frame(frame, names, HORIZONS, reserve=tuple(QUALITY_FEATURES))
        del frame
        panel.values[:, :, len(names) :] = quality_cube(panel.values[:, :, : len(names)], panel.mask)
        returns = panel.values[:, :, panel.feature_index("ret_1d")].copy()
        normalizer = PanelNormalizer(panel)
        normalizer.fit_fold(range(EMBARGO_DAYS * 12))
        folder.mkdir(parents=True, exist_ok=True)
        statistics = normalizer.statistics
        arrays = {
            "values": panel.values,
            "mask": panel.mask,
            "targets": panel.targets,
            "dates": panel.dates,
            "returns": returns,
            "count": statistics.count,
            "mean": statistics.mean,
            "variance": statistics.variance,
        }
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        meta = {"codes": list(panel.codes), "features": list(panel.features)}
        write_text_atomic(folder / "meta.json", json.dumps(meta))

    def _panel(self) -> Panel:
        meta = json.loads((self.folder / "meta.json").read_text(encoding="utf-8"))
        return Panel(
            dates=self.array("dates"),
            codes=tuple(meta["codes"]),
            features=tuple(meta["features"]),
            values=self.array("values"),
            mask=self.array("mask"),
            targets=self.array("targets"),
            horizons=HORIZONS,
        )

    def array(self, name: str) -> np.ndarray:
        """An array of the folder, shared between processes; what is written to it stays private."""
        return np.load(self.folder / f"{name}.npy", mmap_mode="c")

    @cached_property
    def statistics(self) -> DayStatistics:
        """What each day said of each feature before it was standardised."""
        return DayStatistics(self.array("count"), self.array("mean"), self.array("variance"))

    def parts(self, setting: Setting) -> dict[str, range]:
        """Days of training, validation and test: every label of the first two closes before the next."""
        first = {
            name: int(np.searchsorted(self.panel.dates, np.datetime64(getattr(setting, name))))
            for name in ("train", "validation", "test")
        }
        end = int(np.searchsorted(self.panel.dates, np.datetime64(setting.end), side="right"))
        return {
            "train": range(first["train"], first["validation"] - EMBARGO_DAYS),
            "validation": range(first["validation"], first["test"] - EMBARGO_DAYS),
            "test": range(first["test"], end),
        }


def train(job: Job, market: Market, config: RunConfig, out: Path) -> None:
    """Train one model and write its predictions of the validation and the test days."""
    parts = market.parts(SETTINGS[job.setting])
    fit = _fit_lightgbm if job.model in TREES else _fit_network
    predicted, facts = fit(job, market, config, parts)
    for part, wide in predicted.items():
        path = job.file(out, part)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            wide.write_parquet(temporary)
    write_text_atomic(job.file(out, "facts").with_suffix(".json"), json.dumps(facts, indent=2))


def _fit_lightgbm(
    job: Job, market: Market, config: RunConfig, parts: dict[str, range]
) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    from gogooku3.models.lightgbm_baseline import LightGBMFinancialBaseline

    days = range(parts["train"].start, parts["validation"].stop)
    parameters = config.lightgbm.model_dump(exclude={"label"})
    baseline = LightGBMFinancialBaseline(
        embargo_days=EMBARGO_DAYS,
        parameters=parameters,
        label=config.lightgbm.label,
        validation_fraction=len(parts["validation"]) / len(days),
        sequence_length=config.time_series.sequence_length,
        seed=job.seed,
    ).fit(PanelSlice(market.panel, days))
    predicted = {name: baseline.predict(PanelSlice(market.panel, parts[name])) for name in _SCORED}
    return predicted, {"trees": {h: b.best_iteration for h, b in baseline.boosters.items()}}


def _fit_network(
    job: Job, market: Market, config: RunConfig, parts: dict[str, range]
) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    from gogooku3.models import ATFTGATFANModel
    from gogooku3.training.reproducibility import seed_everything
    from gogooku3.training.trainer import ATFTTrainer

    schedule = state = None
    panel = market.panel
    if config.graph.enabled:
        builder = FinancialGraphBuilder(
            **config.graph.model_dump(exclude={"enabled", "rebuild_every_epochs"})
        )
        schedule = GraphSchedule.build(panel.dates, panel.codes, market.array("returns"), builder)
    if config.model.use_regime:
        state = MarketState.fit(market.statistics, parts["train"]).transform(market.statistics)
    seed_everything(job.seed)
    model = ATFTGATFANModel(
        **config.model.model_dump(exclude={"name"}),
        sequence_length=config.time_series.sequence_length,
        market_dim=0 if state is None else state.shape[1],
    )
    trainer = ATFTTrainer(
        model,
        PanelSlice(panel, parts["train"]),
        PanelSlice(panel, parts["validation"]),
        config,
        graphs=schedule,
        market=state,
    )
    facts = trainer.fit()
    return {name: trainer.predict(PanelSlice(panel, parts[name])) for name in _SCORED}, facts


_SCORED = ("validation", "test")


def prediction_table(
    out: Path, setting: str, models: Sequence[str], seeds: Sequence[int], part: str
) -> pl.DataFrame:
    """All predictions of a setting's part in one table: each seed, each model's seeds averaged, the blend.

    A model's name with its seed is one seed; without, the average of its seeds' daily ranks.
    """
    market = Market(out)
    panel = market.panel
    targets = _targets(panel, market.parts(SETTINGS[setting])[part])
    tables, averages = [], {}
    for model in models:
        members = [pl.read_parquet(Job(setting, model, seed).file(out, part)) for seed in seeds]
        for seed, member in zip(seeds, members, strict=True):
            tables.append(_long(member, f"{model}, seed {seed}"))
        averages[model] = rank_average(members)
        tables.append(_long(averages[model], model))
    if {NETWORK, BASELINE} <= set(models):
        tables.append(_long(rank_average([averages[NETWORK], averages[BASELINE]]), BLEND))
    return pl.concat(tables).join(targets, on=["date", "code", "horizon"], how="left")


def _long(wide: pl.DataFrame, model: str) -> pl.DataFrame:
    return pl.concat(
        wide.select(
            "date",
            "code",
            pl.lit(0, pl.Int32).alias("fold"),
            pl.lit(model).alias("model"),
            pl.lit(h, pl.Int32).alias("horizon"),
            pl.col(f"prediction_{h}d").cast(pl.Float64).alias("prediction"),
        )
        for h in HORIZONS
    )


def _targets(panel: Panel, days: range) -> pl.DataFrame:
    part = PanelSlice(panel, days)
    day, stock = part.rows()
    return pl.concat(
        part.keys().with_columns(
            pl.lit(h, pl.Int32).alias("horizon"), pl.Series("target", panel.targets[day, stock, position])
        )
        for position, h in enumerate(HORIZONS)
    ).with_columns(pl.col("target").fill_nan(None))


def compare(table: pl.DataFrame) -> pl.DataFrame:
    """Mean daily IC and rank IC with intervals, and the paired difference to LightGBM.

    Returns:
        `model, horizon` (0: each day's mean over the horizons), `score` ("ic" or "rank_ic"), `mean`, `low`,
        `high` (95 %, block bootstrap), `t` (Newey-West), `difference`, `difference_low`, `difference_high`.
    """
    daily = daily_ic(table)
    mean = daily.group_by("model", "fold", "date").agg(
        pl.when(pl.len() == len(HORIZONS)).then(pl.col(score).mean()).alias(score)
        for score in ("ic", "rank_ic")
    )
    daily = pl.concat(
        [
            daily.select("model", "horizon", "date", "ic", "rank_ic"),
            mean.select("model", pl.lit(0, pl.Int32).alias("horizon"), "date", "ic", "rank_ic"),
        ]
    ).sort("model", "horizon", "date")
    rows = []
    for (model, horizon), mine in daily.group_by("model", "horizon", maintain_order=True):
        overlap = int(horizon) or max(HORIZONS)
        theirs = daily.filter((pl.col("model") == BASELINE) & (pl.col("horizon") == horizon))
        both = mine.join(theirs, on="date", how="inner", suffix="_baseline").sort("date")
        for score in ("ic", "rank_ic"):
            test = newey_west(mine[score].to_numpy(), overlap)
            low, high = bootstrap_interval(mine[score].to_numpy(), overlap)
            paired, interval = paired_difference(
                both[score].to_numpy(), both[f"{score}_baseline"].to_numpy(), overlap
            )
            rows.append(
                {
                    "model": model,
                    "horizon": int(horizon),
                    "score": score,
                    "mean": test.mean,
                    "low": low,
                    "high": high,
                    "t": test.t,
                    "difference": paired.mean,
                    "difference_low": interval[0],
                    "difference_high": interval[1],
                }
            )
    return pl.DataFrame(rows)


def print_comparison(setting: str, part: str, result: pl.DataFrame) -> None:
    """The table, averages of seeds first, then single seeds in brief."""
    whole = result.filter(~pl.col("model").str.contains(", seed "))
    order = [*TREES, *VARIANTS, BLEND]
    print(
        f"\nTrained from {setting}, {part} days. Mean [95 % interval]; difference to LightGBM [95 % interval]"
    )
    for score, title in (("ic", "IC"), ("rank_ic", "rank IC")):
        for model in order:
            for row in whole.filter((pl.col("model") == model) & (pl.col("score") == score)).iter_rows(
                named=True
            ):
                horizon = "mean" if row["horizon"] == 0 else f"{row['horizon']}d"
                line = f"{title:8}{model:20}{horizon:>5}  {row['mean']:+.4f} "
                line += f"[{row['low']:+.4f}, {row['high']:+.4f}]"
                if model != BASELINE:
                    line += (
                        f"   {row['difference']:+.4f} "
                        f"[{row['difference_low']:+.4f}, {row['difference_high']:+.4f}]"
                    )
                print(line)
    single = result.filter(pl.col("model").str.contains(", seed ") & (pl.col("score") == "rank_ic"))
    print("\nrank IC of single seeds")
    for (model,), rows in single.group_by("model", maintain_order=True):
        cells = "  ".join(
            f"{'mean' if h == 0 else f'{h}d'} {value:+.4f}"
            for h, value in rows.sort("horizon").select("horizon", "mean").iter_rows()
        )
        print(f"  {model:28}{cells}")


def _run_jobs(jobs: Sequence[Job], arguments: argparse.Namespace) -> None:
    """Train what is not there yet, each in a process of its own with its share of the cores."""
    waiting = [job for job in jobs if not job.file(arguments.out, "facts").with_suffix(".json").is_file()]
    threads = max(1, (os.cpu_count() or 1) // arguments.jobs)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}

    def work(job: Job) -> str:
        started = time.perf_counter()
        command = [
            *(sys.executable, __file__, "--out", str(arguments.out), "--config", arguments.config),
            *("--one", job.setting, job.model, str(job.seed), *arguments.overrides),
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{job} failed:\n{done.stderr[-3000:]}")
        return f"{job.setting}: {job.model}, seed {job.seed}: {time.perf_counter() - started:.0f} s"

    with ThreadPoolExecutor(arguments.jobs) as pool:
        for number, line in enumerate(pool.map(work, waiting), start=1):
            print(f"[{number}/{len(waiting)}] {line}", flush=True)


def _jobs(arguments: argparse.Namespace) -> Iterator[Job]:
    for setting in arguments.settings:
        for seed in arguments.seeds:
            for model in arguments.models:
                yield Job(setting, model, seed)


def _config(arguments: argparse.Namespace, job: Job) -> RunConfig:
    overrides = [
        *SETTINGS[job.setting].overrides,
        *arguments.overrides,
        *{**TREES, **VARIANTS}[job.model],
        f"training.seed={job.seed}",
        "training.progress_bar=false",
        "logging.tensorboard=false",
    ]
    return load_config(arguments.config, overrides, configs_dir=settings.configs_dir)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--prices", type=Path, help="daily prices: date, code, open, high, low, close, volume"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/real_market"), help="folder for all that is made"
    )
    parser.add_argument(
        "--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS), help="first year"
    )
    models = [*TREES, *VARIANTS]
    parser.add_argument("--models", nargs="+", choices=models, default=models, help=f"{BASELINE} is needed")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--config", default=CONFIG, help="shipped name or YAML file")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--score", choices=_SCORED, default="test", help="which days to score")
    parser.add_argument("--json", type=Path, help="write the comparison here as well")
    parser.add_argument("--one", nargs=3, metavar=("SETTING", "MODEL", "SEED"), help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help="settings over the config: key=value")
    return parser.parse_args()


def main() -> None:
    """Prepare, train, score, print."""
    arguments = _parse()
    if BASELINE not in arguments.models:
        raise SystemExit(f"--models needs {BASELINE}: everything is compared with it")
    if arguments.one:
        setting, model, seed = arguments.one
        job = Job(setting, model, int(seed))
        train(job, Market(arguments.out), _config(arguments, job), arguments.out)
        return
    if not (arguments.out / "panel" / "meta.json").is_file():
        if arguments.prices is None or not arguments.prices.is_file():
            raise SystemExit(f"--prices must be a file of daily prices, came {arguments.prices}")
        Market.make(arguments.prices, arguments.out)
    _run_jobs(list(_jobs(arguments)), arguments)
    found = {}
    for setting in arguments.settings:
        table = prediction_table(arguments.out, setting, arguments.models, arguments.seeds, arguments.score)
        result = compare(table)
        print_comparison(setting, arguments.score, result)
        found[setting] = result.to_dicts()
    if arguments.json:
        write_text_atomic(arguments.json, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
