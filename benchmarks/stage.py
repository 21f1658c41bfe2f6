"""The process in which one contender lives: ``python -m benchmarks.stage REPLIES MODULE:CLASS ARGUMENTS``.

Requests come as lines on its standard input (``setup``, ``sample``, ``close``); answers go, as JSON lines, to a
descriptor of their own, because what contenders print is theirs. It imports next to nothing by itself: processes that
`multiprocessing` makes import it once more.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any


def _main(replies: int, named: str, arguments: dict[str, Any]) -> None:
    os.set_inheritable(replies, False)
    # contenders' processes get no hold of the requests
    requests = os.fdopen(os.dup(0), "r")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    module, _, name = named.partition(":")
    contender = None
    while request := requests.readline().strip():
        try:
            if contender is None:
                contender = getattr(importlib.import_module(module), name)(**arguments)
            answer = getattr(contender, request)() or {}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        os.write(replies, f"{json.dumps(answer)}\n".encode())


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
