"""`gogooku3 data features`: the meaning of each column of a data set."""

from typing import Annotated

from typer import Option

from gogooku3.cli.output import print_table, show
from gogooku3.errors import ConfigError, choices


def features(
    family: Annotated[str | None, Option(help="Only this family, such as volatility.")] = None,
    extra: Annotated[bool, Option("--extra", help="List optional features, and when each is known.")] = False,
    markdown: Annotated[bool, Option("--markdown", help="Print a Markdown table.")] = False,
) -> None:
    """List the features of a data set: name, family, formula, lookback in trading days, unit.

    In formulas, t is the day and t - 5 is five trading days before it.

    Example: `gogooku3 data features --family volatility`
    """
    from gogooku3.features.catalog import CATALOG, NOTES
    from gogooku3.features.extra import EXTRA

    listed = EXTRA if extra else CATALOG
    columns = ("name", "family", "formula", "lookback", "known" if extra else "unit")
    families = sorted({feature.family for feature in listed})
    if family is not None and family not in families:
        raise ConfigError(f"--family is '{family}', but the families are {choices(families, 30)}; choose one")
    chosen = [feature for feature in listed if family in (None, feature.family)]
    rows = [[str(getattr(feature, column)) for column in columns] for feature in chosen]
    if not markdown:
        print_table(f"{len(rows)} features", columns, rows, text=len(columns), wrapped=("formula",))
        for note in () if extra else NOTES:
            show(f"- {note}")
        return
    show("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        show("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
