//! Where rows are read: in the same poll, or on a pool.

use super::*;
use bytes::Bytes;
use futures_lite::future::{block_on, zip};
use mox_machine::{Secret, Utc};
use mox_mailbox::{Batch, Body, Delivery, Flags, Stop, Target};
use mox_server::Intake;
use mox_store::{BodyFacts, Committer, MemDisk, MemKv, Options};

struct World {
    store: Store,
    committer: Committer,
}

impl World {
    fn new() -> Self {
        let options = Options {
            low_percent: 0,
            low_octets: 0,
            ..Options::default()
        };
        let disk = Arc::new(MemDisk::new());
        let (store, committer) = Store::open(Box::new(MemKv::new()), disk, options).unwrap();
        let mut world = Self { store, committer };
        world.run(mox_mailbox::initialise);
        let none = Secret::new(Bytes::new());
        let now = Utc::default();
        world.run(move |reads| mox_mailbox::create_account(reads, "mox", &none, None, now));
        world
    }

    fn run<T: Send + 'static>(
        &mut self,
        op: impl FnOnce(&dyn Reads) -> Result<(Batch, T), Stop> + Send + 'static,
    ) -> T {
        let (store, committer) = (&self.store, &mut self.committer);
        let turn = async {
            let group = committer.collect().await.unwrap();
            committer.turn(group);
        };
        block_on(zip(store.run(op), turn)).0.unwrap()
    }

    fn deliver(&mut self, message: &str) {
        let mut intake = Intake::new();
        intake.push(message.as_bytes());
        let arrived = intake.finish();
        let mut spool = self.store.spool();
        spool.push(Bytes::copy_from_slice(message.as_bytes()));
        let spooled = spool
            .finish(BodyFacts {
                account: AccountId(1),
                mailbox: MailboxId(0),
                uid: Uid(0),
                date: Utc::default(),
            })
            .unwrap();
        self.run(move |reads| {
            let delivery = Delivery {
                body: Body::New(spooled.body().clone()),
                structure: StoredStructure::encode(&arrived.structure),
                header: arrived.header,
                targets: vec![Target {
                    account: AccountId(1),
                    mailbox: mox_mailbox::INBOX.into(),
                    create: false,
                    prefix: Bytes::new(),
                    flags: Flags::NONE,
                    keywords: Vec::new(),
                    date: Utc::default(),
                    origin: Bytes::new(),
                }],
                queue: None,
                now: Utc::default(),
            };
            mox_mailbox::deliver(reads, &delivery)
        });
    }

    fn page(&self, uids: core::ops::RangeInclusive<u32>, want: Want) -> RowsPage {
        let published = self.store.published();
        let inbox = mox_mailbox::mailbox_id(&*published.view, AccountId(1), "INBOX");
        RowsPage {
            store: self.store.clone(),
            published,
            account: AccountId(1),
            mailbox: inbox.unwrap().unwrap(),
            uids: UidSet::from_runs([uids]),
            want,
            max: 500,
        }
    }
}

/// A message whose structure is larger than what is stored of one.
fn wide() -> String {
    let mut message =
        "Subject: wide\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n".to_string();
    for n in 0..6 {
        let name = "n".repeat(7_700);
        message.push_str(&format!(
            "--b\r\nContent-Type: text/plain; name={name}{n}\r\n\r\npart {n}\r\n"
        ));
    }
    message + "--b--\r\n"
}

#[test]
fn a_structure_too_large_to_store_is_not_parsed_in_a_sessions_poll() {
    let mut world = World::new();
    world.deliver("Subject: plain\r\n\r\nbody\r\n");
    world.deliver(&wide());
    world.deliver("Subject: last\r\n\r\nbody\r\n");
    let flags = Want::default();
    let envelope = Want {
        envelope: true,
        ..flags
    };
    let structure = Want {
        structure: true,
        ..flags
    };
    let header = Want {
        header: true,
        ..flags
    };
    // Flags and headers are stored for all of them.
    for want in [flags, header] {
        let Some(Answer::Rows { rows, next: None }) = world.page(1..=9, want).read(false).unwrap()
        else {
            panic!("{want:?}")
        };
        assert_eq!(rows.len(), 3);
    }
    for want in [envelope, structure] {
        assert_eq!(world.page(1..=9, want).read(false).unwrap(), None);
        assert_eq!(world.page(2..=2, want).read(false).unwrap(), None);
        assert!(world.page(1..=1, want).read(false).unwrap().is_some());
        assert!(world.page(3..=3, want).read(false).unwrap().is_some());
        // On a pool it is; the page ends with it.
        let Some(Answer::Rows { rows, next }) = world.page(1..=9, want).read(true).unwrap() else {
            panic!("{want:?}")
        };
        assert_eq!((rows.len(), next), (2, Some(Uid(3))));
        let wide = &rows[1];
        if want.envelope {
            assert_eq!(
                wide.envelope.as_ref().unwrap().subject.as_deref(),
                Some(&b"wide"[..])
            );
        } else {
            let part = wide.structure.as_ref().unwrap();
            assert!(format!("{part:?}").len() > mox_mailbox::STRUCTURE_MAX);
        }
    }
}

#[test]
fn a_header_too_long_to_store_is_not_read_in_a_sessions_poll() {
    let mut world = World::new();
    let long = format!("Subject: long\r\nX: {}\r\n\r\nbody", "x".repeat(70_000));
    world.deliver(&long);
    let header = Want {
        header: true,
        ..Want::default()
    };
    assert_eq!(world.page(1..=1, header).read(false).unwrap(), None);
    let Some(Answer::Rows { rows, .. }) = world.page(1..=1, header).read(true).unwrap() else {
        panic!()
    };
    let read = rows[0].header.as_ref().unwrap();
    assert_eq!(read[..], long.as_bytes()[..long.len() - 4]);
}
