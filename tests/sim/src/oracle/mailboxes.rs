//! Oracle 4: what IMAP clients saw stays true. A UID never changes its content, UIDs and modification sequences never go
//! back, one modification sequence of a message always shows the same flags, what is gone stays gone, and what nobody
//! removed stays: across sessions, clients and crashes, since nothing is shown before it is durable.

use std::collections::{BTreeMap, BTreeSet};

use super::Wrong;
use crate::survey::{Found, Survey};

/// Everything anybody saw.
#[derive(Default)]
pub(crate) struct Boxes {
    boxes: BTreeMap<Place, Known>,
    /// Copies asked for, by server, account and subject.
    copies: BTreeMap<(usize, String, String), u32>,
    moments: u64,
}

/// A mailbox: server, account, name.
pub(crate) type Place = (usize, String, String);

/// A point in the order of things seen: what was seen before a question was asked binds its answer.
pub(crate) type Moment = u64;

#[derive(Default)]
struct Known {
    validity: u32,
    /// UIDNEXT and HIGHESTMODSEQ at least, and since when that is known.
    next: (u32, Moment),
    modseq: (u64, Moment),
    uids: BTreeMap<u32, Message>,
}

#[derive(Default)]
struct Message {
    subject: Option<String>,
    modseq: (u64, Moment),
    /// What each modification sequence showed.
    flags: BTreeMap<u64, String>,
    /// So many began to remove it, and were not refused.
    doomed: u32,
    /// So many began to move it away, and were not refused.
    leaving: u32,
    /// Somebody saw it go.
    gone: bool,
}

impl Message {
    const fn may_go(&self) -> bool {
        self.doomed > 0 || self.leaving > 0
    }
}

impl Boxes {
    /// The moment a question is asked.
    pub(crate) fn now(&mut self) -> Moment {
        self.moments += 1;
        self.moments
    }

    /// UIDVALIDITY of a mailbox.
    pub(crate) fn saw_validity(&mut self, place: &Place, validity: u32, wrong: &mut Wrong) {
        let known = self.boxes.entry(place.clone()).or_default();
        wrong.expect(known.validity == 0 || known.validity == validity, || {
            format!(
                "UIDVALIDITY of {place:?} changed from {} to {validity}",
                known.validity
            )
        });
        known.validity = validity;
    }

    /// UIDNEXT, as an answer to a question of that moment.
    pub(crate) fn saw_next(&mut self, place: &Place, next: u32, asked: Moment, wrong: &mut Wrong) {
        let now = self.now();
        let known = self.boxes.entry(place.clone()).or_default();
        let (least, since) = known.next;
        wrong.expect(next >= least || asked < since, || {
            format!("UIDNEXT of {place:?} went back from {least} to {next}")
        });
        raise(&mut known.next, next, now);
    }

    /// HIGHESTMODSEQ, as an answer to a question of that moment.
    pub(crate) fn saw_highest(
        &mut self,
        place: &Place,
        highest: u64,
        asked: Moment,
        wrong: &mut Wrong,
    ) {
        let now = self.now();
        let known = self.boxes.entry(place.clone()).or_default();
        let (least, since) = known.modseq;
        wrong.expect(highest >= least || asked < since, || {
            format!("HIGHESTMODSEQ of {place:?} went back from {least} to {highest}")
        });
        raise(&mut known.modseq, highest, now);
    }

    /// A message with its flags, as an answer to a question of that moment.
    pub(crate) fn saw(
        &mut self,
        place: &Place,
        (uid, modseq, flags): (u32, u64, &str),
        asked: Moment,
        wrong: &mut Wrong,
    ) {
        let now = self.now();
        let known = self.boxes.entry(place.clone()).or_default();
        let message = known.uids.entry(uid).or_default();
        let (least, since) = message.modseq;
        wrong.expect(modseq >= least || asked < since, || {
            format!("the modification sequence of UID {uid} in {place:?} went back from {least} to {modseq}")
        });
        let shown = message
            .flags
            .entry(modseq)
            .or_insert_with(|| flags.to_owned());
        wrong.expect(shown == flags, || {
            format!("UID {uid} in {place:?} with modification sequence {modseq} had the flags ({shown}), and now ({flags})")
        });
        raise(&mut message.modseq, modseq, now);
        raise(&mut known.next, uid + 1, now);
        raise(&mut known.modseq, modseq, now);
    }

    /// What a message is.
    pub(crate) fn saw_subject(
        &mut self,
        place: &Place,
        uid: u32,
        subject: &str,
        wrong: &mut Wrong,
    ) {
        let now = self.now();
        let known = self.boxes.entry(place.clone()).or_default();
        raise(&mut known.next, uid + 1, now);
        let message = known.uids.entry(uid).or_default();
        let shown = message.subject.get_or_insert_with(|| subject.to_owned());
        wrong.expect(shown == subject, || {
            format!("UID {uid} in {place:?} was {shown}, and now is {subject}")
        });
    }

    /// What is known of a message to be.
    pub(crate) fn subject(&self, place: &Place, uid: u32) -> Option<&str> {
        self.boxes.get(place)?.uids.get(&uid)?.subject.as_deref()
    }

    /// A message was seen to go.
    pub(crate) fn saw_gone(&mut self, place: &Place, uid: u32, wrong: &mut Wrong) {
        let known = self.boxes.entry(place.clone()).or_default();
        let message = known.uids.entry(uid).or_default();
        message.gone = true;
        let subject = message.subject.as_deref().unwrap_or_default();
        wrong.expect(message.may_go(), || {
            format!("UID {uid} ({subject}) went from {place:?}, and nobody removed it")
        });
    }

    /// Somebody begins to remove a message.
    pub(crate) fn doom(&mut self, place: &Place, uid: u32) {
        self.message(place, uid).doomed += 1;
    }

    /// That was refused.
    pub(crate) fn spare(&mut self, place: &Place, uid: u32) {
        let message = self.message(place, uid);
        message.doomed = message.doomed.saturating_sub(1);
    }

    /// Somebody begins to move a message away.
    pub(crate) fn leaves(&mut self, place: &Place, uid: u32) {
        self.message(place, uid).leaving += 1;
    }

    /// That was refused.
    pub(crate) fn stays(&mut self, place: &Place, uid: u32) {
        let message = self.message(place, uid);
        message.leaving = message.leaving.saturating_sub(1);
    }

    fn message(&mut self, place: &Place, uid: u32) -> &mut Message {
        let known = self.boxes.entry(place.clone()).or_default();
        known.uids.entry(uid).or_default()
    }

    /// Messages of an account that somebody began to remove, by subject.
    pub(crate) fn doomed(&self, server: usize) -> BTreeSet<(&str, &str)> {
        let here = self.boxes.iter().filter(|(place, _)| place.0 == server);
        let all = here.flat_map(|((_, account, _), known)| {
            let going = known.uids.values().filter(|message| message.doomed > 0);
            going.filter_map(|message| Some((account.as_str(), message.subject.as_deref()?)))
        });
        all.collect()
    }

    /// Somebody asks for a copy of a message.
    pub(crate) fn copy(&mut self, (server, account, _): &Place, subject: &str) {
        let key = (*server, account.clone(), subject.to_owned());
        *self.copies.entry(key).or_default() += 1;
    }

    /// It was refused.
    pub(crate) fn no_copy(&mut self, (server, account, _): &Place, subject: &str) {
        let key = (*server, account.clone(), subject.to_owned());
        let copies = self.copies.entry(key).or_default();
        *copies = copies.saturating_sub(1);
    }

    /// Copies of a message asked for in an account.
    pub(crate) fn copies(&self, server: usize, account: &str, subject: &str) -> u32 {
        let key = (server, account.to_owned(), subject.to_owned());
        self.copies.get(&key).copied().unwrap_or_default()
    }

    /// Compares a store with what was seen of it.
    pub(crate) fn compare(&self, server: usize, survey: &Survey, wrong: &mut Wrong) {
        let mut there = BTreeMap::<(&str, &str), BTreeMap<u32, &Found>>::new();
        for found in &survey.messages {
            let place = (found.account.as_str(), found.mailbox.as_str());
            there.entry(place).or_default().insert(found.uid, found);
        }
        let empty = BTreeMap::new();
        for (place, known) in self.boxes.iter().filter(|(place, _)| place.0 == server) {
            let (_, account, mailbox) = place;
            let figures = survey.mailboxes.get(&(account.clone(), mailbox.clone()));
            let Some(figures) = figures else {
                wrong.found(format!("{place:?} is not there any more"));
                continue;
            };
            let holds = figures.validity == known.validity || known.validity == 0;
            let holds = holds && figures.next >= known.next.0 && figures.modseq >= known.modseq.0;
            wrong.expect(holds, || {
                let (next, modseq) = (known.next.0, known.modseq.0);
                format!("{place:?} has {figures:?}; seen were UIDVALIDITY {}, UIDNEXT {next}, HIGHESTMODSEQ {modseq}", known.validity)
            });
            let there = there
                .get(&(account.as_str(), mailbox.as_str()))
                .unwrap_or(&empty);
            for (uid, message) in &known.uids {
                compare_message(place, (*uid, message), there.get(uid).copied(), wrong);
            }
        }
    }
}

fn compare_message(
    place: &Place,
    (uid, message): (u32, &Message),
    found: Option<&Found>,
    wrong: &mut Wrong,
) {
    let subject = message.subject.as_deref().unwrap_or_default();
    let Some(found) = found else {
        wrong.expect(message.gone || message.may_go(), || {
            format!("UID {uid} ({subject}) was seen in {place:?} and is lost")
        });
        return;
    };
    wrong.expect(!message.gone, || {
        format!("UID {uid} ({subject}) was seen to go from {place:?} and is there again")
    });
    wrong.expect(subject.is_empty() || subject == found.subject, || {
        format!(
            "UID {uid} in {place:?} was {subject}, and now is {}",
            found.subject
        )
    });
    wrong.expect(found.modseq >= message.modseq.0, || {
        let seen = message.modseq.0;
        format!(
            "UID {uid} in {place:?} had modification sequence {seen}, and now {}",
            found.modseq
        )
    });
    if let Some(flags) = message.flags.get(&found.modseq) {
        wrong.expect(*flags == found.flags, || {
            format!("UID {uid} in {place:?} with modification sequence {} had the flags ({flags}), and now ({})", found.modseq, found.flags)
        });
    }
}

/// Raises a figure that never goes back.
fn raise<T: PartialOrd>(known: &mut (T, Moment), value: T, now: Moment) {
    if value > known.0 {
        *known = (value, now);
    }
}
