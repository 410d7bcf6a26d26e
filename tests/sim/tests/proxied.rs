//! Clients that come by a proxy: whose address counts, and who is not listened to.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use mox_dns::MasterFile;
use mox_driver::Runtime;
use mox_node::Outgoing;
use mox_server::config::Network;
use mox_sim::{Dialogue, DnsManner, Knobs, Sim, SimRuntime, SimStream, name_server};
use one_server::{One, PASSWORD, ours, sleep};
use std::time::Duration;

/// far.example names one client.
const ZONE: &str = "\
far.example. TXT \"v=spf1 ip4:198.51.100.7 -all\"\n\
far.example. MX 10 mx.far.example.\n\
mx.far.example. A 198.51.100.7\n\
7.100.51.198.in-addr.arpa. PTR mx.far.example.\n";

/// What a proxy says of a client.
fn header(client: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend(client);
    header.extend([10, 0, 0, 1, 0x9c, 0x40, 0, 25]);
    header
}

/// A connection on which this was said first.
async fn after(from: &SimRuntime, port: u16, first: &[u8]) -> SimStream {
    let mut stream = from.connect(ours(port), None).await.unwrap();
    // Half of it, so that the server has to wait for the rest.
    let (half, rest) = first.split_at(first.len() / 2);
    // Who is not listened to may be told so by a reset.
    let _ = stream.write_all(half).await;
    sleep(from, Duration::from_millis(100)).await;
    let _ = stream.write_all(rest).await;
    stream
}

/// Whether the server hangs up without a word, and how long that takes.
async fn hung_up(from: &SimRuntime, first: &[u8]) -> Duration {
    let (mut stream, begun) = (after(from, 25, first).await, from.now().mono);
    let mut octets = Vec::new();
    // Closed or reset: nothing is said in either case.
    let _ = stream.read_to_end(&mut octets).await;
    assert_eq!(octets, b"");
    from.now().mono.since(begun)
}

/// Brings a message of bob@far.example to Ann; the reply.
async fn bring(stream: SimStream) -> String {
    let mut smtp = Dialogue::new(stream);
    smtp.expect("220").await.unwrap();
    for (line, code) in [
        ("EHLO mx.far.example", "250"),
        ("MAIL FROM:<bob@far.example>", "250"),
        ("RCPT TO:<ann@ours.example>", "250"),
        ("DATA", "354"),
    ] {
        smtp.say(&format!("{line}\r\n")).await.unwrap();
        smtp.expect(code).await.unwrap();
    }
    smtp.say("From: <bob@far.example>\r\nSubject: x\r\n\r\nHello.\r\n.\r\n")
        .await
        .unwrap();
    smtp.reply().await.unwrap()
}

fn world<F: Future<Output = ()> + Send>(
    scenario: impl FnOnce(One, SimRuntime, SimRuntime) -> F + Send + 'static,
) {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let proxy = world.computer("proxy", [10, 0, 3, 1]);
        let stranger = world.computer("stranger", [10, 0, 4, 1]);
        let names = world.computer("names", [10, 0, 0, 53]);
        let zone = MasterFile::parse(ZONE).unwrap();
        let mut one = One::new(&world, Outgoing::Sink("mox".into()));
        one.resolvers = vec![name_server(&names, zone, DnsManner::direct()).unwrap()];
        one.trusted_proxies = vec![Network::parse("10.0.3.0/24").unwrap()];
        one.tls = Some(one.runtime.server_tls(&["ours.example"]));
        one.start().await;
        scenario(one, proxy, stranger).await;
    });
    assert_eq!(sim.panics(), 0);
}

#[test]
fn mail_is_judged_by_the_client_of_a_proxy() {
    world(|one, proxy, _| async move {
        let named = bring(after(&proxy, 25, &header([198, 51, 100, 7])).await).await;
        assert!(named.starts_with("250 "), "{named}");
        let other = bring(after(&proxy, 25, &header([203, 0, 113, 9])).await).await;
        assert!(other.starts_with("451 "), "{other}");
        let records = one.node().explain("bob@far.example", 9).unwrap();
        let seen: Vec<_> = records
            .iter()
            .map(|record| {
                let spf = &record.facts.message.as_ref().unwrap().spf.result;
                (record.facts.connection.ip.to_string(), spf.clone())
            })
            .collect();
        let seen: Vec<_> = seen.iter().map(|(ip, spf)| (&ip[..], &spf[..])).collect();
        assert_eq!(seen, [("203.0.113.9", "fail"), ("198.51.100.7", "pass")]);
        one.node().drain().await;
    });
}

#[test]
fn a_proxy_that_speaks_for_itself_is_heard() {
    world(|one, proxy, _| async move {
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
        let mut smtp = Dialogue::new(after(&proxy, 25, local).await);
        smtp.expect("220").await.unwrap();
        smtp.say("QUIT\r\n").await.unwrap();
        smtp.expect("221").await.unwrap();
        one.node().drain().await;
    });
}

#[test]
fn who_is_no_proxy_or_says_nothing_that_makes_sense_is_not_spoken_to() {
    world(|one, proxy, stranger| async move {
        let good = header([198, 51, 100, 7]);
        let at_once = Duration::from_secs(1);
        assert!(hung_up(&stranger, &good).await < at_once);
        assert!(hung_up(&proxy, b"EHLO mx.far.example\r\n").await < at_once);
        let unix = b"\r\n\r\n\0\r\nQUIT\n\x21\x31\x00\x00";
        assert!(hung_up(&proxy, unix).await < at_once);
        for first in [&b""[..], &good[..20]] {
            let waited = hung_up(&proxy, first).await;
            assert!(
                waited > Duration::from_secs(4) && waited < Duration::from_secs(7),
                "{waited:?}"
            );
        }
        one.node().drain().await;
    });
}

#[test]
fn limiters_count_the_client_and_not_its_proxy_and_tls_follows_the_header() {
    world(|one, proxy, _| async move {
        let mut last = String::new();
        for n in 0..30 {
            let stream = after(&proxy, 993, &header([203, 0, 113, 9])).await;
            // Who guesses too often is closed before TLS.
            let Ok(stream) = proxy.secure(stream, "ours.example").await else {
                last = "closed".into();
                break;
            };
            let mut imap = Dialogue::new(stream);
            imap.line().await.unwrap();
            last = imap
                .command(&format!("LOGIN ann@ours.example wrong{n}"))
                .await
                .unwrap();
        }
        assert_eq!(last, "closed");
        let stream = after(&proxy, 993, &header([198, 51, 100, 7])).await;
        let mut imap = Dialogue::new(proxy.secure(stream, "ours.example").await.unwrap());
        imap.line().await.unwrap();
        let login = format!("LOGIN ann@ours.example \"{PASSWORD}\"");
        let said = imap.command(&login).await.unwrap();
        assert!(said.contains(" OK "), "{said}");
        one.node().drain().await;
    });
}
