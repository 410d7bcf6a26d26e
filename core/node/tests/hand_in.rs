//! Messages that are handed over in files are taken once, whatever ends in between.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod world;

use bytes::Bytes;
use futures_lite::future::block_on;
use mox_address::Path;
use mox_node::{NotTaken, Outgoing};
use mox_server::Envelope;
use world::{Server, World, wait_for};

const MESSAGE: &[u8] = b"From: root@localhost\r\nSubject: x\r\n\r\nhello\r\n";

fn path(text: &str) -> Path {
    Path::parse(text, true).unwrap()
}

fn hand_in(server: &Server, file: u8, to: &[&str]) -> Result<(), NotTaken> {
    let envelope = Envelope {
        from: Some(path("u0@localhost")),
        to: to.iter().map(|to| path(to)).collect(),
        utf8: false,
        dsn: String::new(),
        rcpt_dsn: String::new(),
    };
    let message = server.node.hand_in([file; 16], envelope)?;
    block_on(async {
        let (head, rest) = MESSAGE.split_at(30);
        let message = message.push(Bytes::from_static(head)).await?;
        let message = message.push(Bytes::from_static(rest)).await?;
        message.commit().await
    })
}

#[test]
fn a_file_that_is_still_there_after_its_message_was_taken_is_not_taken_again() {
    let mut world = World::new(2);
    world.outgoing = Outgoing::Relay(vec!["127.0.0.1:1".parse().unwrap()]);
    let server = world.start();
    let to = ["u1@localhost", "bob@far.example"];
    let is_once =
        |server: &Server| server.messages("u1") == 1 && server.node.queue(10).unwrap().len() == 1;
    assert_eq!(hand_in(&server, 7, &to), Ok(()));
    wait_for("a delivery", || is_once(&server));
    assert_eq!(hand_in(&server, 7, &to), Ok(()));
    assert!(is_once(&server));
    // The power fails before the file is gone.
    let after = world.crash();
    server.stop();
    let server = after.start();
    assert_eq!(server.node.taken_files(10).unwrap(), [[7; 16]]);
    assert_eq!(hand_in(&server, 7, &to), Ok(()));
    assert!(is_once(&server));
    assert_eq!(hand_in(&server, 8, &["u1@localhost"]), Ok(()));
    wait_for("another", || server.messages("u1") == 2);
    block_on(server.node.forget_file([7; 16])).unwrap();
    assert_eq!(server.node.taken_files(10).unwrap(), [[8; 16]]);
    server.stop();
}

#[test]
fn who_cannot_be_delivered_to_is_told_to_the_sender() {
    let world = World::new(2);
    let server = world.start();
    let mut directory = mox_server::Directory::local(2);
    let domain = mox_address::Domain::parse("own.example", false).unwrap();
    directory.add_domain(&domain, mox_server::DomainRules::default());
    block_on(server.node.reload(directory)).unwrap();
    let to = ["nobody@own.example", "u1@localhost"];
    assert_eq!(hand_in(&server, 1, &to), Ok(()));
    wait_for("a delivery", || server.messages("u1") == 1);
    wait_for("a notice", || server.messages("u0") == 1);
    server.stop();
}
