//! Commands, replies and the framings of a message, in both directions.

use bytes::BytesMut;
use mox_address::{Domain, Enhanced, Reply};
use mox_smtp::wire::{
    Command, DotReader, DotWriter, Fault, LineCheck, Params, PathArgument, ReplyError, ReplyLimits,
    ReplyReader, base64_decode, base64_encode, encode_reply, forward_path, plain_run, reverse_path,
    split_verb, xtext_decode, xtext_encode,
};

use crate::source::{Source, cut};

const WORDS: &[&[u8]] = &[
    b"MAIL FROM:",
    b"RCPT TO:",
    b"EHLO ",
    b"HELO ",
    b"LHLO ",
    b"DATA",
    b"BDAT ",
    b" LAST",
    b"RSET",
    b"NOOP",
    b"VRFY ",
    b"EXPN ",
    b"HELP",
    b"QUIT",
    b"STARTTLS",
    b"AUTH ",
    b"PLAIN",
    b" =",
    b"<",
    b">",
    b"@",
    b"a",
    b"b.example",
    b"\"",
    b"\\",
    b"[127.0.0.1]",
    b"[IPv6:::1]",
    b"postmaster",
    b" ",
    b"\t",
    b" SIZE=",
    b" BODY=8BITMIME",
    b" SMTPUTF8",
    b" AUTH=<>",
    b" RET=HDRS",
    b"+2B",
    b"0",
    b"18446744073709551615",
    b"\xc3\xa9",
    b".",
    b"..",
    b"<@a,@b:c@d>",
];

fn written(command: Command<'_>) -> Vec<u8> {
    let path = |verb: &str, PathArgument { path, params }| {
        [verb.as_bytes(), b"<", path, b"> ", params].concat()
    };
    match command {
        Command::Ehlo(name) => [b"EHLO ", name].concat(),
        Command::Helo(name) => [b"HELO ", name].concat(),
        Command::Lhlo(name) => [b"LHLO ", name].concat(),
        Command::Mail(argument) => path("MAIL FROM:", argument),
        Command::Rcpt(argument) => path("RCPT TO:", argument),
        Command::Data => b"DATA".to_vec(),
        Command::Bdat { size, last } => {
            format!("BDAT {size}{}", if last { " LAST" } else { "" }).into_bytes()
        }
        Command::Rset => b"RSET".to_vec(),
        Command::Noop => b"NOOP".to_vec(),
        Command::Vrfy(text) => [b"VRFY ", text].concat(),
        Command::Expn(text) => [b"EXPN ", text].concat(),
        Command::Help => b"HELP".to_vec(),
        Command::Quit => b"QUIT".to_vec(),
        Command::StartTls => b"STARTTLS".to_vec(),
        Command::Auth { mechanism, initial } => match initial {
            Some(initial) => [b"AUTH ", mechanism, b" ", initial].concat(),
            None => [b"AUTH ", mechanism].concat(),
        },
    }
}

/// A line that is a command, written anew, is the same command; so are its paths.
pub fn command(data: &[u8]) {
    let line = Source::new(data).input(WORDS);
    let (verb, rest) = split_verb(&line);
    assert!(verb.len() + rest.len() <= line.len());
    let Ok(command) = Command::parse(&line) else {
        return;
    };
    let again = written(command);
    assert_eq!(
        Command::parse(&again),
        Ok(command),
        "{}",
        again.escape_ascii()
    );
    let (Command::Mail(argument) | Command::Rcpt(argument)) = command else {
        return;
    };
    let host = Domain::parse("mx.example", false).unwrap();
    for utf8 in [false, true] {
        if let Ok(Some(path)) = reverse_path(argument.path, utf8) {
            let text = path.to_string();
            assert_eq!(
                reverse_path(text.as_bytes(), utf8),
                Ok(Some(path)),
                "{text}"
            );
        }
        if let Ok(path) = forward_path(argument.path, utf8, &host) {
            let text = path.to_string();
            assert_eq!(
                forward_path(text.as_bytes(), utf8, &host),
                Ok(path),
                "{text}"
            );
        }
    }
    assert!(Params::new(argument.params).count() <= argument.params.len());
}

fn replies(pieces: &[&[u8]]) -> (Vec<Reply>, Option<ReplyError>) {
    let mut reader = ReplyReader::new(ReplyLimits { lines: 5, line: 60 });
    let mut input = BytesMut::new();
    let mut found = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Some(reply) = reader.take(&mut input) {
            match reply {
                Ok(reply) => found.push(reply),
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

/// What a server says is the same replies however it is cut.
pub fn reply(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"250-",
        b"250 ",
        b"550 ",
        b"354 ",
        b"5.1.1",
        b"2.0.0",
        b" ",
        b"ok",
        b"\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"250",
        b"199 ",
        b"-",
        b"\xff",
        b"\0",
        b"5.1.1 ",
        b"sixty octets sixty octets sixty octets sixty octets",
    ];
    let mut source = Source::new(data);
    let text = source.input(WORDS);
    let whole = replies(&[&text]);
    assert_eq!(replies(&cut(&text, &mut source)), whole);
}

/// A reply that was written is read as the same, once it has been read.
pub fn reply_value(data: &[u8]) {
    let mut source = Source::new(data);
    let code = 200 + u16::try_from(source.below(400)).unwrap();
    // Those of AUTH are one line each, however long.
    let most = if code / 100 == 3 { 400 } else { 3_000 };
    let reply = Reply {
        code,
        enhanced: (source.one_in(2)).then(|| {
            Enhanced(
                u8::try_from(code / 100).unwrap(),
                u16::from(source.octet()),
                u16::from(source.octet()),
            )
        }),
        text: String::from_utf8_lossy(source.octets(most))
            .into_owned()
            .into(),
    };
    let read = |reply: &Reply| {
        let mut wire = BytesMut::new();
        encode_reply(reply, &mut wire);
        for line in wire.split_inclusive(|b| *b == b'\n') {
            assert!(
                line.len() <= 512 && line.ends_with(b"\r\n"),
                "{}",
                line.escape_ascii()
            );
        }
        let mut reader = ReplyReader::default();
        let read = reader.take(&mut wire).unwrap().unwrap();
        assert!(wire.is_empty());
        read
    };
    let once = read(&reply);
    assert_eq!((once.code, once.enhanced), (reply.code, reply.enhanced));
    let twice = read(&once);
    assert_eq!(read(&twice), twice, "stable");
}

const BODY: &[&[u8]] = &[
    b"\r\n",
    b".",
    b"a",
    b"\r\n.\r\n",
    b"..",
    b"line",
    b"\r",
    b"\n",
    b"\0",
    b"\r\r\n",
    b"\xc3\xa9",
    b".\r\n",
];

/// A message that is written is read as itself; what follows it is left.
pub fn dots(data: &[u8]) {
    let mut source = Source::new(data);
    let message = source.input(BODY);
    let (mut writer, mut wire) = (DotWriter::default(), BytesMut::new());
    let pieces = cut(&message, &mut source.clone());
    let mut fault = pieces
        .iter()
        .find_map(|piece| writer.push(piece, &mut wire).err());
    fault = fault.or_else(|| writer.finish(&mut wire).err());
    let mut check = LineCheck::default();
    let checked = check
        .push(&message)
        .map_err(|(_, fault)| fault)
        .and_then(|()| check.finish());
    assert_eq!(fault, checked.err(), "both see the same faults");
    if fault.is_some() {
        return;
    }
    wire.extend_from_slice(b"NOOP\r\n");
    let (read, fault, end, rest) = read_dots(&cut(&wire, &mut source));
    assert_eq!((fault, end), (None, true));
    assert_eq!(rest, b"NOOP\r\n");
    let mut expected = message;
    if !expected.is_empty() && !expected.ends_with(b"\r\n") {
        expected.extend_from_slice(b"\r\n");
    }
    assert_eq!(read, expected);
}

fn read_dots(pieces: &[&[u8]]) -> (Vec<u8>, Option<Fault>, bool, Vec<u8>) {
    let (mut reader, mut input) = (DotReader::default(), BytesMut::new());
    let (mut read, mut fault, mut end) = (Vec::new(), None, false);
    for piece in pieces {
        input.extend_from_slice(piece);
        while !end {
            let before = input.len();
            let took = reader.take(&mut input, 1 << 20);
            assert!(
                fault.is_none() || took.body.is_empty(),
                "nothing behind a fault"
            );
            read.extend_from_slice(&took.body);
            fault = fault.or(took.fault);
            end = took.end;
            // Having found a fault, it is asked again for what lies behind.
            if input.len() == before && took.fault.is_none() {
                break;
            }
        }
    }
    // What was decoded and not given out stays in front.
    (read, fault, end, input.to_vec())
}

/// Whatever a client sends is the same message however it is cut.
pub fn dots_hostile(data: &[u8]) {
    let mut source = Source::new(data);
    let text = source.input(BODY);
    let (mut whole, mut cuts) = (read_dots(&[&text]), read_dots(&cut(&text, &mut source)));
    for read in [&mut whole, &mut cuts] {
        if !read.2 && read.1.is_none() {
            let mut kept = std::mem::take(&mut read.3);
            read.0.append(&mut kept);
        }
    }
    assert_eq!(cuts, whole);
}

/// The checks of lines say the same at the same place however they are cut.
pub fn lines(data: &[u8]) {
    let mut source = Source::new(data);
    let text = source.input(BODY);
    let plain = text.iter().position(|b| matches!(b, b'\r' | b'\n' | 0));
    assert_eq!(plain_run(&text), plain.unwrap_or(text.len()));
    let whole = LineCheck::default().push(&text).err();
    let (mut check, mut at) = (LineCheck::default(), 0);
    let mut cuts = None;
    for piece in cut(&text, &mut source) {
        if let Err((within, fault)) = check.push(piece) {
            cuts = Some((at + within, fault));
            break;
        }
        at += piece.len();
    }
    assert_eq!(cuts, whole);
}

/// xtext and base64 are inverse.
pub fn text(data: &[u8]) {
    let encoded = xtext_encode(data);
    assert!(encoded.bytes().all(|b| b.is_ascii_graphic()));
    assert_eq!(xtext_decode(encoded.as_bytes()).as_deref(), Some(data));
    if let Some(decoded) = xtext_decode(data) {
        assert_eq!(
            xtext_decode(xtext_encode(&decoded).as_bytes()),
            Some(decoded)
        );
    }
    assert_eq!(
        base64_decode(base64_encode(data).as_bytes()).as_deref(),
        Some(data)
    );
    if let Some(decoded) = base64_decode(data) {
        assert_eq!(base64_encode(&decoded).as_bytes(), data, "one form only");
    }
}
