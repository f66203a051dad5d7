package dev.hypertap;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What {@link Tunnel#start(StartOptions)} asks for. Immutable: each method returns a changed copy. Only what differs from
 * the daemon's defaults is sent.
 */
public final class StartOptions {
    /** How packets travel between the daemon and the program. */
    public enum DataPlane {
        /** A datagram a packet on loopback. A slow reader loses packets. */
        UDP("udp"),
        /** Packets behind their lengths on a Unix stream: none is lost, and a system call moves many. */
        STREAM("stream");

        final String word;

        DataPlane(String word) {
            this.word = word;
        }
    }

    final DataPlane dataPlane;
    final int receivePort;
    final int dataPort;
    private final Map<String, Object> fields;

    private StartOptions(DataPlane dataPlane, int receivePort, int dataPort, Map<String, Object> fields) {
        this.dataPlane = dataPlane;
        this.receivePort = receivePort;
        this.dataPort = dataPort;
        this.fields = fields;
    }

    /** A tunnel with this IPv4 address ({@code "5.5.5.5"}) over UDP on the usual ports. */
    public static StartOptions address(String ipv4) {
        return new StartOptions(DataPlane.UDP, PacketSocket.RECEIVE_PORT, PacketSocket.DATA_PORT, Map.of())
                .with("myIPv4Address", ipv4);
    }

    /** Also gives the interface this IPv6 address. */
    public StartOptions address6(String ipv6) {
        return with("myIPv6Address", ipv6);
    }

    /** The interface's MTU in bytes (the daemon's default is 1500). */
    public StartOptions mtu(int bytes) {
        return with("mtu", (long) bytes);
    }

    /** The interface's name. */
    public StartOptions name(String name) {
        return with("name", name);
    }

    /** Which data plane to use. */
    public StartOptions dataPlane(DataPlane plane) {
        return new StartOptions(plane, receivePort, dataPort, fields);
    }

    /** Our UDP port, at which packets arrive (default 5502); 0 takes any free one. */
    public StartOptions receivePort(int port) {
        return new StartOptions(dataPlane, port, dataPort, fields);
    }

    /** The daemon's UDP data port (default 5501), when it was started with another one. */
    public StartOptions dataPort(int port) {
        return new StartOptions(dataPlane, receivePort, port, fields);
    }

    /** Stops the tunnel when the machine's default route changes. */
    public StartOptions followDefaultRoute() {
        return with("followDefaultRoute", true);
    }

    /** The fields of the command; {@code boundPort} is the UDP port that we have, or -1. */
    Map<String, Object> toWire(int boundPort) {
        Map<String, Object> wire = new LinkedHashMap<>(fields);
        if (dataPlane != DataPlane.UDP) {
            wire.put("dataPlane", dataPlane.word);
        }
        if (boundPort >= 0 && boundPort != PacketSocket.RECEIVE_PORT) {
            wire.put("receivePort", (long) boundPort);
        }
        return wire;
    }

    private StartOptions with(String key, Object value) {
        Map<String, Object> more = new LinkedHashMap<>(fields);
        more.put(key, value);
        return new StartOptions(dataPlane, receivePort, dataPort, more);
    }
}
