"""Compare the network, the network without each part, and LightGBM on unseen days of a real market.

    python benchmarks/real_market.py --prices nasdaq_ohlcv_2009_2017.parquet

builds the data set, trains every model with three seeds, and prints daily IC and rank IC of every horizon
with 95 % intervals and a paired test against LightGBM. The days are those of Feng et al. (2019,
"Temporal Relational Ranking for Stock Prediction"): training 2013 to 2015, validation 2016, test 2017; a
second setting trains from 2010. The last 20 days of training and of validation are an embargo, so that every
label closes before the next part begins. Settings, epochs and numbers of trees are fixed beforehand, with

    python benchmarks/real_market.py ... --score validation --years 2013 2014 2015 2016

which trains for each year on days before it, scores all those days together, and does not read the test days.
(From 2013: three years of training for each; from 2010: all years since.)

All intermediate files are in --out and are reused, so an interrupted comparison can be continued.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
from harness import run_process
from market_days import EMBARGO_DAYS, SETTINGS, Market

from gogooku3.config import RunConfig, load_config
from gogooku3.data.panel import PanelSlice
from gogooku3.evaluation.daily_ic import daily_ic
from gogooku3.evaluation.rank_average import rank_average
from gogooku3.evaluation.significance import mean_test, paired_difference
from gogooku3.files.atomic import atomic_path, write_text_atomic
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.preprocessing.market_state import MarketState
from gogooku3.schema import HORIZONS
from gogooku3.settings import settings

CONFIG = "model/atft/compact"
VALIDATION_YEAR = 2016
BASELINE, NETWORK, BLEND = "lightgbm", "network", "network + lightgbm"
TREES: dict[str, list[str]] = {BASELINE: []}
VARIANTS: dict[str, list[str]] = {
    NETWORK: [],
    "without graph": ["graph.enabled=false", "model.use_graph_attention=false"],
    "without FAN": ["model.use_frequency_norm=false"],
    "without attention": ["model.use_temporal_attention=false"],
}
"""Models and their settings."""
PARTS = ("validation", "test")
"""Parts that are predicted."""


@dataclass(frozen=True)
class Job:
    """One training: a setting, its validation year, a model and a seed."""

    setting: str
    year: int
    model: str
    seed: int

    def file(self, out: Path, part: str) -> Path:
        """Path of its predictions of a part ("validation" or "test")."""
        model = self.model.replace(" ", "_")
        return out / "predictions" / f"{self.setting}_{self.year}_{model}_{self.seed}_{part}.parquet"

    def facts(self, out: Path) -> Path:
        """Path of its facts, which are written last."""
        return self.file(out, "facts").with_suffix(".json")


def train(job: Job, market: Market, config: RunConfig, out: Path) -> None:
    """Train one model and write its predictions of the validation and the test days."""
    parts = SETTINGS[job.setting].walked_back(job.year).parts(market.panel.dates)
    slices = {name: PanelSlice(market.panel, days) for name, days in parts.items() if days}
    fit = _fit_lightgbm if job.model in TREES else _fit_network
    predict, facts = fit(job, market, config, slices)
    for part in PARTS:
        if part in slices:
            path = job.file(out, part)
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                predict(slices[part]).write_parquet(temporary)
    write_text_atomic(job.facts(out), json.dumps(facts, indent=2))


Fitted = tuple[Callable[[PanelSlice], pl.DataFrame], dict[str, Any]]
"""A function that predicts, and facts about the training."""


def _fit_lightgbm(job: Job, market: Market, config: RunConfig, slices: dict[str, PanelSlice]) -> Fitted:
    from gogooku3.models.lightgbm_baseline import LightGBMFinancialBaseline

    days = range(slices["train"].days.start, slices["validation"].days.stop)
    baseline = LightGBMFinancialBaseline(
        embargo_days=EMBARGO_DAYS,
        parameters=config.lightgbm.model_dump(exclude={"label"}),
        label=config.lightgbm.label,
        validation_fraction=len(slices["validation"].days) / len(days),
        sequence_length=config.time_series.sequence_length,
        seed=job.seed,
    ).fit(PanelSlice(market.panel, days))
    return baseline.predict, {"trees": {h: b.num_trees() for h, b in baseline.boosters.items()}}


def _fit_network(job: Job, market: Market, config: RunConfig, slices: dict[str, PanelSlice]) -> Fitted:
    from gogooku3.models import ATFTGATFANModel
    from gogooku3.training.reproducibility import seed_everything
    from gogooku3.training.trainer import ATFTTrainer

    schedule = state = None
    panel = market.panel
    if config.graph.enabled:
        rules = config.graph.model_dump(exclude={"enabled", "rebuild_every_epochs"})
        builder = FinancialGraphBuilder(**rules)
        schedule = GraphSchedule.build(panel.dates, panel.codes, market.array("returns"), builder)
    if config.model.use_regime:
        state = MarketState.fit(market.statistics, slices["train"].days).transform(market.statistics)
    seed_everything(job.seed)
    model = ATFTGATFANModel(
        **config.model.model_dump(exclude={"name", "prediction_horizons"}),
        prediction_horizons=config.time_series.prediction_horizons,
        sequence_length=config.time_series.sequence_length,
        market_dim=0 if state is None else state.shape[1],
    )
    trainer = ATFTTrainer(model, slices["train"], slices["validation"], config, graphs=schedule, market=state)
    facts = trainer.fit()
    return trainer.predict, facts


def prediction_table(
    out: Path,
    setting: str,
    models: Sequence[str],
    seeds: Sequence[int],
    part: str,
    years: Sequence[int] = (VALIDATION_YEAR,),
) -> pl.DataFrame:
    """All predictions of a setting's part in one table: each seed, each model's seeds averaged, the blend.

    `<model>, seed <n>` is one seed; `<model>` is the average of its seeds' daily ranks. The table covers all
    validation years.
    """
    panel = Market(out).panel
    tables = []
    for year in years:
        days = PanelSlice(panel, SETTINGS[setting].walked_back(year).parts(panel.dates)[part])
        wide, averages = {}, {}
        for model in models:
            members = [pl.read_parquet(Job(setting, year, model, seed).file(out, part)) for seed in seeds]
            wide |= {f"{model}, seed {seed}": each for seed, each in zip(seeds, members, strict=True)}
            averages[model] = rank_average(members)
        if {NETWORK, BASELINE} <= set(models):
            averages[BLEND] = rank_average([averages[NETWORK], averages[BASELINE]])
        predictions = pl.concat(_long(each, model) for model, each in (wide | averages).items())
        tables.append(predictions.join(_targets(days), on=["date", "code", "horizon"], how="left"))
    return pl.concat(tables)


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


def _targets(days: PanelSlice) -> pl.DataFrame:
    day, stock = days.rows()
    keys = days.keys()
    return pl.concat(
        keys.with_columns(
            pl.lit(h, pl.Int32).alias("horizon"),
            pl.Series("target", days.panel.targets[day, stock, position]),
        )
        for position, h in enumerate(HORIZONS)
    ).with_columns(pl.col("target").fill_nan(None))


def compare(table: pl.DataFrame) -> pl.DataFrame:
    """Mean daily IC and rank IC with intervals, and the paired difference to LightGBM.

    Returns:
        `model, horizon` (0: each day's mean over the horizons), `score` ("ic" or "rank_ic"), `mean`, `low`,
        `high` (95 %), `t`, `difference`, `difference_low`, `difference_high`.
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
    for (model, horizon), own in daily.group_by("model", "horizon", maintain_order=True):
        overlap = int(horizon) or max(HORIZONS)
        baseline = daily.filter((pl.col("model") == BASELINE) & (pl.col("horizon") == horizon))
        both = own.join(baseline, on="date", how="inner", suffix="_baseline").sort("date")
        for score in ("ic", "rank_ic"):
            test = mean_test(own[score].to_numpy(), overlap)
            paired = paired_difference(both[score].to_numpy(), both[f"{score}_baseline"].to_numpy(), overlap)
            rows.append(
                {
                    "model": model,
                    "horizon": int(horizon),
                    "score": score,
                    "mean": test.mean,
                    "low": test.interval[0],
                    "high": test.interval[1],
                    "t": test.t,
                    "difference": paired.mean,
                    "difference_low": paired.interval[0],
                    "difference_high": paired.interval[1],
                }
            )
    return pl.DataFrame(rows)


def print_comparison(title: str, result: pl.DataFrame) -> None:
    """Print the averages of seeds with intervals, then the mean rank ICs of single seeds."""
    order = [*TREES, *VARIANTS, BLEND]
    print(f"\n{title}. Mean [95 % interval]; difference to LightGBM [95 % interval]")
    for score, model in product(("ic", "rank_ic"), order):
        for row in result.filter(model=model, score=score).iter_rows(named=True):
            horizon = "mean" if row["horizon"] == 0 else f"{row['horizon']}d"
            line = f"{score.replace('ic', 'IC').replace('_', ' '):8}{model:20}{horizon:>5}  "
            line += f"{row['mean']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
            if model != BASELINE:
                line += f"   {row['difference']:+.4f} "
                line += f"[{row['difference_low']:+.4f}, {row['difference_high']:+.4f}]"
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
    """Train missing models, each in a separate process with its share of the cores."""
    missing = [job for job in jobs if not job.facts(arguments.out).is_file()]
    threads = max(1, (os.cpu_count() or 1) // arguments.jobs)

    def work(job: Job) -> str:
        command = [
            *(sys.executable, __file__, "--out", str(arguments.out), "--config", arguments.config),
            *("--one", job.setting, str(job.year), job.model, str(job.seed), *arguments.overrides),
        ]
        run = run_process(command, {"OMP_NUM_THREADS": str(threads)})
        return f"{job.setting}, {job.year}: {job.model}, seed {job.seed}: {run.wall_s:.0f} s"

    with ThreadPoolExecutor(arguments.jobs) as pool:
        for number, line in enumerate(pool.map(work, missing), start=1):
            print(f"[{number}/{len(missing)}] {line}", flush=True)


def _jobs(arguments: argparse.Namespace) -> Iterator[Job]:
    for setting, year in product(arguments.settings, arguments.years):
        for seed, model in product(arguments.seeds, arguments.models):
            yield Job(setting, year, model, seed)


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
    parser.add_argument("--out", type=Path, default=Path("runs/real_market"), help="folder for all files")
    parser.add_argument(
        "--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS), help="first year of training"
    )
    models = [*TREES, *VARIANTS]
    parser.add_argument("--models", nargs="+", choices=models, default=models, help=f"{BASELINE} is required")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--config", default=CONFIG, help="shipped name or YAML file")
    parser.add_argument("--jobs", type=int, default=2, help="parallel trainings")
    parser.add_argument("--score", choices=PARTS, default="test", help="which days to score")
    parser.add_argument(
        "--years",
        nargs="+",
        type=int,
        choices=range(2012, VALIDATION_YEAR + 1),
        default=[VALIDATION_YEAR],
        help="validation years; models are trained for each year, on days before it",
    )
    parser.add_argument("--json", type=Path, help="also write the comparison to a file")
    parser.add_argument(
        "--one", nargs=4, metavar=("SETTING", "YEAR", "MODEL", "SEED"), help=argparse.SUPPRESS
    )
    parser.add_argument("overrides", nargs="*", help="settings over the config: key=value")
    return parser.parse_args()


def main() -> None:
    """Prepare, train, score, print."""
    arguments = _parse()
    if BASELINE not in arguments.models:
        raise SystemExit(f"--models must include {BASELINE}, with which every model is compared")
    if arguments.score == "test" and arguments.years != [VALIDATION_YEAR]:
        raise SystemExit(f"--years needs --score validation; the test days follow {VALIDATION_YEAR}")
    if arguments.one:
        setting, year, model, seed = arguments.one
        job = Job(setting, int(year), model, int(seed))
        train(job, Market(arguments.out), _config(arguments, job), arguments.out)
        return
    if not (arguments.out / "panel" / "meta.json").is_file():
        if arguments.prices is None or not arguments.prices.is_file():
            raise SystemExit(f"--prices must be a file of daily prices, not {arguments.prices}")
        Market.make(arguments.prices, arguments.out)
    _run_jobs(list(_jobs(arguments)), arguments)
    results = {}
    for setting in arguments.settings:
        selection = (arguments.models, arguments.seeds, arguments.score, arguments.years)
        result = compare(prediction_table(arguments.out, setting, *selection))
        years = " ".join(map(str, arguments.years))
        days = "test days" if arguments.score == "test" else f"validation days of {years}"
        print_comparison(f"Trained from {setting}, {days}", result)
        results[setting] = result.to_dicts()
    if arguments.json:
        write_text_atomic(arguments.json, json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
