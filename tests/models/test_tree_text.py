"""A forged text of trees is refused before LightGBM parses it; every real one passes."""

import re
from collections.abc import Callable

import lightgbm
import numpy as np
import pytest

from gogooku3.models.tree_text import check_tree_text


def _trained(leaves: int = 7, rounds: int = 3, least: int = 5) -> str:
    random = np.random.default_rng(0)
    rows = lightgbm.Dataset(random.normal(size=(300, 4)), random.normal(size=300))
    parameters = {"verbosity": -1, "num_leaves": leaves, "min_data_in_leaf": least, "num_threads": 1}
    text: str = lightgbm.train(parameters, rows, rounds).model_to_string()
    return text


TEXT = _trained()


def _resized(text: str) -> str:
    """The text with `tree_sizes` that match, as a forger would write."""
    trees = re.findall(r"(?s)Tree=\d+\n.*?\n\n\n", text)
    return re.sub("tree_sizes=.*", "tree_sizes=" + " ".join(str(len(tree)) for tree in trees), text)


@pytest.mark.parametrize("sizes", [(2, 1, 5), (31, 5, 1), (7, 1, 500), (7, 40, 20)])
def test_real_trees_pass(sizes: tuple[int, int, int]) -> None:
    check_tree_text(_trained(*sizes))


@pytest.mark.parametrize(
    ("name", "change", "named"),
    [
        ("left_child", lambda v: ["0", *v[1:]], "each split and leaf once"),
        ("left_child", lambda v: ["0_1", *v[1:]], "other characters"),
        ("leaf_value", lambda v: ["1_0", *v[1:]], "not finite"),
        ("right_child", lambda v: ["99999", *v[1:]], "each split and leaf once"),
        ("right_child", lambda v: v[:-1], "right_child has 5 numbers, not 6"),
        ("leaf_value", lambda v: [*v, "1"], "leaf_value has 8 numbers, not 7"),
        ("leaf_value", lambda v: ["nan", *v[1:]], "not finite"),
        ("threshold", lambda v: ["inf", *v[1:]], "not finite"),
        ("split_feature", lambda v: ["4", *v[1:]], "not 0 to 3"),
        ("split_feature", lambda v: ["-1", *v[1:]], "not 0 to 3"),
        ("decision_type", lambda v: ["1", *v[1:]], "not of numbers"),
        ("num_leaves", lambda v: ["2000000000"], "not a whole number"),
        ("num_leaves", lambda v: ["200000"], "not 1 to 131,072"),
        ("num_leaves", lambda v: ["6"], "numbers, not 5"),
        ("num_cat", lambda v: ["1"], "num_cat is 1, not 0"),
        ("is_linear", lambda v: ["1"], "is_linear is 1, not 0"),
    ],
)
def test_a_forged_tree_is_named(name: str, change: Callable[[list[str]], list[str]], named: str) -> None:
    line = re.search(rf"(?m)^{name}=(.*)$", TEXT)
    assert line is not None
    forged = TEXT.replace(line[0], f"{name}=" + " ".join(change(line[1].split())), 1)
    with pytest.raises(ValueError, match=f"tree 0: .*(?:{named})"):
        check_tree_text(_resized(forged))


def test_a_cycle_is_refused() -> None:
    """Split 1 has itself as a child; every index occurs once."""
    tree = {"left_child": "-1 1 -3", "right_child": "2 -2 -4"}
    forged = _trained(4, 1)
    for name, value in tree.items():
        forged = re.sub(rf"(?m)^{name}=.*$", f"{name}={value}", forged)
    with pytest.raises(ValueError, match="is not after it, so the tree has a cycle"):
        check_tree_text(_resized(forged))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("num_class=1", "num_class=3", "num_class is 3"),
        ("max_feature_idx=3", "max_feature_idx=300000000", "feature_names are not 300,000,001"),
        ("tree_sizes=", "tree_sizes=5 ", "tree 0 does not begin where"),
        ("num_class=1", "num_class=1\nnum_class=9", "an entry occurs twice"),
        ("Column_0", "Column_\u0660", "beyond ASCII"),
        ("version=v4", "version=v9", "version v3 or v4"),
        ("end of trees", "end of tree", "do not end"),
    ],
)
def test_a_forged_header_is_named(old: str, new: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        check_tree_text(TEXT.replace(old, new))


def test_any_text_is_checked_without_another_error() -> None:
    random = np.random.default_rng(1)
    for _ in range(300):
        letters = list(TEXT)
        for position in random.integers(0, len(letters), 3):
            letters[position] = random.choice(list("0-9= \nxT"))
        try:
            check_tree_text("".join(letters))
        except ValueError as error:
            assert str(error)
