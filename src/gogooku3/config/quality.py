"""Thresholds of `gogooku3 data validate`, and how they are read from a YAML file. Checks nothing itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import OmegaConf
from pydantic import BeforeValidator, Field

from gogooku3.config.groups import Above0, Fraction, Group, NotNegative, Positive
from gogooku3.config.plain_yaml import check_plain_yaml
from gogooku3.errors import ConfigError
from gogooku3.settings import shipped_configs

Weight = Literal["error", "warning", "note", "off"]
# YAML reads a bare off as false.
_Weight = Annotated[Weight, BeforeValidator(lambda value: "off" if value is False else value)]
Above1 = Annotated[float, Field(gt=1)]


class DayRules(Group):
    """When a day of the market is suspicious."""

    min_stocks: NotNegative = 10
    """Stocks; a day with fewer carries no cross-section worth standardising."""
    longest_pause: Positive = 14
    """Calendar days between two trading days; Tokyo's longest holiday so far left 11."""
    last_day_share: Fraction = 0.8
    """The last day is incomplete with fewer stocks than this share of the 20 days before."""
    repeated_share: Fraction = 0.9
    """A day repeats the one before if this share of its traded stocks has the same close and volume."""


class ColumnRules(Group):
    """When a column says too little, or something no column should."""

    null_share: Fraction = 0.5
    """Share of unknown values above which a column is worth a look."""
    largest_value: Above0 = 1.0e9
    """|value| of a feature beyond which Float32 no longer tells neighbours apart in any useful way."""
    correlation: Fraction = 0.995
    """|rank correlation| from which two features say the same."""
    sample_rows: Annotated[int, Field(ge=100)] = 20000
    """Rows, evenly spread, on which features are compared with each other."""
    largest_return: Above0 = 5.0
    """A forward return beyond +500 % is nearly always a split or a bad tick."""


class PriceRules(Group):
    """When a stock's price moves, or stands still, as no price does."""

    jump: Above1 = 4.0
    """A close that moves by more than this ratio, up or down, in a day is suspicious, whatever follows."""
    tick: Above1 = 1.4
    """So is one that moves by more than this ratio and comes back the next day."""
    reversion: Fraction = 0.8
    """Share of a move, in logarithms, of which the next day undoes more: then it was a bad tick."""
    wick: Above1 = 2.0
    """A high (low) this many times above (below) the day's open and close and the close before is a tick."""
    smallest_split: Above1 = 1.4
    """Moves below this ratio are never called a split: too many honest ones are as large."""
    split_tolerance: Fraction = 0.05
    """How far the ratio of prices may lie from the factor, relatively; twice as far beyond `jump`."""
    split_calm: Above1 = 2.5
    """Volume on the day over the median of the days after. Splits are calm days; real falls are not."""
    stale_days: Annotated[int, Field(ge=2)] = 5
    """Days in a row with the same open, high, low and close, from which the price is stale."""


class QualityRules(Group):
    """Every threshold of `data validate`. The defaults are those of `configs/data/quality.yaml`.

    >>> QualityRules.from_mapping({"prices": {"stale_day": 3}})
    Traceback (most recent call last):
    gogooku3.errors.ConfigError: unknown setting 'prices.stale_day'; did you mean 'stale_days'? ...
    """

    days: DayRules = DayRules()
    columns: ColumnRules = ColumnRules()
    prices: PriceRules = PriceRules()
    examples: Positive = 20
    """Rows named for each problem, at most."""
    severity: Mapping[str, _Weight] = Field(default_factory=dict)
    """Other weights than the usual, by name of the check: error, warning, note or off."""


def load_rules(path: Path | str | None = None) -> QualityRules:
    """Read thresholds from a YAML file; what is absent takes its default. None: the shipped file.

    Raises:
        ConfigError: there is no such file, it is no plain YAML, or settings are unknown or wrong.
    """
    file = shipped_configs() / "data" / "quality.yaml" if path is None else Path(path)
    if not file.is_file():
        raise ConfigError(f"there are no rules at {file}; name a YAML file, or leave --rules out")
    check_plain_yaml(file)
    plain: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    return QualityRules.from_mapping({str(key): value for key, value in (plain or {}).items()}, str(file))
