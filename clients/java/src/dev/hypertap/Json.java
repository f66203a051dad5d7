package dev.hypertap;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * JSON (RFC 8259), as strict as the RFC and stricter in three things: an object has no name twice, strings have no lone
 * surrogates, and nesting ends at {@value #MAX_DEPTH}.
 *
 * <p>Values are {@code Map<String, Object>} (in the order of the text), {@code List<Object>}, {@code String},
 * {@code Long} for whole numbers that fit, {@code Double} for the other numbers, {@code Boolean} and null.
 */
public final class Json {
    /** How deep arrays and objects may be nested. */
    public static final int MAX_DEPTH = 64;

    /** The text is not JSON; the message says what is wrong, and at which character. */
    public static final class SyntaxException extends Exception {
        private static final long serialVersionUID = 1L;

        SyntaxException(String message) {
            super(message);
        }
    }

    private final String text;
    private int at;
    private int depth;

    private Json(String text) {
        this.text = text;
    }

    /** Reads one value with nothing but white space around it. */
    public static Object parse(String text) throws SyntaxException {
        Json json = new Json(text);
        json.skipSpace();
        Object value = json.value();
        json.skipSpace();
        if (json.at != text.length()) {
            throw json.wrong("something follows the value");
        }
        return value;
    }

    /** Writes a value of the kinds above (and any other whole-number type) on one line, everything beyond ASCII escaped. */
    public static String write(Object value) {
        StringBuilder out = new StringBuilder();
        write(value, out, 0);
        return out.toString();
    }

    private Object value() throws SyntaxException {
        return switch (peek()) {
            case '{' -> object();
            case '[' -> array();
            case '"' -> string();
            case 't' -> word("true", true);
            case 'f' -> word("false", false);
            case 'n' -> word("null", null);
            default -> number();
        };
    }

    private Map<String, Object> object() throws SyntaxException {
        Map<String, Object> members = new LinkedHashMap<>();
        if (opens('}')) {
            return members;
        }
        do {
            skipSpace();
            if (peek() != '"') {
                throw wrong("a name was expected");
            }
            String name = string();
            skipSpace();
            expect(':');
            skipSpace();
            if (members.containsKey(name)) {
                throw wrong("a name occurs twice");
            }
            members.put(name, value());
        } while (continues('}'));
        return members;
    }

    private List<Object> array() throws SyntaxException {
        List<Object> items = new ArrayList<>();
        if (opens(']')) {
            return items;
        }
        do {
            skipSpace();
            items.add(value());
        } while (continues(']'));
        return items;
    }

    /** Steps over the opening bracket; true if it closes again at once. */
    private boolean opens(char close) throws SyntaxException {
        if (++depth > MAX_DEPTH) {
            throw wrong("it is nested too deep");
        }
        at++;
        skipSpace();
        if (peek() != close) {
            return false;
        }
        at++;
        depth--;
        return true;
    }

    /** Steps over a comma (true) or the closing bracket (false). */
    private boolean continues(char close) throws SyntaxException {
        skipSpace();
        char next = peek();
        at++;
        if (next == close) {
            depth--;
            return false;
        }
        if (next != ',') {
            at--;
            throw wrong("a comma or the end was expected");
        }
        return true;
    }

    private String string() throws SyntaxException {
        expect('"');
        StringBuilder out = new StringBuilder();
        while (true) {
            char next = peek();
            at++;
            if (next == '"') {
                break;
            }
            if (next < 0x20) {
                throw wrong("a control character stands in a string");
            }
            out.append(next == '\\' ? escape() : next);
        }
        for (int i = 0; i < out.length(); i++) {
            if (Character.isHighSurrogate(out.charAt(i)) && i + 1 < out.length() && Character.isLowSurrogate(out.charAt(i + 1))) {
                i++;
            } else if (Character.isSurrogate(out.charAt(i))) {
                throw wrong("a string has half a character");
            }
        }
        return out.toString();
    }

    private char escape() throws SyntaxException {
        char kind = peek();
        at++;
        return switch (kind) {
            case '"', '\\', '/' -> kind;
            case 'b' -> '\b';
            case 'f' -> '\f';
            case 'n' -> '\n';
            case 'r' -> '\r';
            case 't' -> '\t';
            case 'u' -> unicode();
            default -> throw wrong("there is no such escape");
        };
    }

    private char unicode() throws SyntaxException {
        int code = 0;
        for (int i = 0; i < 4; i++) {
            char next = peek();
            int digit = next < 0x80 ? Character.digit(next, 16) : -1;
            if (digit < 0) {
                throw wrong("four hexadecimal digits were expected");
            }
            code = code << 4 | digit;
            at++;
        }
        return (char) code;
    }

    private Object word(String word, Object value) throws SyntaxException {
        if (!text.startsWith(word, at)) {
            throw wrong("a value was expected");
        }
        at += word.length();
        return value;
    }

    private Object number() throws SyntaxException {
        int start = at;
        boolean whole = true;
        skip('-');
        if (!skip('0')) {
            digits();
        }
        if (skip('.')) {
            digits();
            whole = false;
        }
        if (skip('e') || skip('E')) {
            if (!skip('+')) {
                skip('-');
            }
            digits();
            whole = false;
        }
        String number = text.substring(start, at);
        if (whole && number.length() <= 20) {
            try {
                return Long.valueOf(number);
            } catch (NumberFormatException tooLarge) {
                // it becomes a Double
            }
        }
        double value = Double.parseDouble(number);
        if (Double.isInfinite(value)) {
            throw wrong("a number is too large");
        }
        return value;
    }

    private void digits() throws SyntaxException {
        int start = at;
        while (at < text.length() && text.charAt(at) >= '0' && text.charAt(at) <= '9') {
            at++;
        }
        if (at == start) {
            throw wrong("a value was expected");
        }
    }

    private boolean skip(char wanted) {
        boolean there = at < text.length() && text.charAt(at) == wanted;
        at += there ? 1 : 0;
        return there;
    }

    private void skipSpace() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    private void expect(char wanted) throws SyntaxException {
        if (!skip(wanted)) {
            throw wrong("'" + wanted + "' was expected");
        }
    }

    private char peek() throws SyntaxException {
        if (at >= text.length()) {
            throw wrong("the text ends too early");
        }
        return text.charAt(at);
    }

    private SyntaxException wrong(String what) {
        return new SyntaxException(what + " (character " + at + ")");
    }

    private static void write(Object value, StringBuilder out, int depth) {
        if (depth > MAX_DEPTH) {
            throw new IllegalArgumentException("nested too deep for JSON");
        }
        if (value == null || value instanceof Boolean) {
            out.append(value);
        } else if (value instanceof String string) {
            writeString(string, out);
        } else if (value instanceof Double number && !number.isNaN() && !number.isInfinite()) {
            out.append(number);
        } else if (value instanceof Long || value instanceof Integer || value instanceof Short || value instanceof Byte) {
            out.append(value);
        } else if (value instanceof Iterable<?> items) {
            String comma = "[";
            for (Object item : items) {
                out.append(comma);
                write(item, out, depth + 1);
                comma = ",";
            }
            out.append(comma.equals("[") ? "[]" : "]");
        } else if (value instanceof Map<?, ?> members) {
            String comma = "{";
            for (Map.Entry<?, ?> member : members.entrySet()) {
                out.append(comma);
                writeString((String) member.getKey(), out);
                out.append(':');
                write(member.getValue(), out, depth + 1);
                comma = ",";
            }
            out.append(comma.equals("{") ? "{}" : "}");
        } else {
            throw new IllegalArgumentException("no JSON for " + value + " of " + value.getClass());
        }
    }

    private static void writeString(String string, StringBuilder out) {
        out.append('"');
        for (char next : string.toCharArray()) {
            if (next == '"' || next == '\\') {
                out.append('\\').append(next);
            } else if (next >= 0x20 && next < 0x7F) {
                out.append(next);
            } else {
                out.append(String.format("\\u%04x", (int) next));
            }
        }
        out.append('"');
    }
}
