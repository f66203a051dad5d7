package dev.hypertap;

import java.io.Closeable;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.SocketTimeoutException;
import java.net.StandardSocketOptions;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.Map;

/**
 * A command connection: the socket, the thread that reads it, and the waiting for what it reads.
 *
 * <p>The thread feeds a {@link CommandProtocol} under this object's monitor and wakes whoever waits. The socket does not
 * block, since a blocking channel closes when a thread that uses it is interrupted.
 */
final class CommandLink implements Closeable {
    /** Looks whether something is there, under the monitor; null means not yet. */
    interface Look<T> {
        T at(CommandProtocol protocol) throws IOException;
    }

    private static final int CHUNK = 64 * 1024;

    private final CommandProtocol protocol = new CommandProtocol();
    private final Object sending = new Object();
    private final SocketChannel channel;
    private final Selector readable = Selector.open();
    private final Duration timeout;
    private final Thread reader;
    private Runnable onStop = () -> { };

    /** Connects and waits for the daemon's greeting. */
    CommandLink(SocketAddress address, Duration timeout) throws IOException {
        this.timeout = timeout;
        channel = open(address, timeout);
        channel.configureBlocking(false);
        channel.register(readable, SelectionKey.OP_READ);
        reader = new Thread(this::read, "hypertap commands");
        reader.setDaemon(true);
        reader.start();
        try {
            await(state -> state.greeted() ? true : null, timeout, "the daemon's greeting");
        } catch (IOException | RuntimeException failure) {
            close();
            throw failure;
        }
    }

    /** What to run, in any thread and briefly, whenever no tunnel runs any more. */
    synchronized void onStop(Runnable action) {
        onStop = action;
        if (!protocol.running) {
            action.run();
        }
    }

    /** Sends a command; the reply if it is a success. Throws CommandException, SocketTimeoutException. */
    Map<String, Object> command(String cmd, Map<String, Object> fields) throws IOException {
        CommandProtocol.Submission submission;
        synchronized (sending) { // lines leave in the order in which they were noted
            submission = look(state -> state.submit(cmd, fields));
            send(submission.line());
        }
        boolean answered = false;
        try {
            Map<String, Object> reply =
                    await(state -> state.takeReply(submission.id()), timeout, "the reply to " + cmd);
            answered = true;
            return CommandProtocol.success(reply);
        } finally {
            if (!answered) {
                synchronized (this) {
                    protocol.abandon(submission.id());
                }
            }
        }
    }

    /** Looks once. */
    synchronized <T> T look(Look<T> look) throws IOException {
        return look.at(protocol);
    }

    /** Looks until there is something. Throws what ended the connection, SocketTimeoutException, InterruptedIOException. */
    synchronized <T> T await(Look<T> look, Duration limit, String what) throws IOException {
        long deadline = limit == null ? 0 : System.nanoTime() + limit.toNanos();
        while (true) {
            T found = look.at(protocol);
            if (found != null) {
                return found;
            }
            protocol.check();
            long left = limit == null ? Long.MAX_VALUE : deadline - System.nanoTime();
            if (left <= 0) {
                throw new SocketTimeoutException("no sign of " + what + " in " + limit);
            }
            try {
                wait(limit == null ? 0 : left / 1_000_000 + 1);
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
                throw new InterruptedIOException("interrupted while waiting for " + what);
            }
        }
    }

    @Override
    public void close() {
        end(new IOException("the tunnel was closed by this program"));
        readable.wakeup();
        try {
            reader.join(1000); // it closes the socket, at once
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private static SocketChannel open(SocketAddress address, Duration timeout) throws IOException {
        SocketChannel channel = null;
        try {
            if (address instanceof UnixDomainSocketAddress) {
                return SocketChannel.open(address);
            }
            channel = SocketChannel.open();
            channel.socket().connect(address, (int) Math.min(timeout.toMillis(), Integer.MAX_VALUE));
            channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
            return channel;
        } catch (IOException failure) {
            if (channel != null) {
                channel.close();
            }
            String place = address instanceof InetSocketAddress inet ? inet.getHostString() + ":" + inet.getPort() : address.toString();
            throw new IOException("cannot connect to " + place + " (" + failure.getMessage()
                    + "); is `hypertap tunnel` running?", failure);
        }
    }

    private void send(byte[] line) throws IOException {
        ByteBuffer rest = ByteBuffer.wrap(line);
        long deadline = System.nanoTime() + timeout.toNanos();
        try {
            while (channel.write(rest) >= 0 && rest.hasRemaining()) {
                if (System.nanoTime() > deadline) {
                    throw new SocketTimeoutException("the daemon does not read commands");
                }
                try (Selector writable = Selector.open()) { // rare: commands are small
                    channel.register(writable, SelectionKey.OP_WRITE);
                    writable.select(100);
                }
            }
        } catch (IOException failure) { // half a line may be out: nothing can follow it
            end(failure);
            throw failure;
        }
    }

    private void read() {
        ByteBuffer in = ByteBuffer.allocate(CHUNK);
        try (channel; readable) {
            while (!look(CommandProtocol::failed)) {
                readable.select();
                readable.selectedKeys().clear();
                int count = channel.read(in.clear());
                if (count < 0) {
                    throw new IOException("the daemon closed the command connection");
                }
                synchronized (this) {
                    protocol.receive(in.array(), count);
                    changed();
                }
            }
        } catch (IOException failure) {
            end(failure);
        } finally {
            end(new IOException("the command connection ended")); // should anything else have ended this thread
        }
    }

    private synchronized void end(IOException cause) {
        protocol.fail(cause);
        changed();
    }

    private void changed() {
        if (!protocol.running) {
            onStop.run();
        }
        notifyAll();
    }
}
