"""Checkpoints come back to the bit; a damaged one is noticed and the one before is used."""

from pathlib import Path

import pytest
import torch

from gogooku3.training.checkpoint_store import CheckpointStore


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, said: list[str]) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", said.append)


def save(store: CheckpointStore, number: int) -> None:
    store.save({"weight": torch.full((3,), float(number))}, {"epoch": number, "score": 0.1 + 0.2})


def test_the_newest_comes_back_to_the_bit_and_two_are_kept(store: CheckpointStore) -> None:
    assert store.newest() is None
    for number in (1, 2, 3):
        save(store, number)
    found = store.newest()
    assert found is not None
    assert found[0]["weight"].tolist() == [3.0, 3.0, 3.0]
    assert found[1] == {"epoch": 3, "score": 0.1 + 0.2}
    names = sorted(path.name for path in store.folder.iterdir())
    assert names == ["000002.json", "000002.safetensors", "000003.json", "000003.safetensors"]
    store.clear()
    assert not store.folder.exists()


@pytest.mark.parametrize("name", ["000002.json", "000002.safetensors"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied"])
def test_a_damaged_checkpoint_is_said_and_the_one_before_is_used(
    name: str, damage: str, store: CheckpointStore, said: list[str]
) -> None:
    save(store, 1)
    save(store, 2)
    path = store.folder / name
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 1
    path.write_bytes({"flipped": bytes(content), "cut": bytes(content[:middle]), "emptied": b""}[damage])
    found = store.newest()
    assert found is not None and found[1]["epoch"] == 1
    assert len(said) == 1 and "000002.json: this checkpoint is damaged" in said[0]
    save(store, 3)
    assert store.newest() is not None and len(said) == 1


def test_tensors_without_their_json_are_no_checkpoint(store: CheckpointStore, said: list[str]) -> None:
    save(store, 1)
    save(store, 2)
    (store.folder / "000002.json").unlink()
    found = store.newest()
    assert found is not None and found[1]["epoch"] == 1
    assert not said
