"""With targets dealt out anew there is nothing to find, and the control says so."""

from collections.abc import Callable

import polars as pl

from gogooku3.evaluation.shuffled_targets import is_chance, shuffled_target_ic

MakeTable = Callable[..., pl.DataFrame]


def test_a_strong_forecast_scores_nothing_on_shuffled_targets(make_table: MakeTable) -> None:
    table = make_table(n_days=60)
    shuffled = shuffled_target_ic(table)
    assert shuffled.select("model", "horizon").is_unique().all()
    assert set(shuffled["model"]) == set(table["model"])
    assert shuffled["ic"].abs().max() < 0.15
    assert shuffled.select(((pl.col("low") < pl.col("ic")) & (pl.col("ic") < pl.col("high"))).all()).item()
    assert is_chance(shuffled)


def test_the_same_seed_deals_the_same_in_whatever_order_rows_come(make_table: MakeTable) -> None:
    table = make_table(n_days=30)
    other = table.sample(fraction=1.0, shuffle=True, seed=3)
    assert shuffled_target_ic(other).equals(shuffled_target_ic(table))
    assert not shuffled_target_ic(table, seed=1).equals(shuffled_target_ic(table))


def test_days_are_dealt_independently_of_one_another(make_table: MakeTable) -> None:
    """Forecast and targets stay the same all year: one deal for all days would score the same daily."""
    table = make_table(n_days=5).filter(
        pl.col("horizon") == 1, pl.col("model") == "oracle", pl.col("fold") == 0
    )
    day = table.filter(pl.col("date") == table["date"].min()).drop("date")
    days = pl.DataFrame({"date": pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 12, 31), eager=True)})
    shuffled = shuffled_target_ic(days.join(day, how="cross"))
    assert shuffled["ic"].abs().item() < 0.05
    assert is_chance(shuffled)


def test_the_error_is_that_of_dealing_however_short_the_test(make_table: MakeTable) -> None:
    """Dealt many times over, the mean of a few days spreads by the error that is stated, and is chance."""
    table = make_table(n_days=30)
    few = table.filter(
        pl.col("date").is_in(table["date"].unique().sort()[-6:].to_list()),
        pl.col("horizon") == 1,
        pl.col("model") == "lightgbm",
    )
    dealt = pl.concat([shuffled_target_ic(few, seed) for seed in range(200)])
    assert 0.85 < dealt["ic"].std() / dealt["standard_error"].mean() < 1.15
    assert is_chance(dealt)


def test_skill_that_shuffling_leaves_is_no_chance() -> None:
    found = pl.DataFrame({"ic": [0.001, 0.05], "standard_error": [0.01, 0.01]})
    assert not is_chance(found)
    assert is_chance(found.head(1))
