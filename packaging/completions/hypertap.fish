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
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "status" -d 'Show what running tunnels do: state, interface, routes, packets, drops, latest events'
complete -c hypertap -n "__fish_hypertap_needs_command" -f -a "bypass" -d 'Run a program whose sockets go past the tunnel'
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
complete -c hypertap -n "__fish_hypertap_using_subcommand status" -l control -d 'Ask the daemon at this socket only' -r -F
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
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel status bypass demo doctor install uninstall recover helper help" -f -a "tunnel" -d 'Give a program a TUN interface through two sockets'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel status bypass demo doctor install uninstall recover helper help" -f -a "status" -d 'Show what running tunnels do: state, interface, routes, packets, drops, latest events'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel status bypass demo doctor install uninstall recover helper help" -f -a "bypass" -d 'Run a program whose sockets go past the tunnel'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel status bypass demo doctor install uninstall recover helper help" -f -a "demo" -d 'Show the main job for real, on a network of its own that goes with it'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel status bypass demo doctor install uninstall recover helper help" -f -a "doctor" -d 'Say what this machine allows and how to mend what is missing'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel status bypass demo doctor install uninstall recover helper help" -f -a "install" -d 'Put the program, its service and its permission on this machine'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel status bypass demo doctor install uninstall recover helper help" -f -a "uninstall" -d 'Remove what `hypertap install` put on this machine, and nothing else'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel status bypass demo doctor install uninstall recover helper help" -f -a "recover" -d 'Remove what tunnels that were killed left on this machine'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel status bypass demo doctor install uninstall recover helper help" -f -a "helper" -d 'Do the jobs that need rights for another hypertap process'
complete -c hypertap -n "__fish_hypertap_using_subcommand help; and not __fish_seen_subcommand_from tunnel status bypass demo doctor install uninstall recover helper help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
