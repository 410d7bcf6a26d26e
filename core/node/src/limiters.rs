//! What one side may ask of the server, of all listeners together, and what became of those who asked too much.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use mox_driver::Runtime;
use mox_machine::{Now, Utc};
use mox_mailbox::{Dated, DecisionBudget};
use mox_server::config::Network;
use mox_server::limiter::{
    Admission, FailedLogins, Limiter, LoginLimits, NetworkClass, Networks, Rate, Rates,
    RecordShare, RecordShares, Refusals, RefusedMinute, RefusedService, Ticket,
};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{Receiving, Service};
use crate::connections::{Among, ConnectionLimits, Connections, Full, Place};
use crate::node::Inner;
use crate::tls::sleep;

/// How long who failed to log in waits for the answer: a client that tries again at once is slower then.
const FAILED_DELAY: Duration = Duration::from_secs(1);
/// How many are made to wait at a time; beyond it answers come at once.
const DELAYED_MAX: usize = 1_000;
/// How long an attempt waits for others of its address that are being judged.
const WAIT: Duration = Duration::from_millis(100);
/// How often.
const WAITS_MAX: u32 = 100;
/// Recipients that are not here which one address may name within an hour; each has a record. Larger networks may name more.
const UNKNOWN_RECIPIENTS: Rate = Rate {
    events: 100,
    within: Duration::from_secs(3600),
};
/// What else of one address may be refused within an hour before there is a message: senders who cannot be answered, recipients
/// without the TLS that is demanded. Each has a record, and a sender costs questions to name servers.
const EARLY_REFUSALS: Rate = Rate {
    events: 100,
    within: Duration::from_secs(3600),
};
/// Records of full mailboxes to which one address sends, within an hour. It is not the other side's fault: beyond it the answer is the same.
const FULL_MAILBOXES: Rate = Rate {
    events: 100,
    within: Duration::from_secs(3600),
};
/// Messages that one address may bring within a minute and within a day, whatever becomes of them.
const MESSAGES: [Rate; 2] = [
    Rate {
        events: 500,
        within: Duration::from_secs(60),
    },
    Rate {
        events: 10_000,
        within: Duration::from_secs(86_400),
    },
];
/// Sessions that are answered slowly at a time; others of their kind are answered like everybody: each is a connection of ours too.
const SLOW_MAX: usize = 1_000;
/// How often what was refused is written to the store.
const WRITTEN_EVERY: Duration = Duration::from_secs(60);

/// The limiters.
#[derive(Debug)]
pub(crate) struct Limiters {
    pub(crate) connections: Arc<Connections>,
    /// Failed logins are limited.
    judges_logins: bool,
    logins: Mutex<FailedLogins>,
    unknown_recipients: Mutex<Rates>,
    early_refusals: Mutex<Rates>,
    full_mailboxes: Mutex<Rates>,
    messages: Mutex<[Rates; 2]>,
    records: Mutex<RecordShares>,
    refusals: Mutex<Refusals>,
    delayed: AtomicUsize,
    slow: Arc<AtomicUsize>,
    /// Whom nothing of this concerns.
    unlimited: Vec<Network>,
}

impl Limiters {
    pub(crate) fn new(
        connections: ConnectionLimits,
        logins: LoginLimits,
        unlimited: Vec<Network>,
        receiving: &Receiving,
    ) -> Self {
        Self {
            connections: Connections::new(connections),
            judges_logins: !logins.is_none(),
            logins: Mutex::new(FailedLogins::new(logins)),
            unknown_recipients: Mutex::new(Rates::new(UNKNOWN_RECIPIENTS)),
            early_refusals: Mutex::new(Rates::new(EARLY_REFUSALS)),
            full_mailboxes: Mutex::new(Rates::new(FULL_MAILBOXES)),
            messages: Mutex::new(MESSAGES.map(Rates::new)),
            records: Mutex::new(RecordShares::new(
                DecisionBudget::of(receiving.records_octets).octets,
                receiving.records_kept,
            )),
            refusals: Mutex::default(),
            delayed: AtomicUsize::new(0),
            slow: Arc::default(),
            unlimited,
        }
    }

    /// The networks that count what a peer does; `None` for this machine itself and for whom no limiter concerns.
    fn networks(&self, peer: IpAddr) -> Option<Networks> {
        match self.among(peer) {
            Among::Outside(networks) => Some(networks),
            Among::Loopback | Among::Unlimited => None,
        }
    }

    /// Among whom the connections of a peer are counted.
    fn among(&self, peer: IpAddr) -> Among {
        match Networks::of(peer) {
            None => Among::Loopback,
            Some(_) if self.unlimited.iter().any(|net| net.contains(peer)) => Among::Unlimited,
            Some(networks) => Among::Outside(networks),
        }
    }

    /// A place for a connection, or why there is none.
    pub(crate) fn enter(&self, peer: IpAddr, service: Service, now: Now) -> Result<Place, Full> {
        let entered = self
            .connections
            .enter(self.among(peer), now.mono)
            .and_then(|place| self.greets(peer, service, now).map(|()| place));
        entered.inspect_err(|full| self.refused(full.limiter, service, full.class, peer, now))
    }

    /// Whether it makes sense to talk to somebody who comes to log in.
    fn greets(&self, peer: IpAddr, service: Service, now: Now) -> Result<(), Full> {
        match self.networks(peer).filter(|_| service != Service::Smtp) {
            None => Ok(()),
            Some(networks) => self.logins().greets(&networks, now.mono).map_err(|class| {
                self.connections.count_refused();
                Full {
                    limiter: Limiter::FailedLogins,
                    class: Some(class),
                }
            }),
        }
    }

    /// Whether somebody may begin something that may be refused before there is a message. Who has used up what may be refused
    /// is not answered at all for a while: an answer to what is there and none to what is not would tell the one from the other.
    pub(crate) fn may_try(&self, peer: IpAddr, service: Service, now: Now) -> Result<(), Full> {
        let Some(networks) = self.networks(peer) else {
            return Ok(());
        };
        let budgets = [
            (Limiter::UnknownRecipients, &self.unknown_recipients),
            (Limiter::EarlyRefusals, &self.early_refusals),
        ];
        for (limiter, rates) in budgets {
            let room = locked(rates).has_room(&networks, 0, now.mono);
            room.map_err(|class| self.full(limiter, service, class, peer, now))?;
        }
        Ok(())
    }

    /// Somebody named a recipient that is not here.
    pub(crate) fn count_unknown_recipient(&self, peer: IpAddr, now: Now) {
        if let Some(networks) = self.networks(peer) {
            locked(&self.unknown_recipients).count(&networks, now.mono);
        }
    }

    /// Something else was refused before there was a message.
    pub(crate) fn count_early_refusal(&self, peer: IpAddr, now: Now) {
        if let Some(networks) = self.networks(peer) {
            locked(&self.early_refusals).count(&networks, now.mono);
        }
    }

    /// Whether it is recorded that a mailbox is full to which somebody sends; else it is counted.
    pub(crate) fn records_full_mailbox(&self, peer: IpAddr, service: Service, now: Now) -> bool {
        let Some(networks) = self.networks(peer) else {
            return true;
        };
        let room = {
            let mut rates = locked(&self.full_mailboxes);
            let room = rates.has_room(&networks, 0, now.mono);
            if room.is_ok() {
                rates.count(&networks, now.mono);
            }
            room
        };
        let full = |class| self.full(Limiter::FullMailboxes, service, class, peer, now);
        room.map_err(full).is_ok()
    }

    /// One more message from there, if it is within the budgets: transport.md 1.15.
    pub(crate) fn message(&self, peer: IpAddr, service: Service, now: Now) -> Result<(), Full> {
        let Some(networks) = self.networks(peer) else {
            return Ok(());
        };
        let taken = {
            let mut budgets = locked(&self.messages);
            let room = budgets.iter().map(|b| b.has_room(&networks, 0, now.mono));
            let room: Result<(), NetworkClass> = room.collect();
            if room.is_ok() {
                budgets
                    .iter_mut()
                    .for_each(|b| b.count(&networks, now.mono));
            }
            room
        };
        taken.map_err(|class| self.full(Limiter::Messages, service, class, peer, now))
    }

    /// Takes room for a record of what somebody brought, if its share has as much left.
    pub(crate) fn take_record_room(
        &self,
        peer: IpAddr,
        share: RecordShare,
        octets: u64,
        now: Now,
    ) -> bool {
        self.networks(peer)
            .is_none_or(|networks| locked(&self.records).take(share, &networks, octets, now.mono))
    }

    /// The record did not come about.
    pub(crate) fn give_back_record_room(
        &self,
        peer: IpAddr,
        share: RecordShare,
        octets: u64,
        now: Now,
    ) {
        if let Some(networks) = self.networks(peer) {
            locked(&self.records).give_back(share, &networks, octets, now.mono);
        }
    }

    /// A place for a session that is to be answered slowly, while there is one.
    pub(crate) fn slow_place(&self, peer: IpAddr) -> Option<SlowPlace> {
        self.networks(peer)?;
        let before = self.slow.fetch_add(1, Ordering::Relaxed);
        // Dropped, it is given back.
        let place = SlowPlace(self.slow.clone());
        (before < SLOW_MAX).then_some(place)
    }

    /// Counts that the budget of a network is used up.
    fn full(
        &self,
        limiter: Limiter,
        service: Service,
        class: NetworkClass,
        peer: IpAddr,
        now: Now,
    ) -> Full {
        self.refused(limiter, service, Some(class), peer, now);
        Full {
            limiter,
            class: Some(class),
        }
    }

    fn refused(
        &self,
        limiter: Limiter,
        service: Service,
        class: Option<NetworkClass>,
        peer: IpAddr,
        now: Now,
    ) {
        let service = match service {
            Service::Smtp => RefusedService::Smtp,
            Service::Submission | Service::Submissions => RefusedService::Submission,
            Service::Imap | Service::Imaps => RefusedService::Imap,
        };
        let peer = peer.to_canonical();
        self.refusals()
            .count((limiter, service), class, peer, now.utc);
    }

    /// Who may not even try.
    fn turned_away(&self, caller: Caller, class: NetworkClass, now: Now) -> Full {
        self.full(
            Limiter::FailedLogins,
            caller.service,
            class,
            caller.peer,
            now,
        )
    }

    /// What was refused and is not in the store yet, the newest first.
    pub(crate) fn waiting(&self) -> Vec<RefusedMinute> {
        self.refusals().waiting()
    }

    #[cfg(test)]
    pub(crate) fn guess_wrong(&self, peer: IpAddr, now: Now) {
        if let Some(networks) = self.networks(peer) {
            let mut logins = self.logins();
            if let Admission::Judge(ticket) = logins.admit(&networks, Some("ann"), now.mono) {
                logins.failed(ticket, now.mono);
            }
        }
    }

    fn logins(&self) -> MutexGuard<'_, FailedLogins> {
        locked(&self.logins)
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        locked(&self.refusals)
    }
}

/// Nothing panics while one of these is held, so poison means nothing.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session that is answered slowly, until this is dropped.
#[derive(Debug)]
pub(crate) struct SlowPlace(Arc<AtomicUsize>);

impl SlowPlace {
    /// How many sessions are answered slowly now, this one among them.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for SlowPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who tries to log in, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) peer: IpAddr,
    pub(crate) service: Service,
}

/// An attempt to log in that may be judged. What becomes of it must be told; one that is dropped comes to nothing.
pub(crate) struct Attempt {
    limiters: Arc<Limiters>,
    /// `None` where nothing is limited.
    ticket: Option<Ticket>,
}

impl Attempt {
    /// An attempt to log in to an account; `None` is one that does not exist. It waits while others are judged that may use up
    /// what the address has left.
    pub(crate) async fn begin<R: Runtime>(
        node: &Inner<R>,
        caller: Caller,
        account: Option<&str>,
    ) -> Result<Self, Full> {
        for _ in 0..WAITS_MAX {
            match Self::at_once(node, caller, account) {
                Ok(Some(attempt)) => return Ok(attempt),
                Ok(None) => sleep(&node.runtime, WAIT).await,
                Err(full) => return Err(full),
            }
        }
        let now = node.runtime.now();
        Err(node
            .limiters
            .turned_away(caller, NetworkClass::Address, now))
    }

    /// `None` while it must wait.
    fn at_once<R: Runtime>(
        node: &Inner<R>,
        caller: Caller,
        account: Option<&str>,
    ) -> Result<Option<Self>, Full> {
        let (limiters, now) = (&node.limiters, node.runtime.now());
        let networks = limiters.networks(caller.peer);
        let ticket = match networks.filter(|_| limiters.judges_logins) {
            None => None,
            Some(networks) => {
                let admission = limiters.logins().admit(&networks, account, now.mono);
                match admission {
                    Admission::Judge(ticket) => Some(ticket),
                    Admission::Wait => return Ok(None),
                    Admission::Refuse(class) => {
                        return Err(limiters.turned_away(caller, class, now));
                    }
                }
            }
        };
        Ok(Some(Self {
            limiters: limiters.clone(),
            ticket,
        }))
    }

    /// It was the user of this account.
    pub(crate) fn succeeded<R: Runtime>(mut self, node: &Inner<R>, account: &str) {
        if let Some(ticket) = self.ticket.take() {
            let now = node.runtime.now().mono;
            self.limiters.logins().succeeded(ticket, account, now);
        }
    }

    /// It was a guess, and wrong.
    pub(crate) fn failed<R: Runtime>(mut self, node: &Inner<R>) {
        if let Some(ticket) = self.ticket.take() {
            let now = node.runtime.now().mono;
            self.limiters.logins().failed(ticket, now);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.limiters.logins().dropped(ticket);
        }
    }
}

/// Has who failed to log in wait for a moment.
pub(crate) async fn slow_down<R: Runtime>(node: &Inner<R>, caller: Caller) {
    let limiters = &node.limiters;
    if !limiters.judges_logins || limiters.networks(caller.peer).is_none() {
        return;
    }
    let before = limiters.delayed.fetch_add(1, Ordering::Relaxed);
    let _delayed = Delayed(limiters);
    if before < DELAYED_MAX {
        sleep(&node.runtime, FAILED_DELAY).await;
    }
}

/// One that waits.
struct Delayed<'a>(&'a Limiters);

impl Drop for Delayed<'_> {
    fn drop(&mut self) {
        self.0.delayed.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Writes what was refused to the store, when a minute is over.
pub(crate) async fn service<R: Runtime>(node: Arc<Inner<R>>) {
    loop {
        sleep(&node.runtime, WRITTEN_EVERY).await;
        let over = node.limiters.refusals().take(Some(node.runtime.now().utc));
        write(&node, over).await;
    }
}

/// Writes all of it, since the server stops.
pub(crate) async fn write_all<R: Runtime>(node: &Inner<R>) {
    let all = node.limiters.refusals().take(None);
    write(node, all).await;
}

async fn write<R: Runtime>(node: &Inner<R>, minutes: Vec<RefusedMinute>) {
    if minutes.is_empty() {
        return;
    }
    let row = |minute: &RefusedMinute| (Utc::from_secs(minute.at), minute.encode().into());
    let rows: Vec<_> = minutes.iter().map(row).collect();
    let op =
        move |reads: &dyn mox_mailbox::Reads| mox_mailbox::keep_dated(reads, Dated::Refused, &rows);
    if let Err(error) = node.store.run(op).await {
        tracing::warn!(target: "store", %error, "what limiters refused was not kept");
    }
}
