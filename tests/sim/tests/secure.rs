//! TLS in a world: STARTTLS and TLS at once, in and out, with equal octets for equal seeds.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mox_driver::Runtime;
use mox_node::Outgoing;
use mox_sim::peers::{BrokenTls, Flaw, Ledger, Manner, Plain, serve};
use mox_sim::{Dialogue, Knobs, Sim, SimRuntime, SimStream};
use one_server::{One, PASSWORD, ours, submit, text, transaction};
use std::io;
use std::time::Duration;

const CAROL: &str = "carol@peer.example";
const MARK: &str = "mark-1-end";

/// Ann sends one message to Carol by way of a peer; what the peer saw.
fn out(sim: &Sim, manner: impl FnOnce(&SimRuntime) -> Box<dyn Manner> + Send + 'static) -> Ledger {
    let world = sim.clone();
    sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let tls = peer.server_tls(&["mx.peer.example"]);
        let manner = manner(&peer);
        let ledger = serve(&peer, 25, "mx.peer.example", Some(tls), manner).unwrap();
        let relay = Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]);
        let mut one = One::new(&world, relay);
        one.start().await;
        submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
        assert!(one.settle(Duration::from_secs(3_600)).await);
        one.stop().await;
        ledger
    })
}

#[test]
fn mail_leaves_encrypted_when_the_other_side_can() {
    let sim = Sim::new(1, Knobs::fault_free());
    let ledger = out(&sim, |_| Box::new(Plain));
    let [visit] = &ledger.visits()[..] else {
        panic!()
    };
    assert!(visit.secured);
    let said: Vec<_> = visit
        .commands
        .iter()
        .map(|c| c.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        said,
        ["EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "DATA", "QUIT"]
    );
    let [delivered] = &ledger.deliveries()[..] else {
        panic!()
    };
    assert!(delivered.kept && delivered.heard_at().is_some());
}

#[test]
fn any_certificate_is_better_than_clear_text_for_opportunistic_tls() {
    let expired = |peer: &SimRuntime| -> Box<dyn Manner> {
        Box::new(BrokenTls(Flaw::Presents(
            peer.expired_tls(&["somebody.else.example"]),
        )))
    };
    let ledger = out(&Sim::new(1, Knobs::fault_free()), expired);
    assert!(ledger.visits()[0].secured);
    assert_eq!(ledger.copies(CAROL, MARK), 1);
}

#[test]
fn tls_that_ends_behind_the_handshake_is_tried_again_and_nothing_is_lost() {
    let leaves = |peer: &SimRuntime| -> Box<dyn Manner> {
        Box::new(BrokenTls(Flaw::Leaves(
            peer.server_tls(&["mx.peer.example"]),
        )))
    };
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let (ledger, left) = sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let manner = leaves(&peer);
        let ledger = serve(&peer, 25, "mx.peer.example", None, manner).unwrap();
        let relay = Outgoing::Relay(vec![(peer.addresses()[0], 25).into()]);
        let mut one = One::new(&world, relay);
        one.start().await;
        submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
        one.settle(Duration::from_secs(1_800)).await;
        let left = one.queue();
        one.stop().await;
        (ledger, left)
    });
    assert!(ledger.visits().len() >= 2);
    assert!(left.len() == 1 || ledger.copies(CAROL, MARK) == 1);
}

/// Ann over a stream that is encrypted: says hello again, logs in, sends.
async fn send_over<IO: futures_io::AsyncRead + futures_io::AsyncWrite + Unpin>(
    smtp: &mut Dialogue<IO>,
) -> io::Result<String> {
    smtp.say("EHLO client.example\r\n").await?;
    let offer = smtp.expect("250").await?;
    assert!(!offer.contains("STARTTLS"), "{offer}");
    let response = STANDARD.encode(format!("\0ann@ours.example\0{PASSWORD}"));
    smtp.say(&format!("AUTH PLAIN {response}\r\n")).await?;
    smtp.expect("235").await?;
    transaction(
        smtp,
        "ann@ours.example",
        &["ann@ours.example"],
        &text(MARK, 3),
    )
    .await
}

/// Ann sends by STARTTLS on 587, somebody else by STARTTLS on 25, she sends by TLS on 465 and reads by TLS on 993.
async fn clients(client: &SimRuntime) -> io::Result<String> {
    for port in [587, 25] {
        let mut stream: SimStream = client.connect(ours(port), None).await?;
        lines(&mut stream, "").await?;
        lines(&mut stream, "EHLO client.example\r\n").await?;
        let go = lines(&mut stream, "STARTTLS\r\n").await?;
        assert!(go.starts_with("220"), "{go}");
        let mut smtp = Dialogue::new(client.secure(stream, "ours.example").await?);
        if port == 587 {
            send_over(&mut smtp).await?;
        } else {
            smtp.say("EHLO other.example\r\n").await?;
            smtp.expect("250").await?;
            let from = "bob@elsewhere.example";
            transaction(&mut smtp, from, &["ann@ours.example"], &text("other", 3)).await?;
        }
    }
    let stream = client.connect(ours(465), None).await?;
    let mut smtp = Dialogue::new(client.secure(stream, "ours.example").await?);
    smtp.expect("220").await?;
    send_over(&mut smtp).await?;
    let stream = client.connect(ours(993), None).await?;
    let mut imap = Dialogue::new(client.secure(stream, "ours.example").await?);
    imap.line().await?;
    let login = format!("LOGIN ann@ours.example \"{PASSWORD}\"");
    assert!(imap.command(&login).await?.contains(" OK "));
    imap.command("SELECT INBOX").await?;
    imap.command("FETCH 1:* (BODY.PEEK[])").await
}

/// Says something in clear and hears one reply, without reading further.
async fn lines(stream: &mut SimStream, say: &str) -> io::Result<String> {
    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    stream.write_all(say.as_bytes()).await?;
    let mut heard = String::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        heard.push(char::from(byte[0]));
        let last = heard.trim_end().rsplit("\r\n").next().unwrap_or_default();
        if heard.ends_with("\r\n") && last.as_bytes().get(3) == Some(&b' ') {
            return Ok(heard);
        }
    }
}

fn serving(seed: u64, knobs: Knobs) -> (Sim, String) {
    let sim = Sim::new(seed, knobs);
    let world = sim.clone();
    let read = sim.run(async move {
        let client = world.computer("client", [10, 0, 1, 1]);
        let mut one = One::new(&world, Outgoing::Direct);
        one.tls = Some(one.runtime.server_tls(&["ours.example"]));
        one.start().await;
        let read = clients(&client).await.unwrap();
        one.stop().await;
        read
    });
    assert_eq!(sim.panics(), 0);
    (sim, read)
}

#[test]
fn clients_send_and_read_by_starttls_and_by_tls_at_once() {
    let (_, read) = serving(1, Knobs::fault_free());
    assert_eq!(read.matches(&format!("Subject: {MARK}\r\n")).count(), 2);
    assert_eq!(read.matches("Subject: other\r\n").count(), 1);
    // RFC 3848: with and without authentication, both encrypted.
    assert_eq!(read.matches(" with ESMTPSA ").count(), 2, "{read}");
    assert_eq!(read.matches(" with ESMTPS\r\n").count(), 1, "{read}");
}

#[test]
fn equal_seeds_make_equal_ciphertext_and_others_differ() {
    let slow = Knobs {
        segment: 64,
        ..Knobs::fault_free()
    };
    let mut hashes = Vec::new();
    for seed in 0..3 {
        let (one, two) = (serving(seed, slow.clone()), serving(seed, slow.clone()));
        let difference = one.0.trace().first_difference(&two.0.trace());
        assert_eq!(difference, None, "{:?}", one.0.trace());
        assert!(!hashes.contains(&one.0.trace_hash()));
        hashes.push(one.0.trace_hash());
    }
}
