//! One whole server against clients and peers that make trouble.

use core::time::Duration;
use mox_driver::Runtime;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::house::{DOMAIN, House, Wrong, peer, secs, sleep, world};

fn found(wrong: &Wrong, what: impl Into<String>) {
    wrong.lock().unwrap().push(what.into());
}

fn ann() -> String {
    format!("ann@{DOMAIN}")
}

/// Who is told to come back later comes back, and nobody is told of a failure.
pub fn a_greylisting_peer(seed: u64) -> Vec<String> {
    world(seed, |sim, wrong| async move {
        let house = House::new(&sim).await;
        let (taken, seen) = (Arc::new(AtomicUsize::new(0)), Mutex::new(0));
        let counted = Arc::clone(&taken);
        peer(&sim, move |command| {
            let tries = &mut *seen.lock().unwrap();
            *tries += usize::from(command.starts_with("RCPT"));
            match command {
                "." => counted.fetch_add(1, Ordering::Relaxed),
                _ if command.starts_with("RCPT") && *tries < 3 => {
                    return Some("451 4.7.1 greylisted".to_owned());
                }
                _ => 0,
            };
            None
        });
        house.submit(&ann(), "x@b.example", "grey").await.unwrap();
        if !house.queue_empties(secs(6 * 3_600)).await {
            found(
                &wrong,
                "oracle 1: a greylisted message is still in the queue",
            );
        }
        let count = taken.load(Ordering::Relaxed);
        if count != 1 {
            found(
                &wrong,
                format!("oracle 1: the peer has the message {count} times"),
            );
        }
        let inbox = house.inbox().await.unwrap();
        if !inbox.is_empty() {
            found(&wrong, "its sender was told of a failure");
        }
    })
}

/// S12: an attempt is in its row before anybody else sees it.
pub fn a_peer_that_looks_into_the_queue(seed: u64) -> Vec<String> {
    world(seed, |sim, wrong| async move {
        let house = House::new(&sim).await;
        let (node, told) = (house.node.clone(), wrong.clone());
        peer(&sim, move |command| {
            let queue = node.queue(10).unwrap();
            if command.starts_with("MAIL") && queue.iter().any(|entry| entry.attempts == 0) {
                found(
                    &told,
                    "S12: an attempt is under way that its row does not know",
                );
            }
            None
        });
        house.submit(&ann(), "x@b.example", "one").await.unwrap();
        house.queue_empties(secs(3_600)).await;
    })
}

/// What is refused for good is told once, and never to the null sender.
pub fn a_peer_that_refuses(seed: u64) -> Vec<String> {
    world(seed, |sim, wrong| async move {
        let house = House::new(&sim).await;
        peer(&sim, |command| {
            let refused = command.starts_with("RCPT");
            refused.then(|| "550 5.1.1 nobody here".to_owned())
        });
        house.submit(&ann(), "x@b.example", "mine").await.unwrap();
        house.submit("", "x@b.example", "nobody's").await.unwrap();
        if !house.queue_empties(secs(3_600)).await {
            found(&wrong, "what was refused for good is tried again");
        }
        let inbox = house.inbox().await.unwrap();
        let notices = inbox.matches("\r\nSubject: mine\r\n").count();
        if notices != 1 {
            found(&wrong, format!("the sender was told {notices} times"));
        }
        if inbox.contains("nobody's") {
            found(
                &wrong,
                "somebody was told what became of a message of the null sender",
            );
        }
    })
}

/// A client that sends much at once gets all its replies, and soon.
pub fn a_flood_of_recipients(seed: u64) -> Vec<String> {
    world(seed, |sim, wrong| async move {
        let house = House::new(&sim).await;
        let begun = house.observer.now().mono;
        let mut smtp = house.dial(25).await;
        smtp.expect("220").await.unwrap();
        smtp.say("EHLO client.example\r\n").await.unwrap();
        smtp.expect("250").await.unwrap();
        let recipients = format!("RCPT TO:<{}>\r\n", ann()).repeat(200);
        smtp.say(&format!("MAIL FROM:<x@b.example>\r\n{recipients}"))
            .await
            .unwrap();
        for number in 0..201 {
            if let Err(error) = smtp.expect("250").await {
                found(&wrong, format!("reply {number}: {error}"));
                return;
            }
        }
        let took = house.observer.now().mono.since(begun);
        if took > secs(5) {
            found(&wrong, format!("oracle 7: 200 recipients took {took:?}"));
        }
    })
}

/// A client that does not close after the goodbye holds nothing here.
pub fn a_client_that_stays_after_goodbye(seed: u64) -> Vec<String> {
    world(seed, |sim, wrong| async move {
        let house = House::new(&sim).await;
        let mut smtp = house.dial(25).await;
        smtp.expect("220").await.unwrap();
        smtp.say("QUIT\r\n").await.unwrap();
        smtp.expect("221").await.unwrap();
        sleep(&house.observer, secs(10)).await;
        let sessions = house.node.sessions();
        if sessions > 0 {
            found(
                &wrong,
                format!("10 s after the goodbye {sessions} sessions live"),
            );
        }
        drop(smtp);
    })
}

/// What a broken-off message held in memory is given back.
pub fn a_message_that_breaks_off(seed: u64) -> Vec<String> {
    world(seed, |sim, wrong| async move {
        let house = House::new(&sim).await;
        let mut smtp = house.dial(25).await;
        smtp.expect("220").await.unwrap();
        let envelope = format!("MAIL FROM:<x@b.example>\r\nRCPT TO:<{}>\r\n", ann());
        smtp.say("EHLO client.example\r\n").await.unwrap();
        smtp.expect("250").await.unwrap();
        smtp.say(&format!("{envelope}DATA\r\n")).await.unwrap();
        smtp.expect("250").await.unwrap();
        smtp.expect("250").await.unwrap();
        smtp.expect("354").await.unwrap();
        let line = "all work and no play\r\n".repeat(1_000);
        smtp.say(&line).await.unwrap();
        sleep(&house.observer, Duration::from_millis(100)).await;
        let held = house.node.octets_in_flight();
        if held == 0 {
            found(&wrong, "a message that is coming in counts for nothing");
        }
        drop(smtp);
        sleep(&house.observer, secs(5)).await;
        let held = house.node.octets_in_flight();
        if held > 0 {
            found(
                &wrong,
                format!("oracle 8: {held} octets of a message that is gone are counted"),
            );
        }
    })
}
