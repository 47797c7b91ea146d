"""Errors the user can fix; the CLI prints the message and exits with 2.

The same goes for a full disk or an unreadable file (`file_error`). Any other exception is a bug
(exit code 1).
"""

import difflib
import errno
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path


class GogookuError(ValueError):
    """Base of the errors that the user can fix."""


class DataError(GogookuError):
    """A file, frame or column violates the data contract."""


class ConfigError(GogookuError):
    """A setting is unknown, of the wrong type, or contradicts another."""


class Interrupted(BaseException):
    """A run stopped on request, by Ctrl-C or by the system; finished parts are kept.

    Args:
        signal: number of the signal.
        message: for the user, with how to continue.

    Attributes:
        exit_code: of the process, by shell convention: 128 plus the signal's number.
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
    errno.ENOENT: "it does not exist; restore it, or choose another",
    errno.ENOTDIR: "a part of its path is a file, not a folder; choose another folder",
    errno.EISDIR: "it is a folder; choose a file",
    errno.EEXIST: "something else has this name; choose another",
    errno.ENOTEMPTY: "something else has this name; choose another",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ELOOP: "its symbolic links form a loop; give the path of the file itself",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.EIO: "the disk reports an input/output error; check the disk",
}


def file_error(error: BaseException, path: Path | str | None = None) -> DataError | None:
    """Explain a disk failure to the user; None for any other failure.

    Polars and safetensors put the system's error number only in the message, so that is parsed too.

    Args:
        error: the exception.
        path: file that was being written; by default the one that an `OSError` names.

    >>> file_error(OSError(errno.ENOSPC, "No space left on device"), "runs/a.json")
    DataError('runs/a.json: no space is left on the disk; free some, or choose another folder')
    >>> file_error(ZeroDivisionError())
    """
    number, file = (error.errno, error.filename) if isinstance(error, OSError) else (None, None)
    if number is None and (match := re.search(r"\(os error (\d+)\)", str(error))):
        number = int(match[1])
    reason = _REASONS.get(number or 0)
    if reason is None:
        return None
    named = path or file
    return DataError(f"{named}: {reason}" if named else f"{reason} ({error})")


def visible(text: object, lines: bool = False) -> str:
    r"""Text for a terminal: control characters, marks of direction and lone surrogates become question marks.

    Args:
        text: anything; names in files may hold sequences that move the cursor or reverse the line.
        lines: keep line breaks and tabs.

    >>> visible("\x1b[2Ja\u202eb")
    '?[2Ja?b'
    """
    kept = "\n\t" if lines else ""
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(c if c in kept or unicodedata.category(c) not in hidden else "?" for c in str(text))


def choices(names: Iterable[object], limit: int = 12) -> str:
    """List names for a message: at most `limit`, each on one line and of at most 80 characters.

    >>> choices(["b", "a"])
    'b, a'
    >>> choices(range(20), limit=2)
    '0, 1, ... (20 in all)'
    """
    listed = [name if len(name) <= 80 else name[:77] + "..." for name in map(visible, names)]
    if len(listed) <= limit:
        return ", ".join(listed) or "none"
    return ", ".join(listed[:limit]) + f", ... ({len(listed)} in all)"


def did_you_mean(name: str, names: Sequence[str], cutoff: float = 0.6) -> str:
    """Suggest the closest existing name, for the middle of a message; a semicolon if none is close.

    Args:
        cutoff: similarity, from 0 to 1, at which a name counts as a misspelling of another.

    >>> did_you_mean("hiden_dim", ["hidden_dim", "dropout"])
    "; did you mean 'hidden_dim'?"
    >>> did_you_mean("x", ["hidden_dim", "dropout"])
    ';'
    """
    close = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    return f"; did you mean '{close[0]}'?" if close else ";"
