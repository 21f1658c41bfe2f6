"""`Viewers`: which pages show a panel, by what they have said."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nblaunch.panel.page_messages import FromPage

__all__ = ["Viewers"]


class Viewers:
    """The pages of one panel; `note` is called by one thread at a time, and all may ask."""

    def __init__(self) -> None:
        # of each page: the number of its last word, and whether it shows the panel
        self._pages: dict[str, tuple[int, bool]] = {}
        # it is in a document that several people or the server write to
        self._is_shared = False

    def note(self, message: FromPage) -> None:
        """Take a message of a page. One that was overtaken by a later one over the other channel changes nothing."""
        if message["kind"] == "here":
            self._is_shared = self._is_shared or message["shared"]
        elif message["kind"] in ("hello", "gone"):
            last, _ = self._pages.get(message["client"], (0, False))
            if message["n"] >= last:
                self._pages[message["client"]] = message["n"], message["kind"] == "hello"

    def has_left(self) -> bool:
        """Tell whether pages have shown the panel and none does now: its output was cleared, or they were closed."""
        pages = list(self._pages.values())
        return bool(pages) and not any(shown for _, shown in pages)

    def takes_updates(self) -> bool:
        """Tell whether what is published in the place of the panel gets there.

        A server that runs the cell for pages takes no updates, and then none of them has drawn the panel.
        """
        return bool(self._pages) or not self._is_shared
