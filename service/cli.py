"""The command line `groundwatch`: a dispatch that imports a command's module only when it runs.

Results go to stdout (`--json`: one JSON object, or JSON lines), everything else to stderr. Exit codes: 0 done, 1 the answer is "no" (a
check failed, an explanation differs), 2 unusable input or configuration, 3 some rows were rejected. This file finishes with `main`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence

from domain.errors import GroundWatchError
from service.parser import build_parser

Command = Callable[[argparse.Namespace], int]
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Read by numpy when it is first imported: many small fits run an order of magnitude slower when each starts threads of its own."""
CHATTY = ("yoyo", "httpx", "apscheduler")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors are one sentence with the remedy, never a traceback."""
    arguments = build_parser().parse_args(argv)
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, "1")
    logging.basicConfig(
        level=os.environ.get("GROUNDWATCH_LOG_LEVEL", "INFO").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        return _load(arguments.run)(arguments)
    except GroundWatchError as error:
        return _refuse(error, as_json=getattr(arguments, "json", False))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def _load(target: str) -> Command:
    module, function = target.split(":")
    command: Command = getattr(importlib.import_module(module), function)
    return command


def _refuse(error: GroundWatchError, *, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(
            json.dumps(
                {"ok": False, "error": error.code, "what": error.what, "where": error.where, "remedy": error.remedy},
                ensure_ascii=False,
            )
            + "\n"
        )
    sys.stderr.write(f"groundwatch: {error}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
