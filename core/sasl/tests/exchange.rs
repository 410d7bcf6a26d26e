#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_machine::{Secret, Seed};
use mox_sasl::{
    ClientExchange, Credentials, Failure, ITERATIONS_ACCEPTED, Iterations, Mechanism,
    ServerExchange, Step,
};
use proptest::prelude::*;

const EXPORTER: [u8; 32] = [7; 32];

fn stored(password: &str) -> Credentials {
    Credentials::derive(password, &Seed::from_number(1), Iterations::ONE)
        .and_then(|credentials| credentials.with_cram_md5(password))
        .unwrap()
}

fn server(mechanism: Mechanism) -> ServerExchange {
    ServerExchange::new(
        mechanism,
        &Seed::from_number(2),
        mechanism.is_bound().then_some(EXPORTER),
    )
}

fn client(mechanism: Mechanism, user: &str, password: &str) -> ClientExchange {
    ClientExchange::new(
        mechanism,
        user,
        &Secret::new(password.into()),
        &Seed::from_number(3),
        mechanism.is_bound().then_some(EXPORTER),
        1..=1,
    )
    .unwrap()
}

/// Runs both sides against each other; with or without an initial response.
fn run(
    mut client: ClientExchange,
    mut server: ServerExchange,
    stored: &Credentials,
    initial: bool,
) -> Result<String, Failure> {
    let mut response = if initial { client.first() } else { None };
    let mut step = server.step(response.as_ref().map(|r| &r.expose()[..]));
    for _ in 0..8 {
        step = match step {
            Step::Challenge(challenge) => {
                response = Some(client.step(&challenge)?);
                server.step(response.as_ref().map(|r| &r.expose()[..]))
            }
            Step::NeedCredentials { .. } => server.credentials(stored),
            Step::Done { user } => return client.finish().map(|()| user),
            Step::Fail(failure) => return Err(failure),
        };
    }
    panic!("the exchange does not end");
}

#[test]
fn every_mechanism_lets_the_right_password_in_and_the_wrong_one_not() {
    let keys = stored("pässword, with=all");
    for mechanism in passwords() {
        for initial in [true, false] {
            // The second spelling is decomposed: another way to type the same.
            for password in ["pässword, with=all", "pa\u{308}ssword, with=all"] {
                let client = client(mechanism, "a,b=c@example.org", password);
                let user = run(client, server(mechanism), &keys, initial);
                assert_eq!(user.as_deref(), Ok("a,b=c@example.org"), "{mechanism}");
            }
            let client = client(mechanism, "a", "password");
            assert_eq!(
                run(client, server(mechanism), &keys, initial),
                Err(Failure::WrongCredentials),
                "{mechanism}"
            );
        }
        assert_eq!(
            Mechanism::parse(mechanism.name().to_lowercase().as_bytes()),
            Some(mechanism)
        );
    }
    assert_eq!(Mechanism::parse(b"DIGEST-MD5"), None);
}

/// The mechanisms that need a password.
fn passwords() -> impl Iterator<Item = Mechanism> {
    let all = Mechanism::ALL.into_iter();
    all.filter(|mechanism| *mechanism != Mechanism::External)
}

#[test]
fn cram_md5_refuses_who_has_none_stored_and_an_initial_response() {
    let without = Credentials::derive("b", &Seed::from_number(1), Iterations::ONE).unwrap();
    let unknown = Credentials::fake(&Seed::from_number(1), "a", Iterations::ONE);
    for stored in [without, unknown] {
        assert_eq!(stored.cram_md5(), None);
        let client = client(Mechanism::CramMd5, "a", "b");
        let refused = run(client, server(Mechanism::CramMd5), &stored, false);
        assert_eq!(refused, Err(Failure::WrongCredentials));
    }
    for begun in [&b""[..], b"a 0123456789abcdef0123456789abcdef"] {
        let mut server = server(Mechanism::CramMd5);
        assert_eq!(server.step(Some(begun)), Step::Fail(Failure::Malformed));
    }
}

#[test]
fn external_takes_whom_the_certificate_names_and_nobody_without_one() {
    let certified = || ServerExchange::external("ann@example.org").unwrap();
    let keys = stored("b");
    for (asked, end) in [
        ("", Ok("ann@example.org".into())),
        ("ann@example.org", Ok("ann@example.org".into())),
        ("bob@example.org", Err(Failure::WrongCredentials)),
    ] {
        for initial in [true, false] {
            let client = client(Mechanism::External, asked, "");
            assert_eq!(run(client, certified(), &keys, initial), end, "{asked}");
            let client = self::client(Mechanism::External, asked, "");
            assert_eq!(
                run(client, server(Mechanism::External), &keys, initial),
                Err(Failure::WrongCredentials)
            );
        }
    }
    assert!(ServerExchange::external("").is_err());
}

#[test]
fn a_client_bound_to_another_tls_connection_is_refused() {
    let other = ServerExchange::new(
        Mechanism::ScramSha256Plus,
        &Seed::from_number(2),
        Some([8; 32]),
    );
    let mut server = other;
    let mut client = client(Mechanism::ScramSha256Plus, "a", "b");
    let first = client.first().unwrap();
    server.step(Some(first.expose()));
    let Step::Challenge(challenge) = server.credentials(&stored("b")) else {
        panic!()
    };
    let last = client.step(&challenge).unwrap();
    assert_eq!(
        server.step(Some(last.expose())),
        Step::Challenge("e=channel-bindings-dont-match".into())
    );
    assert_eq!(server.step(Some(b"")), Step::Fail(Failure::BindingMismatch));
}

#[test]
fn channel_binding_flags_are_judged_as_rfc_5802_section_6_says() {
    use Mechanism::{ScramSha256, ScramSha256Plus};
    let judge = |mechanism, exporter, first: &str| {
        ServerExchange::new(mechanism, &Seed::from_number(2), exporter).step(Some(first.as_bytes()))
    };
    let rest = ",n=u,r=0123456789";
    let wanted = Step::NeedCredentials { user: "u".into() };
    let all = Some(EXPORTER);
    for (mechanism, exporter, flag, step) in [
        (ScramSha256, None, "n,", wanted.clone()),
        (ScramSha256, None, "y,", wanted.clone()),
        (ScramSha256, all, "n,", wanted.clone()),
        (
            ScramSha256,
            all,
            "y,",
            Step::Fail(Failure::BindingDowngrade),
        ),
        (
            ScramSha256,
            all,
            "p=tls-exporter,",
            Step::Fail(Failure::BindingUnsupported),
        ),
        (ScramSha256Plus, all, "p=tls-exporter,", wanted.clone()),
        (
            ScramSha256Plus,
            all,
            "p=tls-unique,",
            Step::Fail(Failure::BindingTypeUnsupported),
        ),
        (
            ScramSha256Plus,
            all,
            "n,",
            Step::Fail(Failure::BindingUnsupported),
        ),
        (
            ScramSha256Plus,
            None,
            "p=tls-exporter,",
            Step::Fail(Failure::BindingUnsupported),
        ),
        (ScramSha256, None, "x,", Step::Fail(Failure::Malformed)),
        (ScramSha256, None, "n,a=u", wanted),
        (
            ScramSha256,
            None,
            "n,a=v",
            Step::Fail(Failure::WrongCredentials),
        ),
        (ScramSha256, None, "n,b=u", Step::Fail(Failure::Malformed)),
    ] {
        assert_eq!(
            judge(mechanism, exporter, &format!("{flag}{rest}")),
            step,
            "{flag}"
        );
    }
}

#[test]
fn malformed_messages_end_the_exchange_with_their_reason() {
    let first = |mechanism, message: &[u8]| server(mechanism).step(Some(message));
    let malformed = Step::Fail(Failure::Malformed);
    for bad in ["", "a", "a\0b", "\0a\0b\0c", "\0\0b", "\0a\0"] {
        assert_eq!(
            first(Mechanism::Plain, bad.as_bytes()),
            malformed,
            "{bad:?}"
        );
    }
    assert_eq!(first(Mechanism::Plain, b"\0\xff\0b"), malformed);
    assert_eq!(first(Mechanism::Plain, &[b'a'; 10_000]), malformed);
    assert_eq!(
        first(Mechanism::Plain, b"b\0a\0c"),
        Step::Fail(Failure::WrongCredentials)
    );
    assert_eq!(
        first(Mechanism::Plain, b"\0a\r\0c"),
        Step::Fail(Failure::NotPrepared)
    );
    assert_eq!(
        first(Mechanism::Plain, b"a\0a\0c"),
        Step::NeedCredentials { user: "a".into() }
    );
    for bad in [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=u",
        "n,,r=0123456789,n=u",
        "n,,n=u,r=short",
        "n,,n=u,r=0123 56789",
        "n,,n=u=,r=0123456789",
        "n,,n=u,r=0123456789,",
        "n,,n=u,r=0123456789,1=x",
    ] {
        assert_eq!(
            first(Mechanism::ScramSha256, bad.as_bytes()),
            malformed,
            "{bad:?}"
        );
    }
    let long = format!("n,,n=u,r=0123456789,x={}", "x".repeat(5_000));
    assert_eq!(first(Mechanism::ScramSha256, long.as_bytes()), malformed);
    assert_eq!(
        first(Mechanism::ScramSha256, b"n,,m=x,n=u,r=0123456789"),
        Step::Fail(Failure::ExtensionUnsupported)
    );
    assert_eq!(
        first(Mechanism::ScramSha256, b"n,,n=,r=0123456789"),
        Step::Fail(Failure::NotPrepared)
    );
    // A response while credentials are wanted, or after the end.
    let mut early = server(Mechanism::Plain);
    early.step(Some(b"\0a\0b"));
    assert_eq!(early.step(Some(b"\0a\0b")), malformed);
    assert_eq!(early.credentials(&stored("b")), malformed);
}

#[test]
fn a_final_message_of_another_exchange_or_another_user_is_no_proof() {
    let keys = stored("b");
    let mut played = client(Mechanism::ScramSha256, "a", "b");
    let first = played.first().unwrap();
    let begin = |seed| {
        let mut server =
            ServerExchange::new(Mechanism::ScramSha256, &Seed::from_number(seed), None);
        server.step(Some(first.expose()));
        let Step::Challenge(challenge) = server.credentials(&keys) else {
            panic!()
        };
        (server, challenge)
    };
    let (mut one, challenge) = begin(10);
    let proof = played.step(&challenge).unwrap();
    let (mut other, _) = begin(11);
    assert_eq!(
        other.step(Some(proof.expose())),
        Step::Challenge("e=invalid-proof".into())
    );
    assert_eq!(other.step(Some(b"")), Step::Fail(Failure::WrongCredentials));
    // One bit of the proof is enough.
    let (mut bent, _) = begin(10);
    let mut wrong = proof.expose().to_vec();
    let at = wrong.len() - 10;
    wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
    assert_eq!(
        bent.step(Some(&wrong)),
        Step::Challenge("e=invalid-proof".into())
    );
    assert!(matches!(one.step(Some(proof.expose())), Step::Challenge(v) if v.starts_with(b"v=")));
}

#[test]
fn an_unknown_user_sees_the_same_salt_again_and_never_gets_in() {
    let server_seed = Seed::from_number(9);
    let salt = |name: &str| {
        let mut server = server(Mechanism::ScramSha256);
        server.step(Some(format!("n,,n={name},r=0123456789").as_bytes()));
        let fake = Credentials::fake(&server_seed, name, Iterations::default());
        let Step::Challenge(challenge) = server.credentials(&fake) else {
            panic!()
        };
        String::from_utf8(challenge.to_vec()).unwrap()
    };
    assert_eq!(salt("nobody"), salt("nobody"));
    assert_ne!(salt("nobody"), salt("noone"));
    let real = stored("b");
    assert_eq!(salt("nobody").len(), {
        let mut server = server(Mechanism::ScramSha256);
        server.step(Some(b"n,,n=a,r=0123456789"));
        let Step::Challenge(c) = server.credentials(&real) else {
            panic!()
        };
        c.len() + "20000".len() - "1".len()
    });
    let fake = Credentials::fake(&server_seed, "nobody", Iterations::ONE);
    assert!(!fake.verify("b") && real.verify("b"));
    for mechanism in Mechanism::ALL {
        assert_eq!(
            run(
                client(mechanism, "nobody", "b"),
                server(mechanism),
                &fake,
                true
            ),
            Err(Failure::WrongCredentials)
        );
    }
}

#[test]
fn a_server_that_does_not_know_the_password_is_not_believed() {
    let keys = stored("b");
    let begin = || {
        let mut client = client(Mechanism::ScramSha256, "a", "b");
        let mut server = server(Mechanism::ScramSha256);
        server.step(Some(client.first().unwrap().expose()));
        let Step::Challenge(challenge) = server.credentials(&keys) else {
            panic!()
        };
        (client, challenge)
    };
    let (mut early, challenge) = begin();
    early.step(&challenge).unwrap();
    assert_eq!(
        early.finish(),
        Err(Failure::ServerNotAuthentic),
        "no proof at all"
    );
    let (mut lied, challenge) = begin();
    lied.step(&challenge).unwrap();
    let lie = b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(lied.step(lie).unwrap_err(), Failure::ServerNotAuthentic);
    assert_eq!(lied.finish(), Err(Failure::ServerNotAuthentic));
    let (mut foreign, _) = begin();
    let challenge = b"r=somebody elses,s=QSXCR+Q6sek8bf92,i=1";
    assert_eq!(foreign.step(challenge).unwrap_err(), Failure::Malformed);
}

#[test]
fn a_server_may_not_make_the_client_work_for_hours_or_not_at_all() {
    for count in ["1", "2047", "1000001", "4294967295"] {
        let mut client = ClientExchange::new(
            Mechanism::ScramSha256,
            "a",
            &Secret::new("b".into()),
            &Seed::from_number(3),
            None,
            ITERATIONS_ACCEPTED,
        )
        .unwrap();
        let first = client.first().unwrap();
        let first = std::str::from_utf8(first.expose()).unwrap();
        let nonce = first.rsplit_once("r=").unwrap().1;
        let challenge = format!("r={nonce}12345678,s=QSXCR+Q6sek8bf92,i={count}");
        assert_eq!(
            client.step(challenge.as_bytes()).unwrap_err(),
            Failure::Iterations,
            "{count}"
        );
    }
}

#[test]
fn a_password_can_be_judged_by_a_cache_instead() {
    for (right, step) in [
        (true, Step::Done { user: "a".into() }),
        (false, Step::Fail(Failure::WrongCredentials)),
    ] {
        let mut server = server(Mechanism::Login);
        assert_eq!(server.step(None), Step::Challenge("Username:".into()));
        assert_eq!(server.step(Some(b"a")), Step::Challenge("Password:".into()));
        server.step(Some(b"hunter2"));
        assert_eq!(server.password().unwrap().expose(), "hunter2");
        assert_eq!(server.verified(right), step);
    }
}

#[test]
fn credentials_survive_storage_and_nothing_shows_a_secret() {
    let keys = stored("hunter2");
    let bytes = postcard::to_allocvec(&keys).unwrap();
    let mut read = postcard::from_bytes::<Credentials>(&bytes).unwrap();
    assert_eq!(read.cram_md5(), None);
    let bytes = postcard::to_allocvec(keys.cram_md5().unwrap()).unwrap();
    read.set_cram_md5(postcard::from_bytes(&bytes).unwrap());
    assert_eq!(read, keys);
    assert_eq!(keys.iterations(), Iterations::ONE);
    let mut server = server(Mechanism::Plain);
    server.step(Some(b"\0a\0hunter2"));
    let shown = format!(
        "{keys:?}{server:?}{:?}",
        client(Mechanism::Plain, "a", "hunter2")
    );
    assert!(
        !shown.contains("hunter2") && !shown.contains("stored_key: ["),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn no_sequence_of_bytes_gets_in_or_panics(
        which in 0..Mechanism::ALL.len(),
        messages in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                "[npyacrsvime=,\\x00a-c0-9]{0,40}".prop_map(String::into_bytes),
                Just(b"n,,n=u,r=0123456789".to_vec()),
                Just(b"p=tls-exporter,,n=u,r=0123456789".to_vec()),
            ],
            1..6,
        ),
    ) {
        let keys = stored("a password nobody draws");
        let mechanism = Mechanism::ALL[which];
        let mut server = server(mechanism);
        let mut client = client(mechanism, "u", "other");
        for message in &messages {
            let _ = client.step(message);
            match server.step(Some(message)) {
                Step::NeedCredentials { .. } => {
                    let done = matches!(server.credentials(&keys), Step::Done { .. });
                    prop_assert!(!done);
                }
                Step::Done { .. } => prop_assert!(false, "got in"),
                Step::Challenge(_) | Step::Fail(_) => {}
            }
        }
    }
}
