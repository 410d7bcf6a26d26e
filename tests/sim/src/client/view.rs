//! What one IMAP session must believe of the selected mailbox, from what it was told (RFC 3501 7, RFC 7162).

use super::imap::{Item, Untagged};
use crate::oracle::{Bench, Place};

/// The model of a selected mailbox.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) place: Place,
    pub(crate) validity: u32,
    /// HIGHESTMODSEQ when it was selected: every change up to it is known.
    pub(crate) highest: u64,
    /// What was said to be gone when it was selected.
    pub(crate) vanished: Vec<u32>,
    /// By sequence number; UIDs not told yet are `None`.
    pub(crate) messages: Vec<Known>,
    /// Whole texts that came with FETCH, by UID.
    pub(crate) bodies: Vec<(u32, String)>,
}

/// A message as the session knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) uid: Option<u32>,
    pub(crate) modseq: u64,
    pub(crate) flags: String,
}

/// What a command allows the server to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    Any,
    /// FETCH, STORE and SEARCH by sequence number: no EXPUNGE, since numbers must not change (RFC 3501 7.4.1).
    NoExpunge,
}

impl View {
    /// Takes in one untagged response to a command given at that moment.
    pub(crate) fn hear(&mut self, said: Untagged, rules: Rules, asked: u64, bench: &mut Bench) {
        let place = self.place.clone();
        match said {
            Untagged::Exists(count) => {
                let known = self.messages.len();
                bench.wrong.expect(count >= known, || {
                    format!("{place:?} shrank from {known} to {count} messages without EXPUNGE")
                });
                self.messages.resize(count.max(known), Known::default());
            }
            Untagged::Expunge(number) => {
                bench.wrong.expect(rules == Rules::Any, || {
                    format!(
                        "EXPUNGE {number} of {place:?} in answer to a command that numbers messages"
                    )
                });
                match number.checked_sub(1).filter(|at| *at < self.messages.len()) {
                    Some(at) => {
                        let gone = self.messages.remove(at);
                        if let Some(uid) = gone.uid {
                            bench.boxes.saw_gone(&place, uid, &mut bench.wrong);
                        }
                    }
                    None => bench.wrong.found(format!(
                        "EXPUNGE {number} of {} messages in {place:?}",
                        self.messages.len()
                    )),
                }
            }
            Untagged::Vanished {
                earlier: true,
                uids,
            } => self.vanished.extend(uids),
            Untagged::Vanished {
                earlier: false,
                uids,
            } => {
                bench.wrong.expect(rules == Rules::Any, || {
                    format!("VANISHED of {place:?} in answer to a command that numbers messages")
                });
                for uid in uids {
                    self.vanish(uid, bench);
                }
            }
            Untagged::Fetch(number, item) => self.fetched(number, item, asked, bench),
            Untagged::Code(name, argument) => self.code(&name, &argument, asked, bench),
            Untagged::Bye | Untagged::Other => {}
        }
    }

    /// A message of which the UID was not told yet is behind all others.
    fn vanish(&mut self, uid: u32, bench: &mut Bench) {
        let mut known = self.messages.iter();
        let at = known
            .position(|message| message.uid == Some(uid))
            .or_else(|| {
                self.messages
                    .iter()
                    .position(|message| message.uid.is_none())
            });
        match at {
            Some(at) => {
                self.messages.remove(at);
                bench.boxes.saw_gone(&self.place, uid, &mut bench.wrong);
            }
            None => bench.wrong.found(format!(
                "VANISHED {uid} of {:?}, where no session sees it",
                self.place
            )),
        }
    }

    fn fetched(&mut self, number: usize, item: Item, asked: u64, bench: &mut Bench) {
        let place = &self.place;
        let count = self.messages.len();
        let before = number
            .checked_sub(2)
            .and_then(|at| self.messages.get(at))
            .and_then(|m| m.uid);
        let after = self.messages.get(number).and_then(|m| m.uid);
        let known = number
            .checked_sub(1)
            .and_then(|at| self.messages.get_mut(at));
        let Some(known) = known else {
            bench
                .wrong
                .found(format!("FETCH {number} of {count} messages in {place:?}"));
            return;
        };
        if let Some(uid) = item.uid {
            let expected = known.uid.get_or_insert(uid);
            bench.wrong.expect(*expected == uid, || {
                format!("message {number} of {place:?} had UID {expected} and now has {uid}")
            });
            let ordered = before.is_none_or(|b| b < uid) && after.is_none_or(|a| a > uid);
            bench.wrong.expect(ordered, || {
                format!(
                    "message {number} of {place:?} has UID {uid}, between {before:?} and {after:?}"
                )
            });
        }
        let Some(uid) = known.uid else {
            return;
        };
        if let (Some(modseq), Some(flags)) = (item.modseq, &item.flags) {
            bench.wrong.expect(modseq >= known.modseq, || {
                format!("this session saw UID {uid} in {place:?} with modification sequence {}, and now with {modseq}", known.modseq)
            });
            known.modseq = modseq;
            known.flags.clone_from(flags);
            bench
                .boxes
                .saw(place, (uid, modseq, flags), asked, &mut bench.wrong);
        }
        if let Some(body) = item.body {
            self.bodies.push((uid, body));
        }
    }

    fn code(&mut self, name: &str, argument: &str, asked: u64, bench: &mut Bench) {
        let Ok(number) = argument.parse::<u64>() else {
            return;
        };
        let small = u32::try_from(number).unwrap_or(u32::MAX);
        match name {
            "UIDVALIDITY" => {
                self.validity = small;
                bench
                    .boxes
                    .saw_validity(&self.place, small, &mut bench.wrong);
            }
            "UIDNEXT" => bench
                .boxes
                .saw_next(&self.place, small, asked, &mut bench.wrong),
            "HIGHESTMODSEQ" => {
                self.highest = number;
                bench
                    .boxes
                    .saw_highest(&self.place, number, asked, &mut bench.wrong)
            }
            _ => {}
        }
    }
}
