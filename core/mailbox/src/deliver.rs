//! Putting a new message where it belongs: mailboxes, the queue, or both, in one operation (S12).

use bytes::{Bytes, BytesMut};
use mox_machine::{Utc, mutant};
use mox_uids::Uid;

use crate::dated::{self, NewDated};
use crate::edit::Edit;
use crate::key::{self, Referrer, Table};
use crate::mailboxes::{resolve, resolve_for_mail};
use crate::rows::{HEADER_OVERHEAD, MetaRow, encode_header};
use crate::{
    AccountId, Batch, BodyHeader, BodyId, BodyRef, DecisionBudget, Enqueue, Flags, Limit,
    MailboxId, NewBody, NewDecision, Reads, Stop, Touched, VALUE_MAX, decision, queue, reject,
    reputation, sent_hours, taken,
};

/// Octets before a message (trace fields of this recipient) at most.
pub const PREFIX_MAX: usize = 16 * 1024;
/// Octets of origin facts at most.
pub const ORIGIN_MAX: usize = 8 * 1024;
/// Octets of a stored structure at most; a larger one is left out, and made again from the body by who needs it.
pub const STRUCTURE_MAX: usize = VALUE_MAX - PREFIX_MAX - ORIGIN_MAX - 256;
/// Octets of a stored header section at most; of a longer one the beginning is stored, and says so.
pub const HEADER_MAX: usize = VALUE_MAX - HEADER_OVERHEAD;

/// One accepted message: where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its body.
    pub body: Body,
    /// Envelope and structure of the body, opaque to the engine.
    pub structure: Bytes,
    /// The header section of the body, blank line included.
    pub header: Bytes,
    /// The mailboxes it goes to.
    pub targets: Vec<Target>,
    /// The remote recipients it goes to.
    pub queue: Option<Enqueue>,
    /// The time of the operation.
    pub now: Utc,
}

/// A body to be referred to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// It came now.
    New(NewBody),
    /// Others refer to it already.
    Stored(BodyRef),
}

impl Body {
    /// Its octets, without what is put before it.
    pub(crate) const fn length(&self) -> u64 {
        match self {
            Self::New(new) => new.length,
            Self::Stored(body) => body.length,
        }
    }

    /// Its number.
    pub const fn id(&self) -> BodyId {
        match self {
            Self::New(new) => new.id,
            Self::Stored(body) => body.id,
        }
    }
}

/// One mailbox a message goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whose.
    pub account: AccountId,
    /// Its name.
    pub mailbox: String,
    /// Make it when it is missing: for mail that arrives, not for APPEND.
    pub create: bool,
    /// What stands before the body for this recipient: trace fields. Part of the message and of its size.
    pub prefix: Bytes,
    /// System flags.
    pub flags: Flags,
    /// Keywords.
    pub keywords: Vec<String>,
    /// Internal date; whole seconds are kept.
    pub date: Utc,
    /// Where it came from and what was decided about it, opaque to the engine.
    pub origin: Bytes,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivered {
    /// For each target, in order.
    pub placed: Vec<Placed>,
    /// The numbers of its entries in the queue.
    pub queued: Vec<u64>,
    /// Damaged rows of what is only remembered, which were passed over.
    pub damaged: usize,
}

/// A message in its mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Whose.
    pub account: AccountId,
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// Its UIDVALIDITY.
    pub validity: u32,
    /// The message.
    pub uid: Uid,
    /// The mailbox's modification sequence with it.
    pub modseq: u64,
}

/// Delivers a message; APPEND is the same with one target. A new body that ends up nowhere is dropped.
pub fn deliver(reads: &dyn Reads, delivery: &Delivery) -> Result<(Batch, Delivered), Stop> {
    let mut edit = Edit::new(reads, delivery.now);
    let delivered = place(&mut edit, delivery)?;
    Ok((edit.finish()?, delivered))
}

/// What an operation keeps beside the message it delivers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beside {
    /// The record of the decision that it is to be delivered, and for how much there is room.
    pub decision: Option<(NewDecision, DecisionBudget)>,
    /// Who wrote it, and hashes of what it is remembered by: at most [`WROTE_MAX`].
    pub wrote: Option<(AccountId, Vec<u64>)>,
    /// Whose limits of sending it counts for, and to how many recipients it goes that the account never wrote to before.
    pub counts: Option<(AccountId, u32)>,
    /// The number of the file in which it was handed over: no second operation takes the same.
    pub file: Option<[u8; 16]>,
    /// What it is known by if a copy of it was kept before, when it was not taken: that goes.
    pub known_by: Vec<u64>,
    /// Accounts whose copies stay all the same, until they are old.
    pub keeping: Vec<AccountId>,
    /// Rows that are found by their time: reports that were in it.
    pub dated: Vec<NewDated>,
    /// There was room for it when it was promised: quotas do not count.
    pub promised: bool,
    /// Accounts that get it by way of the queue: a copy of what was not taken before goes there too.
    pub later: Vec<AccountId>,
}

/// Hashes of a message that an account wrote, at most; more are left out. Half of what one operation may write.
pub const WROTE_MAX: usize = 500;

/// Rows of an operation from which on it removes no more copies of what was not taken before.
const TAKEN_BELOW: usize = 650;

/// Delivers a message, and keeps what is to be kept beside it.
pub fn deliver_beside(
    reads: &dyn Reads,
    delivery: &Delivery,
    beside: &Beside,
) -> Result<(Batch, Delivered), Stop> {
    let mut edit = Edit::new(reads, delivery.now);
    edit.promised = beside.promised;
    if let Some(file) = &beside.file {
        taken::take(&mut edit, file)?;
    }
    let mut delivered = place(&mut edit, delivery)?;
    for row in &beside.dated {
        delivered.damaged += usize::from(dated::keep(&mut edit, row).is_err());
    }
    let targets = delivery.targets.iter().map(|target| target.account);
    let accounts = targets.chain(beside.later.iter().copied());
    for account in accounts.filter(|_| !beside.known_by.is_empty()) {
        // A copy that stays goes when it is old; a message with one row too many is never taken.
        if edit.weight() > TAKEN_BELOW {
            break;
        }
        if !beside.keeping.contains(&account) {
            delivered.damaged += reject::taken(&mut edit, account, &beside.known_by)?;
        }
    }
    if let Some((account, hashes)) = &beside.wrote {
        let hashes = hashes.get(..WROTE_MAX).unwrap_or(hashes);
        reputation::wrote(
            &mut edit,
            *account,
            hashes,
            delivery.body.id(),
            delivery.now,
        );
    }
    if let Some((account, new_recipients)) = beside.counts {
        delivered.damaged += sent_hours::count(&mut edit, account, new_recipients);
    }
    // At last: old records make room for it in what the operation has left.
    if let Some((decision, budget)) = &beside.decision
        && !mutant!(DeliveredUnrecorded)
    {
        delivered.damaged += decision::keep(&mut edit, decision, *budget);
    }
    Ok((edit.finish()?, delivered))
}

/// Appends several messages, all or none; in the same moment `replaced` is expunged, unless it is gone already.
/// Each has one target, and all have the same one.
pub fn append(
    reads: &dyn Reads,
    messages: &[Delivery],
    replaced: Option<(AccountId, MailboxId, Uid)>,
    now: Utc,
) -> Result<(Batch, Vec<Placed>), Stop> {
    let mut edit = Edit::new(reads, now);
    let mut placed = Vec::new();
    for message in messages {
        placed.extend(place(&mut edit, message)?.placed);
    }
    if let Some((account, mailbox, uid)) = replaced {
        edit.mailbox(account, mailbox)?.take(uid)?;
    }
    Ok((edit.finish()?, placed))
}

pub(crate) fn place(edit: &mut Edit<'_>, delivery: &Delivery) -> Result<Delivered, Stop> {
    let body = match &delivery.body {
        Body::New(new) => new.stored(),
        Body::Stored(body) => *body,
    };
    let nowhere = delivery.targets.is_empty() && delivery.queue.is_none();
    match &delivery.body {
        Body::New(_) if nowhere => {
            edit.drop_body(&body);
            return Ok(Delivered::default());
        }
        Body::Stored(_) if !edit.is_referenced(body.id)? => return Err(Stop::NoSuchBody(body.id)),
        _ => {}
    }
    let structure = (delivery.structure.len() <= STRUCTURE_MAX).then_some(&delivery.structure[..]);
    let stored_header = delivery
        .header
        .slice(..delivery.header.len().min(HEADER_MAX));
    let header = encode_header(&stored_header, stored_header.len() < delivery.header.len());
    let mut placed = Vec::with_capacity(delivery.targets.len());
    for target in &delivery.targets {
        let one = place_one(edit, &body, structure, &header, target)?;
        if mutant!(OneReferenceForAll) && !placed.is_empty() {
            let by = Referrer::Message(one.account, one.mailbox, one.uid);
            edit.remove(key::reference(body.id, by));
        }
        placed.push(one);
    }
    let queued = match &delivery.queue {
        Some(enqueue) => queue::enqueue(edit, &body, enqueue)?,
        None => Vec::new(),
    };
    if let Body::New(new) = &delivery.body {
        store_body(edit, new, delivery, placed.first())?;
    }
    if !queued.is_empty() {
        edit.touched.push(Touched::Queue);
    }
    Ok(Delivered {
        placed,
        queued,
        damaged: 0,
    })
}

fn place_one(
    edit: &mut Edit<'_>,
    body: &BodyRef,
    structure: Option<&[u8]>,
    header: &Bytes,
    target: &Target,
) -> Result<Placed, Stop> {
    if target.prefix.len() > PREFIX_MAX {
        return Err(Stop::TooMany(Limit::Prefix));
    }
    if target.origin.len() > ORIGIN_MAX {
        return Err(Stop::TooMany(Limit::Origin));
    }
    let account = target.account;
    let id = match target.create {
        true => resolve_for_mail(edit, account, &target.mailbox)?,
        false => resolve(edit, account, &target.mailbox, false)?,
    };
    let size = body.length.saturating_add(target.prefix.len() as u64);
    let mailbox = edit.mailbox(account, id)?;
    let keywords = mailbox.keyword_bits(&target.keywords, true)?;
    let uid = mailbox.append(size, target.date, target.flags, keywords)?;
    let placed = Placed {
        account,
        mailbox: id,
        validity: mailbox.row.validity,
        uid,
        modseq: mailbox.modseq(),
    };
    let meta = MetaRow {
        body: *body,
        size,
        date: Utc::from_secs(target.date.secs()),
        saved: edit.now,
        prefix: &target.prefix,
        structure,
        origin: &target.origin,
        said: None,
    };
    put_message(edit, account, id, uid, &meta, header.clone());
    Ok(placed)
}

/// The rows of a message beside its page: facts, header section, reference.
pub(crate) fn put_message(
    edit: &mut Edit<'_>,
    account: AccountId,
    mailbox: MailboxId,
    uid: Uid,
    meta: &MetaRow<'_>,
    header: Bytes,
) {
    edit.put(key::at(Table::Meta, account, mailbox, uid.0), meta.encode());
    edit.put(key::at(Table::Header, account, mailbox, uid.0), header);
    edit.add_reference(meta.body.id, Referrer::Message(account, mailbox, uid));
}

/// Writes the row of a small body. The file of a large one is there already (S1).
fn store_body(
    edit: &mut Edit<'_>,
    new: &NewBody,
    delivery: &Delivery,
    first: Option<&Placed>,
) -> Result<(), Stop> {
    let body = new.stored();
    let as_announced = match &new.inline {
        Some(octets) => body.is_inline() && octets.len() as u64 == body.length,
        None => !body.is_inline(),
    };
    if !as_announced {
        return Err(Stop::NoSuchBody(new.id));
    }
    let Some(octets) = &new.inline else {
        return Ok(());
    };
    let sender = delivery.queue.as_ref().and_then(|queue| queue.account);
    let owner = first.map(|first| first.account).or(sender);
    let header = BodyHeader {
        body,
        account: owner.unwrap_or(AccountId(0)),
        mailbox: first.map_or(MailboxId(0), |first| first.mailbox),
        uid: first.map_or(Uid(0), |first| first.uid),
        date: delivery.targets.first().map_or(edit.now, |t| t.date),
    };
    let mut value = BytesMut::with_capacity(BodyHeader::LEN + octets.len());
    value.extend_from_slice(&header.encode());
    value.extend_from_slice(octets);
    edit.put_body(new.id, value.freeze());
    Ok(())
}
