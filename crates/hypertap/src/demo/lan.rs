//! The demo's LAN: stations without a network interface, rights or a kernel's help find each other on one
//! Ethernet, each by the socket that it is used to.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::daemon::Daemon;
use super::report::Report;
use super::station::Station;

/// Where the stations by streams connect.
const STREAM: &str = "/run/hypertap-lan.sock";
/// Where the one by datagrams sends.
const DATAGRAM: &str = "/run/hypertap-lan-dgram.sock";
/// Where that one receives.
const OWN: &str = "/run/hypertap-station.sock";

/// Shows it.
///
/// # Errors
/// The first step that did not do what it should.
pub fn show(report: &mut Report, time: Duration) -> anyhow::Result<()> {
    let daemon = report.step("lan", "a switch starts, with neither rights nor an interface", || {
        let streams = format!("--listen={STREAM},framing=le16");
        let datagrams = format!("--listen={DATAGRAM},framing=datagram");
        let daemon = Daemon::start(&["tap", "--no-host", "--keep", "--max-clients=3", &streams, &datagrams])?;
        Ok((daemon, format!("hypertap tap --no-host, listens on {STREAM} and {DATAGRAM}")))
    })?;
    let [one, two, three] = report.step("stations", "three programs connect, as emulators do", || {
        let (streams, datagrams) = (Path::new(STREAM), Path::new(DATAGRAM));
        let three = Station::datagram(datagrams, Path::new(OWN), 3)?;
        three.announce()?;
        let stations = [Station::stream(streams, 1)?, Station::stream(streams, 2)?, three];
        Ok((stations, "two by a stream socket, one by datagrams".to_owned()))
    })?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for station in [&two, &three] {
            scope.spawn(|| station.serve(|| stop.load(Ordering::Relaxed)));
        }
        // The threads end whatever becomes of this.
        let outcome = [(&two, "by its stream"), (&three, "by its datagrams")]
            .into_iter()
            .try_for_each(|(neighbour, how)| meet(report, &one, neighbour, how, time));
        stop.store(true, Ordering::Relaxed);
        outcome
    })?;
    drop((one, two, three));
    daemon.stop()
}

/// One station finds another by ARP, and pings it.
fn meet(
    report: &mut Report,
    one: &Station,
    neighbour: &Station,
    how: &str,
    time: Duration,
) -> anyhow::Result<()> {
    let address = neighbour.address();
    let mac = report.step("arp", &format!("a station asks who has {address}"), || {
        let mac = one.resolve(address)?;
        Ok((mac, format!("{mac}, says the neighbour {how}")))
    })?;
    let bar = report.bar("measuring pings a second, there and back", time);
    let rate = one.ping((mac, address), time, |done| bar.set_position(done))?;
    bar.finish_and_clear();
    report.done(
        "ping",
        "64-byte packets, to the neighbour and back, 64 in flight",
        &format!("{} a second ({} answered, {} lost)", rate.per_second(), rate.returned, rate.lost()),
    );
    Ok(())
}
