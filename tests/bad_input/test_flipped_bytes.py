"""One flipped bit anywhere in a run: every reader gives the same result or an error for the user."""

from pathlib import Path

from tests.bad_input.flip_bits import QUICK, RUN, problems


def test_a_flipped_bit_changes_no_number_in_silence(home: Path) -> None:
    (home / RUN).parent.mkdir(parents=True)
    (home / "run").rename(home / RUN)
    found = list(problems(home, 40, QUICK))
    assert not found, "\n".join(found)
