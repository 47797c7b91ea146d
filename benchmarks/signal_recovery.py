"""Can each part of the network find what it is there for?

Trains the network on invented markets (`planted_markets.py`) in which one thing alone predicts, with all
parts and without each, beside LightGBM, and compares the information coefficient (IC) on untouched test
days with the oracle's: the IC of the expected return itself.
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
from gogooku3.evaluation.significance import newey_west
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
"""What is scored on every market, in the order of the table's columns."""

LEAST_SHARE = 0.70
"""Share of the oracle's IC that the full network must reach."""
MOST_WITHOUT = 0.70
"""Share of the full network's IC that it may keep without the part that owns the signal."""
MOST_T = 2.5
"""Largest |t| (Newey-West) of an IC where nothing predicts."""


@dataclass(frozen=True)
class Recovery:
    """One model on one market: its IC by day on the test days."""

    market: str
    seed: int
    model: str
    ic: float
    t: float
    share: float
    """IC over the oracle's; NaN where there is no oracle."""
    epochs: int
    seconds: float
    """Processor time."""


@dataclass(frozen=True)
class Bar:
    """Something that must hold of a market, and what was found."""

    market: str
    says: str
    found: float
    passed: bool


def recover(
    market: PlantedMarket, model: str, epochs: int = 8, seed: int = 0, **settings: object
) -> Recovery:
    """Fit one model on the training days, choose its epoch on the validation days, score the test days.

    Args:
        model: one of `MODELS`.
        epochs: passes at most.
        seed: of the network's weights and the order of days.
        settings: of the trainer, over those of `train_network`.
    """
    started = time.process_time()
    train, validation, test = (PanelSlice(market.panel, days) for days in split_days(market.panel.n_days))
    day, stock = test.rows(market.window)
    target = market.panel.targets[day, stock, 0]
    passes = 0
    if model == "oracle":
        scores = market.oracle[day, stock]
    elif model == "lightgbm":
        # It makes its own early-stopping days, so it may have what the network chooses its epoch by.
        rows = PanelSlice(market.panel, range(train.days.start, validation.days.stop))
        baseline = LightGBMFinancialBaseline(
            [1], EMBARGO_DAYS, sequence_length=market.window, parameters={"num_threads": 1}, seed=seed
        )
        scores = baseline.fit(rows).predict(test)["prediction_1d"].to_numpy()
    else:
        trainer, passes = train_network(market, train, validation, model, epochs, seed, settings)
        scores = trainer.predict(test)["prediction_1d"].to_numpy()
    ic = daily_ic(scores, target, day)
    found = newey_west(ic)
    oracle = information_coefficient(market.oracle[day, stock], target, day)
    return Recovery(
        market.name,
        seed,
        model,
        found.mean,
        found.t,
        found.mean / oracle,
        passes,
        time.process_time() - started,
    )


def train_network(
    market: PlantedMarket,
    train: PanelSlice,
    validation: PanelSlice,
    model: str,
    epochs: int,
    seed: int,
    settings: dict[str, object],
) -> tuple[ATFTTrainer, int]:
    """The trainer after fitting, and the epochs it took; `model` is "full" or "no <part>"."""
    state = MarketState.fit(market.statistics, train.days).transform(market.statistics)
    switches = {switch: model != f"no {part}" for part, switch in PARTS.items()}
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
        use_frequency_norm=switches["use_frequency_norm"],
        use_temporal_attention=switches["use_temporal_attention"],
        use_graph_attention=switches["use_graph_attention"],
        use_regime=switches["use_regime"],
    )
    trainer = ATFTTrainer(
        network,
        train,
        validation,
        {
            "epochs": epochs,
            "batch_size": 4 * market.panel.n_stocks,
            "learning_rate": 4e-3,
            "weight_decay": 1e-2,
            "mixed_precision": False,
            "accelerator": "cpu",
            "progress_bar": False,
            "seed": seed,
            # What is solved in closed form would find, or lose, a signal on behalf of the parts.
            "linear_penalty": None,
            "scheduler": {"T_max": epochs, "warmup_steps": 20},
            "early_stopping": {"monitor": "val/rank_ic_1d", "patience": 5, "min_delta": 0.0},
            **settings,
        },
        graphs=market.graphs,
        market=state,
    )
    return trainer, trainer.fit()["epochs"]


def daily_ic(scores: np.ndarray, target: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Correlation of scores and targets on each day, in order of time."""
    return np.array(
        [information_coefficient(scores[day == one], target[day == one]) for one in np.unique(day)]
    )


def bars(found: Sequence[Recovery]) -> list[Bar]:
    """What must hold of each market, its ICs averaged over seeds."""
    checked = []
    for market in dict.fromkeys(one.market for one in found):
        here = [one for one in found if one.market == market]
        if not MARKETS[market].predictable:
            largest = max(abs(one.t) for one in here if one.model != "oracle")
            checked.append(Bar(market, f"no model's |t| is {MOST_T} or more", largest, largest < MOST_T))
            continue
        ic = mean_ic(here)
        share = ic["full"] / ic["oracle"]
        checked.append(
            Bar(market, f"full / oracle is at least {LEAST_SHARE:.2f}", share, share >= LEAST_SHARE)
        )
        for part, switch in PARTS.items():
            if switch == MARKETS[market].owner:
                kept = ic[f"no {part}"] / ic["full"]
                says = f"no {part} / full is at most {MOST_WITHOUT:.2f}"
                checked.append(Bar(market, says, kept, kept <= MOST_WITHOUT))
    return checked


def mean_ic(found: Iterable[Recovery]) -> dict[str, float]:
    """IC by model, averaged over seeds."""
    by_model: dict[str, list[float]] = {}
    for one in found:
        by_model.setdefault(one.model, []).append(one.ic)
    return {model: float(np.mean(values)) for model, values in by_model.items()}


def print_tables(found: Sequence[Recovery], checked: Sequence[Bar]) -> None:
    """IC of every model with its share of the oracle's, then the bars."""
    print("\nIC on the test days (share of the oracle's, in %); * the part that owns the signal is off\n")
    print(f"{'market':<12}" + "".join(f"{model:>16}" for model in MODELS))
    for market in dict.fromkeys(one.market for one in found):
        ic = mean_ic(one for one in found if one.market == market)
        cells = []
        for model in MODELS:
            owned = PARTS.get(model.removeprefix("no ")) == MARKETS[market].owner is not None
            share = f" ({100 * ic[model] / ic['oracle']:3.0f})" if MARKETS[market].predictable else ""
            cells.append(f"{ic[model]:.3f}{share}{'*' if owned else ' '}")
        print(f"{market:<12}" + "".join(f"{cell:>16}" for cell in cells))
    print()
    for bar in checked:
        print(f"{'pass' if bar.passed else 'FAIL'}  {bar.market:<12}{bar.says}: {bar.found:.2f}")


def _plain(record: Recovery | Bar) -> dict[str, Any]:
    """As JSON knows it: what is not a number is null."""
    return {
        name: None if isinstance(value, float) and np.isnan(value) else value
        for name, value in asdict(record).items()
    }


def _job(job: tuple[str, int, str, int]) -> Recovery:
    """One cell of the table, in whatever process."""
    name, seed, model, epochs = job
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    return recover(build_market(name, draw_shocks(seed)), model, epochs, seed)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=(
            "Bars: the full network reaches 70 % of the oracle's IC on every market; without the part that "
            "owns a market's signal it keeps 70 % of that at most; where nothing predicts, no IC has a "
            "Newey-West |t| of 2.5 or more. The exit code is 1 when a bar fails. One seed takes about 15 "
            "minutes on one core. Try first: signal_recovery.py --markets regime"
        ),
    )
    parser.add_argument(
        "--markets",
        nargs="+",
        choices=MARKETS,
        default=list(MARKETS),
        metavar="NAME",
        help=f"markets to try: {', '.join(MARKETS)} (default: all)",
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=int,
        default=[0],
        help="a market, weights and order of days for each; ICs are averaged over them (default: 0)",
    )
    parser.add_argument(
        "--epochs", type=int, default=8, help="passes over the training days at most (default: 8)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run the suite; 0 when every bar holds."""
    arguments = _arguments(given)
    started = time.perf_counter()
    jobs = [
        (market, seed, model, arguments.epochs)
        for market, seed, model in product(arguments.markets, arguments.seeds, MODELS)
    ]
    found = []
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        for one in pool.map(_job, jobs):
            found.append(one)
            print(
                f"{one.market:<12}seed {one.seed}  {one.model:<14}IC {one.ic:7.3f}  t {one.t:6.1f}  "
                f"{one.epochs:3d} epochs {one.seconds:6.0f} s",
                flush=True,
            )
    checked = bars(found)
    print_tables(found, checked)
    print(f"\n{(time.perf_counter() - started) / 60:.1f} minutes")
    if arguments.json:
        report = {
            "epochs": arguments.epochs,
            "recoveries": [_plain(one) for one in found],
            "bars": [_plain(bar) for bar in checked],
        }
        arguments.json.write_text(json.dumps(report, indent=2), encoding="utf-8")
    return 0 if all(bar.passed for bar in checked) else 1


if __name__ == "__main__":
    sys.exit(main())
