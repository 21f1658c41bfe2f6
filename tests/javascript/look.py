"""Looks at the live panel by itself in Chromium: screenshots of made-up runs, and gaps between frames.

``python tests/javascript/look.py FOLDER`` takes the pictures, ``--measure`` measures instead.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

from nblaunch.panel.widget import module_source

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "nblaunch" / "panel"
ADDRESS = "http://panel.test/"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def show_harness(page: Page) -> None:
    """Load the harness into a page, without a server."""
    module = module_source()

    def serve(route: Route) -> None:
        name = route.request.url.removeprefix(ADDRESS) or "harness.html"
        path = (SOURCES if name == "panel.css" else HERE) / name
        if name == "panel.js":
            route.fulfill(body=module, content_type=TYPES[".js"])
        elif path.is_file():
            route.fulfill(body=path.read_text(), content_type=TYPES[path.suffix])
        else:
            route.fulfill(status=404)

    page.route("**/*", serve)
    page.goto(ADDRESS)
    page.wait_for_function("window.harness")


@contextmanager
def opened(width: int = 1480, height: int = 900) -> Iterator[Page]:
    """Open the harness in Chromium; an error in the page is an error here."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = browser.new_page(viewport={"width": width, "height": height})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error.stack)))
        show_harness(page)
        yield page
        browser.close()
        if errors:
            raise RuntimeError("the panel raised:\n" + "\n".join(errors))


def scenes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give names and options of the runs that are looked at."""
    for nprocs in (1, 2, 3, 4, 8, 16, 64, 256):
        for width in (420, 700, 1000, 1400):
            theme = "light" if width in (420, 1000) else "dark"
            yield f"ranks-{nprocs}-{width}-{theme}", {"nprocs": nprocs, "width": width, "theme": theme}
    for nprocs in (1, 2, 4, 8, 16, 256):
        for theme in ("light", "dark", "contrast"):
            yield f"failed-{nprocs}-{theme}", {"nprocs": nprocs, "theme": theme, "failing": min(2, nprocs - 1)}
    for nprocs in (2, 8, 16, 256):
        for width in (560, 1230):
            root = min(2, nprocs - 1)
            yield f"first-{nprocs}-{width}", {"nprocs": nprocs, "width": width, "failing": root, "running": True}
    for nprocs in (4, 16, 64, 256):
        yield f"warned-{nprocs}", {"nprocs": nprocs, "warned": 1}
    for nprocs in (2, 4, 16, 64, 256):
        for theme in ("light", "dark"):
            yield f"asking-{nprocs}-{theme}", {"nprocs": nprocs, "theme": theme, "asking": 1}
    for nprocs in (1, 2, 4, 8, 16, 256):
        for theme, width in (("light", 1000), ("dark", 1000), ("contrast", 560)):
            yield f"stacks-{nprocs}-{theme}", {"nprocs": nprocs, "theme": theme, "width": width, "stacks": True}
    for nprocs in (4, 16):
        yield f"restarted-{nprocs}", {"nprocs": nprocs, "restart": "restart 1 of 3"}
    yield "over-4", {"nprocs": 4, "over": True}
    yield "starting-4", {"nprocs": 4, "seconds": -1}
    yield "starting-16", {"nprocs": 16, "seconds": 2, "starting": 5}
    for theme in ("light", "dark", "contrast", "vscode"):
        yield f"colours-{theme}", {"nprocs": 1, "theme": theme, "colours": True, "nasty": True}
    yield "vscode-4", {"nprocs": 4, "theme": "vscode"}
    for mode in ("Merged", "Folded"):
        for theme in ("light", "dark"):
            yield f"{mode.lower()}-{theme}", {"nprocs": 4, "theme": theme, "mode": mode}


def take(page: Page, folder: Path, wanted: str) -> None:
    """Take the pictures whose names contain a text."""
    for name, options in scenes():
        if wanted not in name:
            continue
        page.evaluate("options => { harness.show(options); return harness.settled() }", options)
        if "mode" in options:
            page.get_by_role("button", name=options["mode"]).click()
            page.evaluate("harness.settled()")
        if "stacks" in options:
            page.click(".nbl-ask")
            page.wait_for_selector(".nbl-stackslines")
        page.wait_for_timeout(400)
        page.locator("#cell").screenshot(path=folder / f"{name}.png")


def measure(page: Page) -> None:
    """Print gaps between frames, in milliseconds."""
    page.evaluate("harness.flood(4, 1000, 1)")  # compiled once
    for label, call in (
        ("4 ranks, 100,000 lines/s", "harness.flood(4, 100000, 2)"),
        ("4 ranks, 100,000 lines/s, merged", "harness.flood(4, 100000, 2, {mode: 'Merged'})"),
        ("4 ranks, 100,000 lines/s, folded", "harness.flood(4, 100000, 2, {mode: 'Folded'})"),
        ("8 ranks, 100,000 lines/s", "harness.flood(8, 100000, 2)"),
        ("256 ranks, 10,000 lines/s", "harness.flood(256, 10000, 4)"),
        ("256 ranks, 10,000 lines/s, merged", "harness.flood(256, 10000, 4, {mode: 'Merged'})"),
    ):
        print(label, json.dumps(page.evaluate(call)), flush=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/screenshots"))
    parser.add_argument("--only", default="", help="pictures whose names contain this")
    parser.add_argument("--measure", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with opened() as page:
        if options.measure:
            measure(page)
        else:
            take(page, options.folder, options.only)


if __name__ == "__main__":
    main()
