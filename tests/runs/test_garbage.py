"""Ranks that send what is no message, or a message with a body that makes no sense: failed ranks, and nothing more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nblaunch.events import DisplayKind, Ended, Exited, Launched, Started
from nblaunch.launching.session import launch
from nblaunch.launching.source import Notebook
from nblaunch.logs.run_logs import Logs
from nblaunch.messages.decoder import decode
from nblaunch.messages.displays import Display
from nblaunch.messages.reports import ErrorReport
from nblaunch.messages.values import Value
from nblaunch.messages.work import VALUE
from nblaunch.payload import Packed, pack, pack_named
from nblaunch.runs.recorder import Recorder
from nblaunch.runs.run import Run

GOOD = {
    "value": bytes(pack_named({VALUE: [1, 2.5, "text"], "loss": 0.5})),
    "error": ErrorReport.of(ValueError("boom"), "Traceback").pack(),
    "display": bytes(Display(DisplayKind.NEW, {"text/html": "<b>"}).pack()),
}

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
named = st.dictionaries(st.sampled_from([VALUE, "loss", "other"]), plain, max_size=3)


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """Return a good body with a piece of it cut out, changed, or put in."""
    body = bytearray(GOOD[draw(st.sampled_from(sorted(GOOD)))])
    start = draw(st.integers(0, len(body)))
    body[start : start + draw(st.integers(0, 6))] = draw(st.binary(max_size=6))
    return bytes(body)


bodies = st.one_of(
    st.binary(max_size=200),
    spoilt(),
    st.sampled_from(sorted(GOOD.values())),
    st.builds(lambda thing: bytes(pack(thing)), plain),
    st.builds(lambda thing: bytes(pack_named(thing)), named),
    st.builds(lambda stream: bytes(Packed(stream, [], set())), st.binary(max_size=40)),
    st.builds(
        lambda parts: b"".join(bytes(pack(part)) for part in parts),
        st.lists(st.fixed_dictionaries({"type": plain, "text": plain, "traceback": plain}), max_size=3),
    ),
)


class _NoLogs(Logs):
    """Logs that there are none of."""

    def __init__(self) -> None:
        self.path, self.temporary, self._ranks = "", False, {}


@settings(max_examples=300)
@given(st.sampled_from(["value", "error"]), bodies, st.booleans())
def test_any_last_word_leaves_a_run_that_has_ended(kind: str, body: bytes, mapped: bool) -> None:
    recorder = Recorder(2, _NoLogs(), collect=["loss"])
    run = recorder.run
    recorder.note(Launched(2, 0.0))
    for rank in range(2):
        recorder.note(Started(rank, 10 + rank, 0.0))
    sent: Any = [memoryview(body)] if mapped else bytearray(body)
    message = decode(0, kind, sent)
    assert message is not None
    recorder.note(message.event(0, 1.0))
    recorder.note(Value(bytearray(GOOD["value"])).event(1, 1.0))
    for rank in range(2):
        recorder.note(Exited(rank, 0, message.LAST_WORD, False, 2.0))
    recorder.note(Ended(3.0))

    assert run.wait(0)
    assert run.results[1] == [1, 2.5, "text"]
    assert sorted({*run.results, *run.failures}) == [0, 1]
    if run.failures:
        assert run.status == "failed"
        assert run.failures[0].summary()
        assert repr(run)
        with pytest.raises(Exception, match="1 of 2 ranks failed"):
            run.raise_for_failures()


# ---- real ranks

TO_ALL_SOCKETS = """
import os, socket, struct, threading
def send(data):
    for entry in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(entry))) as connection:
                connection.sendall(data)
        except OSError:
            continue
def framed(kind, body):
    return struct.pack("!4sBQd", b"NBLM", len(kind), len(body), 0.0) + kind + body
"""


def run_cell(source: str, nprocs: int = 2, **options: Any) -> Run:
    notebook = Notebook({"__name__": "__main__"})
    return launch(TO_ALL_SOCKETS + source, nprocs, notebook=notebook, quiet=True, **options)


@pytest.mark.parametrize("method", ["zygote", "forkserver", "spawn", "fork"])
def test_a_rank_that_writes_noise_to_its_socket_has_failed(method: str) -> None:
    run = run_cell(
        "if rank == 1:\n    send(os.urandom(10_000))\n    threading.Event().wait()\nrank",
        3,
        on_failure="continue",
        start_method=method,
    )
    assert run.results == {0: 0, 2: 2}
    assert run.status == "failed"
    summary = run.failures[1].summary()
    assert summary.startswith(f"rank 1 (pid {run.pids[1]}) was killed by SIGKILL: it broke its connection to the ")
    message = str(run.failures[1].message)
    assert "notebook (bytes that are no message: b" in message
    assert message.endswith(
        "). Look for code in this rank that writes to descriptors or sockets which it has not opened itself"
    )


@pytest.mark.parametrize("seed", range(6))
def test_noise_of_any_length_ends_the_run(seed: int) -> None:
    run = run_cell(
        f"import random\nrandom.seed({seed})\nif rank:\n    send(random.randbytes(random.choice([22, 23, 64, 5000])))\n"
        "    threading.Event().wait()\nrank",
    )
    assert (run.status, list(run.failures)[-1:], run.failures[1].collateral) == ("failed", [1], False)


def test_a_value_that_is_none() -> None:
    run = run_cell("if rank:\n    send(framed(b'value', b'garbage'))\nrank", on_failure="continue")
    assert run.results == {0: 0}
    assert run.failures[1].summary() == (
        "the value of rank 1 arrived but cannot be rebuilt in the notebook: ValueError: these bytes are not a payload "
        "(unpack_from requires a buffer of at least 8 bytes for unpacking 8 bytes at offset 0 "
        "(actual buffer size is 7))"
    )


def test_an_exception_that_is_none() -> None:
    run = run_cell("if rank:\n    send(framed(b'error', b'garbage'))\n    threading.Event().wait()\nrank", grace=0.1)
    assert run.status == "failed"
    failure = run.failures[1]
    assert failure.summary().startswith(
        f"rank 1 (pid {failure.pid}): it sent bytes that are no exception (ValueError: "
    )
    assert not failure.collateral


def test_other_kinds_and_displays_that_make_no_sense_are_passed_over() -> None:
    run = run_cell("if rank:\n    send(framed(b'display', os.urandom(99)) + framed(b'surprise', b'x'))\n\nrank")
    assert run.results == {0: 0, 1: 1}
    assert run.outputs == {0: [], 1: []}
