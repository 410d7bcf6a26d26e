//! Rows of the queue as earlier versions wrote them: read, and never written again.

use bytes::Bytes;
use mox_machine::Utc;
use serde::Deserialize;

use crate::queue::{Attempt, Fate, QueueEntry, QueueMessage, Retired};
use crate::queue_recipient::{QueueRecipient, Said};
use crate::rows::{octets, utc, utc_option};
use crate::sent::Notified;
use crate::{AccountId, BodyRef};

/// Version 1: without what the sender wants to be told, and without demands on TLS.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct QueueMessageV1 {
    id: u64,
    entries: u32,
    account: Option<AccountId>,
    reverse_path: String,
    body: BodyRef,
    #[serde(with = "octets")]
    prefix: Bytes,
    eight_bit: bool,
    utf8: bool,
    #[serde(with = "octets")]
    extra: Bytes,
    #[serde(with = "utc")]
    created: Utc,
}

impl From<QueueMessageV1> for QueueMessage {
    fn from(row: QueueMessageV1) -> Self {
        Self {
            id: row.id,
            entries: row.entries,
            account: row.account,
            reverse_path: row.reverse_path,
            body: row.body,
            prefix: row.prefix,
            eight_bit: row.eight_bit,
            utf8: row.utf8,
            extra: row.extra,
            created: row.created,
            dsn: String::new(),
            require_tls: false,
            tls_optional: false,
            ids: Vec::new(),
        }
    }
}

/// Version 2: without the ids that notifications may name.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct QueueMessageV2 {
    id: u64,
    entries: u32,
    account: Option<AccountId>,
    reverse_path: String,
    body: BodyRef,
    #[serde(with = "octets")]
    prefix: Bytes,
    eight_bit: bool,
    utf8: bool,
    #[serde(with = "octets")]
    extra: Bytes,
    #[serde(with = "utc")]
    created: Utc,
    dsn: String,
    require_tls: bool,
    tls_optional: bool,
}

impl From<QueueMessageV2> for QueueMessage {
    fn from(row: QueueMessageV2) -> Self {
        Self {
            id: row.id,
            entries: row.entries,
            account: row.account,
            reverse_path: row.reverse_path,
            body: row.body,
            prefix: row.prefix,
            eight_bit: row.eight_bit,
            utf8: row.utf8,
            extra: row.extra,
            created: row.created,
            dsn: row.dsn,
            require_tls: row.require_tls,
            tls_optional: row.tls_optional,
            ids: Vec::new(),
        }
    }
}

/// Version 1: recipients were addresses alone.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct QueueEntryV1 {
    id: u64,
    message: u64,
    recipients: Vec<String>,
    #[serde(with = "utc")]
    next_attempt: Utc,
    hold: bool,
    attempts_made: u32,
    attempts: Vec<AttemptV1>,
    delay_told: bool,
    #[serde(with = "utc")]
    created: Utc,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
struct AttemptV1 {
    #[serde(with = "utc")]
    started: Utc,
    #[serde(with = "utc_option")]
    ended: Option<Utc>,
    host: String,
    outcome: String,
}

impl From<QueueEntryV1> for QueueEntry {
    fn from(row: QueueEntryV1) -> Self {
        let attempts = row.attempts.into_iter().map(|attempt| Attempt {
            started: attempt.started,
            ended: attempt.ended,
            host: attempt.host,
            outcome: attempt.outcome,
            tls: String::new(),
            transport: String::new(),
            ambiguous: false,
        });
        let recipients = row.recipients.into_iter();
        Self {
            id: row.id,
            message: row.message,
            recipients: recipients.map(QueueRecipient::from).collect(),
            next_attempt: row.next_attempt,
            hold: row.hold,
            attempts_made: row.attempts_made,
            attempts: attempts.collect(),
            delay_told: row.delay_told,
            created: row.created,
            release: None,
            transport: String::new(),
            ambiguous: 0,
            owner: None,
        }
    }
}

/// Version 2: attempts did not say their transport.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct QueueEntryV2 {
    id: u64,
    message: u64,
    recipients: Vec<RecipientV2>,
    #[serde(with = "utc")]
    next_attempt: Utc,
    hold: bool,
    attempts_made: u32,
    attempts: Vec<AttemptV2>,
    delay_told: bool,
    #[serde(with = "utc")]
    created: Utc,
    #[serde(with = "utc_option")]
    release: Option<Utc>,
    transport: String,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
struct AttemptV2 {
    #[serde(with = "utc")]
    started: Utc,
    #[serde(with = "utc_option")]
    ended: Option<Utc>,
    host: String,
    outcome: String,
    tls: String,
}

impl From<AttemptV2> for Attempt {
    fn from(attempt: AttemptV2) -> Self {
        Self {
            started: attempt.started,
            ended: attempt.ended,
            host: attempt.host,
            outcome: attempt.outcome,
            tls: attempt.tls,
            transport: String::new(),
            ambiguous: false,
        }
    }
}

impl From<QueueEntryV2> for QueueEntry {
    fn from(row: QueueEntryV2) -> Self {
        Self {
            id: row.id,
            message: row.message,
            recipients: row.recipients.into_iter().map(Into::into).collect(),
            next_attempt: row.next_attempt,
            hold: row.hold,
            attempts_made: row.attempts_made,
            attempts: row.attempts.into_iter().map(Attempt::from).collect(),
            delay_told: row.delay_told,
            created: row.created,
            release: row.release,
            transport: row.transport,
            ambiguous: 0,
            owner: None,
        }
    }
}

/// Before it was kept what was said last of each recipient.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
struct RecipientV2 {
    address: String,
    dsn: String,
}

impl From<RecipientV2> for QueueRecipient {
    fn from(recipient: RecipientV2) -> Self {
        Self {
            address: recipient.address,
            dsn: recipient.dsn,
            last: None,
            filed: None,
        }
    }
}

/// Version 3: what was said last was one for all recipients, and lost answers to final dots were not counted.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct QueueEntryV3 {
    id: u64,
    message: u64,
    recipients: Vec<RecipientV2>,
    #[serde(with = "utc")]
    next_attempt: Utc,
    hold: bool,
    attempts_made: u32,
    attempts: Vec<AttemptV3>,
    delay_told: bool,
    #[serde(with = "utc")]
    created: Utc,
    #[serde(with = "utc_option")]
    release: Option<Utc>,
    transport: String,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
struct AttemptV3 {
    #[serde(with = "utc")]
    started: Utc,
    #[serde(with = "utc_option")]
    ended: Option<Utc>,
    host: String,
    outcome: String,
    tls: String,
    transport: String,
}

impl From<AttemptV3> for Attempt {
    fn from(attempt: AttemptV3) -> Self {
        Self {
            started: attempt.started,
            ended: attempt.ended,
            host: attempt.host,
            outcome: attempt.outcome,
            tls: attempt.tls,
            transport: attempt.transport,
            ambiguous: false,
        }
    }
}

impl From<QueueEntryV3> for QueueEntry {
    fn from(row: QueueEntryV3) -> Self {
        Self {
            id: row.id,
            message: row.message,
            recipients: row.recipients.into_iter().map(Into::into).collect(),
            next_attempt: row.next_attempt,
            hold: row.hold,
            attempts_made: row.attempts_made,
            attempts: row.attempts.into_iter().map(Attempt::from).collect(),
            delay_told: row.delay_told,
            created: row.created,
            release: row.release,
            transport: row.transport,
            ambiguous: 0,
            owner: None,
        }
    }
}

/// Version 4: recipients here had no place of their own, and whose an entry is stood with the message alone.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct QueueEntryV4 {
    id: u64,
    message: u64,
    recipients: Vec<RecipientV4>,
    #[serde(with = "utc")]
    next_attempt: Utc,
    hold: bool,
    attempts_made: u32,
    attempts: Vec<Attempt>,
    delay_told: bool,
    #[serde(with = "utc")]
    created: Utc,
    #[serde(with = "utc_option")]
    release: Option<Utc>,
    transport: String,
    ambiguous: u32,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
struct RecipientV4 {
    address: String,
    dsn: String,
    last: Option<Said>,
}

impl From<RecipientV4> for QueueRecipient {
    fn from(recipient: RecipientV4) -> Self {
        Self {
            address: recipient.address,
            dsn: recipient.dsn,
            last: recipient.last,
            filed: None,
        }
    }
}

impl From<QueueEntryV4> for QueueEntry {
    fn from(row: QueueEntryV4) -> Self {
        Self {
            id: row.id,
            message: row.message,
            recipients: row.recipients.into_iter().map(Into::into).collect(),
            next_attempt: row.next_attempt,
            hold: row.hold,
            attempts_made: row.attempts_made,
            attempts: row.attempts,
            delay_told: row.delay_told,
            created: row.created,
            release: row.release,
            transport: row.transport,
            ambiguous: row.ambiguous,
            owner: None,
        }
    }
}

/// Version 3: of the attempts the last one only, with its host for all recipients, and notes without the address that they are about.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct RetiredV3 {
    entry: u64,
    message: u64,
    account: Option<AccountId>,
    reverse_path: String,
    recipients: Vec<(String, Fate)>,
    #[serde(with = "utc")]
    created: Utc,
    #[serde(with = "utc")]
    retired: Utc,
    attempts_made: u32,
    size: u64,
    #[serde(with = "octets")]
    extra: Bytes,
    last: Option<AttemptV3>,
    ids: Vec<String>,
    notified: Vec<NotifiedV3>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
struct NotifiedV3 {
    #[serde(with = "utc")]
    at: Utc,
    recipient: String,
    action: String,
    status: String,
    from: String,
    text: String,
}

impl From<RetiredV3> for Retired {
    fn from(row: RetiredV3) -> Self {
        let notified = row.notified.into_iter().map(|note| Notified {
            at: note.at,
            recipient: note.recipient,
            about: String::new(),
            action: note.action,
            status: note.status,
            from: note.from,
            text: note.text,
        });
        Self {
            entry: row.entry,
            message: row.message,
            account: row.account,
            reverse_path: row.reverse_path,
            recipients: row.recipients,
            created: row.created,
            retired: row.retired,
            attempts_made: row.attempts_made,
            size: row.size,
            extra: row.extra,
            attempts: row.last.map(Attempt::from).into_iter().collect(),
            ids: row.ids,
            notified: notified.collect(),
            reached: Vec::new(),
            ambiguous: 0,
        }
    }
}

/// Version 2: its last attempt did not say its transport.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct RetiredV2 {
    entry: u64,
    message: u64,
    account: Option<AccountId>,
    reverse_path: String,
    recipients: Vec<(String, Fate)>,
    #[serde(with = "utc")]
    created: Utc,
    #[serde(with = "utc")]
    retired: Utc,
    attempts_made: u32,
    size: u64,
    #[serde(with = "octets")]
    extra: Bytes,
    last: Option<AttemptV2>,
}

impl From<RetiredV2> for Retired {
    fn from(row: RetiredV2) -> Self {
        Self {
            entry: row.entry,
            message: row.message,
            account: row.account,
            reverse_path: row.reverse_path,
            recipients: row.recipients,
            created: row.created,
            retired: row.retired,
            attempts_made: row.attempts_made,
            size: row.size,
            extra: row.extra,
            attempts: row.last.map(Attempt::from).into_iter().collect(),
            ids: Vec::new(),
            notified: Vec::new(),
            reached: Vec::new(),
            ambiguous: 0,
        }
    }
}

/// Version 1: without its transaction and its last attempt.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct RetiredV1 {
    entry: u64,
    message: u64,
    account: Option<AccountId>,
    reverse_path: String,
    recipients: Vec<(String, Fate)>,
    #[serde(with = "utc")]
    created: Utc,
    #[serde(with = "utc")]
    retired: Utc,
    attempts_made: u32,
    size: u64,
}

impl From<RetiredV1> for Retired {
    fn from(row: RetiredV1) -> Self {
        Self {
            entry: row.entry,
            message: row.message,
            account: row.account,
            reverse_path: row.reverse_path,
            recipients: row.recipients,
            created: row.created,
            retired: row.retired,
            attempts_made: row.attempts_made,
            size: row.size,
            extra: Bytes::new(),
            attempts: Vec::new(),
            ids: Vec::new(),
            notified: Vec::new(),
            reached: Vec::new(),
            ambiguous: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BodyId;
    use crate::rows::Stored;

    fn octets_of(row: &impl serde::Serialize) -> Vec<u8> {
        octets_of_version(1, row)
    }

    fn octets_of_version(version: u8, row: &impl serde::Serialize) -> Vec<u8> {
        postcard::to_extend(row, vec![version]).unwrap()
    }

    #[test]
    fn rows_of_version_2_are_read_with_attempts_of_no_known_transport() {
        let at = Utc::from_secs(1_767_323_045);
        let attempt = || AttemptV2 {
            started: at,
            ended: Some(at),
            host: "mx".into(),
            outcome: "later".into(),
            tls: "TLSv1.3".into(),
        };
        let entry = QueueEntryV2 {
            id: 7,
            message: 6,
            recipients: vec![RecipientV2 {
                address: "x@y".into(),
                dsn: " NOTIFY=NEVER".into(),
            }],
            next_attempt: at,
            hold: false,
            attempts_made: 1,
            attempts: vec![attempt()],
            delay_told: true,
            created: at,
            release: Some(at),
            transport: "provider".into(),
        };
        let read = QueueEntry::decode(&octets_of_version(2, &entry)).unwrap();
        assert_eq!(read.attempts[0].transport, "");
        assert_eq!((read.message, &read.transport[..]), (6, "provider"));
        assert_eq!(read, QueueEntry::from(entry));
        assert_eq!(QueueEntry::decode(&read.encode()).unwrap(), read);
        let retired = RetiredV2 {
            entry: 7,
            message: 6,
            account: Some(AccountId(3)),
            reverse_path: "a@b".into(),
            recipients: vec![("x@y".into(), Fate::Delivered("250 ok".into()))],
            created: at,
            retired: at,
            attempts_made: 1,
            size: 5,
            extra: Bytes::from_static(b"id"),
            last: Some(attempt()),
        };
        let read = Retired::decode(&octets_of_version(2, &retired)).unwrap();
        assert_eq!(read.last().unwrap().tls, "TLSv1.3");
        assert_eq!(read, Retired::from(retired));
        assert_eq!(Retired::decode(&read.encode()).unwrap(), read);
    }

    fn body() -> BodyRef {
        BodyRef {
            id: BodyId {
                boot: 1,
                counter: 2,
            },
            length: 3,
            blake3: [4; 32],
        }
    }

    #[test]
    fn messages_of_version_2_are_read_without_what_notifications_name_them_by() {
        let message = QueueMessageV2 {
            id: 7,
            entries: 2,
            account: Some(AccountId(3)),
            reverse_path: "a@b".into(),
            body: body(),
            prefix: Bytes::from_static(b"Received: x\r\n"),
            eight_bit: false,
            utf8: true,
            extra: Bytes::from_static(b"id"),
            created: Utc::from_secs(1_767_323_045),
            dsn: " RET=HDRS".into(),
            require_tls: true,
            tls_optional: false,
        };
        let read = QueueMessage::decode(&octets_of_version(2, &message)).unwrap();
        assert_eq!((&read.dsn[..], read.require_tls), (" RET=HDRS", true));
        assert!(read.ids.is_empty());
        assert_eq!(read, QueueMessage::from(message));
        assert_eq!(QueueMessage::decode(&read.encode()).unwrap(), read);
    }

    #[test]
    fn rows_of_version_3_are_read_without_what_was_said_of_each_recipient() {
        let at = Utc::from_secs(1_767_323_045);
        let attempt = || AttemptV3 {
            started: at,
            ended: Some(at),
            host: "mx".into(),
            outcome: "later".into(),
            tls: "TLSv1.3".into(),
            transport: "direct".into(),
        };
        let entry = QueueEntryV3 {
            id: 7,
            message: 6,
            recipients: vec![RecipientV2 {
                address: "x@y".into(),
                dsn: " NOTIFY=NEVER".into(),
            }],
            next_attempt: at,
            hold: false,
            attempts_made: 1,
            attempts: vec![attempt()],
            delay_told: true,
            created: at,
            release: None,
            transport: "provider".into(),
        };
        let read = QueueEntry::decode(&octets_of_version(3, &entry)).unwrap();
        let [to] = &read.recipients[..] else { panic!() };
        assert_eq!((&to.dsn[..], &to.last), (" NOTIFY=NEVER", &None));
        assert_eq!((read.ambiguous, to.ambiguous()), (0, 0));
        assert_eq!(read.attempts[0].transport, "direct");
        assert_eq!(read, QueueEntry::from(entry));
        assert_eq!(QueueEntry::decode(&read.encode()).unwrap(), read);
        let retired = RetiredV3 {
            entry: 7,
            message: 6,
            account: Some(AccountId(3)),
            reverse_path: "a@b".into(),
            recipients: vec![("x@y".into(), Fate::Delivered("250 ok".into()))],
            created: at,
            retired: at,
            attempts_made: 1,
            size: 5,
            extra: Bytes::from_static(b"id"),
            last: Some(attempt()),
            ids: vec!["<1@b>".into()],
            notified: vec![NotifiedV3 {
                at,
                recipient: "z@y".into(),
                action: "failed".into(),
                status: "5.1.1".into(),
                from: "mx".into(),
                text: "no".into(),
            }],
        };
        let read = Retired::decode(&octets_of_version(3, &retired)).unwrap();
        assert_eq!(read.last().unwrap().host, "mx");
        let note = &read.notified[0];
        assert_eq!((&note.recipient[..], &note.about[..]), ("z@y", ""));
        assert!(read.reached.is_empty());
        assert_eq!(read, Retired::from(retired));
        assert_eq!(Retired::decode(&read.encode()).unwrap(), read);
    }

    #[test]
    fn rows_of_version_4_are_read_without_places_and_owners() {
        let at = Utc::from_secs(1_767_323_045);
        let said = Said {
            text: "450 later".into(),
            by: crate::queue_recipient::Reached {
                host: "mx".into(),
                from_peer: true,
                ambiguous: 2,
                ..Default::default()
            },
        };
        let entry = QueueEntryV4 {
            id: 7,
            message: 6,
            recipients: vec![RecipientV4 {
                address: "x@y".into(),
                dsn: " NOTIFY=NEVER".into(),
                last: Some(said.clone()),
            }],
            next_attempt: at,
            hold: true,
            attempts_made: 2,
            attempts: vec![Attempt {
                started: at,
                ended: Some(at),
                host: "mx".into(),
                outcome: "later".into(),
                tls: "TLSv1.3".into(),
                transport: "direct".into(),
                ambiguous: true,
            }],
            delay_told: true,
            created: at,
            release: Some(at),
            transport: "provider".into(),
            ambiguous: 1,
        };
        let read = QueueEntry::decode(&octets_of_version(4, &entry)).unwrap();
        let [to] = &read.recipients[..] else { panic!() };
        assert_eq!((&to.last, &to.filed), (&Some(said), &None));
        assert_eq!((read.owner, read.ambiguous), (None, 1));
        assert!(read.attempts[0].ambiguous);
        assert_eq!(read, QueueEntry::from(entry));
        assert_eq!(QueueEntry::decode(&read.encode()).unwrap(), read);
    }

    #[test]
    fn rows_of_version_1_are_read() {
        let at = Utc::from_secs(1_767_323_045);
        let message = QueueMessageV1 {
            id: 7,
            entries: 1,
            account: Some(AccountId(3)),
            reverse_path: "a@b".into(),
            body: body(),
            prefix: Bytes::from_static(b"Received: x\r\n"),
            eight_bit: true,
            utf8: false,
            extra: Bytes::from_static(b"id"),
            created: at,
        };
        let read = QueueMessage::decode(&octets_of(&message)).unwrap();
        assert_eq!(read, QueueMessage::from(message));
        assert_eq!((read.id, &read.dsn[..], read.require_tls), (7, "", false));
        assert_eq!(QueueMessage::decode(&read.encode()).unwrap(), read);
        let entry = QueueEntryV1 {
            id: 7,
            message: 7,
            recipients: vec!["x@y".into()],
            next_attempt: at,
            hold: true,
            attempts_made: 1,
            attempts: vec![AttemptV1 {
                started: at,
                ended: None,
                host: "mx".into(),
                outcome: "later".into(),
            }],
            delay_told: true,
            created: at,
        };
        let read = QueueEntry::decode(&octets_of(&entry)).unwrap();
        assert_eq!(read, QueueEntry::from(entry));
        assert_eq!(read.recipients, ["x@y"]);
        assert_eq!(QueueEntry::decode(&read.encode()).unwrap(), read);
        let retired = RetiredV1 {
            entry: 7,
            message: 7,
            account: None,
            reverse_path: String::new(),
            recipients: vec![("x@y".into(), Fate::Dropped)],
            created: at,
            retired: at,
            attempts_made: 1,
            size: 5,
        };
        let read = Retired::decode(&octets_of(&retired)).unwrap();
        assert_eq!(read, Retired::from(retired));
        assert_eq!(Retired::decode(&read.encode()).unwrap(), read);
        assert!(QueueEntry::decode(&[6, 0]).is_err());
    }
}
