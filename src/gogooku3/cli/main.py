"""`gogooku3`: the commands put together, and what a failure looks like."""

import atexit
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from gogooku3._version import __version__
from gogooku3.cli.audit import audit
from gogooku3.cli.data_build import build
from gogooku3.cli.data_describe import describe
from gogooku3.cli.data_features import features
from gogooku3.cli.data_fetch import fetch
from gogooku3.cli.data_synth import synth
from gogooku3.cli.data_validate import validate
from gogooku3.cli.demo import demo
from gogooku3.cli.evaluate import evaluate
from gogooku3.cli.export import export
from gogooku3.cli.predict import predict
from gogooku3.cli.runs import runs
from gogooku3.cli.train import train
from gogooku3.errors import GogookuError, Interrupted, file_error

USER_ERROR, BUG, INTERRUPTED = 2, 1, 130
DEBUG = "GOGOOKU3_DEBUG"
UsageError: Any = typer.BadParameter.__mro__[1]
"""Base of what typer raises about a command's arguments; typer doesn't export it."""

app = typer.Typer(
    name="gogooku3",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Make, fetch, build, list and check data: synth, fetch, build, describe, features, validate.",
)
app.command()(train)
app.command()(demo)
app.command()(evaluate)
app.command()(audit)
app.command()(predict)
app.command()(runs)
app.command()(export)
app.add_typer(data, name="data")
data.add_typer(fetch, name="fetch")
data.command()(synth)
data.command()(build)
data.command()(describe)
data.command()(features)
data.command()(validate)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gogooku3 {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train stock return forecasts without leaks, and score them honestly.

    Start with `gogooku3 demo`: it makes a market, trains both models on it, writes a report.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 2 something for the user to mend, 130 or 143 stopped, 1 a bug.

    With `GOGOOKU3_DEBUG=1` in the environment every failure shows its traceback.
    """
    # Idle OpenMP threads must sleep, not spin; libraries read this once, when they are first loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    if arguments is None:
        signal.signal(signal.SIGTERM, _stop)
    try:
        code = app(
            args=None if arguments is None else list(arguments), prog_name="gogooku3", standalone_mode=False
        )
    except GogookuError as error:
        _fail(f"error: {error}", USER_ERROR)
    except Interrupted as stopped:
        _fail(str(stopped), stopped.exit_code)
    except UsageError as error:
        _fail(_usage(error), USER_ERROR)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BaseException as error:
        # Polars' panics are no `Exception`; whoever wants to stop the process is to stop it.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if problem := file_error(error):
            _fail(f"error: {problem}", USER_ERROR)
        _fail(
            f"internal error: {type(error).__name__}: {error}\n"
            f"This is a bug of ours or of the machine's; {DEBUG}=1 shows where it happened.",
            BUG,
        )
    if code == INTERRUPTED:
        _fail("interrupted", INTERRUPTED)
    if arguments is None:
        _leave(code or 0)
    sys.exit(code or 0)


def _stop(number: int, _: object) -> NoReturn:
    """End as Ctrl-C does, so that half-written files are removed on the way out."""
    raise Interrupted(number)


def _leave(code: int) -> NoReturn:
    """Exit as the interpreter does, but don't take all modules apart, which takes 0.2 s with torch."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        # A reader that is gone; the interpreter has its own way to say so.
        sys.exit(code)
    os._exit(code)


def _usage(error: Any) -> str:
    """What is wrong with a command's arguments; without any, the command's help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error.format_message())
    command = error.ctx.command_path if error.ctx else "gogooku3"
    return f"error: {_unreadable(error) or error.format_message().rstrip('.')}; see `{command} --help`"


def _unreadable(error: Any) -> str | None:
    """What was expected of an option's value and what came, for which typer has pydantic's words."""
    if not hasattr(error.__cause__, "errors"):
        return None
    from gogooku3.config.messages import EXPECTED

    finding = error.__cause__.errors()[0]
    if finding["type"] not in EXPECTED:
        return str(error.format_message()).replace("Value error, ", "").rstrip(".")
    expected = EXPECTED[finding["type"]].format(**finding.get("ctx", {}))
    return f"{error.param.opts[0]}: expected {expected}, came '{finding['input']}'"


def _fail(message: str, code: int) -> NoReturn:
    if os.environ.get(DEBUG, "") not in ("", "0"):
        traceback.print_exc()
    print(message, file=sys.stderr)
    sys.exit(code)
