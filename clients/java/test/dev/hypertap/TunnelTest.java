package dev.hypertap;

import dev.hypertap.StartOptions.DataPlane;
import dev.hypertap.test.Check;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.net.SocketTimeoutException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** The client against a stand-in daemon. */
public final class TunnelTest {
    private static final Duration SOON = Duration.ofSeconds(5);

    private TunnelTest() {}

    private interface Body {
        void run(FakeDaemon daemon, Tunnel tunnel) throws Exception;
    }

    private static void with(boolean unix, Body body) throws Exception {
        try (FakeDaemon daemon = new FakeDaemon(unix, FakeDaemon.GREETING);
                Tunnel tunnel = unix ? Tunnel.connect(daemon.control()) : Tunnel.connect("127.0.0.1", daemon.port())) {
            body.run(daemon, tunnel);
        }
    }

    private static void start(FakeDaemon daemon, Tunnel tunnel, DataPlane plane) throws IOException {
        tunnel.start(StartOptions.address("5.5.5.5").dataPlane(plane).receivePort(0).dataPort(daemon.dataPort()));
    }

    private static CompletableFuture<Object> receiveAside(Tunnel tunnel) {
        return CompletableFuture.supplyAsync(() -> {
            try {
                return tunnel.receive();
            } catch (IOException failure) {
                return failure;
            }
        });
    }

    public static void packetsGoAndComeWholeOnEveryPlane() throws Exception {
        for (DataPlane plane : DataPlane.values()) {
            with(plane == DataPlane.STREAM, (daemon, tunnel) -> {
                start(daemon, tunnel, plane);
                for (int round = 0; round < 20; round++) {
                    byte[][] packets = new byte[10][];
                    for (int i = 0; i < packets.length; i++) {
                        packets[i] = new byte[1 + (round * 977 + i * 131) % 1500];
                        Arrays.fill(packets[i], (byte) (round + i));
                    }
                    tunnel.send(packets);
                    for (byte[] packet : packets) {
                        Check.equal(tunnel.receive(SOON), packet);
                    }
                }
                Check.equal(tunnel.receive(Duration.ofMillis(10)), null);
                Check.fails(IllegalArgumentException.class, () -> tunnel.send(new byte[0]));
            });
        }
    }

    public static void aFullStreamMakesTheSenderWaitAndLosesNothing() throws Exception {
        with(true, (daemon, tunnel) -> {
            start(daemon, tunnel, DataPlane.STREAM);
            byte[] packet = new byte[60_000];
            CompletableFuture<Void> sender = CompletableFuture.runAsync(() -> {
                for (int i = 0; i < 200; i++) {
                    Check.equal(sendOrFailure(tunnel, packet), null);
                }
            });
            for (int i = 0; i < 200; i++) {
                Check.equal(tunnel.receive(SOON), packet);
            }
            sender.get(5, TimeUnit.SECONDS);
        });
    }

    private static IOException sendOrFailure(Tunnel tunnel, byte[] packet) {
        try {
            tunnel.send(packet);
            return null;
        } catch (IOException failure) {
            return failure;
        }
    }

    public static void commandsSayWhatTheProtocolSays() throws Exception {
        with(false, (daemon, tunnel) -> {
            Check.that(tunnel.vpnApproved() && tunnel.extensionApproved(), "the rights");
            start(daemon, tunnel, DataPlane.UDP);
            Map<String, Object> command = daemon.commands.take();
            Check.equal(command.keySet(), Set.of("cmd", "myIPv4Address", "receivePort", "id"));
            tunnel.addIncludedRoutes("10.0.0.0/8", "::1");
            Check.equal(daemon.commands.take().get("routes"), List.of("10.0.0.0/8", "::1"));
            Check.equal(tunnel.name() + tunnel.version() + tunnel.status(), "hypertap01.2.3connected");
            daemon.hook = cmd -> "\"ok\":true,\"included\":[]";
            Check.equal(tunnel.request("routes", Map.of()).get("included"), List.of());
            daemon.hook = cmd -> "\"ok\":false,\"error\":\"unknown cmd\"";
            Check.equal(Check.fails(CommandException.class, tunnel::turnOnDns).getMessage(), "unknown cmd");
        });
    }

    public static void optionsAreSentOnlyWhenGiven() {
        Check.equal(StartOptions.address("1.2.3.4").toWire(5502), Map.of("myIPv4Address", "1.2.3.4"));
        Map<String, Object> all = StartOptions.address("1.2.3.4").address6("::1").mtu(1400).name("t").dataPlane(DataPlane.STREAM)
                .followDefaultRoute().toWire(-1);
        Check.equal(all, Map.of("myIPv4Address", "1.2.3.4", "myIPv6Address", "::1", "mtu", 1400L, "name", "t", "dataPlane",
                "stream", "followDefaultRoute", true));
    }

    public static void beingTurnedAwaySaysWhy() throws Exception {
        try (FakeDaemon daemon = new FakeDaemon(false, "{\"ok\":false,\"error\":\"not permitted\"}\n")) {
            int port = daemon.port();
            Check.equal(Check.fails(CommandException.class, () -> Tunnel.connect("127.0.0.1", port)).getMessage(), "not permitted");
        }
    }

    public static void nobodyThereSaysWhere() {
        String message = Check.fails(IOException.class, () -> Tunnel.connect("127.0.0.1", 1)).getMessage();
        Check.that(message.contains("127.0.0.1:1") && message.contains("running?"), message);
        message = Check.fails(IOException.class, () -> Tunnel.connect(Path.of("/nowhere"))).getMessage();
        Check.that(message.contains("/nowhere"), message);
    }

    public static void withoutAStartThereAreNoPackets() throws Exception {
        with(false, (daemon, tunnel) -> {
            String message = Check.fails(TunnelStoppedException.class, tunnel::receive).getMessage();
            Check.that(message.contains("call start"), message);
        });
    }

    public static void aStopWakesTheReceiverOnEveryPlaneAndStartWorksAgain() throws Exception {
        for (DataPlane plane : DataPlane.values()) {
            with(true, (daemon, tunnel) -> {
                for (StopReason reason : List.of(StopReason.VPN_DISABLED, StopReason.LOGGED_OUT)) {
                    start(daemon, tunnel, plane);
                    CompletableFuture<Object> receiver = receiveAside(tunnel);
                    daemon.stop(reason.word());
                    Object end = receiver.get(5, TimeUnit.SECONDS);
                    Check.equal(((TunnelStoppedException) end).reason(), reason);
                    Check.equal(tunnel.stopReason().orElseThrow(), reason);
                    Check.fails(TunnelStoppedException.class, () -> tunnel.send(new byte[1]));
                }
            });
        }
    }

    public static void theEndOfAStreamIsExplainedByTheEventThatFollows() throws Exception {
        with(true, (daemon, tunnel) -> {
            start(daemon, tunnel, DataPlane.STREAM);
            daemon.data.close();
            CompletableFuture<Object> receiver = receiveAside(tunnel);
            daemon.stop("vpnRemoved");
            Check.equal(((TunnelStoppedException) receiver.get(5, TimeUnit.SECONDS)).reason(), StopReason.VPN_REMOVED);
        });
    }

    public static void startWhileRunningKeepsThePlaneEvenWithAReceiverWaiting() throws Exception {
        with(false, (daemon, tunnel) -> {
            start(daemon, tunnel, DataPlane.UDP);
            CompletableFuture<Object> receiver = receiveAside(tunnel);
            start(daemon, tunnel, DataPlane.UDP);
            tunnel.stop();
            Check.equal(((TunnelStoppedException) receiver.get(5, TimeUnit.SECONDS)).reason(), StopReason.STOPPED_BY_USER);
        });
    }

    public static void anEndByEitherSideWakesEverybody() throws Exception {
        for (boolean ours : new boolean[] {true, false}) {
            with(false, (daemon, tunnel) -> {
                start(daemon, tunnel, DataPlane.UDP);
                daemon.commands.clear();
                daemon.hook = cmd -> "";
                CompletableFuture<Object> receiver = receiveAside(tunnel);
                CompletableFuture<IOException> asker =
                        CompletableFuture.supplyAsync(() -> Check.fails(IOException.class, tunnel::status));
                daemon.commands.take();
                if (ours) {
                    tunnel.close();
                } else {
                    daemon.connection.close();
                }
                String wanted = ours ? "closed by this program" : "the daemon closed";
                Check.that(asker.get(5, TimeUnit.SECONDS).getMessage().contains(wanted), "the asker");
                Check.that(receiver.get(5, TimeUnit.SECONDS).toString().contains(wanted), "the receiver");
                tunnel.close();
            });
        }
    }

    public static void anInterruptEndsAWaitAndNothingElse() throws Exception {
        with(false, (daemon, tunnel) -> {
            start(daemon, tunnel, DataPlane.UDP);
            Thread.currentThread().interrupt();
            Check.fails(InterruptedIOException.class, tunnel::receive);
            Check.that(Thread.interrupted(), "the mark stays for the caller");
            tunnel.send(new byte[] {1});
            Check.equal(tunnel.receive(SOON), new byte[] {1});
            Check.equal(tunnel.version(), "1.2.3");
        });
    }

    public static void eventsCanBeWaitedFor() throws Exception {
        with(false, (daemon, tunnel) -> {
            daemon.say("{\"cmd\":\"event\",\"event\":\"vpnPending\"}\n{\"cmd\":\"event\",\"event\":\"vpnApproved\"}");
            Set<TunnelEvent.Kind> approved = Set.of(TunnelEvent.Kind.VPN_APPROVED);
            Check.equal(tunnel.awaitEvent(approved, SOON).name(), "vpnApproved");
            Check.fails(SocketTimeoutException.class, () -> tunnel.awaitEvent(approved, Duration.ofMillis(10)));
        });
    }
}
