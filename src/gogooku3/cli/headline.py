"""What every run ends with: the table model x horizon, and what it amounts to in sentences."""

from typing import Any

from gogooku3.cli.output import print_table

LEFT_TO_THE_REPORT = ("95% interval", "Turnover a day")
"""Columns that don't fit beside the others in 80 characters."""


def print_headline(scores: dict[str, Any]) -> None:
    """Print the pooled scores of `score_predictions`, a row a model and horizon, then the verdict."""
    from gogooku3.reporting.tables import headline_rows, verdict

    rows = headline_rows(scores)
    columns = [column for column in rows[0] if column not in LEFT_TO_THE_REPORT] if rows else []
    cost = scores["settings"]["cost_bps"]
    counted = scores["rows"]
    print_table(
        f"Out of sample, {counted['first_date']} to {counted['last_date']}, {counted['n_stocks']} stocks, "
        f"net of {cost:g} bp",
        columns,
        [[row[column] for column in columns] for row in rows],
        text=2,
    )
    for sentence in verdict(scores):
        print(sentence)
