"""The learned part is kept if it improves the ranking of validation days, and dropped if it is noise."""

import numpy as np
import pytest

from gogooku3.training.shrinkage import SHARES, choose_shares

DAYS, STOCKS = 30, 60
DAY = np.repeat(np.arange(DAYS), STOCKS)


def noise(seed: int, *columns: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(DAYS * STOCKS, *columns))


def one_day(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


# --- by hand -----------------------------------------------------------------------------------------------


def test_a_signal_is_kept_at_one_horizon_and_noise_dropped_at_another() -> None:
    truth = noise(0, 2)
    linear = truth + noise(1, 2)
    learned = np.stack([truth[:, 0], 5 * noise(2)], axis=1)
    chosen = choose_shares(linear, learned, truth, DAY)
    assert chosen.dtype == np.float32
    assert chosen.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("learned", "share"),
    [
        # The linear path predicts 0, 1, 2, 3, which is the true order.
        ((0.0, 0.0, 0.0, 0.0), 1.0),
        ((0.0, -0.9, -1.8, -2.7), 1.0),
        # A share of 1 reverses the order; 0.75 leaves 0.1 between neighbours.
        ((0.0, -1.2, -2.4, -3.6), 0.75),
        ((0.0, -1.9, -3.8, -5.7), 0.5),
        ((0.0, -3.0, -6.0, -9.0), 0.25),
        ((0.0, -9.0, -18.0, -27.0), 0.0),
    ],
)
def test_the_largest_share_that_ranks_best_by_hand(learned: tuple[float, ...], share: float) -> None:
    linear = targets = one_day(0, 1, 2, 3)
    chosen = choose_shares(linear, one_day(*learned), targets, np.zeros(4, dtype=int))
    assert chosen.tolist() == [share]


def test_half_is_chosen_where_half_is_best() -> None:
    """The target is the linear path plus half of the learned part."""
    linear, learned = noise(3, 1), 2 * noise(4, 1)
    assert choose_shares(linear, learned, linear + 0.5 * learned, DAY).tolist() == [0.5]
    assert 0.5 in SHARES


# --- what can't be scored ----------------------------------------------------------------------------------


def test_without_a_linear_path_the_share_is_one() -> None:
    truth = noise(5, 2)
    linear = np.stack([np.zeros(len(truth)), truth[:, 1]], axis=1)
    assert choose_shares(linear, -9 * truth, truth, DAY).tolist() == [1.0, 0.0]


def test_rows_without_a_target_are_ignored() -> None:
    truth = noise(6, 1)
    linear, learned = truth + noise(7, 1), 5 * noise(8, 1)
    targets = truth.copy()
    unknown = np.arange(len(truth)) % 3 == 0
    targets[unknown] = np.nan
    # On rows without a target, the learned part looks perfect.
    learned[unknown] = 100 * truth[unknown]
    assert choose_shares(linear, learned, targets, DAY).tolist() == [0.0]
    known = ~unknown
    expected = choose_shares(linear[known], learned[known], targets[known], DAY[known])
    assert expected.tolist() == [0.0]


def test_without_targets_the_share_is_one() -> None:
    linear, learned = noise(9, 1), noise(10, 1)
    assert choose_shares(linear, learned, np.full_like(linear, np.nan), DAY).tolist() == [1.0]


def test_the_order_of_samples_and_a_monotone_change_of_targets_do_not_matter() -> None:
    truth = noise(11, 3)
    linear = truth + 3 * noise(12, 3)
    learned = 0.3 * truth + noise(13, 3)
    chosen = choose_shares(linear, learned, truth, DAY)
    order = np.random.default_rng(14).permutation(len(DAY))
    assert (choose_shares(linear[order], learned[order], truth[order], DAY[order]) == chosen).all()
    assert (choose_shares(linear, learned, np.exp(truth), DAY) == chosen).all()
