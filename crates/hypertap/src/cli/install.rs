//! `hypertap install` and `hypertap uninstall`: the service on a machine, and off it again.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};

/// The group whose members may connect.
const GROUP: &str = "hypertap";
/// Where the list of what was installed is kept.
const MANIFEST: &str = "var/lib/hypertap/manifest.json";
const SERVICE: &str = include_str!("../../../../packaging/systemd/hypertap.service");
const SOCKET: &str = include_str!("../../../../packaging/systemd/hypertap.socket");
const POLICY: &str = include_str!("../../../../packaging/polkit/org.hypertap.helper.policy");

/// Put the program, its service and its permission on this machine
///
/// Installs the binary, a systemd service and socket, a group whose members may connect, and a
/// polkit action for the helper, and lists each in a manifest. A file that is there already and is
/// not ours is not touched: the installation is refused, and what it had done is undone.
#[derive(Args, Clone, Debug)]
pub struct InstallArgs {
    /// Install below this directory instead of / (nothing is started, no group is made)
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,

    /// Do not start the service's socket
    #[arg(long)]
    pub no_start: bool,
}

/// Remove what `hypertap install` put on this machine, and nothing else
#[derive(Args, Clone, Debug)]
pub struct UninstallArgs {
    /// Uninstall below this directory instead of /
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
}

/// What was put on the machine, in order.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Manifest {
    /// Files that we wrote.
    files: Vec<PathBuf>,
    /// Directories that we made.
    directories: Vec<PathBuf>,
    /// The group that we made.
    group: Option<String>,
}

/// Installs.
///
/// # Errors
/// [`Exit::Right`] when not root, [`Exit::Taken`] when a file is in the way.
pub fn install(args: &InstallArgs) -> Result<(), Failure> {
    let manifest_path = args.root.join(MANIFEST);
    if manifest_path.exists() {
        remove(&args.root)?;
    }
    let mut manifest = Manifest::default();
    let live = args.root == Path::new("/");
    let done =
        place(&args.root, &mut manifest).and_then(|()| if live { make_group(&mut manifest) } else { Ok(()) });
    let done = done.and_then(|()| save(&manifest_path, &mut manifest));
    if let Err(failure) = done {
        undo(&manifest);
        return Err(failure);
    }
    for file in &manifest.files {
        println!("installed {}", file.display());
    }
    if live && Path::new("/run/systemd/system").exists() {
        systemctl(&["daemon-reload"]);
        if !args.no_start {
            systemctl(&["enable", "--now", "hypertap.socket"]);
        }
    }
    println!("members of the group {GROUP} may connect: `sudo usermod -aG {GROUP} USER`");
    Ok(())
}

/// Uninstalls.
///
/// # Errors
/// When something that is listed cannot be removed; the manifest then still lists it.
pub fn uninstall(args: &UninstallArgs) -> Result<(), Failure> {
    let removed = remove(&args.root)?;
    if removed.is_empty() {
        println!("nothing is installed below {}", args.root.display());
    }
    for path in removed {
        println!("removed {}", path.display());
    }
    Ok(())
}

/// Removes what is installed on this machine, for the `uninstall` command of the protocol.
///
/// # Errors
/// As [`uninstall`].
pub fn remove_installed() -> Result<Vec<PathBuf>, Failure> {
    remove(Path::new("/"))
}

/// Writes every file.
fn place(root: &Path, manifest: &mut Manifest) -> Result<(), Failure> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let binary = fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    let files: [(&str, &[u8], u32); 4] = [
        ("usr/local/bin/hypertap", &binary, 0o755),
        ("etc/systemd/system/hypertap.service", SERVICE.as_bytes(), 0o644),
        ("etc/systemd/system/hypertap.socket", SOCKET.as_bytes(), 0o644),
        ("usr/share/polkit-1/actions/org.hypertap.helper.policy", POLICY.as_bytes(), 0o644),
    ];
    for (name, content, mode) in files {
        let path = root.join(name);
        make_parents(&path, manifest)?;
        write_new(&path, content, mode)?;
        manifest.files.push(path);
    }
    Ok(())
}

/// Makes the directories above a file that are not there, and lists them.
fn make_parents(path: &Path, manifest: &mut Manifest) -> Result<(), Failure> {
    let missing: Vec<&Path> = path.ancestors().skip(1).take_while(|parent| !parent.exists()).collect();
    for directory in missing.into_iter().rev() {
        fs::create_dir(directory).map_err(|error| refused(directory, error))?;
        manifest.directories.push(directory.to_owned());
    }
    Ok(())
}

/// Writes a file that must not be there yet, whole or not at all.
fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|e| refused(path, e))?;
    let written = file
        .write_all(content)
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = fs::remove_file(path);
        refused(path, error)
    })
}

fn refused(path: &Path, error: std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::PermissionDenied => Failure::new(
            Exit::Right,
            anyhow!("{} cannot be written: {error}; run `sudo hypertap install`", path.display()),
        ),
        ErrorKind::AlreadyExists => Failure::new(
            Exit::Taken,
            anyhow!("{} is there already and not ours; move it away and try again", path.display()),
        ),
        _ => Failure::new(Exit::Other, anyhow::Error::from(error).context(path.display().to_string())),
    }
}

fn make_group(manifest: &mut Manifest) -> Result<(), Failure> {
    let known = fs::read_to_string("/etc/group").unwrap_or_default();
    if known.lines().any(|line| line.split(':').next() == Some(GROUP)) {
        return Ok(());
    }
    let made = Command::new("groupadd").args(["--system", GROUP]).status();
    if !made.as_ref().is_ok_and(std::process::ExitStatus::success) {
        let text = anyhow!("cannot make the group {GROUP}: {made:?}; make it by hand and try again");
        return Err(Failure::new(Exit::Other, text));
    }
    manifest.group = Some(GROUP.to_owned());
    Ok(())
}

fn save(path: &Path, manifest: &mut Manifest) -> Result<(), Failure> {
    make_parents(path, manifest)?;
    let text = serde_json::to_vec_pretty(manifest).context("the manifest")?;
    write_new(path, &text, 0o644)
}

/// Takes back a half-done installation.
fn undo(manifest: &Manifest) {
    for file in &manifest.files {
        let _ = fs::remove_file(file);
    }
    for directory in manifest.directories.iter().rev() {
        let _ = fs::remove_dir(directory);
    }
    if let Some(group) = &manifest.group {
        let _ = Command::new("groupdel").arg(group).status();
    }
}

/// Removes what the manifest lists. Nothing listed is no error.
fn remove(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let path = root.join(MANIFEST);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(refused(&path, error)),
    };
    let manifest: Manifest = serde_json::from_slice(&text)
        .with_context(|| format!("{} is damaged; remove the files by hand", path.display()))?;
    if root == Path::new("/") && Path::new("/run/systemd/system").exists() {
        systemctl(&["disable", "--now", "hypertap.socket"]);
    }
    let mut removed = Vec::new();
    for file in &manifest.files {
        match fs::remove_file(file) {
            Ok(()) => removed.push(file.clone()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(refused(file, error)),
        }
    }
    if let Some(group) = &manifest.group {
        let _ = Command::new("groupdel").arg(group).status();
    }
    fs::remove_file(&path).map_err(|error| refused(&path, error))?;
    for directory in manifest.directories.iter().rev() {
        // Others may have put something there since.
        let _ = fs::remove_dir(directory);
    }
    if root == Path::new("/") && Path::new("/run/systemd/system").exists() {
        systemctl(&["daemon-reload"]);
    }
    Ok(removed)
}

/// Asks systemd; what it refuses is said, and the files stand all the same.
fn systemctl(words: &[&str]) {
    match Command::new("systemctl").args(words).status() {
        Ok(status) if status.success() => {}
        outcome => eprintln!("hypertap: `systemctl {}` did not succeed: {outcome:?}", words.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_removed_and_nothing_else() {
        let root = tempfile::tempdir().expect("a folder");
        let kept = root.path().join("usr/local/bin/other");
        fs::create_dir_all(kept.parent().expect("a parent")).expect("made");
        fs::write(&kept, "x").expect("written");
        install(&InstallArgs { root: root.path().to_owned(), no_start: true }).expect("installed");
        assert!(root.path().join("etc/systemd/system/hypertap.service").exists());
        uninstall(&UninstallArgs { root: root.path().to_owned() }).expect("uninstalled");
        assert!(kept.exists());
        assert!(!root.path().join("etc").exists() && !root.path().join("var").exists());
    }

    #[test]
    fn a_file_in_the_way_is_kept_and_the_rest_undone() {
        let root = tempfile::tempdir().expect("a folder");
        let foreign = root.path().join("etc/systemd/system/hypertap.socket");
        fs::create_dir_all(foreign.parent().expect("a parent")).expect("made");
        fs::write(&foreign, "theirs").expect("written");
        let failure = install(&InstallArgs { root: root.path().to_owned(), no_start: true })
            .expect_err("it is in the way");
        assert_eq!(failure.exit, Exit::Taken);
        assert_eq!(fs::read_to_string(&foreign).expect("still there"), "theirs");
        assert!(!root.path().join("usr").exists());
    }
}
