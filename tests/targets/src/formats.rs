//! Files and rows: transcripts, configuration, what the store keeps.

use bytes::Bytes;
use core::ops::ControlFlow;
use mox_machine::{Secret, Utc};
use mox_mailbox::{BodyHeader, MemRows, ReadError, Reads, Space};
use mox_mime::{Limits, Walker};
use mox_server::config::{Dynamic, Static};
use mox_server::{StoredStructure, decode_credentials, encode_credentials};
use mox_transcripts::{Transcript, escape, unescape};

use crate::source::Source;

/// A transcript that was read is written as it was; escapes are inverse.
pub fn transcript(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"machine: smtp-server\n",
        b"config: (a: 1)\n",
        b"\n",
        b"\n",
        b"C: text\n",
        b"S: 250 ok\n",
        b"C| a\\r\\n\\x00\n",
        b"S| \\\\\n",
        b"C< m\n",
        b"? ask\n",
        b"! accept\n",
        b"!2 reply\n",
        b"= fact\n",
        b"@ tls\n",
        b"+ 5m\n",
        b"+ 7s\n",
        b"# comment\n",
        b"-- m --\n",
        b"C:",
        b"\\x",
        b" ",
        b"+ ",
        b"!",
        b"\r",
        b"\xc3\xa9",
        b"99999999999999999999h\n",
    ];
    assert_eq!(unescape(&escape(data)).as_deref(), Ok(data));
    let text = Source::new(data).input(WORDS);
    let text = String::from_utf8_lossy(&text);
    if let Ok(read) = Transcript::parse(&text) {
        let written = read.to_string();
        let again = Transcript::parse(&written);
        assert_eq!(again.as_ref(), Ok(&read), "{written}");
        for line in &read.body {
            let _ = line.entry.wait();
        }
    }
}

/// Any configuration is taken or refused with a place and a reason.
pub fn config(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"(",
        b")",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b" ",
        b"\n",
        b"\"",
        b"hostname: \"mx.example.org\"",
        b"listeners: {",
        b"\"main\": (",
        b"ips: [\"127.0.0.1\"]",
        b"smtp: (",
        b"port: 25",
        b"postmaster: (account: \"a\", mailbox: \"Inbox\")",
        b"log_level: info",
        b"domains: {",
        b"accounts: {",
        b"\"example.org\": (",
        b"addresses: [",
        b"\"a@example.org\"",
        b"1",
        b"-1",
        b"true",
        b"// c\n",
        b"/*",
        b"Some(",
        b"relay: (host: \"h\", port: 1)",
        b"tls: SelfSigned",
        b"max_message_size: 99999999999999999999",
        b"'",
        b"\\",
        b"\xc3\xa9",
        b"data_dir: \"data\"",
    ];
    const WHOLE: &str = r#"(hostname: "mx.example.org", listeners: {"main": (ips: ["127.0.0.1"], hostname: "mx.example.org", smtp: ())}, postmaster: (account: "a", mailbox: "Inbox"))"#;
    let mut source = Source::new(data);
    let text = source.input(WORDS);
    let text = String::from_utf8_lossy(&text);
    match Static::parse("mox.ron", &text) {
        Ok(fixed) => drop(Dynamic::parse("domains.ron", &text, &fixed)),
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
    if let Ok(fixed) = Static::parse("mox.ron", WHOLE)
        && let Err(problems) = Dynamic::parse("domains.ron", &text, &fixed)
    {
        assert!(problems.to_string().contains("domains.ron"), "{problems}");
    }
}

/// Rows that are damaged anywhere are an error, never a panic; those that are not are read as they were written.
pub fn rows(data: &[u8]) {
    let mut source = Source::new(data);
    if let Ok(header) = BodyHeader::decode(data) {
        assert_eq!(BodyHeader::decode(&header.encode()).as_ref(), Ok(&header));
    }
    if let Some(credentials) = decode_credentials(&Secret::new(Bytes::copy_from_slice(data))) {
        assert_eq!(
            decode_credentials(&encode_credentials(&credentials)),
            Some(credentials)
        );
    }
    let message = source.clone().input(crate::mime::WORDS);
    let mut walker = Walker::new(Limits::default());
    walker.push(&message);
    let found = walker.finish();
    let stored = StoredStructure::encode(&found);
    let read = StoredStructure::decode(&stored).unwrap();
    assert_eq!((&read.envelope, &read.part), (&found.envelope, &found.part));
    let _ = StoredStructure::decode(data);

    let account = |reads: &dyn Reads, name: &str| {
        let none = Secret::new(Bytes::new());
        mox_mailbox::create_account(reads, name, &none, None, Utc::from_secs(1))
            .map(|(batch, _)| batch)
    };
    let mut rows = MemRows::new();
    rows.apply(&mox_mailbox::initialise(&rows).unwrap().0);
    for name in ["ann", "bob"] {
        let batch = account(&rows, name).unwrap();
        rows.apply(&batch);
    }
    let mut damaged = Damaged {
        rows,
        which: source.below(64),
        how: source.rest().to_vec(),
    };
    if damaged.how.is_empty() {
        damaged.which = usize::MAX;
    }
    let _ = mox_mailbox::accounts(&damaged, "", 10);
    for name in ["ann", "bob", "eve"] {
        let _ = mox_mailbox::account(&damaged, name);
        if let Ok(batch) = account(&damaged, name) {
            drop(batch);
        }
    }
    let _ = mox_mailbox::queue(&damaged, 0, 10);
    let _ = mox_mailbox::retired(&damaged, Utc::from_secs(0), 10);
    let _ = mox_mailbox::next_purge(&damaged);
    let _ = mox_mailbox::purge(&damaged, Utc::from_secs(2));
    let bodies = &mut |_: &_| Ok(());
    let _ = mox_mailbox::verify(&damaged, true, bodies);
}

/// Rows of which one is not what was written.
struct Damaged {
    rows: MemRows,
    which: usize,
    how: Vec<u8>,
}

impl Damaged {
    fn value(&self, space: Space, key: &[u8], value: Bytes) -> Bytes {
        let place = self.rows.iter(space).position(|(k, _)| k == key);
        if place != Some(self.which) {
            return value;
        }
        let mut changed = value.to_vec();
        for edit in self.how.chunks(2) {
            let at = usize::from(edit[0]);
            match edit.get(1) {
                None => changed.truncate(at),
                Some(octet) if at < changed.len() => changed[at] = *octet,
                Some(octet) => changed.push(*octet),
            }
        }
        changed.into()
    }
}

impl Reads for Damaged {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let found = self.rows.get(space, key)?;
        Ok(found.map(|value| self.value(space, key, value)))
    }
    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.rows.scan(space, from, to, &mut |key, value| {
            visit(key, self.value(space, key, value))
        })
    }
    fn scan_back(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.rows.scan_back(space, from, to, &mut |key, value| {
            visit(key, self.value(space, key, value))
        })
    }
}
