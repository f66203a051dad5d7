"""A TUN interface for any Python program.

The ``hypertap tunnel`` daemon owns the interface; this package starts it, routes addresses into it and moves
raw IP packets to and from it.  :class:`Tunnel` blocks, :class:`AsyncTunnel` is the same for asyncio,
:mod:`hypertap.packet` reads and answers the packets.

:class:`TapInterface` is an Ethernet interface: whole frames, through a ``hypertap tap`` server or made by this
program itself; :class:`hypertap.aio.TapInterface` is the same for asyncio.
"""

from .aio import AsyncTunnel
from .commands import PastEvent, Routes, Stats, TrafficStats
from .errors import CommandError, Disconnected, HypertapError, ProtocolError, TunnelStopped
from .events import Event, EventKind, Status, StopReason
from .options import StartOptions
from .tap import TapInterface
from .tap_link import TapClosed
from .tap_program import TapRefused
from .tunnel import Tunnel

__all__ = [
    "AsyncTunnel",
    "CommandError",
    "Disconnected",
    "Event",
    "EventKind",
    "HypertapError",
    "PastEvent",
    "ProtocolError",
    "Routes",
    "StartOptions",
    "Stats",
    "Status",
    "StopReason",
    "TapClosed",
    "TapInterface",
    "TapRefused",
    "TrafficStats",
    "Tunnel",
    "TunnelStopped",
]

__version__ = "0.1.0"
