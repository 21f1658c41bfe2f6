"""Looks at the live panel by itself in Chromium: screenshots of made-up runs, and gaps between frames.

``python tests/javascript/look.py FOLDER`` takes the pictures, ``--measure`` measures instead.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

from nblaunch.panel.joining import STATIC, module_source

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

HERE = Path(__file__).parent
ADDRESS = "http://panel.test/"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def show_harness(page: Page) -> None:
    """Load the harness into a page, without a server."""
    module = module_source()

    def serve(route: Route) -> None:
        name = route.request.url.removeprefix(ADDRESS) or "harness.html"
        path = (STATIC if name == "panel.css" else HERE) / name
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
def opened(width: int = 1960, height: int = 900) -> Iterator[Page]:
    """Open the harness in Chromium; an error in the page is an error here."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=list(FLAGS),
            # a person sees them, and what they lie on
            ignore_default_args=["--hide-scrollbars"],
        )
        page = browser.new_page(viewport={"width": width, "height": height})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error.stack)))
        show_harness(page)
        yield page
        browser.close()
        if errors:
            raise RuntimeError("the panel raised:\n" + "\n".join(errors))


VIEWS: dict[str, dict[str, Any]] = {
    "running": {},
    "before": {"seconds": -1},
    "merged": {"mode": "Merged"},
    "folded": {"mode": "Folded"},
    "rank": {"mode": "Rank"},
    "failed": {"failing": 1},
    "first": {"failing": 1, "running": True},
    "stopped": {"stopped": True},
    "finished": {"over": True},
    "lost": {"lost": True},
    "asking": {"asking": 1},
    "warned": {"warned": 1},
    "bars": {"seconds": 2, "bar": True},
    "long": {"seconds": 1, "long": True},
    "stacks": {"stacks": True},
    "restarted": {"restart": "restart 1 of 3"},
    "search": {"find": "loss"},
}
WIDTHS = (420, 700, 1000, 1400, 1900)


def scenes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give names and options of the runs that are looked at."""
    for view, options in VIEWS.items():
        # 4 ranks are what most have, and each view in each theme is seen with them
        for nprocs in (1, 2, 4, 8, 16, 64, 256):
            if nprocs == 1 and options.get("mode"):
                continue
            own = {**options}
            for which in ("failing", "asking", "warned"):
                if which in own:
                    own[which] = min(own[which], nprocs - 1)
            for width in WIDTHS:
                for theme in ("light", "dark"):
                    yield f"{view}-{nprocs}-{width}-{theme}", {**own, "nprocs": nprocs, "width": width, "theme": theme}
    for theme in ("light", "dark", "contrast", "vscode"):
        yield f"colours-{theme}", {"nprocs": 1, "theme": theme, "colours": True, "nasty": True}
    for theme in ("contrast", "vscode"):
        for view in ("running", "failed", "asking", "lost"):
            yield f"{view}-4-1000-{theme}", {**VIEWS[view], "nprocs": 4, "theme": theme}
    yield "starting-16", {"nprocs": 16, "seconds": 2, "starting": 5}


def take(page: Page, folder: Path, wanted: str) -> None:
    """Take the pictures whose names match a regular expression."""
    for name, options in scenes():
        if not re.search(wanted, name):
            continue
        page.evaluate("options => { harness.show(options); return harness.settled() }", options)
        if options.get("mode") == "Rank":
            page.evaluate("document.querySelector('.nbl-modes select').dispatchEvent(new PointerEvent('pointerdown'))")
        elif "mode" in options:
            page.get_by_role("button", name=options["mode"]).click()
        if "stacks" in options:
            page.click(".nbl-ask")
            page.wait_for_selector(".nbl-stackslines")
        if "find" in options:
            page.fill(".nbl-field", options["find"])
        if "lost" in options:
            page.wait_for_selector(".nbl-lost")
        page.evaluate("harness.settled(20)")
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
    parser.add_argument("--only", default="", help="pictures whose names match this regular expression")
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
