"""No configuration, and no file that it names, expands without limit or copies the environment."""

import json
from pathlib import Path

import pytest
from tests.bad_input.harness import Case, refuse, run

from gogooku3.config import load_config
from gogooku3.errors import ConfigError

BOMB = "a: &a [1, 1]\n" + "".join(
    f"{n}: &{n} [*{p}, *{p}]\n" for p, n in zip("abcdefg", "bcdefgh", strict=True)
)
SECRET = "model: {name: '${oc.env:SECRET}'}\n"

SIBLINGS = {
    "a function": ("defaults: [other]\n", "other.yaml", SECRET, "calls a function"),
    "a function among defaults": (
        "defaults: [other]\n",
        "other.yaml",
        "defaults: ['${oc.env:SECRET}']\n",
        "calls a function",
    ),
    "a computed name": ("defaults: [{model: '${model.name}'}]\n", "other.yaml", "", "write the name itself"),
    "a bomb": ("defaults: [other]\n", "other.yaml", BOMB, "alias"),
    "a bomb in a group": ("defaults: [{model: big}]\n", "model/big.yaml", BOMB, "alias"),
    "a bomb in another package": (
        "defaults: [{optional model@loss: big}]\n",
        "model/big.yaml",
        BOMB,
        "alias",
    ),
    "a bomb in a list": ("defaults: [{model: [big, other]}]\n", "model/big.yaml", BOMB, "alias"),
    "a tag": ("defaults: [/sub/other]\n", "sub/other.yaml", "a: !!python/name:os.system ''\n", "tag"),
}


@pytest.mark.parametrize("kind", SIBLINGS)
def test_a_file_that_a_configuration_names_is_checked_too(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    main, name, content, named = SIBLINGS[kind]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    (tmp_path / "mine.yaml").write_text(main)
    with pytest.raises(ConfigError, match=named) as error:
        load_config(tmp_path / "mine.yaml")
    assert "hunter2" not in str(error.value) and "\n" not in str(error.value)


def test_files_that_name_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("defaults: [b]\n")
    (tmp_path / "b.yaml").write_text("defaults: [a]\n")
    with pytest.raises(ConfigError):
        load_config(tmp_path / "a.yaml")


@pytest.mark.parametrize("content", [BOMB, SECRET], ids=["a bomb", "a function"])
def test_a_bomb_in_a_runs_configuration_is_refused(content: str, home: Path) -> None:
    (home / "run" / "manifest.json").unlink()
    (home / "run" / "config.yaml").write_text(content)
    for words in (("evaluate", "run"), ("train", "--resume", "run")):
        refuse(Case("", lambda folder, words=words: words, ("config.yaml", "line")), home)
    (home / "runs" / "x").mkdir(parents=True)
    (home / "run").rename(home / "runs" / "x" / "1")
    listed = run(("runs", "x/1", "--out", "runs", "--json"), home)
    assert listed.code == 0 and json.loads(listed.out)["settings"] == {}
