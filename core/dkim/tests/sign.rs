//! What we sign verifies, what is changed on the way does not, and hostile input costs little.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_dkim::{
    AwsLc, BodyCanonicalizer, Canonical, Ed25519Key, KeyRecord, Limits, Policy, PublicKey, Report,
    RsaKey, Selector, Sign, SignError, Signing, Verdict, Verifier, Verify,
};
use mox_dns::{Answer, Facts, Question, Record, RecordType};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const HEADER: &str = "From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: a\r\n  folded   one\r\n\
                      Date: Fri, 2 Jan 2026 03:04:05 +0000\r\n";
const BODY: &[u8] = b"Hello  Bob,\r\n \r\nbye \r\n\r\n\r\n";
const NOW: i64 = 1_767_322_800;

fn record(key: &dyn Sign) -> String {
    KeyRecord {
        key: key.public_key(),
        sha256: true,
        sha1: false,
        for_mail: true,
        for_tls_reports: true,
        testing: false,
        strict: false,
    }
    .to_string()
}

fn verify(fields: &str, header: &str, body: &[u8], keys: &[(&str, &str)], now: i64) -> Vec<Report> {
    let mut verifier = Verifier::new(format!("{fields}{header}").as_bytes(), &Limits::default());
    verifier.push(body);
    let facts: Facts = keys
        .iter()
        .map(|(name, text)| {
            let answer = Answer::records(vec![Record::Txt(text.as_bytes().to_vec().into())], 300);
            (Question::new(name, RecordType::Txt).unwrap(), answer)
        })
        .collect();
    verifier
        .finish()
        .judge(&facts, &Policy::default(), now, &AwsLc)
        .unwrap()
}

fn ed25519(seed: u8) -> Arc<dyn Sign> {
    Arc::new(Ed25519Key::from_seed(&[seed; 32]).unwrap())
}

fn sign(selectors: &[Selector], header: &str, body: &[u8]) -> Result<String, SignError> {
    let mut signing = Signing::new(selectors);
    for piece in body.chunks(3) {
        signing.push(piece);
    }
    signing.finish(header.as_bytes(), NOW as u64)
}

#[test]
fn a_message_signed_with_two_keys_passes_twice_and_every_change_is_seen() {
    let rsa: Arc<dyn Sign> = Arc::new(RsaKey::generate().unwrap());
    let ed25519: Arc<dyn Sign> = Arc::new(Ed25519Key::generate().unwrap());
    let records = [record(&*rsa), record(&*ed25519)];
    let keys = [
        ("r._domainkey.example.org", records[0].as_str()),
        ("e._domainkey.example.org", records[1].as_str()),
    ];
    for kind in [Canonical::Relaxed, Canonical::Simple] {
        let mut selectors = [
            Selector::new("example.org", "r", rsa.clone()),
            Selector::new("example.org", "e", ed25519.clone()),
        ];
        for selector in &mut selectors {
            selector.header = kind;
            selector.body = kind;
            selector.expires = Some(3_600);
        }
        let fields = sign(&selectors, HEADER, BODY).unwrap();
        assert!(fields.lines().all(|line| line.len() <= 78), "{fields}");
        let verdicts = |header: &str, body: &[u8], now| -> Vec<Verdict> {
            verify(&fields, header, body, &keys, now)
                .iter()
                .map(|r| r.verdict)
                .collect()
        };
        assert_eq!(verdicts(HEADER, BODY, NOW), [Verdict::Pass; 2]);
        assert_eq!(verdicts(HEADER, BODY, NOW + 3_601), [Verdict::PermError; 2]);
        assert_eq!(verdicts(HEADER, BODY, NOW - 3_601), [Verdict::PermError; 2]);
        assert_eq!(
            verdicts(HEADER, b"Hello  Eve,\r\n", NOW),
            [Verdict::Fail; 2]
        );
        let second = format!("{HEADER}Subject: another\r\n");
        assert_eq!(verdicts(&second, BODY, NOW), [Verdict::Fail; 2]);
        let spaces = HEADER.replace("a\r\n  folded   one", "a folded one");
        let survives = if kind == Canonical::Relaxed {
            Verdict::Pass
        } else {
            Verdict::Fail
        };
        assert_eq!(verdicts(&spaces, BODY, NOW), [survives; 2]);
        assert_eq!(
            verdicts(HEADER, b"Hello Bob,\r\n\r\nbye\r\n", NOW),
            [survives; 2]
        );
        // An unsigned field may come and go.
        assert_eq!(
            verdicts(&format!("Received: x\r\n{HEADER}"), BODY, NOW),
            [Verdict::Pass; 2]
        );
    }
}

#[test]
fn a_signature_is_never_one_of_the_fields_it_signs() {
    let key = ed25519(7);
    let text = record(&*key);
    let keys = [("e._domainkey.example.org", text.as_str())];
    let header = format!("DKIM-Signature: v=1; d=other.example\r\n{HEADER}");
    let selector = Selector {
        signed: ["From", "DKIM-Signature"].map(String::from).to_vec(),
        ..Selector::new("example.org", "e", key.clone())
    };
    let fields = sign(&[selector], &header, BODY).unwrap();
    assert!(fields.contains("h=From:From:DKIM-Signature:DKIM-Signature;"));
    let verdicts = |header: &str| -> Vec<Verdict> {
        let reports = verify(&fields, header, BODY, &keys, NOW);
        reports.iter().map(|report| report.verdict).collect()
    };
    assert_eq!(verdicts(&header), [Verdict::Pass, Verdict::PermError]);
    // One more was not there.
    let more = format!("DKIM-Signature: v=1; d=third.example\r\n{header}");
    assert_eq!(verdicts(&more)[0], Verdict::Fail);
    assert_eq!(
        verdicts(&header.replace("other", "others"))[0],
        Verdict::Fail
    );
}

/// Counts how often it is asked.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl Verify for Counting {
    fn rsa(&self, key: &[u8], digest: &[u8], signature: &[u8]) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        AwsLc.rsa(key, digest, signature)
    }

    fn ed25519(&self, key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        AwsLc.ed25519(key, message, signature)
    }
}

#[test]
fn a_signature_is_checked_once_with_its_key_however_often_its_inquiry_runs() {
    let keys = [7, 8].map(ed25519);
    let fields = sign(
        &[Selector::new("example.org", "e", keys[0].clone())],
        HEADER,
        BODY,
    )
    .unwrap();
    let mut verifier = Verifier::new(format!("{fields}{HEADER}").as_bytes(), &Limits::default());
    verifier.push(BODY);
    let hashed = verifier.finish();
    let facts = keys.map(|key| -> Facts {
        let name = Question::new("e._domainkey.example.org", RecordType::Txt).unwrap();
        let text = Record::Txt(record(&*key).into());
        [(name, Answer::records(vec![text], 300))]
            .into_iter()
            .collect()
    });
    let crypto = Counting::default();
    let judge = |facts| {
        hashed
            .judge(facts, &Policy::default(), NOW, &crypto)
            .unwrap()[0]
            .verdict
    };
    for _ in 0..5 {
        assert_eq!(judge(&facts[0]), Verdict::Pass);
    }
    assert_eq!(crypto.0.load(Ordering::Relaxed), 1);
    // "What if the domain had published another key" is another question.
    assert_eq!(judge(&facts[1]), Verdict::Fail);
    assert_eq!(judge(&facts[0]), Verdict::Pass);
    assert_eq!(crypto.0.load(Ordering::Relaxed), 2);
}

#[test]
fn a_bare_line_end_in_a_signed_field_is_no_white_space() {
    let key = ed25519(7);
    let text = record(&*key);
    let keys = [("e._domainkey.example.org", text.as_str())];
    let header = HEADER.replace("Subject: a", "Subject: a From: eve@example.com");
    let fields = sign(
        &[Selector::new("example.org", "e", key.clone())],
        &header,
        BODY,
    )
    .unwrap();
    assert_eq!(
        verify(&fields, &header, BODY, &keys, NOW)[0].verdict,
        Verdict::Pass
    );
    let split = header.replace("a From:", "a\nFrom:");
    assert_eq!(
        verify(&fields, &split, BODY, &keys, NOW)[0].verdict,
        Verdict::Fail
    );
}

#[test]
fn a_message_without_one_from_field_is_not_signed() {
    let key = ed25519(7);
    let selectors = [Selector::new("example.org", "e", key.clone())];
    assert_eq!(
        sign(&selectors, "To: b@example.net\r\n", BODY),
        Err(SignError::From)
    );
    assert_eq!(
        sign(
            &selectors,
            &format!("{HEADER}From: x@example.org\r\n"),
            BODY
        ),
        Err(SignError::From)
    );
}

#[test]
fn nothing_is_signed_that_no_verifier_would_take() {
    let key: Arc<dyn Sign> = Arc::new(Ed25519Key::generate().unwrap());
    for (domain, selector) in [
        (".", "s"),
        ("", "s"),
        ("example.org.", "s"),
        ("a\\;b.example", "s"),
        ("-x.example", "s"),
        ("*.example", "s"),
        ("[192.0.2.1]", "s"),
        ("b\u{fc}cher.example", "s"),
        ("example.org", "a b"),
        ("example.org", "a..b"),
    ] {
        let selector = Selector::new(domain, selector, key.clone());
        assert_eq!(
            sign(&[selector], HEADER, BODY),
            Err(SignError::Name),
            "{domain}"
        );
    }
    let record = record(&*key);
    for expires in [0, 1, 9_999_999_999_999, u64::MAX] {
        let mut selector = Selector::new("example.org", "2026-a.s_1", key.clone());
        selector.expires = Some(expires);
        let fields = sign(&[selector], HEADER, BODY).unwrap();
        let keys = [("2026-a.s_1._domainkey.example.org", record.as_str())];
        let reports = verify(&fields, HEADER, BODY, &keys, NOW);
        assert_eq!(reports[0].verdict, Verdict::Pass, "{fields}");
    }
}

#[test]
fn the_same_key_message_and_time_give_the_same_field() {
    let key = Ed25519Key::from_seed(&[7; 32]).unwrap();
    let again = Ed25519Key::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
    let one = sign(
        &[Selector::new("example.org", "e", Arc::new(key))],
        HEADER,
        BODY,
    )
    .unwrap();
    let two = sign(
        &[Selector::new("example.org", "e", Arc::new(again))],
        HEADER,
        BODY,
    )
    .unwrap();
    assert_eq!(one, two);
    assert!(one.starts_with("DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n\td=example.org; s=e;\r\n\tt=1767322800;\r\n\th=From:From:To:To:"), "{one}");
}

#[test]
fn key_records_are_read_and_written() {
    let key = ed25519(7);
    let text = record(&*key);
    let read = KeyRecord::parse(text.as_bytes()).unwrap();
    assert_eq!(read.key, key.public_key());
    assert_eq!(read.to_string(), text);
    let full = KeyRecord::parse(b"v=DKIM1; h=sha1 : sha256; k=rsa; n=note; s=tlsrpt; t=y : s; p=")
        .unwrap();
    assert_eq!(full.key, PublicKey::Revoked);
    assert_eq!(
        (
            full.sha1,
            full.sha256,
            full.for_mail,
            full.testing,
            full.strict
        ),
        (true, true, false, true, true)
    );
    for (text, what) in [
        ("p=!", "p= is not base64"),
        ("v=DKIM1; k=rsa", "p= is missing"),
        ("v=DKIM2; p=", "v= is not DKIM1, or not the first tag"),
        ("p=; v=DKIM1", "v= is not DKIM1, or not the first tag"),
        ("v=DKIM1; p=; p=", "a tag that stands twice"),
        ("v=DKIM1; k=dsa; p=AAAA", "k= is not a kind of key"),
        ("v=DKIM1; k=ed25519; p=AAAA", "an Ed25519 key has 32 octets"),
    ] {
        assert_eq!(KeyRecord::parse(text.as_bytes()), Err(what), "{text}");
    }
}

#[test]
fn ten_thousand_signatures_cost_eight() {
    let field =
        "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s; h=From; bh=AAAA; b=AAAA\r\n";
    let header = field.repeat(10_000);
    let header = format!("{HEADER}{header}");
    let limits = Limits {
        header: usize::MAX,
        ..Limits::default()
    };
    let verifier = Verifier::new(header.as_bytes(), &limits);
    assert_eq!(verifier.questions().len(), 8);
    assert_eq!(verifier.finish().passed_over(), 9_992);
    // Over the limit of a header nothing is verified, and it says so.
    let reports = verify(&field.repeat(10_000), HEADER, b"", &[], NOW);
    assert_eq!(reports.len(), 8);
    assert!(
        reports
            .iter()
            .all(|r| r.problem == Some("the header is too large"))
    );
}

#[test]
fn keys_that_are_too_short_too_long_or_no_keys_are_refused() {
    let key = ed25519(7);
    let fields = sign(
        &[Selector::new("example.org", "s", key.clone())],
        HEADER,
        BODY,
    )
    .unwrap()
    .replace("ed25519-sha256", "rsa-sha256");
    let problem = |text: &str| {
        verify(
            &fields,
            HEADER,
            BODY,
            &[("s._domainkey.example.org", text)],
            NOW,
        )[0]
        .problem
    };
    let rsa = |octets: usize| {
        let der = |tag: u8, content: &[u8]| {
            let length = (content.len() as u32).to_be_bytes();
            [&[tag, 0x83][..], &length[1..], content].concat()
        };
        let modulus = [&[0][..], &vec![0xff; octets]].concat();
        der(0x30, &[der(2, &modulus), der(2, &[1, 0, 1])].concat())
    };
    use base64::Engine;
    let text = |octets| {
        format!(
            "p={}",
            base64::engine::general_purpose::STANDARD.encode(rsa(octets))
        )
    };
    assert_eq!(problem(&text(64)), Some("the RSA key is too short"));
    assert_eq!(problem(&text(2_048)), Some("the RSA key is too long"));
    assert_eq!(
        problem(&text(256)),
        Some("the header is not as it was signed")
    );
    assert_eq!(
        problem("v=DKIM1; p=AAAA"),
        Some("the key is not an RSA key")
    );
    assert_eq!(problem("v=DKIM1; p="), Some("the key is revoked"));
    assert_eq!(
        problem("v=DKIM1; h=sha1; p=AAAA"),
        Some("the key is not for this hash")
    );
    assert_eq!(problem("v=spf1 -all"), Some("there is no key"));
    assert_eq!(problem(&record(&*key)), Some("the key is of another kind"));
}

/// The plain way to write the canonical form, for comparison.
fn slow(kind: Canonical, body: &[u8]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    let mut at = 0;
    while at < body.len() {
        if body[at..].starts_with(b"\r\n") {
            lines.push(Vec::new());
            at += 2;
        } else {
            lines.last_mut().unwrap().push(body[at]);
            at += 1;
        }
    }
    if kind == Canonical::Relaxed {
        for line in &mut lines {
            let blank = |b: &u8| *b == b' ' || *b == b'\t';
            let mut out: Vec<u8> = Vec::new();
            for b in line.iter() {
                if !blank(b) {
                    out.push(*b);
                } else if out.last() != Some(&b' ') {
                    out.push(b' ');
                }
            }
            while out.last() == Some(&b' ') {
                out.pop();
            }
            *line = out;
        }
    }
    while lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    let mut out: Vec<u8> = lines
        .iter()
        .flat_map(|line| [line.as_slice(), b"\r\n"].concat())
        .collect();
    if out.is_empty() && kind == Canonical::Simple {
        out.extend_from_slice(b"\r\n");
    }
    out
}

proptest! {
    #[test]
    fn a_body_is_the_same_however_it_is_cut(body in "[a \t\r\n]{0,40}", cut in 1..8_usize) {
        for kind in [Canonical::Simple, Canonical::Relaxed] {
            let mut canonicalizer = BodyCanonicalizer::new(kind);
            let mut out = Vec::new();
            for piece in body.as_bytes().chunks(cut) {
                canonicalizer.push(piece, &mut |bytes| out.extend_from_slice(bytes));
            }
            canonicalizer.finish(&mut |bytes| out.extend_from_slice(bytes));
            prop_assert_eq!(out, slow(kind, body.as_bytes()));
        }
    }

    #[test]
    fn nothing_in_a_header_or_a_key_can_break_the_verifier(header in "[ -~\r\n\t]{0,200}", tags in "[a-z0-9=;:/@. +]{0,120}", key in "[ -~]{0,60}") {
        let fields = format!("DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=From; bh=; b=AA; {tags}\r\n");
        for report in verify(&fields, &format!("From: a@a.example\r\n{header}"), b"x", &[("s._domainkey.a.example", &key)], NOW) {
            prop_assert!(report.verdict != Verdict::Pass);
        }
    }
}
