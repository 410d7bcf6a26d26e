//! Notifications of sixty kinds of servers come in, from the null path and from others: none is answered, whatever it says.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod one_server;

use mox_driver::Runtime;
use mox_node::Outgoing;
use mox_sim::{Dialogue, Knobs, Sim, SimRuntime};
use one_server::{One, ours, sleep};
use std::time::Duration;

/// As it is sent: lines end in CRLF, and dots are doubled.
fn as_sent(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message).replace("\r\n", "\n");
    let text = text.replace(['\r', '\0'], "\n");
    let lines = text.trim_end_matches('\n').split('\n');
    let lines = lines.map(|line| match line.starts_with('.') {
        true => format!(".{line}\r\n"),
        false => format!("{line}\r\n"),
    });
    lines.collect()
}

/// The replies to RCPT and to the message, which is sent only when there is a recipient.
async fn send(client: &SimRuntime, from: &str, to: &str, text: &str) -> (String, String) {
    let mut smtp = Dialogue::new(client.connect(ours(25), None).await.unwrap());
    smtp.expect("220").await.unwrap();
    for line in [
        "EHLO mx.far.example\r\n",
        &format!("MAIL FROM:<{from}>\r\n"),
    ] {
        smtp.say(line).await.unwrap();
        smtp.expect("250").await.unwrap();
    }
    smtp.say(&format!("RCPT TO:<{to}>\r\n")).await.unwrap();
    let recipient = smtp.reply().await.unwrap();
    if !recipient.starts_with("250") {
        return (recipient, String::new());
    }
    smtp.say("DATA\r\n").await.unwrap();
    smtp.expect("354").await.unwrap();
    smtp.say(&format!("{text}.\r\n")).await.unwrap();
    (recipient, smtp.reply().await.unwrap())
}

#[test]
fn no_notification_is_answered_whoever_it_comes_from() {
    let Some(notifications) = mox_suites::notifications("bounced") else {
        return;
    };
    assert!(notifications.len() >= 534, "{}", notifications.len());
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        // What leaves would go to a host that takes nothing, and stay in the queue.
        let mut one = One::new(
            &world,
            Outgoing::Relay(vec!["10.0.9.9:25".parse().unwrap()]),
        );
        one.start().await;
        let mut taken = 0;
        for (number, (name, message)) in notifications.iter().enumerate() {
            // One address has its limits.
            let last = u8::try_from(number % 250).unwrap();
            let client = world.computer("client", [10, 0, 2, last]);
            let text = as_sent(message);
            for from in ["", "mailer-daemon@far.example"] {
                let (_, reply) = send(&client, from, "ann@ours.example", &text).await;
                taken += usize::from(reply.starts_with("250"));
                assert!(reply.starts_with(['2', '5']), "{name}: {reply}");
            }
            let (recipient, _) = send(&client, "", "nobody@ours.example", &text).await;
            assert!(recipient.starts_with("550 "), "{name}: {recipient}");
            sleep(&client, Duration::from_secs(5)).await;
        }
        assert_eq!(taken, 2 * notifications.len());
        sleep(&one.runtime, Duration::from_secs(86_400)).await;
        assert_eq!(one.queue(), []);
        assert_eq!(one.node().retired(mox_machine::Utc(0), 10).unwrap(), []);
        one.stop().await;
    });
    assert_eq!(sim.panics(), 0);
}
