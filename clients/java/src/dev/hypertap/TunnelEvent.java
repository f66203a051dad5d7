package dev.hypertap;

import java.util.Map;

/**
 * Something that the daemon told us unasked.
 *
 * @param kind what it is
 * @param name the word on the wire: that of the kind, or what stands behind {@link Kind#OTHER}
 * @param reason why the tunnel stopped; null unless the kind is {@link Kind#TUNNEL_STOPPED}
 */
public record TunnelEvent(Kind kind, String name, StopReason reason) {
    /** The kinds of events. */
    public enum Kind {
        /** The daemon lacks the right to configure networking; see {@link Tunnel#loadConfig}. */
        VPN_PENDING("vpnPending"),
        /** The daemon has that right. */
        VPN_APPROVED("vpnApproved"),
        /** The right was asked for, and refused. */
        VPN_DENIED("vpnDenied"),
        /** The interface, or the right, was taken away. */
        VPN_REMOVED("vpnRemoved"),
        /** The kernel's TUN driver is usable. */
        EXTENSION_APPROVED("extensionApproved"),
        /** The kernel's TUN driver cannot be opened; see {@link Tunnel#loadExtension}. */
        EXTENSION_NOT_APPROVED("extensionNotApproved"),
        /** The interface exists. */
        TUNNEL_STARTED("tunnelStarted"),
        /** The interface is gone; {@link TunnelEvent#reason} says why. */
        TUNNEL_STOPPED("tunnelStopped"),
        /** An event that this version of the client does not know. */
        OTHER("");

        private final String word;

        Kind(String word) {
            this.word = word;
        }
    }

    /** The event in a decoded line. A missing or odd name makes an {@code OTHER} event, never an error. */
    static TunnelEvent fromWire(Map<String, Object> body) {
        String name = body.get("event") instanceof String word ? word : "";
        Kind kind = Kind.OTHER;
        for (Kind each : Kind.values()) {
            if (each.word.equals(name)) {
                kind = each;
            }
        }
        return new TunnelEvent(kind, name, kind == Kind.TUNNEL_STOPPED ? StopReason.fromWire(body.get("reason")) : null);
    }
}
