"""Thresholds of `gogooku3 data validate`, and their YAML file."""

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
    """Thresholds for a day of the market."""

    min_stocks: NotNegative = 10
    """Minimum number of stocks in a day's cross-section."""
    longest_pause: Positive = 14
    """Maximum calendar days between two trading days; Tokyo's longest holiday so far left 11."""
    last_day_share: Fraction = 0.8
    """The last day is incomplete with fewer stocks than this share of the 20 days before."""
    repeated_share: Fraction = 0.9
    """A day repeats the previous one if this share of its traded stocks has the same close and volume."""


class ColumnRules(Group):
    """Thresholds for a column of a data set."""

    null_share: Fraction = 0.5
    """Share of missing values above which a column is reported."""
    largest_value: Above0 = 1.0e9
    """|value| of a feature beyond which Float32 is too coarse."""
    correlation: Fraction = 0.995
    """|rank correlation| from which two features are redundant."""
    sample_rows: Annotated[int, Field(ge=100)] = 20000
    """Evenly spaced rows on which features are compared."""
    largest_return: Above0 = 5.0
    """A forward return beyond +500 % is nearly always a split or a bad tick."""


class PriceRules(Group):
    """Thresholds for moves and standstills of a stock's price."""

    jump: Above1 = 4.0
    """Ratio of two closes, up or down, that is suspicious by itself."""
    tick: Above1 = 1.4
    """Ratio of two closes that is suspicious if the next day reverses the move."""
    reversion: Fraction = 0.8
    """Share of a move, in logarithms; a larger reversal the next day marks a bad tick."""
    wick: Above1 = 2.0
    """Ratio of a high (low) to the highest (lowest) of open, close and previous close that marks a tick."""
    smallest_split: Above1 = 1.4
    """Smallest ratio of a suspected split; many genuine moves are smaller."""
    split_tolerance: Fraction = 0.05
    """Relative distance of the price ratio from a split's factor; doubled beyond `jump`."""
    split_calm: Above1 = 2.5
    """Maximum volume on the day of a split, over the median of the days after; real falls have more."""
    split_hole: Positive = 30
    """Maximum calendar days since the previous close; a later move may be anything."""
    market_move: Above0 = 0.05
    """Move of the median stock on a day of crash or rebound, on which smaller factors than 2 are no sign."""
    reuse_hole: Positive = 180
    """Calendar days without a row after which a code at another price level may be another company's."""
    reuse_level: Above1 = 2.0
    """Ratio of the closes before and after such a hole, up or down."""
    stale_days: Annotated[int, Field(ge=2)] = 5
    """Days in a row with the same open, high, low and close that make a price stale."""


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
    """Maximum rows listed per problem."""
    severity: Mapping[str, _Weight] = Field(default_factory=dict)
    """Severity by name of the check, where it differs from the default: error, warning, note or off."""


def load_rules(path: Path | str | None = None) -> QualityRules:
    """Read thresholds from a YAML file; absent ones take their defaults. None: the shipped file.

    Raises:
        ConfigError: the file is missing or not plain YAML, or settings are unknown or invalid.
    """
    file = shipped_configs() / "data" / "quality.yaml" if path is None else Path(path)
    if not file.is_file():
        raise ConfigError(f"there are no rules at {file}; name a YAML file, or leave --rules out")
    check_plain_yaml(file)
    plain: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    return QualityRules.from_mapping({str(key): value for key, value in (plain or {}).items()}, str(file))
