"""Tests run summaries: every status, scores, differing settings, damaged files, and earlier trials."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gogooku3.files.locks import exclusive
from gogooku3.runs import listing
from gogooku3.runs.listing import RunSummary, differing_settings, earlier_sharpes, find_runs, sorted_by


def block(ic: float | None, rank_ic: float, sharpe: float, drawdown: float) -> dict[str, Any]:
    return {
        "pooled": {
            "mean_ic": ic,
            "mean_rank_ic": rank_ic,
            "sharpe_net": sharpe,
            "max_drawdown_net": drawdown,
        }
    }


def metrics(rank_ic: float = 0.04, drawdown: float = 0.2) -> dict[str, Any]:
    horizons = {"1": block(0.01, 0.5, 9.0, 0.9), "5": block(0.3, rank_ic, 1.5, drawdown)}
    return {
        "settings": {"headline_horizon": 5},
        "models": {
            "lightgbm": {"is_oracle": False, "horizons": horizons},
            "oracle": {"is_oracle": True, "horizons": horizons},
        },
    }


def write_run(folder: Path, **files: Any) -> Path:
    """Write a run's folder; files are named by their stems, text is written unchanged."""
    folder.mkdir(parents=True)
    for stem, content in files.items():
        name = "config.yaml" if stem == "config" else f"{stem}.json"
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def manifest(status: str = "complete", **more: Any) -> dict[str, Any]:
    config = {"training": {"epochs": 3, "seeds": [0, 1]}, "split": {"n_splits": 2}}
    data = {"path": "data/mine.parquet", "fingerprint": "abc"}
    return {"status": status, "created": "2026-01-01T00:00:00+00:00", "data": data, "config": config, **more}


def test_a_complete_run_has_headline_scores_without_the_oracle(tmp_path: Path) -> None:
    files = {"manifest": manifest(), "metrics": metrics(), "audit": {"verdict": "clean"}}
    run = RunSummary.read(write_run(tmp_path / "train/20260101-000000", **files))
    assert (run.name, run.status, run.note, run.audit) == ("train/20260101-000000", "complete", "", "clean")
    expected = {"ic_1d": 0.01, "rank_ic": 0.04, "sharpe_net": 1.5, "drawdown_net": 0.2}
    assert run.scores == {"lightgbm": expected} and run.headline_horizon == 5
    assert run.settings == {"training.epochs": 3, "training.seeds": [0, 1], "split.n_splits": 2}


def test_a_run_without_the_one_day_horizon_has_no_one_day_ic(tmp_path: Path) -> None:
    scores = metrics()
    del scores["models"]["lightgbm"]["horizons"]["1"]
    run = RunSummary.read(write_run(tmp_path / "a/b", manifest=manifest(), metrics=scores))
    assert run.scores["lightgbm"]["ic_1d"] is None and run.scores["lightgbm"]["rank_ic"] == 0.04
    assert run.best("ic_1d") is None


def test_a_run_is_running_while_its_lock_is_held(tmp_path: Path) -> None:
    place = write_run(tmp_path / "a/b", manifest=manifest("running"), config="x: 1")
    assert RunSummary.read(place).status == "cut off"
    with exclusive(place / listing.LOCK, "taken"):
        assert RunSummary.read(place).status == "running"
    assert RunSummary.read(place).status == "cut off"
    (place / "manifest.json").unlink()
    with exclusive(place / listing.LOCK, "taken"):
        assert RunSummary.read(place).status == "running"


@pytest.mark.parametrize(
    ("files", "status", "note"),
    [
        ({"manifest": manifest("failed", error="DataError: x\ny")}, "failed", "DataError: x y"),
        ({"manifest": manifest("interrupted")}, "interrupted", ""),
        ({"config": "a: 1"}, "cut off", "no manifest.json"),
        ({"manifest": '{"status": "comp'}, "broken", "manifest.json is not JSON"),
        ({"manifest": "[1]"}, "broken", "manifest.json holds list, not an object"),
        ({"manifest": "{}"}, "broken", "no status in manifest.json"),
        ({"manifest": manifest()}, "broken", "no scores in metrics.json"),
        ({"manifest": manifest(), "metrics": "{"}, "broken", "metrics.json is not JSON"),
        (
            {"manifest": manifest(), "metrics": metrics(), "audit": "{"},
            "complete",
            "audit.json is not JSON",
        ),
    ],
)
def test_the_note_describes_the_problem(
    files: dict[str, Any], status: str, note: str, tmp_path: Path
) -> None:
    run = RunSummary.read(write_run(tmp_path / "a/b", **files))
    assert (run.status, run.note) == (status, note)


def test_a_manifest_that_is_a_folder_breaks_only_its_own_run(tmp_path: Path) -> None:
    (tmp_path / "a/b/manifest.json").mkdir(parents=True)
    write_run(tmp_path / "a/c", manifest=manifest(), metrics=metrics())
    assert [(run.name, run.status) for run in find_runs(tmp_path)] == [
        ("a/c", "complete"),
        ("a/b", "broken"),
    ]


def test_runs_are_found_newest_first_and_other_folders_are_ignored(tmp_path: Path) -> None:
    for name in ("b/20260101-000000", "a/20260103-000000", "a/20260102-000000"):
        write_run(tmp_path / name, manifest=manifest("interrupted"))
    (tmp_path / "a/notes").mkdir()
    (tmp_path / "a/20260104-000000").write_text("a file")
    stamps = [run.name for run in find_runs(tmp_path)]
    assert stamps == ["a/20260103-000000", "a/20260102-000000", "b/20260101-000000"]
    assert find_runs(tmp_path / "nowhere") == []


def test_the_best_run_comes_first_and_runs_without_a_score_last(tmp_path: Path) -> None:
    write_run(tmp_path / "a/1", manifest=manifest(), metrics=metrics(rank_ic=0.01, drawdown=0.1))
    write_run(tmp_path / "a/2", manifest=manifest(), metrics=metrics(rank_ic=0.03, drawdown=0.3))
    write_run(tmp_path / "a/3", manifest=manifest("failed"))
    found = find_runs(tmp_path)
    assert [run.path.name for run in sorted_by(found, "rank_ic")] == ["2", "1", "3"]
    assert [run.path.name for run in sorted_by(found, "drawdown_net")] == ["1", "2", "3"]


def test_settings_that_differ_or_are_missing_are_listed(tmp_path: Path) -> None:
    other = {"training": {"epochs": 5, "seeds": [0, 1]}, "split": {"n_splits": 2}, "graph": {"enabled": True}}
    one = RunSummary.read(write_run(tmp_path / "a/1", manifest=manifest()))
    two = RunSummary.read(write_run(tmp_path / "a/2", manifest=manifest(config=other)))
    broken = RunSummary.read(write_run(tmp_path / "a/3", manifest="{"))
    assert differing_settings([one, two]) == {"graph.enabled": [None, True], "training.epochs": [3, 5]}
    assert differing_settings([one, one]) == {} == differing_settings([one, broken]) == differing_settings([])
    assert differing_settings([one, broken, two])["training.epochs"] == [3, None, 5]


def test_without_a_manifest_the_settings_come_from_the_configuration(tmp_path: Path) -> None:
    text = "training:\n  epochs: 7\n"
    assert RunSummary.read(write_run(tmp_path / "a/1", config=text)).settings == {"training.epochs": 7}
    assert RunSummary.read(write_run(tmp_path / "a/2", config="a: [")).settings == {}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def mangled(whole: Any) -> st.SearchStrategy[Any]:
    """A JSON value with some parts replaced at random."""
    if not isinstance(whole, dict):
        return st.just(whole) | anything
    return st.fixed_dictionaries({key: mangled(value) for key, value in whole.items()}) | anything


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(about=mangled(manifest()), scores=mangled(metrics()), audit=mangled({"verdict": "clean"}))
def test_reading_never_fails(
    about: Any, scores: Any, audit: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("runs") / "a/b"
    run = RunSummary.read(write_run(place, manifest=about, metrics=scores, audit=audit))
    assert run.status
    assert run.status != "complete" or run.scores
    json.dumps(run.to_dict())
    sorted_by([run, run], "sharpe_net")
    differing_settings([run, run])


def write_trial(folder: Path, sharpes: dict[str, float | None], **changes: Any) -> Path:
    models = {
        name: {"is_oracle": name == "oracle", "pooled_sharpe_net": value} for name, value in sharpes.items()
    }
    scores = {"settings": {"headline_horizon": 5, "periods_per_year": 252}, "models": models}
    return write_run(folder, manifest=manifest() | changes, metrics=scores)


def test_every_model_of_every_complete_run_on_the_same_data_is_a_trial(tmp_path: Path) -> None:
    write_trial(tmp_path / "a/1", {"net": 1.0, "trees": 0.5, "oracle": 9.0, "unscored": None})
    write_trial(tmp_path / "b/1", {"net": -2.0, "trees": 0.5})
    sharpes = earlier_sharpes(tmp_path, "abc")
    assert sharpes == pytest.approx([each / math.sqrt(252) for each in (-2.0, 0.5, 1.0)])


def test_other_data_other_horizons_and_unfinished_runs_are_no_trials(tmp_path: Path) -> None:
    write_trial(tmp_path / "a/1", {"net": 1.0}, data={"fingerprint": "other"})
    write_trial(tmp_path / "a/2", {"net": 1.0}, status="failed")
    write_trial(tmp_path / "a/3", {"net": 1.0}, data=None)
    write_trial(tmp_path / "a/4", {"net": 1.0})
    assert earlier_sharpes(tmp_path, "abc", headline_horizon=1) == []
    (tmp_path / "a/4/metrics.json").write_text("{broken")
    assert earlier_sharpes(tmp_path, "abc") == []
    assert earlier_sharpes(tmp_path / "nowhere", "abc") == []


@pytest.mark.parametrize("settings", [None, [], {"periods_per_year": "x"}, {"periods_per_year": 0}])
@pytest.mark.parametrize("models", [[], {"net": 3}, {"net": {"pooled_sharpe_net": "1.5"}}, None])
def test_a_damaged_neighbour_run_is_left_out_of_the_trials(
    settings: object, models: object, tmp_path: Path
) -> None:
    manifest = {"status": "complete", "data": {"fingerprint": "abc"}}
    good = {"models": {"net": {"pooled_sharpe_net": 2.0}}, "settings": {"periods_per_year": 4}}
    write_run(tmp_path / "x" / "1", manifest=manifest, metrics=good)
    write_run(tmp_path / "x" / "2", manifest=manifest, metrics={"models": models, "settings": settings})
    write_run(tmp_path / "x" / "3", manifest={"status": "complete", "data": [1]}, metrics=good)
    assert earlier_sharpes(tmp_path, "abc") == [1.0]
