package dev.hypertap.test;

import dev.hypertap.CommandProtocolTest;
import dev.hypertap.JsonTest;
import dev.hypertap.PacketsTest;
import dev.hypertap.TunnelTest;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.List;

/** Runs every public static method without parameters of the test classes. Exits with 1 if one fails. */
public final class AllTests {
    private static final List<Class<?>> CLASSES =
            List.of(JsonTest.class, CommandProtocolTest.class, PacketsTest.class, TunnelTest.class);

    private AllTests() {}

    public static void main(String[] args) throws Exception {
        int passed = 0;
        int failed = 0;
        for (Class<?> tests : CLASSES) {
            for (Method test : tests.getDeclaredMethods()) {
                int modifiers = test.getModifiers();
                if (!Modifier.isPublic(modifiers) || !Modifier.isStatic(modifiers) || test.getParameterCount() > 0) {
                    continue;
                }
                try {
                    test.invoke(null);
                    passed++;
                } catch (InvocationTargetException failure) {
                    failed++;
                    System.out.println("FAILED " + tests.getSimpleName() + "." + test.getName());
                    failure.getCause().printStackTrace(System.out);
                }
            }
        }
        System.out.println(passed + " passed, " + failed + " failed");
        System.exit(failed == 0 && passed > 0 ? 0 : 1);
    }
}
