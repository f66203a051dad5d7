package dev.hypertap;

import dev.hypertap.test.Check;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Optional;
import java.util.Random;

/** Answering pings and reading DNS queries. */
public final class PacketsTest {
    // 5.5.5.5 > 10.9.0.7: echo request, id 0x1234, seq 1, "abcdefg"; and what a host answers, TTL 64.
    private static final byte[] PING = hex("4500002300014000400126c0050505050a0900070800549d1234000161626364656667");
    private static final byte[] PONG = hex("4500002300000000400166c10a09000705050505" + "00005c9d1234000161626364656667");
    // fd00::5 > fd00::7: the same for IPv6, "hello".
    private static final String ADDRESSES6 = "fd000000000000000000000000000005fd000000000000000000000000000007";
    private static final byte[] PING6 = hex("60000000000d3a40" + ADDRESSES6 + "80002fa31234000168656c6c6f");

    private PacketsTest() {}

    private static byte[] hex(String digits) {
        return HexFormat.of().parseHex(digits);
    }

    private static byte[] query(String name, int type, int flags, int port) {
        byte[] labels = name.getBytes(StandardCharsets.ISO_8859_1);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        int udp = 8 + 12 + labels.length + 4;
        out.writeBytes(hex("4500" + HexFormat.of().toHexDigits((short) (20 + udp)) + "00000000401100000505050509090909"));
        out.writeBytes(hex("0fa0" + HexFormat.of().toHexDigits((short) port) + HexFormat.of().toHexDigits((short) udp) + "0000"));
        out.writeBytes(hex("0007" + HexFormat.of().toHexDigits((short) flags) + "0001000000000000"));
        out.writeBytes(labels);
        out.writeBytes(hex(HexFormat.of().toHexDigits((short) type) + "0001"));
        return out.toByteArray();
    }

    private static String read(String name, int type) {
        return Packets.dnsQuery(query(name, type, 0x0100, 53)).map(q -> q.id() + " " + q.name() + " " + q.type()).orElse("none");
    }

    public static void aPingIsAnswered() {
        Check.equal(Packets.echoReply(PING).orElseThrow(), PONG);
    }

    public static void anIpv6PingIsAnswered() {
        byte[] reply = Packets.echoReply(PING6).orElseThrow();
        byte[] expected = hex("60000000000d3a40" + ADDRESSES6.substring(32) + ADDRESSES6.substring(0, 32) + "81002ea31234000168656c6c6f");
        Check.equal(reply, expected);
    }

    public static void whatIsNoSoundPingIsNotAnswered() {
        byte[] flipped = PING.clone();
        flipped[flipped.length - 1] ^= 1;
        byte[] fragment = PING.clone();
        fragment[6] = 0x20;
        byte[] flipped6 = PING6.clone();
        flipped6[50] ^= 1;
        for (byte[] junk : new byte[][] {{}, flipped, fragment, flipped6, PONG, Arrays.copyOf(PING, PING.length - 1)}) {
            Check.equal(Packets.echoReply(junk), Optional.empty());
        }
    }

    public static void paddingBehindThePacketIsNoPayload() {
        Check.equal(Packets.echoReply(Arrays.copyOf(PING, 99)).orElseThrow(), PONG);
    }

    public static void aQueryIsRead() {
        Check.equal(read("\3www\7example\0", 1), "7 www.example. A");
        Check.equal(read("\0", 28), "7 . AAAA");
        Check.equal(read("\4a.\\\n\1\u00ff\0", 4242), "7 a\\.\\\\\\010.\\255. TYPE4242");
    }

    public static void aBadNameIsNoQuery() {
        for (String name : new String[] {"\u00c0\f", "\100" + "a".repeat(64) + "\0", ("\77" + "a".repeat(63)).repeat(4) + "\0", "\77abc"}) {
            Check.equal(read(name, 1), "none");
        }
        String longest = ("\77" + "a".repeat(63)).repeat(3) + "\75" + "b".repeat(61) + "\0";
        Check.equal(longest.length(), 255);
        Check.that(read(longest, 1).endsWith("b. A"), "the longest name");
        Check.equal(read("\1c" + longest, 1), "none");
    }

    public static void answersAndOtherPortsAreNoQueries() {
        Check.equal(Packets.dnsQuery(query("\0", 1, 0x8180, 53)), Optional.empty());
        Check.equal(Packets.dnsQuery(query("\0", 1, 0x0100, 5353)), Optional.empty());
    }

    public static void junkNeverThrows() {
        Random random = new Random(2);
        byte[][] samples = {PING, PING6, query("\3www\7example\0", 1, 0x0100, 53)};
        byte[] starts = {0x45, 0x4F, 0x60};
        for (int i = 0; i < 200_000; i++) {
            byte[] junk = samples[random.nextInt(3)].clone();
            for (int n = random.nextInt(4); n > 0; n--) {
                junk[random.nextInt(junk.length)] = (byte) random.nextInt();
            }
            junk = Arrays.copyOf(junk, random.nextInt(junk.length + 1));
            Packets.echoReply(junk);
            Packets.dnsQuery(junk);
            junk = new byte[1 + random.nextInt(120)];
            random.nextBytes(junk);
            junk[0] = starts[random.nextInt(3)];
            Packets.echoReply(junk);
            Packets.dnsQuery(junk);
        }
    }
}
