//! What judging a sender costs: SPF, DKIM, DMARC and canonical forms, and the worst that strangers can send.
//!
//! `-- authentication` prints times, and instructions where valgrind is installed (nothing else on a shared machine repeats);
//! `-- authentication ROW N` only does the work of a row so many times, for valgrind.

use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use mox_dkim::{
    AwsLc, BodyCanonicalizer, Canonical, Ed25519Key, KeyRecord, Limits, Policy, RsaKey, Selector,
    Sign, Signing, Verifier,
};
use mox_dmarc::{Authenticated, Outcome, evaluate};
use mox_dns::{Facts, MasterFile};
use mox_spf::{Query, check_host};

use crate::{LARGE, MEASURED, instructions, lines};

/// Runs of a row whose instructions are counted.
const COUNTED: u64 = 10;
/// Hands the RSA key down, in hexadecimal.
const KEY: &str = "MOX_BENCH_RSA_KEY";
/// When messages are signed and verified.
const NOW: u64 = 1_767_225_600;

/// One piece of work.
struct Row {
    name: &'static str,
    /// Octets it goes through, for a rate.
    octets: usize,
    work: Box<dyn Fn()>,
}

/// Runs one row so many times, or prints all.
pub(crate) fn run(row: Option<&str>, times: Option<&str>) -> std::io::Result<()> {
    let rsa = rsa_key().map(Arc::new);
    let (usual, worst) = (usual(rsa.clone()), worst());
    if let Some(name) = row {
        let row = usual.iter().chain(&worst).find(|row| row.name == name);
        let times = times.and_then(|n| n.parse().ok()).unwrap_or(1);
        return match row {
            Some(row) => {
                (0..times).for_each(|_| (row.work)());
                Ok(())
            }
            None => Err(std::io::Error::other("no such row")),
        };
    }
    println!("| one core | a second | microseconds | MB/s | instructions |\n|---|---|---|---|---|");
    for row in &usual {
        let (mut runs, started) = (0_u32, Instant::now());
        while started.elapsed() < MEASURED {
            (row.work)();
            runs += 1;
        }
        let each = started.elapsed().as_secs_f64() / f64::from(runs);
        let rate = match row.octets {
            0 => String::new(),
            octets => format!("{:.0}", octets as f64 / each / 1e6),
        };
        println!(
            "| {} | {:.0} | {:.1} | {rate} | {} |",
            row.name,
            1.0 / each,
            each * 1e6,
            instructions(row.name, rsa.as_deref())
        );
    }
    println!("\n| the worst, once | milliseconds | KiB above the baseline |\n|---|---|---|");
    for row in &worst {
        let before = resident()?;
        let started = Instant::now();
        (row.work)();
        let took = started.elapsed().as_secs_f64() * 1e3;
        println!(
            "| {} | {took:.1} | {} |",
            row.name,
            highest()?.saturating_sub(before)
        );
    }
    Ok(())
}

/// Instructions of one run, with the key that this process has.
fn instructions(row: &str, rsa: Option<&RsaKey>) -> String {
    let key = rsa.and_then(|key| key.to_pkcs8().ok()).unwrap_or_default();
    let key: String = key.iter().map(|octet| format!("{octet:02x}")).collect();
    instructions::of_one(&["authentication", row], (KEY, &key), COUNTED)
}

/// The key that the parent made, so that all runs do the same; else a new one.
fn rsa_key() -> Option<RsaKey> {
    let Ok(hex) = std::env::var(KEY) else {
        return RsaKey::generate().ok();
    };
    let digits: Vec<u8> = hex
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|d| d as u8)
        .collect();
    let octets: Vec<u8> = digits
        .chunks(2)
        .map(|two| two.iter().fold(0, |n, digit| n << 4 | digit))
        .collect();
    RsaKey::from_pkcs8(&octets).ok()
}

/// The resident set in KiB; the mark of its highest is put back to it.
fn resident() -> std::io::Result<u64> {
    fs::write("/proc/self/clear_refs", "5")?;
    status("VmRSS:")
}

fn highest() -> std::io::Result<u64> {
    status("VmHWM:")
}

fn status(field: &str) -> std::io::Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    number.ok_or_else(|| std::io::Error::other("no such line in /proc/self/status"))
}

fn facts(zone: &str) -> Facts {
    MasterFile::parse(zone)
        .map(|file| file.facts())
        .unwrap_or_default()
}

fn usual(rsa: Option<Arc<RsaKey>>) -> Vec<Row> {
    let prose = b"The quick brown fox jumps over the lazy dog,  again and again and again.\r\n";
    let (small, large) = (lines(prose, 10 * 1024), lines(prose, LARGE));
    let mut rows = vec![
        spf("SPF, 10 lookups", &ten_lookups()),
        dmarc(),
        canonical("relaxed body, 1 MB", Canonical::Relaxed, large.clone()),
        canonical("simple body, 1 MB", Canonical::Simple, large.clone()),
    ];
    if let Some(rsa) = rsa {
        rows.push(dkim("DKIM RSA-2048, 10 KB", rsa.clone(), small.clone()));
        rows.push(dkim("DKIM RSA-2048, 1 MB", rsa, large.clone()));
    }
    if let Ok(key) = Ed25519Key::from_seed(&[7; 32]).map(Arc::new) {
        rows.push(dkim("DKIM Ed25519, 10 KB", key.clone(), small));
        rows.push(dkim("DKIM Ed25519, 1 MB", key, large));
    }
    rows
}

/// Includes, addresses and mail hosts, and none that names the client until the last.
fn ten_lookups() -> String {
    let mut zone = String::from("example.org TXT \"v=spf1");
    for n in 0..4 {
        zone += &format!(" include:i{n}.example.org");
    }
    zone += " a:a.example.org mx -all\"\nexample.org MX 10 mx.example.org\nmx.example.org A 192.0.2.1\na.example.org A 198.51.100.1\n";
    for n in 0..4 {
        zone += &format!(
            "i{n}.example.org TXT \"v=spf1 ip4:198.51.100.0/24 ip4:203.0.113.0/25 ip6:2001:db8::/32 a:a{n}.example.org ~all\"\n\
             a{n}.example.org A 198.51.100.{n}\n"
        );
    }
    zone
}

fn spf(name: &'static str, zone: &str) -> Row {
    let facts = facts(zone);
    let work = move || {
        let query = Query {
            ip: [192, 0, 2, 1].into(),
            helo: b"mx.example.org",
            mail_from: b"ann@example.org",
            receiver: b"mx.example.net",
            time: 0,
        };
        let report = check_host(&facts, &query, &mox_spf::Limits::default());
        assert!(black_box(report).is_ok(), "every fact is there");
    };
    Row {
        name,
        octets: 0,
        work: Box::new(work),
    }
}

fn dmarc() -> Row {
    let facts = facts(
        "_dmarc.mail.example.org TXT !NXDOMAIN\n_dmarc.example.org TXT \"v=DMARC1; p=reject; rua=mailto:d@example.org\"\n\
         _dmarc.org TXT !NXDOMAIN\n_dmarc.bounce.example.org TXT !NXDOMAIN\n",
    );
    let work = move || {
        let pass = |domain: &'static str| Authenticated {
            domain: domain.as_bytes(),
            outcome: Outcome::Pass,
        };
        let message = mox_dmarc::Message {
            authors: &[b"mail.example.org"],
            spf: Some(pass("bounce.example.org")),
            dkim: &[pass("other.example")],
        };
        let report = evaluate(&facts, &message);
        assert!(black_box(report).is_ok(), "every fact is there");
    };
    Row {
        name: "DMARC",
        octets: 0,
        work: Box::new(work),
    }
}

fn canonical(name: &'static str, kind: Canonical, body: Vec<u8>) -> Row {
    let octets = body.len();
    let work = move || {
        let mut canonicalizer = BodyCanonicalizer::new(kind);
        let mut count = 0;
        canonicalizer.push(&body, &mut |piece| count += black_box(piece).len());
        canonicalizer.finish(&mut |piece| count += piece.len());
        black_box(count);
    };
    Row {
        name,
        octets,
        work: Box::new(work),
    }
}

/// One signature of the whole message, verified.
fn dkim(name: &'static str, key: Arc<dyn Sign>, body: Vec<u8>) -> Row {
    let header = "From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: hello\r\n\
                  Date: Fri, 2 Jan 2026 03:04:05 +0000\r\nMessage-ID: <1@example.org>\r\n";
    let mut signing = Signing::new([Selector::new("example.org", "s", key.clone())]);
    signing.push(&body);
    let fields = signing.finish(header.as_bytes(), NOW).unwrap_or_default();
    let header = fields + header;
    let record = KeyRecord::of_key(key.public_key()).to_string();
    let facts = facts(&format!("s._domainkey.example.org TXT \"{record}\""));
    let octets = body.len();
    let work = move || {
        let mut verifier = Verifier::new(header.as_bytes(), &Limits::default());
        for piece in body.chunks(16 * 1024) {
            verifier.push(piece);
        }
        let reports = verifier
            .finish()
            .judge(&facts, &Policy::default(), NOW as i64, &AwsLc);
        let passes = reports.is_ok_and(|all| mox_dkim::overall(&all) == mox_dkim::Verdict::Pass);
        assert!(black_box(passes), "what was signed passes");
    };
    Row {
        name,
        octets,
        work: Box::new(work),
    }
}

fn worst() -> Vec<Row> {
    let long = "ip4:192.0.2.1 ".repeat(64 * 1024 / 14);
    let strings = " \"x=y \"".repeat(1_000);
    let tree = "example.org TXT \"v=spf1 include:b.example include:b.example -all\"\n\
                b.example TXT \"v=spf1 include:example.org include:example.org ?all\"";
    let signature =
        "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s; h=From; bh=AAAA; b=AAAA\r\n";
    let author = "From: ann@example.org\r\n";
    vec![
        spf(
            "SPF record of 64 KB",
            &format!("example.org TXT \"v=spf1 {long}-all\""),
        ),
        spf(
            "SPF record of 1,000 strings",
            &format!("example.org TXT \"v=spf1 \"{strings}"),
        ),
        spf("SPF records that include each other", tree),
        header(
            "10,000 signatures",
            author.to_owned() + &signature.repeat(10_000),
        ),
        header(
            "256 KiB of signatures",
            author.to_owned() + &signature.repeat(3_000),
        ),
        header(
            "a header line of 1 MB",
            format!("{author}{signature}X: {}\r\n", "x".repeat(LARGE)),
        ),
        header(
            "a folded line of 1 MB",
            format!("{author}{signature}X: {}\r\n", "x\r\n ".repeat(LARGE / 4)),
        ),
    ]
}

fn header(name: &'static str, header: String) -> Row {
    let facts = facts("s._domainkey.example.org TXT \"v=DKIM1; p=\"");
    let work = move || {
        let mut verifier = Verifier::new(header.as_bytes(), &Limits::default());
        verifier.push(b"hello\r\n");
        let reports = verifier
            .finish()
            .judge(&facts, &Policy::default(), NOW as i64, &AwsLc);
        assert!(black_box(reports).is_ok(), "every fact is there");
    };
    Row {
        name,
        octets: 0,
        work: Box::new(work),
    }
}
