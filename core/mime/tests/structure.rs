//! Structures of messages written for one rule each, and hostile ones.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

use mox_mime::{Inside, Limits, Part, Section, Structure, Walker, locate, part_at, parts};
use proptest::prelude::*;

fn walk(message: &[u8]) -> Structure {
    walk_within(message, Limits::default())
}

fn walk_within(message: &[u8], limits: Limits) -> Structure {
    let mut walker = Walker::new(limits);
    walker.push(message);
    walker.finish()
}

fn children(part: &Part) -> &[Part] {
    match &part.inside {
        Inside::Multipart(children) => children,
        other => panic!("no multipart: {other:?}"),
    }
}

fn body<'a>(message: &'a str, part: &Part) -> &'a str {
    &message[part.body as usize..part.end as usize]
}

fn kind(part: &Part) -> String {
    let text = [&part.media[..], b"/", &part.subtype].concat();
    String::from_utf8(text).unwrap().to_lowercase()
}

#[test]
fn a_message_without_mime_is_plain_text_in_us_ascii() {
    let message = "From: a@b.example\r\n\r\none\r\ntwo\r\n";
    let found = walk(message.as_bytes());
    assert_eq!(kind(&found.part), "text/plain");
    assert_eq!(
        found.part.params,
        [(b"CHARSET".to_vec(), b"US-ASCII".to_vec())]
    );
    assert_eq!(found.part.encoding, b"7BIT");
    assert_eq!((found.part.lines, found.header_len), (2, 21));
    assert_eq!(found.header, b"From: a@b.example\r\n\r\n");
    assert_eq!(body(message, &found.part), "one\r\ntwo\r\n");
    let nothing = walk(b"");
    assert_eq!(
        (kind(&nothing.part), nothing.len),
        ("text/plain".to_owned(), 0)
    );
    let header_only = walk(b"Subject: x");
    assert_eq!((header_only.header_len, header_only.part.end), (10, 10));
    assert_eq!(header_only.envelope.subject.unwrap(), b"x");
}

#[test]
fn content_fields_are_kept_as_written() {
    let message =
        b"Content-Type: (a comment) Text/HTML ; Charset=\"utf\\-8\" (x); name=a b.txt ; odd\r\n\
        Content-Transfer-Encoding: Quoted-Printable (really)\r\n\
        Content-ID:  <id@x> \r\nContent-Description: folded\r\n\ttext\r\nContent-MD5: abc==\r\n\
        Content-Language: en (English), de\r\nContent-Location: http://x/\r\n\
        Content-Disposition: attachment; filename*0=\"a\"; filename*1=b\r\n\
        Content-Type: image/png\r\n\r\n";
    let part = walk(message).part;
    let text = |pairs: &[(Vec<u8>, Vec<u8>)]| -> Vec<String> {
        let one = |(n, v): &(Vec<u8>, Vec<u8>)| {
            format!(
                "{}={}",
                String::from_utf8_lossy(n),
                String::from_utf8_lossy(v)
            )
        };
        pairs.iter().map(one).collect()
    };
    assert_eq!(
        (&part.media[..], &part.subtype[..]),
        (&b"Text"[..], &b"HTML"[..])
    );
    assert_eq!(text(&part.params), ["Charset=utf-8", "name=a b.txt"]);
    assert_eq!(part.encoding, b"Quoted-Printable");
    assert_eq!(part.id.unwrap(), b"<id@x>");
    assert_eq!(part.description.unwrap(), b"folded\ttext");
    assert_eq!(part.md5.unwrap(), b"abc==");
    assert_eq!(part.language, [b"en".to_vec(), b"de".to_vec()]);
    assert_eq!(part.location.unwrap(), b"http://x/");
    let (kind, params) = part.disposition.unwrap();
    assert_eq!(kind, b"attachment");
    assert_eq!(text(&params), ["filename*0=a", "filename*1=b"]);
}

#[test]
fn a_content_type_that_is_none_counts_as_plain_text() {
    for value in [
        "",
        "text",
        "/plain",
        "text/",
        "; charset=x",
        "\"text\"/plain",
        "\u{e9}\u{0}",
    ] {
        let found = walk(format!("Content-Type: {value}\r\n\r\nx").as_bytes());
        assert_eq!(kind(&found.part), "text/plain", "{value:?}");
    }
    let no_semicolon = walk(b"Content-Type: text/plain charset=utf-8 format=flowed\n\n");
    assert_eq!(no_semicolon.part.params[0].1, b"utf-8");
    assert_eq!(no_semicolon.part.params[1].1, b"flowed");
}

#[test]
fn line_ends_before_a_boundary_belong_to_it() {
    for eol in ["\r\n", "\n"] {
        let message = "Content-Type: multipart/mixed; boundary=\"b\"\n\npreamble\n--b\n\none\n\n--b \t\nX: y\n\n\
            --bc\n--b-\n --b\ntwo\n--b--\nepilogue\n--b\n"
            .replace('\n', eol);
        let found = walk(message.as_bytes());
        let all = children(&found.part);
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(body(&message, &all[0]), format!("one{eol}"));
        let second = format!("--bc{eol}--b-{eol} --b{eol}two");
        assert_eq!(body(&message, &all[1]), second);
        assert_eq!((all[0].lines, all[1].lines, found.part.lines), (1, 3, 15));
        assert_eq!(found.part.end, message.len() as u64);
    }
}

#[test]
fn an_empty_part_is_empty_and_within_its_parent() {
    let message = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b\nContent-Type: message/rfc822\n\n\
        Subject: s\n\n--b\nContent-Type: message/rfc822\n\nSubject: t\n--b--";
    let found = walk(message.as_bytes());
    let all = children(&found.part);
    assert_eq!(all.len(), 3);
    assert_eq!((body(message, &all[0]), all[0].lines), ("", 0));
    assert_eq!(body(message, &all[1]), "Subject: s\n\n");
    assert_eq!(body(message, &all[2]), "Subject: t");
    let Inside::Message(inner) = &all[2].inside else {
        panic!("{all:?}");
    };
    assert_eq!(inner.0.subject.as_deref(), Some(&b"t"[..]));
    assert_eq!((inner.1.body, inner.1.end), (all[2].end, all[2].end));
}

#[test]
fn an_outer_boundary_ends_all_that_is_open_within() {
    let message = "Content-Type: multipart/mixed; boundary=outer\n\n--outer\nContent-Type: multipart/alternative; \
        boundary=inner\n\n--inner\n\na\n--outer\n\nb\n--inner\n--outer--\n";
    let found = walk(message.as_bytes());
    let all = children(&found.part);
    assert_eq!(all.len(), 2);
    assert_eq!(children(&all[0]).len(), 1);
    assert_eq!(body(message, &children(&all[0])[0]), "a");
    // The boundary of a closed multipart is text.
    assert_eq!(body(message, &all[1]), "b\n--inner");
}

#[test]
fn a_nested_multipart_may_repeat_the_boundary_of_its_parent() {
    let message = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n\n\
        --b\n\ninner\n--b--\n--b\n\nouter\n--b--\n";
    let found = walk(message.as_bytes());
    let all = children(&found.part);
    assert_eq!(all.len(), 2);
    assert_eq!(body(message, &children(&all[0])[0]), "inner");
    assert_eq!(body(message, &all[1]), "outer");
}

#[test]
fn a_multipart_without_its_boundary_shows_its_body_as_text() {
    for header in [
        "multipart/mixed",
        "multipart/mixed; boundary=b",
        "multipart/mixed; boundary=\"\"",
    ] {
        for text in ["all\n\nof it\n", ""] {
            let message = format!("Content-Type: {header}\n\n{text}");
            let found = walk(message.as_bytes());
            let all = children(&found.part);
            assert_eq!((all.len(), kind(&all[0])), (1, "text/plain".to_owned()));
            assert_eq!(body(&message, &all[0]), text);
        }
    }
    let message = "Content-Type: multipart/mixed; boundary=b\n\ntext\n--b--\n";
    let found = walk(message.as_bytes());
    assert_eq!(children(&found.part).len(), 1);
}

#[test]
fn a_boundary_written_in_sections_or_unquoted_with_spaces_delimits() {
    for param in [
        "boundary*0=\"a \"; boundary*1=b",
        "boundary=a b; x=y",
        "boundary*=us-ascii''a%20b",
    ] {
        let message = format!("Content-Type: multipart/mixed; {param}\n\n--a b\n\nx\n--a b--\n");
        let found = walk(message.as_bytes());
        assert_eq!(body(&message, &children(&found.part)[0]), "x", "{param}");
    }
}

#[test]
fn parts_of_a_digest_are_messages_unless_they_say_otherwise() {
    let message = "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: in\n\nx\n--b\n\
        Content-Type: text/plain\n\nSubject: no\n--b--\n";
    let found = walk(message.as_bytes());
    let all = children(&found.part);
    assert_eq!(kind(&all[0]), "message/rfc822");
    let Inside::Message(inner) = &all[0].inside else {
        panic!("{all:?}");
    };
    assert_eq!(inner.0.subject.as_deref(), Some(&b"in"[..]));
    assert_eq!(kind(&inner.1), "text/plain");
    assert_eq!(
        (kind(&all[1]), &all[1].inside),
        ("text/plain".to_owned(), &Inside::Leaf)
    );
}

#[test]
fn an_encoded_message_stays_a_leaf() {
    for (encoding, inside) in [
        ("base64", false),
        ("Quoted-Printable", false),
        ("8bit", true),
    ] {
        let message = format!(
            "Content-Type: message/global\nContent-Transfer-Encoding: {encoding}\n\nX: y\n\nz"
        );
        let found = walk(message.as_bytes());
        assert_eq!(
            matches!(found.part.inside, Inside::Message(_)),
            inside,
            "{encoding}"
        );
        assert_eq!(kind(&found.part), "message/global");
    }
}

#[test]
fn sections_are_numbered_as_rfc_3501_does() {
    let message = "Subject: top\n\
        Content-Type: multipart/mixed; boundary=a\n\n\
        --a\nContent-Type: text/plain\n\none\n\
        --a\nContent-Type: message/rfc822\n\n\
        Subject: two\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\ntwo.one\n--c--\n\n\
        --a\nContent-Type: message/rfc822\n\nSubject: three\n\nthree.one\n\
        --a--\n";
    let part = walk(message.as_bytes()).part;
    let find = |path: &[u32], section| {
        let range = locate(&part, path, section)?;
        Some(&message[range.start as usize..range.end as usize])
    };
    assert_eq!(find(&[], Section::All), Some(message));
    assert!(
        find(&[], Section::Header)
            .unwrap()
            .ends_with("boundary=a\n\n")
    );
    assert!(find(&[], Section::Text).unwrap().starts_with("--a\n"));
    assert_eq!(find(&[], Section::Mime), None);
    assert_eq!(find(&[1], Section::All), Some("one"));
    assert_eq!(
        find(&[1], Section::Mime),
        Some("Content-Type: text/plain\n\n")
    );
    assert_eq!(find(&[1], Section::Header), None);
    assert_eq!(find(&[1, 1], Section::All), None);
    assert!(
        find(&[2], Section::All)
            .unwrap()
            .starts_with("Subject: two\n")
    );
    assert!(
        find(&[2], Section::Header)
            .unwrap()
            .ends_with("boundary=c\n\n")
    );
    assert_eq!(find(&[2], Section::Text), Some("--c\n\ntwo.one\n--c--\n"));
    assert_eq!(find(&[2, 1], Section::All), Some("two.one"));
    assert_eq!(find(&[2, 1], Section::Mime), Some("\n"));
    assert_eq!(find(&[2, 2], Section::All), None);
    assert_eq!(find(&[3, 1], Section::All), Some("three.one"));
    assert_eq!(find(&[3, 1], Section::Mime), Some("Subject: three\n\n"));
    assert_eq!(find(&[3, 1, 1], Section::All), None);
    assert_eq!(find(&[3, 2], Section::All), None);
    assert_eq!(find(&[0], Section::All), None);
    assert_eq!(find(&[4], Section::All), None);

    let single = walk(b"Content-Type: message/rfc822\n\nSubject: in\n\nx").part;
    assert_eq!(locate(&single, &[1], Section::All), Some(30..44));
    assert_eq!(locate(&single, &[1], Section::Header), Some(30..43));
    assert_eq!(locate(&single, &[1, 1], Section::All), Some(43..44));
    assert_eq!(
        part_at(&single, &[1, 1]).map(kind).as_deref(),
        Some("text/plain")
    );
    assert_eq!(parts(&single).count(), 2);
}

/// The deepest level of parts, without recursion.
fn depth(part: &Part) -> usize {
    let mut deepest = 0;
    let mut open = vec![(part, 1)];
    while let Some((part, level)) = open.pop() {
        deepest = deepest.max(level);
        match &part.inside {
            Inside::Leaf => {}
            Inside::Multipart(children) => open.extend(children.iter().map(|c| (c, level + 1))),
            Inside::Message(message) => open.push((&message.1, level + 1)),
        }
    }
    deepest
}

/// What the store writes down: at most a row.
fn stored_len(found: &Structure) -> usize {
    postcard::to_allocvec(&(&found.part, &found.envelope))
        .unwrap()
        .len()
}

/// Time for a message and for one twice as long; generous, so that only more than linear time fails.
fn assert_linear(what: &str, make: impl Fn(usize) -> Vec<u8>) -> Structure {
    let (short, long) = (make(1), make(4));
    let time = |message: &[u8]| {
        let start = std::time::Instant::now();
        let found = walk(message);
        (found, start.elapsed())
    };
    let (_, first) = time(&short);
    let (found, second) = time(&long);
    let most = first * 12 + std::time::Duration::from_millis(100);
    assert!(
        second < most,
        "{what}: {first:?} for a quarter, {second:?} for all"
    );
    assert_eq!(found.len, long.len() as u64, "{what}");
    assert!(depth(&found.part) <= Limits::default().depth + 1, "{what}");
    assert!(
        parts(&found.part).count() <= Limits::default().parts,
        "{what}"
    );
    let stored = stored_len(&found);
    assert!(stored <= 60 * 1024, "{what}: {stored} octets are stored");
    found
}

#[test]
fn hostile_messages_take_linear_time_and_a_bounded_structure() {
    let nested = assert_linear("nested messages", |n| {
        b"Content-Type: message/rfc822\r\n\r\n".repeat(5_000 * n)
    });
    assert_eq!(depth(&nested.part), Limits::default().depth + 1);
    assert_linear("nested multiparts", |n| {
        let level = |i: usize| format!("Content-Type: multipart/mixed; boundary={i}\n\n--{i}\n");
        (0..5_000 * n).map(level).collect::<String>().into_bytes()
    });
    let empty = assert_linear("empty parts", |n| {
        let mut message = b"Content-Type: multipart/mixed; boundary=b\n\n".to_vec();
        message.extend(b"--b\n\n\n".repeat(250_000 * n));
        message
    });
    let all = children(&empty.part);
    assert_eq!(
        all.last().unwrap().end,
        empty.len,
        "the last part has all the rest"
    );
    let childless = assert_linear("multiparts without a boundary", |n| {
        let mut message = b"Content-Type: multipart/mixed; boundary=b\n\n".to_vec();
        message.extend(b"--b\nContent-Type: multipart/x\n\n".repeat(2_000 * n));
        message
    });
    // Room for a text in it is there for the first ones only; the others are bytes.
    let all = children(&childless.part);
    assert!(matches!(all[0].inside, Inside::Multipart(_)));
    assert_eq!(all.last().unwrap().inside, Inside::Leaf);
    assert_linear("boundaries in a row", |n| {
        let mut message = b"Content-Type: multipart/mixed; boundary=b\n\n".to_vec();
        message.extend(b"--b\n".repeat(250_000 * n));
        message
    });
    let deep = |line: &[u8], n: usize| {
        let mut message = Vec::new();
        for i in 0..60 {
            let boundary = format!("{}{i}", "-".repeat(60));
            let level =
                format!("Content-Type: multipart/mixed; boundary={boundary}\n\n--{boundary}\n");
            message.extend(level.into_bytes());
        }
        message.push(b'\n');
        message.extend(line.repeat(n));
        message
    };
    assert_linear("lines like boundaries", |n| {
        deep(&[b"-".repeat(70), vec![b'\n']].concat(), 20_000 * n)
    });
    assert_linear("one endless line like a boundary", |n| {
        deep(b"-", 1_000_000 * n)
    });
    assert_linear("line feeds", |n| deep(b"\n", 500_000 * n));
    assert_linear("hyphens", |n| deep(b"--\n", 500_000 * n));
    assert_linear("one header of many fields", |n| {
        b"To: a@b\n".repeat(100_000 * n)
    });
    assert_linear("one endless field", |n| {
        [b"To: ".to_vec(), b"a@b, ".repeat(100_000 * n)].concat()
    });
    assert_linear("comments", |n| {
        [b"To: ".to_vec(), b"(".repeat(400_000 * n)].concat()
    });
    assert_linear("quotes", |n| {
        [b"From: ".to_vec(), b"\"\\".repeat(30_000 * n)].concat()
    });
    assert_linear("groups", |n| {
        [b"To: ".to_vec(), b"a:;".repeat(20_000 * n)].concat()
    });
    assert_linear("encoded words", |n| {
        [b"To: ".to_vec(), b"=?=?a?q?".repeat(8_000 * n)].concat()
    });
    assert_linear("parameters", |n| {
        [
            b"Content-Type: a/b; ".to_vec(),
            b"x=y z (".repeat(9_000 * n),
        ]
        .concat()
    });
    assert_linear("words of a parameter", |n| {
        [b"Content-Type: a/b; x=".to_vec(), b"y ".repeat(30_000 * n)].concat()
    });
}

#[test]
fn over_a_limit_the_rest_is_bytes() {
    let message =
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n--b\n\n2\n--b\n\n3\n--b--\n";
    let few = walk_within(
        message.as_bytes(),
        Limits {
            parts: 3,
            ..Limits::default()
        },
    );
    let all = children(&few.part);
    assert_eq!(all.len(), 2);
    assert_eq!(body(message, &all[1]), "2\n--b\n\n3\n--b--\n");

    let flat = walk_within(
        message.as_bytes(),
        Limits {
            depth: 0,
            ..Limits::default()
        },
    );
    assert_eq!(
        (kind(&flat.part), &flat.part.inside),
        ("multipart/mixed".to_owned(), &Inside::Leaf)
    );

    let long = format!("Subject: {}\nTo: x@y\n\nbody", "s".repeat(100));
    let cut = walk_within(
        long.as_bytes(),
        Limits {
            value: 10,
            ..Limits::default()
        },
    );
    assert_eq!(cut.envelope.subject.unwrap(), b"ssssssssss");
    let cut = walk_within(
        long.as_bytes(),
        Limits {
            header: 20,
            ..Limits::default()
        },
    );
    assert_eq!((cut.header.len(), cut.header_len), (20, 119));
    assert_eq!((cut.envelope.to.len(), cut.part.body), (0, 119));
    let cut = walk_within(
        long.as_bytes(),
        Limits {
            fields: 1,
            ..Limits::default()
        },
    );
    assert_eq!(cut.envelope.to.len(), 0);
    let many = format!("To: {}\n\n", "a@b,".repeat(100));
    let cut = walk_within(
        many.as_bytes(),
        Limits {
            addresses: 7,
            ..Limits::default()
        },
    );
    assert_eq!(cut.envelope.to.len(), 7);
    let params = format!("Content-Type: a/b{}\n\n", "; x=y".repeat(100));
    let cut = walk_within(
        params.as_bytes(),
        Limits {
            params: 7,
            ..Limits::default()
        },
    );
    assert_eq!(cut.part.params.len(), 7);
    let boundary = "b".repeat(71);
    let message =
        format!("Content-Type: multipart/mixed; boundary={boundary}\n\n--{boundary}\n\nx");
    let found = walk(message.as_bytes());
    assert_eq!(body(&message, &children(&found.part)[0]), "x");
    let cut = walk_within(
        message.as_bytes(),
        Limits {
            boundary: 70,
            ..Limits::default()
        },
    );
    assert_eq!(children(&cut.part)[0].body, cut.part.body);
}

/// Pieces that make structure likely.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "\n",
        "\r\n",
        "\r",
        "-",
        "--",
        "--a",
        "--b",
        "--a--",
        "--b--",
        " ",
        "x",
        ":",
        ",",
        "text",
        "\nContent-Type: multipart/mixed; boundary=a\n\n--a\n",
        "\r\nContent-Type: multipart/digest; boundary=\"b\"\r\n\r\n--b\r\n",
        "Content-Type: message/rfc822\r\n\r\n",
        "Subject: s\r\n",
        "To: a <b@c>, d: e@f;\r\n",
        "\0",
        "\u{e9}",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

fn assert_nested(part: &Part) {
    let mut start = part.body;
    for child in match &part.inside {
        Inside::Leaf => &[],
        Inside::Multipart(children) => children.as_slice(),
        Inside::Message(message) => std::slice::from_ref(&message.1),
    } {
        assert!(start <= child.header && child.header <= child.body && child.body <= child.end);
        assert!(child.end <= part.end, "{part:?}");
        start = child.end;
        assert_nested(child);
    }
}

#[test]
fn a_message_that_ends_with_its_own_header_counts_before_the_next_part() {
    let message = b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/digest; boundary=b\n\n--b\nSubject: s\n--a\nX: y\n\nz\n--a--\n";
    for most in 1..8 {
        let limits = Limits {
            parts: most,
            ..Limits::default()
        };
        let found = walk_within(message, limits);
        assert_eq!(parts(&found.part).count(), most.min(5));
    }
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_have_one_structure(message in message(), cuts in prop::collection::vec(0usize..20, 1..40)) {
        let whole = walk(&message);
        prop_assert_eq!(whole.len, message.len() as u64);
        assert_nested(&whole.part);
        for part in parts(&whole.part) {
            let body = &message[part.body as usize..part.end as usize];
            prop_assert_eq!(part.lines as usize, body.iter().filter(|c| **c == b'\n').count());
        }
        let mut walker = Walker::new(Limits::default());
        let mut rest = message.as_slice();
        for cut in cuts {
            let (piece, tail) = rest.split_at(cut.min(rest.len()));
            walker.push(piece);
            rest = tail;
        }
        for byte in rest {
            walker.push(&[*byte]);
        }
        prop_assert_eq!(walker.finish(), whole);
    }

    #[test]
    fn there_are_never_more_parts_than_the_limit(message in message(), most in 1usize..8) {
        let limits = Limits { parts: most, ..Limits::default() };
        let found = walk_within(&message, limits);
        prop_assert!(parts(&found.part).count() <= most);
    }
}
