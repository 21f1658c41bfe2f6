"""Execute a notebook in a clean kernel, keep what came of it, and print what it has to show.

``python notebooks/execute.py notebooks/quickstart.ipynb`` writes ``build/quickstart.ipynb`` and
``build/quickstart.html`` and prints the text output of the cells tagged ``show`` (of the last code cell where
none is tagged). When a cell fails, both files are still written, up to and including that cell's error; the
error goes to stderr and the exit status is 1.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from traitlets.config import Config

ANSI_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def cell_text(cell: NotebookNode) -> str:
    """Return what a code cell printed or evaluated to, as text without colours."""
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stdout":
            parts.append(output.text)
        elif output.output_type == "execute_result":
            parts.append(output.data.get("text/plain", ""))
    return ANSI_ESCAPE.sub("", "\n".join(part.rstrip("\n") for part in parts if part))


def shown_text(notebook: NotebookNode) -> str:
    """Return the text of the cells tagged ``show``, or of the last code cell where none is tagged."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [cell for cell in code if "show" in cell.metadata.get("tags", [])] or code[-1:]
    return "\n\n".join(filter(None, map(cell_text, shown)))


def run_cells(notebook: NotebookNode, directory: Path, timeout: float) -> Exception | None:
    """Fill in the notebook's outputs; return the error of the cell that failed, if one did."""
    # Unix sockets in a directory of our own: no open TCP port, and a path short enough for a socket's name
    with tempfile.TemporaryDirectory(prefix="nblaunch-") as runtime:
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=timeout,
            resources={"metadata": {"path": str(directory)}},
            config=Config({"KernelManager": {"transport": "ipc", "ip": f"{runtime}/kernel"}}),
        )
        failed: Exception | None = None
        try:
            client.execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failed = error
    return failed


def execute(source: Path, out_dir: Path, timeout: float) -> int:
    """Execute one notebook and return the exit status: 0, or 1 when a cell failed.

    Parameters
    ----------
    source : Path
        The notebook. It is read only, and its directory is the kernel's working directory.
    out_dir : Path
        Where the executed notebook and the HTML page go, under the notebook's own name.
    timeout : float
        Seconds that one cell may take.
    """
    notebook = nbformat.read(source, as_version=4)
    error = run_cells(notebook, source.resolve().parent, timeout)

    out_dir.mkdir(parents=True, exist_ok=True)
    executed, page = out_dir / source.name, out_dir / f"{source.stem}.html"
    nbformat.write(notebook, executed)
    html, _ = HTMLExporter().from_notebook_node(notebook, resources={"metadata": {"name": source.stem}})
    page.write_text(html, encoding="utf-8")

    if error is None:
        print(shown_text(notebook), end="\n\n")
    else:
        sys.stdout.flush()
        print(ANSI_ESCAPE.sub("", str(error)).rstrip(), file=sys.stderr)
    print(f"executed notebook: {executed}")
    print(f"as a web page:     {page}")
    return 0 if error is None else 1


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(description="Execute a notebook in a clean kernel and show what it says.")
    parser.add_argument("notebook", type=Path, help="the .ipynb file; it is not changed")
    parser.add_argument("--out-dir", type=Path, default=Path("build"), help="where the files go (default: build)")
    parser.add_argument("--timeout", type=float, default=300, help="seconds a cell may take (default: 300)")
    options = parser.parse_args(arguments)
    if not options.notebook.is_file():
        parser.error(f"no notebook at {options.notebook}: give the path of an existing .ipynb file")
    if options.out_dir.resolve() == options.notebook.resolve().parent:
        parser.error(f"--out-dir {options.out_dir} would overwrite the notebook itself: choose another directory")
    return execute(options.notebook, options.out_dir, options.timeout)


if __name__ == "__main__":
    raise SystemExit(main())
