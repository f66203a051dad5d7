//! The IPv4 addresses that services have on this machine, kept from one run to the next: in the state
//! directory, a file for each node: several in namespaces of their own share the directory, and may call their
//! interfaces the same.
//!
//! Programs keep addresses longer than DNS says, so a service is to have the one that it had before. The
//! file is written some time after an address is given, for all that were given meanwhile, and at the
//! end, with what was used last. A node without the file, or without a place for it, gives addresses anew.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, iter};

use hypertap_engine::services::local_ipv4::{LocalIpv4, LocalIpv4State};
use hypertap_platform::process::is_root;
use hypertap_wire::peer_id::PeerId;
use ipnet::Ipv4Net;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use super::state::Node;

/// For how long addresses that are given are gathered before they are written down.
const GATHER: Duration = Duration::from_secs(5);
/// The largest file that is read, in bytes: an entry is some 150 bytes at most.
const MAX_FILE: u64 = 16 << 20;

/// Where the addresses are kept.
#[derive(Debug)]
pub struct LocalAddresses {
    /// `None` when there is no place for it.
    file: Option<PathBuf>,
    given: Notify,
    /// Held while the file is written.
    writing: Mutex<()>,
    has_failed: AtomicBool,
}

impl LocalAddresses {
    /// Those of a node.
    pub fn of(id: &PeerId) -> Self {
        let file = state_directory().map(|directory| directory.join(format!("{id}.addresses.json")));
        if file.is_none() {
            tracing::warn!(
                "services' local IPv4 addresses will be others after a restart: there is no state directory; \
                 set STATE_DIRECTORY"
            );
        }
        Self::at(file)
    }

    fn at(file: Option<PathBuf>) -> Self {
        Self { file, given: Notify::new(), writing: Mutex::new(()), has_failed: AtomicBool::new(false) }
    }

    /// What was kept, as far as it is of this network and not more than the limit.
    pub fn read(&self, net: Ipv4Net, limit: usize) -> LocalIpv4 {
        let Some(file) = &self.file else { return LocalIpv4::new(net, limit) };
        match read(file) {
            Ok(state) => LocalIpv4::restore(net, limit, state),
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    tracing::warn!(
                        file = %file.display(), %error,
                        "cannot read which local IPv4 addresses services had: they are given anew"
                    );
                }
                LocalIpv4::new(net, limit)
            }
        }
    }

    /// Says that an address was given.
    pub fn given(&self) {
        self.given.notify_one();
    }

    /// Writes down what is given, for ever.
    pub async fn keep(self: Arc<Self>, node: Arc<Node>) {
        loop {
            self.given.notified().await;
            tokio::time::sleep(GATHER).await;
            self.write(&node).await;
        }
    }

    /// Writes down what there is now.
    pub async fn write(self: &Arc<Self>, node: &Arc<Node>) {
        let (this, node) = (Arc::clone(self), Arc::clone(node));
        let writing = spawn_blocking(move || {
            let _alone = this.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(file) = &this.file else { return };
            let state = {
                let addresses = &node.tables().local_ipv4;
                if addresses.is_empty() {
                    return;
                }
                addresses.state()
            };
            this.report(file, write(file, &state));
        });
        // It does not panic, and nobody stops it.
        let _ = writing.await;
    }

    /// Complains of the first failure, and of the next once it went well in between.
    fn report(&self, file: &Path, written: io::Result<()>) {
        let has_failed = self.has_failed.swap(written.is_err(), Ordering::Relaxed);
        if let Err(error) = written
            && !has_failed
        {
            tracing::warn!(
                file = %file.display(), %error,
                "cannot keep services' local IPv4 addresses: they will be others after a restart"
            );
        }
    }
}

/// Where state is kept that outlives the machine's start: what the service manager says (systemd.exec(5)),
/// else `/var/lib/hypertap/nodes` for root, else the user's own folder (XDG base directories).
fn state_directory() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(given) = variable("STATE_DIRECTORY") {
        return env::split_paths(&given).next();
    }
    if is_root() {
        return Some("/var/lib/hypertap/nodes".into());
    }
    let home = || variable("HOME").map(|home| Path::new(&home).join(".local/state"));
    let base = variable("XDG_STATE_HOME").map(PathBuf::from).or_else(home)?;
    Some(base.join("hypertap"))
}

fn read(file: &Path) -> io::Result<LocalIpv4State> {
    let mut text = Vec::new();
    File::open(file)?.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Puts a new file in the place of the old one.
fn write(file: &Path, state: &LocalIpv4State) -> io::Result<()> {
    let directory = file.parent().ok_or(ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let new = file.with_extension("new");
    let written = (|| {
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let text: Vec<u8> = serde_json::to_vec(state)?.into_iter().chain(iter::once(b'\n')).collect();
        out.write_all(&text)?;
        out.sync_all()?;
        fs::rename(&new, file)
    })();
    written.inspect_err(|_| drop(fs::remove_file(&new)))
}

#[cfg(test)]
mod tests {
    use hypertap_engine::services::local_ipv4::LocalService;
    use hypertap_wire::service_address::{LOCAL_SERVICES_IPV4, NodeId, ServiceId};

    use super::*;

    fn service(number: u8) -> LocalService {
        let name = format!("s{number}").parse().expect("a label");
        LocalService { node: NodeId([1; 4]), service: ServiceId::of(&name), name: Some(name) }
    }

    #[test]
    fn what_is_written_is_read_again_and_in_no_part() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("made/here/hs0.addresses.json");
        let addresses = LocalAddresses::at(Some(file.clone()));
        let mut given = addresses.read(LOCAL_SERVICES_IPV4, 10);
        assert!(given.is_empty(), "there is no file");
        let before: Vec<_> = (0..3).map(|number| given.allocate(&service(number), Duration::ZERO)).collect();
        write(&file, &given.state()).expect("the folder is ours");
        let mut again = addresses.read(LOCAL_SERVICES_IPV4, 10);
        let after: Vec<_> =
            (0..3).rev().map(|number| again.allocate(&service(number), Duration::ZERO)).rev().collect();
        assert_eq!(before, after);

        // Nobody sees half of it: what cannot be finished leaves the old one.
        fs::create_dir(file.with_extension("new")).expect("the folder is ours");
        write(&file, &LocalIpv4State::default()).expect_err("its place is taken");
        assert_eq!(addresses.read(LOCAL_SERVICES_IPV4, 10).len(), 3);
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_begun_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("hs0.addresses.json");
        let addresses = LocalAddresses::at(Some(file.clone()));
        for text in ["", "{}", "[{\"address\":\"198.18.0.1\"}]", "[", "\u{0}", &"[".repeat(100_000)] {
            fs::write(&file, text).expect("the folder is ours");
            assert!(addresses.read(LOCAL_SERVICES_IPV4, 10).is_empty(), "{text:.20}");
        }
        assert!(LocalAddresses::at(None).read(LOCAL_SERVICES_IPV4, 10).is_empty());
    }
}
