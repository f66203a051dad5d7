package dev.hypertap;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * The command plane without any I/O.
 *
 * <p>Theory of operation: the daemon answers commands strictly in order, a JSON object a line, and puts events between the
 * replies. This class is fed whatever arrived and sorts it: an object with {@code "cmd":"event"} is an event, anything else
 * answers the oldest command that has no answer yet. Two events greet every connection before the first reply; a failure in
 * their place is the daemon turning us away. Not thread-safe: {@link CommandLink} serialises.
 */
final class CommandProtocol {
    /** Longest line in bytes, its end not counted, that either side may send. */
    static final int MAX_LINE = 1 << 20;
    /** Most commands that may be without an answer at one time. */
    static final int MAX_PENDING = 256;
    /** Events kept for the program; past it the oldest is forgotten. */
    static final int MAX_EVENTS = 256;

    private static final Set<TunnelEvent.Kind> GREETING = Set.of(
            TunnelEvent.Kind.VPN_APPROVED, TunnelEvent.Kind.VPN_PENDING,
            TunnelEvent.Kind.EXTENSION_APPROVED, TunnelEvent.Kind.EXTENSION_NOT_APPROVED);

    /** A command on its way: the line to send, its end included. */
    record Submission(long id, byte[] line) {}

    final Deque<TunnelEvent> events = new ArrayDeque<>();
    /** The rights as the daemon last told them; null before the greeting. */
    Boolean vpnApproved;
    Boolean extensionApproved;
    boolean running;
    /** Why the last tunnel stopped; null while one runs, and before the first. */
    StopReason stopReason;
    int starts;
    int stops;

    private final ByteArrayOutputStream partial = new ByteArrayOutputStream();
    private final Deque<Long> pending = new ArrayDeque<>();
    private final Set<Long> unwanted = new HashSet<>();
    private final Map<Long, Map<String, Object>> replies = new HashMap<>();
    private long nextId = 1;
    private IOException failure;

    /** Notes a command. The lines must be sent in the order of these calls. */
    Submission submit(String cmd, Map<String, Object> fields) throws IOException {
        check();
        if (pending.size() >= MAX_PENDING) {
            throw new IOException(MAX_PENDING + " commands are waiting for an answer already");
        }
        Map<String, Object> body = new LinkedHashMap<>();
        body.put("cmd", cmd);
        body.putAll(fields);
        body.put("id", nextId);
        byte[] line = (Json.write(body) + "\n").getBytes(StandardCharsets.UTF_8);
        if (line.length > MAX_LINE) {
            throw new IllegalArgumentException("the command is " + line.length + " bytes long, the limit is " + MAX_LINE);
        }
        pending.add(nextId);
        return new Submission(nextId++, line);
    }

    /** The reply to a command, once; null as long as it has not arrived. */
    Map<String, Object> takeReply(long id) {
        return replies.remove(id);
    }

    /** Nobody waits for this reply any more: drop it, now or when it arrives. */
    void abandon(long id) {
        if (replies.remove(id) == null && pending.contains(id)) {
            unwanted.add(id);
        }
    }

    /** The oldest event of one of these kinds (any, if there are none), or null; older ones are discarded. */
    TunnelEvent takeEvent(Set<TunnelEvent.Kind> kinds) {
        TunnelEvent event;
        do {
            event = events.poll();
        } while (event != null && !kinds.isEmpty() && !kinds.contains(event.kind()));
        return event;
    }

    /** Takes what arrived. What is wrong with it ends the session: see {@link #check}. */
    void receive(byte[] data, int length) {
        try {
            int start = 0;
            for (int at = 0; at < length && failure == null; at++) {
                if (data[at] == '\n') {
                    extend(data, start, at);
                    start = at + 1;
                    onLine(partial.toByteArray());
                    partial.reset();
                }
            }
            if (failure == null) {
                extend(data, start, length);
            }
        } catch (IOException wrong) {
            fail(wrong);
        }
    }

    /** Ends the session; the first cause is the one that counts. */
    void fail(IOException cause) {
        if (failure == null) {
            failure = cause;
        }
        running = false;
    }

    /** Throws what ended the session, if anything did. */
    void check() throws IOException {
        if (failure instanceof CommandException refusal) {
            throw refusal;
        }
        if (failure != null) {
            throw new IOException(failure.getMessage(), failure);
        }
    }

    boolean failed() {
        return failure != null;
    }

    boolean greeted() {
        return vpnApproved != null && extensionApproved != null;
    }

    /** Throws what somebody gets who wants a running tunnel while there is none. */
    void checkRunning() throws IOException {
        if (running) {
            return;
        }
        if (stopReason != null) {
            throw new TunnelStoppedException(stopReason, "the tunnel stopped: " + stopReason.word());
        }
        check();
        throw new TunnelStoppedException(StopReason.NO_REASON, "the tunnel does not run: call start first");
    }

    /** The reply of a success; throws CommandException for a failure. */
    static Map<String, Object> success(Map<String, Object> reply) throws CommandException {
        if (Boolean.TRUE.equals(reply.get("ok"))) {
            return reply;
        }
        String error = reply.get("error") instanceof String text ? text : "the daemon gave no reason";
        Integer code = reply.get("code") instanceof Long number ? (Integer) number.intValue() : null;
        throw new CommandException(error, code);
    }

    private void extend(byte[] data, int from, int to) throws IOException {
        if (partial.size() + (to - from) > MAX_LINE + 1) { // one more for a carriage return
            throw new IOException("the daemon sent a line of more than " + MAX_LINE + " bytes");
        }
        partial.write(data, from, to - from);
    }

    @SuppressWarnings("unchecked") // Json makes no other maps
    private void onLine(byte[] line) throws IOException {
        int length = line.length;
        while (length > 0 && (line[length - 1] == '\r' || line[length - 1] == 0)) {
            length--;
        }
        if (length == 0) {
            return;
        }
        Object body;
        try {
            body = Json.parse(StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(line, 0, length)).toString());
        } catch (CharacterCodingException | Json.SyntaxException wrong) {
            throw new IOException("the other end sent a line that is not JSON: " + wrong.getMessage(), wrong);
        }
        if (!(body instanceof Map)) {
            throw new IOException("the other end sent a line that is not a JSON object");
        }
        Map<String, Object> object = (Map<String, Object>) body;
        if ("event".equals(object.get("cmd"))) {
            onEvent(TunnelEvent.fromWire(object));
        } else {
            onReply(object);
        }
    }

    private void onEvent(TunnelEvent event) {
        boolean greeting = !greeted() && GREETING.contains(event.kind());
        switch (event.kind()) {
            case VPN_APPROVED -> vpnApproved = true;
            case VPN_PENDING, VPN_DENIED, VPN_REMOVED -> vpnApproved = false;
            case EXTENSION_APPROVED -> extensionApproved = true;
            case EXTENSION_NOT_APPROVED -> extensionApproved = false;
            case TUNNEL_STARTED -> {
                starts++;
                running = true;
                stopReason = null;
            }
            case TUNNEL_STOPPED -> {
                stops++;
                running = false;
                stopReason = event.reason();
            }
            default -> { }
        }
        if (!greeting) {
            if (events.size() == MAX_EVENTS) {
                events.poll();
            }
            events.add(event);
        }
    }

    private void onReply(Map<String, Object> reply) throws IOException {
        if (!(reply.get("ok") instanceof Boolean)) {
            throw new IOException("the other end sent neither an event nor a reply");
        }
        Long id = pending.poll();
        if (id == null) {
            success(reply); // turned away: throws the daemon's reason
            throw new IOException("the other end answered a command that was not sent");
        }
        // A daemon that does not know ids leaves them out; the order is what counts.
        if (reply.containsKey("id") && !id.equals(reply.get("id"))) {
            throw new IOException("the reply to command " + id + " carries the id " + reply.get("id"));
        }
        if (!unwanted.remove(id)) {
            replies.put(id, reply);
        }
    }
}
