
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
            cand status 'Show what running tunnels do: state, interface, routes, packets, drops, latest events'
            cand bypass 'Run a program whose sockets go past the tunnel'
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
        &'hypertap;status'= {
            cand --control 'Ask the daemon at this socket only'
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
            cand status 'Show what running tunnels do: state, interface, routes, packets, drops, latest events'
            cand bypass 'Run a program whose sockets go past the tunnel'
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
        &'hypertap;help;status'= {
        }
        &'hypertap;help;bypass'= {
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
