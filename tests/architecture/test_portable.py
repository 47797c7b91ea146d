"""No module of the package needs Linux or macOS to be imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog"}
"""Modules that Windows lacks."""
NAMES = {
    "os": {"fork", "uname", "getuid", "geteuid", "getpgid", "setsid", "killpg", "wait", "WNOHANG", "mkfifo"}
    | {"pread", "pwrite", "preadv", "pwritev", "sendfile", "fchmod", "O_DIRECT", "O_CLOEXEC", "O_NONBLOCK"},
    "signal": {"SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXFSZ", "SIGALRM", "alarm", "setitimer"},
}
"""Members that Windows lacks, and all that begin with one of `PREFIXES`."""
PREFIXES = ("posix_", "sched_", "pthread_")
GUARDS = ("hasattr", "sys.platform", "os.name", "platform.system", "suppress(AttributeError")
"""A function or statement that contains one of these checks the system first."""


def unportable(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of each use of what Windows lacks without a check of the system."""
    for node in _unguarded(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [(node.value.id, node.attr)]
        else:
            continue
        for module, name in names:
            if module in MODULES or (
                module in NAMES and (name in NAMES[module] or name.startswith(PREFIXES))
            ):
                yield node.lineno, f"{module}.{name}".rstrip(".")


def _unguarded(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        body = isinstance(node, ast.FunctionDef | ast.If | ast.Try | ast.With | ast.Return | ast.Assign)
        if body and any(guard in ast.unparse(node) for guard in GUARDS):
            continue
        if isinstance(node, ast.Try) and node.handlers:
            continue
        yield node
        yield from _unguarded(node)


def test_the_package_imports_on_every_system() -> None:
    files = list(SOURCE.rglob("*.py"))
    assert len(files) > 100
    found = [
        f"{file.relative_to(SOURCE)}:{line}: {name}"
        for file in files
        for line, name in unportable(file.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "planted",
    [
        "import fcntl",
        "def f():\n    import resource",
        "from fcntl import flock",
        "import os\nos.fork()",
        "import os\ndef f():\n    return os.uname()",
        "from os import fork",
        "import os\nos.posix_fadvise(0, 0, 0, 0)",
        "import os\nFLAGS = os.O_CLOEXEC",
        "import signal\nsignal.SIGKILL",
    ],
)
def test_each_unportable_use_is_found_when_planted(planted: str) -> None:
    assert list(unportable(planted))


@pytest.mark.parametrize(
    "guarded",
    [
        "try:\n    import fcntl\nexcept ImportError:\n    fcntl = None",
        "import os\nn = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 1",
        "import os, sys\ndef f():\n    if sys.platform != 'linux':\n        return\n    os.fork()",
        "import os, signal\nos.replace('a', 'b')\nsignal.SIGINT",
        "'import fcntl and os.fork() are words here'",
    ],
)
def test_a_checked_or_portable_use_is_allowed(guarded: str) -> None:
    assert not list(unportable(guarded))
