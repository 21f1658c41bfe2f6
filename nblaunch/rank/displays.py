"""`RankDisplayPublisher`: sends what a cell displays from the rank to the notebook.

::

    display(x), plt.show() ─► formatters ─► RankDisplayPublisher ─┬─► nothing but text: stdout
                                                                  └─► Display: data, metadata … ─► gang

An object that is displayed as text only is printed, so that it is in the log, in order with the rank's other output.
Everything richer is sent as JSON that frontends understand, and not printed. ``clear_output`` does both: it sends a
message for what was displayed, and marks the log after what was printed (see `nblaunch.rank.cleared`).
"""

from __future__ import annotations

import base64
import math
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from numbers import Integral, Real
from typing import Any

from IPython.core.displaypub import DisplayPublisher

from nblaunch.events import DisplayKind
from nblaunch.messages.displays import Display
from nblaunch.payload import NotEnoughMemory, Packed, store_if_large
from nblaunch.processes.child.channel import Channel, in_whole
from nblaunch.rank.cleared import ClearedLogs
from nblaunch.wording import in_words

__all__ = ["DisplayNotSent", "RankDisplayPublisher", "as_plain"]

_WIDGET = "application/vnd.jupyter.widget-view+json"
_WIDGET_HINT = (
    "(A widget of a rank is shown as text: its variables are in another process, so it could not be operated. "
    "Display widgets in an ordinary cell.)"
)


class DisplayNotSent(OSError):
    """What a cell displays could not be sent to the notebook."""


class RankDisplayPublisher(DisplayPublisher):
    """Sends displays over a channel. Without a channel, and in processes that the rank forks, it prints their text."""

    _channel: Channel | None = None
    _owner = 0
    _hint_printed = False
    _has_shown = False
    _logs: ClearedLogs | None = None

    def connect(self, channel: Channel | None) -> None:
        """Send over this channel from now on; None prints text instead."""
        self._channel = channel
        self._owner = os.getpid()

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **_: object,
    ) -> None:
        """Publish representations of an object.

        Raises
        ------
        DisplayNotSent
            If there is not enough memory to send them, or the connection to the notebook is lost.
        TypeError, ValueError
            If `data` or `metadata` is no dictionary, or holds something that cannot be JSON.
        """
        self._validate_data(data, metadata)
        display_id = (transient or {}).get("display_id")
        is_widget = _WIDGET in data
        if is_widget:
            data = {mime: content for mime, content in data.items() if mime != _WIDGET}
        # text with a display id is not printed, because it may be updated later
        plain = not update and display_id is None and data.keys() <= {"text/plain"}
        if plain or not self._is_connected():
            if "text/plain" in data:
                print(data["text/plain"])
        else:
            if not update:
                self._has_shown = True
                if self._logs is not None:
                    self._logs.clear_if_waiting()
            kind = DisplayKind.UPDATE if update else DisplayKind.NEW
            name = None if display_id is None else str(display_id)
            self._send(Display(kind, as_plain(data), as_plain(metadata or {}), name))
        if is_widget and not self._hint_printed:
            self._hint_printed = True
            print(_WIDGET_HINT)

    def clear_output(self, wait: bool = False) -> None:
        """Clear what this rank has displayed and printed; with `wait`, not before it displays or prints again."""
        if not self._is_connected():
            return
        if self._logs is None:
            self._logs = ClearedLogs(self._clear_displays)
        self._logs.clear(bool(wait))
        if self._has_shown:
            self._has_shown = bool(wait)
            self._send(Display(DisplayKind.CLEAR, wait=bool(wait)))

    def _clear_displays(self) -> None:
        """Clear the displays for which ``clear_output(wait=True)`` has waited, because text is printed now."""
        if self._has_shown and self._is_connected():
            self._has_shown = False
            self._send(Display(DisplayKind.CLEAR))

    def rehearse(self, channel: Channel | None) -> None:
        """Send an empty display, over this channel if there is one. No thread is started, which would leave traces."""
        packed = store_if_large(Display(DisplayKind.NEW, as_plain({"text/html": ""})).pack())
        if channel is not None:
            channel.send(Display.KIND, packed)

    def _is_connected(self) -> bool:
        return self._channel is not None and os.getpid() == self._owner

    def _send(self, display: Display) -> None:
        # so that text printed before the display is in the log when the display arrives
        sys.stdout.flush()
        sys.stderr.flush()
        assert self._channel is not None
        channel, packed = self._channel, display.pack()
        try:
            in_whole(lambda: channel.send(Display.KIND, store_if_large(packed)))
        except OSError as error:
            raise DisplayNotSent(_why(packed, error)) from None


def _why(packed: Packed, error: OSError) -> str:
    size = in_words(packed.size)
    if isinstance(error, NotEnoughMemory):
        return (
            f"this output takes {size}, and there is not enough memory to send it to the notebook. Display less of it, "
            "for example a figure with a lower dpi, or save it to a file"
        )
    return f"this output ({size}) cannot be sent: the connection to the notebook does not work any more ({error})"


def as_plain(value: object) -> Any:
    """Return an object as JSON can hold it, as ipykernel does: bytes in base64, numbers of NumPy as numbers.

    Raises
    ------
    TypeError
        If JSON cannot hold it.
    """
    kind = type(value)
    if kind in (str, bool, int) or value is None:
        return value
    if isinstance(value, str):
        return str.__str__(value)  # the value of a member of an enumeration, not its name
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {str(key): as_plain(inner) for key, inner in value.items()}
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else repr(number)
    if isinstance(value, Iterable):
        return [as_plain(inner) for inner in value]
    raise TypeError(f"an output holds a {kind.__name__}, which JSON does not have: {value!r:.200}")
