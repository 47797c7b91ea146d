"""`gogooku3 runs`: the runs there are, and what sets some of them apart."""

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gogooku3.cli.output import print_table, say
from gogooku3.errors import ConfigError, DataError, choices

if TYPE_CHECKING:
    from gogooku3.runs.listing import RunSummary

COLUMNS = {
    "IC 1d": ("ic_1d", "+.4f"),
    "Rank IC": ("rank_ic", "+.4f"),
    "Sharpe net": ("sharpe_net", "+.2f"),
    "Drawdown net": ("drawdown_net", ".1%"),
}


class Order(StrEnum):
    """What runs can be sorted by."""

    newest = "newest"
    ic_1d = "ic_1d"
    rank_ic = "rank_ic"
    sharpe_net = "sharpe_net"
    drawdown_net = "drawdown_net"


def runs(
    compare: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Runs to compare: folders, or names as the list has them."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of all runs, as of `train`; `runs` by default."),
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="Only this experiment's.")] = None,
    sort: Annotated[
        Order,
        typer.Option(
            metavar="ORDER",
            help="The best model's score by which the best comes first: "
            f"{', '.join(list(Order)[1:])}; or newest.",
        ),
    ] = Order.newest,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Runs shown at most; all by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the runs with their headline scores, or compare some of them.

    With runs named: their scores side by side, and the settings in which they differ.

    Scores are pooled over folds: the IC one day ahead; rank IC, Sharpe and drawdown at the run's headline
    horizon, after costs. All is read from the folders; one that is broken, failed or still at work is
    listed as such.

    Example: `gogooku3 runs --sort rank_ic --limit 10`

    Example: `gogooku3 runs train/20250101-090000 train/20250102-090000`
    """
    from gogooku3.runs.listing import RunSummary, find_runs, sorted_by
    from gogooku3.settings import settings

    home = folder or settings.runs_dir
    if home.is_file():
        raise DataError(f"{home} is a file; name the folder that holds the runs")
    if compare:
        if experiment or limit or sort is not Order.newest:
            raise ConfigError(
                "--experiment, --sort and --limit choose from the list; leave them out, or the runs"
            )
        _compare([RunSummary.read(_place(name, home)) for name in compare], as_json)
        return
    found = find_runs(home)
    if experiment is not None:
        there = sorted({run.experiment for run in found})
        found = [run for run in found if run.experiment == experiment]
        if not found:
            raise DataError(f"no run of an experiment '{experiment}' in {home}; there are: {choices(there)}")
    if sort is not Order.newest:
        found = sorted_by(found, sort.value)
    _list(found[:limit], len(found), home, as_json)


def _place(name: str, home: Path) -> Path:
    """The folder of a run that is named by its path, or by its path below the folder of all runs."""
    for path in (Path(name), home / name):
        if path.is_dir():
            return path.resolve()
    raise DataError(f"no run in {name}, nor in {home / name}; `gogooku3 runs` lists those there are")


def _list(found: "Sequence[RunSummary]", total: int, home: Path, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([run.to_dict() for run in found], indent=2))
        return
    if not found:
        say(f"no runs in {home} yet; `gogooku3 demo` makes one, or name their folder with --out")
        return
    rows = [row for run in found for row in _rows(run)]
    shown = f"{len(found)} of {total}" if len(found) < total else f"{total}"
    print_table(
        f"{shown} {'run' if total == 1 else 'runs'} in {home}",
        ["Run", "Status", "Data", "Audit", "Model", "Ahead", *COLUMNS],
        rows,
        text=5,
    )
    _print_notes(found)


def _rows(run: "RunSummary") -> list[list[str]]:
    """A row a model; what is the run's is said once."""
    horizon = "-" if run.headline_horizon is None else f"{run.headline_horizon}d"
    models = [
        [model, horizon, *(_cell(scores[key], form) for key, form in COLUMNS.values())]
        for model, scores in run.scores.items()
    ] or [["-"] * (2 + len(COLUMNS))]
    first = [run.name, run.status, _data(run), run.audit or "-"]
    return [[*(first if not number else [""] * len(first)), *cells] for number, cells in enumerate(models)]


def _data(run: "RunSummary") -> str:
    """File and the fingerprint's first characters, by which two of one name are told apart."""
    if not run.data:
        return "-"
    return f"{Path(str(run.data.get('path'))).name} {str(run.data.get('fingerprint'))[:6]}"


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _print_notes(found: "Sequence[RunSummary]") -> None:
    for run in found:
        if run.note:
            say(f"{run.name}: {run.note}")


def _compare(found: "Sequence[RunSummary]", as_json: bool) -> None:
    from gogooku3.runs.listing import differing_settings

    differences = differing_settings(found)
    if as_json:
        told = {"runs": [run.to_dict() for run in found], "settings": differences}
        typer.echo(json.dumps(told, indent=2, default=str))
        return
    names = [run.name for run in found]
    facts = [
        ["status", *(run.status for run in found)],
        ["data", *(_data(run) for run in found)],
        ["audit", *(run.audit or "-" for run in found)],
        ["headline", *("-" if (days := run.headline_horizon) is None else f"{days}d" for run in found)],
    ]
    models = sorted({model for run in found for model in run.scores})
    scores = [
        [f"{model}: {title}", *(_cell(run.scores.get(model, {}).get(key), form) for run in found)]
        for model in models
        for title, (key, form) in COLUMNS.items()
    ]
    print_table("Scores", ["", *names], [*facts, *scores])
    if differences:
        rows = [[key, *map(_value, values)] for key, values in differences.items()]
        print()
        print_table("Settings that differ", ["Setting", *names], rows)
    elif len(found) > 1 and all(run.settings for run in found):
        print("\nThe settings do not differ.")
    prints = {run.data.get("fingerprint") for run in found if run.data}
    if len(prints) > 1:
        say("warning: the runs are of different data; their scores can't be compared")
    _print_notes(found)


def _value(value: Any) -> str:
    """A setting as YAML has it, nearly."""
    return value if isinstance(value, str) else json.dumps(value, default=str)
