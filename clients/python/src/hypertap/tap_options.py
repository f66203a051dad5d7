"""What an Ethernet interface can be told.  Both interfaces take these options, and nothing else repeats them."""

from __future__ import annotations

import os
from typing import Optional, TypedDict, Union

Where = Union[str, int, "os.PathLike[str]"]
"""A server's address: an absolute path, a port of 127.0.0.1, or "ADDR:PORT"."""

DEFAULT_MTU = 1500
TIMEOUT = 10.0


class ConnectOptions(TypedDict, total=False):
    """The keyword arguments of ``TapInterface.connect``, of either kind."""

    framing: str
    """How frames are told apart, as the server has it: "le16" (the default), "qemu", "unframed"; see
    :mod:`hypertap.tap_frames`."""
    mtu: int
    """The server's, in bytes; with it goes the longest frame that may be sent.  1500 by default."""
    timeout: float
    """How long connecting may take, in seconds; 10 by default."""


class OpenOptions(TypedDict, total=False):
    """The keyword arguments of ``TapInterface.open``, of either kind.  What is left out, or None, is chosen."""

    name: Optional[str]
    """The interface's name, else the first free of tap0, tap1, …"""
    mac: Optional[str]
    """The machine's own MAC address on it, as "02:00:00:00:00:01"."""
    ipv4: Optional[str]
    """The machine's own IPv4 address on it, as "10.0.0.1/24"."""
    ipv6: Optional[str]
    """The same of IPv6, as "fd00::1/64"."""
    mtu: int
    """Bytes, 68 to 65521; 1500 by default."""
    program: Union[str, "os.PathLike[str]"]
    """What makes it: a path, or a name that is looked for in PATH; "hypertap" by default."""
    timeout: float
    """How long making it may take, in seconds; 10 by default."""
