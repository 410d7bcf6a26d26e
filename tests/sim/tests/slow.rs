//! Who brings what nobody wants, or guesses passwords, is answered slowly; nobody else is.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod logged;
mod one_server;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use logged::Log;
use mox_driver::Runtime;
use mox_sim::{Dialogue, DnsManner, SimRuntime, SimStream};
use one_server::{One, PASSWORD, ours};
use std::time::Duration;

/// far.example names its client; forged.example names nobody.
const ZONE: &str = "\
far.example. TXT \"v=spf1 ip4:10.0.2.1 -all\"\n\
far.example. MX 10 mx.far.example.\n\
forged.example. MX 10 mx.far.example.\n\
forged.example. TXT \"v=spf1 -all\"\n\
mx.far.example. A 10.0.2.1\n\
1.2.0.10.in-addr.arpa. PTR mx.far.example.\n";

/// What a reply takes over a network without slow mode, at most.
const AT_ONCE: Duration = Duration::from_millis(900);

fn world<F: Future<Output = ()> + Send>(
    scenario: impl FnOnce(One, SimRuntime) -> F + Send + 'static,
) {
    one_server::judged((ZONE, DnsManner::direct()), |_| {}, scenario);
}

/// One session, and how long each reply takes.
struct Talk {
    client: SimRuntime,
    smtp: Dialogue<SimStream>,
}

impl Talk {
    async fn begin(client: &SimRuntime, port: u16) -> Self {
        let mut talk = Self {
            client: client.clone(),
            smtp: Dialogue::new(client.connect(ours(port), None).await.unwrap()),
        };
        talk.smtp.expect("220").await.unwrap();
        talk.say("EHLO mx.far.example", "250").await;
        talk
    }

    /// Says a line, to which the reply begins so; how long it takes.
    async fn say(&mut self, line: &str, code: &str) -> Duration {
        let begun = self.client.now().mono;
        self.smtp.say(&format!("{line}\r\n")).await.unwrap();
        let reply = self.smtp.reply().await.unwrap();
        assert!(reply.starts_with(code), "{line}: {reply}");
        self.client.now().mono.since(begun)
    }

    /// A whole transaction; how long each of its replies takes, but for that to DATA, which is never slow.
    async fn bring(&mut self, sender: &str, code: &str) -> Vec<Duration> {
        let mail = self.say(&format!("MAIL FROM:<{sender}>"), "250").await;
        let recipient = self.say("RCPT TO:<ann@ours.example>", "250").await;
        let data = self.say("DATA", "354").await;
        assert!(data < AT_ONCE, "{data:?}");
        let text = format!("From: <{sender}>\r\n\r\nHello.\r\n.");
        vec![mail, recipient, self.say(&text, code).await]
    }
}

fn are_slow(all: &[Duration]) -> bool {
    let slow = Duration::from_secs(11);
    all.iter().all(|took| (slow..slow + AT_ONCE).contains(took))
}

fn are_fast(all: &[Duration]) -> bool {
    all.iter().all(|took| *took < AT_ONCE)
}

#[test]
fn who_brings_what_nobody_wants_waits_for_each_reply_until_something_is_taken() {
    world(|one, client| async move {
        let mut bad = Talk::begin(&client, 25).await;
        let all = bad.bring("x@forged.example", "451 4.3.0 ").await;
        assert!(are_fast(&all), "{all:?}");
        let all = bad.bring("x@forged.example", "451 4.3.0 ").await;
        assert!(are_slow(&all), "{all:?}");
        // Others are answered at once meanwhile, from the same address too.
        let mut good = Talk::begin(&client, 25).await;
        let all = good.bring("bob@far.example", "250 ").await;
        assert!(are_fast(&all), "{all:?}");
        // What is taken ends it, with its own reply.
        let mut all = bad.bring("bob@far.example", "250 ").await;
        let last = all.pop().unwrap();
        assert!(are_slow(&all) && are_fast(&[last]), "{all:?} {last:?}");
        let all = bad.bring("bob@far.example", "250 ").await;
        assert!(are_fast(&all), "{all:?}");
        // Who goes is not held.
        let all = bad.bring("x@forged.example", "451 4.3.0 ").await;
        assert!(are_fast(&all), "{all:?}");
        let took = bad.say("NOOP", "250 ").await;
        assert!(are_slow(&[took]), "{took:?}");
        let took = bad.say("QUIT", "221 ").await;
        assert!(are_fast(&[took]), "{took:?}");
        drop((bad, good));
        // The records tell in which transactions of that session it was so, the newest first.
        let of = |sender: &str| -> Vec<bool> {
            let records = one.node().explain(sender, 10).unwrap();
            let slow = records.iter().map(|r| r.facts.connection.slow);
            slow.collect()
        };
        assert_eq!(of("x@forged.example"), [false, true, false]);
        assert_eq!(of("bob@far.example"), [false, true, false]);
        one.stop().await;
    });
}

#[test]
fn it_is_logged_once_when_a_session_becomes_slow() {
    let log = Log::default();
    log.of(|| {
        world(|one, client| async move {
            let mut bad = Talk::begin(&client, 25).await;
            for _ in 0..3 {
                bad.bring("x@forged.example", "451 4.3.0 ").await;
            }
            let mut good = Talk::begin(&client, 25).await;
            good.bring("bob@far.example", "250 ").await;
            drop((bad, good));
            one.stop().await;
        });
    });
    let lines = log.0.lock().unwrap();
    let slow: Vec<_> = lines.iter().filter(|line| line.contains("slow")).collect();
    assert_eq!(slow.len(), 1, "{slow:?}");
    let (line, told) = (slow[0].as_str(), "replies are slow from here on");
    assert!(
        line.starts_with("INFO smtp ") && line.contains(told),
        "{line}"
    );
    for field in ["listener=", "peer=10.0.2.1:", "reply=451 4.3.0 ", " slow=1"] {
        assert!(line.contains(field), "{field} in {line}");
    }
}

#[test]
fn of_a_transaction_with_many_recipients_the_first_replies_are_slow() {
    world(|one, client| async move {
        let mut talk = Talk::begin(&client, 25).await;
        talk.bring("x@forged.example", "451 4.3.0 ").await;
        let mut all = vec![talk.say("MAIL FROM:<bob@far.example>", "250 ").await];
        for _ in 0..900 {
            all.push(talk.say("RCPT TO:<ann@ours.example>", "250 ").await);
        }
        assert!(are_slow(&all[..20]) && are_fast(&all[20..]), "{all:?}");
        talk.say("DATA", "354").await;
        let text = "From: <bob@far.example>\r\n\r\nHello.\r\n.";
        talk.say(text, "250 ").await;
        drop(talk);
        one.stop().await;
    });
}

#[test]
fn unknown_recipients_and_what_cannot_be_known_slow_nobody_down() {
    world(|one, client| async move {
        let mut talk = Talk::begin(&client, 25).await;
        for _ in 0..3 {
            talk.say("MAIL FROM:<bob@far.example>", "250 ").await;
            let took = talk.say("RCPT TO:<nobody@ours.example>", "550 ").await;
            assert!(are_fast(&[took]), "{took:?}");
            let took = talk.say("RSET", "250 ").await;
            assert!(are_fast(&[took]), "{took:?}");
        }
        // A loop is nobody's fault.
        talk.say("MAIL FROM:<bob@far.example>", "250 ").await;
        talk.say("RCPT TO:<ann@ours.example>", "250 ").await;
        talk.say("DATA", "354 ").await;
        let looped = "Delivered-To: ann@ours.example\r\nFrom: <bob@far.example>\r\n\r\nHello.\r\n.";
        talk.say(looped, "550 5.4.6 ").await;
        let took = talk.say("NOOP", "250 ").await;
        assert!(are_fast(&[took]), "{took:?}");
        drop(talk);
        one.stop().await;
    });
}

#[test]
fn from_the_third_wrong_password_of_a_session_on_replies_are_slow_until_the_right_one() {
    world(|one, client| async move {
        let mut talk = Talk::begin(&client, 587).await;
        let auth = |password: &str| {
            let response = STANDARD.encode(format!("\0ann@ours.example\0{password}"));
            format!("AUTH PLAIN {response}")
        };
        for password in ["one", "two", "three"] {
            talk.say(&auth(password), "535 ").await;
            if password != "three" {
                let took = talk.say("NOOP", "250 ").await;
                assert!(are_fast(&[took]), "{password}: {took:?}");
            }
        }
        let took = talk.say("NOOP", "250 ").await;
        assert!(are_slow(&[took]), "{took:?}");
        talk.say(&auth(PASSWORD), "235 ").await;
        let took = talk.say("NOOP", "250 ").await;
        assert!(are_fast(&[took]), "{took:?}");
        drop(talk);
        one.stop().await;
    });
}

#[test]
fn a_server_that_stops_waits_for_no_slow_reply() {
    world(|one, client| async move {
        let mut bad = Talk::begin(&client, 25).await;
        bad.bring("x@forged.example", "451 4.3.0 ").await;
        bad.smtp.say("NOOP\r\n").await.unwrap();
        one_server::sleep(&client, Duration::from_secs(2)).await;
        let begun = client.now().mono;
        one.node().drain().await;
        let took = client.now().mono.since(begun);
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(bad.smtp.reply().await.unwrap().starts_with("250 "));
        assert!(bad.smtp.reply().await.unwrap().starts_with("421 "));
    });
}
