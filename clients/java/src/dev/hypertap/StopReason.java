package dev.hypertap;

/** Why a tunnel stopped. */
public enum StopReason {
    /** {@code stop}, {@code shutdown}, the end of the client's connection, or a signal to the daemon. */
    STOPPED_BY_USER("stoppedByUser"),
    /** The device returned a fatal error, or the data plane died. */
    TUNNEL_FAILED("tunnelFailed"),
    /** The machine's last default route went away (only with {@link StartOptions#followDefaultRoute}). */
    NO_CONNECTIVITY("noConnectivity"),
    /** The machine's default route moved to another device (likewise). */
    CONNECTIVITY_CHANGED("connectivityChanged"),
    /** The privileged helper of the daemon ended. */
    PROVIDER_DISABLED("providerDisabled"),
    /** The person dismissed the question for the right to configure networking. */
    AUTHENTICATION_CANCELLED("authenticationCancelled"),
    /** The device could not be configured as asked. */
    INVALID_VPN("invalidVPN"),
    /** {@code start} did not finish in 10 s. */
    TIMED_OUT("timedOut"),
    /** Somebody set the interface down. */
    VPN_DISABLED("vpnDisabled"),
    /** Somebody deleted the interface, or moved it to another network namespace. */
    VPN_REMOVED("vpnRemoved"),
    /** Another instance of the daemon took the interface over. */
    SUPERSEDED("superseded"),
    /** The last session of the owning user ended. */
    LOGGED_OUT("loggedOut"),
    /** Another user's session became the active one. (The wire word has this spelling.) */
    CURRENT_USER_CHANGED("currentUserchanged"),
    /** The program's end of a Unix data plane went away. */
    CONNECTION_FAILED("connectionFailed"),
    /** The daemon gave no reason. */
    NO_REASON("noReason"),
    /** A cause without a name; also any word that this version of the client does not know. */
    UNKNOWN("unknown");

    private final String word;

    StopReason(String word) {
        this.word = word;
    }

    /** The word on the wire. */
    public String word() {
        return word;
    }

    /** The reason for a word on the wire; {@link #UNKNOWN} for anything not listed above, null included. */
    public static StopReason fromWire(Object word) {
        for (StopReason reason : values()) {
            if (reason.word.equals(word)) {
                return reason;
            }
        }
        return UNKNOWN;
    }
}
