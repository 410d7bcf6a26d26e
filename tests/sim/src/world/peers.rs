//! Other people's servers of a world, and its name server.

use mox_dns::MasterFile;
use mox_driver::Runtime;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::peers::{
    BrokenTls, Busy, Confused, Dropper, Flaw, Greylister, Hanger, Leaver, Ledger, Manner, Picky,
    Plain, Silent, Smuggler, Talker, Tarpit, Until, serve,
};
use crate::plan::{Flaws, PeerManner, PeerPlan};
use crate::{DnsManner, Sim, SimRuntime, name_server, names};

/// The computer of the name server.
const NAMES: [u8; 4] = [10, 0, 9, 1];

/// Where the name server listens.
pub(super) fn name_server_address() -> SocketAddr {
    (NAMES, 53).into()
}

/// Calls the name server of a world to life, which errs like this; its computer.
pub(super) fn name_server_of(sim: &Sim, manner: Option<DnsManner>) -> io::Result<SimRuntime> {
    let on = sim.computer("names", NAMES);
    let zone = MasterFile::parse(names::zone()).map_err(io::Error::other)?;
    name_server(&on, zone, manner.unwrap_or_else(DnsManner::direct))?;
    Ok(on)
}

/// Calls somebody else's server to life.
pub(super) fn begin(sim: &Sim, n: usize, plan: &PeerPlan) -> io::Result<(SimRuntime, Ledger)> {
    let on = sim.computer("peer", names::peer_ip(n));
    let tls = plan.tls.then(|| on.server_tls(&[names::peer_host(n)]));
    let manner = manner(&on, n, plan);
    let ledger = serve(&on, 25, names::peer_host(n), tls, manner)?;
    Ok((on, ledger))
}

fn manner(on: &SimRuntime, n: usize, plan: &PeerPlan) -> Box<dyn Manner> {
    let until = on.now().mono + Duration::from_secs(plan.until_s);
    let odd: Box<dyn Manner> = match &plan.manner {
        PeerManner::Plain => Box::new(Plain),
        PeerManner::Greylister(seconds) => Box::new(Greylister::new(Duration::from_secs(*seconds))),
        PeerManner::Tarpit(ms) => Box::new(Tarpit::new(Duration::from_millis(*ms))),
        PeerManner::Busy(stage) => Box::new(Busy::new(*stage, until)),
        PeerManner::Dropper {
            keeps,
            resets: false,
            times,
        } => Box::new(Dropper::new(*keeps, *times)),
        PeerManner::Dropper { keeps, times, .. } => Box::new(Dropper::resetting(*keeps, *times)),
        PeerManner::BrokenTls(flaw) => Box::new(BrokenTls(match flaw {
            Flaws::Refuses => Flaw::Refuses,
            Flaws::Ignores => Flaw::Ignores,
            Flaws::Garbage => Flaw::Garbage,
            Flaws::Injects => Flaw::Injects,
            Flaws::Hangs => Flaw::Hangs,
            Flaws::Closes => Flaw::Closes,
            Flaws::Leaves => Flaw::Leaves(on.server_tls(&[names::peer_host(n)])),
            Flaws::Presents => Flaw::Presents(on.expired_tls(&["somebody.else.example"])),
        })),
        PeerManner::Smuggler(stage, extra) => Box::new(Smuggler::new(*stage, extra)),
        PeerManner::Hanger(stage, keeps) => Box::new(Hanger::new(*stage, *keeps)),
        PeerManner::Talker(stage, how) => Box::new(Talker::new(*stage, *how)),
        PeerManner::Confused(stage, says) => Box::new(Confused::new(*stage, says.as_bytes())),
        PeerManner::Leaver(stage, times) => Box::new(Leaver::new(*stage, *times)),
        // For good.
        PeerManner::Picky => return Box::new(Picky::new([("x0", "550 5.1.1 no such user")])),
        PeerManner::Silent => Box::new(Silent),
    };
    Box::new(Until::new(odd, until))
}
