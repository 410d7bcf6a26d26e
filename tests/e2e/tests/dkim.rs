//! What we sign verifies with dkimpy and opendkim, and what they sign with ours.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::path::{Path, PathBuf};

use mox_e2e::{Scratch, have, moxctl, run, script, skip};

const DOMAIN: &str = "example.org";
const CANONICALS: [&str; 4] = [
    "relaxed/relaxed",
    "relaxed/simple",
    "simple/relaxed",
    "simple/simple",
];

/// Messages whose white space, line ends and fields are not the usual ones.
const MESSAGES: [(&str, &str); 10] = [
    (
        "plain",
        "From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: hello\r\nDate: Fri, 2 Jan 2026 03:04:05 +0000\r\nMessage-ID: <x@example.org>\r\n\r\nHello Bob,\r\n\r\nbye\r\n",
    ),
    (
        "folded",
        "Received: from a\r\n\tby b;\r\n  Fri, 2 Jan 2026 03:04:05 +0000\r\nFrom:\tAnn  \r\n <ann@example.org>\r\nSubject: one\r\n\ttwo  three \t\r\n   four\r\n\r\nx\r\n",
    ),
    (
        "blanks",
        "From: ann@example.org\r\nSubject:   \r\n\r\n a  b\t\tc \r\n\t\r\n  \r\nend \t \r\n\r\n \r\n\r\n",
    ),
    ("empty body", "From: ann@example.org\r\nSubject: x\r\n\r\n"),
    (
        "only empty lines",
        "From: ann@example.org\r\nSubject: x\r\n\r\n\r\n\r\n\r\n",
    ),
    (
        "no last line end",
        "From: ann@example.org\r\nSubject: x\r\n\r\nno end",
    ),
    (
        "twice",
        "Received: one\r\nReceived: two\r\nTo: a@example.net\r\nFrom: ann@example.org\r\nTo: b@example.net\r\nSubject: x\r\n\r\nx\r\n",
    ),
    (
        "utf-8",
        "From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nSubject: Gr\u{fc}\u{df}e\r\n\r\n\u{1f600} Gr\u{fc}\u{df}e\r\n",
    ),
    (
        "dots",
        "From: ann@example.org\r\nsubject: lower\r\nCONTENT-TYPE: text/plain\r\n\r\n.\r\n..\r\nFrom here on\r\n",
    ),
    (
        "signed before",
        "DKIM-Signature: v=1; a=rsa-sha256; d=other.example; s=o; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\nFrom: ann@example.org\r\nSubject: x\r\n\r\nx\r\n",
    ),
];

/// An RSA and an Ed25519 key, and the records to publish.
struct Keys {
    scratch: Scratch,
    rsa: PathBuf,
    ed25519: PathBuf,
    /// Selector and record.
    records: Vec<(&'static str, String)>,
}

impl Keys {
    fn new() -> Self {
        let scratch = Scratch::new();
        let mut records = Vec::new();
        let mut make = |selector, kind| {
            let pem = run_moxctl(&["dkim", kind], b"");
            let txt = [
                "dkim",
                "txt",
                "--json",
                "--selector",
                selector,
                "--domain",
                DOMAIN,
            ];
            let record: serde_json::Value =
                serde_json::from_slice(&run_moxctl(&txt, &pem)).unwrap();
            records.push((selector, record["record"].as_str().unwrap().to_owned()));
            let file = scratch.write(selector, pem);
            // opendkim refuses keys that others may read.
            run("chmod", &["600", file.to_str().unwrap()], b"");
            file
        };
        let (rsa, ed25519) = (make("r", "genrsa"), make("e", "gened25519"));
        Self {
            scratch,
            rsa,
            ed25519,
            records,
        }
    }

    fn sign(&self, message: &[u8], canonical: &str) -> Vec<u8> {
        let keys = [("r", &self.rsa), ("e", &self.ed25519)];
        let keys = keys.map(|(selector, file)| format!("{selector}={}", file.display()));
        let args = [
            "dkim",
            "sign",
            "--domain",
            DOMAIN,
            "--canonical",
            canonical,
            "--key",
            &keys[0],
            "--key",
            &keys[1],
        ];
        run_moxctl(&args, message)
    }

    /// What our verifier says of each signature of ours.
    #[track_caller]
    fn verify(&self, message: &[u8]) -> Vec<(String, String)> {
        let zone: String = self
            .records
            .iter()
            .map(|(selector, record)| {
                let strings = record.as_bytes().chunks(255).map(String::from_utf8_lossy);
                let strings: Vec<String> = strings.map(|string| format!("\"{string}\"")).collect();
                format!(
                    "{selector}._domainkey.{DOMAIN}. TXT {}\n",
                    strings.join(" ")
                )
            })
            .collect();
        let zone = self.scratch.write("zone", zone);
        let args = ["dkim", "verify", "--json", "--dns", zone.to_str().unwrap()];
        let report: serde_json::Value =
            serde_json::from_slice(&run_moxctl(&args, message)).unwrap();
        let signatures = report["signatures"].as_array().unwrap().iter();
        let ours = signatures.filter(|signature| signature["domain"] == DOMAIN);
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        ours.map(|one| (text(&one["result"]), text(&one["problem"])))
            .collect()
    }
}

fn run_moxctl(args: &[&str], stdin: &[u8]) -> Vec<u8> {
    run(moxctl().to_str().unwrap(), args, stdin)
}

fn pass() -> (String, String) {
    ("pass".to_owned(), String::new())
}

/// The Python that has dkimpy; if there is none, the test is noted as skipped.
fn python(test: &str) -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python");
    if !python.exists() {
        skip(
            test,
            "no Python with dkimpy in target/python: .ci/run makes it",
        );
        return None;
    }
    Some(python)
}

#[test]
fn every_message_we_sign_verifies_with_dkimpy() {
    let Some(python) = python("every_message_we_sign_verifies_with_dkimpy") else {
        return;
    };
    let keys = Keys::new();
    let records = keys.records.iter();
    let zone: String = records
        .map(|(selector, record)| format!("{selector}._domainkey.{DOMAIN}\t{record}\n"))
        .collect();
    let zone = keys.scratch.write("dkimpy-zone", zone);
    let (mut files, mut expected, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (name, message) in MESSAGES {
        for canonical in CANONICALS {
            let signed = keys.sign(message.as_bytes(), canonical);
            assert_eq!(keys.verify(&signed), [pass(), pass()], "{name} {canonical}");
            let spoiled = [&signed[..], b"more\r\n"].concat();
            for (message, word) in [(signed, "pass"), (spoiled, "error(body_hash_mismatch")] {
                let file = keys.scratch.write(&format!("m{}", files.len()), message);
                files.push(file.to_str().unwrap().to_owned());
                expected.push(word);
                names.push(format!("{name} {canonical}"));
            }
        }
    }
    let script = script("dkimpy.py");
    let mut args = vec![script.to_str().unwrap(), "verify", zone.to_str().unwrap()];
    args.extend(files.iter().map(String::as_str));
    let said = String::from_utf8(run(python.to_str().unwrap(), &args, b"")).unwrap();
    assert_eq!(said.lines().count(), files.len());
    for ((line, word), name) in said.lines().zip(expected).zip(names) {
        let mut words = line.split(' ');
        assert!(words.next().unwrap().starts_with(word), "{name}: {line}");
        assert!(words.next().unwrap().starts_with(word), "{name}: {line}");
    }
}

#[test]
fn every_message_dkimpy_signs_verifies_with_ours() {
    let Some(python) = python("every_message_dkimpy_signs_verifies_with_ours") else {
        return;
    };
    let keys = Keys::new();
    for (name, message) in MESSAGES {
        let file = keys.scratch.write("message", message);
        for canonical in CANONICALS {
            for (algorithm, selector, key) in [
                ("rsa-sha256", "r", &keys.rsa),
                ("ed25519-sha256", "e", &keys.ed25519),
            ] {
                let script = script("dkimpy.py");
                let args = [
                    script.to_str().unwrap(),
                    "sign",
                    algorithm,
                    key.to_str().unwrap(),
                    selector,
                    DOMAIN,
                    canonical,
                    file.to_str().unwrap(),
                ];
                let field = run(python.to_str().unwrap(), &args, b"");
                let signed = [&field[..], message.as_bytes()].concat();
                assert_eq!(
                    keys.verify(&signed),
                    [pass()],
                    "{name} {canonical} {algorithm}"
                );
                let spoiled = [&signed[..], b"more\r\n"].concat();
                assert_eq!(
                    keys.verify(&spoiled)[0].0,
                    "fail",
                    "{name} {canonical} {algorithm}"
                );
            }
        }
    }
}

/// Whether opendkim can be asked about a message: its test mode hands a field on as a milter gets it, with one blank behind the
/// colon whatever stood there, so that the simple form is another.
fn keeps(message: &str, canonical: &str) -> bool {
    let header = message.split("\r\n\r\n").next().unwrap();
    let is_usual = |line: &str| match line.split_once(':') {
        Some((_, value)) => {
            value.starts_with(' ') && !value[1..].starts_with([' ', '\t', '\r']) && value.len() > 1
        }
        None => true,
    };
    let fields = header
        .split("\r\n")
        .filter(|line| !line.starts_with([' ', '\t']));
    !canonical.starts_with("simple") || fields.into_iter().all(is_usual)
}

/// Runs opendkim on one message, with these settings. It never becomes a server.
fn opendkim(keys: &Keys, settings: &str, message: &[u8], more: &[&str]) -> String {
    let settings = format!("{settings}\nSyslog no\nRequireSafeKeys no\n");
    let settings = keys.scratch.write("opendkim.conf", settings);
    let message = keys.scratch.write("message", message);
    let args = [
        "-x",
        settings.to_str().unwrap(),
        "-t",
        message.to_str().unwrap(),
    ];
    let said = run("opendkim", &[more, &args[..]].concat(), b"");
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn every_message_we_sign_verifies_with_opendkim() {
    if !have(
        "every_message_we_sign_verifies_with_opendkim",
        &["opendkim"],
    ) {
        return;
    }
    let keys = Keys::new();
    let (selector, record) = &keys.records[0];
    let zone = keys.scratch.write(
        "opendkim-zone",
        format!("{selector}._domainkey.{DOMAIN} {record}\n"),
    );
    let settings = format!("Mode v\nTestDNSData file:{}", zone.display());
    for (name, message) in MESSAGES {
        // It looks at one signature, and its test mode reads whole lines.
        if name == "signed before" || name == "no last line end" {
            continue;
        }
        for canonical in CANONICALS {
            if !keeps(message, canonical) {
                continue;
            }
            let key = format!("r={}", keys.rsa.display());
            let args = [
                "dkim",
                "sign",
                "--domain",
                DOMAIN,
                "--canonical",
                canonical,
                "--key",
                &key,
            ];
            let signed = run_moxctl(&args, message.as_bytes());
            let said = opendkim(&keys, &settings, &signed, &[]);
            assert!(
                said.contains("verification (s=r, d=example.org, 2048-bit key) succeeded"),
                "{name} {canonical}: {said}"
            );
            let said = opendkim(&keys, &settings, &[&signed[..], b"more\r\n"].concat(), &[]);
            assert!(
                said.contains("verification (s=r d=example.org, 2048-bit key")
                    && said.contains("failed"),
                "{name} {canonical}: {said}"
            );
        }
    }
}

#[test]
fn every_message_opendkim_signs_verifies_with_ours_unless_by_sha1() {
    let test = "every_message_opendkim_signs_verifies_with_ours_unless_by_sha1";
    if !have(test, &["opendkim", "opendkim-testmsg"]) {
        return;
    }
    let keys = Keys::new();
    for (name, message) in MESSAGES {
        for canonical in CANONICALS {
            if !keeps(message, canonical) {
                continue;
            }
            // Its test mode reads whole lines.
            if name == "no last line end" {
                continue;
            }
            let settings = format!(
                "Mode s\nDomain {DOMAIN}\nSelector r\nKeyFile {}\nSignatureAlgorithm rsa-sha256\nCanonicalization {canonical}\n\
                 InternalHosts 0.0.0.0/0",
                keys.rsa.display()
            );
            let said = opendkim(&keys, &settings, message.as_bytes(), &["-v", "-v"]);
            let field = said
                .split_once("hname='DKIM-Signature' hvalue='")
                .unwrap()
                .1;
            let field = field
                .split_once('\'')
                .unwrap()
                .0
                .replace("\r\n", "\n")
                .replace('\n', "\r\n");
            let signed = format!("DKIM-Signature: {field}\r\n{message}");
            assert_eq!(
                keys.verify(signed.as_bytes()),
                [pass()],
                "{name} {canonical}: {signed}"
            );
            assert_eq!(
                keys.verify(format!("{signed}more\r\n").as_bytes())[0].0,
                "fail"
            );
        }
    }
    // This tool signs by SHA-1 only: what it makes is read to its end, and proves nothing (RFC 8301 3.1).
    let key = keys.rsa.to_str().unwrap();
    let signed = run(
        "opendkim-testmsg",
        &["-C", "-d", DOMAIN, "-s", "r", "-k", key],
        MESSAGES[0].1.as_bytes(),
    );
    assert_eq!(
        keys.verify(&signed),
        [(
            "permerror".to_owned(),
            "the key is not for this hash".to_owned()
        )]
    );
}
