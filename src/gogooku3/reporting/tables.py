"""Scores in words and print-ready rows, for the command line and the report alike."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from gogooku3.evaluation.rank_average import RANK_AVERAGE

_INVENTED = (
    "The market is invented and what can be predicted was planted: this shows that the machinery finds it, "
    "and says nothing about a real market."
)

Scores = Mapping[str, Any]
Format = Callable[[float], str]

NOTHING = "-"
"""Printed where a score can't be had."""

_FROM_PRICES = ("Size tilt", "Sector tilt", "Capacity")

_COLUMNS: tuple[tuple[str, str, Format], ...] = (
    ("IC", "mean_ic", "{:+.4f}".format),
    ("IC t", "ic_tstat", "{:+.1f}".format),
    ("Rank IC", "mean_rank_ic", "{:+.4f}".format),
    ("Sharpe gross", "sharpe_gross", "{:+.2f}".format),
    ("Sharpe net", "sharpe_net", "{:+.2f}".format),
    ("Drawdown net", "max_drawdown_net", "{:.1%}".format),
    ("Turnover a day", "turnover", "{:.2f}".format),
)


def headline_rows(scores: Scores) -> list[dict[str, str]]:
    """One row of text a model and horizon, pooled over folds; competitors, their average, then the oracle.

    Keys, in order: Model, Horizon, IC, 95% interval, IC t, Rank IC, Sharpe gross, Sharpe net, Drawdown
    net, Turnover a day, and Oracle IC where the scores have an oracle (on its own rows: a dash).

    Args:
        scores: as `score_predictions` returns them.
    """
    models = scores["models"]
    oracle = next((entry for entry in models.values() if entry["is_oracle"]), None)
    rows = []
    for model, entry in _in_order(models):
        for horizon, blocks in entry["horizons"].items():
            row = {"Model": model, "Horizon": days(int(horizon)), **_cells(blocks["pooled"])}
            if oracle is not None:
                reference = oracle["horizons"].get(horizon, {"pooled": {}})["pooled"].get("mean_ic")
                row["Oracle IC"] = NOTHING if entry["is_oracle"] else text(reference, "{:+.4f}".format)
            rows.append(row)
    return rows


def part_rows(scores: Scores, part: Literal["folds", "years"]) -> list[dict[str, str]]:
    """One row of text a model, horizon and fold (or year): the columns of `headline_rows`, and its name."""
    title = {"folds": "Fold", "years": "Year"}[part]
    return [
        {"Model": model, "Horizon": days(int(horizon)), title: name, **_cells(block)}
        for model, entry in _in_order(scores["models"])
        for horizon, blocks in entry["horizons"].items()
        for name, block in blocks[part].items()
    ]


def portfolio_rows(scores: Scores) -> list[dict[str, str]]:
    """One row of text a competing model, horizon and book: what it earns, costs, carries and leans on.

    The columns Size tilt, Sector tilt and Capacity are there where prices told them.
    """
    rows = []
    for model, entry in _in_order(scores["models"]):
        if entry["is_oracle"] and len(scores["models"]) > 1:
            continue
        for horizon, blocks in entry["horizons"].items():
            pooled, names = blocks["pooled"], {"Model": model, "Horizon": days(int(horizon))}
            rows += [{**names, **_both_legs(pooled)}, {**names, **_long_leg(pooled["long_only"])}]
    unknown = [name for name in _FROM_PRICES if all(row[name] == NOTHING for row in rows)]
    return [{name: cell for name, cell in row.items() if name not in unknown} for row in rows]


_BOOK_COLUMNS: tuple[tuple[str, Format], ...] = (
    ("Return a year", "{:+.1%}".format),
    ("Sharpe", "{:+.2f}".format),
    ("95% interval", "{:+.2f}".format),
    ("Drawdown", "{:.1%}".format),
    ("Turnover a day", "{:.2f}".format),
)


def _both_legs(pooled: Scores) -> dict[str, str]:
    keys = ("annual_return_net", "sharpe_net", "sharpe_net_interval", "max_drawdown_net", "turnover")
    lean = pooled["exposure"]
    return {
        "Book": "long-short",
        **_book_cells(pooled, keys),
        "Market beta": text(lean["market_beta"], "{:+.2f}".format),
        "Size tilt": text(lean["size_tilt"], "{:+.2f}".format),
        "Sector tilt": text(lean["sector_tilt"], "{:.2f}".format),
        "Capacity": text(lean["capacity"], money),
    }


def _long_leg(block: Scores) -> dict[str, str]:
    """Judged by what it earns beyond holding every stock; the drawdown is its own."""
    ratio = "information_ratio"
    keys = ("annual_excess_net", ratio, f"{ratio}_interval", "max_drawdown_net", "turnover")
    unknown = dict.fromkeys(("Market beta", *_FROM_PRICES), NOTHING)
    return {"Book": "long only, vs market", **_book_cells(block, keys), **unknown}


def _book_cells(block: Scores, keys: tuple[str, ...]) -> dict[str, str]:
    return {
        name: (interval_text if name == "95% interval" else text)(block[key], form)
        for (name, form), key in zip(_BOOK_COLUMNS, keys, strict=True)
    }


def money(amount: float) -> str:
    """An amount in short.

    >>> money(12_345_678), money(950.0), money(3.2e9)
    ('12.3M', '950', '3.2B')
    """
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if amount >= size:
            return f"{amount / size:.1f}{unit}"
    return f"{amount:.0f}"


def _in_order(models: Mapping[str, Scores]) -> list[tuple[str, Scores]]:
    """Models by name; the average of others after them, the oracle last."""
    return sorted(models.items(), key=lambda item: (item[1]["is_oracle"], item[0] == RANK_AVERAGE, item[0]))


def _cells(block: Scores) -> dict[str, str]:
    cells = {name: text(block.get(key), form) for name, key, form in _COLUMNS}
    interval = {"95% interval": interval_text(block.get("ic_interval"), "{:+.3f}".format)}
    return {"IC": cells.pop("IC"), **interval, **cells}


def text(value: float | None, form: Format) -> str:
    """A number as text, or a dash.

    >>> text(None, "{:.1f}".format), text(0.25, "{:.0%}".format)
    ('-', '25%')
    """
    return NOTHING if value is None else form(value)


def interval_text(bounds: list[float] | None, form: Format) -> str:
    """Both ends of an interval as text, or a dash.

    >>> interval_text([-0.01, 0.03], "{:+.2f}".format)
    '-0.01 to +0.03'
    """
    return NOTHING if bounds is None else f"{form(bounds[0])} to {form(bounds[1])}"


def days(horizon: int) -> str:
    """A horizon in words.

    >>> days(1), days(5)
    ('1 day', '5 days')
    """
    return "1 day" if horizon == 1 else f"{horizon} days"


def verdict(scores: Scores) -> list[str]:
    """Say in sentences what the scores amount to: is there something, how sure, what after costs.

    A claim is made only where a 95 % interval excludes zero. First the answer in one sentence, then (where an
    oracle is scored) that the market is invented, then each competing model at the headline horizon, then
    each pair of them. That the average of two can't be told from one of them is left unsaid.

    Args:
        scores: as `score_predictions` returns them.
    """
    headline = scores["settings"]["headline_horizon"]
    cost = scores["settings"]["cost_bps"]
    rivals = {
        model: {int(horizon): block["pooled"] for horizon, block in entry["horizons"].items()}
        for model, entry in _in_order(scores["models"])
        if str(headline) in entry["horizons"] and (not entry["is_oracle"] or len(scores["models"]) == 1)
    }
    each = [
        f"{model}: {_skill(pooled, headline)} {_profit(pooled[headline], cost)}"
        for model, pooled in rivals.items()
    ]
    summary = _summary([pooled[headline] for pooled in rivals.values()])
    invented = [_INVENTED] if any(entry["is_oracle"] for entry in scores["models"].values()) else []
    return [summary, *invented, *each, *_rivalry(scores["comparisons"], headline)]


def _summary(blocks: list[Scores]) -> str:
    """The shortest true answer, from every competitor's headline block."""
    skilled = [block for block in blocks if _above_zero(block["ic_interval"])]
    if not skilled:
        return "Nothing here can be told from luck."
    if any(_above_zero(block["sharpe_net_interval"]) for block in skilled):
        return "There is something here, and it survives costs."
    return "There is something here, but no profit after costs that luck couldn't explain."


def _above_zero(interval: list[float] | None) -> bool:
    return interval is not None and interval[0] > 0.0


def _skill(pooled: Mapping[int, Scores], headline: int) -> str:
    block = pooled[headline]
    if block["mean_ic"] is None or block["ic_interval"] is None:
        return f"too few days can be scored {days(headline)} ahead to tell skill from luck."
    low, high = block["ic_interval"]
    if low > 0.0:
        claim = f"its ranking {days(headline)} ahead carries information"
    elif high < 0.0:
        claim = f"its ranking {days(headline)} ahead points the wrong way"
    else:
        claim = f"no skill can be told from luck {days(headline)} ahead"
    others = [horizon for horizon, other in pooled.items() if _above_zero(other["ic_interval"])]
    return (
        f"{claim} (mean IC {block['mean_ic']:+.4f}, 95% interval {low:+.4f} to {high:+.4f}, "
        f"{block['n_days']} days out of sample); the interval is above zero at {len(others)} of "
        f"{len(pooled)} horizons."
    )


def _profit(block: Scores, cost_bps: float) -> str:
    gross, net = block["sharpe_gross"], block["sharpe_net"]
    if gross is None or net is None:
        return "Its portfolio has no Sharpe ratio: too few days, or nothing to tell the stocks apart."
    interval = block["sharpe_net_interval"]
    if net <= 0.0 < gross:
        claim = f"costs of {cost_bps:g} bp a trade eat the profit"
    elif net <= 0.0:
        claim = "it loses money"
    elif _above_zero(interval):
        claim = f"it earns after costs of {cost_bps:g} bp a trade"
    else:
        claim = f"it earned after costs of {cost_bps:g} bp a trade, but luck would explain that too"
    span = "" if interval is None else f" (95% interval {interval[0]:+.2f} to {interval[1]:+.2f})"
    return f"Held long and short, {claim}: Sharpe {gross:+.2f} gross, {net:+.2f} net{span}."


def _rivalry(comparisons: list[Scores], headline: int) -> Iterator[str]:
    for pair in comparisons:
        interval = pair["ic"]["interval"]
        if pair["horizon"] != headline or interval is None:
            continue
        difference = pair["ic"]["difference"]
        better, worse = pair["first"], pair["second"]
        if difference < 0.0:
            better, worse = worse, better
            difference, interval = -difference, [-interval[1], -interval[0]]
        sure = interval[0] > 0.0
        if not sure and RANK_AVERAGE in (pair["first"], pair["second"]):
            continue
        claim = f"{better} is better than {worse}" if sure else f"{better} and {worse} can't be told apart"
        yield (
            f"{claim} at {days(headline)}: {better} minus {worse} has a mean IC difference "
            f"of {difference:+.4f} (95% interval {interval[0]:+.4f} to {interval[1]:+.4f})."
        )
