"""The IC with shuffled targets is zero up to chance."""

from collections.abc import Callable

import polars as pl

from gogooku3.evaluation.shuffled_targets import is_chance, shuffled_target_ic

MakeTable = Callable[..., pl.DataFrame]


def test_a_strong_forecast_has_no_ic_on_shuffled_targets(make_table: MakeTable) -> None:
    table = make_table(n_days=60)
    shuffled = shuffled_target_ic(table)
    assert shuffled.select("model", "horizon").is_unique().all()
    assert set(shuffled["model"]) == set(table["model"])
    assert shuffled["ic"].abs().max() < 0.15
    assert shuffled.select(((pl.col("low") < pl.col("ic")) & (pl.col("ic") < pl.col("high"))).all()).item()
    assert is_chance(shuffled)


def test_the_shuffle_depends_on_the_seed_and_not_on_the_order_of_rows(make_table: MakeTable) -> None:
    table = make_table(n_days=30)
    other = table.sample(fraction=1.0, shuffle=True, seed=3)
    assert shuffled_target_ic(other).equals(shuffled_target_ic(table))
    assert not shuffled_target_ic(table, seed=1).equals(shuffled_target_ic(table))


def test_days_are_shuffled_independently(make_table: MakeTable) -> None:
    """Forecasts and targets repeat daily, so one shuffle for all days would give the same IC daily."""
    table = make_table(n_days=5).filter(
        pl.col("horizon") == 1, pl.col("model") == "oracle", pl.col("fold") == 0
    )
    day = table.filter(pl.col("date") == table["date"].min()).drop("date")
    days = pl.DataFrame({"date": pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 12, 31), eager=True)})
    shuffled = shuffled_target_ic(days.join(day, how="cross"))
    assert shuffled["ic"].abs().item() < 0.05
    assert is_chance(shuffled)


def test_the_standard_error_is_right_for_a_few_days(make_table: MakeTable) -> None:
    """Over many shuffles, the mean of a few days has the stated standard error and counts as chance."""
    table = make_table(n_days=30)
    few = table.filter(
        pl.col("date").is_in(table["date"].unique().sort()[-6:].to_list()),
        pl.col("horizon") == 1,
        pl.col("model") == "lightgbm",
    )
    shuffles = pl.concat([shuffled_target_ic(few, seed) for seed in range(200)])
    assert 0.85 < shuffles["ic"].std() / shuffles["standard_error"].mean() < 1.15
    assert is_chance(shuffles)


def test_an_ic_that_remains_after_shuffling_is_not_chance() -> None:
    shuffled = pl.DataFrame({"ic": [0.001, 0.05], "standard_error": [0.01, 0.01]})
    assert not is_chance(shuffled)
    assert is_chance(shuffled.head(1))
