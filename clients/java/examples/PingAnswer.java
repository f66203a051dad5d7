import dev.hypertap.Packets;
import dev.hypertap.StartOptions;
import dev.hypertap.Tunnel;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * Answers every ping that is routed into the tunnel, and prints the DNS queries that it captures. Ends with 0 after
 * {@code --count} answers, with 1 when something fails or the time is over, with 2 for a wrong command line.
 */
public class PingAnswer {
    private static final String USAGE = """
            usage: PingAnswer [--host HOST] [--port PORT] [--control PATH] [--data-plane udp|stream]
                    [--data-port PORT] [--receive-port PORT] [--address IPV4] [--address6 IPV6]
                    [--route ADDR[/PREFIX]]... [--dns] [--count N] [--timeout SECONDS]""";

    private String host = "127.0.0.1";
    private int port = 5500;
    private Path control;
    private StartOptions.DataPlane plane = StartOptions.DataPlane.UDP;
    private int dataPort = 5501;
    private int receivePort = 5502;
    private String address = "5.5.5.5";
    private String address6;
    private final List<String> routes = new ArrayList<>();
    private boolean dns;
    private long count = Long.MAX_VALUE;
    private Duration timeout;

    public static void main(String[] args) {
        PingAnswer program = new PingAnswer();
        try {
            program.readArguments(args);
        } catch (IllegalArgumentException wrong) {
            System.err.println(wrong.getMessage() + "\n" + USAGE);
            System.exit(2);
        }
        try {
            System.exit(program.run() ? 0 : 1);
        } catch (IOException failure) {
            System.err.println("error: " + failure.getMessage());
            System.exit(1);
        }
    }

    private boolean run() throws IOException {
        try (Tunnel tunnel = control == null ? Tunnel.connect(host, port) : Tunnel.connect(control)) {
            StartOptions options =
                    StartOptions.address(address).dataPlane(plane).dataPort(dataPort).receivePort(receivePort);
            tunnel.start(address6 == null ? options : options.address6(address6));
            tunnel.addIncludedRoutes(routes.toArray(new String[0]));
            if (dns) {
                tunnel.turnOnDns();
            }
            System.out.println("ready: " + tunnel.name());
            return answer(tunnel);
        }
    }

    private boolean answer(Tunnel tunnel) throws IOException {
        long end = timeout == null ? 0 : System.nanoTime() + timeout.toNanos();
        for (long answers = 0; answers < count; ) {
            byte[] packet = tunnel.receive(timeout == null ? null : Duration.ofNanos(end - System.nanoTime()));
            if (packet == null) {
                System.err.println("error: the time is over after " + answers + " answers");
                return false;
            }
            Packets.dnsQuery(packet).ifPresent(query -> System.out.println("dns: " + query.name() + " " + query.type()));
            Optional<byte[]> reply = Packets.echoReply(packet);
            if (reply.isPresent()) {
                tunnel.send(reply.get());
                answers++;
            }
        }
        return true;
    }

    private void readArguments(String[] args) {
        for (int at = 0; at < args.length; at++) {
            String flag = args[at];
            if (flag.equals("--dns")) {
                dns = true;
                continue;
            }
            if (at + 1 == args.length) {
                throw new IllegalArgumentException("what is " + flag + "?");
            }
            String value = args[++at];
            switch (flag) {
                case "--host" -> host = value;
                case "--port" -> port = Integer.parseInt(value);
                case "--control" -> control = Path.of(value);
                case "--data-plane" -> plane = StartOptions.DataPlane.valueOf(value.toUpperCase(Locale.ROOT));
                case "--data-port" -> dataPort = Integer.parseInt(value);
                case "--receive-port" -> receivePort = Integer.parseInt(value);
                case "--address" -> address = value;
                case "--address6" -> address6 = value;
                case "--route" -> routes.add(value);
                case "--count" -> count = Long.parseLong(value);
                case "--timeout" -> timeout = Duration.ofMillis((long) (Double.parseDouble(value) * 1000));
                default -> throw new IllegalArgumentException("there is no " + flag);
            }
        }
    }
}
