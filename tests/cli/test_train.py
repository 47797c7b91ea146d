"""`gogooku3 train`, `gogooku3 demo` and the old scripts, up to the pipeline."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gogooku3.pipeline.input_checks
import gogooku3.pipeline.run
from gogooku3.cli import demo, train
from gogooku3.cli.demo_market import DEMO_DATASET
from gogooku3.cli.main import main
from gogooku3.config import RunConfig, load_config
from gogooku3.settings import settings as global_settings

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("train_atft", "integrated_ml_training_pipeline", "run_safe_training")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """Settings of the runs that were started, from an empty working directory."""
    started: list[dict[str, Any]] = []

    def start_run(config: RunConfig, experiment: str, runs_dir: Path, verbose: bool) -> dict[str, Any]:
        started.append({"config": config, "experiment": experiment, "runs_dir": runs_dir, "verbose": verbose})
        return {
            "total_duration": 61.2,
            "peak_memory_gb": 0.9,
            "run_dir": "r",
            "report_path": "r/report.html",
            "scores": {},
        }

    monkeypatch.setattr(gogooku3.pipeline.run, "start_run", start_run)
    monkeypatch.setattr(gogooku3.pipeline.input_checks, "check_inputs", lambda config: config)
    monkeypatch.setattr(train, "print_headline", lambda scores: None)
    monkeypatch.setattr(train, "ensure_demo_dataset", lambda path: pytest.fail(f"made {path}"))
    monkeypatch.chdir(tmp_path)
    return started


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 0


def test_without_options_the_shipped_configuration_is_trained(calls: list[dict[str, Any]]) -> None:
    run("train")
    (call,) = calls
    assert call["config"] == RunConfig()
    assert call["config"].dataset.data_path == Path("data/raw/large_scale/ml_dataset_full.parquet")
    assert call["experiment"] == "train"
    assert call["runs_dir"] == global_settings.runs_dir
    split = call["config"].split
    assert (split.n_splits, split.embargo_days, call["config"].performance.memory_limit_gb) == (5, 20, 8.0)


def test_every_option_changes_its_setting(calls: list[dict[str, Any]]) -> None:
    options = ["--config", "configs/model/atft/train.yaml", "--data", "my data,x=1.parquet", "--epochs", "2"]
    options += ["--batch-size", "256", "--memory-limit", "6", "--gradient-checkpointing", "--n-splits", "3"]
    options += ["--experiment", "mine", "--out", "elsewhere", "--verbose"]
    run("train", *options, "model.hidden_dim=64", "split.embargo_days=30")
    (call,) = calls
    config: RunConfig = call["config"]
    assert call["config"].dataset.data_path == config.dataset.data_path == Path("my data,x=1.parquet")
    assert (config.training.epochs, config.training.batch_size) == (2, 256)
    assert config.training.gradient_checkpointing is True
    assert config.model.hidden_dim == 64
    split = call["config"].split
    assert (split.n_splits, split.embargo_days, call["config"].performance.memory_limit_gb) == (3, 30, 6.0)
    assert (call["experiment"], call["runs_dir"], call["verbose"]) == ("mine", Path("elsewhere"), True)


def test_the_path_of_the_report_is_printed_last(
    calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    run("train")
    assert capsys.readouterr().out == "61 s, peak memory 0.9 GB\nrun:    r\nreport: r/report.html\n"


def test_the_quickstart_makes_a_missing_market(
    calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    monkeypatch.setattr(train, "ensure_demo_dataset", made.append)
    run("train", "--config", "model/atft/quickstart")
    assert made == [DEMO_DATASET]
    assert calls[0]["config"].dataset.data_path == DEMO_DATASET
    assert calls[0]["experiment"] == "quickstart"


def test_the_quickstart_makes_no_market_for_another_data_set(calls: list[dict[str, Any]]) -> None:
    run("train", "--config", "model/atft/quickstart", "--data", "mine.parquet")
    run("train", "--config", "model/atft/quickstart", "dataset.data_path=mine.parquet")
    assert [call["config"].dataset.data_path for call in calls] == [Path("mine.parquet")] * 2


def test_the_demo_trains_the_quickstart_on_the_market_in_the_data_folder(
    calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo.settings, "data_dir", tmp_path / "big disk")
    monkeypatch.setattr(demo, "ensure_demo_dataset", lambda path: path)
    run("demo")
    (call,) = calls
    assert call["config"].dataset.data_path == tmp_path / "big disk" / "demo" / "ml_dataset_full.parquet"
    expected = load_config(
        "model/atft/quickstart", values={"dataset.data_path": call["config"].dataset.data_path}
    )
    assert call["config"] == expected


def script(name: str, *arguments: str, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *flags, str(ROOT / "scripts" / f"{name}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_old_script_raises_a_deprecation_warning(name: str) -> None:
    done = script(name, flags=("-W", "error::DeprecationWarning"))
    assert done.returncode == 1
    assert f"DeprecationWarning: scripts/{name}.py is deprecated; use `gogooku3 train" in done.stderr


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("train_atft", ["--config-path", "configs/model/atft", "--config-name", "train"]),
        ("integrated_ml_training_pipeline", ["--verbose", "--n-splits", "5"]),
        ("run_safe_training", ["--memory-limit", "8", "--n-splits", "5"]),
    ],
)
def test_an_old_script_warns_and_runs_the_new_command(name: str, flags: list[str]) -> None:
    done = script(name, *flags, "--data", "none.parquet", "model.hiden_dim=1")
    assert done.returncode == 2
    assert "DeprecationWarning" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: unknown setting 'model.hiden_dim'")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Standard error of a command that exits with 2."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    return capsys.readouterr().err


def test_resuming_a_complete_run_prints_the_path_of_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.json").write_text('{"status": "complete"}')
    run("train", "--resume", str(tmp_path))
    assert f"is complete; its report: {tmp_path / 'report.html'}" in capsys.readouterr().out


def test_resuming_takes_no_other_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for other in ("model.hidden_dim=8", "--epochs=3", "--experiment=x"):
        message = refused(capsys, "train", "--resume", str(tmp_path), other)
        assert message.startswith("error: --resume uses the run's own settings")


def test_resuming_another_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, "train", "--resume", str(tmp_path / "none"))
    assert "is not the folder of a run: expected config.yaml in it, found nothing" in message


def test_a_file_as_the_folder_of_runs_is_refused(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("x")
    message = refused(
        capsys,
        "train",
        "--data",
        str(small_dataset),
        "--out",
        str(tmp_path / "taken"),
        "split.min_train_days=150",
    )
    assert message.count("\n") == 1 and "a part of its path is a file, not a folder" in message
