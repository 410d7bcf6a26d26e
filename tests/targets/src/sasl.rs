//! SASL messages of both sides.

use mox_machine::{Secret, Seed};
use mox_sasl::{ClientExchange, Credentials, Failure, Iterations, Mechanism, ServerExchange, Step};

use crate::source::Source;

/// EXTERNAL comes last: it has no password.
const MECHANISMS: [&[u8]; 8] = [
    b"PLAIN",
    b"LOGIN",
    b"SCRAM-SHA-256",
    b"SCRAM-SHA-1",
    b"SCRAM-SHA-256-PLUS",
    b"SCRAM-SHA-1-PLUS",
    b"CRAM-MD5",
    b"EXTERNAL",
];
const WORDS: &[&[u8]] = &[
    b"n,,",
    b"y,,",
    b"p=tls-exporter,,",
    b"n=user",
    b",r=",
    b"abc",
    b",",
    b"c=biws",
    b",p=",
    b"\0",
    b"user",
    b"\0user\0hunter2",
    b"a=other",
    b"=2C",
    b"=3D",
    b"=",
    b"m=x",
    b"AAAA",
    b"e=other-error",
    b",s=",
    b",i=1",
    b"r=abc",
    b"\xff",
];

fn stored() -> Credentials {
    derive("correct horse").unwrap()
}

fn derive(password: &str) -> Result<Credentials, Failure> {
    Credentials::derive(password, &Seed::from_number(1), Iterations::ONE)
        .and_then(|credentials| credentials.with_cram_md5(password))
}

/// Whatever a client says who does not know the password, it does not get in, and an end is an end.
pub fn server(data: &[u8]) {
    let mut source = Source::new(data);
    let mechanism = Mechanism::parse(source.pick(&MECHANISMS)).unwrap();
    let exporter = (source.one_in(2)).then_some([7; 32]);
    let mut server = ServerExchange::new(mechanism, &Seed::from_number(2), exporter);
    let stored = stored();
    let mut over = false;
    for _ in 0..8 {
        let said = source.text(WORDS);
        let said = (!source.one_in(8)).then_some(&said[..]);
        let mut step = server.step(said);
        if let Step::NeedCredentials { user } = &step {
            assert!(!user.is_empty() && !user.contains('\0'));
            step = server.credentials(&stored);
        }
        assert!(!format!("{server:?}").contains("hunter2"), "R9");
        match step {
            Step::Done { .. } => panic!("without the password"),
            Step::Challenge(_) => assert!(!over, "it went on after its end"),
            Step::Fail(_) => over = true,
            Step::NeedCredentials { .. } => panic!("twice"),
        }
    }
}

/// A client with the right password gets in and one with another does not, through any mechanism.
pub fn exchange(data: &[u8]) {
    let mut source = Source::new(data);
    let [passwords @ .., _external] = &MECHANISMS;
    let mechanism = Mechanism::parse(source.pick(passwords)).unwrap();
    let exporter = mechanism.is_bound().then_some([7; 32]);
    let right = source.one_in(2);
    let flip = source.octet();
    let user = String::from_utf8_lossy(source.octets(40)).into_owned();
    let password = String::from_utf8_lossy(source.octets(40)).into_owned();
    let Ok(stored) = derive(&password) else {
        return;
    };
    let typed = if right {
        password
    } else {
        format!("{password}x")
    };
    let client = ClientExchange::new(
        mechanism,
        &user,
        &Secret::new(typed),
        &Seed::from_number(3),
        exporter,
        1..=1,
    );
    let Ok(mut client) = client else { return };
    let mut server = ServerExchange::new(mechanism, &Seed::from_number(2), exporter);
    let first = client.first();
    let mut step = server.step(first.as_ref().map(|first| &first.expose()[..]));
    let mut tampered = false;
    for round in 0.. {
        assert!(round < 6, "it does not end");
        step = match step {
            Step::Challenge(challenge) => {
                // Somebody in between changes one octet.
                let mut challenge = challenge.to_vec();
                if flip % 8 == round && !challenge.is_empty() {
                    let at = source.below(challenge.len());
                    challenge[at] ^= 1 << (flip >> 5);
                    tampered = !mechanism.sends_password();
                }
                match client.step(&challenge) {
                    Ok(response) => server.step(Some(response.expose())),
                    Err(_) => {
                        assert!(!right || tampered, "the right password was given up");
                        return;
                    }
                }
            }
            Step::NeedCredentials { .. } => server.credentials(&stored),
            Step::Done { .. } => {
                assert!(right, "with a wrong password");
                assert!(client.finish().is_ok() || tampered);
                return;
            }
            Step::Fail(_) => {
                assert!(!right || tampered, "the right password was refused");
                return;
            }
        }
    }
}
