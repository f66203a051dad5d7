package dev.hypertap;

import java.io.IOException;

/** The tunnel is not running any more. {@link Tunnel#start} may be called again. */
public class TunnelStoppedException extends IOException {
    private static final long serialVersionUID = 1L;

    private final StopReason reason;

    TunnelStoppedException(StopReason reason, String message) {
        super(message);
        this.reason = reason;
    }

    /** Why it stopped. */
    public StopReason reason() {
        return reason;
    }
}
