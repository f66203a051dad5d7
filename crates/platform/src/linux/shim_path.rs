//! Whether a name that a program opens is that of the TUN device.
//!
//! By name, for the device may be missing, or closed to us; and by what is there, for it may have
//! another name. The program's own folders count: its working one, its root, and the one that it names
//! by a descriptor.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use super::shim_caller::Asker;

/// How it is called, everywhere and on some systems of old.
const NAMES: [&str; 2] = ["/dev/net/tun", "/dev/misc/net/tun"];
/// Its numbers (Documentation/admin-guide/devices.txt).
const NUMBERS: (u32, u32) = (10, 200);
/// How many symbolic links are followed; the kernel's own limit is 40.
const LINKS: usize = 8;

/// Whether the name at `name`, seen from the folder that is open as `folder`, is the TUN device's.
pub(super) fn is_tun(asker: &Asker<'_>, folder: i32, name: u64) -> bool {
    let Ok(name) = asker.name(name) else { return false };
    if name.as_os_str().is_empty() {
        return false;
    }
    let root = fs::read_link(asker.proc("root")).unwrap_or_default();
    let path = if name.is_absolute() {
        plain(&name)
    } else {
        let base = if folder == libc::AT_FDCWD { "cwd".to_owned() } else { format!("fd/{folder}") };
        let Ok(base) = fs::read_link(asker.proc(&base)) else { return false };
        // What /proc names is seen from our root, and the name from the program's.
        let base = base.strip_prefix(&root).map(|inner| Path::new("/").join(inner)).unwrap_or(base);
        plain(&base.join(name))
    };
    is_called_so(&path) || leads_there(&asker.proc("root"), path)
}

/// Follows links by their text, as far as their target is not there to be looked at.
fn leads_there(root: &Path, mut path: PathBuf) -> bool {
    for _ in 0..LINKS {
        let seen = root.join(path.strip_prefix("/").unwrap_or(&path));
        let Ok(file) = fs::symlink_metadata(&seen) else { return false };
        if !file.is_symlink() {
            return file.file_type().is_char_device() && is_device(file.rdev());
        }
        let Ok(target) = fs::read_link(&seen) else { return false };
        path = plain(&path.parent().unwrap_or(Path::new("/")).join(target));
        if is_called_so(&path) {
            return true;
        }
    }
    false
}

fn is_called_so(path: &Path) -> bool {
    NAMES.iter().any(|name| path == Path::new(name))
}

fn is_device(number: u64) -> bool {
    (libc::major(number), libc::minor(number)) == NUMBERS
}

/// A path without `.` and `..`, which are taken for what they are where no folder is a link.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_is_told_however_it_is_written() {
        for path in ["/dev/net/tun", "//dev/./net//tun", "/dev/../dev/net/../net/tun", "/../dev/net/tun"] {
            assert!(is_called_so(&plain(Path::new(path))), "{path}");
        }
        for path in ["/dev/net", "/dev/net/tun/x", "/tmp/dev/net/tun", "/dev/null"] {
            assert!(!is_called_so(&plain(Path::new(path))), "{path}");
        }
    }

    #[test]
    fn a_link_to_the_name_is_the_device_even_where_there_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        symlink("second", &first).expect("a link");
        symlink("/dev/net/tun", &second).expect("a link");
        assert!(leads_there(Path::new("/"), first));
        let (round, other) = (folder.path().join("round"), folder.path().join("other"));
        symlink("round", &round).expect("a link");
        symlink("/dev/null", &other).expect("a link");
        assert!(!leads_there(Path::new("/"), round));
        assert!(!leads_there(Path::new("/"), other));
    }
}
