"""What is said of ranks that wait for somebody."""

from __future__ import annotations

import pytest

from nblaunch.events import (
    Answered,
    Asked,
    Ending,
    Exited,
    QuestionKind,
    QuestionWithdrawn,
    Raised,
    Restarting,
    SessionEnded,
)
from nblaunch.panel.state import RunState
from tests.panel.test_state import launched


def asks(
    number: int = 1, kind: str = "input", prompt: str = "rank 1: name? ", where: str = "", session: int = 0
) -> Asked:
    return Asked(1, number, QuestionKind(kind), prompt, "", where, session, 101.0)


def said(state: RunState) -> str:
    asking = state.ranks[1].asking
    return asking.what + asking.about


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (asks(), "asks: name?"),
        (asks(kind="password", prompt="rank 1: Password: "), "asks: Password:"),
        (asks(prompt="rank 1: "), "asks for a line"),
        (asks(prompt="rank 1: two\n\tlines\x1b[31m\u202e red"), "asks: two lines [31m red"),
        (asks(prompt=f"rank 1: {'x' * 5000}"), f"asks: {'x' * 100}…"),
        (asks(prompt="rank 0: not mine"), "asks: rank 0: not mine"),
        (
            asks(kind="command", prompt="rank 1 ipdb> ", where="Cell In[2], line 3", session=4),
            "waits in its debugger, Cell In[2], line 3",
        ),
        (
            asks(kind="held", prompt="", where="Cell In[2], line 3", session=4),
            "waits at its failure, Cell In[2], line 3",
        ),
    ],
)
def test_what_a_rank_waits_for(question: Asked, words: str) -> None:
    state = launched()
    state.note(question)
    assert said(state) == words
    assert [bool(rank.asking.what) for rank in state.ranks] == [False, True, False]
    # somebody waits for the run, and gets a box
    assert state.answer_to(state.ranks[1]) == ""
    state.detached = True
    assert state.answer_to(state.ranks[1]) == "%multiproc debug 1"
    assert state.answer_to(state.ranks[0]) == ""


@pytest.mark.parametrize("after", [Answered(1, 1, 102.0), QuestionWithdrawn(1, 1, 102.0),
                                    Raised(1, "EOFError", "", 102.0, 102.0),
                                   Exited(1, -9, None, False, 102.0), Ending("the run was stopped", 102.0),
                                   Restarting(1, 2, 102.0)])  # fmt: skip
def test_a_question_is_gone_when_nobody_waits_for_its_answer(after: object) -> None:
    state = launched()
    state.note(asks())
    state.note(after)  # type: ignore[arg-type]
    assert (said(state), state.ranks[1].asking.wanted) == ("", False)


def test_a_debugger_counts_until_it_is_left() -> None:
    state = launched()
    state.note(asks(1, "command", "rank 1 ipdb> ", "Cell In[2], line 3", 4))
    state.note(Answered(1, 1, 101.1))
    assert said(state) == "waits in its debugger, Cell In[2], line 3"
    state.note(asks(2, "command", "rank 1 ipdb> ", "Cell In[2], line 4", 4))
    assert said(state) == "waits in its debugger, Cell In[2], line 4"
    # another thread asks: the debugger keeps the box
    state.note(asks(3))
    assert said(state) == "waits in its debugger, Cell In[2], line 4"
    state.note(Answered(1, 2, 101.2))
    state.note(SessionEnded(1, 4, "", False, 101.3))
    assert said(state) == "asks: name?"


def test_a_debugger_that_was_interrupted_is_left() -> None:
    state = launched()
    state.note(asks(1, "command", "rank 1 ipdb> ", "Cell In[2], line 3", 4))
    state.note(QuestionWithdrawn(1, 1, 101.1))
    assert said(state) == ""


def test_a_rank_that_is_held_for_others_asks_for_nothing() -> None:
    state = launched()
    state.detached = True
    state.note(asks(1, "held", "", "Cell In[2], line 3", 4))
    state.note(Answered(1, 1, 101.1))
    state.note(asks(2, "left", "", "Cell In[2], line 3", 4))
    assert said(state) == "waits until the debuggers of other ranks are left"
    assert state.answer_to(state.ranks[1]) == ""
    state.note(Answered(1, 2, 101.2))
    assert said(state) == ""


def test_a_rank_that_is_being_ended_is_not_answered() -> None:
    state = launched()
    state.note(Ending("the run was stopped", 101.0))
    state.note(asks())
    assert said(state) == ""


def test_a_rank_that_asks_without_end_costs_little() -> None:
    state = launched()
    for number in range(100_000):
        state.note(asks(number))
    asking = state.ranks[1].asking
    assert (said(state), len(asking._lines)) == ("asks: name?", 1000)
    for number in range(1000):
        state.note(Answered(1, number, 102.0))
    assert said(state) == ""
