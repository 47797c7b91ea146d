"""The baseline finds a planted signal, finds nothing in noise, and uses no scored days."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.errors import ConfigError, DataError
from gogooku3.models.lightgbm_baseline import LightGBMFinancialBaseline

FEATURES = ("signal", "noise", "other")
DAYS, STOCKS = 120, 40
# 120 days: 24 held out, 5 of embargo before them, 91 to train on (14 of those to stop, 5 before).
TRAIN_DAYS = 91


def day(number: int) -> dt.date:
    return dt.date(2023, 1, 2) + dt.timedelta(days=number)


def market(seed: int, strength: float = 0.5) -> pl.DataFrame:
    """Rows of a market whose targets follow `signal` with a correlation of about `strength`."""
    rng = np.random.default_rng(seed)
    cube = rng.normal(size=(DAYS, STOCKS, len(FEATURES)))
    shocks = rng.normal(size=(DAYS, STOCKS, 2))
    targets = 0.02 * (strength * cube[:, :, :1] + np.sqrt(1 - strength**2) * shocks)
    stock_day, stock = np.nonzero(rng.random((DAYS, STOCKS)) < 0.95)
    return pl.DataFrame(
        {
            "date": [day(d) for d in stock_day.tolist()],
            "code": [f"{s:04}" for s in stock],
            **{f"target_{h}d": targets[stock_day, stock, i] for i, h in enumerate((1, 5))},
            **{name: cube[stock_day, stock, i] for i, name in enumerate(FEATURES)},
        }
    )


def baseline(**changes: object) -> LightGBMFinancialBaseline:
    settings = {
        "prediction_horizons": [1, 5],
        "embargo_days": 5,
        "parameters": {"num_boost_round": 25, "min_data_in_leaf": 20, "num_leaves": 7, "num_threads": 1},
    }
    return LightGBMFinancialBaseline(**{**settings, **changes})  # type: ignore[arg-type]


def trees(model: LightGBMFinancialBaseline) -> list[str]:
    return [booster.model_to_string() for booster in model.boosters.values()]


def garbled(frame: pl.DataFrame, after: int) -> pl.DataFrame:
    """Other features and targets on every row after a day."""
    rng = np.random.default_rng(99)
    names = [*FEATURES, "target_1d", "target_5d"]
    return frame.with_columns(
        pl.when(pl.col("date") > day(after))
        .then(pl.Series(rng.normal(size=frame.height)))
        .otherwise(pl.col(name))
        .alias(name)
        for name in names
    )


def panel_of(frame: pl.DataFrame) -> Panel:
    return Panel.from_frame(frame, FEATURES, (1, 5))


def test_it_finds_a_planted_signal_out_of_sample() -> None:
    performance = baseline().fit(market(1)).evaluate_performance()
    assert list(performance) == [1, 5]
    for scores in performance.values():
        assert scores["mean_ic"] > 0.2
        assert scores["mean_rank_ic"] > 0.2
        assert scores["n_days"] == 24
        assert 24 * STOCKS * 0.85 < scores["n_rows"] < 24 * STOCKS
        assert 1 <= scores["n_trees"] <= 25
    assert set(performance[1]) == {"mean_ic", "mean_rank_ic", "n_days", "n_rows", "n_trees"}


def test_it_finds_nothing_in_noise() -> None:
    for scores in baseline().fit(market(2, strength=0)).evaluate_performance().values():
        assert abs(scores["mean_ic"]) < 0.12
        assert abs(scores["mean_rank_ic"]) < 0.12


def test_feature_importance_finds_the_signal_and_sums_to_one() -> None:
    importance = baseline().fit(market(1)).feature_importance()
    assert importance.columns == ["feature", "horizon", "importance"]
    for horizon in (1, 5):
        own = importance.filter(pl.col("horizon") == horizon)
        assert own["feature"].to_list() == list(FEATURES)
        assert own["importance"].sum() == pytest.approx(1)
        assert own["importance"].arg_max() == 0


def test_held_out_days_and_the_embargo_before_them_change_no_tree() -> None:
    frame = market(3)
    plain = baseline().fit(frame)
    changed = baseline().fit(garbled(frame, after=TRAIN_DAYS - 1))
    assert trees(plain) == trees(changed)
    assert trees(plain) != trees(baseline().fit(garbled(frame, after=TRAIN_DAYS - 2)))


def test_held_out_days_do_not_reach_the_fallback_statistics() -> None:
    frame = market(3).with_columns(pl.col("date").dt.weekday().cast(pl.Float64).alias("other"))
    later = frame.with_columns(
        pl.when(pl.col("date") > day(TRAIN_DAYS - 1)).then(1e3).otherwise("other").alias("other")
    )
    assert trees(baseline().fit(frame)) == trees(baseline().fit(later))


def test_the_label_of_an_embargo_day_is_not_trained_on() -> None:
    frame = market(4)
    parts = PanelSlice(panel_of(frame), range(TRAIN_DAYS))
    # 91 training days: 14 to stop on, 5 of embargo, 72 to fit.
    gap = (pl.col("date") > day(71)) & (pl.col("date") <= day(76))
    other = frame.with_columns(
        pl.when(gap).then(-pl.col("target_1d")).otherwise("target_1d").alias("target_1d")
    )
    changed = PanelSlice(panel_of(other), range(TRAIN_DAYS))
    assert trees(baseline().fit(parts)) == trees(baseline().fit(changed))


def test_the_same_seed_grows_the_same_trees_and_another_seed_others() -> None:
    frame = market(5)
    assert trees(baseline().fit(frame)) == trees(baseline().fit(frame))
    assert trees(baseline().fit(frame)) != trees(baseline(seed=7).fit(frame))


@pytest.mark.parametrize("cores", [2, 4])
def test_the_trees_are_the_same_on_every_number_of_cores(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gogooku3.models.lightgbm_baseline.available_cores", lambda: cores)
    parameters = {"num_boost_round": 8, "min_data_in_leaf": 20, "num_leaves": 7}
    frame = market(1)
    expected = trees(baseline(parameters={**parameters, "num_threads": 1}).fit(frame))
    assert trees(baseline(parameters=parameters).fit(frame)) == expected


def test_horizons_share_rows_but_learn_their_own_labels() -> None:
    frame = market(1)
    together = baseline().fit(frame)
    for horizon in (1, 5):
        single = baseline(prediction_horizons=[horizon]).fit(frame)
        assert trees(single) == [together.boosters[horizon].model_to_string()]


def test_predictions_of_a_day_do_not_depend_on_later_rows() -> None:
    frame = market(6)
    model = baseline().fit(frame)
    whole = model.predict(frame)
    assert whole.columns == ["date", "code", "prediction_1d", "prediction_5d"]
    assert whole.height == frame.height
    until = pl.col("date") <= day(100)
    assert model.predict(frame.filter(until)).equals(whole.filter(until))
    assert model.predict(garbled(frame, after=100)).filter(until).equals(whole.filter(until))


def test_a_panel_slice_is_used_completely() -> None:
    panel = panel_of(market(7))
    model = baseline().fit(PanelSlice(panel, range(90)))
    scores = model.evaluate_performance(PanelSlice(panel, range(95, DAYS)))
    assert scores[1]["mean_ic"] > 0.2
    assert scores[1]["n_days"] == DAYS - 95
    some = model.predict(PanelSlice(panel, range(100, 102)))
    assert some.height == panel.mask[100:102].sum()
    assert some["date"].unique().sort().to_list() == [day(100), day(101)]
    with pytest.raises(DataError, match="no days were held out"):
        model.evaluate_performance()


def test_days_to_score_may_be_a_frame() -> None:
    frame = market(8)
    model = baseline(evaluation_fraction=0.0).fit(frame.filter(pl.col("date") < day(90)))
    scores = model.evaluate_performance(frame.filter(pl.col("date") >= day(95)))
    assert scores[5]["mean_rank_ic"] > 0.2
    with pytest.raises(DataError, match="no days were held out"):
        model.evaluate_performance()


def test_rows_need_sequence_length_days_of_data() -> None:
    panel = panel_of(market(9))
    model = baseline(sequence_length=10).fit(PanelSlice(panel, range(90)))
    assert model.predict(PanelSlice(panel, range(20)))["date"].min() == day(9)


def test_without_early_stopping_every_tree_is_counted() -> None:
    parameters = {"num_boost_round": 6, "min_data_in_leaf": 20, "early_stopping_rounds": 0, "num_threads": 1}
    performance = baseline(parameters=parameters).fit(market(10)).evaluate_performance()
    assert performance[1]["n_trees"] == 6


@pytest.mark.parametrize(("rounds", "fitted"), [(0, True), (5, False)])
def test_without_early_stopping_the_last_training_days_are_fitted_too(rounds: int, fitted: bool) -> None:
    """With one tree, early stopping can choose nothing, so the last days cannot matter otherwise."""
    parameters = {"num_boost_round": 1, "min_data_in_leaf": 20, "early_stopping_rounds": rounds}
    frame = market(10)
    plain, changed = (
        baseline(parameters=parameters, normalize_features=False, evaluation_fraction=0.0).fit(own)
        for own in (frame, garbled(frame, DAYS - 6))
    )
    assert (trees(plain) != trees(changed)) is fitted


def test_normalising_removes_the_scale_of_a_day() -> None:
    frame = market(11)
    scale = 10.0 ** (pl.col("date").dt.ordinal_day() % 5)
    scaled = frame.with_columns(pl.col("signal") * scale)
    plain = baseline().fit(frame).evaluate_performance()
    assert baseline().fit(scaled).evaluate_performance()[1]["mean_ic"] == pytest.approx(
        plain[1]["mean_ic"], abs=0.03
    )
    raw = baseline(normalize_features=False).fit(scaled).evaluate_performance()
    assert raw[1]["mean_ic"] < plain[1]["mean_ic"]


def test_fitting_on_a_slice_drops_the_normaliser_of_an_earlier_frame() -> None:
    frame = market(12)
    model = baseline().fit(frame)
    panel = panel_of(frame)
    model.fit(PanelSlice(panel, range(90)))
    assert model.predict(frame).equals(model.predict(PanelSlice(panel, range(DAYS))))


def test_an_embargo_shorter_than_the_longest_horizon_is_refused() -> None:
    with pytest.raises(ConfigError, match="embargo_days is 5 trading days but the longest horizon is 20"):
        LightGBMFinancialBaseline(embargo_days=5)


def test_an_unknown_label_is_refused() -> None:
    with pytest.raises(ConfigError, match="label is 'gauss'"):
        baseline(label="gauss").fit(market(13))


def test_too_few_days_are_refused() -> None:
    short = market(13).filter(pl.col("date") < day(8))
    with pytest.raises(DataError, match="leave none to fit"):
        baseline().fit(short)
    with pytest.raises(DataError, match="bring more days"):
        baseline(sequence_length=88).fit(PanelSlice(panel_of(market(13)), range(90)))


def test_a_horizon_without_any_target_is_refused() -> None:
    with pytest.raises(DataError, match="no row has a target for horizon 5"):
        baseline().fit(market(13).drop("target_5d"))
    panel = Panel.from_frame(market(13), FEATURES, (1,))
    with pytest.raises(DataError, match="horizon 5"):
        baseline().fit(PanelSlice(panel, range(90)))


def test_predicting_before_fitting_or_with_other_features_is_refused() -> None:
    frame = market(13)
    with pytest.raises(DataError, match="call fit first"):
        baseline().predict(frame)
    model = baseline().fit(frame)
    with pytest.raises(DataError, match="needs the column noise"):
        model.predict(frame.drop("noise"))
    narrow = Panel.from_frame(frame, ["signal"], (1, 5))
    with pytest.raises(DataError, match="fitted on 3 features"):
        model.predict(PanelSlice(narrow, range(5)))
