//! The session contract under any sequence of calls: R1 to R6 as assertions.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use bytes::BytesMut;
use core::fmt::Debug;
use core::time::Duration;
use mox_address::{Domain, Host, Path, Reply};
use mox_machine::{AskId, Mono, Now, Secret, Session, Step, TlsFacts};
use mox_smtp::{client, server};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Op<A> {
    Recv(Vec<u8>),
    Eof,
    Secured,
    Answer(usize, A),
    /// An id that was never given, or is used up.
    Stale(u64, A),
    Tick(u64),
    Drain,
    Poll(usize),
}

fn run<S: Session>(mut session: S, ops: Vec<Op<S::Answer>>, drain_always: bool)
where
    S::Answer: Clone + Debug,
{
    let mut now = Now {
        mono: Mono(1),
        ..Now::default()
    };
    let mut input = BytesMut::new();
    let mut open: Vec<AskId> = Vec::new();
    let mut last = AskId(0);
    let mut closed = false;
    let mut poll = |session: &mut S, open: &mut Vec<AskId>, most: usize| {
        for _ in 0..most {
            match session.poll() {
                None => {
                    assert!(session.poll().is_none(), "R2");
                    return;
                }
                Some(Step::Ask(id, _)) => {
                    assert!(id > last, "R5: ids go up");
                    last = id;
                    open.push(id);
                    assert!(open.len() <= 8, "R6");
                }
                Some(Step::Cancel(id)) => {
                    // An answer may have crossed it.
                    assert!(id <= last, "only what was asked is cancelled");
                    open.retain(|o| *o != id);
                }
                Some(Step::Send(_) | Step::StartTls) => assert!(!closed),
                Some(Step::Close) => closed = true,
                Some(step @ (Step::Event(_) | Step::Compress)) => {
                    assert!(!matches!(step, Step::Compress));
                }
            }
        }
    };
    for op in ops {
        match op {
            Op::Recv(bytes) => {
                input.extend_from_slice(&bytes);
                let wanted = session.wants_read();
                let before = input.len();
                session.recv(now, &mut input);
                assert!(
                    wanted || input.len() == before,
                    "it takes nothing it does not want"
                );
            }
            Op::Eof => session.eof(now),
            Op::Secured => session.secured(now, TlsFacts::default()),
            Op::Answer(at, answer) if !open.is_empty() => {
                let id = open.remove(at % open.len());
                session.answer(now, id, answer);
            }
            Op::Answer(_, answer) => session.answer(now, AskId(u64::MAX), answer),
            Op::Stale(id, answer) => {
                if !open.contains(&AskId(id)) && id < 2 {
                    session.answer(now, AskId(0), answer);
                }
            }
            Op::Tick(seconds) => {
                now.mono = now.mono + Duration::from_secs(seconds);
                session.tick(now);
                if let Some((at, why)) = session.deadline() {
                    assert!(at > now.mono, "R3: {why}");
                }
            }
            Op::Drain => session.drain(now),
            Op::Poll(most) => poll(&mut session, &mut open, most),
        }
        if drain_always {
            poll(&mut session, &mut open, usize::MAX);
        }
    }
    poll(&mut session, &mut open, usize::MAX);
    assert!(session.poll().is_none());
}

fn ops<A: Debug + Clone + 'static>(
    bytes: BoxedStrategy<Vec<u8>>,
    answer: BoxedStrategy<A>,
) -> impl Strategy<Value = Vec<Op<A>>> {
    let op = prop_oneof![
        8 => bytes.prop_map(Op::Recv),
        1 => Just(Op::Eof),
        1 => Just(Op::Secured),
        6 => (any::<usize>(), answer.clone()).prop_map(|(at, a)| Op::Answer(at, a)),
        1 => (any::<u64>(), answer).prop_map(|(id, a)| Op::Stale(id, a)),
        1 => (0..1_000u64).prop_map(Op::Tick),
        1 => Just(Op::Drain),
        4 => (0..9usize).prop_map(Op::Poll),
    ];
    prop::collection::vec(op, 0..80)
}

fn pick(lines: &'static [&'static [u8]]) -> BoxedStrategy<Vec<u8>> {
    let line = prop_oneof![
        20 => prop::sample::select(lines).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    (line, 0..40usize)
        .prop_map(|(line, cut)| match cut {
            cut if cut < line.len() && cut > 30 => line[..cut].to_vec(),
            _ => line,
        })
        .boxed()
}

const COMMANDS: &[&[u8]] = &[
    b"EHLO c\r\n",
    b"HELO c\r\n",
    b"LHLO c\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"RCPT TO:<a@b>\r\n",
    b"RCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
    b"DATA\r\n",
    b"x\r\n.\r\n",
    b".\r\n",
    b"\n.\r\n",
    b"\0",
    b"BDAT 3\r\nabc",
    b"BDAT 5 LAST\r\nab\r\n.",
    b"BDAT 0 LAST\r\n",
    b"BDAT 5000\r\n",
    b"BDAT x\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"QUIT\r\n",
    b"STARTTLS\r\n",
    b"AUTH PLAIN\r\n",
    b"AUTH PLAIN AA==\r\n",
    b"AA==\r\n",
    b"*\r\n",
    b"FOO\r\n",
    b"NOOP\n",
    b"\r",
    b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n",
];
const REPLIES: &[&[u8]] = &[
    b"220 x\r\n",
    b"250 x\r\n",
    b"250-x\r\n250-PIPELINING\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n",
    b"354 x\r\n",
    b"334 AA==\r\n",
    b"235 x\r\n",
    b"421 x\r\n",
    b"450 x\r\n",
    b"550 x\r\n",
    b"250-",
    b"x",
    b"\r\n",
    b"250 x\r\n250 x\r\n354 x\r\n",
];

fn server_answer() -> BoxedStrategy<server::Answer> {
    use server::Answer;
    prop_oneof![
        8 => Just(Answer::Accept),
        1 => Just(Answer::Reply(Reply::new(550, 1, 1, "no"))),
        1 => Just(Answer::Reply(Reply::new(421, 1, 1, "no"))),
        1 => Just(Answer::SlowReply(Reply::new(550, 7, 1, "no"))),
        1 => Just(Answer::Each(vec![Reply::new(250, 0, 0, "ok")])),
        1 => Just(Answer::Challenge("x".into())),
        1 => Just(Answer::Authenticated("x".into())),
        2 => Just(Answer::Begun { id: "x".into() }),
        2 => Just(Answer::Stored { id: "x".into() }),
    ]
    .boxed()
}

fn client_answer() -> BoxedStrategy<client::Answer> {
    use client::{Answer, Transaction};
    let path = Path::parse("a@b", false).unwrap();
    let send = Answer::Send(Transaction {
        from: None,
        to: vec![path; 3],
        size: 10,
        eight_bit: false,
        utf8: false,
        ..Transaction::default()
    });
    prop_oneof![
        4 => Just(send),
        1 => Just(Answer::Quit),
        2 => Just(Answer::Response(Some(Secret::new("x".into())))),
        1 => Just(Answer::Response(None)),
        3 => Just(Answer::Piece("abc\r\n".into())),
        2 => Just(Answer::Piece("".into())),
        1 => Just(Answer::Failed),
    ]
    .boxed()
}

fn server_config(mode: server::Mode, small: bool) -> server::Config {
    let mut config = server::Config::new(Domain::parse("mx.example", false).unwrap());
    config.mode = mode;
    config.starttls = true;
    config.mechanisms = vec!["PLAIN"];
    config.auth_in_clear = true;
    if small {
        config.max_size = 8;
        config.limits.window = 3;
        config.limits.output = 10;
        config.limits.asks = 2;
        config.limits.recipients = 2;
        config.limits.messages = 2;
        config.limits.transaction = Duration::from_secs(30);
        config.greeting_delay = Duration::from_secs(5);
    }
    config
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_server_keeps_the_contract(
        ops in ops(pick(COMMANDS), server_answer()),
        mode in prop::sample::select(vec![server::Mode::Delivery, server::Mode::Submission, server::Mode::Lmtp]),
        small in any::<bool>(),
        drain_always in any::<bool>(),
    ) {
        let session = server::Server::new(server_config(mode, small), Now::default());
        run(session, ops, drain_always);
    }

    #[test]
    fn a_client_keeps_the_contract(
        ops in ops(pick(REPLIES), client_answer()),
        auth in any::<bool>(),
        drain_always in any::<bool>(),
    ) {
        let mut config = client::Config::new(Host::Domain(Domain::parse("c.example", false).unwrap()));
        if auth {
            config.mechanisms = vec!["PLAIN"];
        }
        run(client::Client::new(config, Now::default()), ops, drain_always);
    }
}

#[test]
fn who_looks_late_finds_a_slow_reply_and_the_end_of_its_transaction_due_together() {
    use server::Answer;
    let ops = vec![
        Op::Recv(b"EHLO x\r\nMAIL FROM:<a@b>\r\n".to_vec()),
        Op::Tick(6),
        Op::Poll(9),
        Op::Answer(0, Answer::Accept),
        Op::Recv(b"RCPT TO:<a@b>\r\n".to_vec()),
        Op::Poll(9),
        Op::Answer(0, Answer::SlowReply(Reply::new(550, 7, 1, "no"))),
        // The contract is asked at each tick: nothing that is due is left.
        Op::Tick(100),
        Op::Poll(9),
        Op::Tick(100),
    ];
    for small in [false, true] {
        let config = server_config(server::Mode::Delivery, small);
        run(
            server::Server::new(config, Now::default()),
            ops.clone(),
            true,
        );
    }
}
