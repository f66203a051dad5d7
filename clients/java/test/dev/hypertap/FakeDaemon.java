package dev.hypertap;

import java.io.BufferedReader;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.nio.channels.Channels;
import java.nio.channels.DatagramChannel;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Function;

/**
 * Just enough of a daemon to drive the client: one client, echoing data planes, scripted ends. The real daemon is tested in
 * the system tests; this one is for what a real one does seldom.
 */
final class FakeDaemon implements AutoCloseable {
    static final String GREETING =
            "{\"cmd\":\"event\",\"event\":\"vpnApproved\"}\n{\"cmd\":\"event\",\"event\":\"extensionApproved\"}\n";

    final BlockingQueue<Map<String, Object>> commands = new LinkedBlockingQueue<>();
    /** The reply to a command without its brackets; null for the usual one, empty for none. */
    volatile Function<String, String> hook = cmd -> null;
    volatile SocketChannel connection;
    volatile SocketChannel data;

    private final Path folder = Files.createTempDirectory("hypertap-test");
    private final ServerSocketChannel listener;
    private final DatagramChannel udp = DatagramChannel.open(StandardProtocolFamily.INET);
    private final String greeting;

    FakeDaemon(boolean unix, String greeting) throws IOException {
        this.greeting = greeting;
        InetAddress loopback = InetAddress.getByAddress(new byte[] {127, 0, 0, 1});
        listener = unix
                ? ServerSocketChannel.open(StandardProtocolFamily.UNIX).bind(UnixDomainSocketAddress.of(control()))
                : ServerSocketChannel.open().bind(new InetSocketAddress(loopback, 0));
        udp.bind(new InetSocketAddress(loopback, 0));
        run(this::serve);
        run(this::echoUdp);
    }

    Path control() {
        return folder.resolve("control.sock");
    }

    int port() throws IOException {
        return ((InetSocketAddress) listener.getLocalAddress()).getPort();
    }

    int dataPort() throws IOException {
        return ((InetSocketAddress) udp.getLocalAddress()).getPort();
    }

    void say(String line) throws IOException {
        connection.write(ByteBuffer.wrap((line + "\r\n").getBytes(StandardCharsets.UTF_8)));
    }

    void stop(String reason) throws IOException {
        say("{\"cmd\":\"event\",\"event\":\"tunnelStopped\",\"reason\":\"" + reason + "\"}");
    }

    @Override
    public void close() throws IOException {
        listener.close();
        udp.close();
        for (SocketChannel open : new SocketChannel[] {connection, data}) {
            if (open != null) {
                open.close();
            }
        }
        for (String file : new String[] {"data", "control.sock", ""}) {
            Files.deleteIfExists(folder.resolve(file));
        }
    }

    private interface Work {
        void run() throws Exception;
    }

    private static void run(Work work) {
        Thread thread = new Thread(() -> {
            try {
                work.run();
            } catch (Exception end) {
                // the test closed something
            }
        });
        thread.setDaemon(true);
        thread.start();
    }

    @SuppressWarnings("unchecked")
    private void serve() throws Exception {
        connection = listener.accept();
        connection.write(ByteBuffer.wrap(greeting.getBytes(StandardCharsets.UTF_8)));
        BufferedReader lines = new BufferedReader(Channels.newReader(connection, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Map<String, Object> command = (Map<String, Object>) Json.parse(line);
            String cmd = (String) command.get("cmd");
            String scripted = hook.apply(cmd);
            commands.add(command);
            if (scripted == null) {
                answer(command, cmd);
            } else if (!scripted.isEmpty()) {
                say("{" + scripted + "}");
            }
        }
    }

    private void answer(Map<String, Object> command, String cmd) throws Exception {
        String ok = "{\"ok\":true,\"id\":" + command.get("id");
        if (cmd.equals("start") && "stream".equals(command.get("dataPlane"))) {
            Path path = folder.resolve("data");
            Files.deleteIfExists(path);
            ServerSocketChannel server =
                    ServerSocketChannel.open(StandardProtocolFamily.UNIX).bind(UnixDomainSocketAddress.of(path));
            say(ok + ",\"dataPath\":" + Json.write(path.toString()) + "}");
            try (server) {
                data = server.accept();
            }
            run(() -> echo(data));
            say("{\"cmd\":\"event\",\"event\":\"tunnelStarted\"}");
        } else {
            say(ok + ",\"name\":\"hypertap0\",\"status\":\"connected\",\"version\":\"1.2.3\"}");
            if (cmd.equals("start")) {
                say("{\"cmd\":\"event\",\"event\":\"tunnelStarted\"}");
            } else if (cmd.equals("stop")) {
                stop("stoppedByUser");
            }
        }
    }

    private static void echo(ByteChannel channel) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(1000); // cuts frames in pieces
        while (channel.read(buffer) >= 0) {
            buffer.flip();
            while (buffer.hasRemaining()) {
                channel.write(buffer);
            }
            buffer.clear();
        }
    }

    private void echoUdp() throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(65536);
        while (true) {
            InetSocketAddress sender = (InetSocketAddress) udp.receive(buffer);
            udp.send(buffer.flip(), sender);
            buffer.clear();
        }
    }
}
