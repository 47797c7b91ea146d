"""`gogooku3`: assembles the commands and turns failures into messages and exit codes."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer import Option

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
from gogooku3.cli.output import say, show
from gogooku3.cli.predict import predict
from gogooku3.cli.runs import runs
from gogooku3.cli.train import train
from gogooku3.errors import GogookuError, Interrupted, file_error

USER_ERROR, BUG, INTERRUPTED = 2, 1, 130
DEBUG = "GOGOOKU3_DEBUG"
UsageError: Any = typer.BadParameter.__base__
"""Raised by typer for bad arguments; typer exports only its subclasses."""

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
COMMANDS: tuple[Callable[..., None], ...] = (train, demo, evaluate, audit, predict, runs, export)
DATA_COMMANDS: tuple[Callable[..., None], ...] = (synth, build, describe, features, validate)
for command in COMMANDS:
    app.command()(command)
app.add_typer(data, name="data")
data.add_typer(fetch, name="fetch")
for command in DATA_COMMANDS:
    data.command()(command)


def _print_version(requested: bool) -> None:
    if requested:
        show(f"gogooku3 {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train stock return forecasts without look-ahead and score them out of sample.

    Start with `gogooku3 demo`: it makes a market, trains every model on it and writes a report.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 success, 2 an error the user can fix, 130 or 143 stopped, 1 a bug.

    `GOGOOKU3_DEBUG=1` in the environment adds a traceback to every failure.
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
        # A panic of Polars is a BaseException; any other (such as SystemExit) passes.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if problem := file_error(error):
            _fail(f"error: {problem}", USER_ERROR)
        _fail(
            f"internal error: {type(error).__name__}: {error}\n"
            f"This is a bug in gogooku3 or a fault of the machine; {DEBUG}=1 shows the traceback.",
            BUG,
        )
    if code == INTERRUPTED:
        _fail("interrupted", INTERRUPTED)
    sys.exit(code or 0)


def _stop(number: int, _: object) -> NoReturn:
    """Stop as Ctrl-C does, so that half-written files are removed."""
    raise Interrupted(number)


def _usage(error: Any) -> str:
    """Describe bad arguments; without arguments, return the command's help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error.format_message())
    command = error.ctx.command_path if error.ctx else "gogooku3"
    return f"error: {_bad_value(error) or error.format_message().rstrip('.')}; see `{command} --help`"


def _bad_value(error: Any) -> str | None:
    """Describe an option's value that failed validation, in our words instead of pydantic's."""
    if not hasattr(error.__cause__, "errors"):
        return None
    from gogooku3.config.messages import EXPECTED

    details = error.__cause__.errors()[0]
    if details["type"] not in EXPECTED:
        return str(error.format_message()).replace("Value error, ", "").rstrip(".")
    expected = EXPECTED[details["type"]].format(**details.get("ctx", {}))
    return f"{error.param.opts[0]}: expected {expected}, came '{details['input']}'"


def _fail(message: str, code: int) -> NoReturn:
    if os.environ.get(DEBUG, "") not in ("", "0"):
        traceback.print_exc()
    say(message)
    sys.exit(code)
