"""A process with all imports done that forks one run per line, so that a test can kill many runs cheaply.

Reads lines of JSON, the arguments of `gogooku3`; prints the child's process id, then its exit code.
"""

import json
import os
import sys
from typing import NoReturn

import lightgbm  # noqa: F401
import plotly.graph_objects  # noqa: F401
import torch

import gogooku3.pipeline.run  # noqa: F401
from gogooku3.cli.main import main


def serve() -> None:
    """Fork one run per line until the input ends."""
    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _run(request["arguments"], request["log"])
        print(child, flush=True)
        status = os.waitpid(child, 0)[1]
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(arguments: list[str], log: str) -> NoReturn:
    """One run in this process, which ends with it."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        main(arguments)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    os._exit(0)


if __name__ == "__main__":
    serve()
