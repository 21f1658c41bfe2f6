"""What has to hold after a run; everything that does not is said in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.chaos.blows import ANYTHING
from tests.chaos.case import Case
from tests.kernel import Reply

__all__ = ["objections"]


def objections(case: Case, reply: Reply, told: dict[str, Any] | None, hit: dict[int, str]) -> Iterator[str]:
    """Say what is wrong with what came of a run; nothing if all is well.

    Parameters
    ----------
    reply : Reply
        What the cell has shown.
    told : dict or None
        See `tests.chaos.report.of_run`; None if there is no run.
    hit : dict of int to str
        The signal that each process was sent from outside.
    """
    if reply.ename == "Unanswered" and hit:
        # what was hit was to fork the ranks, and had not got its name yet: the launch says so
        if told is not None:
            yield from _coverage(case, told)
        return
    by_interrupt = case.ends_by_interrupt() or case.is_interrupted_from_aside()
    interrupted = by_interrupt and reply.ename == "KeyboardInterrupt"
    ended = interrupted or case.may_be_ended()
    if told is None:
        # an interrupt may come before there is a run, and a function that is interrupted returns none
        raised = case.form == "function" and reply.ename == "KeyboardInterrupt"
        if not (interrupted or raised):
            yield f"there is no run; the cell said {reply.ename}: {reply.evalue}"
        return
    # one that was not started has none
    last = max(0, len(told["attempts"]) - 1)
    yield from _attempt(case.part(last), told, hit, ended)
    yield from _attempts(case, told, hit, ended)
    yield from _status(case, reply, told, interrupted)


def _attempt(part: Case, told: dict[str, Any], hit: dict[int, str], ended: bool) -> Iterator[str]:
    yield from _coverage(part, told)
    yield from _each_rank(part, told, ended)
    yield from _hit_from_outside(part, told, hit)
    yield from _root_cause(part, told, ended)


def _attempts(case: Case, told: dict[str, Any], hit: dict[int, str], ended: bool) -> Iterator[str]:
    """Object to how often the ranks were started, and to what is told of each time but the last one."""
    attempts = told["attempts"]
    numbers = [one["number"] for one in attempts]
    if numbers != list(range(len(attempts))) or not 1 <= len(attempts) <= case.restarts + 1:
        yield f"there are the attempts {numbers} with {case.restarts} restarts"
        return
    if attempts[-1]["failures"] != told["failures"] or attempts[-1]["root"] != told["root"]:
        yield f"the last attempt has failed of {attempts[-1]['failures']} and the run of {told['failures']}"
    for number, one in enumerate(attempts[:-1]):
        for said in _attempt(case.before_the_last(number), one, hit, False):
            yield f"attempt {number}: {said}"
        if not set(one["failures"]) - set(one["collateral"]):
            yield f"attempt {number} was followed by another one, and no rank had failed by itself"
    pids = [pid for one in attempts for pid in one["pids"].values()]
    if len(set(pids)) != len(pids):
        yield f"a process was in several attempts: {[one['pids'] for one in attempts]}"
    if told["refused"] and not (ended or hit):
        yield f"the ranks were not started again: {told['refused']}"
    again = told["status"] == "failed" and len(attempts) <= case.restarts and not told["refused"]
    if again and not ended and case.timeout is None:
        yield f"{len(attempts) - 1} restarts of {case.restarts}, and the run has failed"


def _coverage(case: Case, told: dict[str, Any]) -> Iterator[str]:
    covered = sorted([*told["results"], *told["failures"]])
    if covered != list(range(case.nprocs)):
        yield f"results and failures together are of the ranks {covered}"


def _each_rank(case: Case, told: dict[str, Any], ended: bool) -> Iterator[str]:
    sizes = case.sizes()
    for rank, size in told["results"].items():
        allowed = case.allowed(rank)
        if not allowed & {"value", ANYTHING}:
            yield f"rank {rank} has a result and should have ended by {sorted(allowed)}"
        if size not in (str(sizes[rank]), "empty"):
            yield f"the result of rank {rank} is {size}, and not of {sizes[rank]} bytes"
    for rank, ending in told["failures"].items():
        allowed = case.allowed(rank)
        if rank not in told["collateral"] and not allowed & {ending, ANYTHING}:
            yield f"rank {rank} ended by {ending}; allowed are {sorted(allowed)}"
    if case.keeps_going and not ended and case.timeout is None and told["collateral"]:
        yield f"ranks {told['collateral']} were ended although failures end nobody here"


def _hit_from_outside(case: Case, told: dict[str, Any], hit: dict[int, str]) -> Iterator[str]:
    """Object to a rank that ended by a signal which another process was sent."""
    if any(act.target == "forkserver" for blow in case.blows for act in blow.outside):
        return  # it takes its ranks along
    for rank, ending in told["failures"].items():
        own = {name for blow in case.blows if blow.victim == rank or blow.aside for name in blow.outcomes}
        by_others = rank not in told["collateral"] and ending in hit.values() and not own & {ending, ANYTHING}
        if by_others and hit.get(told["pids"][rank]) != ending:
            yield f"rank {rank} ended by {ending}, which was sent to {hit} and not to it"


def _root_cause(case: Case, told: dict[str, Any], ended: bool) -> Iterator[str]:
    own = sorted(set(told["failures"]) - set(told["collateral"]))
    if (told["root"] is None) != (not own) or (own and told["root"] not in own):
        yield f"the root cause is rank {told['root']}, and by themselves have failed {own}"
    if ended or case.timeout is not None:
        return
    fatal = [blow.victim for blow in case.blows if blow.is_fatal]
    if fatal and not own:
        yield f"nobody has failed, and rank {fatal[0]} was hit"
    if told["failures"] and not own:
        yield "ranks were ended because of another one, and there is no other one"


def _status(case: Case, reply: Reply, told: dict[str, Any], interrupted: bool) -> Iterator[str]:
    if told["ok"] != (not told["failures"]) or (told["status"] == "finished") != told["ok"]:
        yield f"the status is {told['status']} with failures {told['failures']}"
    if told["status"] in ("interrupted", "stopped") and not case.may_be_ended():
        yield f"the run is said to have been {told['status']}"
    if told["status"] == "timed out" and case.timeout is None:
        yield "the run is said to have timed out"
    if interrupted:
        return
    if case.raises and told["failures"]:
        if reply.ename != "RanksFailed":
            yield f"the cell did not raise RanksFailed but {reply.ename or 'nothing'}: {reply.evalue}"
    elif reply.status != "ok":
        yield f"the cell raised {reply.ename}: {reply.evalue}"
