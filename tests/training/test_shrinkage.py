"""A stage is added if it improves the ranking on most stretches of validation days, and dropped if noise."""

import numpy as np
import pytest

from gogooku3.training.shrinkage import STRETCHES, choose_shares

DAYS, STOCKS = 30, 60
DAY = np.repeat(np.arange(DAYS), STOCKS)
ORDER = np.array([0.0, 1.0, 2.0, 3.0])


def noise(seed: int, *columns: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(DAYS * STOCKS, *columns))


def by_hand(*days: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """One column over days of four stocks, and the days."""
    return np.array(days).reshape(-1, 1), np.repeat(np.arange(len(days)), 4)


# --- by hand -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("added", "share"),
    [
        # The stages before predict 0, 1, 2, 3 and the true order is 3, 2, 1, 0: any share above 1/2 reverses.
        (-2 * ORDER, 1.0),
        (-1.5 * ORDER, 1.0),
        # A share of 1 reverses the last pair; 0.75 and less leave the order as it is, so nothing is gained.
        ((0.0, 0.0, 0.0, -1.2), 1.0),
        ((0.0, 0.0, 0.0, -0.9), 0.0),
        (-0.5 * ORDER, 0.0),
        (0 * ORDER, 0.0),
    ],
)
def test_a_share_must_change_the_ranking_for_the_better(added: np.ndarray, share: float) -> None:
    before, day = by_hand(*[tuple(ORDER)] * 4)
    stage, _ = by_hand(*[tuple(added)] * 4)
    assert choose_shares(before, stage, before[::-1].copy(), day).tolist() == [share]


@pytest.mark.parametrize(
    ("good_days", "share"),
    [
        # Gains of +2 on good days and -2 on the others: mean 1, standard error 1, so three of four don't do.
        (4, 1.0),
        (3, 0.0),
        (2, 0.0),
    ],
)
def test_the_mean_gain_must_exceed_its_standard_error(good_days: int, share: float) -> None:
    """One day per stretch; a good day turns the wrong order into the right one, a bad day the reverse."""
    good = np.arange(4) < good_days
    before, day = by_hand(*[tuple(ORDER)] * 4)
    added, _ = by_hand(*[tuple(-3 * ORDER)] * 4)
    targets, _ = by_hand(*[tuple(-ORDER if right else ORDER) for right in good])
    assert choose_shares(before, added, targets, day).tolist() == [share]


def test_stretches_have_equally_many_days() -> None:
    """Days 0 and 1 are the first of four stretches: a stage that helps there only is dropped."""
    assert STRETCHES == 4
    before, day = by_hand(*[tuple(ORDER)] * 8)
    added, _ = by_hand(*[tuple(-3 * ORDER)] * 8)
    for good, share in (([0, 1], 0.0), ([0, 2, 4, 6], 0.0), (range(8), 1.0), ([0, 1, 2, 3, 4, 5, 6], 1.0)):
        targets, _ = by_hand(*[tuple(-ORDER if number in good else ORDER) for number in range(8)])
        assert choose_shares(before, added, targets, day).tolist() == [share], good


@pytest.mark.parametrize("best", [0.25, 0.5, 0.75])
def test_the_share_with_the_best_ranking_is_chosen(best: float) -> None:
    """The target is what the stages before predict plus this share of the stage."""
    before, added = noise(3, 1), 2 * noise(4, 1)
    assert choose_shares(before, added, before + best * added, DAY).tolist() == [best]


def test_a_signal_is_kept_at_one_horizon_and_noise_dropped_at_another() -> None:
    truth = noise(0, 2)
    before = truth + noise(1, 2)
    added = np.stack([truth[:, 0], 5 * noise(2)], axis=1)
    chosen = choose_shares(before, added, truth, DAY)
    assert chosen.dtype == np.float32
    assert chosen.tolist() == [1.0, 0.0]


# --- what can't be scored ----------------------------------------------------------------------------------


def test_without_earlier_predictions_or_targets_the_share_is_one() -> None:
    truth = noise(5, 3)
    before = np.stack([np.zeros(len(truth)), truth[:, 1], truth[:, 2]], axis=1)
    targets = truth.copy()
    targets[:, 2] = np.nan
    assert choose_shares(before, -9 * truth, targets, DAY).tolist() == [1.0, 0.0, 1.0]


def test_unknown_targets_and_stretches_without_any_are_ignored() -> None:
    truth = noise(6, 1)
    before, added = truth + noise(7, 1), 5 * noise(8, 1)
    unknown = (np.arange(len(truth)) % 3 == 0) | (DAY < 12)
    # On rows without a target, the stage looks perfect.
    added[unknown] = 100 * truth[unknown]
    assert choose_shares(before, added, np.where(unknown[:, None], np.nan, truth), DAY).tolist() == [0.0]


def test_a_monotone_change_of_targets_does_not_matter() -> None:
    truth = noise(11, 3)
    before = truth + 3 * noise(12, 3)
    added = 0.3 * truth + noise(13, 3)
    chosen = choose_shares(before, added, truth, DAY)
    assert (choose_shares(before, added, np.exp(truth), DAY) == chosen).all()
