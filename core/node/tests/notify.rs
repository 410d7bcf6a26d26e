//! NOTIFY over a real store: what other sessions do is told without asking.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod world;

use futures_lite::future::block_on;
use mox_machine::Seed;
use mox_node::Service;
use mox_sasl::{Credentials, Iterations};
use world::{Client, Server, World};

fn logged_in(server: &Server) -> Client {
    let mut client = server.connect(Service::Imap);
    client.line();
    client.send("l LOGIN mox@localhost secret\r\n");
    assert!(client.line().starts_with("l OK "));
    client
}

#[test]
fn what_another_session_does_in_the_account_is_told_without_asking() {
    let server = World::new(0).start();
    let user = Credentials::derive("secret", &Seed::from_number(1), Iterations::ONE).unwrap();
    let row = mox_server::encode_credentials(&user);
    block_on(server.node.set_credentials("mox", row)).unwrap();
    let mut told = logged_in(&server);
    told.send(
        "n NOTIFY SET (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))\r\n",
    );
    assert_eq!(told.line(), "n OK NOTIFY completed");
    let mut other = logged_in(&server);
    let mut does = |command: &str, tag: &str| {
        other.send(&format!("{command}\r\n"));
        while !other.line().starts_with(tag) {}
    };
    does("a APPEND INBOX {14+}\r\nSubject: x\r\n\r\n", "a OK ");
    let line = told.line();
    assert!(line.starts_with("* STATUS INBOX (UIDVALIDITY "), "{line}");
    assert!(
        line.contains(" UIDNEXT 2 MESSAGES 1 HIGHESTMODSEQ "),
        "{line}"
    );
    does("b CREATE Work", "b OK ");
    assert_eq!(told.line(), "* LIST (\\HasNoChildren) \"/\" Work");
    does("c RENAME Work Play", "c OK ");
    assert_eq!(
        told.line(),
        "* LIST (\\HasNoChildren) \"/\" Play (\"OLDNAME\" (Work))"
    );
    does("d SUBSCRIBE Play", "d OK ");
    assert_eq!(
        told.line(),
        "* LIST (\\HasNoChildren \\Subscribed) \"/\" Play"
    );
    does("e SELECT INBOX", "e OK ");
    does("f STORE 1 +FLAGS.SILENT (\\Seen)", "f OK ");
    let flagged = told.line();
    assert!(
        flagged.contains(" UIDNEXT 2 MESSAGES 1 HIGHESTMODSEQ "),
        "{flagged}"
    );
    assert_ne!(flagged, line);
    does("u UNSELECT", "u OK ");
    // The one that is selected is told of in its own way, between commands too.
    told.send("o SELECT INBOX\r\n");
    while !told.line().starts_with("o OK ") {}
    told.send("p NOTIFY SET (selected (MessageNew (UID BODY.PEEK[]) MessageExpunge))\r\n");
    assert_eq!(told.line(), "p OK NOTIFY completed");
    does("g APPEND INBOX {14+}\r\nSubject: y\r\n\r\n", "g OK ");
    for line in [
        "* 2 EXISTS",
        "* 1 RECENT",
        "* 2 FETCH (UID 2 BODY[] {14}",
        "Subject: y",
        "",
        ")",
    ] {
        assert_eq!(told.line(), line);
    }
    server.stop();
}
