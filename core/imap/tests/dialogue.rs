//! Dialogues with the server machine: exact bytes, whole, byte by byte and at every cut.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::new_without_default,
    reason = "tests"
)]

mod model;

use bytes::Bytes;
use model::{Client, FIRST, PASSWORD, World};
use mox_imap::server::{Answer, Ask, CloseReason, Config, Event, Limits, Refusal};
use mox_machine::{Mono, Session, Step, TlsFacts};
use mox_uids::UidSet;
use std::time::Duration;

const CAPABILITIES: &str = "IMAP4rev1 IMAP4rev2 LITERAL+ ENABLE ID IDLE NAMESPACE UNSELECT UIDPLUS MOVE CHILDREN \
    LIST-EXTENDED LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE ESEARCH SEARCHRES WITHIN CONDSTORE QRESYNC STATUS=SIZE \
    BINARY UTF8=ACCEPT MULTIAPPEND CATENATE REPLACE PREVIEW SAVEDATE OBJECTID UIDONLY INPROGRESS UNAUTHENTICATE \
    APPENDLIMIT=104857600 SORT SORT=DISPLAY ESORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES PARTIAL CONTEXT=SEARCH \
    CONTEXT=SORT QUOTA QUOTA=RES-STORAGE METADATA \
    MULTISEARCH NOTIFY";

/// Plays `input` whole, byte by byte and at every cut: the same output and the same world each time.
fn everywhere(setup: impl Fn() -> (World, Client), input: &[u8]) -> String {
    let (mut world, mut client) = setup();
    let whole = client.feed(&mut world, [input]);
    let bytes = {
        let (mut world, mut client) = setup();
        client.feed(&mut world, input.chunks(1))
    };
    assert_eq!(bytes, whole, "byte by byte");
    for cut in 1..input.len() {
        let (mut world2, mut client) = setup();
        let (a, b) = input.split_at(cut);
        assert_eq!(client.feed(&mut world2, [a, b]), whole, "cut at {cut}");
        assert_eq!(format!("{world2:?}"), format!("{world:?}"));
    }
    whole
}

fn logged_in() -> (World, Client) {
    let mut world = World::new();
    let client = Client::selected(&mut world);
    (world, client)
}

#[test]
fn a_session_from_greeting_to_logout() {
    let password = PASSWORD.replace('\\', "\\\\").replace('"', "\\\"");
    let input = format!("a CAPABILITY\r\nb LOGIN joe \"{password}\"\r\nc NOOP\r\nd LOGOUT\r\n");
    let setup = || (World::new(), Client::new());
    let output = everywhere(setup, input.as_bytes());
    let before = format!("{CAPABILITIES} SASL-IR AUTH=SCRAM-SHA-256 AUTH=PLAIN");
    assert_eq!(
        output,
        format!(
            "* OK [CAPABILITY {before}] mox ready\r\n* CAPABILITY {before}\r\na OK CAPABILITY completed\r\n\
             b OK [CAPABILITY {CAPABILITIES}] LOGIN completed\r\nc OK NOOP completed\r\n\
             * BYE logging out\r\nd OK LOGOUT completed\r\n"
        )
    );
}

#[test]
fn sasl_runs_with_and_without_an_initial_response() {
    let setup = || (World::new(), Client::new());
    let output = everywhere(setup, b"a AUTHENTICATE plain\r\nAHUAcA==\r\n");
    assert!(output.contains("\r\n+ \r\na OK [CAPABILITY "), "{output}");
    let output = everywhere(
        setup,
        b"a AUTHENTICATE PLAIN\r\n*\r\nb AUTHENTICATE PLAIN !\r\nc AUTHENTICATE PLAIN AA==\r\n",
    );
    assert!(
        output.ends_with("a BAD cancelled\r\nb BAD the response is not base64\r\nc NO [AUTHENTICATIONFAILED] wrong\r\n"),
        "{output}"
    );
    let output = everywhere(setup, b"a AUTHENTICATE FOO\r\nb LOGIN x y\r\n");
    assert!(output.ends_with("a NO [CANNOT] there is no such mechanism\r\nb NO [AUTHENTICATIONFAILED] wrong??* BYE injected\r\n"));
}

#[test]
fn too_many_failed_logins_end_the_session() {
    let (mut world, mut client) = (World::new(), Client::new());
    let output = client.say(&mut world, "a LOGIN x y\r\n".repeat(9));
    assert_eq!(output.matches("AUTHENTICATIONFAILED").count(), 5);
    assert!(client.closed && output.ends_with("* BYE too many failed logins\r\n"));
}

#[test]
fn passwords_wait_for_tls() {
    let (mut world, mut client) = (
        World::new(),
        Client::with(Config {
            starttls: true,
            ..Config::default()
        }),
    );
    let output = client.say(
        &mut world,
        "a LOGIN x y\r\nb AUTHENTICATE PLAIN AHUAcA==\r\nc CAPABILITY\r\n",
    );
    assert!(
        output.contains("STARTTLS AUTH=SCRAM-SHA-256 LOGINDISABLED]"),
        "{output}"
    );
    assert!(output.contains("a NO [PRIVACYREQUIRED]") && output.contains("b NO [PRIVACYREQUIRED]"));
    let output = client.say(&mut world, "d STARTTLS\r\n");
    assert_eq!(output, "d OK STARTTLS completed\r\n");
    assert!(client.upgrade && !client.session.wants_read());
    client.secure();
    let output = client.say(
        &mut world,
        "e STARTTLS\r\nf CAPABILITY\r\ng AUTHENTICATE PLAIN AHUAcA==\r\n",
    );
    assert!(
        output.contains("e BAD TLS is active already\r\n") && output.contains("g OK [CAPABILITY"),
        "{output}"
    );
    assert!(!output.contains("STARTTLS AUTH") && !output.contains("LOGINDISABLED"));
}

#[test]
fn external_is_for_clients_whose_certificate_was_verified() {
    let config = Config {
        mechanisms: ["EXTERNAL", "PLAIN"].map(Into::into).into(),
        ..Config::default()
    };
    for certificate in [None, Some(Bytes::from_static(b"DER"))] {
        let (mut world, mut client) = (World::new(), Client::with(config.clone()));
        let facts = TlsFacts {
            peer_certificate: certificate.clone(),
            ..TlsFacts::default()
        };
        client.session.secured(client.now, facts);
        let output = client.say(&mut world, "a AUTHENTICATE EXTERNAL =\r\n");
        let offered = output.contains(" AUTH=EXTERNAL AUTH=PLAIN]");
        assert_eq!(offered, certificate.is_some(), "{output}");
        let refused = "\r\na NO [CANNOT] this mechanism needs a client certificate\r\n";
        assert_eq!(output.ends_with(refused), certificate.is_none(), "{output}");
        assert_eq!(output.contains("a OK [CAPABILITY"), certificate.is_some());
    }
}

#[test]
fn bytes_behind_starttls_are_never_obeyed() {
    let (mut world, mut client) = (
        World::new(),
        Client::with(Config {
            starttls: true,
            ..Config::default()
        }),
    );
    let output = client.say(&mut world, "a STARTTLS\r\nb NOOP\r\n");
    assert!(
        output.ends_with("a BAD data after STARTTLS\r\n* BYE data after STARTTLS\r\n"),
        "{output}"
    );
    assert!(client.closed && !client.upgrade);
}

#[test]
fn an_implicit_tls_session_greets_as_one() {
    let (mut world, mut client) = (
        World::new(),
        Client::with(Config {
            starttls: true,
            ..Config::default()
        }),
    );
    client.session.secured(client.now, TlsFacts::default());
    let output = client.say(&mut world, "");
    assert!(
        output.starts_with("* OK [CAPABILITY ")
            && output.contains("AUTH=PLAIN")
            && !output.contains("STARTTLS")
    );
}

#[test]
fn commands_have_their_states() {
    let setup = || (World::new(), Client::new());
    let output = everywhere(
        setup,
        b"a NOOP\r\nb SELECT INBOX\r\nc FETCH 1 FLAGS\r\nd APPEND INBOX {5}\r\n",
    );
    for tag in ["b", "c", "d"] {
        assert!(
            output.contains(&format!(
                "{tag} BAD this command is not allowed in this state\r\n"
            )),
            "{output}"
        );
    }
    assert!(!output.contains("\r\n+ "));
    let output = everywhere(
        logged_in,
        b"a LOGIN x y\r\nb AUTHENTICATE PLAIN\r\nc STARTTLS\r\nd UNSELECT\r\ne CHECK\r\nf FOO\r\n",
    );
    assert_eq!(
        output
            .matches(" BAD this command is not allowed in this state\r\n")
            .count(),
        4,
        "{output}"
    );
    assert!(output.ends_with("f BAD there is no such command\r\n"));
}

#[test]
fn select_tells_all_that_rfc_3501_demands() {
    let setup = || {
        let mut world = World::new();
        assert!(world.flag("INBOX", 1, 1));
        assert!(world.expunge("INBOX", 2));
        let mut client = Client::new();
        client.say(&mut world, "l AUTHENTICATE PLAIN AHUAcA==\r\n");
        client.output.clear();
        (world, client)
    };
    let select = |code: &str, permanent: &str, name: &str| {
        format!(
            "* 2 EXISTS\r\n* 0 RECENT\r\n* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft)\r\n\
             * OK [PERMANENTFLAGS ({permanent})] what may be stored\r\n* OK [UNSEEN 2] the first message without \\Seen\r\n\
             * OK [UIDVALIDITY 7] UIDs are valid\r\n* OK [UIDNEXT 4] the next UID\r\n* OK [HIGHESTMODSEQ 6] the last change\r\n\
             * OK [MAILBOXID (b1)] its identifier\r\n{code} {name} completed\r\n"
        )
    };
    let all = "\\Seen \\Answered \\Flagged \\Deleted \\Draft \\*";
    let output = everywhere(
        setup,
        b"a SELECT inbox\r\nb EXAMINE INBOX\r\nc STORE 1 FLAGS ()\r\nd SELECT nobox\r\ne CHECK\r\n",
    );
    assert_eq!(
        output,
        select("a OK [READ-WRITE]", all, "SELECT")
            + "* OK [CLOSED] the mailbox before is closed\r\n"
            + &select("b OK [READ-ONLY]", "", "EXAMINE")
            + "c NO the mailbox is read-only\r\n* OK [CLOSED] the mailbox before is closed\r\n\
               d NO [NONEXISTENT] no such mailbox\r\ne BAD this command is not allowed in this state\r\n"
    );
}

#[test]
fn fetch_shows_every_item() {
    let output = everywhere(logged_in, b"a FETCH 1 FULL\r\n");
    let nil = "NIL \"one two\" NIL NIL NIL NIL NIL NIL NIL NIL";
    let body = r#"("text" "plain" ("CHARSET" "US-ASCII") NIL NIL "7bit" 8 1)"#;
    assert_eq!(
        output,
        format!(
            "* 1 FETCH (FLAGS () INTERNALDATE \" 2-Jan-2026 03:04:05 +0000\" RFC822.SIZE {} ENVELOPE ({nil}) BODY {body})\r\n\
             a OK FETCH completed\r\n",
            FIRST.len()
        )
    );
    let output = everywhere(logged_in, b"a UID FETCH 1,3,9 (BODYSTRUCTURE MODSEQ)\r\n");
    assert!(output.contains("NIL NIL NIL NIL)"), "{output}");
    assert!(output.contains("* 3 FETCH (UID 3 BODYSTRUCTURE ("));
    assert!(output.contains(" MODSEQ (4))\r\na OK UID FETCH completed\r\n"));
}

#[test]
fn sections_and_partials_are_cut_to_the_octet() {
    let input = b"a FETCH 1 (BODY.PEEK[]<0.4> BODY.PEEK[HEADER.FIELDS (subject)] BODY.PEEK[TEXT]<6.100> BODY.PEEK[1] BODY.PEEK[]<9000.1> \
        BODY.PEEK[2] BODY.PEEK[HEADER]<0.5> RFC822.HEADER)\r\n";
    let output = everywhere(logged_in, input);
    let header = FIRST.split_inclusive("\r\n\r\n").next().unwrap();
    assert_eq!(
        output,
        format!(
            "* 1 FETCH (BODY[]<0> {{4}}\r\nFrom BODY[HEADER.FIELDS (subject)] {{22}}\r\nSubject: one\r\n two\r\n\r\n \
             BODY[TEXT]<6> {{2}}\r\n\r\n BODY[1] {{8}}\r\nHello.\r\n BODY[]<9000> \"\" BODY[2] NIL BODY[HEADER]<0> {{5}}\r\nFrom: \
             RFC822.HEADER {{{}}}\r\n{header})\r\na OK FETCH completed\r\n",
            header.len()
        )
    );
}

#[test]
fn headers_are_listed_without_opening_a_body() {
    let (mut world, mut client) = logged_in();
    client.asks.clear();
    client.say(&mut world, "a FETCH 1:3 (ENVELOPE BODYSTRUCTURE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (From)] RFC822.HEADER)\r\n");
    assert_eq!(client.asks, ["Rows", "Rows"]);
}

#[test]
fn opening_a_body_sets_seen_before_it_is_shown() {
    let (mut world, mut client) = logged_in();
    client.asks.clear();
    let output = client.say(&mut world, "a FETCH 2:3 BODY[TEXT]\r\n");
    assert_eq!(
        output,
        "* 2 FETCH (FLAGS (\\Seen) BODY[TEXT] {8}\r\nbody 2\r\n)\r\n* 3 FETCH (FLAGS (\\Seen) BODY[TEXT] {8}\r\nbody 3\r\n)\r\n\
         a OK FETCH completed\r\n"
    );
    assert_eq!(client.asks[..2], ["Rows", "Mark"]);
    assert_eq!(
        client.say(&mut world, "b FETCH 2 (RFC822.TEXT FLAGS)\r\n"),
        "* 2 FETCH (RFC822.TEXT {8}\r\nbody 2\r\n FLAGS (\\Seen))\r\nb OK FETCH completed\r\n"
    );
    let output = client.say(&mut world, "c EXAMINE INBOX\r\nd FETCH 1 BODY[TEXT]\r\n");
    assert!(
        output.ends_with("* 1 FETCH (BODY[TEXT] {8}\r\nHello.\r\n)\r\nd OK FETCH completed\r\n"),
        "{output}"
    );
}

#[test]
fn a_large_body_comes_in_ranges_and_only_as_fast_as_it_is_taken() {
    let mut world = World::new();
    let body = "0123456789abcdef".repeat(16 * 1024);
    world.deliver("INBOX", format!("A: b\r\n\r\n{body}").into_bytes(), 1);
    let mut client = Client::selected(&mut world);
    client.asks.clear();
    let output = client.say(&mut world, "a UID FETCH 4 BODY[TEXT]\r\n");
    assert_eq!(
        output,
        format!(
            "* 4 FETCH (UID 4 BODY[TEXT] {{{}}}\r\n{body})\r\na OK UID FETCH completed\r\n",
            body.len()
        )
    );
    assert_eq!(client.asks, ["Rows", "Body", "Body", "Body", "Body"]);
}

#[test]
fn wrong_numbers_are_bad_and_unknown_uids_are_nothing() {
    let output = everywhere(logged_in, b"a FETCH 4 FLAGS\r\nb UID FETCH 4 FLAGS\r\nc FETCH 2:* UID\r\nd COPY 9 x\r\ne UID COPY 9 x\r\n");
    assert_eq!(
        output,
        "a BAD there is no message with that number\r\nb OK UID FETCH completed\r\n\
         * 2 FETCH (UID 2)\r\n* 3 FETCH (UID 3)\r\nc OK FETCH completed\r\nd BAD there is no message with that number\r\n\
         e OK UID COPY completed\r\n"
    );
}

#[test]
fn store_tells_the_flags_of_every_message_unless_silent() {
    let output = everywhere(
        logged_in,
        b"a STORE 1:2 +FLAGS (\\Seen work)\r\nb STORE 1:3 +FLAGS \\Seen\r\nc UID STORE 1 -FLAGS.SILENT (\\Seen)\r\nd STORE 1 FLAGS (\\Foo)\r\ne NOOP\r\n",
    );
    assert_eq!(
        output,
        "* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft work)\r\n\
         * OK [PERMANENTFLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft work \\*)] what may be stored\r\n\
         * 1 FETCH (FLAGS (\\Seen work))\r\n* 2 FETCH (FLAGS (\\Seen work))\r\na OK STORE completed\r\n\
         * 3 FETCH (FLAGS (\\Seen))\r\n* 1 FETCH (FLAGS (\\Seen work))\r\n* 2 FETCH (FLAGS (\\Seen work))\r\nb OK STORE completed\r\n\
         c OK UID STORE completed\r\nd NO there is no such system flag\r\ne OK NOOP completed\r\n"
    );
}

#[test]
fn conditional_store_and_changed_since() {
    let (mut world, mut client) = logged_in();
    let output = client.say(&mut world, "a STORE 1,3 (UNCHANGEDSINCE 3) +FLAGS (\\Flagged)\r\nb FETCH 1:* FLAGS (CHANGEDSINCE 4)\r\n");
    assert_eq!(
        output,
        "* OK [HIGHESTMODSEQ 4] the last change\r\n* 1 FETCH (UID 1 FLAGS (\\Flagged) MODSEQ (5))\r\na OK [MODIFIED 3] STORE completed\r\n\
         * 1 FETCH (FLAGS (\\Flagged) MODSEQ (5))\r\nb OK FETCH completed\r\n"
    );
}

#[test]
fn store_asks_for_what_the_world_did_not_tell_at_once() {
    let (mut world, mut client) = logged_in();
    world.told_max = Some(1);
    let output = client.say(&mut world, "a STORE 1:3 +FLAGS (\\Seen work)\r\nb NOOP\r\n");
    assert_eq!(
        output,
        "* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft work)\r\n\
         * OK [PERMANENTFLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft work \\*)] what may be stored\r\n\
         * 1 FETCH (FLAGS (\\Seen work))\r\n* 2 FETCH (FLAGS (\\Seen work))\r\n* 3 FETCH (FLAGS (\\Seen work))\r\n\
         a OK STORE completed\r\nb OK NOOP completed\r\n"
    );
    // Our own silent change is not echoed, told at once or not; with CONDSTORE each has its MODSEQ.
    let output = client.say(
        &mut world,
        "c STORE 1:3 -FLAGS.SILENT (\\Seen)\r\nd NOOP\r\n",
    );
    assert_eq!(output, "c OK STORE completed\r\nd OK NOOP completed\r\n");
    let input = "e ENABLE CONDSTORE\r\nf STORE 1:3 +FLAGS.SILENT (\\Seen)\r\ng NOOP\r\n";
    let output = client.say(&mut world, input);
    let (_, output) = output.split_once("e OK ENABLE completed\r\n").unwrap();
    assert_eq!(
        output,
        "* 1 FETCH (UID 1 MODSEQ (7))\r\n* 2 FETCH (UID 2 MODSEQ (7))\r\n* 3 FETCH (UID 3 MODSEQ (7))\r\n\
         f OK STORE completed\r\ng OK NOOP completed\r\n"
    );
}

#[test]
fn expunge_counts_down_and_close_says_nothing() {
    let input = b"a STORE 1,3 +FLAGS.SILENT (\\Deleted)\r\nb UID EXPUNGE 2:3\r\nc EXPUNGE\r\nd FETCH 1:* UID\r\ne STORE 1 FLAGS.SILENT \\Deleted\r\nf CLOSE\r\ng STATUS INBOX (MESSAGES)\r\n";
    assert_eq!(
        everywhere(logged_in, input),
        "a OK STORE completed\r\n* 3 EXPUNGE\r\nb OK UID EXPUNGE completed\r\n* 1 EXPUNGE\r\nc OK EXPUNGE completed\r\n\
         * 1 FETCH (UID 2)\r\nd OK FETCH completed\r\ne OK STORE completed\r\nf OK CLOSE completed\r\n\
         * STATUS INBOX (MESSAGES 0)\r\ng OK STATUS completed\r\n"
    );
}

#[test]
fn copy_and_move_tell_the_new_uids() {
    let setup = || {
        let (mut world, client) = logged_in();
        world.create("Work", None);
        (world, client)
    };
    let input = b"a COPY 2:3 Work\r\nb MOVE 1:2 Work\r\nc UID MOVE 3 nobox\r\nd FETCH 1:* UID\r\ne UID COPY 3 inbox\r\n";
    assert_eq!(
        everywhere(setup, input),
        "a OK [COPYUID 7 2:3 1:2] COPY completed\r\n* OK [COPYUID 7 1:2 3:4] moved\r\n* 1 EXPUNGE\r\n* 1 EXPUNGE\r\nb OK MOVE completed\r\n\
         c NO [TRYCREATE] no such mailbox\r\n* 1 FETCH (UID 3)\r\nd OK FETCH completed\r\n\
         * 2 EXISTS\r\n* 2 FETCH (UID 4 FLAGS ())\r\ne OK [COPYUID 7 3 4] UID COPY completed\r\n"
    );
}

#[test]
fn a_command_without_effect_hides_no_change_of_another_session() {
    let (mut world, mut client) = logged_in();
    for (flags, command, reply) in [
        (
            4,
            "STORE 2 -FLAGS.SILENT (\\Draft)",
            "a OK STORE completed\r\n",
        ),
        (2, "EXPUNGE", "a OK EXPUNGE completed\r\n"),
    ] {
        // It is done before this session hears of the other's change.
        client.slow_watch = true;
        assert!(world.flag("INBOX", 3, flags));
        assert_eq!(client.say(&mut world, format!("a {command}\r\n")), reply);
        client.slow_watch = false;
        let flag = if flags == 4 {
            "\\Flagged"
        } else {
            "\\Answered"
        };
        assert_eq!(
            client.say(&mut world, "b NOOP\r\n"),
            format!("* 3 FETCH (UID 3 FLAGS ({flag}))\r\nb OK NOOP completed\r\n")
        );
    }
}

#[test]
fn what_another_session_changed_last_is_not_told_before_what_it_replaced() {
    let (mut world, mut client) = logged_in();
    client.say(&mut world, "a ENABLE CONDSTORE\r\n");
    // A keyword without a name yet makes this session ask for the changes in the middle of the command.
    client.before_changes = Some(|world| assert!(world.flag("INBOX", 2, 4)));
    let said = client.say(&mut world, "b STORE 2 +FLAGS (fresh)\r\n");
    let told = "* 2 FETCH (UID 2 FLAGS (\\Flagged fresh) MODSEQ (6))\r\n";
    let expected = format!(
        "* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft fresh)\r\n\
         * OK [PERMANENTFLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft fresh \\*)] what may be stored\r\n\
         {told}{told}b OK STORE completed\r\n"
    );
    assert_eq!(said, expected);
}

#[test]
fn search_answers_in_both_forms() {
    let input = b"a SEARCH ALL\r\nb UID SEARCH TEXT {6}\r\nbody 2\r\nc SEARCH SEEN\r\nd SEARCH RETURN (MIN MAX COUNT ALL) 2:*\r\n\
        e UID SEARCH RETURN () SEEN\r\nf SEARCH CHARSET KOI8-R ALL\r\ng SEARCH MODSEQ 1 ALL\r\nh SEARCH FOO\r\n";
    assert_eq!(
        everywhere(logged_in, input),
        "* SEARCH 1 2 3\r\na OK SEARCH completed\r\n+ go ahead\r\n* SEARCH 2\r\nb OK UID SEARCH completed\r\n* SEARCH\r\nc OK SEARCH completed\r\n\
         * ESEARCH (TAG \"d\") MIN 2 MAX 3 ALL 2:3 COUNT 2\r\nd OK SEARCH completed\r\n* ESEARCH (TAG \"e\") UID\r\ne OK UID SEARCH completed\r\n\
         f NO [BADCHARSET (US-ASCII UTF-8)] that charset is not known\r\n* OK [HIGHESTMODSEQ 4] the last change\r\n* SEARCH\r\ng OK SEARCH completed\r\nh BAD there is no such search key\r\n"
    );
}

#[test]
fn other_sessions_are_told_where_it_is_allowed() {
    let (mut world, mut client) = logged_in();
    assert!(world.expunge("INBOX", 2));
    world.deliver("INBOX", b"A: b\r\n\r\n".to_vec(), 16);
    assert!(world.flag("INBOX", 3, 4));
    // FETCH, STORE and SEARCH keep the numbers; the others may change them.
    let output = client.say(&mut world, "a FETCH 3 UID\r\n");
    assert_eq!(
        output,
        "* 3 FETCH (UID 3)\r\n* 3 FETCH (UID 3 FLAGS (\\Flagged))\r\n* 4 EXISTS\r\n* 4 FETCH (UID 4 FLAGS (\\Draft))\r\na OK FETCH completed\r\n"
    );
    assert_eq!(
        client.say(&mut world, "b FETCH 2:3 UID\r\n"),
        "* 3 FETCH (UID 3)\r\nb NO [EXPUNGEISSUED] some messages are expunged\r\n"
    );
    assert_eq!(
        client.say(&mut world, "c SEARCH ALL\r\n"),
        "* SEARCH 1 3 4\r\nc OK SEARCH completed\r\n"
    );
    assert_eq!(
        client.say(&mut world, "d UID SEARCH ALL\r\n"),
        "* SEARCH 1 3 4\r\n* 2 EXPUNGE\r\nd OK UID SEARCH completed\r\n"
    );
    assert_eq!(
        client.say(&mut world, "e SEARCH ALL\r\n"),
        "* SEARCH 1 2 3\r\ne OK SEARCH completed\r\n"
    );
    assert_eq!(
        client.say(&mut world, "f NOOP\r\n"),
        "f OK NOOP completed\r\n"
    );
}

#[test]
fn idle_tells_at_once_and_ends_with_done() {
    let (mut world, mut client) = logged_in();
    assert_eq!(client.say(&mut world, "a IDLE\r\n"), "+ idling\r\n");
    world.deliver("INBOX", b"A: b\r\n\r\n".to_vec(), 0);
    assert!(world.expunge("INBOX", 1));
    assert_eq!(
        client.say(&mut world, ""),
        "* 1 EXPUNGE\r\n* 3 EXISTS\r\n* 3 FETCH (UID 4 FLAGS ())\r\n"
    );
    assert_eq!(
        client.say(&mut world, "done\r\nb NOOP\r\n"),
        "a OK IDLE completed\r\nb OK NOOP completed\r\n"
    );
    assert_eq!(
        client.say(&mut world, "c IDLE\r\nDONE\r\nd IDLE\r\nNOOP\r\n"),
        "+ idling\r\nc OK IDLE completed\r\n+ idling\r\nd BAD DONE was expected\r\n"
    );
}

#[test]
fn the_deletion_of_the_selected_mailbox_is_answered_not_suffered() {
    let (mut world, mut client) = logged_in();
    world.mailboxes.remove("INBOX");
    let output = client.say(
        &mut world,
        "a NOOP\r\nb FETCH 1 FLAGS\r\nc CLOSE\r\nd CHECK\r\n",
    );
    assert_eq!(
        output,
        "a OK NOOP completed\r\nb NO [NONEXISTENT] the selected mailbox was deleted\r\nc OK CLOSE completed\r\nd BAD this command is not allowed in this state\r\n"
    );
}

#[test]
fn mailboxes_are_created_listed_and_counted() {
    let input = "a CREATE Work/\r\nb CREATE Work/Gr&APw-n (USE (\\sent))\r\nc CREATE inbox\r\nd CREATE a//b\r\ne SUBSCRIBE Work\r\nf SUBSCRIBE gone/deep\r\n\
        g LIST \"\" *\r\nh LIST \"\" %\r\ni LIST \"\" \"\"\r\nj LSUB \"\" %\r\nk LIST (SUBSCRIBED) \"\" * RETURN (CHILDREN)\r\n\
        l LIST \"\" (INBOX Work) RETURN (STATUS (MESSAGES SIZE))\r\nm STATUS inbox (UIDNEXT UNSEEN RECENT)\r\nn DELETE INBOX\r\no DELETE nobox\r\n\
        p LIST (SPECIAL-USE) \"\" *\r\nq LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %\r\nr UNSUBSCRIBE Work\r\ns NAMESPACE\r\nt RENAME Work Inbox\r\n";
    let size: usize = World::new().mailboxes["INBOX"]
        .messages
        .values()
        .map(|m| m.bytes.len())
        .sum();
    let output = everywhere(logged_in, input.as_bytes());
    let expected = format!(
        "a OK [MAILBOXID (b2)] CREATE completed\r\nb OK [MAILBOXID (b3)] CREATE completed\r\nc NO [ALREADYEXISTS] INBOX is always there\r\n\
         d NO [CANNOT] the mailbox name has an empty, . or .. level\r\ne OK SUBSCRIBE completed\r\nf OK SUBSCRIBE completed\r\n\
         * LIST (\\HasNoChildren) \"/\" INBOX\r\n* LIST (\\HasChildren) \"/\" Work\r\n* LIST (\\HasNoChildren \\Sent) \"/\" Work/Gr&APw-n\r\ng OK LIST completed\r\n\
         * LIST (\\HasNoChildren) \"/\" INBOX\r\n* LIST (\\HasChildren) \"/\" Work\r\nh OK LIST completed\r\n\
         * LIST (\\Noselect) \"/\" \"\"\r\ni OK LIST completed\r\n\
         * LSUB () \"/\" Work\r\n* LSUB (\\Noselect) \"/\" gone\r\nj OK LSUB completed\r\n\
         * LIST (\\HasChildren \\Subscribed) \"/\" Work\r\n* LIST (\\NonExistent \\Subscribed) \"/\" gone/deep\r\nk OK LIST completed\r\n\
         * LIST (\\HasNoChildren) \"/\" INBOX\r\n* STATUS INBOX (MESSAGES 3 SIZE {size})\r\n\
         * LIST (\\HasChildren) \"/\" Work\r\n* STATUS Work (MESSAGES 0 SIZE 0)\r\nl OK LIST completed\r\n\
         * STATUS INBOX (UIDNEXT 4 UNSEEN 3 RECENT 0)\r\nm OK STATUS completed\r\n\
         n NO [CANNOT] INBOX cannot be deleted\r\no NO [NONEXISTENT] no such mailbox\r\n\
         * LIST (\\HasNoChildren \\Sent) \"/\" Work/Gr&APw-n\r\np OK LIST completed\r\n\
         * LIST (\\HasChildren \\Subscribed) \"/\" Work\r\n\
         * LIST (\\NonExistent) \"/\" gone (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n\
         q OK LIST completed\r\nr OK UNSUBSCRIBE completed\r\n\
         * NAMESPACE ((\"\" \"/\")) NIL NIL\r\ns OK NAMESPACE completed\r\nt NO [ALREADYEXISTS] INBOX is always there\r\n"
    );
    assert_eq!(output, expected);
}

#[test]
fn an_append_streams_and_both_kinds_of_literal_work() {
    let input = b"a APPEND inbox (\\Seen) \" 7-Feb-1994 21:52:25 -0800\" {8}\r\nA: b\r\n\r\n\r\nb APPEND {5+}\r\nINBOX {9+}\r\nx LOGOUT\n\r\nc NOOP\r\n";
    let output = everywhere(logged_in, input);
    assert_eq!(
        output,
        "+ go ahead\r\n* 4 EXISTS\r\n* 4 FETCH (UID 4 FLAGS (\\Seen))\r\na OK [APPENDUID 7 4] APPEND completed\r\n\
         * 5 EXISTS\r\n* 5 FETCH (UID 5 FLAGS ())\r\nb OK [APPENDUID 7 5] APPEND completed\r\nc OK NOOP completed\r\n"
    );
    let (mut world, mut client) = logged_in();
    client.say(&mut world, input);
    assert_eq!(world.mailboxes["INBOX"].messages[&4].bytes, b"A: b\r\n\r\n");
    assert_eq!(world.mailboxes["INBOX"].messages[&5].bytes, b"x LOGOUT\n");
}

#[test]
fn a_large_append_is_taken_in_pieces_and_arrives_whole() {
    let message: Vec<u8> = (0..300_000u32).map(|n| b'a' + (n % 26) as u8).collect();
    for step in [1_000, 4_096, 100_000, 300_100] {
        let (mut world, mut client) = logged_in();
        let mut input = format!("a APPEND INBOX {{{}+}}\r\n", message.len()).into_bytes();
        input.extend_from_slice(&message);
        input.extend_from_slice(b"\r\n");
        let output = client.feed(&mut world, input.chunks(step));
        assert!(output.ends_with("a OK [APPENDUID 7 4] APPEND completed\r\n"));
        assert_eq!(world.mailboxes["INBOX"].messages[&4].bytes, message);
        assert!(client.asks.iter().filter(|a| *a == "Piece").count() < 80);
    }
}

#[test]
fn refused_appends_never_become_commands() {
    // The message of the issue that gave S1 its name: whatever is wrong, its bytes are only bytes.
    let evil = "x LOGOUT\r\ny LOGOUT {3+}\r\nz LOGOUT\r\n";
    for (head, answer) in [
        ("APPEND nobox", "NO [TRYCREATE] no such mailbox"),
        (
            "APPEND a//b",
            "NO [CANNOT] the mailbox name has an empty, . or .. level",
        ),
        ("APPEND INBOX (\\Foo)", "NO there is no such system flag"),
        ("APPEND INBOX junk", "BAD a message literal was expected"),
        ("APPEND INBOX \"x\"", "BAD a date is not well formed"),
        ("FOO", "BAD there is no such command"),
        ("NOOP", "BAD this command has no arguments"),
        ("LOGIN a", "BAD this command is not allowed in this state"),
        ("SELECT", "NO [NONEXISTENT] no such mailbox"),
        (
            "FETCH 1 BODY[HEADER.FIELDS (",
            "BAD a list of header fields was expected",
        ),
        ("SEARCH", "BAD there is no such search key"),
    ] {
        let input = format!("a {head} {{{}+}}\r\n{evil}\r\nb NOOP\r\n", evil.len());
        let output = everywhere(logged_in, input.as_bytes());
        assert!(
            !output.contains("LOGOUT") && !output.contains("BYE"),
            "{head}: {output}"
        );
        assert!(
            output.contains("a NO") || output.contains("a BAD"),
            "{head}: {output}"
        );
        assert!(
            output.ends_with("b OK NOOP completed\r\n"),
            "{head}: {output}"
        );
        if !matches!(head, "SELECT" | "SEARCH" | "NOOP") && !head.starts_with("FETCH") {
            assert!(
                output.contains(&format!("a {answer}\r\n")),
                "{head}: {output}"
            );
        }
        // A literal that waits is refused before its continuation; what follows is a new command.
        if head.starts_with("APPEND") || head == "FOO" || head.starts_with("LOGIN") {
            let input = format!("a {head} {{{}}}\r\nb NOOP\r\n", evil.len());
            let output = everywhere(logged_in, input.as_bytes());
            assert_eq!(output, format!("a {answer}\r\nb OK NOOP completed\r\n"));
        }
    }
}

#[test]
fn a_refused_append_is_discarded_to_its_last_octet() {
    let (mut world, mut client) = logged_in();
    client.refuse_append = Some(Refusal {
        code: Some("OVERQUOTA"),
        text: "full".into(),
    });
    let message = "x LOGOUT\r\n".repeat(50_000);
    let input = format!(
        "a APPEND INBOX {{{}+}}\r\n{message}\r\nb NOOP\r\n",
        message.len()
    );
    assert_eq!(
        client.feed(&mut world, input.as_bytes().chunks(999)),
        "a NO [OVERQUOTA] full\r\nb OK NOOP completed\r\n"
    );
    assert!(!client.asks.iter().any(|ask| ask == "Piece"));
}

#[test]
fn appends_that_break_off_are_dropped() {
    let (mut world, mut client) = logged_in();
    let output = client.say(&mut world, "a APPEND INBOX {3+}\r\nabc x {2+}\r\nxy\r\nb APPEND INBOX {3+}\r\na\0c\r\nc APPEND INBOX ~{3+}\r\na\0c\r\nd APPEND INBOX {0}\r\n");
    assert!(
        output.contains(
            "a BAD a message literal was expected\r\nb NO a message with NUL needs a literal8\r\n"
        ),
        "{output}"
    );
    assert!(
        output.contains("c OK [APPENDUID 7 4]")
            && output.ends_with("d NO there is no message in it\r\n")
    );
    assert_eq!(
        client
            .events
            .iter()
            .filter(|e| **e == Event::AppendDropped)
            .count(),
        2
    );
    client.say(&mut world, "e APPEND INBOX {9}\r\nabc");
    client.session.eof(client.now);
    client.run(&mut world);
    assert_eq!(
        client.events[client.events.len() - 3..],
        [
            Event::AppendDropped,
            Event::Unselected,
            Event::Closed(CloseReason::Eof)
        ]
    );
    assert!(client.closed);
    assert_eq!(world.mailboxes["INBOX"].messages.len(), 4);
}

#[test]
fn sizes_are_limited_before_anything_is_read() {
    let limits = Limits {
        append: 1_000,
        ..Limits::default()
    };
    let config = Config {
        clear_auth: true,
        limits,
        ..Config::default()
    };
    let (mut world, mut client) = (World::new(), Client::with(config));
    let output = client.say(&mut world, "a LOGIN {5000}\r\nb LOGIN {5000+}\r\n");
    assert!(
        output.ends_with("a NO [TOOBIG] the literal is too long\r\n"),
        "{output}"
    );
    let output = client.say(
        &mut world,
        "x".repeat(5_000) + "\r\nc AUTHENTICATE PLAIN AHUAcA==\r\nd APPEND INBOX {1001}\r\n",
    );
    assert!(
        output.starts_with("b NO [TOOBIG] the literal is too long\r\nc OK"),
        "{output}"
    );
    assert!(output.ends_with("d NO [TOOBIG] the message is too large\r\n"));
    let output = client.say(&mut world, "e APPEND INBOX {1001+}\r\nf NOOP\r\n");
    assert_eq!(output, "* BYE [TOOBIG] the line or literal is too long\r\n");
    assert!(
        client.closed
            && client
                .events
                .contains(&Event::Closed(CloseReason::Violation))
    );

    let (mut world, mut client) = (World::new(), Client::new());
    let output = client.say(&mut world, "x".repeat(9_000));
    assert!(
        client.closed && output.ends_with("* BYE [TOOBIG] the line or literal is too long\r\n")
    );
}

#[test]
fn who_does_not_speak_imap_is_sent_away() {
    let (mut world, mut client) = (World::new(), Client::new());
    let output = client.say(&mut world, "GET / HTTP/1.1\r\nHost: x\r\n");
    assert!(
        client.closed
            && output
                .ends_with("GET BAD there is no such command\r\n* BYE this is an IMAP server\r\n"),
        "{output}"
    );
    let (mut world, mut client) = logged_in();
    let output = client.say(&mut world, "a FOO\r\n".repeat(20));
    assert_eq!(output.matches("BAD").count(), 10);
    assert!(client.closed && output.ends_with("* BYE too many bad commands\r\n"));
    let (mut world, mut client) = logged_in();
    assert_eq!(
        client.say(&mut world, "a NOOP\nb NOOP\r\n\r\n"),
        "a BAD lines must end in CRLF and nothing else\r\nb OK NOOP completed\r\n* BAD a tag was expected\r\n"
    );
}

#[test]
fn time_runs_out_before_and_after_login() {
    let mut client = Client::new();
    let mut world = World::new();
    assert_eq!(client.session.deadline(), Some((Mono(0), "start")));
    client.session.tick(client.now);
    let (at, why) = client.session.deadline().unwrap();
    assert_eq!(
        (at, why),
        (client.now.mono + Duration::from_secs(180), "login")
    );
    client.now.mono = client.now.mono + Duration::from_secs(100);
    client.say(&mut world, "a NOOP\r\n");
    assert_eq!(
        client.session.deadline(),
        Some((at, why)),
        "commands do not prolong the time to log in"
    );
    client.now.mono = at;
    client.session.tick(client.now);
    assert_eq!(client.session.deadline(), None);
    let output = client.say(&mut world, "");
    assert!(client.closed && output.ends_with("* BYE nothing came for too long\r\n"));

    let (mut world, mut client) = logged_in();
    client.say(&mut world, "a IDLE\r\n");
    client.now.mono = client.now.mono + Duration::from_secs(1_799);
    client.say(&mut world, "DO");
    client.now.mono = client.now.mono + Duration::from_secs(1);
    client.session.tick(client.now);
    client.run(&mut world);
    assert!(
        client.events.contains(&Event::Closed(CloseReason::Timeout)),
        "half a line keeps nobody alive"
    );
}

#[test]
fn drain_says_bye_between_commands() {
    let (mut world, mut client) = logged_in();
    client.say(&mut world, "a IDLE\r\n");
    client.session.drain(client.now);
    assert_eq!(
        client.say(&mut world, ""),
        "* BYE the server is stopping\r\n"
    );
    assert!(client.closed);

    // A command that runs is answered first.
    let (mut world, mut client) = logged_in();
    client.input.extend_from_slice(b"a FETCH 1:3 UID\r\n");
    client.session.recv(client.now, &mut client.input);
    client.session.drain(client.now);
    let output = client.say(&mut world, "");
    assert!(
        output.ends_with(
            "* 3 FETCH (UID 3)\r\na OK FETCH completed\r\n* BYE the server is stopping\r\n"
        ),
        "{output}"
    );
}

#[test]
fn commands_sent_before_the_end_are_answered() {
    let (mut world, mut client) = logged_in();
    client
        .input
        .extend_from_slice(b"a FETCH 1:3 UID\r\nb NOOP\r\n");
    client.session.recv(client.now, &mut client.input);
    client.session.eof(client.now);
    let output = client.say(&mut world, "");
    assert!(
        output.ends_with("a OK FETCH completed\r\nb OK NOOP completed\r\n"),
        "{output}"
    );
    assert!(!client.closed);
    let (at, why) = client.session.deadline().unwrap();
    assert!(at <= client.now.mono && why == "eof");
    client.session.tick(client.now);
    client.run(&mut world);
    assert!(client.closed);
}

#[test]
fn id_and_enable_answer_what_they_know() {
    let output = everywhere(
        logged_in,
        b"a ID NIL\r\nb ENABLE foo condstore\r\nc ENABLE foo\r\nd ID (\"name\" \"x\")\r\n",
    );
    assert_eq!(
        output,
        "* ID (\"name\" \"mox\")\r\na OK ID completed\r\n* ENABLED CONDSTORE\r\n* OK [HIGHESTMODSEQ 4] the last change\r\nb OK ENABLE completed\r\n* ENABLED\r\nc OK ENABLE completed\r\n\
         * ID (\"name\" \"mox\")\r\nd OK ID completed\r\n"
    );
}

#[test]
fn a_long_fetch_is_asked_for_page_by_page_and_shows_every_message_once() {
    for page in [1, 2, 3, 7, 500] {
        let limits = Limits {
            page,
            ..Limits::default()
        };
        let mut world = World::new();
        for n in 4..=40 {
            world.deliver("INBOX", b"A: b\r\n\r\n".to_vec(), 0);
            if n % 3 == 0 {
                assert!(world.expunge("INBOX", n));
            }
        }
        let mut client = Client::with(Config {
            clear_auth: true,
            limits,
            ..Config::default()
        });
        client.page = 4;
        client.say(
            &mut world,
            "l AUTHENTICATE PLAIN AHUAcA==\r\ns SELECT INBOX\r\n",
        );
        let output = client.say(&mut world, "a FETCH 1:* UID\r\n");
        let uids: Vec<_> = world.mailboxes["INBOX"].messages.keys().collect();
        let lines = uids
            .iter()
            .enumerate()
            .map(|(i, uid)| format!("* {} FETCH (UID {uid})\r\n", i + 1));
        assert_eq!(
            output,
            lines.collect::<String>() + "a OK FETCH completed\r\n",
            "pages of {page}"
        );
    }
}

#[test]
fn a_command_that_takes_long_is_not_forgotten() {
    let (mut world, mut client) = logged_in();
    client.input.extend_from_slice(b"a SEARCH ALL\r\n");
    client.session.recv(client.now, &mut client.input);
    let mut asked = None;
    while let Some(step) = client.session.poll() {
        if let Step::Ask(id, Ask::Search { .. }) = step {
            asked = Some(id);
        }
    }
    for _ in 0..2 {
        let (at, why) = client.session.deadline().unwrap();
        assert_eq!(why, "progress");
        assert_eq!(at, client.now.mono + Duration::from_secs(10));
        client.now.mono = at;
        client.session.tick(client.now);
        let told = "* OK [INPROGRESS (\"a\" NIL NIL)] still at it\r\n";
        assert!(matches!(client.session.poll(), Some(Step::Send(sent)) if sent == told));
        assert!(client.session.poll().is_none());
    }
    let found = Answer::Found {
        uids: UidSet::new(),
        modseq: None,
    };
    client.session.answer(client.now, asked.unwrap(), found);
    client.run(&mut world);
    assert_eq!(client.text(), "* SEARCH\r\na OK SEARCH completed\r\n");
}

#[test]
fn without_a_quota_there_is_no_quota_root() {
    let mut world = World::new();
    world.unlimited = true;
    let mut client = Client::selected(&mut world);
    assert_eq!(
        client.say(&mut world, "a GETQUOTAROOT INBOX\r\nb GETQUOTA \"\"\r\n"),
        "* QUOTAROOT INBOX\r\na OK GETQUOTAROOT completed\r\n\
         b NO [NONEXISTENT] there is no such quota root\r\n"
    );
}

#[test]
fn the_end_of_notify_is_told_behind_a_response_that_is_half_written() {
    let mut world = World::new();
    let mut client = Client::selected(&mut world);
    client.say(&mut world, "a NOTIFY SET (personal (MailboxName))\r\n");
    client.refuse_observe = true;
    let told = client.say(&mut world, "b FETCH 2 (BODY.PEEK[TEXT])\r\n");
    assert_eq!(
        told,
        "* 2 FETCH (BODY[TEXT] {8}\r\nbody 2\r\n)\r\n\
         * OK [NOTIFICATIONOVERFLOW] mailboxes cannot be observed now, nothing is told any more\r\n\
         b OK FETCH completed\r\n"
    );
}

#[test]
fn where_all_keywords_are_given_no_other_is_promised() {
    let mut world = World::new();
    let mailbox = world.mailboxes.get_mut("INBOX").unwrap();
    mailbox.keywords = (0..63).map(|n| format!("k{n}")).collect();
    let mut client = Client::selected(&mut world);
    let told = client.say(
        &mut world,
        "a STORE 1 +FLAGS.SILENT (last)\r\nb SELECT INBOX\r\n",
    );
    assert!(told.contains(" k62 last)] what"), "{told}");
    let mailbox = world.mailboxes.get_mut("INBOX").unwrap();
    mailbox.keywords.truncate(63);
    let told = client.say(&mut world, "c SELECT INBOX\r\n");
    assert!(told.contains(" k62 \\*)] what"), "{told}");
}
