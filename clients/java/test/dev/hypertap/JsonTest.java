package dev.hypertap;

import dev.hypertap.test.Check;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/** JSON: what is read, what is refused, what is written. */
public final class JsonTest {
    private JsonTest() {}

    private static void reads(String text, Object value) throws Exception {
        Check.equal(Json.parse(text), value);
    }

    private static void refuses(String... texts) {
        for (String text : texts) {
            Json.SyntaxException refusal = Check.fails(Json.SyntaxException.class, () -> Json.parse(text));
            Check.that(refusal.getMessage().contains("character"), "the message says where");
        }
    }

    public static void valuesOfEveryKindAreRead() throws Exception {
        reads(" null ", null);
        reads("true", true);
        reads("\t[false]\r\n", List.of(false));
        reads("[ ]", List.of());
        reads("{ }", Map.of());
        reads("{\"a\" : [1 , {\"b\":\"c\"}] , \"\":null}", mapOf("a", List.of(1L, Map.of("b", "c")), "", null));
    }

    public static void numbersAreRead() throws Exception {
        reads("0", 0L);
        reads("-0", 0L);
        reads("-12", -12L);
        reads("9223372036854775807", Long.MAX_VALUE);
        reads("-9223372036854775808", Long.MIN_VALUE);
        reads("9223372036854775808", 9223372036854775808.0);
        reads("1.5e3", 1500.0);
        reads("1E-2", 0.01);
        reads("1e+2", 100.0);
    }

    public static void badNumbersAreRefused() {
        refuses("01", "-", "+1", ".5", "1.", "1e", "1e+", "0x1", "NaN", "Infinity", "1e999", "-01", "1_0", "\u0661");
    }

    public static void stringsAreRead() throws Exception {
        reads("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t");
        reads("\"\\u00e9\\uD83D\\ude00\"", "\u00e9\ud83d\ude00");
        reads("\"\ud83d\ude00\u007f\"", "\ud83d\ude00\u007f");
        reads("\"\\u0000\"", "\0");
    }

    public static void badStringsAreRefused() {
        refuses("\"", "\"a", "\"\n\"", "\"\t\"", "\"\0\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\", "'a'",
                "\"\\ud800\"", "\"\\udc00\\ud800\"", "\"\ud800x\"", "\"\\u\uff11234\"");
    }

    public static void badStructureIsRefused() {
        refuses("", " ", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}",
                "{a:1}", "{1:2}", "{\"a\" 1}", "{\"a\":1]", "[1}", "1 2", "{}{}", "tru", "True", "nul", "truefalse",
                "{\"a\":1,\"a\":2}", "\ufeff{}", "[1]\0", "// a\n1");
    }

    public static void nestingEndsAtTheLimit() throws Exception {
        int limit = Json.MAX_DEPTH;
        Json.parse("[".repeat(limit) + "]".repeat(limit));
        refuses("[".repeat(limit + 1) + "]".repeat(limit + 1), "{\"a\":".repeat(1_000_000), "[".repeat(1_000_000));
        Json.parse("[" + "[[]],".repeat(1000) + "{\"a\":{}}]"); // breadth is no depth
    }

    public static void whatIsWrittenIsReadBack() throws Exception {
        Object value = mapOf("text", "\"\\\n\u00e9\ud83d\ude00\u2028", "list", Arrays.asList(1L, -2.5, true, null), "none",
                List.of(), "map", Map.of());
        String text = Json.write(value);
        Check.that(text.chars().allMatch(c -> c >= 0x20 && c < 0x7F), "one line of ASCII");
        reads(text, value);
    }

    public static void whatIsNoJsonIsNotWritten() {
        Check.fails(IllegalArgumentException.class, () -> Json.write(new Object()));
        Check.fails(IllegalArgumentException.class, () -> Json.write(Double.NaN));
        List<Object> self = new ArrayList<>();
        self.add(self);
        Check.fails(IllegalArgumentException.class, () -> Json.write(self));
    }

    public static void junkIsRefusedOrReadAndNothingElse() {
        Random random = new Random(1);
        String alphabet = "{}[]\":,\\u0019eE+-. tfn\n\0\ud800\udc00x";
        for (int i = 0; i < 200_000; i++) {
            StringBuilder text = new StringBuilder();
            for (int n = random.nextInt(12); n > 0; n--) {
                text.append(alphabet.charAt(random.nextInt(alphabet.length())));
            }
            try {
                Object value = Json.parse(text.toString());
                Check.equal(Json.parse(Json.write(value)), value);
            } catch (Json.SyntaxException refused) {
                Check.that(refused.getMessage() != null, "a reason");
            }
        }
    }

    private static Map<String, Object> mapOf(Object... pairs) {
        Map<String, Object> map = new LinkedHashMap<>();
        for (int i = 0; i < pairs.length; i += 2) {
            map.put((String) pairs[i], pairs[i + 1]);
        }
        return map;
    }
}
