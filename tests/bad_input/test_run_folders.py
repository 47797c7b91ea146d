"""Tests damaged, forged and foreign run folders with every command that reads one."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from run_files import change_json
from tests.bad_input.harness import Case, data_set, refuse, table

Damage = Callable[[Path], object]


def write(name: str, content: bytes | str) -> Damage:
    return lambda f: (f / "run" / name).write_bytes(content.encode() if isinstance(content, str) else content)


def remove(*names: str) -> Damage:
    return lambda f: [(f / "run" / name).unlink() for name in names]


def cut(name: str, share: float = 0.5) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "run" / name
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return damage


def changed(name: str, change: Callable[[dict[str, Any]], object]) -> Damage:
    """Change a JSON file and its own checksum."""
    return lambda folder: change_json(folder / "run" / name, change)


def unfinished(*more: Damage) -> Damage:
    """Make the run look interrupted before its scores."""

    def damage(folder: Path) -> None:
        changed("manifest.json", lambda m: m.update(status="interrupted"))(folder)
        for extra in more:
            extra(folder)

    return damage


def predict(*damages: Damage, data: str = "d.parquet", more: Sequence[object] = ()) -> Case | Any:
    def make(folder: Path) -> Sequence[object]:
        for damage in damages:
            damage(folder)
        return "predict", "--run", folder / "run", "--data", folder / data, "--out", folder / "o.csv", *more

    return make


def command(*words: str, damage: Damage = lambda f: None) -> Callable[[Path], Sequence[object]]:
    def make(folder: Path) -> Sequence[object]:
        damage(folder)
        return words

    return make


def data(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Damage:
    return lambda f: change(data_set()).write_parquet(f / "d.parquet")


TREES = "fold_0/lightgbm/lightgbm_5d.txt"
SEAL = "fold_0/atft_gat_fan/fit.json"
MODEL, WEIGHTS = "fold_0/atft_gat_fan/model.json", "fold_0/atft_gat_fan/model.safetensors"


def foreign(folder: Path) -> None:
    """Write the weights of another network."""
    import torch
    from safetensors.torch import save_file

    save_file({"linear.weight": torch.zeros(3, 3)}, folder / "run" / WEIGHTS)


def pickled(folder: Path) -> None:
    """Write a pickle, as `torch.save` does; unpickling would run code."""
    import torch

    torch.save({"linear.weight": torch.zeros(3, 3)}, folder / "run" / WEIGHTS)


def elsewhere(folder: Path) -> None:
    """Replace the weights by a link to another file."""
    (folder / "run" / WEIGHTS).unlink()
    os.symlink("../../../../etc/hostname", folder / "run" / WEIGHTS)


def renamed_importance(folder: Path) -> None:
    """Rename a column of the network's explanations."""
    path = folder / "run" / "fold_0" / "atft_gat_fan" / "explanations" / "features.parquet"
    pl.read_parquet(path).rename({"importance": "i-portance"}).write_parquet(path)


def blocked(path: Path) -> None:
    """Replace a file by a folder."""
    path.unlink()
    path.mkdir()


MODELS = [
    Case("no run", command("predict", "--run", "no", "--data", "d.parquet", "--out", "o.csv"), ("no", "run")),
    Case("a run without folds", predict(lambda f: shutil.rmtree(f / "run" / "fold_0")), ("run", "fold")),
    Case("no weights", predict(remove(WEIGHTS)), ("run", "network")),
    Case("no settings", predict(remove(MODEL)), ("model.json",)),
    Case("empty weights", predict(write(WEIGHTS, b"")), ("fold_0", "copy the folder again")),
    Case("weights cut short", predict(cut(WEIGHTS)), ("fold_0", "copy the folder again")),
    Case("weights of noise", predict(write(WEIGHTS, bytes(range(256)) * 9)), ("fold_0",)),
    Case("weights with a huge header", predict(write(WEIGHTS, b"\xff" * 7 + b"\x7f{}")), ("fold_0",)),
    Case("a pickle for weights", predict(pickled), ("fold_0", "model")),
    Case("another network's weights", predict(foreign), ("fold_0", "does not hold a gogooku3 model")),
    Case("weights from elsewhere", predict(elsewhere), ("folds with a network: none",)),
    Case("settings cut short", predict(cut(MODEL)), ("fold_0",)),
    Case("settings that are a list", predict(write(MODEL, "[]")), ("fold_0",)),
    Case("a wider network", predict(changed(MODEL, lambda m: m["model"].update(hidden_dim=16))), ("fold_0",)),
    Case(
        "a network of another version",
        predict(changed(MODEL, lambda m: m["model"].update(patch_size=4))),
        ("fold_0", "patch_size"),
    ),
    Case("settings without features", predict(changed(MODEL, lambda m: m.pop("features"))), ("features",)),
    Case(
        "features that are a number", predict(changed(MODEL, lambda m: m.update(features=3))), ("features",)
    ),
    Case(
        "a normaliser of nothing",
        predict(changed(MODEL, lambda m: m.update(normalizer={"a": 1}))),
        ("normalizer",),
    ),
    Case(
        "a market state of nothing",
        predict(changed(MODEL, lambda m: m.update(market_state=[1]))),
        ("market_state",),
    ),
    Case("graph rules of nothing", predict(changed(MODEL, lambda m: m.update(graph={}))), ("return_column",)),
    Case("a fold of nothing", predict(changed(MODEL, lambda m: m.update(fold={}))), ("fold",)),
    Case("a tree cut short", predict(cut(TREES)), ("lightgbm_5d.txt",)),
    Case(
        "a tree that is none",
        predict(write(TREES, "tree\n")),
        ("lightgbm_5d.txt",),
    ),
    Case("statistics cut short", predict(cut("fold_0/feature_statistics.parquet")), ("feature_statistics",)),
    Case(
        "the folder is a file",
        lambda f: ("predict", "--run", f / "d.parquet", "--data", f / "d.parquet", "--out", f / "o.csv"),
        ("d.parquet", "not a folder"),
    ),
]

DATA = [
    Case("no data", predict(data="no.parquet"), ("no.parquet",)),
    Case("data of text", predict(lambda f: (f / "d.parquet").write_text("hello")), ("d.parquet", "Parquet")),
    Case("data without rows", predict(data(lambda d: d.clear())), ("no rows",)),
    Case("data without a feature", predict(data(lambda d: d.drop("x"))), ("x",)),
    Case("data with a feature more", predict(data(lambda d: d.with_columns(z=1.0))), ("z",)),
    Case(
        "data with text for a feature",
        predict(data(lambda d: d.with_columns(x=pl.lit("a")))),
        ("x (String)",),
    ),
    Case("data without dates", predict(data(lambda d: d.drop("date"))), ("date",)),
    Case("double rows", predict(data(lambda d: pl.concat([d, d.tail(1)]))), ("repeat",)),
    Case(
        "a newest row without a day",
        predict(
            data(lambda d: pl.concat([d.head(1079), d.tail(1).with_columns(date=pl.lit(None, pl.Date))]))
        ),
        ("1 rows have no date", "row 1,080"),
    ),
    Case("null codes", predict(data(lambda d: d.with_columns(code=pl.lit(None, pl.String)))), ("code",)),
    Case("too few days", predict(data(lambda d: d.head(24))), ("window of 5", "day 2")),
    Case("a day without rows", predict(more=("--date", "2022-01-08")), ("2022-01-08", "2022-01-07")),
    Case("a day before the window", predict(more=("--date", "2022-01-04")), ("2022-01-04", "window")),
    Case("no such horizon", predict(more=("--horizon", "7")), ("7", "1, 5, 10, 20")),
    Case("no such fold", predict(more=("--fold", "9")), ("fold 9",)),
    Case("less than no stocks", predict(more=("--top", "-1")), ("--top", "-1")),
]

RESUME = [
    Case("nothing to resume", command("train", "--resume", "no"), ("no", "config.yaml")),
    Case("resume a file", command("train", "--resume", "d.parquet"), ("d.parquet", "config.yaml")),
    Case(
        "resume with settings", command("train", "--resume", "run", "training.epochs=2"), ("--resume", "drop")
    ),
    Case(
        "a configuration that is none",
        command("train", "--resume", "run", damage=unfinished(write("config.yaml", "- a\n"))),
        ("config.yaml",),
    ),
    Case(
        "a configuration of another version",
        command(
            "train",
            "--resume",
            "run",
            damage=unfinished(
                changed("manifest.json", lambda m: m["versions"].update(gogooku3="9.9.9")),
                lambda f: (f / "run/config.yaml").write_text(
                    (f / "run/config.yaml").read_text() + "patches: {}\n"
                ),
            ),
        ),
        ("gogooku3 9.9.9", "install"),
    ),
    Case(
        "another version",
        command(
            "train",
            "--resume",
            "run",
            damage=unfinished(changed("manifest.json", lambda m: m["versions"].update(torch="1.0"))),
        ),
        ("torch 1.0", "install"),
    ),
    Case(
        "settings changed",
        command(
            "train",
            "--resume",
            "run",
            damage=unfinished(changed("manifest.json", lambda m: m["config"]["training"].update(epochs=7))),
        ),
        ("training.epochs", "7"),
    ),
    Case(
        "a manifest cut short",
        command("train", "--resume", "run", damage=unfinished(cut("manifest.json"))),
        ("manifest.json", "JSON"),
    ),
    Case(
        "a manifest that is a list",
        command("train", "--resume", "run", damage=write("manifest.json", "[]")),
        ("manifest.json", "list"),
    ),
    *(
        Case(
            f"a manifest with {what}",
            command("train", "--resume", "run", damage=unfinished(changed("manifest.json", change))),
            ("manifest.json", *says),
        )
        for what, change, says in (
            ("data of text", lambda m: m.update(data="d.parquet"), ("data",)),
            ("versions of text", lambda m: m.update(versions="1"), ("versions",)),
            ("no threads", lambda m: m.update(threads="many"), ("threads",)),
            ("a configuration of numbers", lambda m: m.update(config=[1]), ("config",)),
        )
    ),
    Case(
        "the data gone",
        command("train", "--resume", "run", damage=unfinished(lambda f: (f / "d.parquet").unlink())),
        ("d.parquet",),
    ),
    Case(
        "other data",
        command("train", "--resume", "run", damage=unfinished(data(lambda d: d.head(1000)))),
        ("d.parquet", "changed"),
    ),
]

OTHERS = [
    Case("audit nothing", command("audit", "no"), ("no", "module:function")),
    Case(
        "audit an empty folder", command("audit", "empty", damage=lambda f: (f / "empty").mkdir()), ("empty",)
    ),
    Case(
        "audit a function of nothing",
        command("audit", "no_such:function", "--prices", "d.parquet"),
        ("no_such",),
    ),
    Case("audit without prices", command("audit", "json:loads"), ("json:loads", "--prices")),
    Case(
        "audit without predictions",
        command("audit", "run", damage=remove("predictions.parquet")),
        ("predictions",),
    ),
    Case(
        "audit changed explanations",
        command("audit", "run", damage=renamed_importance),
        ("features.parquet", "has changed"),
    ),
    Case(
        "audit explanations without checksums",
        command("audit", "run", damage=lambda f: [renamed_importance(f), remove(SEAL)(f)]),
        ("explanations", "do not fit together", "copy the run again"),
    ),
    Case("audit without scores", command("audit", "run", damage=remove("metrics.json")), ("metrics.json",)),
    Case(
        "audit scores of another kind",
        command("audit", "run", damage=write("metrics.json", '{"models": []}')),
        ("metrics.json",),
    ),
    Case(
        "audit without the place for its report",
        command(
            "audit",
            "run",
            damage=lambda f: [(f / "run/report.html").unlink(), (f / "run/report.html").mkdir()],
        ),
        ("report.html", "folder"),
    ),
    Case(
        "audit a function into a file",
        command("audit", "json:loads", "--prices", "d.parquet", "--out", "d.parquet"),
        ("d.parquet", "not a folder"),
    ),
    Case(
        "audit predictions cut short",
        command("audit", "run", damage=cut("predictions.parquet")),
        ("predictions.parquet",),
    ),
    Case(
        "audit a manifest cut short", command("audit", "run", damage=cut("manifest.json")), ("manifest.json",)
    ),
    *(
        Case(
            f"audit a manifest with {what}",
            command("audit", "run", damage=changed("manifest.json", change)),
            ("manifest", *says),
        )
        for what, change, says in (
            ("no data", lambda m: m.update(data={}), ("data",)),
            ("data without a path", lambda m: m["data"].update(path=3), ("data", "path")),
            ("no folds", lambda m: m.update(folds=[]), ("folds",)),
            ("folds of numbers", lambda m: m.update(folds=[3]), ("folds", "null")),
            ("a day that is none", lambda m: m["folds"][0].update(test_end="2022-02-30"), ("0", "test_end")),
            ("drops of numbers", lambda m: m.update(dropped=[3]), ("dropped",)),
        )
    ),
    Case(
        "audit without the data",
        command("audit", "run", damage=lambda f: (f / "d.parquet").unlink()),
        ("d.parquet", "--data"),
    ),
    Case(
        "audit with other data",
        command("audit", "run", "--data", "e.parquet", damage=lambda f: (f / "e.parquet").write_text("e")),
        ("e.parquet",),
    ),
    Case(
        "evaluate predictions cut short",
        command("evaluate", "run", damage=cut("predictions.parquet")),
        ("predictions.parquet",),
    ),
    Case(
        "evaluate with bad settings beside",
        command("evaluate", "run", damage=write("config.yaml", "a: [")),
        ("config.yaml",),
    ),
    Case(
        "evaluate without predictions",
        command("evaluate", "run", damage=remove("predictions.parquet")),
        ("predictions.parquet",),
    ),
    Case("compare nothing", command("runs", "no"), ("no run", "no")),
    Case("runs in a file", command("runs", "--out", "d.parquet"), ("d.parquet",)),
    Case("runs by luck", command("runs", "--sort", "luck"), ("luck", "rank_ic")),
    Case("export nothing", command("export", "--run", "no", "--format", "torch", "--out", "o.pt2"), ("no",)),
    Case(
        "export as nothing",
        command("export", "--run", "run", "--format", "exe", "--out", "o.exe"),
        ("exe", "onnx"),
    ),
    Case(
        "export cut weights",
        command("export", "--run", "run", "--format", "torch", "--out", "o.pt2", damage=cut(WEIGHTS)),
        ("fold_0",),
    ),
]


@pytest.mark.parametrize("number", ["../../outside", "0/../../outside", "/outside", ["outside"], True, -1])
@pytest.mark.parametrize("words", [("audit", "run"), ("train", "--resume", "run")])
def test_a_manifests_fold_cannot_name_a_folder_outside_the_run(
    words: tuple[str, ...], number: object, home: Path
) -> None:
    """A complete fold exists outside, so only the name in the manifest is wrong."""
    shutil.copytree(home / "run" / "fold_0", home / "outside")
    status = "interrupted" if "--resume" in words else "complete"
    changed("manifest.json", lambda m: m.update(status=status))(home)
    number = str(home / "outside") if number == "/outside" else number
    changed("manifest.json", lambda m: m["folds"][0].update(fold=number))(home)
    refuse(Case("", command(*words), ("manifest.json", "folds", json.dumps(number))), home)


@pytest.mark.parametrize("name", ["../../outside", "0/../../outside", ["outside"]])
@pytest.mark.parametrize("words", [("predict", "--data", "d.parquet"), ("export", "--format", "torch")])
def test_a_models_fold_cannot_name_a_folder_outside_the_run(
    words: tuple[str, ...], name: object, home: Path
) -> None:
    shutil.copytree(home / "run" / "fold_0", home / "outside")
    changed(MODEL, lambda m: m["fold"].update(fold=name))(home)
    refuse(Case("", command(*words, "--run", "run", "--out", "o.csv"), ("model.json", "number")), home)


@table(MODELS + DATA + RESUME + OTHERS)
def test_an_unusable_run_is_refused_with_advice(case: Case, home: Path) -> None:
    refuse(case, home)
