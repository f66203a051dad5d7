//! The configuration's file: read whole, made once, changed without losing anything.
//!
//! A change holds the file's lock (flock(2)), is checked as every configuration is, and is written beside the file
//! and put in its place: whoever reads sees the old one or the new one. Keys that the change does not
//! concern stay, in their order; spaces become those of the usual indentation.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use nix::fcntl::{Flock, FlockArg};
use serde_json::{Map, Value};

use super::fault::{ConfigError, Fault, listed};
use super::{Config, Parsed, parse};
use crate::exit::{Exit, Failure};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 4 << 20;
/// How long another may be at changing the file.
const PATIENCE: Duration = Duration::from_secs(5);
/// What others than the owner may have of a file with a key: its group may read it.
const ALLOWED: u32 = 0o740;

/// Where the configuration of an interface is, unless told otherwise.
pub fn default_path(interface: &str) -> PathBuf {
    Path::new("/etc/hypertap").join(format!("{interface}.json"))
}

/// Reads a file. What is odd about it is logged.
///
/// # Errors
/// It cannot be read, or all its faults.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let (text, mode) = File::open(path).and_then(|file| read(&file)).map_err(unreadable)?;
    let Parsed { config, warnings } = meaning(path, &text, Some(mode))?;
    for warning in warnings {
        tracing::warn!("{}: {warning}", path.display());
    }
    Ok(config)
}

/// What a text means that is, or is to be, at `path`. With `mode`, the file's, others' rights are looked at.
fn meaning(path: &Path, text: &str, mode: Option<u32>) -> Result<Parsed, ConfigError> {
    let (mut place, mut open) = (path.to_owned(), mode);
    let parsed = parse(text, |file| {
        place = path.parent().unwrap_or(Path::new("")).join(file);
        let (text, mode) = read(&File::open(&place)?)?;
        open = open.map(|_| mode);
        Ok(text)
    });
    let mut parsed = parsed.map_err(|faults| ConfigError::Faulty { path: path.to_owned(), faults })?;
    if let Some(mode) = open.filter(|mode| mode & 0o777 & !ALLOWED != 0) {
        parsed.warnings.push(exposed(&place, mode));
    }
    Ok(parsed)
}

fn exposed(place: &Path, mode: u32) -> Fault {
    let place = place.display();
    let problem = format!(
        "the private key is open to others, who could pose as this node: {place} has the mode {:04o}; run \
         `chmod 600 {place}`, and make a new key if somebody may have read it",
        mode & 0o7777
    );
    Fault { path: String::new(), value: None, problem }
}

/// The text in a file, and its mode.
fn read(file: &File) -> io::Result<(String, u32)> {
    let metadata = file.metadata()?;
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it is larger than {MAX_FILE} bytes")));
    }
    Ok((text, metadata.mode()))
}

/// Makes a file that only its owner may read, with the folders above it.
///
/// # Errors
/// [`Exit::Taken`] when there is one already, which stays as it is.
pub fn create(path: &Path, config: &Map<String, Value>) -> Result<(), Failure> {
    let folder = folder_of(path);
    let made = fs::create_dir_all(folder).and_then(|()| {
        let new = write_beside(path, config, 0o600, None)?;
        // A link, unlike a rename, never takes the place of a file.
        let linked = fs::hard_link(&new, path);
        let _ = fs::remove_file(&new);
        linked.and_then(|()| sync(folder))
    });
    made.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            let text = anyhow!("{} is there already, and is left as it is", path.display());
            Failure::new(Exit::Taken, text)
        }
        _ => refused(path, error),
    })
}

/// Changes a file: `change` is given what is in it, with what that means. What it leaves is checked and written, unless
/// it is as it was. Waits for another that changes it, some seconds at most: not to be called in a task.
///
/// # Errors
/// What `change` says; what is wrong with the file as it is, or would be; what the system says. The file is
/// as it was then.
pub fn edit<T>(
    path: &Path,
    change: impl FnOnce(&mut Map<String, Value>, &Config) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    // What a symbolic link leads to is changed, and not the link.
    let path = fs::canonicalize(path).map_err(unreadable)?;
    let file = lock(&path)?;
    let (text, _) = read(&file).map_err(unreadable)?;
    let before = meaning(&path, &text, None)?.config;
    let mut object: Map<String, Value> = serde_json::from_str(&text).context("the file is no object")?;
    let (old, outcome) = (object.clone(), change(&mut object, &before)?);
    // The order of keys does not make two objects differ.
    if object != old {
        meaning(&path, &text_of(&object), None).map_err(|error| would_be_bad(&path, error))?;
        replace(&path, &file, &object).map_err(|error| refused(&path, error))?;
    }
    Ok(outcome)
}

fn would_be_bad(path: &Path, error: ConfigError) -> Failure {
    let thing = || format!("{} is as it was; the changed configuration", path.display());
    match error {
        ConfigError::Faulty { faults, .. } => Failure::new(Exit::Usage, anyhow!(listed(&thing(), &faults))),
        unreadable @ ConfigError::Unreadable { .. } => unreadable.into(),
    }
}

/// The file, when nobody else changes it.
fn lock(path: &Path) -> Result<Flock<File>, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        let file = File::open(path).map_err(|error| refused(path, error))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            // Whoever had it before may have put another in its place.
            Ok(file) if is_at(&file, path) => return Ok(file),
            _ if Instant::now() > until => {
                let text =
                    anyhow!("another program has {} locked: try again when it is done", path.display());
                return Err(Failure::new(Exit::Taken, text));
            }
            _ => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |file: io::Result<fs::Metadata>| file.map(|file| (file.dev(), file.ino())).ok();
    let here = identity(file.metadata());
    here.is_some() && here == identity(fs::metadata(path))
}

fn replace(path: &Path, old: &File, config: &Map<String, Value>) -> io::Result<()> {
    let metadata = old.metadata()?;
    let new = write_beside(path, config, metadata.mode() & 0o7777, Some((metadata.uid(), metadata.gid())))?;
    fs::rename(&new, path).inspect_err(|_| drop(fs::remove_file(&new)))?;
    sync(folder_of(path))
}

/// Writes a configuration into a file beside `path`, whose name it yields.
fn write_beside(
    path: &Path,
    config: &Map<String, Value>,
    mode: u32,
    owner: Option<(u32, u32)>,
) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::IsADirectory)?.to_string_lossy();
    let new = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    // Of an earlier process with our number, which died.
    let _ = fs::remove_file(&new);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let ours = file.metadata()?;
        if let Some((uid, gid)) = owner.filter(|owner| *owner != (ours.uid(), ours.gid())) {
            fchown(&file, Some(uid), Some(gid))?;
        }
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text_of(config).as_bytes())?;
        file.sync_all()
    })();
    match written {
        Ok(()) => Ok(new),
        Err(error) => {
            let _ = fs::remove_file(&new);
            Err(error)
        }
    }
}

fn text_of(config: &Map<String, Value>) -> String {
    let text = serde_json::to_string_pretty(config).expect("what was JSON can be written as JSON");
    format!("{text}\n")
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Has the names in a folder survive a loss of power.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn refused(path: &Path, error: io::Error) -> Failure {
    let text = format!("cannot write {}", path.display());
    if error.kind() == ErrorKind::PermissionDenied {
        let text = anyhow!("{text}: {error}; run this as root, or name another file with --config");
        return Failure::new(Exit::Right, text);
    }
    Failure::new(Exit::Other, anyhow::Error::from(error).context(text))
}

#[cfg(test)]
mod tests;
