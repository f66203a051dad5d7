"""What the daemon tells us unasked: events, and why a tunnel stopped."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Mapping, Optional


class StopReason(str, Enum):
    """Why a tunnel stopped.  The values are the words on the wire."""

    STOPPED_BY_USER = "stoppedByUser"
    """``stop``, ``shutdown``, the end of the client's connection, or a signal to the daemon."""
    TUNNEL_FAILED = "tunnelFailed"
    """The device returned a fatal error, or the data plane died."""
    NO_CONNECTIVITY = "noConnectivity"
    """The machine's last default route went away (only with ``follow_default_route``)."""
    CONNECTIVITY_CHANGED = "connectivityChanged"
    """The machine's default route moved to another device (only with ``follow_default_route``)."""
    PROVIDER_DISABLED = "providerDisabled"
    """The privileged helper of the daemon ended."""
    AUTHENTICATION_CANCELLED = "authenticationCancelled"
    """The person dismissed the question for the right to configure networking."""
    INVALID_VPN = "invalidVPN"
    """The device could not be configured as asked."""
    TIMED_OUT = "timedOut"
    """``start`` did not finish in 10 s."""
    VPN_DISABLED = "vpnDisabled"
    """Somebody set the interface down."""
    VPN_REMOVED = "vpnRemoved"
    """Somebody deleted the interface, or moved it to another network namespace."""
    SUPERSEDED = "superseded"
    """Another instance of the daemon took the interface over."""
    LOGGED_OUT = "loggedOut"
    """The last session of the owning user ended."""
    CURRENT_USER_CHANGED = "currentUserchanged"
    """Another user's session became the active one.  (The wire word has this spelling.)"""
    CONNECTION_FAILED = "connectionFailed"
    """The program's end of a Unix data plane went away."""
    NO_REASON = "noReason"
    UNKNOWN = "unknown"
    """A cause without a name; also any word that this version of the client does not know."""

    @classmethod
    def from_wire(cls, word: object) -> StopReason:
        """The reason for a word on the wire; :attr:`UNKNOWN` for anything not listed above."""
        try:
            return cls(word)
        except ValueError:
            return cls.UNKNOWN


class EventKind(str, Enum):
    """The kinds of events.  The values are the words on the wire."""

    VPN_PENDING = "vpnPending"
    """The daemon lacks the right to configure networking; see ``load_config``."""
    VPN_APPROVED = "vpnApproved"
    VPN_DENIED = "vpnDenied"
    VPN_REMOVED = "vpnRemoved"
    EXTENSION_APPROVED = "extensionApproved"
    EXTENSION_NOT_APPROVED = "extensionNotApproved"
    """The kernel's TUN driver cannot be opened; see ``load_extension``."""
    TUNNEL_STARTED = "tunnelStarted"
    TUNNEL_STOPPED = "tunnelStopped"
    OTHER = ""
    """An event that this version of the client does not know; :attr:`Event.name` has its word."""


@dataclass(frozen=True)
class Event:
    """One event of the daemon."""

    kind: EventKind
    name: str
    """The word on the wire: that of ``kind``, or what stands behind :attr:`EventKind.OTHER`."""
    reason: Optional[StopReason] = None
    """Set when, and only when, ``kind`` is :attr:`EventKind.TUNNEL_STOPPED`."""

    @classmethod
    def from_wire(cls, body: Mapping[str, object]) -> Event:
        """The event in a decoded line.  A missing or odd name makes an ``OTHER`` event, never an error."""
        word = body.get("event")
        name = word if isinstance(word, str) else ""
        try:
            kind = EventKind(name)
        except ValueError:
            kind = EventKind.OTHER
        stopped = kind is EventKind.TUNNEL_STOPPED
        return cls(kind, name, StopReason.from_wire(body.get("reason")) if stopped else None)


class Status(str, Enum):
    """What ``status`` answers."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    DISCONNECTING = "disconnecting"
    INVALID = "invalid"
    """The right to configure networking, or the TUN driver, is missing."""
    REASSERTING = "reasserting"
    """Routes are being applied again after the machine's network changed."""
    UNKNOWN = "unknown"
