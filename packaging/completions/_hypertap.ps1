
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
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show what running tunnels do: state, interface, routes, packets, drops, latest events')
            [CompletionResult]::new('bypass', 'bypass', [CompletionResultType]::ParameterValue, 'Run a program whose sockets go past the tunnel')
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
        'hypertap;status' {
            [CompletionResult]::new('--control', '--control', [CompletionResultType]::ParameterName, 'Ask the daemon at this socket only')
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
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show what running tunnels do: state, interface, routes, packets, drops, latest events')
            [CompletionResult]::new('bypass', 'bypass', [CompletionResultType]::ParameterValue, 'Run a program whose sockets go past the tunnel')
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
        'hypertap;help;status' {
            break
        }
        'hypertap;help;bypass' {
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
