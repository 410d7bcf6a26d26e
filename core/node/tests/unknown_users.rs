//! What somebody learns who tries names.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod world;

use mox_node::Service;
use world::World;

/// The salt a server names for a user, as base64: SCRAM-SHA-256 with the client-first message `n,,n=<user>,r=abcdefghij`.
fn salt(server: &world::Server, client_first: &str) -> String {
    let mut client = server.smtp(Service::Submission);
    let challenge = client.ask(&format!("AUTH SCRAM-SHA-256 {client_first}"), "334 ");
    let message = decoded(challenge.strip_prefix("334 ").unwrap());
    let salt = message.split(',').find_map(|part| part.strip_prefix("s="));
    salt.unwrap().to_owned()
}

fn decoded(base64: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = base64.chars().filter_map(|c| ALPHABET.find(c));
    let mut bits = (0_u32, 0);
    let mut out = String::new();
    for digit in digits {
        bits = (bits.0 << 6 | u32::try_from(digit).unwrap(), bits.1 + 6);
        if bits.1 >= 8 {
            bits.1 -= 8;
            out.push(char::from(u8::try_from(bits.0 >> bits.1 & 0xff).unwrap()));
        }
    }
    out
}

#[test]
fn an_unknown_user_has_the_same_salt_in_every_spelling_and_after_a_restart() {
    // nobody@elsewhere.example, NoBody@Elsewhere.EXAMPLE, somebody@elsewhere.example
    let (user, spelled, other) = (
        "biwsbj1ub2JvZHlAZWxzZXdoZXJlLmV4YW1wbGUscj1hYmNkZWZnaGlq",
        "biwsbj1Ob0JvZHlARWxzZXdoZXJlLkVYQU1QTEUscj1hYmNkZWZnaGlq",
        "biwsbj1zb21lYm9keUBlbHNld2hlcmUuZXhhbXBsZSxyPWFiY2RlZmdoaWo=",
    );
    let mut world = World::new(0);
    let server = world.start();
    let before = salt(&server, user);
    assert!(!before.is_empty());
    assert_eq!(salt(&server, user), before);
    assert_eq!(salt(&server, spelled), before);
    assert_ne!(salt(&server, other), before);
    server.stop();
    // Another process has another seed.
    world.seed = 2;
    let server = world.start();
    assert_eq!(salt(&server, user), before);
    server.stop();
    // Another server has other salts.
    let mut world = World::new(0);
    world.seed = 3;
    let server = world.start();
    assert_ne!(salt(&server, user), before);
    server.stop();
}
