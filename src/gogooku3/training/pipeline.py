"""The seven steps, from a data set to a scored run folder.

Test days choose nothing: each fold's epoch and number of trees are chosen on the tail of its
training days, behind an embargo of its own.
"""

import shlex
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from gogooku3.config import RunConfig, load_config
from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.errors import DataError, GogookuError
from gogooku3.evaluation.report import write_report
from gogooku3.evaluation.scores import score_predictions
from gogooku3.features.quality import QUALITY_FEATURES, quality_cube
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.models.lightgbm_baseline import LightGBMFinancialBaseline
from gogooku3.safety.cross_section import CrossSectionalNormalizerV2, PanelNormalizer
from gogooku3.safety.market_state import MarketState
from gogooku3.safety.walk_forward import Fold, WalkForwardSplitterV2, split_tail
from gogooku3.schema import CODE, DATE
from gogooku3.settings import settings
from gogooku3.training.explanations import read_explanations, read_sectors
from gogooku3.training.inputs import check_inputs
from gogooku3.training.memory import plan_memory
from gogooku3.training.network_fold import NetworkFold, network_seeds, new_network, train_networks
from gogooku3.training.prediction_table import long_tables, oracle_tables, rank_average_tables
from gogooku3.training.progress import cpu_hours
from gogooku3.training.reproducibility import cpu_threads, seed_everything, versions
from gogooku3.training.run_folder import RunFolder
from gogooku3.training.steps import StepLog

NETWORK, BASELINE = "atft_gat_fan", "lightgbm"
PANEL_FILE = "panel.f32"


class SafeTrainingPipeline:
    """Load, features, normalise, split, LightGBM, graph, network; then scores and a report.

    Args:
        experiment_name: folder of the run below `runs_dir`.
        data_path: data set file (`date, code, target_{h}d, features`).
        model_config: a YAML file or shipped name, a `RunConfig`, a mapping of groups, or None for
            the shipped `model/atft/train`.
        verbose: say what each step does.
        runs_dir: folder of all runs; None takes `settings.runs_dir`.

    Raises:
        ConfigError: a setting is unknown or contradicts another.

    Attributes:
        config: the configuration as resolved.
    """

    def __init__(
        self,
        experiment_name: str,
        data_path: Path | str,
        model_config: Path | str | RunConfig | Mapping[str, Any] | None = None,
        verbose: bool = False,
        *,
        runs_dir: Path | None = None,
    ) -> None:
        self.experiment_name = experiment_name
        self.data_path = Path(data_path)
        self.verbose = verbose
        self.runs_dir = runs_dir or settings.runs_dir
        if isinstance(model_config, RunConfig):
            self.config = model_config
        elif isinstance(model_config, Mapping):
            self.config = RunConfig.from_mapping(model_config)
        else:
            self.config = load_config(model_config or "model/atft/train", configs_dir=settings.configs_dir)

    def run_pipeline(
        self, n_splits: int = 5, embargo_days: int = 20, memory_limit_gb: float = 8.0
    ) -> dict[str, Any]:
        """Run all steps and write the run folder.

        Args:
            n_splits: walk-forward folds.
            embargo_days: trading days between training and test; the longest horizon or more.
            memory_limit_gb: memory that the run may take, GB; a panel that would not fit beside
                the rest is laid out in a memory-mapped file.

        Returns:
            `total_duration` (s), `best_sharpe` (the best fold's out-of-sample Sharpe of the network,
            net of costs), `pooled_sharpe` (all folds, net: the headline), `model_path` (weights of the
            last fold; of several networks, the last seed's), `peak_memory_gb`, `run_dir`, `report_path`,
            `predictions_path`, `scores`, `steps` and `dropped`.

        Raises:
            DataError: the data set is not what the data contract says, or too short for the folds.
            ConfigError: the settings contradict one another or the data.
        """
        config = _with_settings(self.config, self.data_path, n_splits, embargo_days, memory_limit_gb)
        return _Run(config, self.experiment_name, self.runs_dir, self.verbose).execute()


class _Run:
    """One execution of the pipeline: what the steps hand to one another."""

    def __init__(self, config: RunConfig, experiment: str, runs_dir: Path, verbose: bool) -> None:
        self.config = config
        self.experiment = experiment
        self.log = StepLog(verbose)
        self.splitter = WalkForwardSplitterV2(
            config.split.n_splits,
            config.split.embargo_days,
            config.split.min_train_days,
            config.time_series.prediction_horizons,
        )
        self.builder = _graph_builder(config)
        self.loader = ProductionDatasetV3(
            config.dataset.data_path,
            config.performance.use_polars_lazy,
            config.performance.column_projection,
            feature_columns=config.dataset.feature_columns,
            target_columns=config.dataset.target_columns,
            start_date=config.dataset.start_date,
            end_date=config.dataset.end_date,
        )
        check_inputs(self.loader, config)
        self.folder = RunFolder(runs_dir, experiment)
        self.created = datetime.now(UTC).isoformat(timespec="seconds")
        self.tables: list[pl.DataFrame] = []
        self.fold_facts: list[dict[str, Any]] = []
        self.data_facts: dict[str, Any] = {}

    def execute(self) -> dict[str, Any]:
        """All steps; a refusal before training leaves no folder, a later failure says so in it."""
        try:
            return self._steps()
        except BaseException as error:
            (self.folder.path / PANEL_FILE).unlink(missing_ok=True)
            if isinstance(error, GogookuError) and not self.tables:
                self.folder.discard()
            else:
                reason = f"{type(error).__name__}: {error}"
                self.folder.write_json("manifest.json", {**self._manifest("failed", None), "error": reason})
            raise

    def _steps(self) -> dict[str, Any]:
        started = time.perf_counter()
        config, log = self.config, self.log
        seed_everything(config.training.seed)
        self.folder.write_text("config.yaml", config.to_yaml())
        with log.step("load data"):
            frame = self._load()
        with log.step("quality features"):
            panel = self._panel(frame)
            del frame
        returns = self._daily_returns(panel)
        with log.step("normalise by day"):
            normalizer = self._normalize(panel)
        with log.step("split walk-forward"):
            folds = self._split(panel)
        with log.step("train LightGBM"):
            for fold in folds:
                _fit_fallback(normalizer, fold)
                self._baseline(panel, fold)
        with log.step("build graphs"):
            schedule = self._graphs(panel, returns)
        self._warn_if_slow(panel, folds)
        with log.step("train ATFT-GAT-FAN"):
            for fold in folds:
                model_path = self._networks(panel, fold, normalizer, schedule, returns)
        with log.step("score and report"):
            scores, report_path, predictions_path = self._score(panel)
        # The data set still holds what a memory-mapped panel held.
        (self.folder.path / PANEL_FILE).unlink(missing_ok=True)
        results = self._results(scores, time.perf_counter() - started)
        results |= {
            "model_path": str(model_path),
            "report_path": str(report_path),
            "predictions_path": str(predictions_path),
        }
        self.folder.write_json("manifest.json", self._manifest("complete", results["total_duration"]))
        return results

    def _load(self) -> pl.DataFrame:
        frame = self.loader.load_data()
        if frame.is_empty():
            raise DataError(
                f"{self.loader.data_path} has no rows between dataset.start_date and dataset.end_date"
            )
        for reason, rows in self.loader.dropped.items():
            self.log.drop("load data", reason, rows)
        self.data_facts = {
            "path": str(self.loader.data_path),
            "fingerprint": self.loader.fingerprint,
            "rows": frame.height,
            "n_stocks": frame[CODE].n_unique(),
            "n_days": frame[DATE].n_unique(),
            "first_date": str(frame[DATE].min()),
            "last_date": str(frame[DATE].max()),
        }
        self.folder.write_json("manifest.json", self._manifest("running", None))
        return frame

    def _panel(self, frame: pl.DataFrame) -> Panel:
        """The cube, with the six quality features in the places reserved for them."""
        features = self.loader.feature_names
        shape = (
            self.data_facts["n_days"],
            self.data_facts["n_stocks"],
            len(features) + len(QUALITY_FEATURES),
        )
        storage = None
        if plan_memory(shape, int(frame.estimated_size()), self.config.performance.memory_limit_gb):
            storage = self.folder.path / PANEL_FILE
            self.log.say("   the panel goes to a memory-mapped file, to keep within the memory limit")
        panel = Panel.from_frame(
            frame,
            features,
            self.config.time_series.prediction_horizons,
            reserve=tuple(QUALITY_FEATURES),
            storage=storage,
        )
        width = len(features)
        panel.values[:, :, width:] = quality_cube(panel.values[:, :, :width], panel.mask)
        length = self.config.time_series.sequence_length
        early = panel.n_rows - int(panel.sample_mask(length).sum())
        self.log.drop("windows", f"the window of {length} days starts before the data", early)
        return panel

    def _daily_returns(self, panel: Panel) -> np.ndarray | None:
        """Raw one-day returns `[days, stocks]` for the graph, before normalisation."""
        if not self.config.graph.enabled:
            return None
        column = self.config.graph.return_column or "ret_1d"
        return panel.values[:, :, panel.feature_index(column)].copy()

    def _normalize(self, panel: Panel) -> PanelNormalizer | None:
        cross_section = self.config.normalization.cross_sectional
        if cross_section.enabled:
            return PanelNormalizer(panel, cross_section.robust_clip)
        np.nan_to_num(panel.values, copy=False)
        return None

    def _split(self, panel: Panel) -> list[Fold]:
        folds = self.splitter.folds(panel.n_days)
        for fold in folds:
            fit, validation = self._fit_days(fold)
            spans = {"train": fit, "validation": validation, "test": fold.test}
            self.fold_facts.append(
                {
                    "fold": fold.number,
                    "gap_days": fold.gap_days,
                    "embargo_days": self.splitter.embargo_days,
                    **{f"{name}_start": str(panel.dates[days.start]) for name, days in spans.items()},
                    **{f"{name}_end": str(panel.dates[days.stop - 1]) for name, days in spans.items()},
                }
            )
        longest = max(self.splitter.horizons)
        shortest = min(len(fold.test) for fold in folds)
        if shortest < longest:
            self.log.warn(
                f"a fold tests {shortest} days, fewer than the longest horizon of {longest}: its scores at "
                "long horizons rest on one overlapping period. Lower split.n_splits or split.min_train_days"
            )
        embargoed = sum(int(panel.mask[f.train.stop : f.test.start].sum()) for f in folds)
        self.log.drop("split", "in the embargo before a fold's test days, summed over folds", embargoed)
        return folds

    def _fit_days(self, fold: Fold) -> tuple[range, range]:
        return split_tail(fold.train, self.config.training.validation_fraction, self.splitter.embargo_days)

    def _baseline(self, panel: Panel, fold: Fold) -> None:
        parameters = self.config.lightgbm.model_dump()
        baseline = LightGBMFinancialBaseline(
            self.config.time_series.prediction_horizons,
            self.splitter.embargo_days,
            parameters={key: value for key, value in parameters.items() if key != "label"},
            label=self.config.lightgbm.label,
            validation_fraction=self.config.training.validation_fraction,
            sequence_length=self.config.time_series.sequence_length,
            seed=self.config.training.seed,
        ).fit(PanelSlice(panel, fold.train))
        self._keep(baseline.predict(PanelSlice(panel, fold.test)), panel, fold, BASELINE)
        folder = self.folder.fold(fold.number)
        for horizon, booster in baseline.boosters.items():
            self.folder.write_text(f"{folder.name}/lightgbm_{horizon}d.txt", booster.model_to_string())
        self.folder.write_table(f"{folder.name}/lightgbm_importance.parquet", baseline.feature_importance())

    def _graphs(self, panel: Panel, returns: np.ndarray | None) -> GraphSchedule | None:
        if returns is None:
            return None
        schedule = GraphSchedule.build(panel.dates, panel.codes, returns, self.builder)
        self.folder.write_table("graphs.parquet", schedule.summary())
        self.log.say(f"   {schedule}")
        return schedule

    def _networks(
        self,
        panel: Panel,
        fold: Fold,
        normalizer: PanelNormalizer | None,
        schedule: GraphSchedule | None,
        returns: np.ndarray | None,
    ) -> Path:
        """Train the fold's networks and keep their predictions; returns where the last one's weights lie."""
        config = self.config
        fitted = _fit_fallback(normalizer, fold)
        state, market = _market_state(normalizer, fold) if config.model.use_regime else (None, None)
        fit_days, validation_days = self._fit_days(fold)
        about = self.fold_facts[fold.number]
        saved = {
            "features": list(panel.features),
            "normalizer": fitted.to_dict() if fitted else None,
            "market_state": state.to_dict() if state else None,
            "graph": config.graph.model_dump(mode="json"),
            "fold": dict(about),
        }
        days = NetworkFold(
            fold.number,
            train=PanelSlice(panel, fit_days),
            validation=PanelSlice(panel, validation_days),
            test=PanelSlice(panel, fold.test),
            market=market,
            schedule=schedule,
            returns=returns,
            saved=saved,
            sectors=read_sectors(self.loader),
        )
        result = train_networks(days, config, self.builder, self.folder, self.log)
        about["prediction_spread"] = result.prediction_spread
        self._keep(result.predictions, panel, fold, NETWORK)
        return result.model_path

    def _warn_if_slow(self, panel: Panel, folds: list[Fold]) -> None:
        """Say beforehand when a CPU would take hours."""
        training, networks = self.config.training, len(network_seeds(self.config))
        if training.accelerator == "gpu" or (training.accelerator == "auto" and torch.cuda.is_available()):
            return
        by_day = panel.sample_mask(self.config.time_series.sequence_length).sum(axis=1)
        samples = sum(int(by_day[: self._fit_days(fold)[0].stop].sum()) for fold in folds)
        hours = cpu_hours(new_network(self.config), samples * training.epochs * networks, cpu_threads())
        if hours > 2:
            several = f", {networks} times," if networks > 1 else ""
            self.log.warn(
                f"training {samples:,} samples for up to {training.epochs} epochs{several} may take about "
                f"{hours:.0f} hours on this CPU; use a GPU, or start small: model.hidden_dim=64 "
                "training.epochs=3"
            )

    def _keep(self, wide: pl.DataFrame, panel: Panel, fold: Fold, model: str) -> None:
        """Add one model's predictions of a fold's test days to the prediction table."""
        length = self.config.time_series.sequence_length
        self.tables += long_tables(wide, PanelSlice(panel, fold.test), length, fold.number, model)

    def _score(self, panel: Panel) -> tuple[dict[str, Any], Path, Path]:
        """Write the prediction table, then score and report what was written."""
        table = pl.concat(
            [
                *self.tables,
                *rank_average_tables(self.tables, NETWORK, BASELINE),
                *oracle_tables(self.config.dataset.data_path, self.tables, like=NETWORK),
            ]
        )
        predictions_path = self.folder.write_table("predictions.parquet", table)
        evaluation = self.config.evaluation
        scores = score_predictions(table, evaluation.cost_bps, evaluation.quantile)
        self.folder.write_json("metrics.json", scores)
        report_path = self.folder.path / "report.html"
        explanations = read_explanations(self.folder.path, NETWORK, BASELINE)
        write_report(report_path, self._manifest("complete", None), scores, table, explanations=explanations)
        return scores, report_path, predictions_path

    def _results(self, scores: dict[str, Any], seconds: float) -> dict[str, Any]:
        network = scores["models"][NETWORK]
        return {
            "total_duration": seconds,
            "best_sharpe": network["best_fold_sharpe"],
            "pooled_sharpe": network["pooled_sharpe_net"],
            "peak_memory_gb": self.log.peak_memory_gb,
            "run_dir": str(self.folder.path),
            "scores": scores,
            "steps": self.log.steps,
            "dropped": self.log.dropped,
        }

    def _manifest(self, status: str, seconds: float | None) -> dict[str, Any]:
        return {
            "experiment": self.experiment,
            "created": self.created,
            "status": status,
            "total_duration_s": seconds,
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "seeds": list(network_seeds(self.config)),
            "versions": versions(),
            "data": self.data_facts,
            "folds": self.fold_facts,
            "steps": self.log.steps,
            "dropped": self.log.dropped,
            "warnings": self.log.warnings,
            "config": self.config.model_dump(mode="json"),
        }


def _with_settings(
    config: RunConfig, data_path: Path, n_splits: int, embargo_days: int, memory_limit_gb: float
) -> RunConfig:
    """The configuration with the arguments of `run_pipeline`, checked as a whole."""
    plain = config.model_dump()
    plain["dataset"]["data_path"] = data_path
    plain["split"] |= {"n_splits": n_splits, "embargo_days": embargo_days}
    plain["performance"]["memory_limit_gb"] = float(memory_limit_gb)
    return RunConfig.from_mapping(plain)


def _fit_fallback(normalizer: PanelNormalizer | None, fold: Fold) -> CrossSectionalNormalizerV2 | None:
    """Serve the cells that no day carries from the fold's own training days."""
    return normalizer.fit_fold(fold.train) if normalizer else None


def _market_state(
    normalizer: PanelNormalizer | None, fold: Fold
) -> tuple[MarketState, np.ndarray] | tuple[None, None]:
    """How the market's state is scaled by the fold's training days, and the state on every day."""
    if normalizer is None:
        return None, None
    state = MarketState.fit(normalizer.statistics, fold.train)
    return state, state.transform(normalizer.statistics)


def _graph_builder(config: RunConfig) -> FinancialGraphBuilder:
    return FinancialGraphBuilder(**config.graph.model_dump(exclude={"enabled", "rebuild_every_epochs"}))
