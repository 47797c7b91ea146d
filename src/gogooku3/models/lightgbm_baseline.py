"""LightGBM baseline: one gradient-boosted model per horizon, with the same embargo as the network."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import polars as pl

from gogooku3.config.groups import LightGBMConfig
from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.evaluation.metrics import information_coefficient, rank_information_coefficient
from gogooku3.preprocessing.cross_section import CrossSectionalNormalizerV2
from gogooku3.preprocessing.labels import LabelTreatment, treat_labels
from gogooku3.safety.walk_forward import split_tail
from gogooku3.schema import DATE, HORIZONS, feature_columns
from gogooku3.system import available_cores

DEFAULT_PARAMETERS: dict[str, Any] = LightGBMConfig().model_dump(exclude={"label"})
"""Those of the configuration's group `lightgbm`."""
_USES = ("fit", "stop on")


@dataclass(repr=False, eq=False)
class LightGBMFinancialBaseline:
    """Gradient-boosted trees on the rows of each day, scored out of sample.

    Early stopping uses the tail of the training days, after an embargo; with `early_stopping_rounds` 0, all
    training days are fitted.

    Horizons are boosted in parallel, each on one thread. With several threads per horizon, the threads would
    wait for each other at every leaf, and the last bits of the sums that choose a split would depend on their
    number.

    Args:
        prediction_horizons: trading days ahead, one model each.
        embargo_days: trading days between fit, early-stopping and evaluation days.
        normalize_features: standardise each day first (frames only; panel slices are already normalised).
        parameters: LightGBM parameters that override `DEFAULT_PARAMETERS`.
        label: treatment of a day's targets, "raw", "zscore", "rank" or "blend".
        validation_fraction: tail of the training days used for early stopping.
        evaluation_fraction: share of a frame's last days held out, after an embargo, for
            `evaluate_performance()`; 0 fits on everything.
        sequence_length: market days of data that a row needs up to its own; with the network's value both
            models see the same rows.
        seed: of LightGBM.

    Raises:
        ConfigError: the embargo is shorter than the longest horizon.
    """

    prediction_horizons: Sequence[int] = HORIZONS
    embargo_days: int = 20
    normalize_features: bool = True
    _: KW_ONLY
    parameters: Mapping[str, Any] = field(default_factory=dict)
    label: LabelTreatment = "rank"
    validation_fraction: float = 0.15
    evaluation_fraction: float = 0.2
    sequence_length: int = 1
    seed: int = 42
    boosters: dict[int, Any] = field(init=False, default_factory=dict)
    features: tuple[str, ...] = field(init=False, default=())
    _normalizer: CrossSectionalNormalizerV2 | None = field(init=False, default=None)
    _held_out: PanelSlice | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.prediction_horizons = tuple(self.prediction_horizons)
        self.parameters = DEFAULT_PARAMETERS | dict(self.parameters or {})
        if not self.prediction_horizons:
            raise ConfigError("prediction_horizons is empty; give at least one horizon, in trading days")
        longest = max(self.prediction_horizons)
        if self.embargo_days < longest:
            raise ConfigError(
                f"embargo_days is {self.embargo_days} trading days but the longest horizon is {longest}; "
                f"raise it to {longest} or more"
            )

    def fit(self, data: pl.DataFrame | PanelSlice) -> "LightGBMFinancialBaseline":
        """Train one model per horizon.

        Args:
            data: a data set frame (`date, code, target_{h}d, features`), whose last days are held out for
                `evaluate_performance`, or the training days of a normalised panel, used completely.

        Raises:
            DataError: too few days, or a horizon without any target.
        """
        if isinstance(data, PanelSlice):
            train, self._held_out, self._normalizer = data, None, None
        else:
            train = self._prepare(data)
        self.features = train.panel.features
        parts = [train.days]
        if self.parameters["early_stopping_rounds"]:
            parts = list(split_tail(train.days, self.validation_fraction, self.embargo_days))
        rows = [self._rows(PanelSlice(train.panel, part)) for part in parts]
        if not all(len(features) for features, _ in rows):
            counts = [
                f"{len(features)} rows to {use}" for (features, _), use in zip(rows, _USES, strict=False)
            ]
            raise DataError(
                f"the training days hold {' and '.join(counts)}; rows need "
                f"{self.sequence_length} days of data, so bring more days, or shorten the window "
                "(time_series.sequence_length)"
            )
        for position, horizon in enumerate(self.prediction_horizons):
            if not all(np.isfinite(labels[:, position]).any() for _, labels in rows):
                raise DataError(
                    f"no row has a target for horizon {horizon}; check dataset.target_columns or drop "
                    f"{horizon} from the horizons"
                )
        # Binning takes as long as many trees, so all horizons share one binned set.
        (fit, fit_labels), stop_rows = rows[0], rows[1:]
        fit_bins = self._binned(fit)
        stop_sets = [(self._binned(stop, fit_bins), labels) for stop, labels in stop_rows]
        lock = Lock()

        def boost(position: int) -> Any:
            # Labels are written into the shared bins before each horizon copies its rows.
            with lock:
                train_set = self._labelled(fit_bins, fit_labels[:, position])
                stop_set = [self._labelled(bins, labels[:, position]) for bins, labels in stop_sets]
            return self._boost(train_set, stop_set)

        horizons = range(len(self.prediction_horizons))
        with ThreadPoolExecutor(boosted_at_a_time(len(horizons))) as pool:
            boosters = list(pool.map(boost, horizons))
        self.boosters = dict(zip(self.prediction_horizons, boosters, strict=True))
        return self

    def predict(self, data: pl.DataFrame | PanelSlice) -> pl.DataFrame:
        """Predictions of every row: `date, code, prediction_{h}d` (Float32).

        Raises:
            DataError: not fitted, or other features than fitted.
        """
        if not self.boosters:
            raise DataError("the baseline is not fitted; call fit first")
        if isinstance(data, pl.DataFrame):
            data = self._to_slice(data)
        if data.panel.features != self.features:
            raise DataError(
                f"fitted on {len(self.features)} features, but the data has {len(data.panel.features)} others"
            )
        return predict_rows(self.boosters, data, self.sequence_length)

    def evaluate_performance(
        self, data: pl.DataFrame | PanelSlice | None = None
    ) -> dict[int, dict[str, float]]:
        """Score each horizon by day, out of sample.

        Args:
            data: days to score; None takes the days that `fit` held out.

        Returns:
            `{horizon: {"mean_ic", "mean_rank_ic", "n_days", "n_rows", "n_trees"}}`.

        Raises:
            DataError: no days were held out and no data is given.
        """
        if data is None:
            if self._held_out is None:
                raise DataError("no days were held out; use fit first, or pass the days to score")
            data = self._held_out
        elif isinstance(data, pl.DataFrame):
            data = self._to_slice(data)
        predictions = self.predict(data)
        day, stock = data.rows(self.sequence_length)
        performance = {}
        for horizon, position in zip(self.prediction_horizons, self._positions(data.panel), strict=True):
            target = data.panel.targets[day, stock, position]
            prediction = predictions[f"prediction_{horizon}d"].to_numpy()
            labelled, booster = np.isfinite(target), self.boosters[horizon]
            performance[horizon] = {
                "mean_ic": information_coefficient(prediction, target, day),
                "mean_rank_ic": rank_information_coefficient(prediction, target, day),
                "n_days": len(np.unique(day[labelled])),
                "n_rows": int(labelled.sum()),
                # `best_iteration` is 0 or less without early stopping.
                "n_trees": booster.best_iteration if booster.best_iteration > 0 else booster.num_trees(),
            }
        return performance

    def feature_importance(self) -> pl.DataFrame:
        """Each feature's share of the gain: `feature, horizon, importance`."""
        tables = []
        for horizon, booster in self.boosters.items():
            gain = booster.feature_importance("gain")
            share = gain / max(gain.sum(), 1e-12)
            tables.append(pl.DataFrame({"feature": self.features, "horizon": horizon, "importance": share}))
        return pl.concat(tables)

    def _prepare(self, frame: pl.DataFrame) -> PanelSlice:
        """Normalise a frame, hold out its last days, and return the days before the embargo."""
        self.features = tuple(feature_columns(frame.schema))
        calendar = frame[DATE].unique().sort()
        days = range(calendar.len())
        train_days, held_out = days, None
        if self.evaluation_fraction:
            train_days, held_out = split_tail(days, self.evaluation_fraction, self.embargo_days)
        if self.normalize_features:
            self._normalizer = CrossSectionalNormalizerV2(feature_columns=self.features).fit(
                frame.filter(pl.col(DATE) <= calendar[train_days.stop - 1])
            )
        panel = self._to_slice(frame).panel
        self._held_out = None if held_out is None else PanelSlice(panel, held_out)
        return PanelSlice(panel, train_days)

    def _to_slice(self, frame: pl.DataFrame) -> PanelSlice:
        if self._normalizer is not None:
            frame = self._normalizer.transform(frame)
        panel = Panel.from_frame(frame, self.features, self.prediction_horizons)
        return PanelSlice(panel, range(panel.n_days))

    def _rows(self, part: PanelSlice) -> tuple[np.ndarray, np.ndarray]:
        """Features `[rows, features]` and labels `[rows, horizons]` of some days."""
        day, stock = part.rows(self.sequence_length)
        panel, days = part.panel, part.days
        labels = treat_labels(panel.targets[days.start : days.stop, :, self._positions(panel)], self.label)
        return panel.values[day, stock], labels[day - days.start, stock]

    def _positions(self, panel: Panel) -> list[int]:
        """Column of each horizon's targets in the panel."""
        if missing := set(self.prediction_horizons) - set(panel.horizons):
            raise DataError(
                f"the panel has targets for the horizons {choices(panel.horizons)}, not for horizon "
                f"{choices(sorted(missing))}; build it with prediction_horizons"
            )
        return [panel.horizons.index(horizon) for horizon in self.prediction_horizons]

    def _binned(self, features: np.ndarray, reference: Any = None) -> Any:
        """Rows of features in LightGBM's bins, without labels; with the bins of `reference` if given."""
        import lightgbm

        return lightgbm.Dataset(
            features,
            feature_name=[f"f{i}" for i in range(features.shape[1])],
            reference=reference,
            # Features are binned independently, so all cores can work on them.
            params={
                **boosting_parameters(self.parameters, self.seed),
                "num_threads": self.parameters.get("num_threads", 0),
            },
        ).construct()

    def _labelled(self, binned: Any, labels: np.ndarray) -> Any:
        """Subset of the binned rows that have a label, and their labels."""
        rows = np.flatnonzero(np.isfinite(labels))
        binned.set_label(np.nan_to_num(labels))
        # LightGBM's number of threads is global, so the bins' own parameters would also change it for the
        # horizons that are boosting at the same time.
        return binned.subset(rows, boosting_parameters(self.parameters, self.seed)).construct()

    def _boost(self, train_set: Any, stop_set: list[Any]) -> Any:
        """Train the model of one horizon; with an empty `stop_set`, every tree is grown."""
        import lightgbm

        patience = self.parameters["early_stopping_rounds"]
        return lightgbm.train(
            boosting_parameters(self.parameters, self.seed),
            train_set,
            num_boost_round=self.parameters["num_boost_round"],
            valid_sets=stop_set or None,
            callbacks=[lightgbm.early_stopping(patience, verbose=False)] if stop_set else None,
        )


def boosting_parameters(settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """LightGBM's parameters for the settings of the group `lightgbm`, without rounds and early stopping."""
    given = {
        name: value
        for name, value in settings.items()
        if name not in ("num_boost_round", "early_stopping_rounds")
    }
    fixed = {"objective": "regression", "verbosity": -1, "seed": seed, "deterministic": True}
    by_column = {"force_col_wise": not given.get("force_row_wise", False)}
    return {**fixed, **by_column, "num_threads": 1, **given}


def boosted_at_a_time(horizons: int) -> int:
    """Number of models boosted in parallel, each with a copy of the binned rows."""
    return min(horizons, available_cores())


def predict_rows(boosters: Mapping[int, Any], data: PanelSlice, sequence_length: int) -> pl.DataFrame:
    """Predictions of every row by one booster per horizon: `date, code, prediction_{h}d` (Float32)."""
    values = data.panel.values[data.rows(sequence_length)]
    return data.keys(sequence_length).with_columns(
        pl.Series(f"prediction_{horizon}d", booster.predict(values).astype(np.float32))
        for horizon, booster in boosters.items()
    )
