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
    hand_in_from(server, "u0@localhost", file, to)
}

fn hand_in_from(server: &Server, from: &str, file: u8, to: &[&str]) -> Result<(), NotTaken> {
    let envelope = Envelope {
        from: Some(path(from)),
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

/// A server where `team@own.example` stands for u0 and u1, who may send with it or not.
fn with_alias(world: &World, may_send: bool) -> Server {
    with_alias_at(world, ("team", "own.example"), may_send)
}

/// The same with an alias of this name at this domain.
fn with_alias_at(world: &World, (name, at): (&str, &str), may_send: bool) -> Server {
    let server = world.start();
    let mut directory = mox_server::Directory::local(2);
    let domain = mox_address::Domain::parse(at, false).unwrap();
    if at != "localhost" {
        directory.add_domain(&domain, mox_server::DomainRules::default());
    }
    let members = ["u0@localhost", "u1@localhost"];
    let members = members.map(|member| directory.member(path(member)).unwrap());
    let name = mox_address::LocalPart::parse(name, false).unwrap();
    let added = directory.add_alias(&name, &domain, members.to_vec(), may_send);
    added.unwrap();
    block_on(server.node.reload(directory)).unwrap();
    server
}

#[test]
fn who_is_behind_an_alias_and_named_too_gets_one_copy() {
    let server = with_alias(&World::new(2), false);
    let to = ["u1@localhost", "team@own.example", "U1+x@localhost"];
    assert_eq!(hand_in(&server, 1, &to), Ok(()));
    wait_for("deliveries", || server.node.queue(9).unwrap().is_empty());
    for user in ["u0", "u1"] {
        assert_eq!(server.messages(user), 1, "{user}");
    }
    server.stop();
}

#[test]
fn mail_of_senders_elsewhere_is_taken_where_the_postmaster_is_an_alias_nobody_sends_with() {
    let server = with_alias_at(&World::new(2), ("postmaster", "localhost"), false);
    let handed = hand_in_from(&server, "cron@elsewhere.example", 1, &["u1@localhost"]);
    assert_eq!(handed, Ok(()));
    wait_for("a delivery", || server.messages("u1") == 1);
    server.stop();
}

#[test]
fn of_mail_that_an_alias_sent_the_first_member_is_told_where_members_may_send() {
    for (may_send, told) in [(true, "u0"), (false, "mox")] {
        let server = with_alias(&World::new(2), may_send);
        let to = ["nobody@own.example"];
        assert_eq!(hand_in_from(&server, "team@own.example", 1, &to), Ok(()));
        wait_for("a notice", || server.node.queue(9).unwrap().is_empty());
        for user in ["u0", "u1", "mox"] {
            let expected = u32::from(user == told);
            assert_eq!(server.messages(user), expected, "{user}, {may_send}");
        }
        server.stop();
    }
}
