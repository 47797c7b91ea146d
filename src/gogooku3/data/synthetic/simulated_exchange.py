"""Simulation of the embedded market: listings, shocks and quoted prices, as arrays.
Prices follow the exchange's rules; only `planted_signals` makes them predictable."""

import datetime as dt
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gogooku3.data.synthetic import planted_signals, tokyo_rules
from gogooku3.data.synthetic.planted_signals import KINDS, SLOW_DECAY, PlantedSignals, SignalState
from gogooku3.errors import ConfigError
from gogooku3.schema import HORIZONS

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

DAYS_PER_YEAR = 245
FIRST_CODE, CODE_SPAN, CODE_STEP = 1301, 8699, 13
LISTING_SPAN = 250
"""Late listings are within the first 250 trading days, for any length of the market."""
LOT = 100
"""Shares in a trading unit."""

_DRIFT = 2e-4  # the same for every stock and day, so it has no effect on ranks
_CALM_DAYS, _TURBULENT_DAYS, _TURBULENCE = 120.0, 25.0, 1.8
_LEVEL_SPREAD, _DEVIATION_SPREAD = 0.30, 0.20  # of log volatility: between stocks, over time
_SLOW_SPREAD = float(np.hypot(_LEVEL_SPREAD, _DEVIATION_SPREAD))
_TAIL = 5.0  # degrees of freedom of Student's t
_SUSPENSION_CONTINUES = 0.6


@dataclass(frozen=True, kw_only=True)
class SyntheticMarketConfig:
    """Size, hazards and signal strengths of a market.

    Without `exact_rows`, a larger `n_days` changes earlier days only by the split adjustment, and the stocks
    of a smaller market have the same shocks in a larger one.

    Raises:
        ConfigError: a value is out of range, or the signals amplify themselves.
    """

    n_stocks: int
    """Stocks ever listed (in a short market, some may be listed only after the last day)."""
    n_days: int
    """Trading days; 30 or more, so that the longest horizon has rows."""
    seed: int = 7
    """The same seed and config give a bit-identical market."""
    start_date: dt.date = dt.date(2021, 1, 4)
    """First day, or the next trading day."""
    n_sectors: int = 10
    """Industries, up to 33; with 10, each has a dozen stocks in the demo."""
    group_size: int = 6
    """Stocks that move together and lead one another; 6 gives each the graph's minimum of 5 peers."""
    temporal_strength: float = 0.06
    """Correlation (no unit) of the 3-to-5-day echo with the next day's relative return."""
    frequency_strength: float = 0.06
    """The same for the resonance at 20 trading days."""
    neighbour_strength: float = 0.08
    """The same for the previous day's move of a stock's peers."""
    cross_sectional_strength: float = 0.04
    """The same for low volatility; small, because a lasting signal accumulates over a horizon."""
    market_volatility: float = 0.008
    """Daily standard deviation of the market factor, as a fraction."""
    sector_volatility: float = 0.004
    """Daily standard deviation of a sector factor, as a fraction."""
    own_volatility: float = 0.016
    """Median over stocks of the daily standard deviation beyond market and sector, as a fraction."""
    peer_correlation: float = 0.55
    """Of two peers' own moves; their returns then correlate by about 0.65, those of other stocks by 0.2."""
    listing_share: float = 0.08
    """Share of stocks listed after the first day, within the first 250 trading days."""
    delisting_share: float = 0.02
    """Share of listed stocks that are delisted within a year, 60 days after listing at the earliest."""
    suspension_rate: float = 0.001
    """Probability per stock and day that a suspension (no rows) begins; it lasts 2.5 days on average."""
    no_trade_rate: float = 0.0005
    """Probability per stock and day of no trade: a row at the last close with volume 0."""
    split_share: float = 0.4
    """Share of stocks above 5,000 yen that split within a year; below 100 yen they consolidate."""
    exact_rows: int | None = None
    """Exact number of rows, reached by moving listings later, the latest first; None: any number."""

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "n_stocks": (2, CODE_SPAN),
            "n_days": (30, 20_000),
            "seed": (0, 2**63),
            "n_sectors": (1, len(tokyo_rules.SECTORS)),
            "group_size": (2, 100),
            **{f"{kind}_strength": (0.0, 0.5) for kind in KINDS},
            "market_volatility": (0.0, 0.05),
            "sector_volatility": (0.0, 0.05),
            "own_volatility": (0.001, 0.05),
            "peer_correlation": (0.0, 0.95),
            "listing_share": (0.0, 0.9),
            "delisting_share": (0.0, 0.9),
            "suspension_rate": (0.0, 0.2),
            "no_trade_rate": (0.0, 0.2),
            "split_share": (0.0, 0.99),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value}; give a value from {low} to {high}")
        if not 1980 <= self.start_date.year <= 2099:
            raise ConfigError(f"start_date is {self.start_date}; the holiday rules cover 1980 to 2099")
        if self.exact_rows is not None and not 1 <= self.exact_rows <= self.n_stocks * self.n_days:
            raise ConfigError(
                f"exact_rows is {self.exact_rows}, but {self.n_stocks} stocks x {self.n_days} days hold "
                f"at most {self.n_stocks * self.n_days}; raise n_stocks or n_days"
            )
        gain = planted_signals.loop_gain(self.strengths, self.group_size, self.peer_correlation)
        if gain >= 0.9:
            raise ConfigError(
                f"the strengths {self.strengths} amplify moves by up to {gain:.2f} at some frequency, so "
                "echoes hardly die away; lower them until that is below 0.9"
            )

    @property
    def strengths(self) -> dict[str, float]:
        """Strength by kind."""
        return {kind: getattr(self, f"{kind}_strength") for kind in KINDS}


@dataclass(frozen=True)
class Randomness:
    """All random numbers of a market: T days, S stocks, K sectors, G groups; shocks have unit variance."""

    market: FloatArray  # [T]
    regime: FloatArray  # [T], uniform
    sector: FloatArray  # [T, K]
    group: FloatArray  # [T, G]
    own: FloatArray  # [T, S]
    slow: FloatArray  # [T, S]
    gap: FloatArray  # [T, S]
    upper: FloatArray  # [T, S]
    lower: FloatArray  # [T, S]
    volume: FloatArray  # [T, S]
    halt: FloatArray  # [T, S], uniform
    split: FloatArray  # [T, S], uniform
    traits: FloatArray  # [S, 6]: volatility, beta, price, turnover; listing (uniform), leaving (exponential)


@dataclass(frozen=True)
class _Stocks:
    """Fixed properties of the stocks, `[S]` each."""

    code: npt.NDArray[np.str_]
    group: npt.NDArray[np.int64]
    sector: npt.NDArray[np.int64]
    beta: FloatArray
    volatility: FloatArray  # usual daily, beyond market and sector
    slow_level: FloatArray  # its log, standardised
    first_price: FloatArray  # yen
    shares: FloatArray  # usual daily volume at the first price


@dataclass(frozen=True)
class _Walk:
    """Simulated days, `[T, S]` each, in yen as quoted on the day."""

    base: FloatArray  # last close, after the day's split
    close: FloatArray
    splits: FloatArray  # product of all split ratios up to the day
    volatility: FloatArray  # of the day's own shocks
    forecast: FloatArray  # [H, 4, T, S]


@dataclass(frozen=True)
class History:
    """A finished market as arrays: T days, S stocks, H horizons, 4 kinds.

    code, sector: `[S]`, four digits; an industry's name.
    row, trading: `[T, S]`, True if there is a row, and if it traded.
    quotes: open, high, low, close, volume, `[T, S]` each, adjusted for splits up to the last day.
    splits: `[T, S]`, new shares per old share that became effective on the day, mostly 1.
    at_limit: `[T, S]`, True if the close is at a price limit.
    forecast: `[H, 4, T, S]`, expected relative return after each close, by kind.
    """

    code: npt.NDArray[np.str_]
    sector: npt.NDArray[np.str_]
    row: BoolArray
    trading: BoolArray
    quotes: dict[str, FloatArray]
    splits: FloatArray
    at_limit: BoolArray
    forecast: FloatArray


def run_exchange(config: SyntheticMarketConfig, random: Randomness) -> History:
    """Simulate a market from its random numbers. No day depends on later numbers.

    (Adjusted prices depend on later splits, as those of vendors do; returns and forecasts don't. With
    `exact_rows`, moved listings depend on the number of rows, but not on prices.)

    Raises:
        ConfigError: `exact_rows` can't be reached by moving listings.
    """
    stocks = _describe_stocks(config, random.traits)
    row, trading = _presence(config, random)
    regime = _regime(random.regime)
    walk = _walk(config, random, stocks, trading, regime)
    low, high = tokyo_rules.price_limits(walk.base)
    return History(
        code=stocks.code,
        sector=np.array(tokyo_rules.SECTORS)[stocks.sector],
        row=row,
        trading=trading,
        quotes=_quotes(walk, trading, random, stocks, regime),
        splits=walk.splits / np.vstack([np.ones_like(walk.splits[:1]), walk.splits[:-1]]),
        at_limit=trading & ((walk.close <= low) | (walk.close >= high)),
        forecast=walk.forecast,
    )


def draw_randomness(config: SyntheticMarketConfig) -> Randomness:
    """Draw all random numbers, with a separate stream per component and member.

    A component's stream depends on its position below: append new ones at the end, or every market changes.
    """
    stocks, groups = config.n_stocks, -(-config.n_stocks // config.group_size)
    normal, uniform = np.random.Generator.standard_normal, np.random.Generator.random
    components = itertools.count()

    def draw(members: int, sample: Callable[[np.random.Generator, int], FloatArray]) -> FloatArray:
        component = next(components)
        streams = (np.random.SeedSequence(config.seed, spawn_key=(component, i)) for i in range(members))
        return np.stack([sample(np.random.default_rng(s), config.n_days) for s in streams], axis=-1)

    def heavy(rng: np.random.Generator, days: int) -> FloatArray:
        return np.asarray(rng.standard_t(_TAIL, days) * np.sqrt((_TAIL - 2.0) / _TAIL))

    def traits(rng: np.random.Generator, _: int) -> FloatArray:
        return np.concatenate([rng.standard_normal(4), rng.random(1), rng.standard_exponential(1)])

    return Randomness(
        market=draw(1, heavy)[:, 0],
        regime=draw(1, uniform)[:, 0],
        sector=draw(config.n_sectors, normal),
        group=draw(groups, heavy),
        own=draw(stocks, heavy),
        slow=draw(stocks, normal),
        gap=draw(stocks, normal),
        upper=draw(stocks, normal),
        lower=draw(stocks, normal),
        volume=draw(stocks, normal),
        halt=draw(stocks, uniform),
        split=draw(stocks, uniform),
        traits=draw(stocks, traits).T,
    )


def _describe_stocks(config: SyntheticMarketConfig, traits: FloatArray) -> _Stocks:
    number = np.arange(config.n_stocks)
    group = number // config.group_size
    code = FIRST_CODE + (CODE_STEP * number) % CODE_SPAN
    first_price = tokyo_rules.round_to_tick(np.exp(np.log(1800.0) + 0.7 * traits[:, 2]))
    return _Stocks(
        code=np.array([f"{c:04d}" for c in code]),
        group=group,
        sector=group % config.n_sectors,
        beta=1.0 + 0.2 * traits[:, 1],
        volatility=config.own_volatility * np.exp(_LEVEL_SPREAD * traits[:, 0]),
        slow_level=_LEVEL_SPREAD * traits[:, 0] / _SLOW_SPREAD,
        first_price=first_price,
        shares=np.exp(np.log(5e8) + 1.2 * traits[:, 3]) / first_price,
    )


def _presence(config: SyntheticMarketConfig, random: Randomness) -> tuple[BoolArray, BoolArray]:
    """Masks of rows and of rows that trade, `[T, S]` each; independent of prices."""
    days = np.arange(config.n_days)[:, None]
    late, lifetime = random.traits[:, 4], random.traits[:, 5]
    share = config.listing_share
    waited = late / share if share > 0 else np.ones_like(late)
    listing = np.where(waited < 1.0, 1 + np.floor(waited * (LISTING_SPAN - 1)), 0)
    hazard = -np.log1p(-config.delisting_share) / DAYS_PER_YEAR
    leaving = listing + 60 + (lifetime / hazard if hazard > 0 else np.inf)
    suspended = np.zeros((config.n_days, config.n_stocks), dtype=bool)
    before = np.zeros(config.n_stocks, dtype=bool)
    for day in range(config.n_days):
        before = random.halt[day] < np.where(before, _SUSPENSION_CONTINUES, config.suspension_rate)
        suspended[day] = before
    row = (days >= listing) & (days < leaving) & ~suspended
    if config.exact_rows is not None:
        row = _trim_rows(row, listing, config.exact_rows)
    return row, row & (random.halt <= 1.0 - config.no_trade_rate)


def _trim_rows(row: BoolArray, listing: FloatArray, target: int) -> BoolArray:
    """Move listings later, the latest first, each by at most half of its rows, to leave `target` rows."""
    counts = row.sum(axis=0)
    excess = int(counts.sum()) - target
    if not 0 <= excess <= int((counts // 2).sum()):
        raise ConfigError(
            f"exact_rows is {target}, but this market has {int(counts.sum())} rows, and moving listings "
            f"can reduce them to {int((counts - counts // 2).sum())}; change n_stocks or n_days"
        )
    cut = np.zeros_like(counts)
    for stock in np.argsort(-listing, kind="stable"):
        cut[stock] = min(excess, counts[stock] // 2)
        excess -= cut[stock]
    return np.asarray(row & (np.cumsum(row, axis=0) > cut))


def _regime(uniform: FloatArray) -> FloatArray:
    """Volatility factor per day, `[T]`: calm, or turbulent for weeks (a two-state Markov chain)."""
    factor = np.ones_like(uniform)
    turbulent = False
    for day, chance in enumerate(uniform):
        turbulent = chance >= 1.0 / _TURBULENT_DAYS if turbulent else chance < 1.0 / _CALM_DAYS
        factor[day] = _TURBULENCE if turbulent else 1.0
    return factor


def _deviations(shocks: FloatArray) -> FloatArray:
    """Log volatility around each stock's level, `[T, S]`: a slow, stationary autoregression."""
    scale = _DEVIATION_SPREAD * np.sqrt(1.0 - SLOW_DECAY**2)
    path = np.empty_like(shocks)
    path[0] = _DEVIATION_SPREAD * shocks[0]
    for day in range(1, len(shocks)):
        path[day] = SLOW_DECAY * path[day - 1] + scale * shocks[day]
    return path


def _walk(
    config: SyntheticMarketConfig, random: Randomness, stocks: _Stocks, trading: BoolArray, regime: FloatArray
) -> _Walk:
    """Simulate each day: expected return, shocks, price limit and tick, and the move that later signals use.

    The move is the realised one, after limit and tick, so that it is visible in the prices. A stock that
    doesn't trade keeps its price and has no move.
    """
    deviation = _deviations(random.slow)
    volatility = stocks.volatility * np.exp(deviation) * regime[:, None]
    shared = np.sqrt(config.peer_correlation) * random.group[:, stocks.group]
    shocks = volatility * (shared + np.sqrt(1.0 - config.peer_correlation) * random.own)
    market = config.market_volatility * (regime * random.market)[:, None] * stocks.beta
    common = _DRIFT + market + config.sector_volatility * (regime[:, None] * random.sector)[:, stocks.sector]
    slow = stocks.slow_level + deviation / _SLOW_SPREAD

    signals = PlantedSignals(
        strengths=config.strengths,
        volatility=stocks.volatility,
        typical_volatility=config.own_volatility,
        slow_level=stocks.slow_level,
        group=stocks.group,
        peer_correlation=config.peer_correlation,
    )
    state = signals.start()
    last, ratio, product = stocks.first_price, np.ones(config.n_stocks), np.ones(config.n_stocks)
    bases, closes, products = np.empty((3, config.n_days, config.n_stocks))
    states: list[SignalState] = []
    for day in range(config.n_days):
        base, product = last / ratio, product * ratio
        target = base * (1.0 + common[day] + signals.expected(state).sum(axis=0) + shocks[day])
        low, high = tokyo_rules.price_limits(base)
        close = np.clip(tokyo_rules.round_to_tick(np.maximum(target, low)), low, high)
        last = np.where(trading[day], close, base)
        move = np.where(trading[day], (last / base - 1.0 - common[day]) / stocks.volatility, 0.0)
        state = signals.advance(state, move, slow[day])
        ratio = np.where(trading[day], _split_ratio(last, random.split[day], config.split_share), 1.0)
        bases[day], closes[day], products[day] = base, last, product
        states.append(state)
    all_states = SignalState(
        moves=np.stack([s.moves for s in states], axis=1),
        band=np.stack([s.band for s in states]),
        peers=np.stack([s.peers for s in states]),
        slow=slow,
    )
    return _Walk(bases, closes, products, volatility, signals.forecast(all_states, HORIZONS))


def _split_ratio(price: FloatArray, chance: FloatArray, yearly_share: float) -> FloatArray:
    """New shares per old share from the next day, `[S]`; 1 without a split."""
    hazard = -np.log1p(-yearly_share) / DAYS_PER_YEAR
    split = np.select([price >= 15_000, price >= 9_000, price >= 5_000], [5.0, 3.0, 2.0], 1.0)
    ratio = np.where(chance < hazard, split, 1.0)
    # Penny stocks consolidate within weeks, because their tick would hide the signals.
    return np.where((price < 100.0) & (chance < 0.05) & (yearly_share > 0), 0.1, ratio)


def _quotes(
    walk: _Walk, trading: BoolArray, random: Randomness, stocks: _Stocks, regime: FloatArray
) -> dict[str, FloatArray]:
    """Open, high, low, close and volume, `[T, S]` each, adjusted for splits up to the last day."""
    low_limit, high_limit = tokyo_rules.price_limits(walk.base)
    change = walk.close / walk.base - 1.0
    opening = walk.base * (1.0 + 0.35 * change + 0.3 * walk.volatility * random.gap)
    opening = np.clip(tokyo_rules.round_to_tick(np.maximum(opening, low_limit)), low_limit, high_limit)
    reach = 0.4 * walk.volatility
    body_high, body_low = np.maximum(opening, walk.close), np.minimum(opening, walk.close)
    high = tokyo_rules.round_to_tick(body_high * (1.0 + reach * np.abs(random.upper)))
    low = tokyo_rules.round_to_tick(np.maximum(body_low * (1.0 - reach * np.abs(random.lower)), low_limit))
    quotes = {
        "open": opening,
        "high": np.clip(high, body_high, np.maximum(high_limit, body_high)),
        "low": np.clip(low, np.minimum(low_limit, body_low), body_low),
        "close": walk.close,
    }
    excitement = 0.25 * np.minimum(np.abs(change) / stocks.volatility, 6.0) + 0.4 * np.log(regime)[:, None]
    shares = stocks.shares * walk.splits * np.exp(excitement + 0.35 * random.volume)
    later_splits = walk.splits[-1] / walk.splits
    adjusted = {name: np.where(trading, raw, walk.base) / later_splits for name, raw in quotes.items()}
    lots = np.maximum(np.round(shares / LOT), 1.0)
    return adjusted | {"volume": np.where(trading, lots * LOT, 0.0) * later_splits}
