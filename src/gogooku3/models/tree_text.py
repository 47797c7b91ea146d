"""Checks LightGBM's text of trees before LightGBM parses it, which trusts every number in it.

A child that points back to its parent makes a prediction endless; a wrong size crashes the process.
"""

import math
import re
from collections.abc import Mapping

MOST_LEAVES = 131_072
"""LightGBM's own limit on `num_leaves`."""
_BY_SPLIT = ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child")
_ALSO_BY_SPLIT = ("internal_value", "internal_weight", "internal_count")
_BY_LEAF = ("leaf_value", "leaf_weight", "leaf_count")
_CATEGORICAL = 1
"""Bit of `decision_type`; our trees split numbers only."""


def check_tree_text(text: str) -> None:
    """Check that a text holds regression trees whose sizes agree and whose children form trees.

    Raises:
        ValueError: names the tree and the fault.
    """
    if not text.isascii():
        raise ValueError("it has characters beyond ASCII")
    head, _, _ = text.partition("\n\n")
    header = _entries(head)
    if not text.startswith("tree\n") or header.get("version") not in ("v3", "v4"):
        raise ValueError("it does not begin as LightGBM's version v3 or v4 does")
    for name in ("num_class", "num_tree_per_iteration"):
        if header.get(name) != "1":
            raise ValueError(f"its {name} is {header.get(name)}, not 1")
    features = _integer(header, "max_feature_idx") + 1
    for name in ("feature_names", "feature_infos"):
        if len(header.get(name, "").split()) != features:
            raise ValueError(f"its {name} are not {features:,}, as max_feature_idx gives")
    start = len(head) + 2
    for number, size in enumerate(_integers(header, "tree_sizes")):
        tree = text[start : start + max(size, 0)]
        if not tree.startswith(f"Tree={number}\n"):
            raise ValueError(f"tree {number} does not begin where tree_sizes gives")
        try:
            _check_tree(_entries(tree), features)
        except ValueError as error:
            raise ValueError(f"tree {number}: {error}") from None
        start += size
    if not text.startswith("end of trees\n", start):
        raise ValueError("its tree_sizes do not end where the trees end")


def _check_tree(tree: Mapping[str, str], features: int) -> None:
    leaves = _integer(tree, "num_leaves")
    if not 1 <= leaves <= MOST_LEAVES:
        raise ValueError(f"num_leaves is {leaves:,}, not 1 to {MOST_LEAVES:,}")
    for name in ("num_cat", "is_linear"):
        if tree.get(name) != "0":
            raise ValueError(f"{name} is {tree.get(name)}, not 0")
    sizes = {**dict.fromkeys(_BY_SPLIT + _ALSO_BY_SPLIT, leaves - 1), **dict.fromkeys(_BY_LEAF, leaves)}
    for name, size in sizes.items():
        count = len(tree.get(name, "").split())
        # A tree of one leaf has no splits, and not every number of its leaf.
        if count != size and not (leaves == 1 and count == 0 and name != "leaf_value"):
            raise ValueError(f"{name} has {count:,} numbers, not {size:,}")
    for name in ("threshold", "leaf_value", "shrinkage"):
        text = tree.get(name, "")
        if not re.fullmatch(r"[-+0-9.e ]*", text) or not all(math.isfinite(float(n)) for n in text.split()):
            raise ValueError(f"{name} has a number that is not finite")
    if any(not 0 <= feature < features for feature in _integers(tree, "split_feature")):
        raise ValueError(f"split_feature has a feature that is not 0 to {features - 1:,}")
    if any(not 0 <= kind < 16 or kind & _CATEGORICAL for kind in _integers(tree, "decision_type")):
        raise ValueError("decision_type has a split that is not of numbers")
    _check_children(_integers(tree, "left_child"), _integers(tree, "right_child"), leaves)


def _check_children(left: list[int], right: list[int], leaves: int) -> None:
    """Check that each split but the first, and each leaf, is the child of exactly one earlier split."""
    if sorted(left + right) != [*range(-leaves if leaves > 1 else 0, 0), *range(1, leaves - 1)]:
        raise ValueError("left_child and right_child do not name each split and leaf once")
    for split, children in enumerate(zip(left, right, strict=True)):
        if any(0 <= child <= split for child in children):
            raise ValueError(f"a child of split {split:,} is not after it, so the tree has a cycle")


def _entries(text: str) -> dict[str, str]:
    pairs = [line.split("=", 1) for line in text.split("\n") if "=" in line]
    entries = {name: value for name, value in pairs}
    if len(entries) < len(pairs):
        raise ValueError("an entry occurs twice")
    return entries


def _integer(entries: Mapping[str, str], name: str) -> int:
    text = entries.get(name, "")
    if not text.isdecimal() or len(text) > 9:
        raise ValueError(f"{name} is {text[:20]!r}, not a whole number")
    return int(text)


def _integers(entries: Mapping[str, str], name: str) -> list[int]:
    text = entries.get(name, "")
    # Python reads more texts as whole numbers than LightGBM, such as 1_0.
    if not re.fullmatch(r"[-0-9 ]*", text):
        raise ValueError(f"{name} has other characters than whole numbers")
    return [int(number) for number in text.split(" ") if number]
