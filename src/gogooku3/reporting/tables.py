"""Scores as sentences and as rows of text, for the command line and the report."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from gogooku3.evaluation.metrics import PERIODS_PER_YEAR
from gogooku3.evaluation.rank_average import RANK_AVERAGE

Scores = Mapping[str, Any]
Format = Callable[[Any], str]

UNDEFINED = "-"
_SYNTHETIC = (
    "The market is synthetic with a planted signal: the result shows that the pipeline finds it, and is not "
    "evidence for a real market."
)


def text(value: float | None, form: Format) -> str:
    """Format a number; a dash if it is undefined.

    >>> text(None, "{:.1f}".format), text(0.25, "{:.0%}".format)
    ('-', '25%')
    """
    return UNDEFINED if value is None else form(value)


def interval_text(bounds: list[float] | None, form: Format) -> str:
    """Format an interval; a dash if it is undefined.

    >>> interval_text([-0.01, 0.03], "{:+.2f}".format)
    '-0.01 to +0.03'
    """
    return UNDEFINED if bounds is None else f"{form(bounds[0])} to {form(bounds[1])}"


def days(horizon: int) -> str:
    """Format a horizon.

    >>> days(1), days(5)
    ('1 day', '5 days')
    """
    return "1 day" if horizon == 1 else f"{horizon} days"


def money(amount: float) -> str:
    """Format an amount with a unit.

    >>> money(12_345_678), money(950.0), money(3.2e9)
    ('12.3M', '950', '3.2B')
    """
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if amount >= size:
            return f"{amount / size:.1f}{unit}"
    return f"{amount:.0f}"


_COLUMNS: tuple[tuple[str, str, Format], ...] = (
    ("IC", "mean_ic", "{:+.4f}".format),
    ("95% interval", "ic_interval", "{:+.3f}".format),
    ("IC t", "ic_tstat", "{:+.1f}".format),
    ("Rank IC", "mean_rank_ic", "{:+.4f}".format),
    ("Sharpe gross", "sharpe_gross", "{:+.2f}".format),
    ("Sharpe net", "sharpe_net", "{:+.2f}".format),
    ("Drawdown net", "max_drawdown_net", "{:.1%}".format),
    ("Daily turnover", "turnover", "{:.2f}".format),
)
_FROM_PRICES: tuple[tuple[str, str, Format], ...] = (
    ("Size tilt", "size_tilt", "{:+.2f}".format),
    ("Sector tilt", "sector_tilt", "{:.2f}".format),
    ("Capacity", "capacity", money),
)
# Every row here also makes one of `_LONG_ONLY`: add its key to the scores of the long leg too.
_LONG_SHORT: tuple[tuple[str, str, Format], ...] = (
    ("Annual return", "annual_return_net", "{:+.1%}".format),
    ("Sharpe", "sharpe_net", "{:+.2f}".format),
    ("95% interval", "sharpe_net_interval", "{:+.2f}".format),
    ("Drawdown", "max_drawdown_net", "{:.1%}".format),
    ("Daily turnover", "turnover", "{:.2f}".format),
    ("Market beta", "market_beta", "{:+.2f}".format),
    *_FROM_PRICES,
)
_EXCESS_KEYS = {
    "annual_return_net": "annual_excess_net",
    "sharpe_net": "information_ratio",
    "sharpe_net_interval": "information_ratio_interval",
}
# The long leg is judged by its return above the market's; its drawdown is that of the leg itself.
_LONG_ONLY = tuple((name, _EXCESS_KEYS.get(key, key), form) for name, key, form in _LONG_SHORT)


def headline_rows(scores: Scores) -> list[dict[str, str]]:
    """One row of text per model and horizon of `score_predictions`, pooled over folds.

    Keys, in order: Model, Horizon, those of `_COLUMNS`, and Oracle IC if the scores have an oracle (in its
    own rows a dash).
    """
    models = scores["models"]
    oracle = next((entry for entry in models.values() if entry["is_oracle"]), None)
    rows = []
    for model, entry in models.items():
        for horizon, blocks in entry["horizons"].items():
            row = {"Model": model, "Horizon": days(int(horizon)), **_cells(blocks["pooled"], _COLUMNS)}
            if oracle is not None:
                reference = oracle["horizons"].get(horizon, {"pooled": {}})["pooled"].get("mean_ic")
                row["Oracle IC"] = UNDEFINED if entry["is_oracle"] else text(reference, "{:+.4f}".format)
            rows.append(row)
    return rows


def part_rows(scores: Scores, part: Literal["folds", "years"]) -> list[dict[str, str]]:
    """One row of text per model, horizon and fold (or year): its name, and the columns of `headline_rows`."""
    title = {"folds": "Fold", "years": "Year"}[part]
    return [
        {"Model": model, "Horizon": days(int(horizon)), title: name, **_cells(block, _COLUMNS)}
        for model, entry in scores["models"].items()
        for horizon, blocks in entry["horizons"].items()
        for name, block in blocks[part].items()
    ]


def portfolio_rows(scores: Scores) -> list[dict[str, str]]:
    """Two rows of text per competing model and horizon: its long-short portfolio and its long leg.

    The columns Size tilt, Sector tilt and Capacity are omitted if unknown in all rows.
    """
    rows = []
    for model, entry in _competing(scores).items():
        for horizon, blocks in entry["horizons"].items():
            pooled, names = blocks["pooled"], {"Model": model, "Horizon": days(int(horizon))}
            long_short = _cells(pooled | pooled["exposure"], _LONG_SHORT)
            rows.append({**names, "Book": "long-short", **long_short})
            long_only = _cells(pooled["long_only"], _LONG_ONLY)
            rows.append({**names, "Book": "long only, vs market", **long_only})
    unknown = [name for name, _, _ in _FROM_PRICES if all(row[name] == UNDEFINED for row in rows)]
    return [{name: cell for name, cell in row.items() if name not in unknown} for row in rows]


def scoring_notes(scores: Scores) -> list[str]:
    """Sentences about what the portfolios assume: unknown and delisted returns, other prices, periods."""
    notes, settings = [], scores["settings"]
    pooled = [
        blocks["pooled"] for entry in scores["models"].values() for blocks in entry["horizons"].values()
    ]
    if unknown := sum(block["unknown_returns"] for block in pooled):
        notes.append(
            f"{unknown:,} positions had no known return on a day and earn 0 there; prices may have it."
        )
    if delisted := sum(block["delisted_positions"] for block in pooled):
        notes.append(
            f"{delisted:,} positions were held when their stock traded for the last time; they earn "
            f"{settings['delisting_return']:+.0%} from its last close (evaluation.delisting_return)."
        )
    prices = scores["prices"]
    if prices and prices["without_price"]:
        notes.append(f"{prices['without_price']:,} of {prices['predictions']:,} predictions have no price.")
    if prices and prices["different"]:
        notes.append(
            f"{prices['different']:,} of {prices['compared']:,} returns differ between prices and targets; "
            "those positions are traded at the close and earn the targets."
        )
    if settings["periods_per_year"] != PERIODS_PER_YEAR:
        notes.append(
            f"The table has a date every {settings['spacing_days']} trading days: portfolios are held in "
            f"periods of that length, {settings['periods_per_year']:.3g} a year."
        )
    return notes


def _competing(scores: Scores) -> dict[str, Scores]:
    """Models except the oracle; the oracle if it is the only model."""
    models = scores["models"]
    return {name: entry for name, entry in models.items() if not entry["is_oracle"]} or models


def _cells(block: Scores, columns: tuple[tuple[str, str, Format], ...]) -> dict[str, str]:
    return {
        name: (interval_text if key.endswith("_interval") else text)(block.get(key), form)
        for name, key, form in columns
    }


def verdict(scores: Scores) -> list[str]:
    """Summarise `score_predictions`' result: evidence of skill, its uncertainty, and profit after costs.

    Skill is claimed only if a 95 % interval excludes zero. The order is: one sentence for all models, a
    warning if an oracle is scored (a synthetic market), each competing model at the headline horizon, and
    each pair of them. A pair with the rank average is listed only if its difference is significant.
    """
    settings = scores["settings"]
    headline = settings["headline_horizon"]
    pooled = {
        model: {int(horizon): blocks["pooled"] for horizon, blocks in entry["horizons"].items()}
        for model, entry in _competing(scores).items()
        if str(headline) in entry["horizons"]
    }
    synthetic = [_SYNTHETIC] if any(entry["is_oracle"] for entry in scores["models"].values()) else []
    models = [
        f"{model}: {_skill(blocks, headline)} {_profit(blocks[headline], settings['cost_bps'])}"
        for model, blocks in pooled.items()
    ]
    summary = _summary([blocks[headline] for blocks in pooled.values()])
    return [summary, *synthetic, *models, *_pairs(scores["comparisons"], headline)]


def _summary(blocks: list[Scores]) -> str:
    """One sentence for all models, from their scores at the headline horizon."""
    skilled = [block for block in blocks if _above_zero(block["ic_interval"])]
    if blocks and all(block["constant_days"] > block["n_days"] for block in blocks):
        return "No ranking to score: the predictions are constant."
    if not skilled:
        if any(_below_zero(block["ic_interval"]) for block in blocks):
            return "Evidence against the models: they rank the wrong way."
        return "No evidence of skill: the results are consistent with chance."
    if any(_above_zero(block["sharpe_net_interval"]) for block in skilled):
        return "Evidence of skill, and of profit after costs."
    if all(_below_zero(block["sharpe_net_interval"]) for block in skilled):
        return "Evidence of skill, but the portfolios lose money after costs."
    return "Evidence of skill, but not of profit after costs."


def _above_zero(interval: list[float] | None) -> bool:
    return interval is not None and interval[0] > 0.0


def _below_zero(interval: list[float] | None) -> bool:
    return interval is not None and interval[1] < 0.0


def _skill(blocks: Mapping[int, Scores], headline: int) -> str:
    block = blocks[headline]
    if block["constant_days"] > block["n_days"]:
        return (
            f"constant predictions on {block['constant_days']} days and a ranking on {block['n_days']}, "
            f"{days(headline)} ahead; the model has collapsed."
        )
    if block["mean_ic"] is None or block["ic_interval"] is None:
        return f"too few scored days to test for skill {days(headline)} ahead."
    low, high = block["ic_interval"]
    if low > 0.0:
        claim = "significant skill"
    elif high < 0.0:
        claim = "significantly wrong ranking"
    else:
        claim = "no significant skill"
    n_significant = sum(_above_zero(other["ic_interval"]) for other in blocks.values())
    return (
        f"{claim} {days(headline)} ahead (mean IC {block['mean_ic']:+.4f}, 95% interval {low:+.4f} to "
        f"{high:+.4f}, {block['n_days']} days out of sample); the interval is above zero at {n_significant} "
        f"of {len(blocks)} horizons."
    )


def _profit(block: Scores, cost_bps: float) -> str:
    gross, net, interval = block["sharpe_gross"], block["sharpe_net"], block["sharpe_net_interval"]
    if gross is None or net is None:
        return "The long-short portfolio has no Sharpe ratio: too few days, or constant predictions."
    costs = f"costs of {cost_bps:g} bp per trade"
    if net <= 0.0 < gross:
        claim = f"{costs} exceed the profit of the long-short portfolio"
    elif net <= 0.0:
        claim = "the long-short portfolio loses money"
    elif _above_zero(interval):
        claim = f"the long-short portfolio is significantly profitable after {costs}"
    else:
        claim = f"the profit of the long-short portfolio after {costs} is not significant"
    bounds = "" if interval is None else f" (95% interval {interval[0]:+.2f} to {interval[1]:+.2f})"
    return f"{claim[0].upper()}{claim[1:]}: Sharpe ratio {gross:+.2f} gross, {net:+.2f} net{bounds}."


def _pairs(comparisons: list[Scores], headline: int) -> Iterator[str]:
    for pair in comparisons:
        difference, interval = pair["ic"]["difference"], pair["ic"]["interval"]
        if pair["horizon"] != headline or interval is None:
            continue
        better, worse = pair["first"], pair["second"]
        if difference < 0.0:
            better, worse = worse, better
            difference, interval = -difference, [-interval[1], -interval[0]]
        if interval[0] > 0.0:
            claim = f"{better} is significantly better than {worse}"
        elif RANK_AVERAGE in (better, worse):
            continue
        else:
            claim = f"{better} and {worse} do not differ significantly"
        yield (
            f"{claim} at {days(headline)}: mean IC difference of {difference:+.4f} "
            f"(95% interval {interval[0]:+.4f} to {interval[1]:+.4f})."
        )
