
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'hypertap' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'hypertap'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'hypertap' {
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('tunnel', 'tunnel', [CompletionResultType]::ParameterValue, 'Give a program a TUN interface through two sockets')
            [CompletionResult]::new('tap', 'tap', [CompletionResultType]::ParameterValue, 'Give a program an Ethernet interface through a socket')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show what runs: tunnels (interface, routes, packets, drops, events) and services nodes (peers, services)')
            [CompletionResult]::new('bypass', 'bypass', [CompletionResultType]::ParameterValue, 'Run a program whose sockets go past the tunnel')
            [CompletionResult]::new('shim', 'shim', [CompletionResultType]::ParameterValue, 'Run a program that opens /dev/net/tun, without rights')
            [CompletionResult]::new('up', 'up', [CompletionResultType]::ParameterValue, 'Run a services node: use peers'' services by address, and serve this node''s')
            [CompletionResult]::new('services', 'services', [CompletionResultType]::ParameterValue, 'List, add or remove services of a running node')
            [CompletionResult]::new('reload', 'reload', [CompletionResultType]::ParameterValue, 'Have a running node read its configuration anew')
            [CompletionResult]::new('init', 'init', [CompletionResultType]::ParameterValue, 'Make the configuration of a services node, and print the line that others take')
            [CompletionResult]::new('peer', 'peer', [CompletionResultType]::ParameterValue, 'Add, remove or list the peers of a services node')
            [CompletionResult]::new('dns', 'dns', [CompletionResultType]::ParameterValue, 'Print what makes this machine''s resolver ask a services node for its names')
            [CompletionResult]::new('config', 'config', [CompletionResultType]::ParameterValue, 'Check the configuration of a services node, or print its schema')
            [CompletionResult]::new('keygen', 'keygen', [CompletionResultType]::ParameterValue, 'Print a new private key for a services node, and the peer id that belongs to it')
            [CompletionResult]::new('demo', 'demo', [CompletionResultType]::ParameterValue, 'Show the main job for real, on a network of its own that goes with it')
            [CompletionResult]::new('doctor', 'doctor', [CompletionResultType]::ParameterValue, 'Say what this machine allows and how to mend what is missing')
            [CompletionResult]::new('install', 'install', [CompletionResultType]::ParameterValue, 'Put the program, its service and its permission on this machine')
            [CompletionResult]::new('uninstall', 'uninstall', [CompletionResultType]::ParameterValue, 'Remove what `hypertap install` put on this machine, and nothing else')
            [CompletionResult]::new('recover', 'recover', [CompletionResultType]::ParameterValue, 'Remove what tunnels that were killed left on this machine')
            [CompletionResult]::new('helper', 'helper', [CompletionResultType]::ParameterValue, 'Do the jobs that need rights for another hypertap process')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'hypertap;tunnel' {
            [CompletionResult]::new('--command', '--command', [CompletionResultType]::ParameterName, 'Where commands are taken over TCP; only from programs of this machine, whatever the address')
            [CompletionResult]::new('--data', '--data', [CompletionResultType]::ParameterName, 'Where packets from the program arrive over UDP, and where those to it come from; a loopback address')
            [CompletionResult]::new('--receive-port', '--receive-port', [CompletionResultType]::ParameterName, 'The UDP port, at the same address, that packets for the program are sent to; another than --data''s')
            [CompletionResult]::new('--control', '--control', [CompletionResultType]::ParameterName, 'The Unix socket that takes commands too [default: control.sock in the state directory]')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'The interface''s name, unless `start` says one [default: the first free of hypertap0, hypertap1, …]')
            [CompletionResult]::new('--mtu', '--mtu', [CompletionResultType]::ParameterName, 'The interface''s MTU in bytes, unless `start` says one; below 1280 it carries IPv4 only')
            [CompletionResult]::new('--queues', '--queues', [CompletionResultType]::ParameterName, 'How many queues the interface has, each served by threads of its own')
            [CompletionResult]::new('--on-disconnect', '--on-disconnect', [CompletionResultType]::ParameterName, 'What the end of the client''s connection does')
            [CompletionResult]::new('--bypass-mark', '--bypass-mark', [CompletionResultType]::ParameterName, 'Sockets with this mark are let past the tunnel''s rules (a number, 0x… for hexadecimal)')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'Drop all rights but this user''s for good; a small helper process keeps those that are needed')
            [CompletionResult]::new('--group', '--group', [CompletionResultType]::ParameterName, 'Members of this group may connect too, besides root and the user who started the program')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Where the journal and the sockets are kept [default: /run/hypertap as root]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('--no-control', '--no-control', [CompletionResultType]::ParameterName, 'No Unix socket')
            [CompletionResult]::new('--no-offload', '--no-offload', [CompletionResultType]::ParameterName, 'Do not use the kernel''s segmentation and checksum offload')
            [CompletionResult]::new('--replace', '--replace', [CompletionResultType]::ParameterName, 'Take the interface over if another hypertap has it')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;tap' {
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Where clients connect: an absolute path, a port at 127.0.0.1, or ADDR:PORT, where ADDR may be a name; may be repeated')
            [CompletionResult]::new('--fd', '--fd', [CompletionResultType]::ParameterName, 'Serve this inherited descriptor (0: standard input): a connected socket, or one that listens; may be repeated')
            [CompletionResult]::new('--framing', '--framing', [CompletionResultType]::ParameterName, 'How frames stand in what clients send and get')
            [CompletionResult]::new('--max-clients', '--max-clients', [CompletionResultType]::ParameterName, 'Serve so many clients at once, as ports of one learning switch')
            [CompletionResult]::new('--socket-mode', '--socket-mode', [CompletionResultType]::ParameterName, 'Who may use the socket''s file, as chmod(1) has it in octal')
            [CompletionResult]::new('--socket-owner', '--socket-owner', [CompletionResultType]::ParameterName, 'Whose the socket''s file is, by name or number [default: who started this, also by sudo]')
            [CompletionResult]::new('--socket-group', '--socket-group', [CompletionResultType]::ParameterName, 'The group of the socket''s file, by name or number')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'The interface''s name [default: the first free of tap0, tap1, …]')
            [CompletionResult]::new('--network-device-number', '--network-device-number', [CompletionResultType]::ParameterName, 'The interface is called tapN')
            [CompletionResult]::new('--mac-address', '--mac-address', [CompletionResultType]::ParameterName, 'The host''s address on the interface [default: one of its own for each path]')
            [CompletionResult]::new('--ip-address', '--ip-address', [CompletionResultType]::ParameterName, 'The host''s IPv4 address, and how long the network''s prefix is; 24 unless it says so')
            [CompletionResult]::new('--ip6-address', '--ip6-address', [CompletionResultType]::ParameterName, 'The host''s IPv6 address, and how long the network''s prefix is; 64 unless it says so')
            [CompletionResult]::new('--mtu', '--mtu', [CompletionResultType]::ParameterName, 'The interface''s MTU in bytes; below 1280 it carries no IPv6')
            [CompletionResult]::new('--metric', '--metric', [CompletionResultType]::ParameterName, 'The metric of the route to the interface''s network')
            [CompletionResult]::new('--guest-address', '--guest-address', [CompletionResultType]::ParameterName, 'The address that the modem''s guest gets [default: the next after the host''s]')
            [CompletionResult]::new('--dns', '--dns', [CompletionResultType]::ParameterName, 'A name server that the guest is told, once or twice [default: the host]')
            [CompletionResult]::new('--pap', '--pap', [CompletionResultType]::ParameterName, 'The guest has to log in: its name, and a file whose first line is the password')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'Drop all rights but this user''s for good; a small helper process keeps those that are needed')
            [CompletionResult]::new('--io-device-number', '--io-device-number', [CompletionResultType]::ParameterName, 'Without meaning here: there is no second device')
            [CompletionResult]::new('--ifconfig-command', '--ifconfig-command', [CompletionResultType]::ParameterName, 'Without meaning here: ifconfig is not needed')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('--use-framed-protocol', '--use-framed-protocol', [CompletionResultType]::ParameterName, 'The same as --framing=le16')
            [CompletionResult]::new('--keep', '--keep', [CompletionResultType]::ParameterName, 'Serve one client after another; the interface stays until the end')
            [CompletionResult]::new('--disable-nud', '--disable-nud', [CompletionResultType]::ParameterName, 'No neighbour unreachability detection of IPv6')
            [CompletionResult]::new('--enable-router-advertisements', '--enable-router-advertisements', [CompletionResultType]::ParameterName, 'Take addresses and routes that IPv6 routers announce')
            [CompletionResult]::new('--no-host', '--no-host', [CompletionResultType]::ParameterName, 'No interface at all: clients reach each other only, and no right is needed')
            [CompletionResult]::new('--no-offload', '--no-offload', [CompletionResultType]::ParameterName, 'Do not use the kernel''s segmentation and checksum offload')
            [CompletionResult]::new('--modem', '--modem', [CompletionResultType]::ParameterName, 'Clients are modems: messages are PPP in HDLC form, each after its length in 16 bits')
            [CompletionResult]::new('--print-name', '--print-name', [CompletionResultType]::ParameterName, 'Print the interface''s name on standard output once it is there and has its addresses')
            [CompletionResult]::new('--show-data', '--show-data', [CompletionResultType]::ParameterName, 'Print every frame on standard output, in a form that text2pcap reads')
            [CompletionResult]::new('--show-size-warnings', '--show-size-warnings', [CompletionResultType]::ParameterName, 'Print every frame whose length the unframed protocol would get wrong')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;status' {
            [CompletionResult]::new('--control', '--control', [CompletionResultType]::ParameterName, 'Ask the daemon or node at this socket only')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Where daemons have their sockets [default: /run/hypertap as root]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;bypass' {
            [CompletionResult]::new('--control', '--control', [CompletionResultType]::ParameterName, 'The daemon''s Unix socket [default: the one that is running]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;shim' {
            [CompletionResult]::new('--tap', '--tap', [CompletionResultType]::ParameterName, 'The tap server of a TAP: a path, a port at 127.0.0.1, or ADDR:PORT; it frames by le16 [default: `tap` in the state directory]')
            [CompletionResult]::new('--mac-address', '--mac-address', [CompletionResultType]::ParameterName, 'The address of the program''s TAP [default: a random one]')
            [CompletionResult]::new('--tunnel', '--tunnel', [CompletionResultType]::ParameterName, 'The daemon of a TUN: the path of its socket, or ADDR:PORT [default: the one that is running]')
            [CompletionResult]::new('--address', '--address', [CompletionResultType]::ParameterName, 'The machine''s address on the tunnel [default: the one that the program gives its interface]')
            [CompletionResult]::new('--route', '--route', [CompletionResultType]::ParameterName, 'Send this network into the tunnel; may be repeated')
            [CompletionResult]::new('--mtu', '--mtu', [CompletionResultType]::ParameterName, 'The MTU of the server''s end in bytes; longer packets of the program are dropped')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('--reconnect', '--reconnect', [CompletionResultType]::ParameterName, 'When the tap server ends, wait for another; without this the program reads the end')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;up' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The configuration [default: /etc/hypertap/INTERFACE.json]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration [default: /etc/hypertap/INTERFACE.json]')
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'The interface that the configuration is for')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'The interface that the configuration is for')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Where the control socket is kept [default: /run/hypertap as root]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;services' {
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'The node''s interface')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'The node''s interface')
            [CompletionResult]::new('--control', '--control', [CompletionResultType]::ParameterName, 'The node''s control socket [default: that of --interface, in /run/hypertap as root]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('add', 'add', [CompletionResultType]::ParameterValue, 'Add a service at once')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Remove a service at once, and cut its connections')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'hypertap;services;add' {
            [CompletionResult]::new('--allow', '--allow', [CompletionResultType]::ParameterName, 'Only this peer may use it: @NAME, or the beginning of its id; may be given several times')
            [CompletionResult]::new('--deny', '--deny', [CompletionResultType]::ParameterName, 'This peer may not use it; may be given several times')
            [CompletionResult]::new('--check', '--check', [CompletionResultType]::ParameterName, 'Try the target every so many seconds, and refuse connections while it fails')
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'The node''s interface')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'The node''s interface')
            [CompletionResult]::new('--control', '--control', [CompletionResultType]::ParameterName, 'The node''s control socket [default: that of --interface, in /run/hypertap as root]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('--proxy-protocol', '--proxy-protocol', [CompletionResultType]::ParameterName, 'Tell the target who connects, by PROXY protocol v2')
            [CompletionResult]::new('--save', '--save', [CompletionResultType]::ParameterName, 'Put it into the configuration, too; else it is there until the node is started again')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;services;remove' {
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'The node''s interface')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'The node''s interface')
            [CompletionResult]::new('--control', '--control', [CompletionResultType]::ParameterName, 'The node''s control socket [default: that of --interface, in /run/hypertap as root]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('--save', '--save', [CompletionResultType]::ParameterName, 'Take it out of the configuration, too; else it is there again when the node is started again')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;services;help' {
            [CompletionResult]::new('add', 'add', [CompletionResultType]::ParameterValue, 'Add a service at once')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Remove a service at once, and cut its connections')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'hypertap;services;help;add' {
            break
        }
        'hypertap;services;help;remove' {
            break
        }
        'hypertap;services;help;help' {
            break
        }
        'hypertap;reload' {
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'The node''s interface')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'The node''s interface')
            [CompletionResult]::new('--control', '--control', [CompletionResultType]::ParameterName, 'The node''s control socket [default: that of --interface, in /run/hypertap as root]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;init' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The configuration [default: /etc/hypertap/INTERFACE.json]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration [default: /etc/hypertap/INTERFACE.json]')
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'The interface that the configuration is for')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'The interface that the configuration is for')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'What others call this node; a new configuration keeps it [default: its name in the list of peers, or this machine''s]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;peer' {
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('add', 'add', [CompletionResultType]::ParameterValue, 'Add a peer, or update the one with that id')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Remove a peer')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the peers and their addresses in the network')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'hypertap;peer;add' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The configuration [default: /etc/hypertap/INTERFACE.json]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration [default: /etc/hypertap/INTERFACE.json]')
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'The interface that the configuration is for')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'The interface that the configuration is for')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;peer;remove' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The configuration [default: /etc/hypertap/INTERFACE.json]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration [default: /etc/hypertap/INTERFACE.json]')
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'The interface that the configuration is for')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'The interface that the configuration is for')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;peer;list' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The configuration [default: /etc/hypertap/INTERFACE.json]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration [default: /etc/hypertap/INTERFACE.json]')
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'The interface that the configuration is for')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'The interface that the configuration is for')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;peer;help' {
            [CompletionResult]::new('add', 'add', [CompletionResultType]::ParameterValue, 'Add a peer, or update the one with that id')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Remove a peer')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the peers and their addresses in the network')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'hypertap;peer;help;add' {
            break
        }
        'hypertap;peer;help;remove' {
            break
        }
        'hypertap;peer;help;list' {
            break
        }
        'hypertap;peer;help;help' {
            break
        }
        'hypertap;dns' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The configuration [default: /etc/hypertap/INTERFACE.json]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration [default: /etc/hypertap/INTERFACE.json]')
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'The interface that the configuration is for')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'The interface that the configuration is for')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;config' {
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Say whether a configuration is good, and all that is wrong with it where it is not')
            [CompletionResult]::new('schema', 'schema', [CompletionResultType]::ParameterValue, 'Print the JSON schema of configurations, for editors')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'hypertap;config;check' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The configuration [default: /etc/hypertap/INTERFACE.json]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration [default: /etc/hypertap/INTERFACE.json]')
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'The interface that the configuration is for')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'The interface that the configuration is for')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;config;schema' {
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;config;help' {
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Say whether a configuration is good, and all that is wrong with it where it is not')
            [CompletionResult]::new('schema', 'schema', [CompletionResultType]::ParameterValue, 'Print the JSON schema of configurations, for editors')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'hypertap;config;help;check' {
            break
        }
        'hypertap;config;help;schema' {
            break
        }
        'hypertap;config;help;help' {
            break
        }
        'hypertap;keygen' {
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('--public', '--public', [CompletionResultType]::ParameterName, 'Read a private key from standard input, and print its peer id')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;demo' {
            [CompletionResult]::new('--seconds', '--seconds', [CompletionResultType]::ParameterName, 'How long to measure, in seconds')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the results as JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;doctor' {
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;install' {
            [CompletionResult]::new('--root', '--root', [CompletionResultType]::ParameterName, 'Install below this directory, made if it is not there, instead of / (nothing is started, no group is made)')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('--no-start', '--no-start', [CompletionResultType]::ParameterName, 'Do not start the service''s socket')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;uninstall' {
            [CompletionResult]::new('--root', '--root', [CompletionResultType]::ParameterName, 'Uninstall below this directory instead of /')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;recover' {
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Where the journal is kept [default: /run/hypertap as root]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;helper' {
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Where the journal is kept [default: /run/hypertap]')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How log lines are written')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'hypertap;help' {
            [CompletionResult]::new('tunnel', 'tunnel', [CompletionResultType]::ParameterValue, 'Give a program a TUN interface through two sockets')
            [CompletionResult]::new('tap', 'tap', [CompletionResultType]::ParameterValue, 'Give a program an Ethernet interface through a socket')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show what runs: tunnels (interface, routes, packets, drops, events) and services nodes (peers, services)')
            [CompletionResult]::new('bypass', 'bypass', [CompletionResultType]::ParameterValue, 'Run a program whose sockets go past the tunnel')
            [CompletionResult]::new('shim', 'shim', [CompletionResultType]::ParameterValue, 'Run a program that opens /dev/net/tun, without rights')
            [CompletionResult]::new('up', 'up', [CompletionResultType]::ParameterValue, 'Run a services node: use peers'' services by address, and serve this node''s')
            [CompletionResult]::new('services', 'services', [CompletionResultType]::ParameterValue, 'List, add or remove services of a running node')
            [CompletionResult]::new('reload', 'reload', [CompletionResultType]::ParameterValue, 'Have a running node read its configuration anew')
            [CompletionResult]::new('init', 'init', [CompletionResultType]::ParameterValue, 'Make the configuration of a services node, and print the line that others take')
            [CompletionResult]::new('peer', 'peer', [CompletionResultType]::ParameterValue, 'Add, remove or list the peers of a services node')
            [CompletionResult]::new('dns', 'dns', [CompletionResultType]::ParameterValue, 'Print what makes this machine''s resolver ask a services node for its names')
            [CompletionResult]::new('config', 'config', [CompletionResultType]::ParameterValue, 'Check the configuration of a services node, or print its schema')
            [CompletionResult]::new('keygen', 'keygen', [CompletionResultType]::ParameterValue, 'Print a new private key for a services node, and the peer id that belongs to it')
            [CompletionResult]::new('demo', 'demo', [CompletionResultType]::ParameterValue, 'Show the main job for real, on a network of its own that goes with it')
            [CompletionResult]::new('doctor', 'doctor', [CompletionResultType]::ParameterValue, 'Say what this machine allows and how to mend what is missing')
            [CompletionResult]::new('install', 'install', [CompletionResultType]::ParameterValue, 'Put the program, its service and its permission on this machine')
            [CompletionResult]::new('uninstall', 'uninstall', [CompletionResultType]::ParameterValue, 'Remove what `hypertap install` put on this machine, and nothing else')
            [CompletionResult]::new('recover', 'recover', [CompletionResultType]::ParameterValue, 'Remove what tunnels that were killed left on this machine')
            [CompletionResult]::new('helper', 'helper', [CompletionResultType]::ParameterValue, 'Do the jobs that need rights for another hypertap process')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'hypertap;help;tunnel' {
            break
        }
        'hypertap;help;tap' {
            break
        }
        'hypertap;help;status' {
            break
        }
        'hypertap;help;bypass' {
            break
        }
        'hypertap;help;shim' {
            break
        }
        'hypertap;help;up' {
            break
        }
        'hypertap;help;services' {
            [CompletionResult]::new('add', 'add', [CompletionResultType]::ParameterValue, 'Add a service at once')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Remove a service at once, and cut its connections')
            break
        }
        'hypertap;help;services;add' {
            break
        }
        'hypertap;help;services;remove' {
            break
        }
        'hypertap;help;reload' {
            break
        }
        'hypertap;help;init' {
            break
        }
        'hypertap;help;peer' {
            [CompletionResult]::new('add', 'add', [CompletionResultType]::ParameterValue, 'Add a peer, or update the one with that id')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Remove a peer')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the peers and their addresses in the network')
            break
        }
        'hypertap;help;peer;add' {
            break
        }
        'hypertap;help;peer;remove' {
            break
        }
        'hypertap;help;peer;list' {
            break
        }
        'hypertap;help;dns' {
            break
        }
        'hypertap;help;config' {
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Say whether a configuration is good, and all that is wrong with it where it is not')
            [CompletionResult]::new('schema', 'schema', [CompletionResultType]::ParameterValue, 'Print the JSON schema of configurations, for editors')
            break
        }
        'hypertap;help;config;check' {
            break
        }
        'hypertap;help;config;schema' {
            break
        }
        'hypertap;help;keygen' {
            break
        }
        'hypertap;help;demo' {
            break
        }
        'hypertap;help;doctor' {
            break
        }
        'hypertap;help;install' {
            break
        }
        'hypertap;help;uninstall' {
            break
        }
        'hypertap;help;recover' {
            break
        }
        'hypertap;help;helper' {
            break
        }
        'hypertap;help;help' {
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
