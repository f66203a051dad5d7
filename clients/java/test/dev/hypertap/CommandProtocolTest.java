package dev.hypertap;

import dev.hypertap.test.Check;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.Map;
import java.util.Random;
import java.util.Set;

/** The command plane's core, fed by hand. */
public final class CommandProtocolTest {
    private static final String GREETING =
            "{\"cmd\":\"event\",\"event\":\"vpnPending\"}\n{\"cmd\":\"event\",\"event\":\"extensionApproved\"}\r\n";

    private CommandProtocolTest() {}

    private static void feed(CommandProtocol protocol, String text) {
        byte[] data = text.getBytes(StandardCharsets.ISO_8859_1);
        protocol.receive(data, data.length);
    }

    private static CommandProtocol greeted() {
        CommandProtocol protocol = new CommandProtocol();
        feed(protocol, GREETING);
        return protocol;
    }

    private static long submit(CommandProtocol protocol) throws IOException {
        return protocol.submit("status", Map.of()).id();
    }

    public static void theGreetingSetsBothRightsAndIsNoNews() {
        CommandProtocol protocol = greeted();
        Check.that(protocol.greeted() && !protocol.vpnApproved && protocol.extensionApproved, "the rights");
        Check.equal(protocol.takeEvent(Set.of()), null);
        feed(protocol, "{\"cmd\":\"event\",\"event\":\"vpnApproved\"}\n");
        Check.equal(protocol.takeEvent(Set.of()).kind(), TunnelEvent.Kind.VPN_APPROVED);
    }

    public static void aFailureInsteadOfAGreetingIsARefusal() {
        CommandProtocol protocol = new CommandProtocol();
        feed(protocol, "{\"ok\":false,\"error\":\"not permitted\",\"code\":3}\n");
        CommandException refusal = Check.fails(CommandException.class, protocol::check);
        Check.equal(refusal.getMessage(), "not permitted");
        Check.equal(refusal.code().getAsInt(), 3);
    }

    public static void aCommandIsOneLineWithAnId() throws Exception {
        byte[] line = greeted().submit("start", Map.of("name", "a\nb")).line();
        String text = new String(line, StandardCharsets.UTF_8);
        Check.equal(text.indexOf('\n'), text.length() - 1);
        Check.equal(Json.parse(text), Map.of("cmd", "start", "name", "a\nb", "id", 1L));
    }

    public static void repliesAreMatchedByOrderHoweverTheBytesAreCut() throws Exception {
        String text = "{\"ok\":true,\"n\":1}\n\n{\"cmd\":\"event\",\"event\":\"tunnelStarted\"}\r\n{\"ok\":false,\"id\":2}\0\n";
        for (int cut = 0; cut <= text.length(); cut++) {
            CommandProtocol protocol = greeted();
            long first = submit(protocol);
            long second = submit(protocol);
            feed(protocol, text.substring(0, cut));
            feed(protocol, text.substring(cut));
            protocol.check();
            Check.equal(protocol.takeReply(second).get("ok"), false);
            Check.equal(protocol.takeReply(first).get("n"), 1L);
            Check.equal(protocol.takeReply(first), null);
            Check.that(protocol.running, "running");
        }
    }

    public static void everyStopReasonIsReadAndAStrangeOneIsUnknown() {
        CommandProtocol protocol = greeted();
        Set<String> words = new HashSet<>();
        for (StopReason reason : StopReason.values()) {
            words.add(reason.word());
            feed(protocol, "{\"cmd\":\"event\",\"event\":\"tunnelStopped\",\"reason\":\"" + reason.word() + "\"}\n");
            Check.equal(Check.fails(TunnelStoppedException.class, protocol::checkRunning).reason(), reason);
        }
        Check.equal(words.size(), 16);
        Check.that(words.contains("currentUserchanged"), "the odd spelling");
        feed(protocol, "{\"cmd\":\"event\",\"event\":\"tunnelStopped\",\"reason\":\"martians\"}\n");
        Check.equal(protocol.stopReason, StopReason.UNKNOWN);
    }

    public static void anUnknownEventIsPassedOnByName() {
        CommandProtocol protocol = greeted();
        feed(protocol, "{\"cmd\":\"event\",\"event\":\"moonRisen\"}\n{\"cmd\":\"event\"}\n");
        Check.equal(protocol.takeEvent(Set.of()), new TunnelEvent(TunnelEvent.Kind.OTHER, "moonRisen", null));
        Check.equal(protocol.takeEvent(Set.of()), new TunnelEvent(TunnelEvent.Kind.OTHER, "", null));
    }

    public static void theReplyToAnAbandonedCommandIsDropped() throws Exception {
        CommandProtocol protocol = greeted();
        long first = submit(protocol);
        long second = submit(protocol);
        protocol.abandon(first);
        feed(protocol, "{\"ok\":true,\"id\":1}\n{\"ok\":true,\"id\":2}\n");
        Check.equal(protocol.takeReply(first), null);
        Check.equal(protocol.takeReply(second).get("id"), 2L);
    }

    public static void queuesAreBounded() throws Exception {
        CommandProtocol protocol = greeted();
        feed(protocol, "{\"cmd\":\"event\",\"event\":\"x\"}\n".repeat(CommandProtocol.MAX_EVENTS + 9));
        Check.equal(protocol.events.size(), CommandProtocol.MAX_EVENTS);
        for (int i = 0; i < CommandProtocol.MAX_PENDING; i++) {
            submit(protocol);
        }
        Check.fails(IOException.class, () -> submit(protocol));
        String large = "x".repeat(CommandProtocol.MAX_LINE);
        Check.fails(IllegalArgumentException.class, () -> greeted().submit("start", Map.of("name", large)));
    }

    public static void whatIsNoProtocolEndsTheSessionWithAReason() {
        for (String line : new String[] {"HTTP/1.1 400 Bad Request", "[1]", "{}", "{\"ok\":1}", "{\"ok\":true}", "\u00ff",
            "[".repeat(100_000), "x".repeat(CommandProtocol.MAX_LINE + 2)}) {
            CommandProtocol protocol = greeted();
            feed(protocol, line + "\n");
            Check.that(Check.fails(IOException.class, protocol::check).getMessage() != null, "a reason");
        }
    }

    public static void theReplyOfAnotherCommandEndsTheSession() throws Exception {
        CommandProtocol protocol = greeted();
        submit(protocol);
        feed(protocol, "{\"ok\":true,\"id\":7}\n");
        Check.fails(IOException.class, protocol::check);
    }

    public static void junkNeverThrows() throws Exception {
        Random random = new Random(1);
        String[] pieces = {GREETING, "{\"ok\":true}\n", "{\"ok\":false,\"error\":5,\"code\":true}\n", "\n", "{", "\"", "\0", "}\n"};
        for (int i = 0; i < 20_000; i++) {
            CommandProtocol protocol = new CommandProtocol();
            submit(protocol);
            for (int n = random.nextInt(12); n > 0; n--) {
                byte[] junk = new byte[random.nextInt(9)];
                random.nextBytes(junk);
                protocol.receive(junk, random.nextInt(3) == 0 ? junk.length : 0);
                feed(protocol, pieces[random.nextInt(pieces.length)]);
            }
        }
    }
}
