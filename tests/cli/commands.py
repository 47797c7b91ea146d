"""Runs a command of gogooku3 in this process."""

import pytest

from gogooku3.cli.main import main


def run_command(command: str, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as exit_:
        main([command, *map(str, arguments)])
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, *capsys.readouterr()
