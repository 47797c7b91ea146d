"""The embedded market: prices of a seeded, Tokyo-like exchange with planted, known predictability.
It imitates no real stock, so results on it do not transfer to a real market."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from gogooku3.data.synthetic import tokyo_rules
from gogooku3.data.synthetic.oracle_files import oracle_paths
from gogooku3.data.synthetic.planted_signals import KINDS
from gogooku3.data.synthetic.simulated_exchange import (
    History,
    Randomness,
    SyntheticMarketConfig,
    draw_randomness,
    run_exchange,
)
from gogooku3.files.atomic import check_output, write_parquet_atomic, write_text_atomic
from gogooku3.schema import CODE, DATE, HORIZONS, SECTOR

__all__ = [
    "PRESETS",
    "SyntheticMarket",
    "SyntheticMarketConfig",
    "generate_market",
    "simulate",
    "write_market",
]

FloatArray = npt.NDArray[np.float64]

PRESETS: dict[str, SyntheticMarketConfig] = {
    "demo": SyntheticMarketConfig(n_stocks=120, n_days=500),
    "reference": SyntheticMarketConfig(n_stocks=669, n_days=959, n_sectors=17, exact_rows=606_127),
}
"""Named markets: one for minutes on a laptop, one with the size of the reference data set."""


@dataclass(frozen=True)
class SyntheticMarket:
    """Prices, their expected returns, and a summary.

    prices: `date, code, open, high, low, close, volume, sector`, sorted by (code, date), adjusted backwards
        for splits as in vendors' files; a suspended day has no row.
    oracle: `date, code, oracle_{h}d`, sorted by (date, code): expected return over h trading days beyond the
        day's average, given everything up to the close of `date`. It is a sum of daily expectations, without
        compounding and later price limits and halts. Slope of realised returns on it: 1.01 over 1 and 5 days,
        0.99 over 10, 0.94 over 20.
    summary: for JSON: config, counts, splits, oracle IC by horizon, overall and by kind.
    """

    prices: pl.DataFrame
    oracle: pl.DataFrame
    summary: dict[str, Any]


def generate_market(config: SyntheticMarketConfig) -> SyntheticMarket:
    """Generate the market of `config`, bit-identical every time.

    Raises:
        ConfigError: `exact_rows` can't be reached by moving listings.

    >>> market = generate_market(SyntheticMarketConfig(n_stocks=4, n_days=30))
    >>> market.prices.columns
    ['date', 'code', 'open', 'high', 'low', 'close', 'volume', 'sector']
    """
    return simulate(config, draw_randomness(config))


def write_market(market: SyntheticMarket, path: Path | str) -> tuple[Path, Path, Path]:
    """Write `X.parquet`, `X.oracle.parquet` and `X.oracle.json`, and return the three paths.

    Each file is written atomically, the prices last.

    Raises:
        DataError: no Parquet file can be written to `path`.
    """
    prices_path = check_output(path, ".parquet")
    oracle_path, summary_path = oracle_paths(prices_path)
    write_text_atomic(summary_path, json.dumps(market.summary, indent=2) + "\n")
    write_parquet_atomic(oracle_path, market.oracle)
    write_parquet_atomic(prices_path, market.prices)
    return prices_path, oracle_path, summary_path


def simulate(config: SyntheticMarketConfig, random: Randomness) -> SyntheticMarket:
    """Market of given random numbers; raises as `generate_market`."""
    history = run_exchange(config, random)
    row = history.row
    per_day = np.maximum(row.sum(axis=-1), 1)[:, None]
    forecast = history.forecast - np.sum(history.forecast * row, axis=-1, keepdims=True) / per_day
    days = tokyo_rules.trading_days(config.start_date, config.n_days)
    by_code = np.argsort(history.code)
    stock_at, day_at = np.nonzero(row[:, by_code].T)
    stock_at = by_code[stock_at]
    keys = {DATE: days[day_at], CODE: history.code[stock_at]}
    quotes = {name: values[day_at, stock_at] for name, values in history.quotes.items()}
    expected = {
        f"oracle_{horizon}d": forecast[h].sum(axis=0)[day_at, stock_at].astype(np.float32)
        for h, horizon in enumerate(HORIZONS)
    }
    closes = np.where(row, history.quotes["close"], np.nan)
    return SyntheticMarket(
        prices=pl.DataFrame({**keys, **quotes, SECTOR: history.sector[stock_at]}),
        oracle=pl.DataFrame({**keys, **expected}).sort(DATE, CODE),
        summary=_describe(config, history, days) | _scores(forecast, closes),
    )


def _describe(
    config: SyntheticMarketConfig, history: History, days: npt.NDArray[np.datetime64]
) -> dict[str, Any]:
    """Seed, config, counts and the splits of listed stocks, for JSON."""
    row = history.row
    listed = np.cumsum(row, axis=0).astype(bool) & np.cumsum(row[::-1], axis=0)[::-1].astype(bool)
    stocks = row.any(axis=0)
    splits = np.argwhere(listed & (np.abs(history.splits - 1.0) > 1e-9))
    return {
        "seed": config.seed,
        "config": dataclasses.asdict(config) | {"start_date": config.start_date.isoformat()},
        "first_day": str(days[0]),
        "last_day": str(days[-1]),
        "days": len(days),
        "stocks": int(stocks.sum()),
        "rows": int(row.sum()),
        "rows_without_trade": int((row & ~history.trading).sum()),
        "listings": int((stocks & ~listed[0]).sum()),
        "delistings": int((stocks & ~listed[-1]).sum()),
        "suspended_days": int((listed & ~row).sum()),
        "closes_at_limit": int(history.at_limit.sum()),
        "splits": [
            {
                "code": str(history.code[s]),
                "date": str(days[d]),
                "ratio": round(float(history.splits[d, s]), 6),
            }
            for d, s in splits
        ],
    }


def _scores(forecast: FloatArray, closes: FloatArray) -> dict[str, Any]:
    """Oracle IC by horizon, overall and for each kind's part; 0 for a part without a signal."""
    overall: dict[str, float] = {}
    by_kind: dict[str, dict[str, float]] = {kind: {} for kind in KINDS}
    for h, horizon in enumerate(HORIZONS):
        target = closes[horizon:] / closes[:-horizon] - 1.0
        known = forecast[h, :, :-horizon]
        overall[f"{horizon}d"] = round(_mean_daily_ic(known.sum(axis=0), target), 5)
        for kind, part in zip(KINDS, known, strict=True):
            by_kind[kind][f"{horizon}d"] = round(_mean_daily_ic(part, target), 5)
    return {"oracle_ic": overall, "oracle_ic_by_kind": by_kind}


def _mean_daily_ic(score: FloatArray, target: FloatArray) -> float:
    """Mean over days of the Pearson correlation across stocks, `[T, S]` each, without NaN targets."""
    known = np.isfinite(target)
    count = np.maximum(known.sum(axis=1), 1)

    def centred(values: FloatArray) -> FloatArray:
        filled = np.where(known, values, 0.0)
        return np.where(known, filled - (filled.sum(axis=1) / count)[:, None], 0.0)

    score, target = centred(score), centred(target)
    spread = np.sqrt((score**2).sum(axis=1) * (target**2).sum(axis=1))
    # Below this, a day's scores or targets are equal except for rounding errors.
    usable = (spread > 1e-12) & (known.sum(axis=1) >= 3)
    if not usable.any():
        return 0.0
    return float(np.mean((score * target).sum(axis=1)[usable] / spread[usable]))
