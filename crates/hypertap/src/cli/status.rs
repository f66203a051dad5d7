//! `hypertap status`: what running daemons and nodes are doing.

#[cfg(feature = "services")]
mod node;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use clap::Args;
use hypertap_client::Address;
use hypertap_client::blocking::Tunnel;
use hypertap_platform::process::effective_uid;
use serde_json::{Map, Value, json};

#[cfg(feature = "services")]
use self::node::{ask_nodes, print_node};
use crate::exit::{Exit, Failure};
use crate::log;
use crate::output::Output;

/// Where root's daemons have their sockets.
pub const ROOT_STATE_DIR: &str = "/run/hypertap";
/// What the names of services nodes' sockets begin with.
pub const NODE_PREFIX: &str = "node-";

/// Show what runs: tunnels (interface, routes, packets, drops, events) and services nodes (peers, services)
///
/// Asks every daemon and node whose socket is in the state directory, without disturbing its clients. A node answers
/// root and the user who runs it.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// Ask the daemon or node at this socket only
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,

    /// Where daemons have their sockets [default: /run/hypertap as root]
    #[arg(long, value_name = "DIR", conflicts_with = "control")]
    pub state_dir: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Asks and prints.
///
/// # Errors
/// When no daemon answers.
pub fn run(args: &StatusArgs) -> Result<(), Failure> {
    let sockets = match &args.control {
        Some(path) => vec![path.clone()],
        None => all_sockets(args.state_dir.as_deref()),
    };
    let (nodes, daemons): (Vec<_>, Vec<_>) = sockets.iter().partition(|path| is_node(path));
    let mut answers = Vec::new();
    for path in daemons {
        match ask(path) {
            Ok(answer) => answers.push((path, answer)),
            Err(error) if args.control.is_some() => {
                return Err(no_answer(path, error));
            }
            Err(error) => tracing::debug!(path = %path.display(), %error, "no daemon there"),
        }
    }
    let (nodes, closed) = ask_nodes(&nodes, args.control.is_some())?;
    if answers.is_empty() && nodes.is_empty() {
        let text = "nothing of hypertap runs here; start a tunnel with `sudo hypertap tunnel`, a node with `sudo \
                    hypertap up`";
        return Err(closed.unwrap_or_else(|| Failure::new(Exit::Other, anyhow!(text))));
    }
    if let Some(closed) = closed {
        log::complain(closed.sentence());
    }
    let mut out = Output::standard();
    if args.json {
        let list: Vec<Value> = answers
            .into_iter()
            .chain(nodes)
            .map(|(path, mut answer)| {
                answer.insert("control".to_owned(), json!(path));
                Value::Object(answer)
            })
            .collect();
        out.json(&list)?;
    } else {
        for (path, answer) in &answers {
            print(&mut out, path, answer);
        }
        for (path, answer) in &nodes {
            print_node(&mut out, path, answer);
        }
    }
    out.finish()
}

/// What each answers.
type Answers<'a> = Vec<(&'a PathBuf, Map<String, Value>)>;

#[cfg(not(feature = "services"))]
#[expect(clippy::unnecessary_wraps, reason = "where there are nodes it may fail")]
fn ask_nodes<'a>(_: &[&'a PathBuf], _: bool) -> Result<(Answers<'a>, Option<Failure>), Failure> {
    Ok((Vec::new(), None))
}

#[cfg(not(feature = "services"))]
fn print_node(_: &mut Output, _: &Path, _: &Map<String, Value>) {}

fn no_answer(path: &Path, error: anyhow::Error) -> Failure {
    // It names the path and says what to do by itself.
    let is_enough = matches!(error.downcast_ref(), Some(hypertap_client::Error::Connect { .. }));
    let named = || format!("no daemon answers at {}", path.display());
    if is_enough { error } else { error.context(named()) }.into()
}

/// The state directories that are looked into when nobody names one: this user's own and root's. One that
/// somebody else made, as anybody may in `/tmp`, is left out: what listens there could be anybody's.
pub fn default_state_dirs() -> Vec<PathBuf> {
    let mut directories = vec![hypertap_platform::default_state_dir(), PathBuf::from(ROOT_STATE_DIR)];
    directories.dedup();
    directories.retain(|directory| match fs::symlink_metadata(directory) {
        Ok(found) if is_trusted(&found, effective_uid()) => true,
        Ok(_) => {
            let text = "others could have made what is in this state directory, so it is passed over; remove it, \
                        or name the socket that is meant";
            tracing::warn!(path = %directory.display(), "{text}");
            false
        }
        Err(_) => false,
    });
    directories
}

/// Whether only `user` and root can have put something into a directory, links not counted as one.
fn is_trusted(found: &fs::Metadata, user: u32) -> bool {
    found.is_dir() && [0, user].contains(&found.uid()) && found.mode() & 0o022 == 0
}

/// The tunnels' sockets in a state directory; without one, in those of [`default_state_dirs`].
pub fn sockets(state_dir: Option<&Path>) -> Vec<PathBuf> {
    let mut paths = all_sockets(state_dir);
    paths.retain(|path| !is_node(path));
    paths
}

/// Whether a socket is a services node's, by its name.
fn is_node(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(NODE_PREFIX))
}

fn all_sockets(state_dir: Option<&Path>) -> Vec<PathBuf> {
    let directories = state_dir.map_or_else(default_state_dirs, |directory| vec![directory.to_owned()]);
    let entries = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok());
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Everything a daemon says of itself.
fn ask(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let mut tunnel = Tunnel::connect(Address::Unix(path.to_owned()))?;
    let mut all = Map::new();
    for verb in ["showVersion", "status", "getName", "routes", "stats", "events"] {
        // getName is refused while there is no interface.
        if let Ok(fields) = tunnel.request(verb, Map::new()) {
            all.extend(fields.into_iter().filter(|(name, _)| name != "ok"));
        }
    }
    if all.contains_key("status") { Ok(all) } else { Err(anyhow!("it does not say its status")) }
}

fn print(out: &mut Output, path: &Path, answer: &Map<String, Value>) {
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    out.line(format_args!("{} ({}), version {}", path.display(), text("status"), text("version")));
    out.line(format_args!("  interface  {}", text("name")));
    for kind in ["included", "excluded"] {
        let list: Vec<&str> = answer
            .get(kind)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        out.line(format_args!(
            "  {kind:<10} {}",
            if list.is_empty() { "-".to_owned() } else { list.join(", ") }
        ));
    }
    for (key, label) in [("toProgram", "to program"), ("fromProgram", "to machine")] {
        let direction = &answer.get("stats").unwrap_or(&Value::Null)[key];
        let drops: Vec<String> = direction["dropped"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(cause, count)| format!("{count} {cause}"))
            .collect();
        let drops = if drops.is_empty() { String::new() } else { format!(", dropped: {}", drops.join(", ")) };
        out.line(format_args!(
            "  {label:<10} {} packets, {} bytes{drops}",
            direction["packets"], direction["bytes"]
        ));
    }
    for event in answer.get("events").and_then(Value::as_array).into_iter().flatten().rev().take(5) {
        let reason = event["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let age = age(event["at"].as_f64().unwrap_or_default());
        out.line(format_args!("  event      {}{reason}, {age} ago", event["event"].as_str().unwrap_or("-")));
    }
}

/// How long ago a time in seconds since 1970 is, in words.
fn age(at: f64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let then = Duration::try_from_secs_f64(at).unwrap_or_default();
    words(now.saturating_sub(then).as_secs())
}

/// A time in words.
fn words(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_directory_is_trusted_where_nobody_else_could_have_put_something() {
        let folder = tempfile::tempdir().expect("a folder");
        let us = effective_uid();
        let trusted = |path: &Path, user| is_trusted(&fs::symlink_metadata(path).expect("it is there"), user);
        let allow =
            |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).expect("ours");
        for (mode, wanted) in [(0o700, true), (0o755, true), (0o775, false), (0o1777, false)] {
            allow(mode);
            assert_eq!(trusted(folder.path(), us), wanted, "{mode:o}");
        }
        allow(0o700);
        let (link, file) = (folder.path().join("link"), folder.path().join("file"));
        symlink(folder.path(), &link).expect("a link");
        fs::write(&file, "").expect("written");
        assert!(!trusted(&link, us) && !trusted(&file, us));
        if us != 0 {
            assert!(!trusted(folder.path(), us + 1));
        } else {
            std::os::unix::fs::chown(folder.path(), Some(us + 1), None).expect("root may");
            assert!(!trusted(folder.path(), us) && trusted(folder.path(), us + 1));
        }
    }
}
