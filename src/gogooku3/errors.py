"""Errors that a user can act on: what was expected, what came, what to try.

Anything raised from here is the user's to mend (exit code 2 at the command line, no
traceback), and so is a full disk or a file that may not be read. Every other exception is a
bug of ours (exit code 1).
"""

import difflib
import errno
import re
from collections.abc import Sequence
from pathlib import Path


class GogookuError(ValueError):
    """Base of every error that asks the user for a change."""


class DataError(GogookuError):
    """A file, frame or column is not what the data contract says."""


class ConfigError(GogookuError):
    """A setting is unknown, of the wrong type, or contradicts another."""


class Interrupted(BaseException):
    """A run was asked to stop, by Ctrl-C or by the system, and did; what was finished is kept.

    Args:
        signal: number of the signal.
        message: what to tell the person, with how to go on.

    Attributes:
        exit_code: of the process, by the shells' custom: 128 and the signal's number.
    """

    def __init__(self, signal: int, message: str = "interrupted") -> None:
        super().__init__(message)
        self.signal = signal
        self.exit_code = 128 + signal


_REASONS = {
    errno.ENOSPC: "no space is left on the disk; free some, or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some space, or choose another folder",
    errno.EFBIG: "it would be larger than this process may write (ulimit -f); raise the limit",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission is denied; change the permissions, or choose another folder",
    errno.EPERM: "permission is denied; change the permissions, or choose another folder",
    errno.ENOENT: "it is not there (any more); bring it back, or name another",
    errno.ENOTDIR: "a part of its path is a file, not a folder; choose another folder",
    errno.EISDIR: "it is a folder; name a file",
    errno.EEXIST: "something else has this name; choose another",
    errno.ENOTEMPTY: "something else has this name; choose another",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ELOOP: "its links lead in a circle; name the file itself",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.EIO: "the disk reports an input/output error; check the disk",
}


def file_error(error: BaseException, path: Path | str | None = None) -> DataError | None:
    """What a failure of the disk means to the user; None for any other failure.

    Polars and safetensors tell the system's error number in their text alone, so that is read too.

    Args:
        error: as it was raised.
        path: file that was being written; an `OSError` about another file names its own.

    >>> file_error(OSError(errno.ENOSPC, "No space left on device"), "runs/a.json")
    DataError('runs/a.json: no space is left on the disk; free some, or choose another folder')
    >>> file_error(ZeroDivisionError())
    """
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := re.search(r"\(os error (\d+)\)", str(error))):
        number = int(found[1])
    reason = _REASONS.get(number or 0)
    if reason is None:
        return None
    named = path or (error.filename if isinstance(error, OSError) else None)
    return DataError(f"{named}: {reason}" if named else f"{reason} ({error})")


def choices(names: object, limit: int = 12) -> str:
    """Spell the existing names for a message: the first `limit` of them, and of a long one its start.

    >>> choices(["b", "a"])
    'b, a'
    >>> choices(range(20), limit=2)
    '0, 1, ... (20 in all)'
    """
    listed = [_short(str(name)) for name in names]  # type: ignore[attr-defined]
    if len(listed) <= limit:
        return ", ".join(listed) or "none"
    return ", ".join(listed[:limit]) + f", ... ({len(listed)} in all)"


def did_you_mean(name: str, names: Sequence[str], cutoff: float = 0.6) -> str:
    """Offer the closest existing name, in the middle of a message; a bare semicolon where none is close.

    Args:
        cutoff: how alike two names must be, from 0 to 1, to be taken for one with a typing error.

    >>> did_you_mean("hiden_dim", ["hidden_dim", "dropout"])
    "; did you mean 'hidden_dim'?"
    >>> did_you_mean("x", ["hidden_dim", "dropout"])
    ';'
    """
    close = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    return f"; did you mean '{close[0]}'?" if close else ";"


def _short(name: str, limit: int = 80) -> str:
    """A name that fits on a line: no line breaks or control characters, and not too long."""
    plain = "".join(character if character.isprintable() else "?" for character in name)
    return plain if len(plain) <= limit else plain[: limit - 3] + "..."
