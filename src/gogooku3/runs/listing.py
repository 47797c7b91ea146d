"""Summaries of run folders, complete or not. Loads no models and changes nothing."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from gogooku3.files.locks import is_locked
from gogooku3.runs.folder import AUDIT, CONFIG, LOCK, MANIFEST, METRICS
from gogooku3.runs.json_file import read_json
from gogooku3.runs.seal import CHECKSUMS, changed

SCORES = {"ic_1d": "max", "rank_ic": "max", "sharpe_net": "max", "drawdown_net": "min"}
"""Headline scores of a model, and whether the best is the maximum or the minimum."""


@dataclass(frozen=True)
class RunSummary:
    """Summary of one run's folder.

    Attributes:
        path: the folder, `<runs>/<experiment>/<stamp>`.
        status: `complete`, `running`, `interrupted`, `failed`; `cut off` if the manifest has `running` but
            no process uses the folder; `broken` if its files can't be read.
        created: start of the run, ISO 8601 in UTC; empty if unknown.
        note: the problem; empty if there is none.
        data: path, fingerprint, rows and dates of the data set; empty if unknown.
        scores: for each model but the oracle, `SCORES` pooled over folds, None where missing; the IC is that
            of 1 day, the others are those of the headline horizon.
        headline_horizon: trading days ahead; None without scores.
        audit: verdict of its audit; None without one.
        manifest_config: the settings in the manifest; None: read `config.yaml`.
    """

    path: Path
    status: str
    created: str = ""
    note: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    headline_horizon: int | None = None
    audit: str | None = None
    manifest_config: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, path: Path) -> "RunSummary":
        """Read a folder; never fails, whatever state the folder is in."""
        manifest, problem = read_json(path / MANIFEST)
        if manifest is None:
            # The configuration is written first, the manifest after the data has been read.
            status = "broken" if problem or not (path / CONFIG).is_file() else _lock_status(path)
            return cls(path, status, note=problem or ("" if status == "running" else f"no {MANIFEST}"))
        status, note = _one_line(manifest.get("status")), _one_line(manifest.get("error"))
        if not status:
            status, note = "broken", f"no status in {MANIFEST}"
        if status == "running":
            status = _lock_status(path)
        audit, audit_problem = read_json(path / AUDIT)
        metrics, metrics_problem = _read_metrics(path, manifest)
        horizon, scores = _headline(metrics or {})
        problem = metrics_problem or audit_problem
        if status == "complete" and not scores:
            status, problem = "broken", problem or f"no scores in {METRICS}"
        return cls(
            path,
            status,
            created=_one_line(manifest.get("created")),
            note=note or problem,
            data=_mapping(manifest.get("data")),
            scores=scores,
            headline_horizon=horizon,
            audit=_one_line((audit or {}).get("verdict")) or None,
            manifest_config=_mapping(manifest.get("config")) or None,
        )

    @property
    def name(self) -> str:
        """`<experiment>/<stamp>`."""
        return f"{self.experiment}/{self.path.name}"

    @property
    def experiment(self) -> str:
        """Name of the parent folder."""
        return self.path.parent.name

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting by its dotted key; empty if unreadable."""
        return dict(_flatten(self.manifest_config or _read_yaml(self.path / CONFIG)))

    def best(self, score: str) -> float | None:
        """The best model's headline score; None without one."""
        values = [value for scores in self.scores.values() if (value := scores[score]) is not None]
        return (max if SCORES[score] == "max" else min)(values, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the settings, for JSON."""
        return {
            "run": str(self.path),
            "experiment": self.experiment,
            "status": self.status,
            "created": self.created or None,
            "note": self.note or None,
            "data": dict(self.data),
            "headline_horizon": self.headline_horizon,
            "scores": {model: dict(scores) for model, scores in self.scores.items()},
            "audit": self.audit,
        }


def find_runs(runs_dir: Path) -> list[RunSummary]:
    """Every run below a folder, the newest first; a run's folder has a manifest or settings."""
    folders = {path.parent for name in (MANIFEST, CONFIG) for path in runs_dir.glob(f"*/*/{name}")}
    # By the folder's stamp, which is known even if the manifest is damaged; ties by experiment.
    summaries = map(RunSummary.read, folders)
    return sorted(summaries, key=lambda run: (run.path.name, run.experiment), reverse=True)


def sorted_by(runs: Sequence[RunSummary], score: str) -> list[RunSummary]:
    """Runs by their best model's score, the best first; those without one last."""
    sign = -1.0 if SCORES[score] == "max" else 1.0
    return sorted(runs, key=lambda run: math.inf if (best := run.best(score)) is None else sign * best)


def differing_settings(runs: Sequence[RunSummary]) -> dict[str, list[Any]]:
    """Settings that differ between runs: by dotted key, one value per run, None where unset.

    Runs with unreadable settings are not compared: all their values are None.
    """
    readable = [run.settings for run in runs if run.settings]
    keys = sorted({key for settings in readable for key in settings})
    return {
        key: [run.settings.get(key) for run in runs]
        for key in keys
        if any(settings.get(key) != readable[0].get(key) for settings in readable)
    }


def earlier_sharpes(runs_dir: Path, fingerprint: str, headline_horizon: int | None = None) -> list[float]:
    """Daily net Sharpe ratios of every model of every complete run on the same data, ascending.

    Runs of all experiments count. Bit-identical ratios count once, such as those of a LightGBM that a change
    of the network did not affect; the oracle is no trial. Unfinished and unreadable runs are left out.

    Args:
        runs_dir: folder of all runs, `<experiment>/<stamp>/` below it.
        fingerprint: of the data set, as in a run's manifest.
        headline_horizon: leave out runs with another headline horizon; None takes them all.
    """
    sharpes: set[float] = set()
    for path in runs_dir.glob(f"*/*/{MANIFEST}"):
        manifest = read_json(path)[0] or {}
        same_data = _mapping(manifest.get("data")).get("fingerprint") == fingerprint
        if manifest.get("status") != "complete" or not same_data:
            continue
        metrics = _read_metrics(path.parent, manifest)[0] or {}
        settings = _mapping(metrics.get("settings"))
        if headline_horizon not in (None, settings.get("headline_horizon")):
            continue
        days_per_year = _number(settings.get("periods_per_year", 252)) or 252
        for model in map(_mapping, _mapping(metrics.get("models")).values()):
            sharpe = _number(model.get("pooled_sharpe_net"))
            if not model.get("is_oracle") and sharpe is not None and days_per_year > 0:
                sharpes.add(sharpe / math.sqrt(days_per_year))
    return sorted(sharpes)


def _headline(metrics: Mapping[str, Any]) -> tuple[int | None, dict[str, dict[str, float | None]]]:
    """The headline horizon, and `SCORES` of each model but the oracle."""
    horizon = _mapping(metrics.get("settings")).get("headline_horizon")
    if not isinstance(horizon, int):
        return None, {}
    scores = {}
    for model, entry in sorted(_mapping(metrics.get("models")).items()):
        blocks = _mapping(_mapping(entry).get("horizons"))
        one_day, headline = (_mapping(_mapping(blocks.get(str(days))).get("pooled")) for days in (1, horizon))
        if blocks and not entry.get("is_oracle"):
            scores[model] = {
                "ic_1d": _number(one_day.get("mean_ic")),
                "rank_ic": _number(headline.get("mean_rank_ic")),
                "sharpe_net": _number(headline.get("sharpe_net")),
                "drawdown_net": _number(headline.get("max_drawdown_net")),
            }
    return horizon, scores


def _read_metrics(run: Path, manifest: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """The scores of a run as from `read_json`; a checksum other than the manifest's is a problem."""
    checksum = _mapping(manifest.get(CHECKSUMS)).get(METRICS)
    if checksum is not None and (problem := changed(run / METRICS, checksum)):
        return None, f"{METRICS} {problem}"
    return read_json(run / METRICS, {"settings": dict, "models": dict})


def _lock_status(path: Path) -> str:
    """`running` if a process holds the folder's lock, else `cut off`."""
    return "running" if is_locked(path / LOCK) else "cut off"


def _read_yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    from gogooku3.config.plain_yaml import check_plain_yaml

    try:
        # Aliases could expand without limit.
        check_plain_yaml(path)
        return _mapping(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError):
        return {}


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    # Excludes NaN, infinities and integers too large for a float.
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else None


def _one_line(value: Any) -> str:
    """Text on one line; empty for anything else."""
    return " ".join(value.split()) if isinstance(value, str) else ""
