//! Random operations against a naive model: after each, all rows agree, and every reader is told the truth.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod engine;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use engine::*;
use mox_machine::Utc;
use mox_mailbox::*;
use mox_uids::{Uid, UidSet};
use proptest::prelude::*;

const NAMES: [&str; 7] = ["INBOX", "Sent", "a", "a/b", "a/b/c", "b", "INBOX/x"];
const KEYWORDS: [&str; 4] = ["$Junk", "red", "green", "blue"];

#[derive(Debug, Clone)]
enum Op {
    Deliver {
        targets: Vec<(usize, usize)>,
        large: bool,
        flags: u8,
        keywords: u8,
    },
    Mark {
        at: (usize, usize),
        uids: Vec<(u32, u32)>,
        how: u8,
        flags: u8,
        keywords: u8,
        since: Option<u64>,
    },
    Expunge {
        at: (usize, usize),
        only: Option<Vec<(u32, u32)>>,
        any: bool,
    },
    Copy {
        from: (usize, usize),
        to: usize,
        uids: Vec<(u32, u32)>,
        remove: bool,
    },
    Create(usize, usize),
    Delete(usize, usize),
    Rename(usize, usize, usize),
    Subscribe(usize, usize, bool),
    Later(i64),
    Purge,
    PurgeOnce,
    Enqueue {
        account: usize,
        groups: usize,
        large: bool,
        to: Option<usize>,
    },
    Outcome {
        nth: usize,
        fates: u8,
        notice: bool,
    },
    Drop(usize),
    Replace(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    // Most happens in one mailbox, so that it has messages enough for holes and second thoughts.
    let account = || prop_oneof![4 => Just(0usize), 1 => Just(1)];
    let name = || prop_oneof![3 => Just(0usize), 2 => 0usize..7];
    let at = || (account(), name());
    let uids = || proptest::collection::vec((1u32..24, 0u32..6), 1..4);
    let op = prop_oneof![
        6 => (proptest::collection::vec(at(), 1..4), any::<bool>(), 0u8..32, 0u8..16)
            .prop_map(|(targets, large, flags, keywords)| Op::Deliver { targets, large, flags, keywords }),
        4 => (at(), uids(), 0u8..3, 0u8..32, 0u8..16, proptest::option::of(0u64..20))
            .prop_map(|(at, uids, how, flags, keywords, since)| Op::Mark { at, uids, how, flags, keywords, since }),
        3 => (at(), proptest::option::of(uids()), any::<bool>())
            .prop_map(|(at, only, any)| Op::Expunge { at, only, any }),
        3 => (at(), 0usize..7, uids(), any::<bool>())
            .prop_map(|(from, to, uids, remove)| Op::Copy { from, to, uids, remove }),
        2 => at().prop_map(|(a, n)| Op::Create(a, n)),
        2 => at().prop_map(|(a, n)| Op::Delete(a, n)),
        2 => (at(), 0usize..7).prop_map(|((a, from), to)| Op::Rename(a, from, to)),
        1 => (at(), any::<bool>()).prop_map(|((a, n), on)| Op::Subscribe(a, n, on)),
        1 => prop_oneof![Just(1), Just(-5), Just(5 * DAY), Just(14 * DAY)].prop_map(Op::Later),
        1 => Just(Op::Purge),
        1 => Just(Op::PurgeOnce),
        1 => (0usize..2, 1usize..3, any::<bool>(), proptest::option::of(0usize..7))
            .prop_map(|(account, groups, large, to)| Op::Enqueue { account, groups, large, to }),
        2 => (0usize..5, any::<u8>(), any::<bool>())
            .prop_map(|(nth, fates, notice)| Op::Outcome { nth, fates, notice }),
        1 => (0usize..5).prop_map(Op::Drop),
        1 => (0usize..2).prop_map(Op::Replace),
    ];
    proptest::collection::vec(op, 1..60)
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Msg {
    body: BodyId,
    flags: u8,
    keywords: BTreeSet<String>,
    modseq: u64,
}

type Shown = (u8, BTreeSet<String>);

#[derive(Debug, Clone, Default)]
struct Box_ {
    next: u32,
    modseq: u64,
    messages: BTreeMap<u32, Msg>,
    /// What a reader knew at each modification sequence.
    history: Vec<(u64, BTreeMap<u32, Shown>)>,
}

#[derive(Debug, Default)]
struct Model {
    /// By name.
    mailboxes: BTreeMap<String, Box_>,
    subscribed: BTreeSet<String>,
}

impl Model {
    fn new() -> Self {
        let mut model = Self::default();
        for (name, _) in DEFAULT_MAILBOXES {
            model.make(name);
        }
        model
    }

    fn make(&mut self, name: &str) {
        let parts: Vec<_> = name.split('/').collect();
        for n in 1..=parts.len() {
            let name = parts[..n].join("/");
            if !self.mailboxes.contains_key(&name) {
                let new = Box_ {
                    next: 1,
                    modseq: 1,
                    ..Box_::default()
                };
                self.mailboxes.insert(name.clone(), new);
                self.subscribed.insert(name);
            }
        }
    }

    fn has_children(&self, name: &str) -> bool {
        self.mailboxes
            .keys()
            .any(|n| n.starts_with(&format!("{name}/")))
    }
}

struct World {
    engine: Engine,
    accounts: [AccountId; 2],
    models: [Model; 2],
    names: [String; 2],
    /// What every (account, mailbox name, UIDVALIDITY, UID) ever stood for.
    ever: BTreeMap<(String, String, u32, u32), BodyId>,
    /// Entries of the queue, and how many recipients each has left.
    queue: BTreeMap<u64, usize>,
}

impl World {
    fn new() -> Self {
        let mut engine = Engine::new();
        let accounts = ["one", "two"].map(|name| engine.account(name, None).unwrap());
        Self {
            engine,
            accounts,
            models: [Model::new(), Model::new()],
            names: ["one".into(), "two".into()],
            ever: BTreeMap::new(),
            queue: BTreeMap::new(),
        }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Deliver {
                targets,
                large,
                flags,
                keywords,
            } => self.deliver(targets, *large, *flags, *keywords),
            Op::Mark {
                at,
                uids,
                how,
                flags,
                keywords,
                since,
            } => self.mark(*at, uids, *how, *flags, *keywords, *since),
            Op::Expunge { at, only, any } => self.expunge(*at, only.as_deref(), *any),
            Op::Copy {
                from,
                to,
                uids,
                remove,
            } => self.copy(*from, NAMES[*to], uids, *remove),
            Op::Create(a, n) => {
                let (model, name) = (&mut self.models[*a], NAMES[*n]);
                let made = self.engine.create(self.accounts[*a], name);
                assert_eq!(
                    made.is_ok(),
                    !model.mailboxes.contains_key(name),
                    "{made:?}"
                );
                model.make(name);
            }
            Op::Delete(a, n) => {
                let (model, name) = (&mut self.models[*a], NAMES[*n]);
                let expected = match name {
                    "INBOX" => Err(Stop::Inbox),
                    _ if !model.mailboxes.contains_key(name) => Err(Stop::NoSuchMailbox),
                    _ if model.has_children(name) => Err(Stop::HasChildren),
                    _ => Ok(()),
                };
                let done = self.engine.delete(self.accounts[*a], name).map(|_| ());
                assert_eq!(done, expected);
                if done.is_ok() {
                    model.mailboxes.remove(name);
                }
            }
            Op::Rename(a, from, to) => self.rename(*a, NAMES[*from], NAMES[*to]),
            Op::Subscribe(a, n, on) => {
                let (account, name, on) = (self.accounts[*a], NAMES[*n], *on);
                let changed = self
                    .engine
                    .run(|reads| subscribe(reads, account, name, on))
                    .unwrap();
                let set = &mut self.models[*a].subscribed;
                let expected = if on {
                    set.insert(name.into())
                } else {
                    set.remove(name)
                };
                assert_eq!(changed, expected);
            }
            Op::Later(secs) => self.engine.later(*secs),
            Op::Purge => {
                self.engine.purge();
            }
            Op::PurgeOnce => {
                let now = self.engine.now;
                let _ = self.engine.run(|reads| purge(reads, now)).unwrap();
            }
            Op::Enqueue {
                account,
                groups,
                large,
                to,
            } => self.enqueue(*account, *groups, *large, *to),
            Op::Outcome { nth, fates, notice } => self.outcome(*nth, *fates, *notice),
            Op::Drop(nth) => {
                let Some(id) = self.queue.keys().nth(*nth).copied() else {
                    return;
                };
                let now = self.engine.now;
                self.engine
                    .run(|reads| queue_drop(reads, id, None, now))
                    .unwrap();
                self.queue.remove(&id);
            }
            Op::Replace(a) => {
                let (id, now, name) = (self.accounts[*a], self.engine.now, self.names[*a].clone());
                self.engine
                    .run(|reads| remove_account(reads, id, now))
                    .unwrap();
                self.accounts[*a] = self.engine.account(&name, None).unwrap();
                self.models[*a] = Model::new();
            }
        }
    }

    fn deliver(&mut self, targets: &[(usize, usize)], large: bool, flags: u8, keywords: u8) {
        let keywords = words(keywords);
        let list: Vec<_> = targets
            .iter()
            .map(|&(a, n)| Target {
                flags: Flags(flags),
                keywords: keywords.iter().cloned().collect(),
                ..target(self.accounts[a], NAMES[n])
            })
            .collect();
        let delivery = self.engine.delivery(if large { 20_000 } else { 50 }, list);
        let placed = self
            .engine
            .run(|reads| deliver(reads, &delivery))
            .unwrap()
            .placed;
        let Body::New(new) = &delivery.body else {
            return;
        };
        self.placed(targets, &placed, new.id, flags, &keywords);
    }

    fn placed(
        &mut self,
        targets: &[(usize, usize)],
        placed: &[Placed],
        body: BodyId,
        flags: u8,
        keywords: &BTreeSet<String>,
    ) {
        let mut bumped = BTreeSet::new();
        for (&(a, n), placed) in targets.iter().zip(placed) {
            self.models[a].make(NAMES[n]);
            let mailbox = self.models[a].mailboxes.get_mut(NAMES[n]).unwrap();
            mailbox.modseq += u64::from(bumped.insert((a, n)));
            assert_eq!(
                (placed.uid.0, placed.modseq),
                (mailbox.next, mailbox.modseq)
            );
            let message = Msg {
                body,
                flags,
                keywords: keywords.clone(),
                modseq: mailbox.modseq,
            };
            mailbox.messages.insert(mailbox.next, message);
            mailbox.next += 1;
        }
    }

    fn mark(
        &mut self,
        (a, n): (usize, usize),
        uids: &[(u32, u32)],
        how: u8,
        flags: u8,
        keywords: u8,
        since: Option<u64>,
    ) {
        let Some(mailbox) = self.models[a].mailboxes.get_mut(NAMES[n]) else {
            return;
        };
        let (uids, keywords) = (ranges(uids), words(keywords));
        let job = Mark {
            account: self.accounts[a],
            mailbox: self.engine.id(self.accounts[a], NAMES[n]),
            uids: uids.clone(),
            how: [MarkHow::Set, MarkHow::Add, MarkHow::Remove][usize::from(how)],
            flags: Flags(flags),
            keywords: keywords.iter().cloned().collect(),
            unchanged_since: since,
        };
        let before = mailbox_keywords(&self.engine.rows, job.account, job.mailbox).unwrap();
        let (rows, modified) = self.engine.mark(&job).unwrap();
        let after = mailbox_keywords(&self.engine.rows, job.account, job.mailbox).unwrap();
        let (mut left, mut changed) = (UidSet::new(), before != after);
        for (uid, message) in &mut mailbox.messages {
            if !uids.contains(Uid(*uid)) {
                continue;
            }
            if since.is_some_and(|since| message.modseq > since) {
                left.insert(Uid(*uid));
                continue;
            }
            let new = match job.how {
                MarkHow::Set => (flags, keywords.clone()),
                MarkHow::Add => (message.flags | flags, &message.keywords | &keywords),
                MarkHow::Remove => (message.flags & !flags, &message.keywords - &keywords),
            };
            if new != (message.flags, message.keywords.clone()) {
                (message.flags, message.keywords) = new;
                message.modseq = mailbox.modseq + 1;
                changed = true;
            }
        }
        mailbox.modseq += u64::from(changed);
        assert_eq!(modified, left);
        let told: Vec<_> = rows
            .iter()
            .map(|r| (r.uid.0, r.flags.0, r.modseq))
            .collect();
        let there = mailbox.messages.iter();
        let there =
            there.filter(|(uid, _)| uids.contains(Uid(**uid)) && !left.contains(Uid(**uid)));
        let expected: Vec<_> = there.map(|(uid, m)| (*uid, m.flags, m.modseq)).collect();
        assert_eq!(told, expected);
    }

    fn expunge(&mut self, (a, n): (usize, usize), only: Option<&[(u32, u32)]>, any: bool) {
        let Some(mailbox) = self.models[a].mailboxes.get_mut(NAMES[n]) else {
            return;
        };
        let only = only.map(ranges);
        let doomed = match &only {
            None => Doomed::Deleted,
            Some(uids) if any => Doomed::These(uids.clone()),
            Some(uids) => Doomed::DeletedOf(uids.clone()),
        };
        let id = self.engine.id(self.accounts[a], NAMES[n]);
        let (gone, _) = self.engine.expunge(self.accounts[a], id, &doomed).unwrap();
        let chosen = |uid: u32| only.as_ref().is_none_or(|only| only.contains(Uid(uid)));
        let whatever = any && only.is_some();
        let messages = mailbox.messages.iter();
        let going = messages.filter(|(uid, m)| chosen(**uid) && (whatever || m.flags & 8 != 0));
        let going: UidSet = going.map(|(uid, _)| Uid(*uid)).collect();
        assert_eq!(gone, going);
        mailbox.modseq += u64::from(!going.is_empty());
        mailbox.messages.retain(|uid, _| !going.contains(Uid(*uid)));
    }

    fn copy(&mut self, (a, n): (usize, usize), to: &str, uids: &[(u32, u32)], remove: bool) {
        let Some(source) = self.models[a].mailboxes.get(NAMES[n]) else {
            return;
        };
        let uids = ranges(uids);
        let chosen = source
            .messages
            .iter()
            .filter(|(uid, _)| uids.contains(Uid(**uid)));
        let chosen: Vec<_> = chosen.map(|(uid, m)| (*uid, m.clone())).collect();
        let job = Copy {
            account: self.accounts[a],
            from: self.engine.id(self.accounts[a], NAMES[n]),
            uids,
            to: to.into(),
            remove,
            rejects: None,
            now: self.engine.now,
        };
        let is_into_wanted = self.holds_anything(a, NAMES[n]) && !self.holds_anything(a, to);
        let done = self.engine.copy(&job);
        let Some(target) = self.models[a].mailboxes.get_mut(to) else {
            assert_eq!(done, Err(Stop::NoSuchMailbox));
            return;
        };
        let (from, to_uids, steps) = done.unwrap();
        assert_eq!(steps, 1);
        assert_eq!(from, chosen.iter().map(|(uid, _)| Uid(*uid)).collect());
        if chosen.is_empty() {
            return;
        }
        let first = target.next;
        target.modseq += 1;
        for (_, message) in &chosen {
            let modseq = target.modseq;
            let mut keywords = message.keywords.clone();
            // What nobody marked is wanted where only wanted mail is.
            let is_marked = keywords.contains("$Junk") || keywords.contains("$NotJunk");
            if !is_marked && is_into_wanted {
                keywords.insert("$NotJunk".to_owned());
            }
            target.messages.insert(
                target.next,
                Msg {
                    modseq,
                    keywords,
                    ..message.clone()
                },
            );
            target.next += 1;
        }
        assert_eq!(to_uids, UidSet::from_runs([first..=target.next - 1]));
        if remove {
            let source = self.models[a].mailboxes.get_mut(NAMES[n]).unwrap();
            source.modseq += u64::from(NAMES[n] != to);
            for (uid, _) in &chosen {
                source.messages.remove(uid);
            }
        }
    }

    /// Whether a mailbox is none into which only wanted mail is put: its special use goes with it when it is renamed.
    fn holds_anything(&self, a: usize, name: &str) -> bool {
        let list = mailboxes(&self.engine.rows, self.accounts[a]).unwrap();
        let special_use = list
            .iter()
            .find(|m| m.name == name)
            .and_then(|m| m.special_use);
        let own = [Some(SpecialUse::Sent), Some(SpecialUse::Drafts)];
        name.starts_with("INBOX") || name == "Sent" || own.contains(&special_use)
    }

    fn rename(&mut self, a: usize, from: &str, to: &str) {
        let model = &mut self.models[a];
        let below = |name: &str| name == from || name.starts_with(&format!("{from}/"));
        let moving: Vec<_> = match from {
            "INBOX" => vec![],
            _ => model
                .mailboxes
                .keys()
                .filter(|name| below(name))
                .cloned()
                .collect(),
        };
        let new = |old: &str| format!("{to}{}", &old[from.len()..]);
        let expected = match (from, to) {
            (_, "INBOX") => Err(Stop::Inbox),
            _ if !model.mailboxes.contains_key(from) => Err(Stop::NoSuchMailbox),
            _ if model.mailboxes.contains_key(to) => Err(Stop::MailboxExists),
            _ if moving
                .iter()
                .any(|old| model.mailboxes.contains_key(&new(old))) =>
            {
                Err(Stop::MailboxExists)
            }
            _ => Ok(()),
        };
        let done = self.engine.rename(self.accounts[a], from, to);
        assert_eq!(done.clone().map(|_| ()), expected);
        if expected.is_err() {
            return;
        }
        if from == "INBOX" {
            model.make(to);
            return self.copy((a, 0), to, &[(1, u32::MAX - 1)], true);
        }
        for old in moving {
            let moved = model.mailboxes.remove(&old).unwrap();
            model.mailboxes.insert(new(&old), moved);
        }
        if let Some((above, _)) = to.rsplit_once('/') {
            model.make(above);
        }
    }

    fn enqueue(&mut self, account: usize, groups: usize, large: bool, to: Option<usize>) {
        let targets: Vec<_> = to.map(|n| (account, n)).into_iter().collect();
        let list = targets
            .iter()
            .map(|&(a, n)| target(self.accounts[a], NAMES[n]))
            .collect();
        let mut delivery = self.engine.delivery(if large { 20_000 } else { 50 }, list);
        let group = Group {
            recipients: vec!["x@y".into(), "z@y".into()],
            next_attempt: self.engine.now,
            hold: false,
            release: None,
        };
        delivery.queue = Some(Enqueue {
            account: Some(self.accounts[account]),
            reverse_path: "a@b".into(),
            prefix: Bytes::new(),
            eight_bit: false,
            utf8: false,
            extra: Bytes::new(),
            dsn: String::new(),
            require_tls: false,
            tls_optional: false,
            ids: Vec::new(),
            groups: vec![group; groups],
        });
        let done = self.engine.run(|reads| deliver(reads, &delivery)).unwrap();
        assert!(
            done.queued
                .iter()
                .all(|id| self.queue.keys().all(|other| other < id))
        );
        self.queue.extend(done.queued.into_iter().map(|id| (id, 2)));
        let Body::New(new) = &delivery.body else {
            return;
        };
        self.placed(&targets, &done.placed, new.id, 0, &BTreeSet::new());
    }

    fn outcome(&mut self, nth: usize, fates: u8, notice: bool) {
        let Some((&id, &left)) = self.queue.iter().nth(nth) else {
            return;
        };
        let now = self.engine.now;
        self.engine
            .run(|reads| queue_attempt(reads, id, "mx", now, now))
            .unwrap();
        let fates: Vec<_> = (0..left)
            .map(|i| match fates >> i & 1 {
                0 => Fate::Deferred("later".into()),
                _ => Fate::Failed("no".into()),
            })
            .collect();
        let waiting = fates
            .iter()
            .filter(|f| matches!(f, Fate::Deferred(_)))
            .count();
        let notice = notice.then(|| {
            self.engine
                .delivery(60, vec![target(self.accounts[0], "INBOX")])
        });
        let outcome = Outcome {
            now,
            host: "mx".into(),
            text: "said".into(),
            tls: String::new(),
            fates,
            reached: Vec::new(),
            steps: Steps::default(),
            unknown: Vec::new(),
            marked: now,
            next_attempt: now,
            delay_told: true,
            notice,
            success: None,
        };
        let Settled {
            entry,
            notice: told,
        } = self
            .engine
            .run(|reads| queue_outcome(reads, id, &outcome))
            .unwrap();
        assert_eq!(entry.map_or(0, |entry| entry.recipients.len()), waiting);
        match waiting {
            0 => self.queue.remove(&id),
            _ => self.queue.insert(id, waiting),
        };
        if let (
            Some(told),
            Some(Delivery {
                body: Body::New(new),
                ..
            }),
        ) = (told, &outcome.notice)
        {
            self.placed(&[(0, 0)], &told.placed, new.id, 0, &BTreeSet::new());
        }
    }

    /// What any reader can see against the model.
    fn check(&mut self) {
        self.engine.check();
        let ids: BTreeSet<_> = queue(&self.engine.rows, 0, 99)
            .unwrap()
            .iter()
            .map(|e| e.id)
            .collect();
        assert_eq!(ids, self.queue.keys().copied().collect());
        for a in 0..2 {
            let (account, model) = (self.accounts[a], &mut self.models[a]);
            let list = mailboxes(&self.engine.rows, account).unwrap();
            let there = list.iter().filter(|m| m.mailbox.is_some()).map(|m| &m.name);
            assert!(there.eq(model.mailboxes.keys()));
            let subscribed = list.iter().filter(|m| m.subscribed).map(|m| &m.name);
            assert!(subscribed.eq(model.subscribed.iter()));
            for (name, mailbox) in &mut model.mailboxes {
                let selected = self.engine.select(account, name);
                let (status, id) = (selected.status, selected.status.mailbox);
                assert_eq!(
                    (status.next, status.modseq),
                    (mailbox.next, mailbox.modseq),
                    "{name}"
                );
                let uids: UidSet = mailbox.messages.keys().map(|&uid| Uid(uid)).collect();
                assert_eq!(*selected.uids, uids);
                let unseen = mailbox.messages.iter().find(|(_, m)| m.flags & 1 == 0);
                assert_eq!(selected.first_unseen, unseen.map(|(uid, _)| Uid(*uid)));
                for row in self.engine.all(account, id) {
                    let message = &mailbox.messages[&row.uid.0];
                    assert_eq!(
                        shown(&row, &selected.keywords),
                        (message.flags, message.keywords.clone())
                    );
                    assert_eq!(row.modseq, message.modseq);
                    let meta = meta(&self.engine.rows, account, id, row.uid)
                        .unwrap()
                        .unwrap();
                    assert_eq!(
                        meta.body,
                        BodyRef {
                            id: message.body,
                            ..meta.body
                        }
                    );
                    let key = (
                        self.names[a].clone(),
                        name.clone(),
                        status.validity,
                        row.uid.0,
                    );
                    assert_eq!(*self.ever.entry(key).or_insert(message.body), message.body);
                }
                let now: BTreeMap<u32, Shown> = mailbox
                    .messages
                    .iter()
                    .map(|(uid, m)| (*uid, (m.flags, m.keywords.clone())))
                    .collect();
                for (since, then) in &mailbox.history {
                    let (mut told, max) = (then.clone(), 1 + (*since % 3) as usize);
                    let of = |row: &Row| shown(row, &selected.keywords);
                    let upto = catch_up(&self.engine.rows, account, id, *since, max, &mut told, of);
                    assert_eq!(
                        (upto, &told),
                        (mailbox.modseq, &now),
                        "{name} since {since}"
                    );
                }
                if mailbox
                    .history
                    .last()
                    .is_none_or(|(modseq, _)| *modseq < mailbox.modseq)
                {
                    mailbox.history.push((mailbox.modseq, now));
                }
            }
        }
    }
}

fn shown(row: &Row, keywords: &[String]) -> Shown {
    let set = keywords
        .iter()
        .enumerate()
        .filter(|(at, _)| row.keywords >> at & 1 == 1);
    (row.flags.0, set.map(|(_, name)| name.clone()).collect())
}

fn words(bits: u8) -> BTreeSet<String> {
    let set = KEYWORDS
        .iter()
        .enumerate()
        .filter(|(at, _)| bits >> at & 1 == 1);
    set.map(|(_, name)| (*name).to_owned()).collect()
}

fn ranges(uids: &[(u32, u32)]) -> UidSet {
    UidSet::from_runs(
        uids.iter()
            .map(|&(first, more)| first..=first.saturating_add(more)),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_operations_keep_all_rows_in_agreement_and_tell_every_reader_the_truth(ops in ops()) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
            world.check();
        }
        // In the end everything can go, and leaves nothing.
        let now = world.engine.now;
        for account in world.accounts {
            world.engine.run(|reads| remove_account(reads, account, now)).unwrap();
        }
        for id in world.queue.keys().copied().collect::<Vec<_>>() {
            world.engine.run(|reads| queue_drop(reads, id, None, now)).unwrap();
        }
        let late = Utc::from_secs(now.secs().max(START) + 1_000 * DAY);
        let _ = world.engine.run(|reads| purge_retired(reads, late)).unwrap();
        world.engine.now = late;
        world.engine.purge();
        world.engine.check();
        // Since when there is an index of what left the queue.
        let since = [Table::Numbers as u8, 0, 0, 0, 0, 3];
        let left = world.engine.rows.iter(Space::Rows).filter(|(key, _)| **key != since);
        prop_assert_eq!(left.count(), 2, "the schema and the counters");
        prop_assert_eq!(world.engine.rows.iter(Space::Bodies).count(), 0);
        prop_assert!(world.engine.files.is_empty());
    }
}
