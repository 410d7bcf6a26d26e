//! An account's filter judges messages by what it learned.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use bytes::Bytes;
use mox_junk::{Class, Parameters};
use mox_machine::{Secret, Utc};
use mox_mailbox::*;
use mox_server::junk::{judge, words};
use mox_uids::Uid;

/// A store with one account, and messages in its INBOX with these keywords, whose words are learned.
fn taught(messages: &[(&str, &str)]) -> (MemRows, AccountId) {
    let mut rows = MemRows::new();
    rows.apply(&initialise(&rows).unwrap().0);
    let (now, none) = (Utc::from_secs(1_800_000_000), Secret::new(Bytes::new()));
    let (batch, account) = create_account(&rows, "mox", &none, None, now).unwrap();
    rows.apply(&batch);
    for (counter, (keyword, text)) in (1..).zip(messages) {
        let delivery = Delivery {
            body: Body::New(NewBody {
                id: BodyId { boot: 1, counter },
                length: text.len() as u64,
                blake3: [0; 32],
                inline: Some(Bytes::copy_from_slice(text.as_bytes())),
            }),
            structure: Bytes::new(),
            header: Bytes::new(),
            targets: vec![Target {
                account,
                mailbox: "INBOX".into(),
                create: true,
                prefix: Bytes::new(),
                flags: Flags::NONE,
                keywords: vec![(*keyword).to_owned()],
                date: now,
                origin: Bytes::new(),
            }],
            queue: None,
            now,
        };
        let (batch, _) = deliver(&rows, &delivery).unwrap();
        rows.apply(&batch);
        for due in junk_due(&rows, None, 9).unwrap() {
            assert_eq!(due.uid, Uid(u32::try_from(counter).unwrap()));
            let ids: Vec<_> = words(text.as_bytes()).ids().collect();
            let (batch, _) = junk_settle(&rows, &due, Some(&ids)).unwrap();
            rows.apply(&batch);
        }
    }
    (rows, account)
}

#[test]
fn a_filter_judges_by_what_its_own_account_learned() {
    let spam = ("$Junk", "Subject: cheap pills\r\n\r\nbuy now\r\n");
    let ham = ("$NotJunk", "Subject: minutes\r\n\r\nof the meeting\r\n");
    let (rows, account) = taught(&[spam, spam, ham]);
    let new = words(b"Subject: pills\r\n\r\nmeeting buy\r\n");
    let judgement = judge(&rows, account, &new, &Parameters::default()).unwrap();
    let deciding: Vec<_> = judgement
        .deciding
        .iter()
        .map(|d| (d.word.as_str(), d.counts.ham, d.counts.spam))
        .collect();
    assert_eq!(
        deciding,
        [("meeting", 1, 0), ("subject:pills", 0, 2), ("buy", 0, 2)]
    );
    assert!(judgement.is_spam && !judgement.is_significant);
    let of_others = judge(&rows, AccountId(99), &new, &Parameters::default()).unwrap();
    assert_eq!(of_others.probability.to_bits(), 0.5f64.to_bits());
    let inbox = mailbox_id(&rows, account, "INBOX").unwrap().unwrap();
    let class = junk_class(&rows, account, inbox, Uid(3)).unwrap();
    assert_eq!(class, Some(Class::Ham));
}
