"""Tests the benchmarks' harness: ratios, paired runs, processes and their memory; asserts no times."""

import json
import runpy
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import harness
import run_all
from harness import Figure, in_turns, median_ratio, run_process, table

Script = Callable[..., list[Figure]]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Script:
    """Function that runs a benchmark in this process, which has imported torch, and returns its figures."""

    def run(name: str, *options: str) -> list[Figure]:
        path = str(run_all.HERE / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *options, "--json"])
        runpy.run_path(path, run_name="__main__")
        return harness.from_json(json.loads(capsys.readouterr().out.splitlines()[-1]))

    return run


def test_a_ratio_above_one_is_better_for_either_direction() -> None:
    assert Figure("a", 6.0, "samples/s", "peer", 2.0, better="higher").ratio == 3.0
    assert Figure("a", 6.0, "s", "limit", 3.0, better="lower").ratio == 0.5
    assert Figure("a", None, "s", "limit", 3.0).ratio is None
    assert Figure("a", 6.0, "s").ratio is None


def test_a_ratio_equal_to_the_bar_passes() -> None:
    assert Figure("a", 3.0, "s", "limit", 3.0).passed is True
    assert Figure("a", 3.0, "s", "peer", 3.0, bar=1.1).passed is False
    assert Figure("a", 3.0, "s", "peer", 3.0, bar=None).passed is None
    assert Figure("a", None, "s", "peer", 3.0).passed is None


def test_arms_take_turns_in_alternating_order() -> None:
    order: list[str] = []
    results = in_turns({name: lambda name=name: order.append(name) or name for name in "ab"}, rounds=3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert results == {"a": ["a"] * 3, "b": ["b"] * 3}


def test_ratios_are_taken_round_by_round() -> None:
    assert median_ratio([1.0, 100.0, 3.0], [1.0, 50.0, 1.0]) == 2.0


def test_a_process_reports_its_result_and_its_own_memory() -> None:
    small = run_process([sys.executable, "-c", "print('hello'); print('{\"a\": 1}')"])
    large = run_process(
        [sys.executable, "-c", "import time; x = bytearray(100_000_000); time.sleep(0.1); print(x[-1])"]
    )
    assert small.result == {"a": 1}
    assert 80 < large.peak_mb - small.peak_mb < 130
    assert small.processor_s > 0 and small.wall_s > 0


def test_the_error_of_a_failed_process_has_its_message() -> None:
    with pytest.raises(RuntimeError, match="bad option"):
        run_process([sys.executable, "-c", "raise SystemExit('bad option')"])


def test_the_table_shows_bars_and_missing_measurements() -> None:
    text = table(
        [
            Figure("loader", 2000.0, "samples/s", "peer", 1000.0, "higher", bar=60, peak_mb=12.3),
            Figure("gpu", None, "samples/s", "peer", 1000.0, "higher", note="no GPU"),
        ]
    )
    assert "| loader | 2,000 samples/s " in text and "| 2x " in text and "60x: no" in text and "12 MB" in text
    assert "| gpu    | not measured " in text and "1x: ?" in text
    assert text.endswith("gpu: no GPU")


def test_figures_are_restored_from_json() -> None:
    figures = [Figure("a", 1.0, "s", "limit", 2.0, peak_mb=5.0, note="n"), Figure("b", None, "s", bar=None)]
    content = json.loads(harness.as_json(figures))
    assert harness.from_json(content) == figures
    assert content["figures"][0]["ratio"] == 2.0 and content["figures"][0]["passed"] is True
    assert "cores" in content["hardware"]


def test_an_arm_prints_only_its_result(capsys: pytest.CaptureFixture[str]) -> None:
    def arm(given: Namespace) -> dict[str, int]:
        return {"rounds": given.rounds}

    harness.main(lambda given: [], "doc", {"ours": arm}, ["--arm", "ours", "--rounds", "2"])
    assert json.loads(capsys.readouterr().out) == {"rounds": 2}


def test_a_failed_script_becomes_a_row_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loader.py").write_text("raise SystemExit('it broke')")
    monkeypatch.setattr(run_all, "HERE", tmp_path)
    assert run_all.main([]) == 1
    assert "loader.py failed: it broke" in capsys.readouterr().out


def test_the_start_up_benchmark_runs() -> None:
    run = run_process(
        [sys.executable, str(run_all.HERE / "start_up.py"), "--tiny", "--rounds", "1", "--json"]
    )
    assert [figure.name for figure in harness.from_json(run.result)] == [
        "import gogooku3",
        "gogooku3 --help",
    ]


def test_the_features_benchmark_runs() -> None:
    run = run_process(
        [sys.executable, str(run_all.HERE / "features.py"), "--tiny", "--rounds", "1", "--json"]
    )
    whole, memory, _, features, file, folder = harness.from_json(run.result)
    assert whole.name == "build, 320 rows" and whole.passed and memory.passed
    assert features.ratio is not None
    assert (file.name, folder.name) == ("one day appended to a file", "one day appended to a folder")
    assert all(day.ratio is not None and day.ratio > 1 for day in (file, folder))


def test_the_gpu_benchmark_needs_a_gpu_unless_tiny(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = script("gpu_training", "--tiny")
    assert (
        [figure.unit for figure in figures] == ["s", "s", "GB", "of the loss"]
        and figures[0].ours
        and figures[0].ours > 0
    )
    assert "samples/s" in figures[0].note and figures[0].ratio is None
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (missing,) = script("gpu_training")
    assert missing.ours is None and "no GPU here" in missing.note


@pytest.mark.parametrize(("name", "rows"), [("training_step", 3), ("loader", 5)])
def test_a_tiny_training_benchmark_runs_without_peers(name: str, rows: int, script: Script) -> None:
    figures = script(name, "--tiny", "--rounds", "1", "--batch", "8")
    assert len(figures) == rows and all(figure.ours and figure.ours > 0 for figure in figures)
    assert figures[0].ratio is not None and figures[0].peak_mb
    assert any("left out of a tiny run" in figure.note for figure in figures)
    if name == "training_step":
        assert "LSTM" in figures[0].note and "graph" in figures[0].note


def test_the_prediction_benchmark_runs_and_reports_its_parts(
    script: Script, trained_run: Path, small_dataset: Path
) -> None:
    options = ("--run", str(trained_run), "--data", str(small_dataset))
    whole, network = script("prediction", "--rounds", "1", *options)
    assert whole.theirs == 4.0 and whole.ours and "reasons" in whole.note and "drift" in whole.note
    assert network.ours and network.theirs and network.note.startswith(("fp32", "bf16"))
