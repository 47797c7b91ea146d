"""The catalogue is complete and documented, and its names are unique."""

import re

import pytest

from gogooku3.features.catalog import CATALOG, FEATURE_NAMES

FAMILIES = {"returns", "momentum", "reversal", "volatility", "range", "volume", "technical"} | {
    "market",
    "sector",
    "beta",
    "distribution",
    "calendar",
}


def test_there_are_139_features_with_139_names() -> None:
    assert len(CATALOG) == len(set(FEATURE_NAMES)) == 139


def test_every_family_is_there() -> None:
    assert {feature.family for feature in CATALOG} == FAMILIES


def test_every_feature_has_a_formula_and_a_unit() -> None:
    assert all(feature.formula and feature.unit for feature in CATALOG)


def test_no_feature_is_named_like_a_target_or_a_price() -> None:
    assert not any(re.match(r"target|open|high$|low$|close$|volume$", name) for name in FEATURE_NAMES)


@pytest.mark.parametrize("feature", [f for f in CATALOG if f.family != "calendar"], ids=lambda f: f.name)
def test_the_lookback_covers_the_days_in_the_name(feature) -> None:
    days = [int(number) for number in re.findall(r"(?<![a-z])(\d+)d", feature.name)]
    assert days and feature.lookback >= max(days) - 1


def test_the_columns_that_the_graph_and_the_baseline_need_exist() -> None:
    assert {"ret_1d", "ret_5d", "ret_20d", "vol_20d"} <= set(FEATURE_NAMES)
