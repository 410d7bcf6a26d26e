//! Whatever comes, the machine does not panic, does not stall, and keeps its bounds.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    clippy::new_without_default,
    reason = "tests"
)]

#[allow(dead_code, reason = "shared with the dialogues")]
mod model;

use bytes::BytesMut;
use model::{Client, World};
use mox_imap::Server;
use mox_imap::server::{Answer, Config, Refusal};
use mox_machine::{AskId, Mono, Now, Seed, Session, Step, TlsFacts};
use proptest::prelude::*;
use std::time::Duration;

/// Words from which near-commands are made.
const WORDS: [&str; 48] = [
    "a",
    "b ",
    " ",
    "\r\n",
    "\r\n",
    "\n",
    "(",
    ")",
    "{3}\r\n",
    "{5+}\r\n",
    "{0}\r\n",
    "{70000+}\r\n",
    "~{2}\r\n",
    "\"",
    "\\",
    "*",
    "1:*",
    "2,3",
    "a FETCH 1:* ",
    "FLAGS",
    "BODY[]",
    "BODY.PEEK[HEADER.FIELDS (",
    "<0.5>",
    "a STORE 1 +FLAGS ",
    "(\\Deleted)",
    "a EXPUNGE\r\n",
    "a SEARCH ",
    "OR ",
    "NOT ",
    "ALL",
    "RETURN (",
    "a SELECT INBOX\r\n",
    "a UNSELECT\r\n",
    "a IDLE\r\n",
    "DONE\r\n",
    "a APPEND INBOX {4+}\r\nabcd\r\n",
    "a APPEND INBOX {4}\r\n",
    "a UID ",
    "COPY 1:* INBOX\r\n",
    "MOVE 1 INBOX\r\n",
    "a LIST \"\" ",
    "%",
    "a NOOP\r\n",
    "a AUTHENTICATE PLAIN AHUAcA==\r\n",
    "a LOGIN x y\r\n",
    "a STATUS INBOX (MESSAGES)\r\n",
    "\0",
    "\u{fc}",
];

fn words() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        8 => (0..WORDS.len()).prop_map(|i| WORDS[i].as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

/// Everything a driver may do, in any order.
#[derive(Debug, Clone)]
enum Op {
    Feed(Vec<u8>),
    Poll(u8),
    Answer(u64, u8),
    Tick(u32),
    Secured,
    Eof,
    Drain,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => words().prop_map(Op::Feed),
        6 => any::<u8>().prop_map(Op::Poll),
        6 => (0u64..20, any::<u8>()).prop_map(|(id, answer)| Op::Answer(id, answer)),
        1 => (0u32..4_000).prop_map(Op::Tick),
        1 => Just(Op::Secured),
        1 => Just(Op::Eof),
        1 => Just(Op::Drain),
    ];
    proptest::collection::vec(op, 0..30)
}

proptest! {
    #[test]
    fn near_commands_end_in_the_same_output_however_they_are_cut(input in words(), step in 1usize..20) {
        let play = |pieces: Vec<&[u8]>| {
            let mut world = World::new();
            let mut client = Client::selected(&mut world);
            client.feed(&mut world, pieces);
            (client.text(), format!("{world:?}"))
        };
        prop_assert_eq!(play(vec![&input]), play(input.chunks(step).collect()));
    }

    #[test]
    fn the_contract_holds_for_any_sequence_of_calls(ops in ops()) {
        let config = Config { clear_auth: true, starttls: true, ..Config::default() };
        let mut session = Server::new(config, Seed::from_number(1));
        let (mut now, mut input, mut open) = (Now::default(), BytesMut::new(), Vec::<AskId>::new());
        for op in ops {
            match op {
                Op::Feed(bytes) => {
                    input.extend_from_slice(&bytes);
                    let before = (session.wants_read(), input.len());
                    session.recv(now, &mut input);
                    prop_assert!(before.0 || input.len() == before.1);
                }
                Op::Poll(n) => {
                    for _ in 0..n {
                        match session.poll() {
                            None => {
                                prop_assert!(session.poll().is_none());
                                break;
                            }
                            Some(Step::Ask(id, _)) => {
                                prop_assert!(!open.contains(&id));
                                open.push(id);
                                prop_assert!(open.len() <= 8);
                            }
                            Some(Step::Cancel(id)) => open.retain(|o| *o != id),
                            // After the end nothing is wanted any more.
                            Some(Step::Close) => open.clear(),
                            Some(_) => {}
                        }
                    }
                }
                Op::Answer(id, kind) => {
                    // Any id, known or not, with any kind of answer.
                    let id = open.get(id as usize).copied().unwrap_or(AskId(id + 1_000));
                    open.retain(|o| *o != id);
                    let refusal = Refusal { code: None, text: "no".into() };
                    let answer = match kind % 9 {
                        0 => Answer::Accept,
                        1 => Answer::Done,
                        2 => Answer::No(refusal),
                        3 => Answer::Authenticated("u".into()),
                        4 => Answer::Mailboxes(vec![]),
                        5 => Answer::Modseq(u64::from(kind)),
                        6 => Answer::Gone,
                        7 => Answer::Missing,
                        _ => Answer::Changes(mox_imap::server::Changes { upto: 9, more: kind > 200, ..Default::default() }),
                    };
                    session.answer(now, id, answer);
                }
                Op::Tick(secs) => {
                    now.mono = now.mono + Duration::from_secs(secs.into());
                    session.tick(now);
                    prop_assert!(session.deadline().is_none_or(|(at, _)| at > now.mono));
                }
                Op::Secured => session.secured(now, TlsFacts::default()),
                Op::Eof => session.eof(now),
                Op::Drain => session.drain(now),
            }
        }
    }
}

#[test]
fn a_client_that_floods_and_never_reads_cannot_make_the_output_grow() {
    let mut session = Server::new(
        Config {
            clear_auth: true,
            ..Config::default()
        },
        Seed::from_number(1),
    );
    let mut input = BytesMut::new();
    for _ in 0..100_000 {
        input.extend_from_slice(b"a CAPABILITY\r\n");
    }
    session.recv(Now::default(), &mut input);
    assert!(!session.wants_read() && input.len() > 1_000_000);
    let mut sent = 0;
    while let Some(step) = session.poll() {
        if let Step::Send(bytes) = step {
            sent += bytes.len();
        }
    }
    assert!(sent < 70_000, "{sent}");
    assert!(session.wants_read());
}

#[test]
fn long_hostile_lines_take_linear_time() {
    let (mut world, mut client);
    for line in [
        format!("a SEARCH {}\r\n", "(".repeat(60_000)),
        format!("a FETCH {}1 FLAGS\r\n", "1:4294967295,".repeat(4_000)),
        format!("a LIST \"\" \"{}\"\r\n", "*%".repeat(900)),
        format!("a STORE 1 FLAGS ({})\r\n", "x ".repeat(30_000)),
        format!("a FETCH 1 ({})\r\n", "FLAGS ".repeat(10_000)),
        format!("a SELECT \"{}\"\r\n", "\\\\".repeat(30_000)),
        format!("a SELECT {}\r\n", "&-".repeat(30_000)),
    ] {
        world = World::new();
        client = Client::selected(&mut world);
        let output = client.say(&mut world, &line);
        assert!(
            output.contains("a NO") || output.contains("a BAD") || output.contains("a OK"),
            "{line:.40}: {output}"
        );
        assert!(!client.closed);
    }
}

#[test]
fn an_idle_session_is_small() {
    // The rest of its memory are the boxed selection with its set of UIDs, one tag, and the names of keywords.
    assert!(size_of::<Server>() <= 400, "{}", size_of::<Server>());
    assert_eq!(Mono(0), Mono::default());
}
