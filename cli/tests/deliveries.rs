//! Thousands of simulated deliveries, with random senders, proofs, histories and content: each has a record, and from what
//! `moxctl explain --json` prints of it the same is decided again, by another process and without a store.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs,
    reason = "tests"
)]

#[path = "../../tests/sim/tests/one_server/mod.rs"]
mod one_server;
mod recomputed;

use mox_dns::MasterFile;
use mox_driver::Runtime;
use mox_machine::{Rng, Seed};
use mox_node::Outgoing;
use mox_server::decision::{Reason, Record, Verdict};
use mox_sim::{Dialogue, DnsManner, Knobs, Sim, SimRuntime, SimStream, name_server};
use one_server::{One, PASSWORD, ours};
use recomputed::{assert_same_elsewhere, elsewhere};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const DELIVERIES: usize = 5_000;
/// Messages of one SMTP session.
const OF_A_SESSION: usize = 50;
/// Records that one other process is given.
const AT_ONCE: usize = 1_000;
const DOMAINS: u64 = 12;
const CLIENTS: u64 = 6;

const HAM: [&str; 12] = [
    "meeting", "agenda", "budget", "invoice", "garden", "recipe", "holiday", "concert", "library",
    "weather", "train", "lecture",
];
const JUNK: [&str; 12] = [
    "lottery", "pills", "casino", "winner", "prince", "million", "cheap", "watches", "crypto",
    "miracle", "discount", "urgent",
];

fn client_ip(n: u64) -> [u8; 4] {
    // Some are neighbours of each other.
    [
        10,
        1,
        u8::try_from(n / 3).unwrap(),
        u8::try_from(n % 3 + 1).unwrap(),
    ]
}

/// Domains with all kinds of policies, clients with and without a name that leads back.
fn zone() -> String {
    let mut zone = String::new();
    for n in 0..DOMAINS {
        let _ = writeln!(zone, "d{n}.example. MX 10 host0.example.");
        let client = client_ip(n % CLIENTS)
            .map(|octet| octet.to_string())
            .join(".");
        let all = ["-all", "~all", "?all"][usize::try_from(n % 3).unwrap()];
        if n % 4 != 3 {
            let _ = writeln!(zone, "d{n}.example. TXT \"v=spf1 ip4:{client} {all}\"");
        }
        let policy = ["none", "quarantine", "reject"][usize::try_from(n / 3 % 3).unwrap()];
        if n % 5 != 4 {
            let _ = writeln!(zone, "_dmarc.d{n}.example. TXT \"v=DMARC1; p={policy}\"");
        }
    }
    for n in (0..CLIENTS).filter(|n| n % 2 == 0) {
        let [a, b, c, d] = client_ip(n);
        let _ = writeln!(zone, "{d}.{c}.{b}.{a}.in-addr.arpa. PTR host{n}.example.");
        let _ = writeln!(zone, "host{n}.example. A {a}.{b}.{c}.{d}");
    }
    zone
}

/// A message of somebody.
struct Mail {
    client: u64,
    sender: String,
    text: String,
}

fn mail(rng: &mut Rng, n: usize) -> Mail {
    let domain = rng.below(DOMAINS);
    let local = rng.below(4);
    // Most come from where their domain says, and some have another author.
    let client = match rng.below(3) {
        0 => rng.below(CLIENTS),
        _ => domain % CLIENTS,
    };
    let author = match rng.below(5) {
        0 => rng.below(DOMAINS),
        _ => domain,
    };
    let sender = match rng.below(20) {
        0 => String::new(),
        _ => format!("u{local}@d{domain}.example"),
    };
    let mut from = format!("From: <u{local}@d{author}.example>\r\n");
    if rng.below(60) == 0 {
        from.clear();
    }
    let is_junk = domain % 2 == 1;
    let mut words = Vec::new();
    for _ in 0..12 {
        let list = if is_junk != (rng.below(6) == 0) {
            JUNK
        } else {
            HAM
        };
        words.push(list[usize::try_from(rng.below(12)).unwrap()]);
    }
    let words = words.join(" ");
    Mail {
        client,
        sender,
        text: format!(
            "{from}Message-ID: <{n}@d{author}.example>\r\nSubject: number {n} {words}\r\n\r\n{words}\r\n"
        ),
    }
}

/// The sessions that deliver, one for each client.
struct Senders {
    computers: Vec<SimRuntime>,
    open: BTreeMap<u64, (Dialogue<SimStream>, usize)>,
}

impl Senders {
    async fn deliver(&mut self, mail: &Mail) -> String {
        let is_used_up = self
            .open
            .get(&mail.client)
            .is_none_or(|(_, n)| *n >= OF_A_SESSION);
        if is_used_up {
            let from = &self.computers[usize::try_from(mail.client).unwrap()];
            let mut smtp = Dialogue::new(from.connect(ours(25), None).await.unwrap());
            smtp.expect("220").await.unwrap();
            let hello = format!("EHLO host{}.example\r\n", mail.client);
            smtp.say(&hello).await.unwrap();
            smtp.expect("250").await.unwrap();
            self.open.insert(mail.client, (smtp, 0));
        }
        let (smtp, count) = self.open.get_mut(&mail.client).unwrap();
        *count += 1;
        for (line, code) in [
            (format!("MAIL FROM:<{}>\r\n", mail.sender), "250"),
            ("RCPT TO:<ann@ours.example>\r\n".into(), "250"),
            ("DATA\r\n".into(), "354"),
        ] {
            smtp.say(&line).await.unwrap();
            smtp.expect(code).await.unwrap();
        }
        smtp.say(&format!("{}.\r\n", mail.text)).await.unwrap();
        let reply = smtp.reply().await.unwrap();
        if !reply.starts_with("250") {
            // After some of these a session is of no use.
            self.open.remove(&mail.client);
        }
        reply
    }
}

/// What Ann says of mail that came: often right, and sometimes nothing.
async fn mark(imap: &mut Dialogue<SimStream>, rng: &mut Rng) {
    let mailbox = ["INBOX", "Rejects", "Junk"][usize::try_from(rng.below(3)).unwrap()];
    let selected = imap.command(&format!("SELECT {mailbox}")).await.unwrap();
    let exists = selected.lines().find_map(|line| {
        line.strip_prefix("* ")?
            .strip_suffix(" EXISTS")?
            .parse()
            .ok()
    });
    let Some(exists) = exists.filter(|n: &u64| *n > 0) else {
        return;
    };
    for _ in 0..6 {
        let n = exists - rng.below(exists.min(40));
        let subject = imap
            .command(&format!("FETCH {n} (BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
            .await
            .unwrap();
        let looks_junk = JUNK.iter().filter(|word| subject.contains(*word)).count() > 4;
        let keyword = match looks_junk != (rng.below(12) == 0) {
            true => "$Junk",
            false => "$NotJunk",
        };
        imap.command(&format!("STORE {n} +FLAGS.SILENT ({keyword})"))
            .await
            .unwrap();
    }
}

fn delivered() -> Vec<Record> {
    let sim = Sim::new(7, Knobs::fault_free());
    let world = sim.clone();
    let zone = MasterFile::parse(zone()).unwrap();
    let records = sim.run(async move {
        let mut rng = Seed::from_number(7).child("deliveries", 0).rng();
        let names = world.computer("names", [10, 0, 0, 53]);
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        one.resolvers = vec![name_server(&names, zone, DnsManner::direct()).unwrap()];
        one.start().await;
        let reader = world.computer("reader", [10, 9, 9, 9]);
        let mut imap = Dialogue::new(reader.connect(ours(143), None).await.unwrap());
        imap.line().await.unwrap();
        imap.command(&format!("LOGIN ann@ours.example \"{PASSWORD}\""))
            .await
            .unwrap();
        let mut senders = Senders {
            computers: (0..CLIENTS)
                .map(|n| world.computer("client", client_ip(n)))
                .collect(),
            open: BTreeMap::new(),
        };
        for n in 0..DELIVERIES {
            let mail = mail(&mut rng, n);
            senders.deliver(&mail).await;
            if n % 8 == 0 {
                mark(&mut imap, &mut rng).await;
            }
        }
        let records = one
            .node()
            .explain("ann@ours.example", 2 * DELIVERIES)
            .unwrap();
        drop((senders, imap));
        one.stop().await;
        records
    });
    assert_eq!(sim.panics(), 0);
    records
}

#[test]
fn each_delivery_has_a_record_from_which_the_same_is_decided_again() {
    let records = delivered();
    assert_eq!(records.len(), DELIVERIES);
    let (mut reasons, mut verdicts) = (BTreeMap::new(), BTreeMap::new());
    for record in &records {
        let decision = &record.recipients[0].decision;
        *reasons.entry(decision.reason.name()).or_insert(0) += 1;
        *verdicts.entry(decision.verdict.name()).or_insert(0) += 1;
    }
    // Chance led nearly everywhere.
    for reason in [
        Reason::NoAuthor,
        Reason::DmarcPolicy,
        Reason::DmarcQuarantine,
        Reason::Msgfromfull,
        Reason::Msgfromdomain,
        Reason::Ip1,
        Reason::Iprev,
        Reason::SpfPolicy,
        Reason::JunkContentStrict,
        Reason::NoBadSignals,
    ] {
        assert!(reasons.contains_key(reason.name()), "{reasons:?}");
    }
    for verdict in [
        Verdict::Accept,
        Verdict::Junk,
        Verdict::Defer,
        Verdict::Refuse,
    ] {
        assert!(
            verdicts.get(verdict.name()).is_some_and(|n| *n > 50),
            "{verdicts:?}"
        );
    }
    for some in records.chunks(AT_ONCE) {
        assert_same_elsewhere("deliveries", some);
    }
    // A record that says something else is told apart.
    let mut some: Vec<Record> = records.into_iter().take(3).collect();
    let decision = &mut some[1].recipients[0].decision;
    decision.verdict = match decision.verdict {
        Verdict::Accept => Verdict::Refuse,
        _ => Verdict::Accept,
    };
    let (agrees, said, _) = elsewhere("forged", &some);
    assert!(!agrees);
    assert!(
        said.contains("1 of 3 records decide otherwise now"),
        "{said}"
    );
}
