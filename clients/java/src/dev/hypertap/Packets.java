package dev.hypertap;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;

/**
 * Answers pings and reads DNS queries in raw IP packets. Every method takes any bytes and returns an empty Optional for
 * what it cannot read; none throws on junk. Formats: RFC 791 (IPv4), 8200 (IPv6), 792 and 4443 (echo), 1035 (DNS).
 */
public final class Packets {
    private static final int ICMP = 1;
    private static final int UDP = 17;
    private static final int ICMPV6 = 58;
    private static final int FRAGMENT = 44;
    private static final int MAX_EXTENSIONS = 16;
    private static final int DNS_PORT = 53;
    private static final byte HOPS = 64;
    private static final Map<Integer, String> RECORD_TYPES = Map.ofEntries(
            Map.entry(1, "A"), Map.entry(2, "NS"), Map.entry(5, "CNAME"), Map.entry(6, "SOA"), Map.entry(12, "PTR"),
            Map.entry(15, "MX"), Map.entry(16, "TXT"), Map.entry(28, "AAAA"), Map.entry(33, "SRV"),
            Map.entry(43, "DS"), Map.entry(48, "DNSKEY"), Map.entry(64, "SVCB"), Map.entry(65, "HTTPS"),
            Map.entry(255, "ANY"));

    /**
     * The question of a DNS query over UDP.
     *
     * @param id the number that the answer has to carry
     * @param name with a dot at its end; bytes that are no plain character of a name as {@code \DDD}
     * @param type "A", "AAAA" and so on; "TYPE123" for a number without a name here
     */
    public record DnsQuery(int id, String name, String type) {}

    /** Where the parts of a packet that is no fragment are; everything lies within its bytes. */
    private record Layout(int version, int protocol, int payload, int end) {
        int length() {
            return end - payload;
        }
    }

    private Packets() {}

    /** The answer to a ping, ready to be sent; empty when the packet is no whole, sound echo request. */
    public static Optional<byte[]> echoReply(byte[] packet) {
        Layout ip = layout(packet);
        if (ip == null || ip.length() < 8 || packet[ip.payload + 1] != 0) {
            return Optional.empty();
        }
        int kind = packet[ip.payload] & 0xFF;
        if (ip.version == 4 && ip.protocol == ICMP && kind == 8 && (packet[16] & 0xF0) != 0xE0) {
            return checksum(packet, ip.payload, ip.end, 0) == 0 ? Optional.of(reply4(packet, ip)) : Optional.empty();
        }
        if (ip.version == 6 && ip.protocol == ICMPV6 && kind == 128 && packet[24] != (byte) 0xFF) {
            boolean sound = checksum(packet, ip.payload, ip.end, pseudoHeader(packet, ip.length())) == 0;
            return sound ? Optional.of(reply6(packet, ip)) : Optional.empty();
        }
        return Optional.empty();
    }

    /** The question of a DNS query over UDP to port 53; empty for anything else. (Queries over TCP are streams.) */
    public static Optional<DnsQuery> dnsQuery(byte[] packet) {
        Layout ip = layout(packet);
        if (ip == null || ip.protocol != UDP || ip.length() < 8 + 12 || u16(packet, ip.payload + 2) != DNS_PORT) {
            return Optional.empty();
        }
        int message = ip.payload + 8;
        boolean answer = (packet[message + 2] & 0x80) != 0;
        if (answer || u16(packet, message + 4) == 0) {
            return Optional.empty();
        }
        StringBuilder name = new StringBuilder();
        int behind = readName(packet, message + 12, ip.end, name);
        if (behind < 0 || behind + 4 > ip.end) {
            return Optional.empty();
        }
        int type = u16(packet, behind);
        return Optional.of(
                new DnsQuery(u16(packet, message), name.toString(), RECORD_TYPES.getOrDefault(type, "TYPE" + type)));
    }

    /** The headers of a packet; null when it is cut short, a fragment, or no IP packet. */
    private static Layout layout(byte[] packet) {
        int version = packet.length == 0 ? 0 : packet[0] >> 4 & 0xF;
        if (version == 4 && packet.length >= 20) {
            int header = (packet[0] & 0xF) * 4;
            int total = u16(packet, 2);
            boolean fragment = (u16(packet, 6) & 0x3FFF) != 0;
            boolean sound = header >= 20 && header <= total && total <= packet.length && !fragment;
            return sound ? new Layout(4, packet[9] & 0xFF, header, total) : null;
        }
        if (version == 6 && packet.length >= 40) {
            int end = 40 + u16(packet, 4);
            return end <= packet.length ? layout6(packet, end) : null;
        }
        return null;
    }

    /** Walks the extension headers (hop-by-hop 0, routing 43, destination options 60; fragment 44). */
    private static Layout layout6(byte[] packet, int end) {
        int protocol = packet[6] & 0xFF;
        int at = 40;
        for (int i = 0; i < MAX_EXTENSIONS; i++) {
            if (protocol != 0 && protocol != 43 && protocol != 60 && protocol != FRAGMENT) {
                break;
            }
            if (end - at < 8) {
                return null;
            }
            int size = 8;
            if (protocol != FRAGMENT) {
                size += (packet[at + 1] & 0xFF) * 8;
            } else if ((u16(packet, at + 2) & 0xFFF9) != 0) {
                return null;
            }
            if (end - at < size) {
                return null;
            }
            protocol = packet[at] & 0xFF;
            at += size;
        }
        return new Layout(6, protocol, at, end);
    }

    private static byte[] reply4(byte[] packet, Layout ip) {
        ByteBuffer out = ByteBuffer.allocate(20 + ip.length());
        out.put((byte) 0x45).put((byte) 0).putShort((short) out.capacity()).putInt(0);
        out.put(HOPS).put((byte) ICMP).putShort((short) 0).put(packet, 16, 4).put(packet, 12, 4);
        out.putInt(0).put(packet, ip.payload + 4, ip.length() - 4);
        out.putShort(10, (short) checksum(out.array(), 0, 20, 0));
        out.putShort(22, (short) checksum(out.array(), 20, out.capacity(), 0));
        return out.array();
    }

    private static byte[] reply6(byte[] packet, Layout ip) {
        ByteBuffer out = ByteBuffer.allocate(40 + ip.length());
        out.putInt(6 << 28).putShort((short) ip.length()).put((byte) ICMPV6).put(HOPS);
        out.put(packet, 24, 16).put(packet, 8, 16);
        out.putInt(129 << 24).put(packet, ip.payload + 4, ip.length() - 4);
        int sum = checksum(out.array(), 40, out.capacity(), pseudoHeader(out.array(), ip.length()));
        out.putShort(42, (short) sum);
        return out.array();
    }

    /** The sum of ICMPv6's pseudo-header: both addresses, the length, the protocol. */
    private static long pseudoHeader(byte[] packet, int length) {
        long sum = length + ICMPV6;
        for (int at = 8; at < 40; at += 2) {
            sum += u16(packet, at);
        }
        return sum;
    }

    /** The Internet checksum (RFC 1071) of these bytes on top of a sum; 0 when they include their own right one. */
    private static int checksum(byte[] data, int from, int to, long sum) {
        for (int at = from; at < to; at += 2) {
            sum += at + 1 < to ? u16(data, at) : (data[at] & 0xFF) << 8;
        }
        while (sum >> 16 != 0) {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
        return (int) ~sum & 0xFFFF;
    }

    /** Appends the name that starts there; the offset behind it, or -1. A first question has nothing to point back to. */
    private static int readName(byte[] packet, int start, int end, StringBuilder name) {
        int at = start;
        while (at < end) {
            int length = packet[at++] & 0xFF;
            if (length == 0) {
                name.append(name.length() == 0 ? "." : "");
                return at;
            }
            if (length > 63 || at + length > end || at + length - start > 254) {
                return -1;
            }
            for (byte each : Arrays.copyOfRange(packet, at, at + length)) {
                appendByte(name, each & 0xFF);
            }
            name.append('.');
            at += length;
        }
        return -1;
    }

    private static void appendByte(StringBuilder name, int value) {
        if (value == '.' || value == '\\') {
            name.append('\\').append((char) value);
        } else if (value > 0x20 && value < 0x7F) {
            name.append((char) value);
        } else {
            name.append(String.format("\\%03d", value));
        }
    }

    private static int u16(byte[] data, int at) {
        return (data[at] & 0xFF) << 8 | data[at + 1] & 0xFF;
    }
}
