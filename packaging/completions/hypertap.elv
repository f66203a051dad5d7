
use builtin;
use str;

set edit:completion:arg-completer[hypertap] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'hypertap'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'hypertap'= {
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand tunnel 'Give a program a TUN interface through two sockets'
            cand tap 'Give a program an Ethernet interface through a socket'
            cand status 'Show what runs: tunnels (interface, routes, packets, drops, events) and services nodes (peers, services)'
            cand bypass 'Run a program whose sockets go past the tunnel'
            cand shim 'Run a program that opens /dev/net/tun, without rights'
            cand up 'Run a services node: use peers'' services by address, and serve this node''s'
            cand services 'List, add or remove services of a running node'
            cand reload 'Have a running node read its configuration anew'
            cand init 'Make the configuration of a services node, and print the line that others take'
            cand peer 'Add, remove or list the peers of a services node'
            cand dns 'Print what makes this machine''s resolver ask a services node for its names'
            cand config 'Check the configuration of a services node, or print its schema'
            cand keygen 'Print a new private key for a services node, and the peer id that belongs to it'
            cand demo 'Show the main job for real, on a network of its own that goes with it'
            cand doctor 'Say what this machine allows and how to mend what is missing'
            cand install 'Put the program, its service and its permission on this machine'
            cand uninstall 'Remove what `hypertap install` put on this machine, and nothing else'
            cand recover 'Remove what tunnels that were killed left on this machine'
            cand helper 'Do the jobs that need rights for another hypertap process'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'hypertap;tunnel'= {
            cand --command 'Where commands are taken over TCP; only from programs of this machine, whatever the address'
            cand --data 'Where packets from the program arrive over UDP, and where those to it come from; a loopback address'
            cand --receive-port 'The UDP port, at the same address, that packets for the program are sent to; another than --data''s'
            cand --control 'The Unix socket that takes commands too [default: control.sock in the state directory]'
            cand --name 'The interface''s name, unless `start` says one [default: the first free of hypertap0, hypertap1, …]'
            cand --mtu 'The interface''s MTU in bytes, unless `start` says one; below 1280 it carries IPv4 only'
            cand --queues 'How many queues the interface has, each served by threads of its own'
            cand --on-disconnect 'What the end of the client''s connection does'
            cand --bypass-mark 'Sockets with this mark are let past the tunnel''s rules (a number, 0x… for hexadecimal)'
            cand --user 'Drop all rights but this user''s for good; a small helper process keeps those that are needed'
            cand --group 'Members of this group may connect too, besides root and the user who started the program'
            cand --state-dir 'Where the journal and the sockets are kept [default: /run/hypertap as root]'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand --no-control 'No Unix socket'
            cand --no-offload 'Do not use the kernel''s segmentation and checksum offload'
            cand --replace 'Take the interface over if another hypertap has it'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;tap'= {
            cand --listen 'Where clients connect: an absolute path, a port at 127.0.0.1, or ADDR:PORT, where ADDR may be a name; may be repeated'
            cand --fd 'Serve this inherited descriptor (0: standard input): a connected socket, or one that listens; may be repeated'
            cand --framing 'How frames stand in what clients send and get'
            cand --max-clients 'Serve so many clients at once, as ports of one learning switch'
            cand --socket-mode 'Who may use the socket''s file, as chmod(1) has it in octal'
            cand --socket-owner 'Whose the socket''s file is, by name or number [default: who started this, also by sudo]'
            cand --socket-group 'The group of the socket''s file, by name or number'
            cand --name 'The interface''s name [default: the first free of tap0, tap1, …]'
            cand --network-device-number 'The interface is called tapN'
            cand --mac-address 'The host''s address on the interface [default: one of its own for each path]'
            cand --ip-address 'The host''s IPv4 address, and how long the network''s prefix is; 24 unless it says so'
            cand --ip6-address 'The host''s IPv6 address, and how long the network''s prefix is; 64 unless it says so'
            cand --mtu 'The interface''s MTU in bytes; below 1280 it carries no IPv6'
            cand --metric 'The metric of the route to the interface''s network'
            cand --guest-address 'The address that the modem''s guest gets [default: the next after the host''s]'
            cand --dns 'A name server that the guest is told, once or twice [default: the host]'
            cand --pap 'The guest has to log in: its name, and a file whose first line is the password'
            cand --user 'Drop all rights but this user''s for good; a small helper process keeps those that are needed'
            cand --io-device-number 'Without meaning here: there is no second device'
            cand --ifconfig-command 'Without meaning here: ifconfig is not needed'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand --use-framed-protocol 'The same as --framing=le16'
            cand --keep 'Serve one client after another; the interface stays until the end'
            cand --disable-nud 'No neighbour unreachability detection of IPv6'
            cand --enable-router-advertisements 'Take addresses and routes that IPv6 routers announce'
            cand --no-host 'No interface at all: clients reach each other only, and no right is needed'
            cand --no-offload 'Do not use the kernel''s segmentation and checksum offload'
            cand --modem 'Clients are modems: messages are PPP in HDLC form, each after its length in 16 bits'
            cand --print-name 'Print the interface''s name on standard output once it is there and has its addresses'
            cand --show-data 'Print every frame on standard output, in a form that text2pcap reads'
            cand --show-size-warnings 'Print every frame whose length the unframed protocol would get wrong'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;status'= {
            cand --control 'Ask the daemon or node at this socket only'
            cand --state-dir 'Where daemons have their sockets [default: /run/hypertap as root]'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand --json 'Print JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;bypass'= {
            cand --control 'The daemon''s Unix socket [default: the one that is running]'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;shim'= {
            cand --tap 'The tap server of a TAP: a path, a port at 127.0.0.1, or ADDR:PORT; it frames by le16 [default: `tap` in the state directory]'
            cand --mac-address 'The address of the program''s TAP [default: a random one]'
            cand --tunnel 'The daemon of a TUN: the path of its socket, or ADDR:PORT [default: the one that is running]'
            cand --address 'The machine''s address on the tunnel [default: the one that the program gives its interface]'
            cand --route 'Send this network into the tunnel; may be repeated'
            cand --mtu 'The MTU of the server''s end in bytes; longer packets of the program are dropped'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand --reconnect 'When the tap server ends, wait for another; without this the program reads the end'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;up'= {
            cand -c 'The configuration [default: /etc/hypertap/INTERFACE.json]'
            cand --config 'The configuration [default: /etc/hypertap/INTERFACE.json]'
            cand -i 'The interface that the configuration is for'
            cand --interface 'The interface that the configuration is for'
            cand --state-dir 'Where the control socket is kept [default: /run/hypertap as root]'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;services'= {
            cand -i 'The node''s interface'
            cand --interface 'The node''s interface'
            cand --control 'The node''s control socket [default: that of --interface, in /run/hypertap as root]'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand --json 'Print JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand add 'Add a service at once'
            cand remove 'Remove a service at once, and cut its connections'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'hypertap;services;add'= {
            cand --allow 'Only this peer may use it: @NAME, or the beginning of its id; may be given several times'
            cand --deny 'This peer may not use it; may be given several times'
            cand --check 'Try the target every so many seconds, and refuse connections while it fails'
            cand -i 'The node''s interface'
            cand --interface 'The node''s interface'
            cand --control 'The node''s control socket [default: that of --interface, in /run/hypertap as root]'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand --proxy-protocol 'Tell the target who connects, by PROXY protocol v2'
            cand --save 'Put it into the configuration, too; else it is there until the node is started again'
            cand --json 'Print JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;services;remove'= {
            cand -i 'The node''s interface'
            cand --interface 'The node''s interface'
            cand --control 'The node''s control socket [default: that of --interface, in /run/hypertap as root]'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand --save 'Take it out of the configuration, too; else it is there again when the node is started again'
            cand --json 'Print JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;services;help'= {
            cand add 'Add a service at once'
            cand remove 'Remove a service at once, and cut its connections'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'hypertap;services;help;add'= {
        }
        &'hypertap;services;help;remove'= {
        }
        &'hypertap;services;help;help'= {
        }
        &'hypertap;reload'= {
            cand -i 'The node''s interface'
            cand --interface 'The node''s interface'
            cand --control 'The node''s control socket [default: that of --interface, in /run/hypertap as root]'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand --json 'Print JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;init'= {
            cand -c 'The configuration [default: /etc/hypertap/INTERFACE.json]'
            cand --config 'The configuration [default: /etc/hypertap/INTERFACE.json]'
            cand -i 'The interface that the configuration is for'
            cand --interface 'The interface that the configuration is for'
            cand --name 'What others call this node; a new configuration keeps it [default: its name in the list of peers, or this machine''s]'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;peer'= {
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand add 'Add a peer, or update the one with that id'
            cand remove 'Remove a peer'
            cand list 'List the peers and their addresses in the network'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'hypertap;peer;add'= {
            cand -c 'The configuration [default: /etc/hypertap/INTERFACE.json]'
            cand --config 'The configuration [default: /etc/hypertap/INTERFACE.json]'
            cand -i 'The interface that the configuration is for'
            cand --interface 'The interface that the configuration is for'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand --json 'Print JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;peer;remove'= {
            cand -c 'The configuration [default: /etc/hypertap/INTERFACE.json]'
            cand --config 'The configuration [default: /etc/hypertap/INTERFACE.json]'
            cand -i 'The interface that the configuration is for'
            cand --interface 'The interface that the configuration is for'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand --json 'Print JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;peer;list'= {
            cand -c 'The configuration [default: /etc/hypertap/INTERFACE.json]'
            cand --config 'The configuration [default: /etc/hypertap/INTERFACE.json]'
            cand -i 'The interface that the configuration is for'
            cand --interface 'The interface that the configuration is for'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand --json 'Print JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;peer;help'= {
            cand add 'Add a peer, or update the one with that id'
            cand remove 'Remove a peer'
            cand list 'List the peers and their addresses in the network'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'hypertap;peer;help;add'= {
        }
        &'hypertap;peer;help;remove'= {
        }
        &'hypertap;peer;help;list'= {
        }
        &'hypertap;peer;help;help'= {
        }
        &'hypertap;dns'= {
            cand -c 'The configuration [default: /etc/hypertap/INTERFACE.json]'
            cand --config 'The configuration [default: /etc/hypertap/INTERFACE.json]'
            cand -i 'The interface that the configuration is for'
            cand --interface 'The interface that the configuration is for'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;config'= {
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand check 'Say whether a configuration is good, and all that is wrong with it where it is not'
            cand schema 'Print the JSON schema of configurations, for editors'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'hypertap;config;check'= {
            cand -c 'The configuration [default: /etc/hypertap/INTERFACE.json]'
            cand --config 'The configuration [default: /etc/hypertap/INTERFACE.json]'
            cand -i 'The interface that the configuration is for'
            cand --interface 'The interface that the configuration is for'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;config;schema'= {
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;config;help'= {
            cand check 'Say whether a configuration is good, and all that is wrong with it where it is not'
            cand schema 'Print the JSON schema of configurations, for editors'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'hypertap;config;help;check'= {
        }
        &'hypertap;config;help;schema'= {
        }
        &'hypertap;config;help;help'= {
        }
        &'hypertap;keygen'= {
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand --public 'Read a private key from standard input, and print its peer id'
            cand --json 'Print JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;demo'= {
            cand --seconds 'How long to measure, in seconds'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand --json 'Print the results as JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;doctor'= {
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand --json 'Print JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;install'= {
            cand --root 'Install below this directory, made if it is not there, instead of / (nothing is started, no group is made)'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand --no-start 'Do not start the service''s socket'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;uninstall'= {
            cand --root 'Uninstall below this directory instead of /'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;recover'= {
            cand --state-dir 'Where the journal is kept [default: /run/hypertap as root]'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand --json 'Print JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;helper'= {
            cand --state-dir 'Where the journal is kept [default: /run/hypertap]'
            cand --log-format 'How log lines are written'
            cand --log 'What is logged: error, warn, info, debug or trace, or a filter like `info,hypertap::tunnel=debug`'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'hypertap;help'= {
            cand tunnel 'Give a program a TUN interface through two sockets'
            cand tap 'Give a program an Ethernet interface through a socket'
            cand status 'Show what runs: tunnels (interface, routes, packets, drops, events) and services nodes (peers, services)'
            cand bypass 'Run a program whose sockets go past the tunnel'
            cand shim 'Run a program that opens /dev/net/tun, without rights'
            cand up 'Run a services node: use peers'' services by address, and serve this node''s'
            cand services 'List, add or remove services of a running node'
            cand reload 'Have a running node read its configuration anew'
            cand init 'Make the configuration of a services node, and print the line that others take'
            cand peer 'Add, remove or list the peers of a services node'
            cand dns 'Print what makes this machine''s resolver ask a services node for its names'
            cand config 'Check the configuration of a services node, or print its schema'
            cand keygen 'Print a new private key for a services node, and the peer id that belongs to it'
            cand demo 'Show the main job for real, on a network of its own that goes with it'
            cand doctor 'Say what this machine allows and how to mend what is missing'
            cand install 'Put the program, its service and its permission on this machine'
            cand uninstall 'Remove what `hypertap install` put on this machine, and nothing else'
            cand recover 'Remove what tunnels that were killed left on this machine'
            cand helper 'Do the jobs that need rights for another hypertap process'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'hypertap;help;tunnel'= {
        }
        &'hypertap;help;tap'= {
        }
        &'hypertap;help;status'= {
        }
        &'hypertap;help;bypass'= {
        }
        &'hypertap;help;shim'= {
        }
        &'hypertap;help;up'= {
        }
        &'hypertap;help;services'= {
            cand add 'Add a service at once'
            cand remove 'Remove a service at once, and cut its connections'
        }
        &'hypertap;help;services;add'= {
        }
        &'hypertap;help;services;remove'= {
        }
        &'hypertap;help;reload'= {
        }
        &'hypertap;help;init'= {
        }
        &'hypertap;help;peer'= {
            cand add 'Add a peer, or update the one with that id'
            cand remove 'Remove a peer'
            cand list 'List the peers and their addresses in the network'
        }
        &'hypertap;help;peer;add'= {
        }
        &'hypertap;help;peer;remove'= {
        }
        &'hypertap;help;peer;list'= {
        }
        &'hypertap;help;dns'= {
        }
        &'hypertap;help;config'= {
            cand check 'Say whether a configuration is good, and all that is wrong with it where it is not'
            cand schema 'Print the JSON schema of configurations, for editors'
        }
        &'hypertap;help;config;check'= {
        }
        &'hypertap;help;config;schema'= {
        }
        &'hypertap;help;keygen'= {
        }
        &'hypertap;help;demo'= {
        }
        &'hypertap;help;doctor'= {
        }
        &'hypertap;help;install'= {
        }
        &'hypertap;help;uninstall'= {
        }
        &'hypertap;help;recover'= {
        }
        &'hypertap;help;helper'= {
        }
        &'hypertap;help;help'= {
        }
    ]
    $completions[$command]
}
