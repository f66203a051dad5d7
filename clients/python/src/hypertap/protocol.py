"""The command plane without any I/O.

Theory of operation: the daemon answers commands strictly in order, a JSON object a line, and puts events
between the replies.  :class:`Session` is fed whatever arrived and sorts it: an object with ``"cmd":"event"``
is an event, anything else answers the oldest command that has no answer yet.  Two events greet every
connection before the first reply; a failure in their place is the daemon turning us away.  The owner of the
socket (:class:`~hypertap.Tunnel`, :class:`~hypertap.AsyncTunnel`) moves the bytes and does the waiting.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import Callable, Deque, Dict, Iterable, List, Mapping, Optional, Tuple

from .errors import CommandError, ProtocolError, TunnelStopped
from .events import Event, EventKind, StopReason

MAX_LINE = 1 << 20
"""Longest line in bytes, its end not counted, that either side may send."""
MAX_PENDING = 256
"""Most commands that may be without an answer at one time."""
MAX_EVENTS = 256
"""Events kept for the program; past it the oldest is forgotten, and counted."""

_VPN = (EventKind.VPN_APPROVED, EventKind.VPN_PENDING)
_EXTENSION = (EventKind.EXTENSION_APPROVED, EventKind.EXTENSION_NOT_APPROVED)


class LineSplitter:
    """Cuts a byte stream into lines that end in ``\\n`` or ``\\r\\n``."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._partial = bytearray()

    def feed(self, data: bytes) -> List[bytes]:
        """The lines that ``data`` completes, without their ends, trailing NULs, and without empty ones.

        Raises ProtocolError when a line grows past the limit.
        """
        *ends, rest = data.split(b"\n")
        lines = []
        for end in ends:
            self._extend(end)
            line = bytes(self._partial).rstrip(b"\r\0")
            self._partial.clear()
            if line:
                lines.append(line)
        self._extend(rest)
        return lines

    def _extend(self, piece: bytes) -> None:
        if len(self._partial) + len(piece) > self._limit + 1:  # one more for a carriage return
            raise ProtocolError(f"the daemon sent a line of more than {self._limit} bytes")
        self._partial += piece


@dataclass(frozen=True)
class Reply:
    """The answer to one command."""

    body: Mapping[str, object]
    fd: Optional[int] = None
    """The file descriptor that came with it; whoever takes the reply owns it."""

    def check(self) -> Mapping[str, object]:
        """The body of a success.  Raises CommandError for a failure."""
        if self.body.get("ok") is True:
            return self.body
        error, code = self.body.get("error"), self.body.get("code")
        raise CommandError(
            error if isinstance(error, str) else "the daemon gave no reason",
            code if isinstance(code, int) and not isinstance(code, bool) else None,
        )


@dataclass
class _Pending:
    id: int
    wants_fd: bool
    abandoned: bool = False


class Session:
    """The state of one command connection.  Not thread-safe: the owner serialises."""

    def __init__(self, close_fd: Callable[[int], None]) -> None:
        self.vpn_approved: Optional[bool] = None
        self.extension_approved: Optional[bool] = None
        self.running = False
        self.stop_reason: Optional[StopReason] = None
        """Why the last tunnel of this connection stopped; None while one runs, and before the first."""
        self.starts = 0
        self.stops = 0
        self.events: Deque[Event] = deque(maxlen=MAX_EVENTS)
        self.events_lost = 0
        self.failure: Optional[Exception] = None
        """Why the connection is of no more use; None while it is."""
        self._close_fd = close_fd
        self._lines = LineSplitter()
        self._next_id = 1
        self._pending: Deque[_Pending] = deque()
        self._replies: Dict[int, Reply] = {}
        self._fds: Deque[int] = deque()
        self._greeted = False

    @property
    def greeted(self) -> bool:
        """Whether both events of the greeting have arrived."""
        return self._greeted

    def submit(self, fields: Mapping[str, object], wants_fd: bool = False) -> Tuple[int, bytes]:
        """Notes a command; returns its id and the bytes to send, in this order and at once."""
        self.check()
        if len(self._pending) >= MAX_PENDING:
            raise ProtocolError(f"{MAX_PENDING} commands are waiting for an answer already")
        ident = self._next_id
        line = json.dumps({**fields, "id": ident}, separators=(",", ":")).encode()
        if len(line) > MAX_LINE:
            raise ValueError(f"the command is {len(line)} bytes long, the limit is {MAX_LINE}; send it in parts")
        self._next_id += 1
        self._pending.append(_Pending(ident, wants_fd))
        return ident, line + b"\n"

    def take_reply(self, ident: int) -> Optional[Reply]:
        """The reply to a command, once; None as long as it has not arrived."""
        return self._replies.pop(ident, None)

    def abandon(self, ident: int) -> None:
        """Nobody waits for this reply any more: drop it, now or when it arrives."""
        reply = self._replies.pop(ident, None)
        if reply is not None and reply.fd is not None:
            self._close_fd(reply.fd)
        for pending in self._pending:
            if pending.id == ident:
                pending.abandoned = True

    def receive(self, data: bytes, fds: Iterable[int] = ()) -> None:
        """Takes what arrived.  What is wrong with it ends the session: see :attr:`failure`."""
        self._fds.extend(fds)
        try:
            if self.failure is None:
                for line in self._lines.feed(data):
                    self._on_line(line)
        except (ProtocolError, CommandError) as error:
            self.fail(error)
        if self.failure is not None or not any(pending.wants_fd for pending in self._pending):
            self._drop_fds()

    def fail(self, error: Exception) -> None:
        """Ends the session; the first cause is the one that counts."""
        if self.failure is None:
            self.failure = error
        self.running = False
        self._drop_fds()

    def check(self) -> None:
        """Raises :attr:`failure`, if there is one."""
        if self.failure is not None:
            raise self.failure.with_traceback(None)  # it may be raised many times

    def stopped_error(self) -> Exception:
        """The error for somebody who wants a running tunnel while there is none."""
        if self.stop_reason is not None:
            return TunnelStopped(self.stop_reason)
        if self.failure is not None:
            return self.failure.with_traceback(None)
        return TunnelStopped(StopReason.NO_REASON, "the tunnel does not run: call start first")

    def take_event(self, kinds: Tuple[EventKind, ...]) -> Optional[Event]:
        """The oldest event of one of these kinds (of any, when none is named); older ones are discarded."""
        while self.events:
            event = self.events.popleft()
            if not kinds or event.kind in kinds:
                return event
        return None

    def _on_line(self, line: bytes) -> None:
        try:
            body = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise ProtocolError(f"the other end sent a line that is not a JSON object: {line[:80]!r}")
        if body.get("cmd") == "event":
            self._on_event(Event.from_wire(body))
        else:
            self._on_reply(body)

    def _on_event(self, event: Event) -> None:
        in_greeting = not self._greeted
        if event.kind in _VPN or event.kind in (EventKind.VPN_DENIED, EventKind.VPN_REMOVED):
            self.vpn_approved = event.kind is EventKind.VPN_APPROVED
        elif event.kind in _EXTENSION:
            self.extension_approved = event.kind is EventKind.EXTENSION_APPROVED
        elif event.kind is EventKind.TUNNEL_STARTED:
            self.starts += 1
            self.running, self.stop_reason = True, None
        elif event.kind is EventKind.TUNNEL_STOPPED:
            self.stops += 1
            self.running, self.stop_reason = False, event.reason
        self._greeted = self.vpn_approved is not None and self.extension_approved is not None
        if in_greeting and (event.kind in _VPN or event.kind in _EXTENSION):
            return
        self.events_lost += len(self.events) == MAX_EVENTS
        self.events.append(event)

    def _on_reply(self, body: Mapping[str, object]) -> None:
        if not isinstance(body.get("ok"), bool):
            raise ProtocolError(f"the other end sent neither an event nor a reply: {str(body)[:80]}")
        if not self._pending:
            Reply(body).check()  # turned away: raises the daemon's reason
            raise ProtocolError("the other end answered a command that was not sent")
        pending = self._pending.popleft()
        # A daemon that does not know ids leaves them out; the order is what counts.
        if body.get("id", pending.id) != pending.id:
            raise ProtocolError(f"the reply to command {pending.id} carries the id {body['id']!r}")
        fd = self._fds.popleft() if pending.wants_fd and self._fds else None
        if not pending.abandoned:
            self._replies[pending.id] = Reply(body, fd)
        elif fd is not None:
            self._close_fd(fd)

    def _drop_fds(self) -> None:
        while self._fds:
            self._close_fd(self._fds.popleft())
