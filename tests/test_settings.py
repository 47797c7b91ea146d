"""Paths from the environment, from `.env`, and by default."""

from pathlib import Path

import pytest

import gogooku3
from gogooku3 import settings
from gogooku3.settings import Settings, load_settings, shipped_configs


def test_gogooku3_settings_is_the_object_not_the_module() -> None:
    assert isinstance(settings, Settings)
    assert gogooku3.settings is settings


def test_defaults_are_in_the_working_directory(tmp_path: Path) -> None:
    found = load_settings({}, tmp_path)
    assert found == Settings()
    assert found.data_dir / "raw/large_scale" == Path("data/raw/large_scale")
    assert found.configs_dir == shipped_configs()


def test_the_environment_overrides_the_dotenv_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GOGOOKU3_DATA_DIR=/from/file\nGOGOOKU3_RUNS_DIR='/runs of/file'\n")
    found = load_settings({"GOGOOKU3_DATA_DIR": "/from/environment"}, tmp_path)
    assert found.data_dir == Path("/from/environment")
    assert found.runs_dir == Path("/runs of/file")


def test_an_empty_variable_counts_as_absent(tmp_path: Path) -> None:
    assert load_settings({"GOGOOKU3_DATA_DIR": ""}, tmp_path).data_dir == Path("data")


def test_the_cache_is_in_the_data_folder_by_default(tmp_path: Path) -> None:
    assert load_settings({"GOGOOKU3_DATA_DIR": "/big"}, tmp_path).cache_dir == Path("/big/cache")
    assert load_settings({"GOGOOKU3_CACHE_DIR": "/fast"}, tmp_path).cache_dir == Path("/fast")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings({"GOGOOKU3_RUNS_DIR": "~/runs"}, tmp_path).runs_dir == tmp_path / "runs"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_dotenv_may_be_utf_8_or_utf_16(tmp_path: Path, encoding: str) -> None:
    (tmp_path / ".env").write_text("GOGOOKU3_DATA_DIR=/big/データ\n", encoding=encoding)
    assert load_settings({}, tmp_path).data_dir == Path("/big/データ")


def test_a_bad_line_of_a_dotenv_does_not_affect_the_others(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\x81\nGOGOOKU3_DATA_DIR=/big\n")
    assert load_settings({}, tmp_path).data_dir == Path("/big")
