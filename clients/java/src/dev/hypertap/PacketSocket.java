package dev.hypertap;

import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.PortUnreachableException;
import java.net.StandardProtocolFamily;
import java.net.StandardSocketOptions;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.SelectableChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.channels.spi.AbstractSelectableChannel;
import java.nio.file.Path;

/**
 * The socket on which packets travel between the daemon and the program. {@link Tunnel} waits for one; a program with a
 * loop of its own may use it directly: {@link #tryReceive} and {@link #trySend} never block, {@link #awaitReadable} and
 * {@link #awaitWritable} do. One thread at a time may receive, and one may send.
 *
 * <p>The daemon has two more data planes, which plain Java cannot reach: it has neither seqpacket sockets ({@code "unix"})
 * nor file descriptors that arrive over a socket ({@code "fd"}).
 */
public abstract class PacketSocket implements Closeable {
    /** The daemon's UDP port for packets. */
    public static final int DATA_PORT = 5501;
    /** Our UDP port for packets. */
    public static final int RECEIVE_PORT = 5502;
    /** Longest packet in bytes. (UDP ends at 65507, and the interface's MTU comes before either.) */
    public static final int MAX_PACKET = 65535;

    private static final int BUFFER = 4 << 20;

    private final AbstractSelectableChannel channel;
    private final Selector readable = Selector.open();
    private final Selector writable = Selector.open();

    private PacketSocket(AbstractSelectableChannel channel) throws IOException {
        this.channel = channel;
        channel.configureBlocking(false);
        channel.register(readable, SelectionKey.OP_READ);
        channel.register(writable, SelectionKey.OP_WRITE);
    }

    /** A datagram a packet, between {@code receivePort} (0: any free one) and the daemon's {@code dataPort}. */
    public static PacketSocket udp(int receivePort, int dataPort) throws IOException {
        return opened(DatagramChannel.open(StandardProtocolFamily.INET), channel -> {
            InetAddress loopback = InetAddress.getByAddress(new byte[] {127, 0, 0, 1});
            channel.setOption(StandardSocketOptions.SO_RCVBUF, BUFFER); // the kernel takes what it allows
            channel.bind(new InetSocketAddress(loopback, receivePort));
            channel.connect(new InetSocketAddress(loopback, dataPort)); // nobody else can send us packets
            return new Udp(channel);
        });
    }

    /** Packets behind their lengths (u16, big-endian) on a Unix stream socket; a system call moves many. */
    public static PacketSocket stream(Path path) throws IOException {
        return opened(SocketChannel.open(StandardProtocolFamily.UNIX), channel -> {
            channel.connect(UnixDomainSocketAddress.of(path));
            return new Stream(channel);
        });
    }

    /** The next packet, or null when there is none yet. Throws EOFException when the daemon's end is gone. */
    public abstract byte[] tryReceive() throws IOException;

    /**
     * Takes the packet, or says false when there is no room. What it took may wait for more to go out together: end a run
     * of packets with {@link #flush}.
     */
    public abstract boolean trySend(byte[] packet) throws IOException;

    /** Moves on what {@link #trySend} took; false when there is still something left. */
    public boolean flush() throws IOException {
        return true;
    }

    /** Our UDP port; -1 for a stream. */
    public int receivePort() throws IOException {
        return -1;
    }

    /** Waits until something may have arrived, for {@code millis} (0: for ever), a {@link #wakeup} or an interrupt. */
    public void awaitReadable(long millis) throws IOException {
        await(readable, millis);
    }

    /** Waits until there may be room, likewise. */
    public void awaitWritable(long millis) throws IOException {
        await(writable, millis);
    }

    /** Ends the waits of now, or else the next ones. */
    public void wakeup() {
        readable.wakeup();
        writable.wakeup();
    }

    @Override
    public void close() throws IOException {
        channel.close();
        readable.close();
        writable.close();
    }

    private static void await(Selector selector, long millis) throws IOException {
        selector.select(millis);
        selector.selectedKeys().clear();
    }

    private interface Opening<C> {
        PacketSocket with(C channel) throws IOException;
    }

    private static <C extends SelectableChannel> PacketSocket opened(C channel, Opening<C> opening) throws IOException {
        try {
            return opening.with(channel);
        } catch (IOException | RuntimeException failure) {
            channel.close();
            throw failure;
        }
    }

    private static void check(byte[] packet) {
        if (packet.length == 0 || packet.length > MAX_PACKET) {
            throw new IllegalArgumentException("a packet has 1 to " + MAX_PACKET + " bytes, this one has " + packet.length);
        }
    }

    private static final class Udp extends PacketSocket {
        private final DatagramChannel channel;
        private final ByteBuffer in = ByteBuffer.allocateDirect(MAX_PACKET);

        Udp(DatagramChannel channel) throws IOException {
            super(channel);
            this.channel = channel;
        }

        @Override
        public byte[] tryReceive() throws IOException {
            in.clear();
            try {
                if (channel.read(in) <= 0) {
                    return null;
                }
            } catch (PortUnreachableException earlierDatagram) { // it found the daemon's port closed
                return null;
            }
            byte[] packet = new byte[in.flip().remaining()];
            in.get(packet);
            return packet;
        }

        @Override
        public boolean trySend(byte[] packet) throws IOException {
            check(packet);
            try {
                return channel.write(ByteBuffer.wrap(packet)) > 0;
            } catch (PortUnreachableException earlierDatagram) { // this one has not been sent yet
                return channel.write(ByteBuffer.wrap(packet)) > 0;
            }
        }

        @Override
        public int receivePort() throws IOException {
            return ((InetSocketAddress) channel.getLocalAddress()).getPort();
        }
    }

    private static final class Stream extends PacketSocket {
        private static final int CHUNK = 256 * 1024;

        private final SocketChannel channel;
        private final ByteBuffer in = ByteBuffer.allocateDirect(CHUNK).flip(); // ready for taking out
        private final ByteBuffer out = ByteBuffer.allocateDirect(CHUNK); // ready for putting in

        Stream(SocketChannel channel) throws IOException {
            super(channel);
            this.channel = channel;
        }

        @Override
        public byte[] tryReceive() throws IOException {
            while (true) {
                int length = in.remaining() < 2 ? -1 : in.getShort(in.position()) & 0xFFFF;
                if (length >= 0 && in.remaining() >= 2 + length) {
                    byte[] packet = new byte[length];
                    in.getShort();
                    in.get(packet);
                    if (length > 0) {
                        return packet;
                    }
                } else if (!fill()) {
                    return null;
                }
            }
        }

        private boolean fill() throws IOException {
            in.compact(); // a frame is shorter than the buffer, so there is room
            try {
                int count = channel.read(in);
                if (count < 0) {
                    throw new EOFException("the daemon closed the data plane");
                }
                return count > 0;
            } finally {
                in.flip();
            }
        }

        @Override
        public boolean trySend(byte[] packet) throws IOException {
            check(packet);
            if (out.remaining() < 2 + packet.length) {
                flush();
                if (out.remaining() < 2 + packet.length) {
                    return false;
                }
            }
            out.putShort((short) packet.length).put(packet);
            return true;
        }

        /** Reads what is left: else the daemon sees a reset connection instead of a plain end. */
        @Override
        public void close() throws IOException {
            try {
                channel.shutdownOutput();
                channel.shutdownInput();
                in.clear();
                while (channel.read(in) > 0) {
                    in.clear();
                }
            } catch (IOException daemonWasFaster) {
                // then there is nothing to read
            }
            super.close();
        }

        @Override
        public boolean flush() throws IOException {
            out.flip();
            try {
                channel.write(out);
            } finally {
                out.compact();
            }
            return out.position() == 0;
        }
    }
}
