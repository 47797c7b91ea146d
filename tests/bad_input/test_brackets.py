"""Every command works in folders whose names look like patterns."""

from pathlib import Path

import polars as pl
from run_files import change_json
from tests.bad_input.harness import TINY, data_set, run


def test_a_run_below_a_folder_named_a_1_in_brackets_is_whole(tmp_path: Path) -> None:
    home = tmp_path / "a[1]" / "b*"
    home.mkdir(parents=True)
    data = data_set()
    data.write_parquet(home / "d[2].parquet")
    oracle = data.select("date", "code", oracle_5d=pl.col("target_5d"))
    oracle.write_parquet(home / "d[2].oracle.parquet")

    def command(*arguments: object) -> str:
        outcome = run(arguments, home)
        assert outcome.code == 0, outcome.err
        return outcome.out

    command("train", "--data", home / "d[2].parquet", "--out", home / "r[3]", *TINY)
    (folder,) = (home / "r[3]" / "train").iterdir()
    assert (folder / "graphs.parquet").is_file()
    change_json(folder / "manifest.json", lambda manifest: manifest.update(status="interrupted"))
    command("train", "--resume", folder)
    command("evaluate", folder)
    command("audit", folder, "--days", 1)
    command("predict", "--run", folder, "--data", home / "d[2].parquet", "--out", home / "o[4].csv")
    assert "complete" in command("runs", "--out", home / "r[3]")
    assert "oracle" in pl.read_parquet(folder / "predictions.parquet", glob=False)["model"]
