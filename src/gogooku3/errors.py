"""Errors that a user can act on: what was expected, what came, what to try.

Anything raised from here is the user's to mend (exit code 2 at the command line, no
traceback). Every other exception is a bug of ours (exit code 1).
"""


class GogookuError(ValueError):
    """Base of every error that asks the user for a change."""


class DataError(GogookuError):
    """A file, frame or column is not what the data contract says."""


class ConfigError(GogookuError):
    """A setting is unknown, of the wrong type, or contradicts another."""


def choices(names: object, limit: int = 12) -> str:
    """Spell the existing names for a message, shortened to `limit`.

    >>> choices(["b", "a"])
    'b, a'
    >>> choices(range(20), limit=2)
    '0, 1, ... (20 in all)'
    """
    listed = [str(name) for name in names]  # type: ignore[attr-defined]
    if len(listed) <= limit:
        return ", ".join(listed) or "none"
    return ", ".join(listed[:limit]) + f", ... ({len(listed)} in all)"
