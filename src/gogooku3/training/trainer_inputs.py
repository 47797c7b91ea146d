"""What a trainer is given: its settings, and frames or slices of a panel, checked against the model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars

from gogooku3.config import RunConfig
from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.errors import ConfigError, DataError
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.schema import feature_columns
from gogooku3.training.losses import DEFAULT_HORIZON_WEIGHTS


def resolve_config(config: RunConfig | Mapping[str, Any] | None, model: ATFTGATFANModel) -> RunConfig:
    """Resolve a configuration or a mapping, and check that it matches the model."""
    if not isinstance(config, RunConfig):
        config = RunConfig.from_mapping(_as_groups(config or {}, model), "the trainer's config")
    if config.training.seeds is not None:
        raise ConfigError(
            f"training.seeds is {list(config.training.seeds)}, but a trainer trains one network; give it "
            "training.seed, or use SafeTrainingPipeline, which trains one network a seed and averages them"
        )
    configured = {**config.model.model_dump(), **config.time_series.model_dump()}
    configured["prediction_horizons"] = list(configured["prediction_horizons"])
    for name, built in model.settings.items():
        if name != "market_dim" and configured[name] != built:
            raise ConfigError(
                f"the config has {name} {configured[name]} but the model was built with {built}; make them "
                "equal"
            )
    return config


def _as_groups(config: Mapping[str, Any], model: ATFTGATFANModel) -> dict[str, Any]:
    """Nest the settings of a mapping into groups; missing ones follow from the model."""
    built = dict(model.settings)
    horizons, length = built["prediction_horizons"], built.pop("sequence_length")
    del built["market_dim"]
    groups: dict[str, Any] = {
        "training": {},
        "model": built,
        "time_series": {"sequence_length": length, "prediction_horizons": horizons},
        "loss": {"horizon_weights": {h: DEFAULT_HORIZON_WEIGHTS.get(h, 0.5) for h in horizons}},
        "split": {"embargo_days": max(20, *horizons)},
        "early_stopping": {} if 5 in horizons else {"monitor": f"val/rank_ic_{horizons[0]}d"},
    }
    for key, value in config.items():
        if key not in RunConfig.model_fields:
            groups["training"]["gradient_clip_val" if key == "gradient_clip" else key] = value
        elif isinstance(value, Mapping):
            groups[key] = {**groups.get(key, {}), **value}
        else:
            raise ConfigError(f"'{key}' is a group of settings; give it a mapping, not {value!r}")
    return groups


def join_frames(
    train: polars.DataFrame, val: polars.DataFrame, horizons: Sequence[int], sequence_length: int
) -> tuple[PanelSlice, PanelSlice, np.ndarray]:
    """Two frames as slices of one panel, and the rows whose window is within their own frame."""
    if train.is_empty() or val.is_empty():
        raise DataError(f"expected rows to train and to validate on, got {train.height} and {val.height}")
    training_ends, validation_starts = train["date"].sort()[-1], val["date"].sort()[0]
    if training_ends >= validation_starts:
        raise DataError(
            f"validation must come after training, but it starts on {validation_starts} and training ends "
            f"on {training_ends}"
        )
    features = feature_columns(train.schema)
    panel = Panel.from_frame(polars.concat([train, val], how="diagonal_relaxed"), features, horizons)
    panel.values[np.isnan(panel.values)] = 0
    border = train["date"].n_unique()
    samples = panel.sample_mask(sequence_length)
    samples[border : border + sequence_length - 1] = False
    return PanelSlice(panel, range(border)), PanelSlice(panel, range(border, panel.n_days)), samples


def check_fit(model: ATFTGATFANModel, train: PanelSlice, val: PanelSlice, market: np.ndarray | None) -> None:
    width = len(train.panel.features)
    if width != model.settings["input_dim"]:
        raise DataError(
            f"the model takes {model.settings['input_dim']} features but the data has {width}; build it with "
            f"input_dim={width}, or choose dataset.feature_columns"
        )
    if market is not None and market.shape != (train.panel.n_days, model.settings["market_dim"]):
        raise DataError(
            f"market is {list(market.shape)}; a model with market_dim={model.settings['market_dim']} needs "
            f"[{train.panel.n_days} days, {model.settings['market_dim']}]"
        )
    if train.panel is not val.panel:
        raise DataError("train_data and val_data are slices of two panels; take both from one")
    if train.panel.horizons != model.prediction_horizons:
        raise DataError(
            f"the panel has the horizons {list(train.panel.horizons)} and the model "
            f"{list(model.prediction_horizons)}; make them equal"
        )
    if train.days.stop > val.days.start:
        raise DataError("validation days must come after training days")
