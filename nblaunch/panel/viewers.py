"""`Viewers`: which pages show a panel, by the messages that they have sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nblaunch.panel.page_messages import FromPage

__all__ = ["Viewers"]


class Viewers:
    """The pages of one panel; one thread at a time may call `note`, any thread the other methods."""

    def __init__(self) -> None:
        # of each page: the number of its last message, and whether it shows the panel
        self._pages: dict[str, tuple[int, bool]] = {}
        # whether the panel is in a document that several people or the server write to
        self._is_shared = False

    def note(self, message: FromPage) -> None:
        """Take a message of a page; one that comes after a later message of the same page changes nothing."""
        if message["kind"] == "here":
            self._is_shared = self._is_shared or message["shared"]
        elif message["kind"] in ("hello", "gone"):
            last, _ = self._pages.get(message["client"], (0, False))
            if message["n"] >= last:
                self._pages[message["client"]] = message["n"], message["kind"] == "hello"

    def has_left(self) -> bool:
        """Tell whether pages have shown the panel, and none does now: its output was cleared, or pages were closed."""
        pages = list(self._pages.values())
        return bool(pages) and not any(shown for _, shown in pages)

    def takes_updates(self) -> bool:
        """Tell whether an update of the panel's output gets to the notebook.

        A server that runs cells on behalf of pages takes no updates; no page has drawn the panel then.
        """
        return bool(self._pages) or not self._is_shared
