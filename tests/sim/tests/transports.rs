//! Mail that leaves by a transport: a smarthost, a proxy, or not at all.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use futures_lite::{AsyncReadExt, AsyncWriteExt, future, io::copy};
use mox_driver::{Bind, Runtime};
use mox_machine::{Mono, Secret};
use mox_node::{Change, Outgoing, Selection, Transport};
use mox_server::config::{
    Fail, Login, OwnAddresses, Password, Smarthost, SmarthostTls, Socks5, Transport as Kind,
};
use mox_server::routes::{Domains, Route, Routes};
use mox_sim::peers::{Act, Busy, Hanger, Ledger, Manner, Plain, Seen, Stage, serve};
use mox_sim::{Knobs, Sim, SimRuntime};
use one_server::{One, inbox, submit, text};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const CAROL: &str = "carol@peer.example";
const MARK: &str = "mark-1-end";
const HOUR: Duration = Duration::from_secs(3_600);

/// A submission server of somebody else: who has not logged in by LOGIN as `ann` sends nothing.
#[derive(Default)]
struct Submission {
    /// The password it takes.
    password: &'static str,
    said: Vec<String>,
    logged_in: bool,
}

impl Submission {
    fn taking(password: &'static str) -> Self {
        Self {
            password,
            ..Self::default()
        }
    }
}

impl Manner for Submission {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        let reply = match seen.stage {
            Stage::Greeting => {
                (self.said, self.logged_in) = (Vec::new(), false);
                return None;
            }
            Stage::Hello if seen.secured || !seen.offers_tls => {
                "250-smtp.provider.example\r\n250-AUTH CRAM-MD5 LOGIN\r\n250 8BITMIME"
            }
            Stage::Mail if !self.logged_in => "530 5.7.0 who are you?",
            Stage::Other if seen.line.trim_end() == "AUTH LOGIN" => "334 VXNlcm5hbWU6",
            Stage::Other => {
                self.said.push(seen.line.trim_end().to_owned());
                match &self.said[..] {
                    // ann
                    [user] if user == "YW5u" => "334 UGFzc3dvcmQ6",
                    [_, password] if password == self.password => {
                        self.logged_in = true;
                        "235 2.7.0 welcome"
                    }
                    _ => "535 5.7.8 no",
                }
            }
            _ => return None,
        };
        Some(vec![Act::reply(reply)])
    }
}

fn provider(tls: SmarthostTls) -> Smarthost {
    Smarthost {
        host: "10.0.0.9".into(),
        port: 587,
        tls,
        login: Some(Login {
            user: "ann".into(),
            password: Password::File("unread".into()),
        }),
        mechanisms: mox_sasl::Mechanism::USUAL.into(),
        ca: None,
        outgoing: OwnAddresses::default(),
    }
}

fn route(minimum_attempts: u32, transport: &str) -> Route {
    Route {
        from: Vec::new(),
        to: vec![Domains::parse(".example").unwrap()],
        minimum_attempts,
        transport: transport.into(),
    }
}

/// Our server, with a transport of this name to which all mail for `.example` goes.
fn one(world: &Sim, name: &str, transport: Transport, minimum_attempts: u32) -> One {
    let relay = Outgoing::Relay(vec![([10, 0, 0, 8], 25).into()]);
    let mut one = One::new(world, relay);
    one.transports = BTreeMap::from([(name.to_owned(), Arc::new(transport))]);
    one.routes = Routes {
        all: vec![route(minimum_attempts, name)],
        ..Routes::default()
    };
    one
}

fn commands(ledger: &Ledger, visit: usize) -> Vec<String> {
    ledger.visits()[visit].commands.clone()
}

/// Ann sends one message by way of a smarthost whose certificate is for these names; what that saw, and what the queue says.
fn by_smarthost(names: &'static [&'static str], password: &'static str) -> (Ledger, Vec<String>) {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let (ledger, last) = sim.run(async move {
        let peer = world.computer("provider", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let (tls, authorities) = peer.trusted_tls(names);
        // "swordfish"
        let manner = Submission::taking("c3dvcmRmaXNo");
        let ledger = serve(&peer, 587, "smtp.provider.example", Some(tls), manner).unwrap();
        let transport = Transport {
            kind: Kind::Smarthost(provider(SmarthostTls::Starttls)),
            password: Some(Secret::new(password.into())),
            authorities: Some(Arc::new(authorities)),
        };
        let mut one = one(&world, "provider", transport, 0);
        one.start().await;
        submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
        one.settle(Duration::from_secs(100)).await;
        let left = one.queue();
        assert!(left.iter().all(|entry| entry.transport == "provider"));
        let last = left.into_iter().filter_map(|entry| entry.last).collect();
        one.stop().await;
        (ledger, last)
    });
    assert_eq!(sim.panics(), 0);
    (ledger, last)
}

#[test]
fn a_smarthost_is_encrypted_proven_and_logged_in_at_before_anything_is_sent() {
    let (ledger, left) = by_smarthost(&["10.0.0.9"], "swordfish");
    assert_eq!(left, [""; 0]);
    assert_eq!(ledger.copies(CAROL, MARK), 1);
    let said = commands(&ledger, 0);
    let verbs: Vec<&str> = said.iter().map(|c| c.split(' ').next().unwrap()).collect();
    // The last two are user and password.
    assert_eq!(
        verbs[..6],
        ["EHLO", "STARTTLS", "EHLO", "AUTH", "YW5u", "c3dvcmRmaXNo"]
    );
    assert_eq!(verbs[6..], ["MAIL", "RCPT", "DATA", "QUIT"]);
    assert_eq!(said[3], "AUTH LOGIN");
}

#[test]
fn nothing_is_said_to_a_smarthost_with_the_certificate_of_another() {
    let (ledger, left) = by_smarthost(&["10.0.0.7"], "swordfish");
    assert!(
        left[0].starts_with("TLS failed: invalid peer certificate"),
        "{left:?}"
    );
    assert!(left[0].contains("certificate for its name"), "{left:?}");
    assert_eq!(commands(&ledger, 0), ["EHLO ours.example", "STARTTLS"]);
}

#[test]
fn a_wrong_password_loses_no_mail() {
    let (ledger, left) = by_smarthost(&["10.0.0.9"], "sardine");
    assert_eq!(left, ["535 5.7.8 no"]);
    assert!(ledger.deliveries().is_empty());
}

/// A server in a bad moment.
struct Sulks(Stage, &'static str);

impl Manner for Sulks {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        (seen.stage == self.0).then(|| vec![Act::reply(self.1), Act::Close])
    }
}

#[test]
fn whoever_takes_mail_for_everybody_and_refuses_us_loses_no_mail() {
    for (transport, address) in [("relay", [10, 0, 0, 8]), ("provider", [10, 0, 0, 9])] {
        for (stage, reply) in [
            (
                Stage::Greeting,
                "554 5.7.1 too many connections from your address",
            ),
            (Stage::Hello, "554 5.7.1 bad name"),
        ] {
            let sim = Sim::new(1, Knobs::fault_free());
            let world = sim.clone();
            let last = sim.run(async move {
                let peer = world.computer("peer", address);
                let client = world.computer("client", [10, 0, 1, 1]);
                serve(&peer, 25, "peer.example", None, Sulks(stage, reply)).unwrap();
                let smarthost = Smarthost {
                    port: 25,
                    login: None,
                    ..provider(SmarthostTls::Off)
                };
                let kind = Transport {
                    kind: Kind::Smarthost(smarthost),
                    password: None,
                    authorities: None,
                };
                let mut one = one(&world, "provider", kind, 0);
                if transport == "relay" {
                    one.routes = Routes::default();
                }
                one.start().await;
                submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
                assert!(!one.settle(HOUR).await);
                let left = one.queue();
                assert_eq!(left[0].transport, transport);
                let last = left[0].last.clone();
                one.stop().await;
                last
            });
            assert!(last.unwrap().contains(reply), "{transport}");
        }
    }
}

/// Twenty messages to as many domains by a server that answers so.
fn twenty(transport: &str, manner: impl Manner + 'static, time: Duration) -> (Ledger, Vec<String>) {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let transport = transport.to_owned();
    sim.run(async move {
        let address = if transport == "relay" {
            [10, 0, 0, 8]
        } else {
            [10, 0, 0, 9]
        };
        let port = if transport == "relay" { 25 } else { 587 };
        let peer = world.computer("peer", address);
        let client = world.computer("client", [10, 0, 1, 1]);
        let (tls, authorities) = peer.trusted_tls(&["10.0.0.9"]);
        let tls = (transport != "relay").then_some(tls);
        let ledger = serve(&peer, port, "peer.example", tls, manner).unwrap();
        let kind = Transport {
            kind: Kind::Smarthost(provider(SmarthostTls::Starttls)),
            password: Some(Secret::new("sardine".into())),
            authorities: Some(Arc::new(authorities)),
        };
        let mut one = one(&world, "provider", kind, 0);
        if transport == "relay" {
            one.routes = Routes::default();
        }
        one.start().await;
        let to: Vec<String> = (0..20).map(|n| format!("carol@d{n}.example")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        submit(&client, &to, &text(MARK, 3)).await.unwrap();
        one.settle(time).await;
        let last = one.queue().into_iter().filter_map(|entry| entry.last);
        let last = last.collect();
        one.stop().await;
        (ledger, last)
    })
}

#[test]
fn one_server_for_everybody_sees_no_more_than_five_sessions_at_once() {
    for transport in ["relay", "provider"] {
        let silent = Hanger::new(Stage::Greeting, false);
        let (ledger, _) = twenty(transport, silent, Duration::from_secs(100));
        assert_eq!(ledger.visits().len(), 5, "{transport}");
    }
}

#[test]
fn a_refused_login_is_not_tried_again_for_each_message() {
    let manner = Submission::taking("c3dvcmRmaXNo");
    let (ledger, last) = twenty("provider", manner, Duration::from_secs(100));
    assert_eq!(last.len(), 20);
    // Those that were begun side by side, before the first answer came.
    let visits = ledger.visits().len();
    assert!((1..=5).contains(&visits), "{visits}");
    let told = "not tried: another message was told \"535 5.7.8 no\" at the login";
    let spared = last.iter().filter(|last| *last == told).count();
    assert_eq!(spared, 20 - visits, "{last:?}");
    assert!(ledger.deliveries().is_empty());
}

#[test]
fn what_a_server_repeats_of_a_login_is_not_kept() {
    struct Echoes;
    impl Manner for Echoes {
        fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
            let line = seen.line.trim_end();
            let reply = match seen.stage {
                Stage::Hello if seen.secured => "250-peer.example\r\n250 AUTH PLAIN".to_owned(),
                Stage::Other => format!("500 5.5.1 Command unrecognized: \"{line}\""),
                _ => return None,
            };
            Some(vec![Act::reply(&reply)])
        }
    }
    let (_, last) = twenty("provider", Echoes, Duration::from_secs(100));
    let kept = "500 5.5.1 what it says repeats what was said to it, and is not kept";
    assert!(last.iter().any(|last| last == kept), "{last:?}");
    // ann, sardine
    assert!(
        last.iter().all(|last| !last.contains("AGFubgBzYXJkaW5l")),
        "{last:?}"
    );
}

#[test]
fn a_smarthost_in_clear_takes_mail_and_another_route_is_taken_later() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let (relay, provided) = sim.run(async move {
        let relay = world.computer("relay", [10, 0, 0, 8]);
        let peer = world.computer("provider", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let busy = Busy::new(Stage::Mail, Mono(u64::MAX));
        let relay = serve(&relay, 25, "relay.example", None, busy).unwrap();
        let manner = Submission::taking("c3dvcmRmaXNo");
        let provided = serve(&peer, 587, "smtp.provider.example", None, manner).unwrap();
        let transport = Transport {
            kind: Kind::Smarthost(provider(SmarthostTls::Off)),
            password: Some(Secret::new("swordfish".into())),
            authorities: None,
        };
        let mut one = one(&world, "provider", transport, 2);
        one.start().await;
        submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
        assert!(one.settle(HOUR).await);
        let retired = one.node().retired(mox_machine::Utc(0), 10).unwrap();
        let last = retired[0].last().cloned().unwrap();
        assert_eq!(
            (retired[0].attempts_made, &last.transport[..]),
            (3, "provider")
        );
        one.stop().await;
        (relay, provided)
    });
    assert_eq!((relay.visits().len(), provided.visits().len()), (2, 1));
    assert_eq!(provided.copies(CAROL, MARK), 1);
}

#[test]
fn mail_that_is_not_to_leave_is_told_to_its_sender_at_once() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let told = sim.run(async move {
        let client = world.computer("client", [10, 0, 1, 1]);
        let transport = Transport {
            kind: Kind::Fail(Fail {
                code: 554,
                text: "5.7.2 mail for them is not sent from here".into(),
            }),
            password: None,
            authorities: None,
        };
        let mut one = one(&world, "never", transport, 0);
        one.start().await;
        submit(&client, &[CAROL], &text(MARK, 3)).await.unwrap();
        assert!(one.settle(Duration::from_secs(100)).await);
        let told = inbox(&client).await.unwrap();
        one.stop().await;
        told
    });
    assert!(told.contains("\r\nStatus: 5.7.2\r\n"), "{told}");
    assert!(
        told.contains("554 5.7.2 mail for them is not sent from here"),
        "{told}"
    );
}

/// A SOCKS5 proxy for whoever knows the password; the addresses that it connected to.
fn proxy(on: &SimRuntime, port: u16) -> Arc<std::sync::Mutex<Vec<SocketAddr>>> {
    let asked = Arc::<std::sync::Mutex<Vec<SocketAddr>>>::default();
    let (here, all) = (on.clone(), asked.clone());
    let at = SocketAddr::new(on.addresses()[0], port);
    let listener = on.listen(Bind::Addr(at)).unwrap();
    let serve = async move {
        loop {
            let (mut client, _) = here.accept(&listener).await.unwrap();
            let (runtime, all) = (here.clone(), all.clone());
            let session = async move {
                let mut hello = [0; 4];
                client.read_exact(&mut hello).await.unwrap();
                assert_eq!(hello, [5, 2, 0, 2]);
                client.write_all(&[5, 2]).await.unwrap();
                let mut login = [0; 12];
                client.read_exact(&mut login).await.unwrap();
                assert_eq!(&login, b"\x01\x03ann\x06secret");
                client.write_all(&[1, 0]).await.unwrap();
                let mut request = [0; 10];
                client.read_exact(&mut request).await.unwrap();
                let port = u16::from_be_bytes([request[8], request[9]]);
                let ip = [request[4], request[5], request[6], request[7]];
                let to = SocketAddr::from((ip, port));
                all.lock().unwrap().push(to);
                let server = runtime.connect(to, None).await.unwrap();
                client
                    .write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
                    .await
                    .unwrap();
                let (from_client, to_client) = futures_lite::io::split(client);
                let (from_server, to_server) = futures_lite::io::split(server);
                let _ =
                    future::zip(copy(from_client, to_server), copy(from_server, to_client)).await;
            };
            here.spawn_session("proxied", Box::pin(session));
        }
    };
    on.spawn_service("proxy", Box::pin(serve));
    asked
}

#[test]
fn a_proxy_is_told_the_address_and_carries_the_session() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let (ledger, asked) = sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let between = world.computer("proxy", [10, 0, 0, 5]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let tls = peer.server_tls(&["mx.peer.example"]);
        let ledger = serve(&peer, 25, "mx.peer.example", Some(tls), Plain).unwrap();
        let asked = proxy(&between, 1080);
        let transport = Transport {
            kind: Kind::Socks5(Socks5 {
                host: "10.0.0.5".into(),
                port: 1080,
                outgoing: OwnAddresses::default(),
                login: Some(Login {
                    user: "ann".into(),
                    password: Password::File("unread".into()),
                }),
            }),
            password: Some(Secret::new("secret".into())),
            authorities: None,
        };
        let mut one = one(&world, "tor", transport, 0);
        // Nobody answers there.
        one.outgoing = Outgoing::Relay(vec![([10, 0, 0, 7], 25).into()]);
        one.start().await;
        let to = "carol@[10.0.0.9]";
        submit(&client, &[to], &text(MARK, 3)).await.unwrap();
        one.settle(Duration::from_secs(100)).await;
        let [entry] = &one.queue()[..] else { panic!() };
        // A literal is in no route that names domains.
        assert_eq!((&entry.transport[..], entry.is_routed), ("relay", false));
        let all = Selection::default();
        let node = one.node();
        let unknown = node.change_queue(&all, Change::Route("tro".into())).await;
        assert_eq!(
            unknown.unwrap_err().to_string(),
            "there is no transport \"tro\"; use one of: routes, direct, relay, tor"
        );
        let routed = node.change_queue(&all, Change::Route("tor".into())).await;
        assert_eq!(routed.unwrap(), 1);
        let entry = &one.queue()[0];
        assert_eq!((&entry.transport[..], entry.is_routed), ("tor", true));
        node.change_queue(&all, Change::Kick).await.unwrap();
        assert!(one.settle(HOUR).await);
        one.stop().await;
        (ledger, asked.lock().unwrap().clone())
    });
    assert_eq!(asked, [SocketAddr::from(([10, 0, 0, 9], 25))]);
    assert!(ledger.visits()[0].secured);
    assert_eq!(ledger.copies("carol@[10.0.0.9]", MARK), 1);
}
