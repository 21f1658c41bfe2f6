"""Whatever a rank writes to its control socket, the gang gets messages or a `ProtocolError`, and never waits."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nblaunch.processes.channel import Channel, Inbox, Message, ProtocolError

HEADER = struct.Struct("!4sBQd")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Inbox]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield theirs, Inbox(ours)


def framed(kind: bytes, body: bytes, size: int | None = None, mark: bytes = b"NBLM") -> bytes:
    return HEADER.pack(mark, len(kind), len(body) if size is None else size, 1.5) + kind + body


def inline(message: Message) -> bytes:
    assert isinstance(message.body, bytearray)
    return bytes(message.body)


def test_messages_arrive_as_they_were_sent(ends: tuple[socket.socket, Inbox]) -> None:
    theirs, inbox = ends
    before = time.monotonic()
    channel = Channel(theirs)
    channel.send("first", b"abcd")
    channel.send("second")
    first, second = inbox.receive()
    assert (first.kind, inline(first)) == ("first", b"abcd")
    assert (second.kind, inline(second)) == ("second", b"")
    assert before <= first.at <= second.at <= time.monotonic()
    assert inbox.receive() == []
    assert not inbox.closed
    theirs.close()
    assert inbox.receive() == []
    assert inbox.closed


def test_a_long_message_is_put_together(ends: tuple[socket.socket, Inbox]) -> None:
    theirs, inbox = ends
    body = bytes(range(256)) * (20 << 10)  # more than the socket's buffer

    def send() -> None:
        Channel(theirs).send("value", body)
        theirs.close()

    sender = threading.Thread(target=send)
    sender.start()
    messages: list[Message] = []
    while not inbox.closed:
        messages += inbox.receive()
    sender.join()
    assert [inline(message) for message in messages] == [body]


def test_messages_of_threads_do_not_mix(ends: tuple[socket.socket, Inbox]) -> None:
    theirs, inbox = ends
    channel = Channel(theirs)

    def send(letter: bytes) -> None:
        for _ in range(50):
            channel.send(letter.decode(), letter * 100)

    threads = [threading.Thread(target=send, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    messages: list[Message] = []
    while len(messages) < 150:
        messages += inbox.receive()
    for thread in threads:
        thread.join()
    assert all(inline(message) == message.kind.encode() * 100 for message in messages)


@pytest.mark.parametrize(
    "garbage",
    [
        b"x" * 100,
        framed(b"value", b"", mark=b"ABCD"),
        framed(b"", b"body"),
        framed(b"value", b"", size=1 << 60),
        framed(b"\xff\xfe", b"body"),
    ],
    ids=["noise", "wrong mark", "no kind", "absurd length", "kind is no ASCII"],
)
def test_garbage_is_told(ends: tuple[socket.socket, Inbox], garbage: bytes) -> None:
    theirs, inbox = ends
    theirs.sendall(garbage)
    with pytest.raises(ProtocolError, match="bytes that are no message"):
        inbox.receive()


def test_a_claimed_length_takes_no_memory(ends: tuple[socket.socket, Inbox]) -> None:
    theirs, inbox = ends
    theirs.sendall(framed(b"value", b"little", size=1 << 43))
    assert inbox.receive() == []
    assert inbox._body is not None
    assert len(inbox._body) < 1 << 22
    theirs.close()
    assert inbox.receive() == []
    assert inbox.closed


@given(st.lists(st.tuples(st.text("abcxyz", min_size=1, max_size=20), st.binary(max_size=300)), max_size=5), st.data())
def test_any_cut_gives_the_same_messages(contents: list[tuple[str, bytes]], data: st.DataObject) -> None:
    stream = b"".join(framed(kind.encode(), body) for kind, body in contents)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        inbox = Inbox(ours)
        received: list[Message] = []
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            theirs.sendall(stream[start:end])
            received += inbox.receive()
        assert [(message.kind, inline(message)) for message in received] == contents


pieces = st.one_of(
    st.binary(max_size=40),
    st.builds(
        framed,
        st.binary(max_size=10),
        st.binary(max_size=40),
        st.integers(0, 2**64 - 1),
        st.sampled_from([b"NBLM", b"NBLX"]),
    ),
    st.builds(framed, st.sampled_from([b"value", b"error"]), st.binary(max_size=40)),
)


@given(st.lists(pieces, max_size=6), st.booleans())
def test_any_bytes_end_in_messages_or_in_a_protocol_error(stream: list[bytes], hang_up: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        inbox = Inbox(ours)
        theirs.sendall(b"".join(stream))
        if hang_up:
            theirs.close()
        try:
            for message in inbox.receive():
                assert message.kind.isascii()
        except ProtocolError:
            return
        assert inbox.closed == hang_up


def test_a_reset_connection_is_a_closed_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        theirs, _ = server.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()  # with a linger of 0 s this resets the connection
        inbox = Inbox(ours)
        assert inbox.receive() == []
        assert inbox.closed
