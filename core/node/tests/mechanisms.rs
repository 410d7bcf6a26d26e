//! Logging in with each mechanism, and what somebody learns who tries names with one of them.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod world;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_lite::future::block_on;
use mox_machine::{Secret, Seed};
use mox_node::{Offers, Service};
use mox_sasl::{ClientExchange, Credentials, ITERATIONS_ACCEPTED, Iterations, Mechanism};
use world::{Client, Server, World};

const USER: &str = "mox@localhost";
/// -PLUS is for TLS, which there is none of here.
const MECHANISMS: [Mechanism; 5] = [
    Mechanism::ScramSha256,
    Mechanism::ScramSha1,
    Mechanism::CramMd5,
    Mechanism::Plain,
    Mechanism::Login,
];

fn offering(mechanisms: &[Mechanism]) -> World {
    let mut world = World::new(0);
    world.offers = Offers {
        mechanisms: mechanisms.into(),
        ..Offers::default()
    };
    world
}

fn set_password(server: &Server, cram_md5: bool) {
    let derived = Credentials::derive("secret", &Seed::from_number(4), Iterations::default());
    let mut credentials = derived.unwrap();
    if cram_md5 {
        credentials = credentials.with_cram_md5("secret").unwrap();
    }
    let row = mox_server::encode_credentials(&credentials);
    block_on(server.node.set_credentials("mox", row)).unwrap();
}

/// The last line of the server, and how many came before it.
fn log_in(client: &mut Client, imap: bool, mechanism: Mechanism, user: &str) -> (String, usize) {
    let password = Secret::new("secret".to_owned());
    let seed = Seed::from_number(5);
    let mut exchange =
        ClientExchange::new(mechanism, user, &password, &seed, None, ITERATIONS_ACCEPTED).unwrap();
    let begin = match imap {
        true => "a AUTHENTICATE",
        false => "AUTH",
    };
    client.send(&format!("{begin} {mechanism}\r\n"));
    for steps in 0.. {
        let line = client.line();
        let Some(challenge) = line.strip_prefix("334").or_else(|| line.strip_prefix('+')) else {
            return (line, steps);
        };
        let challenge = STANDARD.decode(challenge.trim()).unwrap();
        let response = match exchange.step(&challenge) {
            Ok(response) => STANDARD.encode(response.expose()),
            // It is told why not, and answers with nothing.
            Err(_) => String::new(),
        };
        client.send(&format!("{response}\r\n"));
    }
    unreachable!("lines without end")
}

#[test]
fn each_mechanism_lets_the_user_in_by_smtp_and_imap() {
    let server = offering(&MECHANISMS).start();
    set_password(&server, true);
    for mechanism in MECHANISMS {
        let mut client = server.smtp(Service::Submission);
        let (line, _) = log_in(&mut client, false, mechanism, USER);
        assert!(line.starts_with("235 "), "{mechanism}: {line}");
        let mut client = server.connect(Service::Imap);
        let greeting = client.line();
        let offered = format!("AUTH={mechanism}");
        assert!(greeting.contains(&offered), "{mechanism}: {greeting}");
        let (line, _) = log_in(&mut client, true, mechanism, USER);
        assert!(line.starts_with("a OK "), "{mechanism}: {line}");
    }
    server.stop();
}

#[test]
fn what_is_not_listed_is_neither_offered_nor_taken() {
    let server = offering(&[Mechanism::ScramSha256]).start();
    set_password(&server, true);
    for mechanism in MECHANISMS {
        let mut client = server.smtp(Service::Submission);
        let (smtp, _) = log_in(&mut client, false, mechanism, USER);
        let mut client = server.connect(Service::Imap);
        let greeting = client.line();
        let (imap, _) = log_in(&mut client, true, mechanism, USER);
        let listed = mechanism == Mechanism::ScramSha256;
        assert_eq!(greeting.contains(&format!("AUTH={mechanism}")), listed);
        assert_eq!(smtp.starts_with("235 "), listed, "{smtp}");
        assert_eq!(imap.starts_with("a OK "), listed, "{imap}");
        assert_eq!(smtp.starts_with("504 5.5.4 "), !listed, "{smtp}");
        assert_eq!(imap.starts_with("a NO [CANNOT] "), !listed, "{imap}");
    }
    server.stop();
}

/// The row of a password that was set before CRAM-MD5 was offered has nothing for it.
#[test]
fn who_has_nothing_for_cram_md5_looks_like_who_does_not_exist() {
    let server = offering(&MECHANISMS).start();
    set_password(&server, false);
    let tell = |mechanism, user| {
        let mut client = server.smtp(Service::Submission);
        log_in(&mut client, false, mechanism, user)
    };
    let refused = ("535 5.7.8 authentication failed".to_owned(), 1);
    for user in [USER, "nobody@localhost", "who@elsewhere.example"] {
        assert_eq!(tell(Mechanism::CramMd5, user), refused);
    }
    // Everything else goes on as before.
    for mechanism in MECHANISMS {
        let wanted = match mechanism {
            Mechanism::CramMd5 => "535 ",
            _ => "235 ",
        };
        let (line, _) = tell(mechanism, USER);
        assert!(line.starts_with(wanted), "{mechanism}: {line}");
    }
    server.stop();
}

#[test]
fn scram_sha_1_tells_no_more_of_an_unknown_user_than_of_one_with_another_password() {
    let server = offering(&MECHANISMS).start();
    let other = Credentials::derive("other", &Seed::from_number(4), Iterations::default());
    let row = mox_server::encode_credentials(&other.unwrap());
    block_on(server.node.set_credentials("mox", row)).unwrap();
    for mechanism in MECHANISMS {
        let seen = [USER, "nobody@localhost"].map(|user| {
            let mut client = server.smtp(Service::Submission);
            log_in(&mut client, false, mechanism, user)
        });
        assert_eq!(seen[0], seen[1], "{mechanism}");
        assert!(seen[0].0.starts_with("535 5.7.8 "), "{mechanism}");
    }
    server.stop();
}
