"""The format of the messages between a rank and its gang, over a socket pair that only these two hold.

A message is a header (mark, length of the kind, length of the body, time of sending), the kind as ASCII text and the
body. A large body is not written to the socket: it is in a sealed memory file whose descriptor comes with the header,
and the gang maps it. The rank writes with `nblaunch.processes.child.channel.Channel`, which blocks. The gang reads with
`nblaunch.processes.gang.inbox.Inbox`, which never blocks.

Two kinds go to the rank: answers, which begin with the number of the question (see `nblaunch.messages.questions`), and
tasks, with descriptors of their payload.
"""

from __future__ import annotations

import struct

__all__ = ["ANSWER", "HEADER", "MAGIC", "MAGIC_STORED", "NUMBER", "TASK"]

HEADER = struct.Struct("!4sBQd")
"""Mark, length of the kind, length of the body, `time.monotonic` at which it was sent."""

MAGIC = b"NBLM"
MAGIC_STORED = b"NBLS"
"""The mark of a message whose body follows, and of one whose body lies in a file."""

NUMBER = struct.Struct("!Q")
ANSWER = b"answer"
TASK = b"task"
