"""The plan of a run: which model is fitted on which fold from which seed. Every entry is independent."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gogooku3.config import RunConfig
from gogooku3.models.forecaster import LIGHTGBM, LINEAR, NETWORK, Forecaster
from gogooku3.models.lightgbm_forecaster import LightGBMForecaster
from gogooku3.models.linear_forecaster import LinearForecaster
from gogooku3.training.network_forecaster import NetworkForecaster


@dataclass(frozen=True)
class Fit:
    """One model to be fitted.

    Attributes:
        model: name of the forecaster.
        fold: number of the fold.
        seed: of every random generator.
        folder: below the run's folder; no other fit writes there.
        last_seed: True for the last of several seeds of a model and fold, and for an only one.
    """

    model: str
    fold: int
    seed: int
    folder: Path
    last_seed: bool = True

    def __str__(self) -> str:
        seed = f", seed {self.seed}" if self.folder.name.startswith("seed_") else ""
        return f"fold {self.fold}, {self.model}{seed}"


def plan(config: RunConfig, folds: int) -> list[Fit]:
    """Every fit of a run, model by model, in the order in which one machine runs them.

    The network is fitted once per seed in `training.seeds`, the others once per fold. The linear model needs
    `training.linear_penalty`.

    >>> [str(fit) for fit in plan(RunConfig(), folds=1)]
    ['fold 0, lightgbm', 'fold 0, linear', 'fold 0, atft_gat_fan']
    """
    models = [LIGHTGBM, *([LINEAR] if config.training.linear_penalty else []), NETWORK]
    return [fit for model in models for fold in range(folds) for fit in _fits(model, fold, config)]


def network_seeds(config: RunConfig) -> tuple[int, ...]:
    """Seeds of a fold's networks."""
    return config.training.seeds or (config.training.seed,)


def new_forecaster(fit: Fit, config: RunConfig) -> Forecaster:
    """The untrained model of a fit."""
    if fit.model == LIGHTGBM:
        return LightGBMForecaster(config, fit.seed)
    if fit.model == LINEAR:
        return LinearForecaster(config, fit.seed)
    if fit.model == NETWORK:
        return NetworkForecaster(config, fit.seed, explain=fit.last_seed)
    raise AssertionError(f"no forecaster for the model {fit.model}")


def _fits(model: str, fold: int, config: RunConfig) -> Iterator[Fit]:
    folder = Path(f"fold_{fold}") / model
    seeds = network_seeds(config) if model == NETWORK else (config.training.seed,)
    for seed in seeds:
        own = folder / f"seed_{seed}" if len(seeds) > 1 else folder
        yield Fit(model, fold, seed, own, last_seed=seed == seeds[-1])
