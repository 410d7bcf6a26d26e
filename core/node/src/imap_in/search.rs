//! SEARCH over what is stored.

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_driver::{Pool, Runtime};
use mox_imap::SearchKey;
use mox_imap::server::{Answer, BoxId};
use mox_machine::Utc;
use mox_mailbox::{AccountId, Header, MailboxId, Meta, ReadError, Reads, Row};
use mox_message::contains;
use mox_mime::{Date, Inside, parts};
use mox_server::search::{Candidate, Cost, cost, matches, prepare};
use mox_store::{Published, Store};
use mox_uids::{Uid, UidSet};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::body::{Message, StoredHeader, structure};
use super::shape::Shape;
use super::{ImapHost, Response, mailbox_of, unreadable};
use crate::all::all;
use crate::node::Inner;

/// Rows looked at in one scan.
const PAGE: usize = 500;
/// Rows that are looked at in a session's poll, at most: about a millisecond of work.
const ROWS_AT_ONCE: u32 = 5_000;
/// Messages that one step of a search looks at, at most.
const STEP_MESSAGES: usize = 500;
/// Octets of messages whose bodies one step reads, about.
const STEP_OCTETS: u64 = 2 * 1024 * 1024;
/// Slices of a mailbox that are looked through side by side, on as many threads as the pool has.
const SLICES: u32 = 8;
/// Messages that are worth a slice of their own.
const SLICE_MIN: u32 = 32;
/// Messages whose header is read ahead of a search, at most.
const AHEAD_MAX: usize = 64;
/// Octets of a text part that are searched; the rest of a longer one is passed over.
const PART_MAX: u64 = 16 * 1024 * 1024;

impl<R: Runtime> ImapHost<R> {
    pub(super) fn search(
        &mut self,
        mailbox: BoxId,
        among: Arc<UidSet>,
        key: Arc<SearchKey>,
        shape: Shape,
    ) -> Response {
        let (account, mailbox) = (self.account(), mailbox_of(mailbox));
        let key = prepare(&key);
        let search = Search {
            published: self.node.store.published(),
            store: self.node.store.clone(),
            account,
            mailbox,
            now: self.node.runtime.now().utc,
        };
        // Some rows are read in the same poll; many of them, and what may open bodies, go to the pool (R8).
        match cost(&key) {
            Cost::Row if shape == Shape::Set && among.len() <= ROWS_AT_ONCE => {
                let mut found = Found::default();
                let all = search.look(&among, &key, &mut found, |_, _| false);
                Response::Now(match all {
                    Ok(()) => found.answer(&key),
                    Err(error) => unreadable(error),
                })
            }
            Cost::Row | Cost::Header | Cost::Body => {
                let (search, node) = (Arc::new(search), self.node.clone());
                let key = Arc::new(key);
                let slice = |slice| in_steps(node.clone(), search.clone(), slice, key.clone());
                let running: Vec<_> = slices(&among).into_iter().map(slice).collect();
                Response::answer_later(async move {
                    let mut found = Found::default();
                    for slice in all(running).await {
                        match slice {
                            Ok(slice) => found.add(slice),
                            Err(error) => return unreadable(error),
                        }
                    }
                    let found = found.answer(&key);
                    let (Answer::Found { uids, modseq }, false) = (&found, shape == Shape::Set)
                    else {
                        return found;
                    };
                    let (uids, modseq) = (uids.clone(), *modseq);
                    let work = Box::new(move || search.shape(&uids, modseq, &shape));
                    node.runtime.blocking(Pool::Compute, work).await
                })
            }
        }
    }
}

/// Looks through one slice, some messages at a time: logins and signatures wait in the same pool, and a search that nobody
/// waits for any more ends with its step.
async fn in_steps<R: Runtime>(
    node: Arc<Inner<R>>,
    search: Arc<Search>,
    mut left: UidSet,
    key: Arc<SearchKey>,
) -> io::Result<Found> {
    let mut found = Found::default();
    while !left.is_empty() {
        let (search, key) = (search.clone(), key.clone());
        let work = Box::new(move || {
            let mut found = Found::default();
            let enough = |messages, octets| messages >= STEP_MESSAGES || octets >= STEP_OCTETS;
            search.look(&left, &key, &mut found, enough)?;
            Ok::<_, io::Error>((found, left))
        });
        let (step, slice) = node.runtime.blocking(Pool::Compute, work).await?;
        left = match step.next {
            Some(next) => slice.intersection(&UidSet::from_runs([next.0..=u32::MAX])),
            None => UidSet::new(),
        };
        found.add(step);
    }
    Ok(found)
}

/// The messages in slices of about the same number.
fn slices(among: &UidSet) -> Vec<UidSet> {
    let count = (among.len() / SLICE_MIN).clamp(1, SLICES);
    let length = among.len().div_ceil(count).max(1);
    let border = |n: u32| among.at(n * length).map(|uid| uid.0);
    (0..count)
        .filter_map(|n| Some((border(n)?, border(n + 1).map_or(u32::MAX, |next| next - 1))))
        .map(|(first, last)| UidSet::from_runs([first..=last]).intersection(among))
        .collect()
}

/// What was found so far.
#[derive(Default)]
struct Found {
    uids: UidSet,
    /// The highest modification sequence among them.
    modseq: u64,
    /// The first message that was not looked at.
    next: Option<Uid>,
}

impl Found {
    fn add(&mut self, more: Self) {
        self.uids = self.uids.union(&more.uids);
        self.modseq = self.modseq.max(more.modseq);
    }

    fn answer(self, key: &SearchKey) -> Answer {
        Answer::Found {
            uids: self.uids,
            modseq: asks_modseq(key).then_some(self.modseq),
        }
    }
}

pub(super) struct Search {
    pub(super) published: Arc<Published>,
    pub(super) store: Store,
    pub(super) account: AccountId,
    pub(super) mailbox: MailboxId,
    now: Utc,
}

impl Search {
    /// Looks through messages, ascending, until it is enough: of messages looked at, and of octets in those that had to be
    /// read.
    fn look(
        &self,
        among: &UidSet,
        key: &SearchKey,
        found: &mut Found,
        enough: impl Fn(usize, u64) -> bool,
    ) -> io::Result<()> {
        let view = &*self.published.view;
        let (account, mailbox) = (self.account, self.mailbox);
        let keywords =
            mox_mailbox::mailbox_keywords(view, account, mailbox).map_err(io::Error::other)?;
        let needles = needles(key);
        let (mut uids, mut messages, mut octets) = (Vec::new(), 0, 0);
        let mut from = among.first();
        while let Some(first) = from {
            let page = mox_mailbox::rows(view, account, mailbox, among, first, PAGE)
                .map_err(io::Error::other)?;
            let mut ahead = Ahead::default();
            from = page.next;
            for (at, row) in page.rows.iter().enumerate() {
                if enough(messages, octets) {
                    from = None;
                    found.next = Some(row.uid);
                    break;
                }
                let mut candidate = Stored {
                    search: self,
                    keywords: &keywords,
                    needles: &needles,
                    row,
                    rest: page.rows.get(at..).unwrap_or_default(),
                    ahead: &mut ahead,
                    read: None,
                    texts: None,
                };
                messages += 1;
                if matches(key, &mut candidate, self.now)? {
                    uids.push(row.uid);
                    found.modseq = found.modseq.max(row.modseq);
                }
                if candidate.texts.is_some() {
                    octets += row.size;
                }
            }
        }
        found.uids = uids.into_iter().collect();
        Ok(())
    }
}

/// What is looked for in bodies, once each.
fn needles(key: &SearchKey) -> Vec<&str> {
    fn collect<'k>(key: &'k SearchKey, into: &mut Vec<&'k str>) {
        match key {
            SearchKey::And(keys) => keys.iter().for_each(|key| collect(key, into)),
            SearchKey::Or(a, b) => [a, b].into_iter().for_each(|key| collect(key, into)),
            SearchKey::Not(key) => collect(key, into),
            SearchKey::Body(text) | SearchKey::Text(text) => into.push(text),
            _ => {}
        }
    }
    let mut needles = Vec::new();
    collect(key, &mut needles);
    needles.sort_unstable();
    needles.dedup();
    needles
}

/// RFC 7162 3.1.5: a key with MODSEQ is answered with the highest one found.
fn asks_modseq(key: &SearchKey) -> bool {
    match key {
        SearchKey::Modseq(_) => true,
        SearchKey::And(keys) => keys.iter().any(asks_modseq),
        SearchKey::Or(a, b) => asks_modseq(a) || asks_modseq(b),
        SearchKey::Not(key) => asks_modseq(key),
        _ => false,
    }
}

/// Messages whose header was read before the search came to them: rows of neighbours are read at a fraction of what each
/// would cost alone. The further a search reads every message, the more are read at once.
#[derive(Default)]
struct Ahead {
    read: VecDeque<(Uid, Meta, Option<Header>)>,
    count: usize,
    /// The message behind the last one that was read.
    next: Option<Uid>,
}

impl Ahead {
    /// The first message of `rest`.
    fn take(
        &mut self,
        search: &Search,
        rest: &[Row],
    ) -> Result<Option<(Meta, Option<Header>)>, ReadError> {
        let Some(uid) = rest.first().map(|row| row.uid) else {
            return Ok(None);
        };
        let is_wanted = |read: &VecDeque<(Uid, _, _)>| read.front().is_some_and(|m| m.0 >= uid);
        while !is_wanted(&self.read) && self.read.pop_front().is_some() {}
        if self.read.is_empty() {
            self.count = match self.next == Some(uid) {
                true => (self.count * 2).min(AHEAD_MAX),
                false => 1,
            };
            self.next = rest.get(self.count).map(|row| row.uid);
            let uids = rest.iter().take(self.count).map(|row| row.uid).collect();
            self.fill(search, &uids)?;
        }
        let found = self.read.pop_front_if(|message| message.0 == uid);
        Ok(found.map(|(_, meta, header)| (meta, header)))
    }

    fn fill(&mut self, search: &Search, uids: &UidSet) -> Result<(), ReadError> {
        let view: &dyn Reads = &*search.published.view;
        let (account, mailbox) = (search.account, search.mailbox);
        mox_mailbox::metas(view, account, mailbox, uids, &mut |uid, meta| {
            self.read.push_back((uid, meta, None));
            ControlFlow::Continue(())
        })?;
        let mut places = self.read.iter_mut().peekable();
        mox_mailbox::headers(view, account, mailbox, uids, &mut |uid, header| {
            while places.next_if(|place| place.0 < uid).is_some() {}
            if let Some(place) = places.next_if(|place| place.0 == uid) {
                place.2 = Some(header);
            }
            ControlFlow::Continue(())
        })
    }
}

/// A stored message that a search looks at.
struct Stored<'s> {
    search: &'s Search,
    keywords: &'s [String],
    row: &'s Row,
    /// This row and those behind it.
    rest: &'s [Row],
    ahead: &'s mut Ahead,
    read: Option<(Message, Bytes)>,
    /// What is looked for in bodies, sorted.
    needles: &'s [&'s str],
    /// Which of that is in this one, once it was read.
    texts: Option<Vec<bool>>,
}

impl Stored<'_> {
    /// The message and its header, read once.
    fn message(&mut self) -> io::Result<Option<&(Message, Bytes)>> {
        if self.read.is_none() {
            let search = self.search;
            let found = self.ahead.take(search, self.rest);
            let Some((meta, header)) = found.map_err(io::Error::other)? else {
                return Ok(None);
            };
            let message = Message {
                account: search.account,
                mailbox: search.mailbox,
                uid: self.row.uid,
                meta,
            };
            let header = match header.map(|stored| message.with_prefix(stored)) {
                Some(StoredHeader::Whole(header)) => header,
                Some(StoredHeader::Cut) => {
                    let view = &*search.published.view;
                    let whole = message.header_in_body(&search.store, view);
                    whole.unwrap_or_default()
                }
                None => Bytes::new(),
            };
            self.read = Some((message, header));
        }
        Ok(self.read.as_ref())
    }
}

impl Candidate for Stored<'_> {
    type Error = io::Error;

    fn uid(&self) -> Uid {
        self.row.uid
    }

    fn modseq(&self) -> u64 {
        self.row.modseq
    }

    fn size(&self) -> u64 {
        self.row.size
    }

    fn flags(&self) -> u8 {
        self.row.flags.0
    }

    fn has_keyword(&self, keyword: &str) -> bool {
        let at = self
            .keywords
            .iter()
            .position(|k| k.eq_ignore_ascii_case(keyword));
        at.is_some_and(|bit| self.row.keywords >> bit & 1 == 1)
    }

    fn internal_date(&mut self) -> io::Result<Utc> {
        Ok(self.row.date)
    }

    fn sent_day(&mut self) -> io::Result<Option<i64>> {
        let Some((_, header)) = self.message()? else {
            return Ok(None);
        };
        let date = mox_mime::header::find(header, b"Date").and_then(Date::parse);
        Ok(date.map(|date| (date.unix() + i64::from(date.zone) * 60).div_euclid(86_400)))
    }

    fn saved_day(&mut self) -> io::Result<Option<i64>> {
        let message = self.message()?;
        Ok(message.map(|(message, _)| message.meta.saved.secs().div_euclid(86_400)))
    }

    fn has_email_id(&mut self, id: &str) -> io::Result<bool> {
        let message = self.message()?;
        let own = message.map(|(message, _)| message.email_id());
        let shown = own.map(|own| {
            own.iter()
                .fold(String::from("M"), |shown, b| format!("{shown}{b:02x}"))
        });
        Ok(shown.as_deref() == Some(id))
    }

    fn field_contains(&mut self, name: &[u8], needle: &str) -> io::Result<bool> {
        let Some((_, header)) = self.message()? else {
            return Ok(false);
        };
        let mut values = mox_mime::header::find_all(header, name);
        Ok(values.any(|value| needle.is_empty() || contains::value_contains(value, needle)))
    }

    fn header_contains(&mut self, needle: &str) -> io::Result<bool> {
        let message = self.message()?;
        Ok(message.is_some_and(|(_, header)| contains::header_contains(header, needle)))
    }

    /// The body is read and decoded once, whatever is looked for in it.
    fn body_contains(&mut self, needle: &str) -> io::Result<bool> {
        if self.texts.is_none() {
            let mut found = vec![false; self.needles.len()];
            self.look_into_body(&mut found)?;
            self.texts = Some(found);
        }
        let at = self.needles.binary_search(&needle).ok();
        let found = at.and_then(|at| self.texts.as_ref()?.get(at).copied());
        Ok(found.unwrap_or(false))
    }
}

impl Stored<'_> {
    fn look_into_body(&mut self, found: &mut [bool]) -> io::Result<()> {
        let (search, needles) = (self.search, self.needles);
        let view: &dyn Reads = &*search.published.view;
        let Some((message, _)) = self.message()? else {
            return Ok(());
        };
        let Some(stored) = structure(&search.store, view, &message.meta) else {
            return Ok(());
        };
        for part in parts(&stored.part) {
            let is_text = part.media.eq_ignore_ascii_case(b"text");
            if !is_text || !matches!(part.inside, Inside::Leaf) {
                continue;
            }
            let place = part.body..part.end.min(part.body + PART_MAX);
            let octets = message.body_at(&search.store, view, place)?;
            contains::part_contains(part, &octets, needles, found);
            if found.iter().all(|found| *found) {
                break;
            }
        }
        Ok(())
    }
}
