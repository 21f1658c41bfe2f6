"""Release a copy of this tree into an index on this machine, install it from there and run two ranks with it.

``make try-release`` runs it with the Python that has the tools. Everything lies below ``build/release``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import venv
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pypiserver

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "build" / "release" / "tried"
CHECK = """
import importlib.metadata
import nblaunch
assert nblaunch.__version__ == importlib.metadata.version("nblaunch") == {version!r}
assert nblaunch.launch("rank * 10", 2, panel="none").results == {{0: 0, 1: 10}}
print("nblaunch", nblaunch.__version__, "runs from", nblaunch.__file__)
"""


class Quiet(WSGIRequestHandler):
    """Answers without a line for each request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def copy_tree(tree: Path) -> None:
    """Copy what is in this working tree, changes that are not committed too, into a repository of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "The tree"]):
        subprocess.run(["git", *command], cwd=tree, check=True)


def main() -> None:
    """Release, install and run."""
    shutil.rmtree(PLACE, ignore_errors=True)
    tree, index = PLACE / "tree", PLACE / "index"
    index.mkdir(parents=True)
    for role in ("AUTHOR", "COMMITTER"):
        os.environ |= {f"GIT_{role}_NAME": "nobody", f"GIT_{role}_EMAIL": "nobody@localhost"}
    # a hook of git names its own repository, and PYTHONPATH may name this tree
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "PYTHONPATH"):
        os.environ.pop(name, None)
    copy_tree(tree)
    (last,) = re.findall(r'^__version__ = "([\d.]+)', (tree / "nblaunch" / "__init__.py").read_text(), re.MULTILINE)
    version = f"{last}rc999"
    app = pypiserver.app(roots=[index], authenticate=[], password_file=".", disable_fallback=True)
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        to_index = os.environ | {"TWINE_USERNAME": "anybody", "TWINE_PASSWORD": "anything", "NO_PROXY": "127.0.0.1"}
        subprocess.run([tree / ".ci" / "release", version, url], env=to_index, check=True)
        empty = PLACE / "empty"
        venv.create(empty, with_pip=True)
        pip = [str(empty / "bin" / "python"), "-m", "pip", "install", "-qq", "--no-compile"]
        from_index = [*pip, "--no-deps", "--isolated", "--index-url", f"{url}simple/", f"nblaunch=={version}"]
        subprocess.run(from_index, env=to_index, check=True)
        subprocess.run([*pip, f"nblaunch=={version}"], check=True)
        server.shutdown()
    subprocess.run([empty / "bin" / "python", "-c", CHECK.format(version=version)], cwd=PLACE, check=True)


if __name__ == "__main__":
    main()
