"""`gogooku3 runs`: lists runs and compares some of them."""

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from gogooku3.cli.options import AsJson, RunsFolder
from gogooku3.cli.output import print_json, print_table, say, show
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
    """Sort orders."""

    newest = "newest"
    ic_1d = "ic_1d"
    rank_ic = "rank_ic"
    sharpe_net = "sharpe_net"
    drawdown_net = "drawdown_net"


def runs(
    compare: Annotated[
        list[str] | None, Argument(metavar="RUN", help="Runs to compare: folders, or names as in the list.")
    ] = None,
    folder: RunsFolder = None,
    experiment: Annotated[str | None, Option(help="List only runs of this experiment.")] = None,
    sort: Annotated[
        Order, Option(metavar="ORDER", help=f"Sort by best score: {', '.join(list(Order)[1:])}; or newest.")
    ] = Order.newest,
    limit: Annotated[int | None, Option(min=1, metavar="N", help="Runs to list; all by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """List runs with their headline scores, or compare some of them.

    With runs named: their scores side by side, and the settings in which they differ.

    Scores are pooled over folds: IC one day ahead; rank IC, Sharpe and drawdown at the run's headline
    horizon, after costs. Broken, failed and running runs are listed with their status.

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
                "--experiment, --sort and --limit apply to the list of runs; drop them, or the names of runs"
            )
        _compare([RunSummary.read(_run_folder(name, home)) for name in compare], as_json)
        return
    summaries = find_runs(home)
    if experiment is not None:
        experiments = sorted({run.experiment for run in summaries})
        summaries = [run for run in summaries if run.experiment == experiment]
        if not summaries:
            raise DataError(
                f"no run of an experiment '{experiment}' in {home}; there are: {choices(experiments)}"
            )
    if sort is not Order.newest:
        summaries = sorted_by(summaries, sort.value)
    _list(summaries[:limit], len(summaries), home, as_json)


def _run_folder(name: str, home: Path) -> Path:
    """Folder of a run given by its path, or by its path below the folder of all runs."""
    for path in (Path(name), home / name):
        if path.is_dir():
            return path.resolve()
    raise DataError(f"no run in {name}, nor in {home / name}; name one that `gogooku3 runs` lists")


def _list(summaries: "Sequence[RunSummary]", total: int, home: Path, as_json: bool) -> None:
    if as_json:
        print_json([run.to_dict() for run in summaries])
        return
    if not summaries:
        say(f"no runs in {home} yet; `gogooku3 demo` makes one, or name their folder with --out")
        return
    count = f"{len(summaries)} of {total}" if len(summaries) < total else f"{total}"
    print_table(
        f"{count} {'run' if total == 1 else 'runs'} in {home}",
        ["Run", "Status", "Data", "Audit", "Model", "Ahead", *COLUMNS],
        [row for run in summaries for row in _rows(run)],
        text=5,
    )
    _print_notes(summaries)


def _rows(run: "RunSummary") -> list[list[str]]:
    """One row per model; only the first carries the facts of the run."""
    models = [
        [model, _ahead(run), *(_cell(scores[key], form) for key, form in COLUMNS.values())]
        for model, scores in run.scores.items()
    ] or [["-"] * (2 + len(COLUMNS))]
    facts = [run.name, run.status, _data(run), run.audit or "-"]
    return [[*(facts if not number else [""] * len(facts)), *cells] for number, cells in enumerate(models)]


def _ahead(run: "RunSummary") -> str:
    return "-" if run.headline_horizon is None else f"{run.headline_horizon}d"


def _data(run: "RunSummary") -> str:
    """Name of the data set and the start of its fingerprint."""
    if not run.data:
        return "-"
    return f"{Path(str(run.data.get('path'))).name} {str(run.data.get('fingerprint'))[:6]}"


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _print_notes(summaries: "Sequence[RunSummary]") -> None:
    for run in summaries:
        if run.note:
            say(f"{run.name}: {run.note}")


def _compare(summaries: "Sequence[RunSummary]", as_json: bool) -> None:
    from gogooku3.runs.listing import differing_settings

    differences = differing_settings(summaries)
    if as_json:
        print_json({"runs": [run.to_dict() for run in summaries], "settings": differences})
        return
    names = [run.name for run in summaries]
    facts = [
        ["status", *(run.status for run in summaries)],
        ["data", *map(_data, summaries)],
        ["audit", *(run.audit or "-" for run in summaries)],
        ["headline", *map(_ahead, summaries)],
    ]
    scores = [
        [f"{model}: {title}", *(_cell(run.scores.get(model, {}).get(key), form) for run in summaries)]
        for model in sorted({model for run in summaries for model in run.scores})
        for title, (key, form) in COLUMNS.items()
    ]
    print_table("Scores", ["", *names], [*facts, *scores])
    if differences:
        # Texts unquoted, anything else as JSON.
        rows = [
            [key, *(each if isinstance(each, str) else json.dumps(each, default=str) for each in values)]
            for key, values in differences.items()
        ]
        show()
        print_table("Settings that differ", ["Setting", *names], rows)
    elif len(summaries) > 1 and all(run.settings for run in summaries):
        show("\nThe settings do not differ.")
    if len({run.data.get("fingerprint") for run in summaries if run.data}) > 1:
        say("warning: the runs use different data, so their scores can't be compared")
    _print_notes(summaries)
