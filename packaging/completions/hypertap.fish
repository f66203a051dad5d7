# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_hypertap_global_optspecs
    string join \n log-format= log= h/help V/version
end

function __fish_hypertap_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_hypertap_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_hypertap_using_subcommand
    set -l cmd (__fish_hypertap_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c hypertap -n "__fish_hypertap_needs_command" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_needs_command" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_needs_command" -s V -l version -d 'Print version'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "tunnel" -d 'Give a program a TUN interface through two sockets'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "tap" -d 'Give a program an Ethernet interface through a socket'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "status" -d 'Show what runs: tunnels (interface, routes, packets, drops, events) and services nodes (peers, services)'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "bypass" -d 'Run a program whose sockets go past the tunnel'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "shim" -d 'Run a program that opens /dev/net/tun, without rights'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "up" -d 'Run a services node: use peers\' services by address, and serve this node\'s'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "services" -d 'List, add or remove services of a running node'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "reload" -d 'Have a running node read its configuration anew'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "init" -d 'Make the configuration of a services node, and print the line that others take'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "peer" -d 'Add, remove or list the peers of a services node'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "dns" -d 'Print what makes this machine\'s resolver ask a services node for its names'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "config" -d 'Check the configuration of a services node, or print its schema'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "keygen" -d 'Print a new private key for a services node, and the peer id that belongs to it'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "demo" -d 'Show the main job for real, on a network of its own that goes with it'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "doctor" -d 'Say what this machine allows and how to mend what is missing'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "install" -d 'Put the program, its service and its permission on this machine'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "uninstall" -d 'Remove what `hypertap install` put on this machine, and nothing else'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "recover" -d 'Remove what tunnels that were killed left on this machine'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "helper" -d 'Do the jobs that need rights for another hypertap process'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l command -d 'Where commands are taken over TCP; only from programs of this machine, whatever the address' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l data -d 'Where packets from the program arrive over UDP, and where those to it come from; a loopback address' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l receive-port -d 'The UDP port, at the same address, that packets for the program are sent to; another than --data\'s' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l control -d 'The Unix socket that takes commands too [default: control.sock in the state directory]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l name -d 'The interface\'s name, unless `start` says one [default: the first free of hypertap0, hypertap1, …]' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l mtu -d 'The interface\'s MTU in bytes, unless `start` says one; below 1280 it carries IPv4 only' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l queues -d 'How many queues the interface has, each served by threads of its own' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l on-disconnect -d 'What the end of the client\'s connection does' -r -f -a "exit\t'The tunnel is taken down and the process ends'
stop\t'The tunnel is taken down and the next client is waited for'
keep\t'The tunnel stays up and the next client takes it over'"
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l bypass-mark -d 'Sockets with this mark are let past the tunnel\'s rules (a number, 0x… for hexadecimal)' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l user -d 'Drop all rights but this user\'s for good; a small helper process keeps those that are needed' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l group -d 'Members of this group may connect too, besides root and the user who started the program' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l state-dir -d 'Where the journal and the sockets are kept [default: /run/hypertap as root]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l no-control -d 'No Unix socket'
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l no-offload -d 'Do not use the kernel\'s segmentation and checksum offload'
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -l replace -d 'Take the interface over if another hypertap has it'
complete -c hypertap -n "__fish_hypertap_using_subcommand tunnel" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l listen -d 'Where clients connect: an absolute path, a port at 127.0.0.1, or ADDR:PORT, where ADDR may be a name; may be repeated' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l fd -d 'Serve this inherited descriptor (0: standard input): a connected socket, or one that listens; may be repeated' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l framing -d 'How frames stand in what clients send and get' -r -f -a "auto\t'Found out by the first frame'
le16\t'Each frame after its length in 16 bits, low byte first'
unframed\t'Bare frames, sized by what is in them'
qemu\t'Each frame after its length in 32 bits, high byte first'
datagram\t'A Unix datagram a frame'"
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l max-clients -d 'Serve so many clients at once, as ports of one learning switch' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l socket-mode -d 'Who may use the socket\'s file, as chmod(1) has it in octal' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l socket-owner -d 'Whose the socket\'s file is, by name or number [default: who started this, also by sudo]' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l socket-group -d 'The group of the socket\'s file, by name or number' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l name -d 'The interface\'s name [default: the first free of tap0, tap1, …]' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l network-device-number -d 'The interface is called tapN' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l mac-address -d 'The host\'s address on the interface [default: one of its own for each path]' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l ip-address -d 'The host\'s IPv4 address, and how long the network\'s prefix is; 24 unless it says so' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l ip6-address -d 'The host\'s IPv6 address, and how long the network\'s prefix is; 64 unless it says so' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l mtu -d 'The interface\'s MTU in bytes; below 1280 it carries no IPv6' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l metric -d 'The metric of the route to the interface\'s network' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l guest-address -d 'The address that the modem\'s guest gets [default: the next after the host\'s]' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l dns -d 'A name server that the guest is told, once or twice [default: the host]' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l pap -d 'The guest has to log in: its name, and a file whose first line is the password' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l user -d 'Drop all rights but this user\'s for good; a small helper process keeps those that are needed' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l io-device-number -d 'Without meaning here: there is no second device' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l ifconfig-command -d 'Without meaning here: ifconfig is not needed' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l use-framed-protocol -d 'The same as --framing=le16'
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l keep -d 'Serve one client after another; the interface stays until the end'
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l disable-nud -d 'No neighbour unreachability detection of IPv6'
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l enable-router-advertisements -d 'Take addresses and routes that IPv6 routers announce'
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l no-host -d 'No interface at all: clients reach each other only, and no right is needed'
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l no-offload -d 'Do not use the kernel\'s segmentation and checksum offload'
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l modem -d 'Clients are modems: messages are PPP in HDLC form, each after its length in 16 bits'
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l print-name -d 'Print the interface\'s name on standard output once it is there and has its addresses'
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l show-data -d 'Print every frame on standard output, in a form that text2pcap reads'
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -l show-size-warnings -d 'Print every frame whose length the unframed protocol would get wrong'
complete -c hypertap -n "__fish_hypertap_using_subcommand tap" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand status" -l control -d 'Ask the daemon or node at this socket only' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand status" -l state-dir -d 'Where daemons have their sockets [default: /run/hypertap as root]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand status" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand status" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand status" -l json -d 'Print JSON'
complete -c hypertap -n "__fish_hypertap_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand bypass" -l control -d 'The daemon\'s Unix socket [default: the one that is running]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand bypass" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand bypass" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand bypass" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand shim" -l tap -d 'The tap server of a TAP: a path, a port at 127.0.0.1, or ADDR:PORT; it frames by le16 [default: `tap` in the state directory]' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand shim" -l mac-address -d 'The address of the program\'s TAP [default: a random one]' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand shim" -l tunnel -d 'The daemon of a TUN: the path of its socket, or ADDR:PORT [default: the one that is running]' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand shim" -l address -d 'The machine\'s address on the tunnel [default: the one that the program gives its interface]' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand shim" -l route -d 'Send this network into the tunnel; may be repeated' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand shim" -l mtu -d 'The MTU of the server\'s end in bytes; longer packets of the program are dropped' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand shim" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand shim" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand shim" -l reconnect -d 'When the tap server ends, wait for another; without this the program reads the end'
complete -c hypertap -n "__fish_hypertap_using_subcommand shim" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand up" -s c -l config -d 'The configuration [default: /etc/hypertap/INTERFACE.json]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand up" -s i -l interface -d 'The interface that the configuration is for' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand up" -l state-dir -d 'Where the control socket is kept [default: /run/hypertap as root]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand up" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand up" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and not __fish_seen_subcommand_from add remove help" -s i -l interface -d 'The node\'s interface' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and not __fish_seen_subcommand_from add remove help" -l control -d 'The node\'s control socket [default: that of --interface, in /run/hypertap as root]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and not __fish_seen_subcommand_from add remove help" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and not __fish_seen_subcommand_from add remove help" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and not __fish_seen_subcommand_from add remove help" -l json -d 'Print JSON'
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and not __fish_seen_subcommand_from add remove help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and not __fish_seen_subcommand_from add remove help" -f -a "add" -d 'Add a service at once'
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and not __fish_seen_subcommand_from add remove help" -f -a "remove" -d 'Remove a service at once, and cut its connections'
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and not __fish_seen_subcommand_from add remove help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from add" -l allow -d 'Only this peer may use it: @NAME, or the beginning of its id; may be given several times' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from add" -l deny -d 'This peer may not use it; may be given several times' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from add" -l check -d 'Try the target every so many seconds, and refuse connections while it fails' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from add" -s i -l interface -d 'The node\'s interface' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from add" -l control -d 'The node\'s control socket [default: that of --interface, in /run/hypertap as root]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from add" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from add" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from add" -l proxy-protocol -d 'Tell the target who connects, by PROXY protocol v2'
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from add" -l save -d 'Put it into the configuration, too; else it is there until the node is started again'
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from add" -l json -d 'Print JSON'
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from remove" -s i -l interface -d 'The node\'s interface' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from remove" -l control -d 'The node\'s control socket [default: that of --interface, in /run/hypertap as root]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from remove" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from remove" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from remove" -l save -d 'Take it out of the configuration, too; else it is there again when the node is started again'
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from remove" -l json -d 'Print JSON'
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from help" -f -a "add" -d 'Add a service at once'
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove a service at once, and cut its connections'
complete -c hypertap -n "__fish_hypertap_using_subcommand services; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hypertap -n "__fish_hypertap_using_subcommand reload" -s i -l interface -d 'The node\'s interface' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand reload" -l control -d 'The node\'s control socket [default: that of --interface, in /run/hypertap as root]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand reload" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand reload" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand reload" -l json -d 'Print JSON'
complete -c hypertap -n "__fish_hypertap_using_subcommand reload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand init" -s c -l config -d 'The configuration [default: /etc/hypertap/INTERFACE.json]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand init" -s i -l interface -d 'The interface that the configuration is for' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand init" -l name -d 'What others call this node; a new configuration keeps it [default: its name in the list of peers, or this machine\'s]' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand init" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand init" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and not __fish_seen_subcommand_from add remove list help" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and not __fish_seen_subcommand_from add remove list help" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and not __fish_seen_subcommand_from add remove list help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and not __fish_seen_subcommand_from add remove list help" -f -a "add" -d 'Add a peer, or update the one with that id'
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and not __fish_seen_subcommand_from add remove list help" -f -a "remove" -d 'Remove a peer'
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and not __fish_seen_subcommand_from add remove list help" -f -a "list" -d 'List the peers and their addresses in the network'
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and not __fish_seen_subcommand_from add remove list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from add" -s c -l config -d 'The configuration [default: /etc/hypertap/INTERFACE.json]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from add" -s i -l interface -d 'The interface that the configuration is for' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from add" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from add" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from add" -l json -d 'Print JSON'
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from remove" -s c -l config -d 'The configuration [default: /etc/hypertap/INTERFACE.json]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from remove" -s i -l interface -d 'The interface that the configuration is for' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from remove" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from remove" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from remove" -l json -d 'Print JSON'
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from list" -s c -l config -d 'The configuration [default: /etc/hypertap/INTERFACE.json]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from list" -s i -l interface -d 'The interface that the configuration is for' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from list" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from list" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from list" -l json -d 'Print JSON'
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from help" -f -a "add" -d 'Add a peer, or update the one with that id'
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove a peer'
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the peers and their addresses in the network'
complete -c hypertap -n "__fish_hypertap_using_subcommand peer; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hypertap -n "__fish_hypertap_using_subcommand dns" -s c -l config -d 'The configuration [default: /etc/hypertap/INTERFACE.json]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand dns" -s i -l interface -d 'The interface that the configuration is for' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand dns" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand dns" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand dns" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and not __fish_seen_subcommand_from check schema help" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and not __fish_seen_subcommand_from check schema help" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and not __fish_seen_subcommand_from check schema help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and not __fish_seen_subcommand_from check schema help" -f -a "check" -d 'Say whether a configuration is good, and all that is wrong with it where it is not'
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and not __fish_seen_subcommand_from check schema help" -f -a "schema" -d 'Print the JSON schema of configurations, for editors'
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and not __fish_seen_subcommand_from check schema help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and __fish_seen_subcommand_from check" -s c -l config -d 'The configuration [default: /etc/hypertap/INTERFACE.json]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and __fish_seen_subcommand_from check" -s i -l interface -d 'The interface that the configuration is for' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and __fish_seen_subcommand_from check" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and __fish_seen_subcommand_from check" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and __fish_seen_subcommand_from schema" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and __fish_seen_subcommand_from schema" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "check" -d 'Say whether a configuration is good, and all that is wrong with it where it is not'
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "schema" -d 'Print the JSON schema of configurations, for editors'
complete -c hypertap -n "__fish_hypertap_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hypertap -n "__fish_hypertap_using_subcommand keygen" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand keygen" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand keygen" -l public -d 'Read a private key from standard input, and print its peer id'
complete -c hypertap -n "__fish_hypertap_using_subcommand keygen" -l json -d 'Print JSON'
complete -c hypertap -n "__fish_hypertap_using_subcommand keygen" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand demo" -l seconds -d 'How long to measure, in seconds' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand demo" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand demo" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand demo" -l json -d 'Print the results as JSON'
complete -c hypertap -n "__fish_hypertap_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand doctor" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand doctor" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand doctor" -l json -d 'Print JSON'
complete -c hypertap -n "__fish_hypertap_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand install" -l root -d 'Install below this directory, made if it is not there, instead of / (nothing is started, no group is made)' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand install" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand install" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand install" -l no-start -d 'Do not start the service\'s socket'
complete -c hypertap -n "__fish_hypertap_using_subcommand install" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand uninstall" -l root -d 'Uninstall below this directory instead of /' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand uninstall" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand uninstall" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand uninstall" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand recover" -l state-dir -d 'Where the journal is kept [default: /run/hypertap as root]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand recover" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand recover" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand recover" -l json -d 'Print JSON'
complete -c hypertap -n "__fish_hypertap_using_subcommand recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand helper" -l state-dir -d 'Where the journal is kept [default: /run/hypertap]' -r -F
complete -c hypertap -n "__fish_hypertap_using_subcommand helper" -l log-format -d 'How log lines are written' -r -f -a "human\t'For a person; coloured on a terminal'
json\t'One JSON object a line'"
complete -c hypertap -n "__fish_hypertap_using_subcommand helper" -l log -d 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`' -r
complete -c hypertap -n "__fish_hypertap_using_subcommand helper" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "tunnel" -d 'Give a program a TUN interface through two sockets'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "tap" -d 'Give a program an Ethernet interface through a socket'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "status" -d 'Show what runs: tunnels (interface, routes, packets, drops, events) and services nodes (peers, services)'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "bypass" -d 'Run a program whose sockets go past the tunnel'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "shim" -d 'Run a program that opens /dev/net/tun, without rights'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "up" -d 'Run a services node: use peers\' services by address, and serve this node\'s'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "services" -d 'List, add or remove services of a running node'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "reload" -d 'Have a running node read its configuration anew'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "init" -d 'Make the configuration of a services node, and print the line that others take'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "peer" -d 'Add, remove or list the peers of a services node'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "dns" -d 'Print what makes this machine\'s resolver ask a services node for its names'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "config" -d 'Check the configuration of a services node, or print its schema'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "keygen" -d 'Print a new private key for a services node, and the peer id that belongs to it'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "demo" -d 'Show the main job for real, on a network of its own that goes with it'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "doctor" -d 'Say what this machine allows and how to mend what is missing'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "install" -d 'Put the program, its service and its permission on this machine'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "uninstall" -d 'Remove what `hypertap install` put on this machine, and nothing else'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "recover" -d 'Remove what tunnels that were killed left on this machine'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "helper" -d 'Do the jobs that need rights for another hypertap process'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel tap status bypass shim up services reload init peer dns config keygen demo doctor install uninstall recover helper help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and __fish_seen_subcommand_from services" -f -a "add" -d 'Add a service at once'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and __fish_seen_subcommand_from services" -f -a "remove" -d 'Remove a service at once, and cut its connections'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and __fish_seen_subcommand_from peer" -f -a "add" -d 'Add a peer, or update the one with that id'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and __fish_seen_subcommand_from peer" -f -a "remove" -d 'Remove a peer'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and __fish_seen_subcommand_from peer" -f -a "list" -d 'List the peers and their addresses in the network'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "check" -d 'Say whether a configuration is good, and all that is wrong with it where it is not'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "schema" -d 'Print the JSON schema of configurations, for editors'
