//! The deliberate faults there are, and the one switch for all of them.

use core::sync::atomic::{AtomicU32, Ordering};

/// Stands in every program that has mutants in it, so that their absence from a program can be checked.
pub const MARKER: &str = "this program has deliberate faults in it";

#[repr(C)]
struct Switch {
    marker: [u8; MARKER.len()],
    /// 0 for none, else the mutant's place in [`Mutant::ALL`] plus 1.
    active: AtomicU32,
}

static SWITCH: Switch = Switch {
    marker: *MARKER.as_bytes().first_chunk().expect("its own length"),
    active: AtomicU32::new(0),
};

/// Switches one fault on and all others off; `None` switches all off. The whole process is meant: tests that use it run
/// one after the other.
pub fn switch_to(mutant: Option<Mutant>) {
    let number = mutant.map_or(0, |mutant| mutant as u32 + 1);
    SWITCH.active.store(number, Ordering::SeqCst);
}

/// Whether this fault is switched on.
pub fn is_active(mutant: Mutant) -> bool {
    // Opaque, so that the marker is not optimised away.
    let switch = core::hint::black_box(&SWITCH);
    switch.active.load(Ordering::Relaxed) == mutant as u32 + 1
}

macro_rules! mutants {
    ($($(#[doc = $what:literal])+ $name:ident @ $site:literal,)+) => {
        /// A deliberate fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $($(#[doc = $what])+ $name,)+
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What is wrong with it switched on, in one sentence.
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($what),+),)+
                }
            }

            /// The source file it is in.
            pub const fn site(self) -> &'static str {
                match self {
                    $(Self::$name => $site,)+
                }
            }
        }
    };
}

mutants! {
    /// A group of ops is answered without its sync.
    RowsNotSynced @ "core/store/src/commit.rs",
    /// A sync that failed counts as done.
    SyncErrorIgnored @ "core/store/src/commit.rs",
    /// Ops are answered as soon as they ran, before their sync.
    AnsweredBeforeSync @ "core/store/src/commit.rs",
    /// A group is published before its sync.
    PublishedBeforeSync @ "core/store/src/commit.rs",
    /// A body file goes as soon as an op wants that, not after its commit is published.
    UnlinkedBeforeCommit @ "core/store/src/commit.rs",
    /// The high-water mark is written before the sync it tells of.
    MarkAheadOfSync @ "core/store/src/commit.rs",
    /// What was recovered after a crash is not made durable again.
    RecoveredNotDurable @ "core/store/src/open.rs",
    /// Rows that end before what a mark calls durable are taken as they are.
    ShortfallIgnored @ "core/store/src/open.rs",
    /// The content of a body file is not synced.
    BodyNotSynced @ "core/store/src/spool.rs",
    /// The directory of a body file is not synced.
    DirectoryNotSynced @ "core/store/src/spool.rs",
    /// A body's number is taken when it is complete, so that two at once have the same.
    BodyNumberTwice @ "core/store/src/spool.rs",
    /// The sweeper takes files of this start that no row names yet.
    SweepTakesInFlight @ "core/store/src/sweep.rs",
    /// An op does not wake the committer.
    CommitterNotWoken @ "core/store/src/queue.rs",
    /// Whoever waits for room in the committer's queue is not woken.
    WaitingOpNotWoken @ "core/store/src/queue.rs",
    /// A change does not wake those who watch.
    WatcherNotWoken @ "core/store/src/watch.rs",
    /// The body goes with the first reference that goes.
    BodyGoesWithFirstReference @ "core/mailbox/src/edit.rs",
    /// A change of a mailbox is not told to its watchers.
    ChangeNotTold @ "core/mailbox/src/edit.rs",
    /// Of several mailboxes that get a message only the first refers to its body.
    OneReferenceForAll @ "core/mailbox/src/deliver.rs",
    /// A copy does not refer to the body.
    CopyWithoutReference @ "core/mailbox/src/copy.rs",
    /// MOVE leaves the original.
    MoveKeepsOriginal @ "core/mailbox/src/copy.rs",
    /// UIDNEXT stays where it is.
    UidNextNotAdvanced @ "core/mailbox/src/mailbox_edit.rs",
    /// UIDNEXT follows the last message that is left.
    UidReusedAfterExpunge @ "core/mailbox/src/mailbox_edit.rs",
    /// An expunge sets the modification sequence of its mailbox back.
    ModseqGoesBack @ "core/mailbox/src/mailbox_edit.rs",
    /// An expunged message still counts as unseen.
    UnseenNotReduced @ "core/mailbox/src/mailbox_edit.rs",
    /// Expunged octets stay in the sum of their mailbox.
    SizeNotReduced @ "core/mailbox/src/mailbox_edit.rs",
    /// An expunge leaves no record for sessions that were not told.
    ExpungeLeavesNoRecord @ "core/mailbox/src/mailbox_edit.rs",
    /// A changed flag leaves the message's modification sequence as it was.
    StoreKeepsModseq @ "core/mailbox/src/mark.rs",
    /// MOVE is a copy, and an expunge later.
    MoveInTwoOps @ "core/node/src/imap_in/change.rs",
    /// A verdict is given with answers missing: what is not known counts as not there.
    MissingSwallowed @ "core/dns/src/mx.rs",
    /// A session that used up its turn is not run again.
    BusySessionNotWoken @ "core/driver/src/drive.rs",
    /// A deadline that comes earlier than the last one does not set the timer.
    EarlierDeadlineNotArmed @ "core/driver/src/drive.rs",
    /// Clear text behind STARTTLS is taken into the TLS session.
    StartTlsLeftoversKept @ "core/smtp/src/server/session.rs",
    /// STARTTLS forgets nothing: greeting, authentication and transaction stay.
    StartTlsKeepsState @ "core/smtp/src/server/session.rs",
    /// An answer is taken for the oldest ask.
    AnswerToOldestAsk @ "core/smtp/src/server/session.rs",
    /// The end of the connection ends the message too.
    EofEndsMessage @ "core/smtp/src/server/session.rs",
    /// A server that stops closes sessions whose message is being stored.
    DrainCutsCommit @ "core/smtp/src/server/session.rs",
    /// A timeout that has come changes nothing.
    DeadlineStays @ "core/smtp/src/server/session.rs",
    /// The answer to a piece of an earlier message counts for this one.
    StaleAnswerTaken @ "core/smtp/src/server/message.rs",
    /// A piece of a message that begins behind a cut is taken for a line's beginning.
    DotAtCut @ "core/smtp/src/wire/dots.rs",
    /// A bare LF ends a line of a message.
    BareLfEndsLine @ "core/smtp/src/wire/dots.rs",
    /// Dots at line starts are not doubled.
    DotNotDoubled @ "core/smtp/src/wire/dots.rs",
    /// A 5xx is tried again.
    PermanentRetried @ "core/smtp/src/client/session.rs",
    /// A 4xx is final.
    TemporaryIsFinal @ "core/smtp/src/client/session.rs",
    /// A message counts as delivered once its final dot was sent.
    DotTakenForDelivered @ "core/smtp/src/client/session.rs",
    /// The octets of a literal that was refused are read as commands.
    RefusedLiteralRead @ "core/imap/src/wire/frame.rs",
    /// EXPUNGE is told during FETCH, STORE and SEARCH.
    ExpungeDuringFetch @ "core/imap/src/server/job.rs",
    /// The numbers in EXPUNGE do not count the messages that went before.
    ExpungeNumbersStay @ "core/imap/src/server/report.rs",
    /// An answer to a watch of an earlier mailbox counts for the selected one.
    StaleWatchTaken @ "core/imap/src/server/report.rs",
    /// A message is accepted before its op is committed.
    AcceptedBeforeCommit @ "core/node/src/smtp_in/commit.rs",
    /// A spooled body is let go of before the op that names it.
    BodyLetGoEarly @ "core/node/src/smtp_in/commit.rs",
    /// Of several recipients at one domain the last is forgotten.
    GroupLosesRecipient @ "core/node/src/smtp_in/groups.rs",
    /// Octets of messages that were not finished stay in the budget.
    BudgetLeaks @ "core/node/src/smtp_in/transaction.rs",
    /// After RSET the recipients of the transaction before are there again.
    ResetKeepsRecipients @ "core/node/src/smtp_in.rs",
    /// An attempt is not in its row before it starts.
    AttemptNotMarked @ "core/node/src/queue_out/attempt.rs",
    /// The notice of a failure is delivered apart from the outcome it tells of.
    NoticeApart @ "core/node/src/queue_out/attempt.rs",
    /// Nobody is told of what is given up of age.
    ExpiredUntold @ "core/node/src/queue_out/notice.rs",
    /// A message that was judged is delivered without the record of its decision.
    DeliveredUnrecorded @ "core/mailbox/src/deliver.rs",
    /// The null sender is told too.
    NullSenderTold @ "core/node/src/queue_out/notice.rs",
}
