//! From the command line to a daemon that may listen: rights, leftovers, sockets, in that order.
//!
//! Whatever needs root happens here, before `--user` gives it up for good.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use hypertap_platform::activation::Activated;
use hypertap_platform::helper::{self, Via};
use hypertap_platform::peer::{Allowed, starting_user};
use hypertap_platform::user::{User, drop_to};
use hypertap_platform::{MachineError, Privileged, Recovered};

use super::replacing::Replacing;
use super::sockets::{ControlPath, Sockets, check_data, is_control_socket};
use crate::cli::tunnel::{OnDisconnect, TunnelArgs};
use crate::exit::{Exit, Failure};
use crate::log;
use crate::socket_file::remove_dead;

/// The data socket's file in the instance's directory.
pub const DATA_SOCKET: &str = "data.sock";

/// What a tunnel daemon is run with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The interface's name, unless `start` says one.
    pub name: Option<String>,
    /// Its MTU in bytes, unless `start` says one.
    pub mtu: u32,
    /// Its number of queues.
    pub queues: u16,
    /// Whether the kernel's offload is used.
    pub offload: bool,
    /// Whether another instance's interface is taken over.
    pub replace: bool,
    /// The UDP port that packets for the program go to, unless `start` says one.
    pub receive_port: u16,
    /// What the end of the owner's connection does.
    pub on_disconnect: OnDisconnect,
    /// Sockets with this mark pass the tunnel by.
    pub bypass_mark: u32,
    /// Where journal and sockets are.
    pub state_dir: PathBuf,
    /// Where this instance's own sockets are.
    pub instance_dir: PathBuf,
    /// The Unix command socket's own path.
    pub control: Option<PathBuf>,
    /// Who may connect.
    pub allowed: Arc<Allowed>,
}

impl Settings {
    /// A half of this daemon's own that takes interfaces over, where that is wanted.
    pub fn replacing(&self, half: Box<dyn Privileged>) -> Box<dyn Privileged> {
        replacing(half, self.replace, &self.state_dir, self.control.as_deref())
    }
}

/// The half that takes interfaces over where that is `wanted`: from the instances in the state directory,
/// but the one whose socket is `own`.
pub fn replacing(
    half: Box<dyn Privileged>,
    wanted: bool,
    state_dir: &Path,
    own: Option<&Path>,
) -> Box<dyn Privileged> {
    if !wanted {
        return half;
    }
    Box::new(Replacing { half, state_dir: state_dir.to_owned(), own: own.map(Path::to_owned) })
}

/// Everything a daemon starts with.
pub struct Prepared {
    /// What it is run with.
    pub settings: Settings,
    /// What it listens on.
    pub sockets: Sockets,
    /// The privileged half, where it can be had already.
    pub half: Option<Box<dyn Privileged>>,
    /// Whether rights were given up, so that the half cannot be had again.
    pub dropped: bool,
}

/// Prepares a daemon, on the sockets that a service manager opened where there are any.
///
/// # Errors
/// Each start-up problem, as one sentence with its exit code.
pub async fn prepare(args: &TunnelArgs, activated: Activated) -> Result<Prepared, Failure> {
    check_data(args.data, args.receive_port)?;
    let mut settings = settings(args)?;
    let user = match &args.user {
        None => None,
        Some(name) => Some(User::by_name(name).map_err(|error| Failure::new(Exit::Usage, error))?),
    };
    let has_rights = hypertap_platform::rights::rights().net_admin;
    if has_rights {
        // One that cannot be used is refused before anything in it is touched.
        drop(in_process(&settings.state_dir)?);
        recover_as_far_as_possible(&settings.state_dir).await;
    } else {
        sweep_instances(&settings.state_dir);
    }
    let control = match (&args.control, args.no_control) {
        (Some(path), _) => ControlPath::Exact(path.clone()),
        (None, true) => ControlPath::None,
        (None, false) => ControlPath::In(settings.state_dir.clone()),
    };
    let sockets = Sockets::open(activated, args.command, &control, args.data)?;
    // That of the service manager's socket, or the port that stands for 0.
    check_data(sockets.data.local_addr().context("the data socket")?, args.receive_port)?;
    settings.control = sockets.control_path();
    make_instance_dir(&settings.instance_dir, user.as_ref())?;
    let half = match &user {
        Some(user) => Some(split(&settings, &sockets, user).await?),
        None if has_rights => Some(settings.replacing(in_process(&settings.state_dir)?)),
        None => None,
    };
    Ok(Prepared { settings, sockets, half, dropped: user.is_some() })
}

fn usage(error: anyhow::Error) -> Failure {
    Failure::new(Exit::Usage, error)
}

fn settings(args: &TunnelArgs) -> Result<Settings, Failure> {
    let state_dir = match &args.state_dir {
        Some(directory) => directory.clone(),
        None => hypertap_platform::default_state_dir(),
    };
    make_state_dir(&state_dir)?;
    let allowed = Allowed::new(starting_user(), args.group.as_deref())
        .map_err(|error| usage(anyhow!("--group {}: {error}", args.group.as_deref().unwrap_or_default())))?;
    Ok(Settings {
        name: args.name.clone(),
        mtu: args.mtu,
        queues: args.queues,
        offload: !args.no_offload,
        replace: args.replace,
        receive_port: args.receive_port,
        on_disconnect: args.on_disconnect,
        bypass_mark: args.bypass_mark,
        instance_dir: state_dir.join(format!("instance-{}", std::process::id())),
        state_dir,
        control: None,
        allowed: Arc::new(allowed),
    })
}

/// Makes the state directory. One that is there already must be ours or root's: in a place that all
/// can write to, somebody else's would let him decide what the journal says.
///
/// # Errors
/// When it cannot be made, or is somebody else's.
pub fn make_state_dir(directory: &Path) -> Result<(), Failure> {
    let named =
        || format!("cannot use {} as state directory; choose another with --state-dir", directory.display());
    fs::DirBuilder::new().recursive(true).mode(0o755).create(directory).with_context(named)?;
    let found = fs::symlink_metadata(directory).with_context(named)?;
    let owner_is_fine = found.uid() == 0 || found.uid() == hypertap_platform::process::effective_uid();
    if found.is_dir() && owner_is_fine {
        return Ok(());
    }
    let what = if found.is_dir() { "it belongs to somebody else" } else { "it is no directory" };
    Err(Failure::new(Exit::Taken, anyhow!(what).context(named())))
}

/// The privileged half in this process.
///
/// # Errors
/// When the journal cannot be kept.
pub fn in_process(state_dir: &Path) -> Result<Box<dyn Privileged>, Failure> {
    let half = hypertap_platform::in_process(state_dir)
        .with_context(|| format!("cannot keep a journal in {}", state_dir.display()))?;
    Ok(half)
}

/// Removes what instances that a SIGKILL ended left on the machine and in the state directory.
///
/// # Errors
/// The first thing that could not be removed from the machine; the rest was still tried.
pub async fn recover(state_dir: &Path) -> Result<Vec<Recovered>, MachineError> {
    let recovered = hypertap_platform::recover(state_dir).await;
    sweep_instances(state_dir);
    recovered
}

/// The same for one who has more to do than that, and to whom what is left is no hindrance.
pub async fn recover_as_far_as_possible(state_dir: &Path) {
    match recover(state_dir).await {
        Ok(recovered) => {
            for undone in recovered {
                tracing::warn!("an earlier hypertap was killed; removed {undone}");
            }
        }
        Err(error) => tracing::error!(
            %error, "not all that an earlier hypertap left could be removed; `hypertap recover` tries it again",
        ),
    }
}

/// Removes the directories and sockets of instances that a SIGKILL ended. What is not ours to remove stays.
fn sweep_instances(state_dir: &Path) {
    let mut sockets = Vec::new();
    for entry in fs::read_dir(state_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(pid) = name.strip_prefix("instance-") {
            if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
                let _ = remove_instance(&entry.path());
            }
        } else if is_control_socket(name) {
            sockets.push(entry.path());
        }
    }
    remove_dead(&sockets);
}

/// Removes an instance's directory with what an instance puts there.
fn remove_instance(directory: &Path) -> std::io::Result<()> {
    let _ = fs::remove_file(directory.join(DATA_SOCKET));
    fs::remove_dir(directory)
}

fn make_instance_dir(directory: &Path, user: Option<&User>) -> Result<(), Failure> {
    // Where it is there already, a container's earlier life had our process id.
    let _ = remove_instance(directory);
    let made = fs::DirBuilder::new().mode(0o755).create(directory).and_then(|()| match user {
        Some(user) => chown(directory, Some(user.uid()), Some(user.gid())),
        None => Ok(()),
    });
    Ok(made.with_context(|| format!("cannot make {}", directory.display()))?)
}

/// Starts the helper, then drops this process's rights for good.
async fn split(settings: &Settings, sockets: &Sockets, user: &User) -> Result<Box<dyn Privileged>, Failure> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut leftovers = vec![settings.instance_dir.join(DATA_SOCKET), settings.instance_dir.clone()];
    leftovers.extend(sockets.control.as_ref().and_then(|control| control.path()).map(Path::to_owned));
    let mut more = log::arguments().to_vec();
    if settings.replace {
        more.push("--replace".into());
        more.extend(settings.control.iter().flat_map(|own| ["--own".into(), own.clone().into_os_string()]));
    }
    let started = helper::spawn(&program, Via::Direct, &settings.state_dir, &leftovers, &more)?;
    drop_to(user).map_err(anyhow::Error::from)?;
    Ok(Box::new(started.connect().await?))
}
