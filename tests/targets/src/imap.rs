//! Framing, grammar, what responses are made of, sets.

use bytes::{Bytes, BytesMut};
use mox_imap::wire::{
    AppendReader, Command, FrameLimits, Framed, Framer, Head, Known, Malformed, MessageUrl,
    ParseLimits, Verb, decode_name, encode_name, write_astring, write_envelope, write_string,
    write_structure,
};
use mox_mime::{Limits, Walker};
use mox_uids::{Uid, UidSet};
use std::collections::BTreeSet;

use crate::source::{Source, cut};

const WORDS: &[&[u8]] = &[
    b"a ",
    b"LOGIN ",
    b"SELECT ",
    b"FETCH ",
    b"UID ",
    b"STORE ",
    b"SEARCH ",
    b"COPY ",
    b"APPEND ",
    b"LIST ",
    b"STATUS ",
    b"AUTHENTICATE ",
    b"ENABLE ",
    b"ID ",
    b"CREATE ",
    b"RENAME ",
    b"NOOP",
    b"IDLE",
    b"(",
    b")",
    b"\"",
    b"\\",
    b" ",
    b"*",
    b"1:*",
    b",",
    b"2:4",
    b"INBOX",
    b"{3}\r\nabc",
    b"{3+}\r\nabc",
    b"~{3}\r\na\0c",
    b"{30}\r\n",
    b"{99999999999}\r\n",
    b"\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"FLAGS",
    b"BODY.PEEK[",
    b"HEADER.FIELDS",
    b"1.2.MIME",
    b"]",
    b"<0.10>",
    b"\\Seen",
    b"NOT ",
    b"OR ",
    b"SINCE 1-Jan-2020",
    b"MODSEQ 7",
    b"CHARSET UTF-8 ",
    b"RETURN (ALL)",
    b"%",
    b"&AOk-",
    b"NIL",
    b"\xc3\xa9",
    b"UNCHANGEDSINCE ",
    b"\" 1-Jan-2026 01:02:03 +0000\" ",
];

/// The frames in some pieces of input; every small literal is accepted, every third refused.
fn frames(pieces: &[&[u8]]) -> Vec<Framed> {
    let limits = FrameLimits {
        line: 200,
        command: 400,
        skip: 100,
    };
    let (mut framer, mut input, mut found) = (Framer::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            let frame = framer.next(&mut input, &limits);
            assert!(framer.held().len() <= 400 + 200, "R6");
            match &frame {
                Framed::Incomplete => break,
                Framed::Literal(literal) => match literal.size {
                    size if size % 3 == 0 && size > 0 => {
                        // True when the command ends here, false when its literals are skipped first.
                        framer.spoil(*literal, Malformed::Refused("TOOBIG", "too big"));
                    }
                    size if size > 100 => {
                        found.push(frame);
                        return found;
                    }
                    _ => framer.accept(*literal),
                },
                Framed::Endless => {
                    found.push(frame);
                    return found;
                }
                Framed::Complete(_) | Framed::Spoilt { .. } => {}
            }
            found.push(frame);
        }
    }
    found
}

/// Commands are the same however they are cut.
pub fn frame(data: &[u8]) {
    let mut source = Source::new(data);
    let text = source.input(WORDS);
    let whole = frames(&[&text]);
    assert_eq!(frames(&cut(&text, &mut source)), whole);
}

/// Any framed command is parsed or refused.
pub fn command(data: &[u8]) {
    let text = Source::new(data).input(WORDS);
    let head = Head::parse(&text);
    let uids: UidSet = [1, 2, 3, 7, 8, 4_000_000_000]
        .map(Uid)
        .into_iter()
        .collect();
    let saved = UidSet::from_runs([2..=7]);
    let known = Known {
        uids: &uids,
        saved: &saved,
        ..Known::NOTHING
    };
    let limits = ParseLimits::default();
    let Some(verb) = head.verb else { return };
    assert!(!verb.name().is_empty());
    let _ = verb.allowed();
    if let Some(args) = head.args {
        let mut reader = AppendReader::new(verb != Verb::Append);
        if let Ok(Some(_)) = reader.read(args, &known, &limits) {
            let _ = reader.read(args, &known, &limits);
        }
        let _ = MessageUrl::parse(args, &limits);
    }
    match Command::parse(verb, head.args, &known, &limits) {
        Ok(Command::Copy { set, .. }) => within(&set.uids(&uids), &uids),
        Ok(Command::Store(store)) => within(&store.set.uids(&uids), &uids),
        Ok(Command::Expunge(Some(set))) => within(&set.uids(&uids), &uids),
        Ok(command) => drop(format!("{command:?}")),
        Err(error) => assert!(!format!("{error:?}").is_empty()),
    }
}

fn within(found: &UidSet, known: &UidSet) {
    assert!(found.difference(known).is_empty());
}

/// A string that is written is read as itself, in either form.
pub fn strings(data: &[u8]) {
    let mut source = Source::new(data);
    let user = source.octets(2_000).to_vec();
    let password = source.rest().to_vec();
    if [&user, &password]
        .iter()
        .any(|text| text.contains(&0) || text.len() > 4_000)
    {
        return;
    }
    let mut wire = b"a LOGIN ".to_vec();
    write_astring(&mut wire, &user);
    wire.push(b' ');
    write_string(&mut wire, &password);
    wire.extend_from_slice(b"\r\n");
    let limits = FrameLimits {
        line: 100_000,
        command: 100_000,
        skip: 0,
    };
    let (mut framer, mut input) = (Framer::default(), BytesMut::from(&wire[..]));
    let framed = loop {
        match framer.next(&mut input, &limits) {
            Framed::Literal(literal) => framer.accept(literal),
            Framed::Complete(framed) => break framed,
            other => panic!("{other:?} of {}", wire.escape_ascii()),
        }
    };
    let head = Head::parse(&framed);
    let parsed = Command::parse(
        Verb::Login,
        head.args,
        &Known::NOTHING,
        &ParseLimits::default(),
    );
    match parsed {
        Ok(Command::Login {
            user: read,
            password: secret,
        }) => {
            assert_eq!(
                (&read[..], &secret.expose()[..]),
                (&user[..], &password[..])
            );
        }
        other => panic!("{other:?} of {}", wire.escape_ascii()),
    }
}

/// A name that was read is written so that it is read as the same.
pub fn names(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"&",
        b"-",
        b"AOk",
        b"a",
        b"/",
        b"INBOX",
        b"inbox",
        b"2D3eCg",
        b"&AOk-",
        b"\xc3\xa9",
        b"&-",
        b".",
        b"%",
        b"*",
        b"IKw",
    ];
    let text = Source::new(data).input(WORDS);
    if let Ok(name) = decode_name(&text, false) {
        let wire = encode_name(&name);
        assert!(wire.iter().all(u8::is_ascii), "{}", wire.escape_ascii());
        assert_eq!(
            decode_name(&wire, false).as_ref(),
            Ok(&name),
            "{}",
            wire.escape_ascii()
        );
    }
}

/// ENVELOPE and BODYSTRUCTURE of any message are well-formed data of IMAP.
pub fn responses(data: &[u8]) {
    let mut source = Source::new(data);
    let message = source.input(crate::mime::WORDS);
    let mut walker = Walker::new(Limits::default());
    walker.push(&message);
    let found = walker.finish();
    let mut written = Vec::new();
    write_envelope(&mut written, &found.envelope);
    assert_eq!(
        value(&written, 0),
        Some(written.len()),
        "{}",
        written.escape_ascii()
    );
    for extended in [false, true] {
        let mut written = Vec::new();
        write_structure(&mut written, &found.part, extended);
        assert_eq!(
            value(&written, 0),
            Some(written.len()),
            "{}",
            written.escape_ascii()
        );
    }
    let end = mox_mime::header::len(&message);
    let names: [Bytes; 2] = ["subject".into(), "Content-Type".into()];
    for not in [false, true] {
        let chosen = mox_mime::header::fields(&message[..end], &names, not);
        // The last field's line end and the blank line may be missing in the message.
        assert!(chosen.len() <= end + 4);
        assert_eq!(
            mox_mime::header::fields(&chosen, &names, not),
            chosen,
            "chosen again"
        );
    }
}

/// Where a value of RFC 3501 9 (`nstring`, number, atom or a list of them) ends that begins at `at`.
fn value(data: &[u8], at: usize) -> Option<usize> {
    match data.get(at)? {
        b'(' => {
            let mut at = at + 1;
            while *data.get(at)? != b')' {
                at = value(data, at)?;
                if *data.get(at)? == b' ' {
                    at += 1;
                    assert_ne!(data[at], b')', "a space before the end");
                }
            }
            Some(at + 1)
        }
        b'"' => {
            let mut at = at + 1;
            loop {
                match data.get(at)? {
                    b'"' => return Some(at + 1),
                    b'\\' => {
                        assert!(matches!(data[at + 1], b'"' | b'\\'));
                        at += 2;
                    }
                    b'\r' | b'\n' | 0 | 0x80.. => panic!("in a quoted string"),
                    _ => at += 1,
                }
            }
        }
        b'{' => {
            let digits = data[at + 1..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count();
            let end = at + 1 + digits;
            assert_eq!(&data[end..end + 3], b"}\r\n");
            let size: usize = str::from_utf8(&data[at + 1..end]).unwrap().parse().unwrap();
            assert!(data.len() >= end + 3 + size && !data[end + 3..end + 3 + size].contains(&0));
            Some(end + 3 + size)
        }
        _ => {
            let is_atom = |b: &&u8| b.is_ascii_alphanumeric();
            let length = data[at..].iter().take_while(is_atom).count();
            assert!(length > 0, "no value at {at} of {}", data.escape_ascii());
            Some(at + length)
        }
    }
}

/// A set means members of what is known, by number and by identifier.
pub fn sets(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"1",
        b":",
        b",",
        b"*",
        b"2",
        b"0",
        b"4294967295",
        b"7",
        b"1:*",
        b"99",
    ];
    let mut source = Source::new(data);
    let count = source.below(20);
    let known: UidSet = (0..count)
        .map(|_| Uid(1 + u32::from(source.octet())))
        .collect();
    let text = [source.text(WORDS), b" Box".to_vec()].concat();
    let all = Known {
        uids: &known,
        ..Known::NOTHING
    };
    let parsed = Command::parse(Verb::Copy, Some(&text), &all, &ParseLimits::default());
    let Ok(Command::Copy { set, .. }) = parsed else {
        return;
    };
    within(&set.uids(&known), &known);
    within(&set.numbers_within(&known), &known);
    if let Ok(found) = set.numbers(&known) {
        assert_eq!(found, set.numbers_within(&known));
    }
}

/// Sets of identifiers do what sets do.
pub fn uid_sets(data: &[u8]) {
    let mut source = Source::new(data);
    let (mut set, mut model) = (UidSet::new(), BTreeSet::new());
    let mut other = UidSet::new();
    while !source.is_empty() {
        let uid = Uid(1 + u32::from(source.octet()) % 64);
        match source.octet() % 5 {
            0 => assert_eq!(set.remove(uid), model.remove(&uid)),
            1 => other.insert(uid),
            2 => {
                let keep: BTreeSet<_> = other.iter().collect();
                set = set.difference(&other);
                model = model.difference(&keep).copied().collect();
            }
            3 => {
                let with: BTreeSet<_> = other.iter().collect();
                set = set.union(&other);
                model = model.union(&with).copied().collect();
                other = set.intersection(&other);
                assert!(other.iter().eq(with));
            }
            _ => {
                set.insert(uid);
                model.insert(uid);
            }
        }
        assert!(set.iter().eq(model.iter().copied()));
        assert_eq!(set.len() as usize, model.len());
        assert_eq!(
            (set.first(), set.last()),
            (model.first().copied(), model.last().copied())
        );
        assert_eq!(set.contains(uid), model.contains(&uid));
        assert_eq!(set.count_below(uid) as usize, model.range(..uid).count());
        if let Some(at) = set.position(uid) {
            assert_eq!(set.at(at), Some(uid));
        }
    }
}
