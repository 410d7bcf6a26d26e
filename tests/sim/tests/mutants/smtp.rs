//! The SMTP server machine alone: input cut anywhere, answers in any order and at any time.

use mox_address::Reply;
use mox_machine::{Rng, Seed, Session, TlsFacts};
use mox_smtp::server::{Answer, Ask, Event, Mode, Server, Violation};
use std::time::Duration;

use crate::talk::{Store, Talk, config, server};

type Client = Talk<Server, Store>;

fn rng(seed: u64) -> Rng {
    Seed::from_number(seed).child("smtp", 0).rng()
}

/// Feeds text in pieces of any size.
fn feed(talk: &mut Client, rng: &mut Rng, text: &str) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(1 + rng.below(rest.len() as u64) as usize);
        talk.feed(piece);
        rest = after;
    }
}

fn expect(wrong: &mut Vec<String>, holds: bool, what: impl FnOnce() -> String) {
    if !holds {
        wrong.push(what());
    }
}

/// Each RCPT gets the answer that was meant for it, whichever comes first.
pub fn answers_in_any_order(seed: u64) -> Vec<String> {
    let (mut rng, mut wrong) = (rng(seed), Vec::new());
    let mut talk = server(&config(Mode::Delivery));
    talk.world.refuse = vec![("nobody", Reply::new(550, 1, 1, "no such user"))];
    feed(
        &mut talk,
        &mut rng,
        "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\n",
    );
    talk.said();
    talk.hold = true;
    let names: Vec<String> = (0..6)
        .map(|n| match rng.one_in(2) {
            true => format!("nobody{n}"),
            false => format!("user{n}"),
        })
        .collect();
    let mut text = String::new();
    for name in &names {
        text.push_str(&format!("RCPT TO:<{name}@mx.example>\r\n"));
    }
    feed(&mut talk, &mut rng, &text);
    while !talk.open.is_empty() {
        let at = rng.below(talk.open.len() as u64) as usize;
        talk.answer_one(at);
        talk.run();
    }
    let said = talk.said();
    let codes: Vec<&str> = said.lines().map(|line| &line[..3]).collect();
    let meant: Vec<&str> = names
        .iter()
        .map(|name| {
            if name.starts_with("nobody") {
                "550"
            } else {
                "250"
            }
        })
        .collect();
    expect(&mut wrong, codes == meant, || {
        format!("oracle 5: recipients {names:?} were answered {codes:?}")
    });
    wrong
}

/// The answer to a piece of a message that was given up does not count for the next message.
pub fn late_answers_to_an_earlier_message(seed: u64) -> Vec<String> {
    let (mut rng, mut wrong) = (rng(seed), Vec::new());
    let mut talk = server(&config(Mode::Delivery));
    let envelope = "MAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n";
    feed(&mut talk, &mut rng, "EHLO c.example\r\n");
    feed(&mut talk, &mut rng, envelope);
    talk.hold = true;
    let long = format!("{}\r\n", "x".repeat(4_094));
    // Piece by piece, so that each is an ask.
    for _ in 0..3 {
        talk.feed(long.as_bytes());
    }
    talk.feed(b".\r\n");
    let ids: Vec<_> = talk.open.iter().map(|(id, _)| *id).collect();
    expect(&mut wrong, ids.len() >= 2, || {
        format!("{} pieces", ids.len())
    });
    let full = Answer::Reply(Reply::new(452, 3, 1, "full"));
    talk.session.answer(talk.now, ids[0], full);
    talk.run();
    talk.hold = false;
    feed(&mut talk, &mut rng, envelope);
    talk.hold = true;
    for _ in 0..2 {
        talk.feed(long.as_bytes());
    }
    talk.feed(b".\r\n");
    // Late answers to the message before.
    for id in &ids[1..] {
        talk.session.answer(talk.now, *id, Answer::Accept);
        talk.run();
    }
    let commits = talk
        .open
        .iter()
        .any(|(_, ask)| matches!(ask, Ask::Commit { .. }));
    expect(&mut wrong, !commits, || {
        "R5: a message is to be stored whose pieces are not: their answers were for another".into()
    });
    wrong
}

/// Nothing of what was said or sent in clear is there inside TLS (RFC 3207 4.2).
pub fn tls_forgets_what_was_said_in_clear(seed: u64) -> Vec<String> {
    let (mut rng, mut wrong) = (rng(seed), Vec::new());
    let mut config = config(Mode::Delivery);
    config.starttls = true;
    let mut talk = server(&config);
    feed(&mut talk, &mut rng, "EHLO c.example\r\nSTARTTLS\r\n");
    talk.said();
    talk.upgrading = false;
    talk.session.secured(talk.now, TlsFacts::default());
    talk.run();
    feed(&mut talk, &mut rng, "MAIL FROM:<a@c.example>\r\n");
    let said = talk.said();
    expect(&mut wrong, said.starts_with("503"), || {
        format!("oracle 5: EHLO was said in clear, and MAIL inside TLS is answered {said:?}")
    });

    let mut talk = server(&config);
    feed(&mut talk, &mut rng, "EHLO c.example\r\n");
    talk.said();
    // In one piece or in two, an attacker's command rides behind STARTTLS.
    let injected = "STARTTLS\r\nNOOP\r\n";
    let cut = rng.below(injected.len() as u64) as usize;
    talk.feed(&injected.as_bytes()[..cut]);
    talk.feed(&injected.as_bytes()[cut..]);
    if !talk.closed {
        talk.session.secured(talk.now, TlsFacts::default());
        talk.run();
    }
    let violation = Event::Protocol(Violation::DataAfterStartTls);
    let noticed = talk.closed && talk.world.events.contains(&violation);
    expect(&mut wrong, noticed, || {
        format!(
            "oracle 5: clear text behind STARTTLS was obeyed: {:?}",
            talk.said()
        )
    });
    wrong
}

/// Whoever sent the final dot hears what became of the message, also from a server that stops.
pub fn stopping_while_a_message_is_stored(seed: u64) -> Vec<String> {
    let (mut rng, mut wrong) = (rng(seed), Vec::new());
    let mut talk = server(&config(Mode::Delivery));
    feed(
        &mut talk,
        &mut rng,
        "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\nhello\r\n",
    );
    talk.said();
    talk.hold = true;
    talk.feed(b".\r\n");
    while let Some(at) = talk
        .open
        .iter()
        .position(|(_, ask)| matches!(ask, Ask::Body(_)))
    {
        talk.answer_one(at);
        talk.run();
    }
    let drained_before = rng.one_in(2);
    if drained_before {
        talk.session.drain(talk.now);
        talk.run();
    }
    while !talk.open.is_empty() {
        talk.answer_one(0);
        talk.run();
    }
    let said = talk.said();
    expect(&mut wrong, said.starts_with("250"), || {
        format!("the message is stored, and its sender heard {said:?}")
    });
    wrong
}

/// A client that keeps silent is told so and let go, and each deadline passes.
pub fn silence_until_the_timeout(seed: u64) -> Vec<String> {
    let (mut rng, mut wrong) = (rng(seed), Vec::new());
    let mut talk = server(&config(Mode::Delivery));
    let said = "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n";
    let until = rng.below(said.len() as u64) as usize;
    feed(&mut talk, &mut rng, &said[..until]);
    talk.said();
    talk.sleep(Duration::from_secs(2 * 3_600));
    let last = talk.said();
    expect(&mut wrong, last.starts_with("421") && talk.closed, || {
        format!("after two hours of silence: {last:?}")
    });
    wrong
}

/// Only CRLF . CRLF ends a message: everything else is refused, or another server would see another end.
pub fn an_end_that_is_none(seed: u64) -> Vec<String> {
    let (mut rng, mut wrong) = (rng(seed), Vec::new());
    let ends = ["\n.\n", "\n.\r\n", "\r\n.\n"];
    let end = ends[rng.below(ends.len() as u64) as usize];
    let mut talk = server(&config(Mode::Delivery));
    let envelope = "MAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n";
    feed(&mut talk, &mut rng, "EHLO c.example\r\n");
    feed(&mut talk, &mut rng, envelope);
    feed(
        &mut talk,
        &mut rng,
        &format!("one{end}{envelope}two\r\n.\r\n"),
    );
    let stored = &talk.world.messages;
    expect(&mut wrong, stored.is_empty(), || {
        format!("{end:?} was let through: {} messages", stored.len())
    });
    wrong
}
