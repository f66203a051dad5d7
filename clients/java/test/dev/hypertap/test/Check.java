package dev.hypertap.test;

import java.util.Arrays;
import java.util.Objects;

/** Assertions without a framework. */
public final class Check {
    /** Code that may throw. */
    public interface Code {
        void run() throws Exception;
    }

    private Check() {}

    public static void that(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    public static void equal(Object actual, Object expected) {
        if (!Objects.deepEquals(actual, expected)) {
            throw new AssertionError(show(actual) + " is not the expected " + show(expected));
        }
    }

    /** Runs code that must throw this; returns what it threw. */
    public static <E extends Throwable> E fails(Class<E> kind, Code code) {
        try {
            code.run();
        } catch (Throwable thrown) {
            if (kind.isInstance(thrown)) {
                return kind.cast(thrown);
            }
            throw new AssertionError("it threw something else than " + kind.getSimpleName() + ": " + thrown, thrown);
        }
        throw new AssertionError("it did not throw " + kind.getSimpleName());
    }

    private static String show(Object value) {
        return value instanceof byte[] bytes ? Arrays.toString(bytes) : String.valueOf(value);
    }
}
