"""Whatever a rank writes to its control socket, the gang gets messages or a `ProtocolError`, and never waits."""

from __future__ import annotations

import fcntl
import os
import resource
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nblaunch.events import QuestionKind
from nblaunch.messages.decoder import decode
from nblaunch.messages.message import Message
from nblaunch.messages.questions import Question, QuestionTakenBack
from nblaunch.payload import pack, store, unpack
from nblaunch.processes.child.channel import Channel
from nblaunch.processes.gang.inbox import Inbox, ProtocolError, Received

HEADER = struct.Struct("!4sBQd")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Inbox]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield theirs, Inbox(ours)


def framed(kind: bytes, body: bytes, size: int | None = None, mark: bytes = b"NBLM") -> bytes:
    return HEADER.pack(mark, len(kind), len(body) if size is None else size, 1.5) + kind + body


def inline(message: Received) -> bytes:
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
    messages: list[Received] = []
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
    messages: list[Received] = []
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
        received: list[Received] = []
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


# ---- bodies in memory files

BIG = 1 << 20


def stored_head(size: int, kind: bytes = b"value") -> bytes:
    return HEADER.pack(b"NBLS", len(kind), size, 1.5) + kind


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def test_a_stored_body_is_mapped_and_its_descriptor_closed(ends: tuple[socket.socket, Inbox]) -> None:
    theirs, inbox = ends
    before = descriptors()
    channel = Channel(theirs)
    channel.send("value", store(pack(b"x" * BIG)))
    channel.send("next", b"inline")
    first, second = inbox.receive()
    assert isinstance(first.body, list)
    assert unpack(first.body) == b"x" * BIG
    assert (second.kind, inline(second)) == ("next", b"inline")
    assert descriptors() == before


def test_many_stored_bodies_need_no_descriptors(ends: tuple[socket.socket, Inbox]) -> None:
    theirs, inbox = ends
    before = descriptors()
    kept = []
    for number in range(50):
        Channel(theirs).send("value", store(pack(bytes([number]) * BIG)))
        kept += inbox.receive()
    assert descriptors() == before
    assert [unpack(message.body)[0] for message in kept] == list(range(50))


def test_a_body_that_is_not_taken_leaves_no_descriptor(ends: tuple[socket.socket, Inbox]) -> None:
    theirs, inbox = ends
    with store(pack(1)) as stored:
        socket.send_fds(theirs, [stored_head(stored.size())[:5]], [stored.descriptors[0]])
    assert inbox.receive() == []
    assert len(inbox._descriptors) == 1
    (kept,) = inbox._descriptors
    inbox.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(kept)


def test_the_head_of_a_stored_body_may_come_in_pieces(ends: tuple[socket.socket, Inbox]) -> None:
    theirs, inbox = ends
    with store(pack("value")) as stored:
        head = stored_head(stored.size())
        socket.send_fds(theirs, [head[:1]], [stored.descriptors[0]])
        for index in range(1, len(head)):
            assert inbox.receive() == []
            theirs.sendall(head[index : index + 1])
    (message,) = inbox.receive()
    assert unpack(message.body) == "value"


def memory_with(data: bytes, *, seal: bool = True) -> int:
    descriptor = os.memfd_create("a rank's", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, data)
    if seal:
        fcntl.fcntl(descriptor, 1033, 2 | 4 | 8)
    return descriptor


REAL = bytes(pack(b"x" * 1000))
SPARSE = struct.pack("!4sIQ", b"NBLP", 1, 1 << 60)


@pytest.mark.parametrize(
    ("make", "size", "problem"),
    [
        (list, len(REAL), "0 descriptors came with a message that has 1"),
        (lambda: [memory_with(REAL), memory_with(REAL)], len(REAL), "2 descriptors came with a message that has 1"),
        (lambda: [memory_with(REAL) for _ in range(5)], len(REAL), "more descriptors came with a message than it has"),
        (lambda: [memory_with(REAL, seal=False)], len(REAL), "is not sealed"),
        (lambda: [os.open("/dev/null", os.O_RDONLY)], 0, "is not sealed"),
        (lambda: [memory_with(REAL)], len(REAL) + 64, "bytes and not"),
        (lambda: [memory_with(b"garbage" * 100)], 700, "cannot be mapped: these bytes are not a payload"),
        (lambda: [memory_with(REAL[:900])], 900, "cannot be mapped: the payload is cut short"),
        (lambda: [memory_with(SPARSE)], len(SPARSE), "cannot be mapped: the payload is cut short"),
        (lambda: [memory_with(REAL * 2)], 2 * len(REAL), "has 2 payloads"),
        (lambda: [memory_with(b"")], 0, "has 0 payloads"),
    ],
)
def test_garbage_with_descriptors_is_told_and_leaves_nothing(
    ends: tuple[socket.socket, Inbox], make: Callable[[], list[int]], size: int, problem: str
) -> None:
    theirs, inbox = ends
    before = set(descriptors())
    given = make()
    socket.send_fds(theirs, [stored_head(size)], given)
    for descriptor in given:
        os.close(descriptor)
    with pytest.raises(ProtocolError, match=problem):
        inbox.receive()
    assert set(descriptors()) == before


def test_a_descriptor_that_nobody_announced_is_told(ends: tuple[socket.socket, Inbox]) -> None:
    theirs, inbox = ends
    before = descriptors()
    with store(pack(1)) as stored:
        socket.send_fds(theirs, [framed(b"value", b"body")], [stored.descriptors[0]])
    with pytest.raises(ProtocolError, match="1 descriptors came with a message that has 0"):
        inbox.receive()
    assert descriptors() == before


def test_descriptors_in_the_middle_of_a_body_are_dropped(ends: tuple[socket.socket, Inbox]) -> None:
    theirs, inbox = ends
    before = descriptors()
    theirs.sendall(framed(b"value", b"", size=8))
    assert inbox.receive() == []
    with store(pack(1)) as stored:
        socket.send_fds(theirs, [b"all this"], [stored.descriptors[0]])
    (message,) = inbox.receive()
    assert inline(message) == b"all this"
    assert descriptors() == before


def test_a_process_without_free_descriptors_says_so(ends: tuple[socket.socket, Inbox]) -> None:
    theirs, inbox = ends
    with store(pack(1)) as stored:
        socket.send_fds(theirs, [stored_head(stored.size())], [stored.descriptors[0]])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(theirs.fileno())
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(ProtocolError, match="or than this process may open"):
            inbox.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- questions and answers


class Exchange:
    """A rank's channel, and a gang that answers in the test's thread."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.inbox = Inbox(ours)
        self.channel = Channel(theirs)
        self.results: dict[str, object] = {}
        self.threads: list[threading.Thread] = []

    def begin(self, question: str, timeout: float | None = None) -> None:
        def ask() -> None:
            try:
                self.results[question] = self.channel.ask(Question(QuestionKind.LINE, question), timeout)
            except Exception as error:
                self.results[question] = error

        self.threads.append(threading.Thread(target=ask))
        self.threads[-1].start()

    def next(self) -> Message | None:
        """Wait for a message; return it."""
        while True:
            select.select([self.inbox], [], [])
            for kind, body, _ in self.inbox.receive():
                return decode(0, kind, body)

    def asked(self) -> int:
        """Wait for a question; return its number."""
        question = self.next()
        assert isinstance(question, Question)
        return question.number

    def join(self) -> None:
        for thread in self.threads:
            thread.join()

    def close(self) -> None:
        self.channel.close()
        self.inbox.close()


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    exchange = Exchange()
    yield exchange
    exchange.close()


def test_a_question_and_its_answer(exchange: Exchange) -> None:
    exchange.begin("who?")
    question = exchange.next()
    assert isinstance(question, Question)
    assert (question.kind, question.prompt) == ("input", "who?")
    number = question.number
    exchange.inbox.answer(number, b"me")
    exchange.join()
    assert exchange.results == {"who?": b"me"}


def test_questions_of_threads_get_their_own_answers_in_any_order(exchange: Exchange) -> None:
    exchange.begin("first")
    first = exchange.asked()
    exchange.begin("second")
    second = exchange.asked()
    exchange.inbox.answer(second, b"2")
    exchange.threads[1].join()
    exchange.inbox.answer(first, b"1")
    exchange.join()
    assert exchange.results == {"first": b"1", "second": b"2"}


def test_a_question_that_nobody_answers_in_time_is_taken_back(exchange: Exchange) -> None:
    exchange.begin("who?", 0.01)
    number = exchange.asked()
    assert exchange.next() == QuestionTakenBack(number)
    exchange.join()
    assert str(exchange.results["who?"]) == "nobody has answered within 0.01 s"
    # its answer, and one to what nobody has asked, belong to no later question
    exchange.inbox.answer(number, b"late")
    exchange.inbox.answer(77, b"odd")
    exchange.begin("again?")
    exchange.inbox.answer(exchange.asked(), b"yes")
    exchange.join()
    assert exchange.results["again?"] == b"yes"


def test_a_late_answer_fits_no_question_of_a_rank_that_was_started_again(exchange: Exchange) -> None:
    exchange.begin("who?")
    before = exchange.asked()
    again = Exchange()
    again.begin("who?")
    number = again.asked()
    again.inbox.answer(before, b"meant for the one before")
    again.inbox.answer(number, b"me")
    again.join()
    again.close()
    assert again.results == {"who?": b"me"}


def test_closing_wakes_those_who_wait(exchange: Exchange) -> None:
    exchange.begin("who?")
    exchange.next()
    exchange.channel.close()
    exchange.join()
    assert isinstance(exchange.results["who?"], EOFError)
    with pytest.raises(OSError):
        exchange.channel.ask(Question(QuestionKind.LINE, "and now?"))


def test_a_gang_that_is_gone_answers_nobody(exchange: Exchange) -> None:
    exchange.begin("who?")
    exchange.next()
    exchange.inbox.close()
    exchange.join()
    assert isinstance(exchange.results["who?"], EOFError)


def test_a_forked_child_cannot_ask(exchange: Exchange) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            exchange.channel.ask(Question(QuestionKind.LINE, "me too?"))
        except ChildProcessError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert exchange.inbox.receive() == []


def test_who_does_not_take_answers_does_not_block_the_gang(ends: tuple[socket.socket, Inbox]) -> None:
    _, inbox = ends
    with pytest.raises(ProtocolError, match="does not take the answers"):
        for _ in range(10_000):
            inbox.answer(1, bytes(60_000))
