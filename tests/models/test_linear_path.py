"""The linear path is a ridge regression: by hand, and equal to scikit-learn's per horizon."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from gogooku3.errors import DataError
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.linear_path import LinearPath
from gogooku3.models.saving import load_model, save_model

ROWS, FEATURES, HORIZONS = 200, 5, 3


def rows(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Correlated features, and labels that depend on them."""
    random = torch.Generator().manual_seed(seed)
    mixed = torch.randn(FEATURES, FEATURES, generator=random)
    x = torch.randn(ROWS, FEATURES, generator=random) @ mixed
    tilt = torch.randn(FEATURES, HORIZONS, generator=random)
    return x, 0.3 * x @ tilt + torch.randn(ROWS, HORIZONS, generator=random)


def solved(*parts: tuple[Tensor, Tensor], penalty: float = 1.0) -> Tensor:
    path = LinearPath(parts[0][0].shape[1], parts[0][1].shape[1])
    path.solve(parts, penalty)
    return path.weight


def ridge(x: Tensor, y: Tensor, penalty: float) -> Tensor:
    """Scikit-learn's weights of one horizon; its penalty is a sum over rows, ours a mean."""
    model = Ridge(alpha=penalty * len(x), fit_intercept=False)
    return torch.from_numpy(model.fit(x.double().numpy(), y.double().numpy()).coef_)


# --- the solution ------------------------------------------------------------------------------------------


def test_two_rows_by_hand() -> None:
    """X'X = diag(8, 2), X'y = (8, 6), n = 2: with a penalty of 1 that is 8 / (8 + 2) and 6 / (2 + 2)."""
    x = torch.tensor([[2.0, 1.0], [2.0, -1.0]])
    y = torch.tensor([[5.0], [-1.0]])
    torch.testing.assert_close(solved((x, y)), torch.tensor([[0.8], [1.5]]))


def test_it_is_zero_before_it_is_solved_and_x_times_w_afterwards() -> None:
    x, y = rows()
    path = LinearPath(FEATURES, HORIZONS)
    assert torch.equal(path(x), torch.zeros(ROWS, HORIZONS))
    path.solve([(x, y)], 1.0)
    torch.testing.assert_close(path(x), torch.from_numpy(x.numpy() @ path.weight.numpy()))


@pytest.mark.parametrize("penalty", [1e-6, 0.1, 1.0, 50.0])
def test_it_equals_the_ridge_regression_of_scikit_learn(penalty: float) -> None:
    x, y = rows()
    expected = ridge(x, y, penalty).T.float()
    torch.testing.assert_close(solved((x, y), penalty=penalty), expected, atol=1e-5, rtol=1e-4)


def test_an_unknown_label_is_ignored_in_its_own_horizon_only() -> None:
    x, y = rows()
    whole = solved((x, y))
    y[::3, 1], y[40:, 2] = torch.nan, torch.nan
    holed = solved((x, y))
    assert torch.equal(holed[:, 0], whole[:, 0])
    for horizon in (1, 2):
        known = ~y[:, horizon].isnan()
        expected = ridge(x[known], y[known, horizon], 1.0).float()
        torch.testing.assert_close(holed[:, horizon], expected, atol=1e-5, rtol=1e-4)


def test_the_order_of_parts_matters_only_to_rounding() -> None:
    x, y = rows()
    y[::7, 2] = torch.nan
    parts = [(x[start : start + 37], y[start : start + 37]) for start in range(0, ROWS, 37)]
    whole = solved((x, y))
    for order in (parts, parts[::-1], [parts[i] for i in (3, 0, 5, 1, 4, 2)]):
        torch.testing.assert_close(solved(*order), whole, atol=1e-6, rtol=1e-5)


def test_the_penalty_is_in_units_of_a_features_variance() -> None:
    """One feature of variance v and a penalty of v: half of the slope remains, for any number of rows."""
    random = torch.Generator().manual_seed(1)
    for count, deviation in ((50, 1.0), (5000, 1.0), (500, 3.0)):
        x = torch.randn(count, 1, generator=random)
        x = deviation * x / x.square().mean().sqrt()
        weight = solved((x, 0.2 * x), penalty=deviation**2)
        assert weight.item() == pytest.approx(0.1, rel=1e-5)
    x, y = rows()
    twice = solved((torch.cat([x, x]), torch.cat([y, y])))
    torch.testing.assert_close(twice, solved((x, y)))


def test_duplicate_features_share_a_weight_and_a_constant_one_gets_none() -> None:
    x, y = rows()
    x[:, 3], x[:, 4] = x[:, 0], 0
    weight = solved((x, y))
    torch.testing.assert_close(weight[3], weight[0])
    assert torch.equal(weight[4], torch.zeros(HORIZONS))


def test_many_small_parts_are_summed_in_double_precision() -> None:
    """100,000 rows with a weak effect, which single-precision sums would lose."""
    random = np.random.default_rng(0)
    x = random.normal(size=(100_000, 2)).astype(np.float32)
    y = (0.01 * x[:, :1] + random.normal(size=(100_000, 1))).astype(np.float32)
    gram = x.T.astype(float) @ x.astype(float) + len(x) * np.eye(2)
    expected = np.linalg.solve(gram, x.T.astype(float) @ y.astype(float))
    parts = [
        (torch.from_numpy(a), torch.from_numpy(b))
        for a, b in zip(np.split(x, 1000), np.split(y, 1000), strict=True)
    ]
    np.testing.assert_allclose(solved(*parts).numpy(), expected, rtol=1e-4)


# --- what is refused ---------------------------------------------------------------------------------------


def test_a_horizon_without_any_label_is_refused() -> None:
    x, y = rows()
    y[:, 1] = torch.nan
    with pytest.raises(DataError, match="needs labels at every horizon"):
        solved((x, y))


@pytest.mark.parametrize("where", ["feature", "label"])
def test_values_that_are_not_finite_are_refused_and_leave_the_weights(where: str) -> None:
    x, y = rows()
    path = LinearPath(FEATURES, HORIZONS)
    path.solve([(x, y)], 1.0)
    before = path.weight.clone()
    if where == "feature":
        x[17, 2] = torch.nan
    else:
        y[17, 2] = torch.inf
    with pytest.raises(DataError, match="the sums of the linear path are not finite"):
        path.solve([(x, y)], 1.0)
    assert torch.equal(path.weight, before)


# --- in the network ----------------------------------------------------------------------------------------


def network() -> ATFTGATFANModel:
    return ATFTGATFANModel(FEATURES, 8, 2, 1, [1, 5, 10], sequence_length=6, dropout=0.2)


def test_it_is_not_a_parameter_and_gradients_never_change_it() -> None:
    model, (x, y) = network(), rows()
    model.linear.solve([(x, y)], 1.0)
    assert not list(model.linear.parameters())
    assert "linear.weight" in model.state_dict() and not model.linear.weight.requires_grad
    before = model.linear.weight.clone()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    model(torch.randn(7, 6, FEATURES)).square().mean().backward()
    optimiser.step()
    assert torch.equal(model.linear.weight, before)


def test_an_untrained_network_is_bit_identical_to_its_linear_path() -> None:
    model = network().eval()
    windows = torch.randn(7, 6, FEATURES)
    assert torch.equal(model(windows), torch.zeros(7, 3))
    model.linear.solve([rows()], 1.0)
    expected = windows[:, -1] @ model.linear.weight
    assert torch.equal(model(windows), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(windows), expected)


def test_the_path_and_the_shares_are_saved(tmp_path: Path) -> None:
    model = network()
    model.linear.solve([rows()], 1.0)
    model.snapshot_share.copy_(torch.tensor([0.5, 1.0, 0.0]))
    model.windows_share.copy_(torch.tensor([0.2, 0.0, 1.0]))
    save_model(tmp_path, model)
    again, _ = load_model(tmp_path, ATFTGATFANModel)
    for name, buffer in model.named_buffers():
        assert torch.equal(again.get_buffer(name), buffer)
