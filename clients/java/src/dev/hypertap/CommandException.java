package dev.hypertap;

import java.io.IOException;
import java.util.OptionalInt;

/**
 * The daemon answered {@code {"ok":false}}, and nothing changed. Also thrown when connecting, if the daemon turns the
 * connection away (another client is connected, or the user is not permitted). The message is the daemon's own text.
 */
public class CommandException extends IOException {
    private static final long serialVersionUID = 1L;

    private final Integer code;

    CommandException(String error, Integer code) {
        super(error);
        this.code = code;
    }

    /** The daemon's error code, where it gave one. */
    public OptionalInt code() {
        return code == null ? OptionalInt.empty() : OptionalInt.of(code);
    }
}
