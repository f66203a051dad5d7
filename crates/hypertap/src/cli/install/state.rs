//! The directory in which root's tunnels keep their sockets and their journal, once nobody needs it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hypertap_platform::process::effective_uid;

use crate::cli::status::ROOT_STATE_DIR;

/// Removes the directory, if it is root's and only what hypertap leaves there is in it: the journal's
/// lock. Where this process is a daemon that is about to end, its own things are there as well, and
/// the directory itself goes with the last of them.
pub fn remove_unless_used() {
    if effective_uid() == 0
        && let Err(error) = remove(Path::new(ROOT_STATE_DIR), 0)
    {
        tracing::debug!(%error, "{ROOT_STATE_DIR} stays");
    }
}

fn remove(directory: &Path, owner: u32) -> io::Result<()> {
    let found = fs::symlink_metadata(directory)?;
    if !found.is_dir() || found.uid() != owner {
        return Err(io::Error::other("it is not ours"));
    }
    let own = format!("instance-{}", std::process::id());
    let is_others =
        |name: &OsString| name.to_str().is_none_or(|name| name.starts_with("instance-") && *name != own);
    if names(directory)?.iter().any(is_others) {
        return Err(io::Error::other("another tunnel uses it"));
    }
    let journal = directory.join("journal");
    if names(&journal).is_ok_and(|names| names == ["lock"]) {
        fs::remove_file(journal.join("lock"))?;
    }
    // Neither goes while there is anything in it.
    let _ = fs::remove_dir(journal);
    fs::remove_dir(directory)
}

fn names(directory: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_goes_with_the_journals_lock_and_with_nothing_else() {
        let own = format!("instance-{}", std::process::id());
        let cases: [(&[&str], bool); 6] = [
            (&[], true),
            (&["journal/lock"], true),
            (&["journal/lock", "journal/7-1.json"], false),
            (&["journal/lock", "instance-1/data.sock"], false),
            (&["journal/lock", "other"], false),
            (&["journal/lock", &format!("{own}/data.sock")], false),
        ];
        for (files, goes) in cases {
            let folder = tempfile::tempdir().expect("a folder");
            let directory = folder.path().join("hypertap");
            fs::create_dir(&directory).expect("ours");
            for file in files {
                let path = directory.join(file);
                fs::create_dir_all(path.parent().expect("it has one")).expect("ours");
                fs::write(path, "").expect("ours");
            }
            assert!(remove(&directory, effective_uid() + 1).is_err(), "another's");
            assert_eq!(remove(&directory, effective_uid()).is_ok(), goes, "{files:?}");
            assert_eq!(directory.exists(), !goes, "{files:?}");
            let is_used = files.iter().any(|file| file.contains("json") || file.contains("instance-1/"));
            assert_eq!(directory.join("journal/lock").exists(), is_used, "{files:?}");
        }
    }
}
