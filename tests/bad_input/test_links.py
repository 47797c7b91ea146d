"""Nothing in a run's folder leads a write elsewhere, or makes a command wait."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from run_files import change_json
from tests.bad_input.harness import Case, contents, refuse

from gogooku3.errors import DataError
from gogooku3.runs.folder import RunFolder


def _replace(name: str) -> Callable[[Path], None]:
    """Move a file or folder of the run outside it, and link to it."""

    def damage(home: Path) -> None:
        (home / "run" / name).rename(home / "outside" / Path(name).name)
        (home / "run" / name).symlink_to(home / "outside" / Path(name).name)

    return damage


def _link(name: str) -> Callable[[Path], None]:
    return lambda home: (home / "run" / name).symlink_to(home / "outside" / "precious")


LINKS = {
    "a fold": _replace("fold_0"),
    "a model": _replace("fold_0/atft_gat_fan"),
    "predictions": _replace("predictions.parquet"),
    "a lock": lambda home: [(home / "run/.lock").unlink(missing_ok=True), _link(".lock")(home)],
    "a note of the holder": _link(".lock.holder"),
    "a stored panel": _link("panel.f32"),
    "checkpoints": _link("fold_0/atft_gat_fan/checkpoints"),
    "a link to nowhere": lambda home: (home / "run" / "history.csv").symlink_to(home / "outside" / "new"),
}


@pytest.mark.parametrize("words", [("train", "--resume", "run"), ("audit", "run")], ids=["resume", "audit"])
@pytest.mark.parametrize("kind", LINKS)
def test_a_link_out_of_a_run_is_refused_and_nothing_outside_changes(
    kind: str, words: tuple[str, ...], home: Path
) -> None:
    (home / "outside").mkdir()
    (home / "outside" / "precious").write_text("precious")
    status = "complete" if words[0] == "audit" else "interrupted"
    change_json(home / "run" / "manifest.json", lambda manifest: manifest.update(status=status))
    LINKS[kind](home)
    before = contents(home / "outside")
    refuse(Case(kind, lambda folder: words, ("is a link",)), home)
    assert contents(home / "outside") == before


@pytest.mark.parametrize("name", [".lock", ".lock.holder", "panel.f32"])
def test_a_pipe_in_a_run_is_refused_at_once(name: str, home: Path) -> None:
    change_json(home / "run" / "manifest.json", lambda manifest: manifest.update(status="interrupted"))
    (home / "run" / name).unlink(missing_ok=True)
    os.mkfifo(home / "run" / name)
    refuse(Case(name, lambda folder: ("train", "--resume", "run"), (name, "special file")), home)


def test_a_run_writes_only_below_its_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs", "x")
    for name in ("../a.txt", "/tmp/a.txt", "fold_0/../../a.txt"):
        with pytest.raises(DataError, match="is outside the run"):
            folder.write_text(name, "x")
