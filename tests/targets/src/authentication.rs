//! Records that prove where mail comes from, and what is read of messages: SPF, DKIM, DMARC, master files, header fields.

use mox_dkim::{BodyCanonicalizer, Canonical, Claims, KeyRecord, Signature};
use mox_dns::MasterFile;
use mox_message::text;
use mox_mime::{Limits, Walker};

use crate::source::Source;

/// A record that was read is written so that it reads as the same.
pub fn spf_record(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"v=spf1",
        b"v=spf1 ",
        b" ",
        b"  ",
        b"all",
        b"-all",
        b"~",
        b"?",
        b"+",
        b"include:",
        b"a",
        b"a:",
        b"mx/24",
        b"mx//64",
        b"/",
        b"//",
        b"0",
        b"33",
        b"ptr",
        b"ptr:",
        b"ip4:192.0.2.1",
        b"ip4:192.0.2.0/24",
        b"ip6:2001:db8::/32",
        b"ip6:::1",
        b"exists:",
        b"redirect=",
        b"exp=",
        b"x-y=",
        b"=",
        b":",
        b"%{i}",
        b"%{d2r.-}",
        b"%{",
        b"}",
        b"%%",
        b"%_",
        b"%-",
        b"%{L}",
        b"%{s9999}",
        b"a.example",
        b"_",
        b"\xc3\xa9",
        b"A",
        b"MX",
    ];
    let text = Source::new(data).input(WORDS);
    let text = String::from_utf8_lossy(&text);
    match mox_spf::Record::parse(&text) {
        Ok(record) => {
            assert!(mox_spf::is_spf(text.as_bytes()));
            let written = record.to_string();
            let again = mox_spf::Record::parse(&written).unwrap();
            assert_eq!(again.to_string(), written);
            // But for how its terms were written.
            let meant = |record: &mox_spf::Record<'_>| -> Vec<_> {
                let directives = record.directives.iter();
                directives
                    .map(|directive| format!("{:?} {:?}", directive.qualifier, directive.mechanism))
                    .collect()
            };
            assert_eq!(meant(&again), meant(&record), "{written}");
            assert_eq!(
                (again.redirect, again.exp, again.unknown),
                (record.redirect, record.exp, record.unknown)
            );
        }
        // It names what is wrong.
        Err(why) => assert!(text.contains(why.term), "{why}"),
    }
}

/// A key record that was read is written so that it reads as the same; a signature names who made it.
pub fn dkim_records(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"v=DKIM1", b"v=1", b";", b"; ", b"p=", b"p=AAAA", b"MIGf", b"k=rsa", b"k=ed25519", b"p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", b"h=sha256", b"h=sha1:sha256", b"s=email", b"s=*", b"t=y", b"t=s:y", b"n=x",
        b"a=rsa-sha256", b"a=ed25519-sha256", b"b=", b"b=AAAA", b"bh=", b"bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", b"c=relaxed/simple", b"c=simple", b"d=a.example", b"s=sel", b"h=from:to", b"h=From", b"i=ann@a.example",
        b"i=@b", b"l=5", b"q=dns/txt", b"t=1", b"x=2", b"z=From:x", b"\r\n ", b" ", b"\t", b"=", b":", b"\xc3\xa9", b"99999999999999999999",
        b"v=1; a=rsa-sha256; b=AAAA; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; d=a.example; s=sel; h=from",
    ];
    let text = Source::new(data).input(WORDS);
    if let Ok(record) = KeyRecord::parse(&text) {
        let written = record.to_string();
        assert_eq!(
            KeyRecord::parse(written.as_bytes()),
            Ok(record),
            "{written}"
        );
    }
    let claims = Claims::read(&text);
    if let Ok(signature) = Signature::parse(&text) {
        assert_eq!(signature.domain, signature.domain.to_lowercase());
        assert_eq!(signature.selector, signature.selector.to_lowercase());
        let is_from = |name: &String| name.eq_ignore_ascii_case("from");
        assert!(signature.signed.iter().any(is_from), "{signature:?}");
        let claimed = claims.domain.map(|domain| domain.to_lowercase());
        assert_eq!(claimed.as_ref(), Some(&signature.domain));
    }
}

/// A body is the same to a signature however it is cut.
pub fn dkim_body(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"\r",
        b"\n",
        b"a",
        b"text ",
        b"\0",
    ];
    let mut source = Source::new(data);
    let pace = source.below(16) + 1;
    let body = source.input(WORDS);
    for kind in [Canonical::Simple, Canonical::Relaxed] {
        let read = |size: usize| {
            let mut canonical = Vec::new();
            let mut give = |octets: &[u8]| canonical.extend_from_slice(octets);
            let mut reader = BodyCanonicalizer::new(kind);
            for piece in body.chunks(size) {
                reader.push(piece, &mut give);
            }
            reader.finish(&mut give);
            canonical
        };
        let whole = read(body.len().max(1));
        assert_eq!(read(pace), whole);
        // RFC 6376 3.4.3 and 3.4.4.
        assert!(whole.is_empty() || whole.ends_with(b"\r\n"));
        assert!(whole == b"\r\n" || !whole.ends_with(b"\r\n\r\n"));
    }
}

/// A record that was read is written so that it reads as the same, without its defects.
pub fn dmarc_record(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"v=DMARC1",
        b"v=DMARC1;",
        b";",
        b"; ",
        b" ",
        b"p=none",
        b"p=reject",
        b"sp=quarantine",
        b"np=reject",
        b"psd=y",
        b"psd=u",
        b"t=y",
        b"pct=50",
        b"pct=0",
        b"pct=101",
        b"adkim=s",
        b"aspf=r",
        b"rua=mailto:a@b",
        b"ruf=mailto:c@d!10m",
        b",mailto:e@f",
        b"!5k",
        b"!",
        b"fo=1:d:s",
        b"fo=0",
        b"ri=86400",
        b"rf=afrf",
        b"x=y",
        b"=",
        b"p",
        b"\xc3\xa9",
        b"%2C",
        b"https://x/",
    ];
    let text = Source::new(data).input(WORDS);
    if let Ok(record) = mox_dmarc::Record::parse(&text) {
        let written = record.to_string();
        let mut again = mox_dmarc::Record::parse(written.as_bytes()).unwrap();
        // That there is no policy is all that is left of what was wrong.
        let is_missing = |defect: &mox_dmarc::Defect| defect.tag == "p" && record.policy.is_none();
        assert!(
            again.defects.iter().all(is_missing),
            "{written}: {:?}",
            again.defects
        );
        again.defects = record.defects.clone();
        assert_eq!(again, record, "{written}");
    }
}

/// A master file that was read is written so that it reads as the same.
pub fn master_file(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"a.example.",
        b" ",
        b"\t",
        b"\n",
        b"60",
        b" IN ",
        b"A 192.0.2.1\n",
        b"AAAA ::1\n",
        b"MX 10 mx.a.example.\n",
        b"TXT \"v=spf1 -all\"\n",
        b"TXT \"a\" \"b\"\n",
        b"CNAME b.example.\n",
        b"PTR c.\n",
        b"TLSA 3 1 1 00ff\n",
        b"!NXDOMAIN\n",
        b"!SERVFAIL",
        b"!TIMEOUT",
        b"!NODATA",
        b"!AD",
        b"!VIA d.",
        b"(",
        b")",
        b"; c\n",
        b"\"",
        b"\\",
        b"\\000",
        b"$ORIGIN x.\n",
        b"$TTL 5\n",
        b"@",
        b"*",
        b"a.example. 60 A 192.0.2.1\n",
        b"a.example. 60 * !NXDOMAIN\n",
        b"\xff",
        b".",
    ];
    let text = Source::new(data).input(WORDS);
    if let Ok(file) = MasterFile::parse(&text) {
        let written = file.to_string();
        assert_eq!(MasterFile::parse(&written).as_ref(), Ok(&file), "{written}");
    }
}

/// What is read of any message ends, is text, and is within its limits.
pub fn message(data: &[u8]) {
    let mut source = Source::new(data);
    let message = source.clone().input(crate::mime::WORDS);
    let mut walker = Walker::new(Limits::default());
    walker.push(&message);
    let structure = walker.finish();
    let received = mox_message::received_count(&message);
    assert!(received <= message.len() / "Received:".len());
    for value in mox_message::delivered_to_values(&message) {
        assert!(!value.contains('\n'), "{value:?}");
    }
    let mut pieces = 0;
    mox_message::pieces_of(&message, &structure, &mut |_, text| pieces += text.len());
    for part in mox_mime::parts(&structure.part) {
        let _ = text::file_name(part);
        let (from, to) = (part.body as usize, part.end as usize);
        let preview = text::preview(&text::part_text(part, &message[from..to]));
        assert!(preview.chars().count() <= text::PREVIEW_MAX, "{preview}");
    }
    if let Some(encoded) = mox_message::without_binary(&message, &structure.part) {
        assert!(encoded.len() <= 2 * message.len() + 100 * (1 + structure_parts(&structure.part)));
    }
    let value = source.input(crate::mime::WORDS);
    let shown = text::header_text(&value);
    assert!(shown.len() <= 4 * value.len() + 4, "{shown:?}");
    let _ = mox_message::authserv_id(&value);
}

fn structure_parts(part: &mox_mime::Part) -> usize {
    mox_mime::parts(part).count()
}
