//! The person whom polkit asks.

use std::collections::HashMap;
use std::fs;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::mpsc;
use std::thread;

use hypertap_tests::{Daemon, TIME};
use nix::unistd::Pid;
use zbus::export::futures_core::Stream;
use zbus::export::serde::Serialize;
use zbus::message::Type;
use zbus::wire::DynamicType;
use zbus::{Connection, Message, MessageStream, OwnedVariant, Variant};

/// What polkit asks: action, message, icon, details, cookie, and whose password would do.
type Question = (String, String, String, HashMap<String, String>, String, Vec<Identity>);
type Identity = (String, HashMap<String, OwnedVariant>);

/// What the person does when asked.
#[derive(Clone, Copy, Debug)]
pub enum Person {
    /// Closes the dialog.
    Dismisses,
    /// Cannot prove to be an administrator.
    Fails,
    /// Gives an administrator's password.
    Authenticates,
}

/// Plays the person at the desktop on which a daemon runs. Returns once polkitd knows; what the
/// dialog says is received from the channel.
pub fn agent(daemon: &Daemon, person: Person) -> mpsc::Receiver<String> {
    let (ready, is_ready) = mpsc::sync_channel(1);
    let (asked, questions) = mpsc::sync_channel(8);
    let pid = daemon.pid();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(answer(pid, person, &ready, &asked)).expect("polkitd speaks with its agent");
    });
    is_ready.recv_timeout(TIME).expect("polkitd takes the agent");
    questions
}

async fn answer(
    pid: Pid,
    person: Person,
    ready: &mpsc::SyncSender<()>,
    asked: &mpsc::SyncSender<String>,
) -> zbus::Result<()> {
    let bus = Connection::system().await?;
    let mut calls = MessageStream::from(&bus);
    authority(&bus, "RegisterAuthenticationAgent", &(process(pid), "C", "/agent")).await?;
    ready.send(()).expect("the test waits");
    while let Some(call) = poll_fn(|context| Pin::new(&mut calls).poll_next(context)).await {
        let call = call?;
        let header = call.header();
        let is_question = header.member().is_some_and(|member| member == "BeginAuthentication");
        if call.message_type() != Type::MethodCall || !is_question {
            continue;
        }
        let body = call.body();
        let (action, message, _, _, cookie, identities): Question = body.deserialize()?;
        assert_eq!(action, "org.hypertap.helper");
        let error = |name: &str| format!("org.freedesktop.PolicyKit1.Error.{name}");
        match person {
            Person::Dismisses => bus.reply_error(&header, error("Cancelled"), &("closed")).await?,
            Person::Fails => bus.reply_error(&header, error("Failed"), &("wrong")).await?,
            Person::Authenticates => {
                // polkit's own setuid program says this once the password was right.
                let identity = identities.into_iter().next().expect("somebody may");
                authority(&bus, "AuthenticationAgentResponse2", &(0_u32, cookie, identity)).await?;
                bus.reply(&header, &()).await?;
            }
        }
        // A test that does not look at the questions may have had more of them than there is room for.
        let _ = asked.try_send(message);
    }
    Ok(())
}

/// Calls a method of polkitd's.
async fn authority<B>(bus: &Connection, method: &str, body: &B) -> zbus::Result<Message>
where
    B: Serialize + DynamicType + Sync,
{
    let object = "/org/freedesktop/PolicyKit1/Authority";
    let interface = "org.freedesktop.PolicyKit1.Authority";
    bus.call_method(Some("org.freedesktop.PolicyKit1"), object, Some(interface), method, body).await
}

/// A process as polkit names one: the agent is asked for what this one does.
fn process(pid: Pid) -> (&'static str, HashMap<&'static str, Variant<'static>>) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // proc_pid_stat(5): field 22, and the name, field 2, may hold anything but ends with the last bracket.
    let born = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19)).expect("field 22");
    let details = HashMap::from([
        ("pid", Variant::from(u32::try_from(pid.as_raw()).expect("a process id"))),
        ("start-time", Variant::from(born.parse::<u64>().expect("a number"))),
    ]);
    ("unix-process", details)
}
