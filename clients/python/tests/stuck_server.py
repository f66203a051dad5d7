"""A server that hangs, as far as those who connect can see."""

import os
import socket
import tempfile
from typing import List


class Stuck:
    """A server that does not accept, whose queue is full."""

    def __enter__(self) -> str:
        self._folder = tempfile.TemporaryDirectory()
        path = os.path.join(self._folder.name, "tap")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen(0)
        self._queued: List[socket.socket] = []
        try:
            while True:
                self._queued.append(socket.socket(socket.AF_UNIX))
                self._queued[-1].setblocking(False)
                self._queued[-1].connect(path)
        except BlockingIOError:
            return path

    def accept(self) -> None:
        self._socket.accept()[0].close()

    def __exit__(self, *_: object) -> None:
        for each in (self._socket, *self._queued):
            each.close()
        self._folder.cleanup()
