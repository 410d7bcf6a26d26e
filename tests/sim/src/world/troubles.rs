//! What breaks at times that the plan says: cuts, disks, clocks.

use std::time::Duration;

use super::server::Server;
use crate::client::sleep;
use crate::plan::{Cut, DiskTrouble, Ends, Jump, Plan, Wrong};
use crate::{DiskManner, KvManner, SimRuntime};

/// All computers of a world.
pub(super) struct Computers {
    pub(super) servers: Vec<Server>,
    pub(super) clients: Vec<SimRuntime>,
    pub(super) peers: Vec<SimRuntime>,
    pub(super) names: SimRuntime,
}

impl Computers {
    fn of(&self, end: Ends) -> Option<SimRuntime> {
        match end {
            Ends::Server(n) => self.servers.get(n).map(|s| s.machine.runtime().clone()),
            Ends::Client(n) => self.clients.get(n).cloned(),
            Ends::Peer(n) => self.peers.get(n).cloned(),
            Ends::Names => Some(self.names.clone()),
        }
    }
}

/// Lets it all break.
pub(super) fn begin(observer: &SimRuntime, plan: &Plan, computers: &Computers) {
    for cut in &plan.cuts {
        if let (Some(from), Some(to)) = (computers.of(cut.from), computers.of(cut.to)) {
            observer.spawn("cut", Box::pin(separate(observer.clone(), from, to, *cut)));
        }
    }
    for trouble in &plan.disks {
        if let Some(server) = computers.servers.get(trouble.server) {
            let fails = fail(observer.clone(), server.clone(), *trouble);
            observer.spawn("disk", Box::pin(fails));
        }
    }
    for jump in &plan.jumps {
        let sets = set(observer.clone(), computers.servers.clone(), *jump);
        observer.spawn("clock", Box::pin(sets));
    }
}

async fn separate(observer: SimRuntime, from: SimRuntime, to: SimRuntime, cut: Cut) {
    let sim = observer.sim();
    sleep(&observer, Duration::from_millis(cut.at_ms)).await;
    sim.cut(&from, &to);
    if cut.both {
        sim.cut(&to, &from);
    }
    sleep(&observer, Duration::from_millis(cut.for_ms)).await;
    sim.rejoin(&from, &to);
}

async fn fail(observer: SimRuntime, server: Server, trouble: DiskTrouble) {
    sleep(&observer, Duration::from_millis(trouble.at_ms)).await;
    let (rows, disk) = server.machine.parts();
    let (mut files, mut kv) = (DiskManner::default(), KvManner::default());
    match trouble.what {
        Wrong::Full(room) => disk.set_space(Some(disk.used() + room)),
        Wrong::Reads(n) => files.read_error_one_in = n,
        Wrong::Writes(n) => files.write_error_one_in = n,
        Wrong::Syncs(n) => files.sync_error_one_in = n,
        Wrong::Names(n) => files.name_error_one_in = n,
        Wrong::Rows(n) => kv.commit_error_one_in = n,
        Wrong::RowSyncs(n) => kv.sync_error_one_in = n,
    }
    rows.set_manner(kv);
    disk.set_manner(files);
    sleep(&observer, Duration::from_millis(trouble.for_ms)).await;
    mend(&server);
}

/// Nothing is wrong with the disk of a server any more.
pub(super) fn mend(server: &Server) {
    // A crash may have put others in their place.
    let (rows, disk) = server.machine.parts();
    disk.set_space(None);
    disk.set_manner(DiskManner::default());
    rows.set_manner(KvManner::default());
}

/// What is done is remembered for days only: it is looked at before days pass.
async fn set(observer: SimRuntime, servers: Vec<Server>, jump: Jump) {
    sleep(&observer, Duration::from_millis(jump.at_ms)).await;
    servers.iter().for_each(Server::settle);
    let by = Duration::from_secs(jump.seconds);
    match jump.back {
        true => observer.sim().jump_utc_back(by),
        false => observer.sim().jump_utc(by),
    }
}
