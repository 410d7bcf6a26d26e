//! A user teaches the junk filter by moving and marking; from then on it has a say in what is taken, and says why.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use mox_e2e::{Imap, Localserve, NameServer, Smtp, Zone};

/// Messages of each kind that are learned: a few more than it takes to mean anything.
const EACH: u32 = 55;

fn text(kind: &str, n: u32) -> String {
    let (subject, text) = match kind {
        "junk" => (
            "cheap pills",
            "Buy pills now, the best casino offer. Click to win a prize.",
        ),
        _ => (
            "minutes of the meeting",
            "The draft of our agenda is attached for review.",
        ),
    };
    format!(
        "From: <{kind}{n}@{kind}.example>\r\nMessage-ID: <{n}@{kind}.example>\r\n\
         Subject: {subject}\r\n\r\n{text} Number {n}.\r\n"
    )
}

/// A stranger brings a message; the last line of the reply.
fn bring(server: &Localserve, kind: &str, n: u32) -> String {
    let mut smtp = Smtp::connect(server.port(25));
    smtp.command(&format!("MAIL FROM:<{kind}{n}@{kind}.example>"), "250");
    smtp.command("RCPT TO:<mox@localhost>", "250");
    smtp.command("DATA", "354");
    smtp.raw(format!("{}.\r\n", text(kind, n)).as_bytes());
    smtp.reply().unwrap()
}

/// How many messages a mailbox has.
fn count(imap: &mut Imap, mailbox: &str) -> String {
    let lines = imap.ok(&format!("STATUS {mailbox} (MESSAGES)"));
    format!("{lines:?}")
        .split("MESSAGES ")
        .nth(1)
        .unwrap()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect()
}

#[test]
fn what_users_call_junk_is_put_off_with_the_words_that_decided_and_a_copy_is_kept_until_it_is_taken()
 {
    let zone = Zone::default()
        .ptr(Ipv4Addr::LOCALHOST, "mx.far.example")
        .a("mx.far.example", Ipv4Addr::LOCALHOST)
        .mx("junk.example", 10, "mx.far.example")
        .mx("ham.example", 10, "mx.far.example");
    let names = NameServer::start(zone);
    let server = Localserve::start(&["--resolver", &names.address()]);
    let mut imap = Imap::login(&server, "mox@localhost");
    // Before anything is learned, everything is taken.
    assert!(bring(&server, "junk", 1_000).starts_with("250 "));
    for (kind, n) in (0..EACH).flat_map(|n| [("junk", n), ("ham", n)]) {
        let text = text(kind, n);
        imap.ok(&format!("APPEND INBOX {{{}+}}\r\n{text}", text.len()));
    }
    imap.ok("SELECT INBOX");
    // The stranger's message is the first; then junk and ham in turn.
    let of = |odd: bool| {
        let uids = (2..2 + 2 * EACH).filter(|uid| (uid % 2 == 0) == odd);
        uids.map(|uid| uid.to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    imap.ok(&format!("UID STORE {} +FLAGS.SILENT ($NotJunk)", of(false)));
    imap.ok(&format!("UID MOVE {} Junk", of(true)));
    let begun = Instant::now();
    let mut n = 2_000;
    let reply = loop {
        let reply = bring(&server, "junk", n);
        if !reply.starts_with("250 ") {
            break reply;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "nothing is learned"
        );
        n += 1;
        thread::sleep(Duration::from_millis(200));
    };
    assert!(reply.starts_with("451 4.3.0 "), "{reply}");
    let id = format!("<{n}@junk.example>");
    let (code, told) = server.ask(&["explain", &id]);
    assert_eq!(code, Some(0));
    for part in [
        "defer (junk-content), kept in Rejects",
        "word=subject:pills +",
        "learned=",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    // What is wanted comes in, of a stranger too.
    assert!(bring(&server, "ham", 3_000).starts_with("250 "));
    let (_, told) = server.ask(&["explain", "<3000@ham.example>"]);
    assert!(told.contains("accept (no-bad-signals)"), "{told}");
    assert!(told.contains("word=subject:meeting -"), "{told}");

    // All records decide the same again, without a server.
    let (_, json) = server.ask(&["explain", "--json", "--max", "500", "mox@localhost"]);
    server.recomputed(&json);

    // Tried again, there is one copy still; taken, there is none.
    assert!(bring(&server, "junk", n).starts_with("451 4.3.0 "));
    assert_eq!(count(&mut imap, "Rejects"), "1");
    let copy = imap.ok("SELECT Rejects");
    assert!(format!("{copy:?}").contains("1 EXISTS"), "{copy:?}");
    let copy = imap.ok("FETCH 1 (FLAGS BODY.PEEK[])").remove(0);
    assert!(copy.text.contains("\\Seen"), "{}", copy.text);
    let copy = String::from_utf8_lossy(&copy.literals[0]).into_owned();
    assert!(copy.starts_with("X-Mox-Decision: "), "{copy}");
    assert!(copy.contains("; defer; junk-content"), "{copy}");
    imap.ok("SELECT Junk");
    imap.ok("STORE 1:* FLAGS.SILENT ()");
    let begun = Instant::now();
    while !bring(&server, "junk", n).starts_with("250 ") {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "nothing is unlearned"
        );
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(count(&mut imap, "Rejects"), "0");

    // Learned again from the messages there are.
    imap.ok("STORE 1:* +FLAGS.SILENT ($Junk)");
    assert_eq!(server.ask(&["retrain", "--account", "mox"]).0, Some(0));
    let begun = Instant::now();
    while bring(&server, "junk", 9_000).starts_with("250 ") {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "nothing is learned again"
        );
        thread::sleep(Duration::from_millis(200));
    }
    server.stop();
}
