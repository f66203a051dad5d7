package dev.hypertap;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.net.InetSocketAddress;
import java.net.SocketTimeoutException;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * A connection to the {@code hypertap tunnel} daemon, and its tunnel. Every method may be called from any thread.
 *
 * <p>Closing ends the connection, upon which the daemon takes the tunnel down (and ends itself, unless it was told
 * otherwise by {@code --on-disconnect}).
 *
 * <p>Methods throw {@link CommandException} when the daemon refuses, {@link TunnelStoppedException} when there is no tunnel
 * (any more), SocketTimeoutException when no answer came in time, InterruptedIOException when the thread is interrupted
 * while it waits, and IOException for the end of the connection.
 */
public final class Tunnel implements AutoCloseable {
    /** Where the daemon's Unix command socket is by default. */
    public static final Path CONTROL_SOCKET = Path.of("/run/hypertap/control.sock");

    private static final Duration TIMEOUT = Duration.ofSeconds(15);
    private static final Duration REASON_WAIT = Duration.ofSeconds(1);

    private final CommandLink link;
    private final Object receiving = new Object();
    private final Object sending = new Object();
    private volatile PacketSocket socket;

    private Tunnel(CommandLink link) {
        this.link = link;
        link.onStop(() -> {
            PacketSocket open = socket;
            if (open != null) {
                open.wakeup();
            }
        });
    }

    /** Connects to the daemon at 127.0.0.1:5500. */
    public static Tunnel connect() throws IOException {
        return connect("127.0.0.1", 5500);
    }

    /** Connects to the daemon's TCP command port. */
    public static Tunnel connect(String host, int port) throws IOException {
        return new Tunnel(new CommandLink(new InetSocketAddress(host, port), TIMEOUT));
    }

    /** Connects to the daemon's Unix command socket; see {@link #CONTROL_SOCKET}. */
    public static Tunnel connect(Path control) throws IOException {
        return new Tunnel(new CommandLink(UnixDomainSocketAddress.of(control), TIMEOUT));
    }

    @Override
    public void close() throws IOException {
        link.close(); // wakes whoever receives or sends
        synchronized (receiving) {
            synchronized (sending) {
                closeSocket();
            }
        }
    }

    /** Whether the daemon may configure networking; if not, see {@link #loadConfig}. */
    public boolean vpnApproved() throws IOException {
        return link.look(state -> state.vpnApproved);
    }

    /** Whether the kernel's TUN driver is usable; if not, see {@link #loadExtension}. */
    public boolean extensionApproved() throws IOException {
        return link.look(state -> state.extensionApproved);
    }

    /** Why the tunnel stopped; empty while it runs, and before the first start. */
    public Optional<StopReason> stopReason() throws IOException {
        return link.look(state -> Optional.ofNullable(state.stopReason));
    }

    /** Creates the interface with this IPv4 address, packets over UDP. */
    public void start(String address) throws IOException {
        start(StartOptions.address(address));
    }

    /**
     * Creates the interface and opens the data plane; returns once it runs. Does nothing when this connection's tunnel
     * runs already.
     */
    public void start(StartOptions options) throws IOException {
        if (socket != null && link.look(state -> state.running)) {
            link.command("start", options.toWire(-1));
            return;
        }
        synchronized (receiving) {
            synchronized (sending) {
                closeSocket();
                startWith(options);
            }
        }
    }

    /** Takes the interface down; {@link #start} works again. */
    public void stop() throws IOException {
        boolean running = link.look(state -> state.running);
        int stops = link.look(state -> state.stops);
        link.command("stop", Map.of());
        if (running) {
            link.await(state -> state.stops > stops ? true : null, TIMEOUT, "the tunnel's stop");
        }
    }

    /** Takes the interface down and ends the daemon. */
    public void shutdown() throws IOException {
        link.command("shutdown", Map.of());
    }

    /** Like {@link #shutdown}, and removes everything that {@code hypertap install} put on the machine. */
    public void uninstall() throws IOException {
        link.command("uninstall", Map.of());
    }

    /** Asks for the right to configure networking; the outcome is an event, VPN_APPROVED or VPN_DENIED. */
    public void loadConfig() throws IOException {
        link.command("loadConfig", Map.of());
    }

    /** Asks for the TUN driver; the outcome is an event, EXTENSION_APPROVED or EXTENSION_NOT_APPROVED. */
    public void loadExtension() throws IOException {
        link.command("loadExtension", Map.of());
    }

    /** Brings the desktop's network settings to the front. */
    public void openExtensionSettings() throws IOException {
        link.command("openExtensionSettings", Map.of());
    }

    /** Sends these destinations ({@code "10.9.0.0/24"}, {@code "10.1.2.3"}) into the tunnel. All of them or none. */
    public void addIncludedRoutes(String... routes) throws IOException {
        link.command("addIncludedRoutes", Map.of("routes", List.of(routes)));
    }

    /** Undoes {@link #addIncludedRoutes}; routes that are not there are fine. */
    public void removeIncludedRoutes(String... routes) throws IOException {
        link.command("removeIncludedRoutes", Map.of("routes", List.of(routes)));
    }

    /** Keeps these destinations out of the tunnel, even where an included route covers them. */
    public void addExcludedRoutes(String... routes) throws IOException {
        link.command("addExcludedRoutes", Map.of("routes", List.of(routes)));
    }

    /** Undoes {@link #addExcludedRoutes}; routes that are not there are fine. */
    public void removeExcludedRoutes(String... routes) throws IOException {
        link.command("removeExcludedRoutes", Map.of("routes", List.of(routes)));
    }

    /** Sends every DNS query of the machine into the tunnel, for this program to answer. */
    public void turnOnDns() throws IOException {
        link.command("turnOnDNS", Map.of());
    }

    /** Undoes {@link #turnOnDns}. */
    public void turnOffDns() throws IOException {
        link.command("turnOffDNS", Map.of());
    }

    /** The daemon's view of the tunnel: connected, disconnected, connecting, disconnecting, invalid, reasserting. */
    public String status() throws IOException {
        return text("status", "status");
    }

    /** The name of the interface. */
    public String name() throws IOException {
        return text("getName", "name");
    }

    /** The daemon's version. */
    public String version() throws IOException {
        return text("showVersion", "version");
    }

    /** Any other command ({@code stats}, {@code routes}, {@code events}, {@code help}); its reply as {@link Json} reads it. */
    public Map<String, Object> request(String cmd, Map<String, Object> fields) throws IOException {
        return link.command(cmd, fields);
    }

    /** The next event of one of these kinds (any, if the set is empty); earlier others are discarded. Null: no time limit. */
    public TunnelEvent awaitEvent(Set<TunnelEvent.Kind> kinds, Duration timeout) throws IOException {
        return link.await(state -> state.takeEvent(kinds), timeout, "an event");
    }

    /** The next IP packet that the machine sent into the tunnel, however long it takes. */
    public byte[] receive() throws IOException {
        return receive(null);
    }

    /** The same, or null when none has come in this time. A stop is reported after everything that arrived before it. */
    public byte[] receive(Duration timeout) throws IOException {
        long deadline = timeout == null ? 0 : System.nanoTime() + timeout.toNanos();
        synchronized (receiving) {
            PacketSocket open = open();
            try {
                while (true) {
                    byte[] packet = open.tryReceive();
                    if (packet != null) {
                        return packet;
                    }
                    checkRunning();
                    long left = timeout == null ? 0 : deadline - System.nanoTime();
                    if (timeout != null && left <= 0) {
                        return null;
                    }
                    open.awaitReadable(timeout == null ? 0 : left / 1_000_000 + 1);
                }
            } catch (IOException failure) {
                throw explained(failure);
            }
        }
    }

    /**
     * Gives IP packets to the machine as if they had arrived from the network; waits while there is no room. The daemon
     * drops what is not a sound IP packet and counts it.
     */
    public void send(byte[]... packets) throws IOException {
        synchronized (sending) {
            PacketSocket open = open();
            checkRunning();
            try {
                for (byte[] packet : packets) {
                    while (!open.trySend(packet)) {
                        awaitRoom(open);
                    }
                }
                while (!open.flush()) {
                    awaitRoom(open);
                }
            } catch (IOException failure) {
                throw explained(failure);
            }
        }
    }

    private void startWith(StartOptions options) throws IOException {
        int starts = link.look(state -> state.starts);
        int stops = link.look(state -> state.stops);
        boolean udp = options.dataPlane == StartOptions.DataPlane.UDP;
        // UDP is bound before the command is sent, so that no packet finds the port closed.
        PacketSocket opened = udp ? PacketSocket.udp(options.receivePort, options.dataPort) : null;
        try {
            Map<String, Object> reply = link.command("start", options.toWire(udp ? opened.receivePort() : -1));
            if (!udp) {
                opened = PacketSocket.stream(dataPath(reply));
            }
            link.await(state -> state.starts > starts || state.stops > stops ? true : null, TIMEOUT, "the tunnel's start");
            checkRunning();
            socket = opened;
            opened = null;
        } finally {
            if (opened != null) {
                opened.close();
            }
        }
    }

    private static Path dataPath(Map<String, Object> reply) throws IOException {
        if (reply.get("dataPath") instanceof String path) {
            return Path.of(path);
        }
        throw new IOException("the daemon did not say where the data plane is; it is older than this client, "
                + "or its tunnel was running already: stop that first");
    }

    private String text(String cmd, String key) throws IOException {
        if (link.command(cmd, Map.of()).get(key) instanceof String value) {
            return value;
        }
        throw new IOException("the daemon's reply to " + cmd + " has no \"" + key + "\"");
    }

    private PacketSocket open() throws IOException {
        PacketSocket open = socket;
        if (open == null) {
            checkRunning();
            throw new IOException("the tunnel was started by another connection");
        }
        return open;
    }

    private void awaitRoom(PacketSocket open) throws IOException {
        checkRunning();
        open.awaitWritable(0);
        checkRunning();
    }

    private void checkRunning() throws IOException {
        if (Thread.currentThread().isInterrupted()) {
            throw new InterruptedIOException("interrupted");
        }
        link.look(state -> {
            state.checkRunning();
            return true;
        });
    }

    /** The end of a data plane as the event behind it explains it; other failures as they are. */
    private IOException explained(IOException failure) {
        if (failure instanceof TunnelStoppedException || failure instanceof InterruptedIOException) {
            return failure;
        }
        try {
            link.await(state -> state.running ? null : true, REASON_WAIT, "the reason");
            checkRunning();
        } catch (SocketTimeoutException noReason) {
            return failure;
        } catch (IOException reason) {
            return reason;
        }
        return failure;
    }

    private void closeSocket() throws IOException {
        if (socket != null) {
            socket.close();
            socket = null;
        }
    }
}
