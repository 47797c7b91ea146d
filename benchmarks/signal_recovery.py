"""Tests whether each part of the network finds the kind of signal it was designed for.

Trains the network with all parts and without each, and LightGBM, on synthetic markets with one planted signal
each (`planted_markets.py`), and compares their information coefficient (IC) on untouched test days with the
oracle's: the IC of the expected return itself.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from planted_markets import EMBARGO_DAYS, MARKETS, PlantedMarket, build_market, draw_shocks, split_days

from gogooku3.data.panel import PanelSlice
from gogooku3.evaluation.metrics import information_coefficient
from gogooku3.evaluation.significance import mean_test
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.lightgbm_baseline import LightGBMFinancialBaseline
from gogooku3.preprocessing.market_state import MarketState
from gogooku3.training.trainer import ATFTTrainer

PARTS = {
    "frequency": "use_frequency_norm",
    "attention": "use_temporal_attention",
    "graph": "use_graph_attention",
    "regime": "use_regime",
}
"""Parts that can be switched off, by their short names in the table."""
MODELS = ("oracle", "lightgbm", "full", *(f"no {part}" for part in PARTS))
"""Scored on every market, in the order of the table's columns."""

LEAST_SHARE = 0.70
"""Share of the oracle's IC that the full network must reach."""
MOST_WITHOUT = 0.70
"""Largest share of the full network's IC without the part for the signal."""
MOST_T = 2.5
"""Largest |t| of an IC on noise."""


@dataclass(frozen=True)
class Recovery:
    """Daily IC of one model on the test days of one market."""

    market: str
    seed: int
    model: str
    ic: float
    t: float
    share: float
    """IC divided by the oracle's; NaN without an oracle."""
    epochs: int
    seconds: float
    """Processor time."""


@dataclass(frozen=True)
class Bar:
    """A requirement on a market's ICs, and the measured value."""

    market: str
    requirement: str
    value: float
    passed: bool


def recover(
    market: PlantedMarket, model: str, epochs: int = 8, seed: int = 0, **settings: object
) -> Recovery:
    """Fit one model on the training days, choose its epoch on the validation days, score the test days.

    Args:
        model: one of `MODELS`.
        epochs: most passes over the training days.
        seed: of the network's weights and the order of days.
        settings: trainer settings that replace those of `new_trainer`.
    """
    started = time.process_time()
    train, validation, test = (PanelSlice(market.panel, days) for days in split_days(market.panel.n_days))
    day, stock = test.rows(market.window)
    target = market.panel.targets[day, stock, 0]
    passes = 0
    if model == "oracle":
        scores = market.oracle[day, stock]
    elif model == "lightgbm":
        # It splits off its own early-stopping days, so it also gets the network's validation days.
        rows = PanelSlice(market.panel, range(train.days.start, validation.days.stop))
        baseline = LightGBMFinancialBaseline(
            [1], EMBARGO_DAYS, sequence_length=market.window, parameters={"num_threads": 1}, seed=seed
        )
        scores = baseline.fit(rows).predict(test)["prediction_1d"].to_numpy()
    else:
        trainer = new_trainer(market, model, epochs, seed, settings)
        passes = trainer.fit()["epochs"]
        scores = trainer.predict(test)["prediction_1d"].to_numpy()
    daily = mean_test(daily_ic(scores, target, day))
    share = daily.mean / information_coefficient(market.oracle[day, stock], target, day)
    seconds = time.process_time() - started
    return Recovery(market.name, seed, model, daily.mean, daily.t, share, passes, seconds)


def new_trainer(
    market: PlantedMarket, model: str, epochs: int, seed: int, settings: dict[str, object]
) -> ATFTTrainer:
    """A trainer for "full" or "no <part>"; `settings` replace those given here."""
    train, validation, _ = (PanelSlice(market.panel, days) for days in split_days(market.panel.n_days))
    state = MarketState.fit(market.statistics, train.days).transform(market.statistics)
    torch.manual_seed(seed)
    network = ATFTGATFANModel(
        len(market.panel.features),
        hidden_dim=32,
        num_heads=4,
        num_layers=1,
        prediction_horizons=[1],
        sequence_length=market.window,
        dropout=0.05,
        num_frequencies=12,
        market_dim=state.shape[1],
        **{switch: model != f"no {part}" for part, switch in PARTS.items()},
    )
    return ATFTTrainer(
        network,
        train,
        validation,
        {
            "epochs": epochs,
            "batch_size": 8 * market.panel.n_stocks,
            "learning_rate": 4e-3,
            "weight_decay": 1e-2,
            "mixed_precision": False,
            "accelerator": "cpu",
            "progress_bar": False,
            "seed": seed,
            # The linear path could find the signal instead of the parts.
            "linear_penalty": None,
            "scheduler": {"T_max": epochs, "warmup_steps": 20},
            "early_stopping": {"monitor": "val/rank_ic_1d", "patience": 5, "min_delta": 0.0},
            **settings,
        },
        graphs=market.graphs,
        market=state,
    )


def daily_ic(scores: np.ndarray, target: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Correlation of scores and targets on each day, in time order."""
    return np.array(
        [information_coefficient(scores[day == one], target[day == one]) for one in np.unique(day)]
    )


def bars(recoveries: Sequence[Recovery]) -> list[Bar]:
    """Check the requirements on each market; ICs are averaged over seeds."""
    checked = []
    for market in dict.fromkeys(each.market for each in recoveries):
        own = [each for each in recoveries if each.market == market]
        if not MARKETS[market].predictable:
            largest = max(abs(each.t) for each in own if each.model != "oracle")
            checked.append(Bar(market, f"every model's |t| is below {MOST_T}", largest, largest < MOST_T))
            continue
        ic = mean_ic(own)
        share = ic["full"] / ic["oracle"]
        checked.append(
            Bar(market, f"full / oracle is at least {LEAST_SHARE:.2f}", share, share >= LEAST_SHARE)
        )
        for part, switch in PARTS.items():
            if switch == MARKETS[market].owner:
                kept = ic[f"no {part}"] / ic["full"]
                requirement = f"no {part} / full is at most {MOST_WITHOUT:.2f}"
                checked.append(Bar(market, requirement, kept, kept <= MOST_WITHOUT))
    return checked


def mean_ic(recoveries: Iterable[Recovery]) -> dict[str, float]:
    """IC by model, averaged over seeds."""
    by_model: dict[str, list[float]] = {}
    for each in recoveries:
        by_model.setdefault(each.model, []).append(each.ic)
    return {model: float(np.mean(values)) for model, values in by_model.items()}


def print_tables(recoveries: Sequence[Recovery], checked: Sequence[Bar]) -> None:
    """Print the IC of every model with its share of the oracle's, then the bars."""
    print("\nIC on the test days (share of the oracle's, in %); *: without the part for the signal\n")
    print(f"{'market':<12}" + "".join(f"{model:>16}" for model in MODELS))
    for market in dict.fromkeys(each.market for each in recoveries):
        ic = mean_ic(each for each in recoveries if each.market == market)
        cells = []
        for model in MODELS:
            owned = PARTS.get(model.removeprefix("no ")) == MARKETS[market].owner is not None
            share = f" ({100 * ic[model] / ic['oracle']:3.0f})" if MARKETS[market].predictable else ""
            cells.append(f"{ic[model]:.3f}{share}{'*' if owned else ' '}")
        print(f"{market:<12}" + "".join(f"{cell:>16}" for cell in cells))
    print()
    for bar in checked:
        print(f"{'pass' if bar.passed else 'FAIL'}  {bar.market:<12}{bar.requirement}: {bar.value:.2f}")


def _plain(record: Recovery | Bar) -> dict[str, Any]:
    """Fields for JSON, with NaN as null."""
    return {
        name: None if isinstance(value, float) and np.isnan(value) else value
        for name, value in asdict(record).items()
    }


def _job(job: tuple[str, int, str, int]) -> Recovery:
    """One cell of the table, in a worker process."""
    name, seed, model, epochs = job
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    return recover(build_market(name, draw_shocks(seed)), model, epochs, seed)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=(
            "Bars: the full network reaches 70 % of the oracle's IC on every market; at most 70 % of that "
            "remain without the part for the market's signal; on noise every |t| is below 2.5. "
            "The exit code is 1 if a bar fails. One seed takes about 15 minutes on one core. Start with: "
            "signal_recovery.py --markets regime"
        ),
    )
    parser.add_argument(
        "--markets",
        nargs="+",
        choices=MARKETS,
        default=list(MARKETS),
        metavar="NAME",
        help=f"{', '.join(MARKETS)} (default: all)",
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=int,
        default=[0],
        help="each has its own market, weights and order of days; ICs are averaged (default: 0)",
    )
    parser.add_argument("--epochs", type=int, default=8, help="most passes over training days (default: 8)")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure to a file")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run the suite; return 0 if every bar passes."""
    arguments = _arguments(given)
    started = time.perf_counter()
    jobs = [
        (market, seed, model, arguments.epochs)
        for market, seed, model in product(arguments.markets, arguments.seeds, MODELS)
    ]
    recoveries = []
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        for each in pool.map(_job, jobs):
            recoveries.append(each)
            print(
                f"{each.market:<12}seed {each.seed}  {each.model:<14}IC {each.ic:7.3f}  t {each.t:6.1f}  "
                f"{each.epochs:3d} epochs {each.seconds:6.0f} s",
                flush=True,
            )
    checked = bars(recoveries)
    print_tables(recoveries, checked)
    print(f"\n{(time.perf_counter() - started) / 60:.1f} minutes")
    if arguments.json:
        report = {
            "epochs": arguments.epochs,
            "recoveries": [_plain(each) for each in recoveries],
            "bars": [_plain(bar) for bar in checked],
        }
        arguments.json.write_text(json.dumps(report, indent=2), encoding="utf-8")
    return 0 if all(bar.passed for bar in checked) else 1


if __name__ == "__main__":
    sys.exit(main())
