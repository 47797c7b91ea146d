"""LightGBM's trees come back as they were written, or not at all: its own parser dies of a text cut short."""

from pathlib import Path

import lightgbm
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gogooku3.errors import DataError
from gogooku3.models.saved_trees import load_trees, save_trees

X = np.random.default_rng(0).normal(size=(200, 3))


@pytest.fixture(scope="module")
def booster() -> lightgbm.Booster:
    options = {"num_leaves": 4, "min_data_in_leaf": 5, "verbosity": -1, "num_threads": 1}
    return lightgbm.train(options, lightgbm.Dataset(X, X[:, 0]), num_boost_round=3)


def test_trees_come_back_and_lightgbm_itself_reads_the_file(
    booster: lightgbm.Booster, tmp_path: Path
) -> None:
    path = save_trees(tmp_path / "new" / "trees.txt", booster)
    np.testing.assert_array_equal(load_trees(path).predict(X), booster.predict(X))
    np.testing.assert_array_equal(lightgbm.Booster(model_file=path).predict(X), booster.predict(X))


@settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(place=st.floats(0, 1), kind=st.sampled_from(["cut", "flip", "double", "insert"]))
def test_whatever_is_damaged_is_refused_before_it_is_parsed(
    place: float, kind: str, booster: lightgbm.Booster, tmp_path: Path
) -> None:
    path = save_trees(tmp_path / "trees.txt", booster)
    whole = path.read_bytes()
    at = int(place * (len(whole) - 2))
    damaged = {
        "cut": whole[:at],
        "flip": whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :],
        "double": whole[:at] + whole[max(0, at - 1) :],
        "insert": whole[:at] + b"\xff" + whole[at:],
    }[kind]
    path.write_bytes(damaged)
    if damaged != whole:
        with pytest.raises(DataError, match=r"trees\.txt is not the LightGBM model that was written there"):
            load_trees(path)
