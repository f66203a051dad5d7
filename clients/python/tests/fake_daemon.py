"""Just enough of a daemon to drive the clients: one client, echoing data planes, scripted ends.

Every packet comes back as it was sent.  The real daemon is tested in the system tests; this one is for what a
real one does seldom: late replies, sudden ends, stops in the middle of a wait.
"""

import json
import os
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

GREETING = [{"cmd": "event", "event": "vpnApproved"}, {"cmd": "event", "event": "extensionApproved"}]


class FakeDaemon:
    def __init__(self, unix: bool = False, greeting: Optional[List[Dict[str, Any]]] = None) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = str(Path(self.folder.name) / "control.sock")
        self.greeting = GREETING if greeting is None else greeting
        self.commands: List[Dict[str, Any]] = []
        self.hook: Callable[[Dict[str, Any]], Optional[Dict[str, Any]]] = lambda command: None
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.ends: List[socket.socket] = []
        self.connection: Optional[socket.socket] = None
        if unix:
            self.listener = self._listen(self.path, socket.SOCK_STREAM)
        else:
            self.listener = socket.create_server(("127.0.0.1", 0))
        self.threads = [threading.Thread(target=self._serve), threading.Thread(target=self._echo_udp)]
        for thread in self.threads:
            thread.start()

    def __enter__(self) -> "FakeDaemon":
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        self.close_data()
        _end(self.listener)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ender:
            ender.sendto(b"", self.udp.getsockname())
        for thread in self.threads:
            thread.join()
        self.listener.close()
        self.udp.close()
        self.folder.cleanup()

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    @property
    def data_port(self) -> int:
        return int(self.udp.getsockname()[1])

    def say(self, *messages: Dict[str, Any], fds: Optional[List[int]] = None) -> None:
        data = b"".join(json.dumps(message).encode() + b"\r\n" for message in messages)
        assert self.connection is not None
        if fds:
            socket.send_fds(self.connection, [data], fds)
        else:
            self.connection.sendall(data)

    def stop(self, reason: str) -> None:
        self.say({"cmd": "event", "event": "tunnelStopped", "reason": reason})

    def hang_up(self) -> None:
        if self.connection is not None:
            _end(self.connection)

    def close_data(self) -> None:
        for end in self.ends:
            _end(end)

    def _listen(self, path: str, kind: int) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, kind)
        listener.bind(path)
        listener.listen(1)
        return listener

    def _serve(self) -> None:
        try:
            self.connection, _ = self.listener.accept()
        except OSError:
            return
        with self.connection, self.connection.makefile("rb") as lines:
            try:
                self.say(*self.greeting)
                for line in lines:
                    command = json.loads(line)
                    self.commands.append(command)
                    self._answer(command)
            except OSError:
                pass

    def _answer(self, command: Dict[str, Any]) -> None:
        scripted = self.hook(command)
        reply: Dict[str, Any] = {"ok": True, "id": command["id"]}
        if scripted is not None:
            if scripted:
                self.say({**reply, **scripted})
        elif command["cmd"] == "start":
            self._start(command, reply)
        elif command["cmd"] == "stop":
            self.say(reply)
            self.stop("stoppedByUser")
        else:
            self.say({**reply, "name": "hypertap0", "status": "connected", "version": "1.2.3"})

    def _start(self, command: Dict[str, Any], reply: Dict[str, Any]) -> None:
        started = {"cmd": "event", "event": "tunnelStarted"}
        plane = command.get("dataPlane", "udp")
        if plane == "fd":
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._echo(ours)
            with theirs:
                self.say(reply, started, fds=[theirs.fileno()])
        elif plane == "udp":
            self.say(reply, started)
        else:
            path = os.path.join(self.folder.name, f"data{len(self.ends)}")
            kind = socket.SOCK_STREAM if plane == "stream" else socket.SOCK_SEQPACKET
            listener = self._listen(path, kind)
            self.say({**reply, "dataPath": path}, started)
            with listener:
                self._echo(listener.accept()[0])

    def _echo(self, end: socket.socket) -> None:
        def run() -> None:
            with end:
                try:
                    while data := end.recv(65536):
                        end.sendall(data)
                except OSError:
                    pass

        self.ends.append(end)
        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def _echo_udp(self) -> None:
        while True:
            data, sender = self.udp.recvfrom(65536)
            if not data:
                return
            self.udp.sendto(data, sender)


def _end(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
