"""The program that makes an interface for this one: ``hypertap tap``, at the other end of a socket pair.

Its standard input is its end of the pair; on its standard output it says the interface's name once that is there;
the last sentence on its standard error is the reason where it fails.  When our end is closed, however that comes
about, it removes the interface and ends.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import threading
import time
from typing import IO, List, Optional, Tuple

from .errors import HypertapError

_END = 5.0  # seconds that removing an interface may take
_KEPT = 16 * 1024
_SENTENCES = ("hypertap: ", "error: ")


class TapRefused(HypertapError):
    """The interface could not be made."""

    def __init__(self, text: str, code: Optional[int]) -> None:
        super().__init__(f"cannot make the interface: {text}")
        self.code = code
        """The program's exit code (``hypertap --help`` lists them); None where a signal ended it."""


class Program:
    """The running program."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._said = b""
        self._ending = threading.Lock()

    def end(self) -> Tuple[Optional[int], str]:
        """Its exit code and last sentence, once its socket has ended; kills it when it does not end with that."""
        with self._ending:
            errors = self._process.stderr
            if errors is not None and not errors.closed:
                if not self._hear(errors):
                    self._process.kill()
                errors.close()
            code = self._process.wait()
        exit_code = None if code < 0 else code
        return exit_code, self._sentence(exit_code)

    def _hear(self, errors: IO[bytes]) -> bool:
        """Keeps what it says until its end; False when that does not come."""
        deadline = time.monotonic() + _END
        while readable(errors.fileno(), deadline):
            data = os.read(errors.fileno(), 4096)
            if not data:
                return True
            self._said = (self._said + data)[-_KEPT:]
        return False

    def _sentence(self, code: Optional[int]) -> str:
        lines = self._said.decode(errors="replace").splitlines()
        for mark in _SENTENCES:
            for line in reversed(lines):
                if line.startswith(mark):
                    return line[len(mark) :]
        for line in reversed(lines):
            if line.strip():
                return line.strip()
        return "its program was killed" if code is None else f"its program ended with code {code} and said nothing"


def start(program: str, arguments: List[str], timeout: float) -> Tuple[socket.socket, Program, str]:
    """Our end of the pair, the program, and the interface's name.  Raises TapRefused, TimeoutError, OSError."""
    deadline = time.monotonic() + timeout
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = subprocess.Popen(
                [program, "tap", "--fd=0", "--print-name", "--framing=le16", *arguments],
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # what is typed at a terminal is for this program
            )
    except OSError as error:
        ours.close()
        remedy = "install hypertap, or say where the program is"
        raise type(error)(error.errno, f"{os.strerror(error.errno or 0)}; {remedy}", program) from None
    running = Program(process)
    assert process.stdout is not None
    try:
        with process.stdout as ready:
            name = _line(ready.fileno(), deadline)
    except BaseException:
        ours.close()
        running.end()
        raise
    if name is not None:
        return ours, running, name
    ours.close()
    code, text = running.end()
    if time.monotonic() >= deadline:
        raise TimeoutError(f"the interface is not there after {timeout} s")
    raise TapRefused(text, code)


def _line(fd: int, deadline: float) -> Optional[str]:
    line = b""
    while len(line) <= 64 and readable(fd, deadline):
        byte = os.read(fd, 1)
        if not byte:
            return None
        if byte == b"\n":
            return line.decode(errors="replace")
        line += byte
    return None


def readable(fd: int, deadline: Optional[float], events: int = select.POLLIN) -> bool:
    """Whether something happens to the descriptor before the deadline (of time.monotonic; None: no end)."""
    poll = select.poll()
    poll.register(fd, events)
    left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
    return bool(poll.poll(left))
