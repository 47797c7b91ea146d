"""Runs are counted by their data; what isn't whole, or is another's, is not."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from gogooku3.runs.trials import earlier_sharpes


def write_run(folder: Path, sharpes: dict[str, float | None], **manifest: Any) -> None:
    """A run folder with nothing but what is counted."""
    folder.mkdir(parents=True)
    about = {"status": "complete", "data": {"fingerprint": "abc"}} | manifest
    (folder / "manifest.json").write_text(json.dumps(about))
    models = {
        name: {"is_oracle": name == "oracle", "pooled_sharpe_net": value} for name, value in sharpes.items()
    }
    scores = {"settings": {"headline_horizon": 5, "periods_per_year": 252}, "models": models}
    (folder / "metrics.json").write_text(json.dumps(scores))


def test_every_model_of_every_complete_run_on_the_same_data_is_a_trial(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "1", {"net": 1.0, "trees": 0.5, "oracle": 9.0, "mute": None})
    write_run(tmp_path / "b" / "1", {"net": -2.0, "trees": 0.5})
    found = earlier_sharpes(tmp_path, "abc")
    assert found == pytest.approx([each / math.sqrt(252) for each in (-2.0, 0.5, 1.0)])


def test_other_data_other_horizons_and_unfinished_runs_are_left_out(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "1", {"net": 1.0}, data={"fingerprint": "other"})
    write_run(tmp_path / "a" / "2", {"net": 1.0}, status="failed")
    write_run(tmp_path / "a" / "3", {"net": 1.0}, data=None)
    write_run(tmp_path / "a" / "4", {"net": 1.0})
    assert earlier_sharpes(tmp_path, "abc", headline_horizon=1) == []
    (tmp_path / "a" / "4" / "metrics.json").write_text("{broken")
    assert earlier_sharpes(tmp_path, "abc") == []
    assert earlier_sharpes(tmp_path / "nowhere", "abc") == []
