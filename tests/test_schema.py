"""Column names: usual spellings are mapped, and two columns for one name are refused."""

import pytest

from gogooku3.errors import ConfigError, DataError, GogookuError, choices
from gogooku3.schema import (
    HORIZONS,
    KEYS,
    OHLCV,
    is_target_column,
    map_columns,
    require_columns,
    target_column,
)


@pytest.mark.parametrize("horizon", HORIZONS)
def test_target_names_are_recognised(horizon: int) -> None:
    assert is_target_column(target_column(horizon))


@pytest.mark.parametrize(
    "name", ["returns_5d", "target_5", "target_d", "my_target_5d", "target_5d_rank", "date"]
)
def test_other_names_are_not_targets(name: str) -> None:
    assert not is_target_column(name)


@pytest.mark.parametrize(
    "found", ["date", "Date", "DATE", "datetime", "Timestamp", "trade_date", " Date ", "日付"]
)
def test_the_usual_spellings_of_the_date_are_found(found: str) -> None:
    assert map_columns([found, "x"], KEYS) == {found: "date"}


@pytest.mark.parametrize(
    "found", ["code", "Code", "LocalCode", "local_code", "symbol", "Ticker", "銘柄コード"]
)
def test_the_usual_spellings_of_the_code_are_found(found: str) -> None:
    assert map_columns(["x", found], KEYS) == {found: "code"}


def test_an_exact_name_takes_precedence() -> None:
    assert map_columns(["Ticker", "code", "Date", "date"], KEYS) == {"code": "code", "date": "date"}


def test_two_columns_for_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="columns Date, DATE could each be 'date'"):
        map_columns(["Date", "DATE"], KEYS)


def test_split_adjusted_prices_are_used_if_every_price_has_one() -> None:
    columns = ["Date", "Code", "O", "H", "L", "C", "Vo", "AdjO", "AdjH", "AdjL", "AdjC", "AdjVo"]
    assert map_columns(columns, (*KEYS, *OHLCV)) == {
        "Date": "date",
        "Code": "code",
        "AdjO": "open",
        "AdjH": "high",
        "AdjL": "low",
        "AdjC": "close",
        "AdjVo": "volume",
    }


def test_one_adjusted_price_is_not_mixed_with_raw_ones() -> None:
    mapping = map_columns(["Open", "High", "Low", "Close", "Adj Close", "Volume"], OHLCV)
    assert mapping == {"Open": "open", "High": "high", "Low": "low", "Close": "close", "Volume": "volume"}


def test_an_absent_name_is_not_in_the_mapping() -> None:
    assert map_columns(["date"], KEYS) == {"date": "date"}


def test_the_error_names_the_missing_and_the_existing_columns() -> None:
    with pytest.raises(
        DataError, match="the frame needs the column close, which is missing; it has date, code"
    ):
        require_columns(["date", "code"], ["date", "close"], "the frame")
    with pytest.raises(DataError, match=r"rsi_14, which is missing; did you mean 'rsi_14d'\? it has"):
        require_columns(["date", "rsi_14d"], ["rsi_14"], "the frame")
    with pytest.raises(DataError, match="the columns high, low, which are missing"):
        require_columns(["date"], ["high", "low"], "the frame")


def test_no_missing_column_is_no_error() -> None:
    require_columns(["date", "code"], ["code"], "the frame")


def test_long_lists_of_names_are_shortened_and_counted() -> None:
    assert choices([]) == "none"
    assert choices([f"f{i}" for i in range(30)], limit=3) == "f0, f1, f2, ... (30 in all)"


@pytest.mark.parametrize("kind", [DataError, ConfigError])
def test_user_errors_share_one_base_class(kind: type[Exception]) -> None:
    assert issubclass(kind, GogookuError)
    assert issubclass(kind, ValueError)
