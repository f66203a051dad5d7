"""The errors of this package.  Errors of the operating system (``OSError``) pass through as they are."""

from __future__ import annotations

from typing import Optional

from .events import StopReason


class HypertapError(Exception):
    """Base of everything below."""


class CommandError(HypertapError):
    """The daemon answered ``{"ok":false}``, and nothing changed.

    Also raised when connecting, if the daemon turns the connection away (another client is connected, or the
    user is not permitted).
    """

    def __init__(self, error: str, code: Optional[int] = None) -> None:
        super().__init__(error if code is None else f"{error} (code {code})")
        self.error = error
        """The daemon's own text."""
        self.code = code
        """The daemon's error code, where it gave one."""


class TunnelStopped(HypertapError):
    """The tunnel is not running any more.  ``start`` may be called again."""

    def __init__(self, reason: StopReason, text: Optional[str] = None) -> None:
        super().__init__(text or f"the tunnel stopped: {reason.value}")
        self.reason = reason


class Disconnected(HypertapError, ConnectionError):
    """The command connection to the daemon ended, by either side."""


class ProtocolError(HypertapError):
    """The other end does not speak the daemon's protocol, or answered without something it must answer."""
