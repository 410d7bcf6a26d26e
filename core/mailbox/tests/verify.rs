//! Damage is found, wherever it is.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod engine;

use bytes::Bytes;
use engine::*;
use mox_mailbox::*;

/// Something of everything.
fn full() -> Engine {
    let (mut e, a) = Engine::with_account();
    e.put_with(a, "INBOX", Flags::SEEN, &["k"]);
    e.put_with(a, "INBOX", Flags::DELETED, &[]);
    e.put(a, "INBOX");
    let large = e.delivery(20_000, vec![target(a, "x/y")]);
    e.run(|reads| deliver(reads, &large)).unwrap();
    let inbox = e.id(a, "INBOX");
    e.expunge(a, inbox, &Doomed::Deleted).unwrap();
    e.put(a, "dead");
    e.delete(a, "dead").unwrap();
    let b = e.account("gone", None).unwrap();
    e.put(b, "INBOX");
    let now = e.now;
    e.run(|reads| remove_account(reads, b, now)).unwrap();
    let mut queued = e.delivery(100, vec![]);
    queued.queue = Some(Enqueue {
        account: Some(a),
        reverse_path: "a@b".into(),
        prefix: Bytes::new(),
        eight_bit: false,
        utf8: false,
        extra: Bytes::new(),
        dsn: String::new(),
        require_tls: false,
        tls_optional: false,
        ids: Vec::new(),
        groups: vec![Group {
            recipients: vec!["c@d".into()],
            next_attempt: now,
            hold: false,
            release: None,
        }],
    });
    e.run(|reads| deliver(reads, &queued)).unwrap();
    let policy = KeptPolicy {
        id: "a".into(),
        mode: "enforce".into(),
        max_age: 86_400,
        mx: vec!["mx.d.example".into()],
        until: now,
        looked: now,
        used: now,
    };
    e.run(|reads| keep_policy(reads, "d.example", &policy))
        .unwrap();
    let noted = TlsHost {
        last: now,
        proven: true,
    };
    e.run(|reads| note_tls(reads, "mx.d.example", noted))
        .unwrap();
    e.check();
    e
}

fn write(e: &Engine, space: Space, key: &[u8], value: Option<Bytes>) -> Engine {
    let mut rows = e.rows.clone();
    rows.apply(&Batch {
        writes: vec![(space, key.to_vec(), value)],
        ..Batch::default()
    });
    Engine {
        rows,
        files: e.files.clone(),
        ..Engine::new()
    }
}

fn each_row(e: &Engine) -> Vec<(Space, Vec<u8>, Bytes)> {
    [Space::Rows, Space::Bodies]
        .into_iter()
        .flat_map(|s| e.rows.iter(s).map(move |(k, v)| (s, k.to_vec(), v.clone())))
        .collect()
}

#[test]
fn every_missing_row_is_noticed() {
    let e = full();
    let removed = AccountId(2).0.to_be_bytes();
    for (space, key, _) in each_row(&e) {
        let broken = write(&e, space, &key, None);
        // Rows of a removed account or a deleted mailbox are on their way out, their order is nobody's business; but not
        // those that hold bodies.
        let holds =
            [Table::Meta as u8, Table::Header as u8, Table::Account as u8].contains(&key[0]);
        let dead = space == Space::Rows
            && (key[1..5] == removed || key[5..].starts_with(&[0, 0, 0, 9]))
            && !holds;
        // The log of a change to a message that was expunged since tells nobody anything.
        let told = key[0] == Table::Change as u8 && key.ends_with(&[0, 3]);
        if dead || told {
            continue;
        }
        assert_ne!(broken.findings(), Vec::<String>::new(), "{space:?} {key:?}");
    }
}

#[test]
fn rows_cut_short_or_of_a_later_version_are_noticed() {
    let e = full();
    let removed = AccountId(2).0.to_be_bytes();
    for (space, key, value) in each_row(&e) {
        let versioned =
            space == Space::Rows && !value.is_empty() && key[0] != Table::AccountName as u8;
        if !versioned || key[1..5] == removed || key[5..].starts_with(&[0, 0, 0, 9]) {
            continue;
        }
        let mut later = value.to_vec();
        later[0] = 99;
        let later = write(&e, space, &key, Some(later.into()));
        assert_ne!(later.findings(), Vec::<String>::new(), "version of {key:?}");
        let empty = write(&e, space, &key, Some(Bytes::new()));
        assert_ne!(empty.findings(), Vec::<String>::new(), "empty {key:?}");
        let cut = write(&e, space, &key, Some(value.slice(..value.len() - 1)));
        if key[0] != Table::Header as u8 {
            assert_ne!(cut.findings(), Vec::<String>::new(), "cut {key:?}");
        }
    }
}

#[test]
fn a_changed_octet_of_a_body_is_noticed_by_a_full_check_only() {
    let e = full();
    let (_, key, value) = each_row(&e).pop().unwrap();
    let mut changed = value.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let broken = write(&e, Space::Bodies, &key, Some(changed.into()));
    let found = verify(&broken.rows, true, &mut |_| Ok(()));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(verify(&broken.rows, false, &mut |_| Ok(())), []);
    let missing = verify(&e.rows, false, &mut |_| Err("is missing".into()));
    assert_eq!(missing[0].to_string(), "body 1-4: is missing");
}

#[test]
fn a_body_nobody_refers_to_and_rows_of_no_mailbox_are_noticed() {
    let e = full();
    let id = BodyId {
        boot: 7,
        counter: 7,
    };
    let stray = write(
        &e,
        Space::Bodies,
        &body_key(id),
        Some(Bytes::from_static(b"x")),
    );
    assert_eq!(stray.findings(), ["body 7-7 has no reference"]);
    let key = [
        &[Table::Page as u8][..],
        &[0, 0, 0, 1, 0, 0, 9, 9, 0, 0, 0, 0],
    ]
    .concat();
    let stray = write(&e, Space::Rows, &key, Some(Bytes::from_static(&[1])));
    assert_eq!(stray.findings().len(), 1);
}

#[test]
fn an_empty_store_is_in_order() {
    assert_eq!(verify(&MemRows::new(), true, &mut |_| Ok(())), []);
}
