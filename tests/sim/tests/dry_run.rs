//! Rehearsals foretell what becomes of a message, at peers of many kinds, and never say DATA.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use mox_dns::MasterFile;
use mox_machine::Utc;
use mox_mailbox::Fate;
use mox_node::Outgoing;
use mox_sim::peers::{
    Act, BrokenTls, Busy, Flaw, Ledger, Manner, Picky, Plain, Seen, Silent, Stage, serve,
};
use mox_sim::{DnsManner, Knobs, Sim, SimRuntime, name_server};
use one_server::{One, sleep, submit, text};
use std::time::Duration;

const CAROL: &str = "carol@peer.example";
const MARK: &str = "mark-1-end";

/// Plain but for one stage.
struct At(Stage, Act);

impl Manner for At {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        (seen.stage == self.0).then(|| vec![self.1.clone()])
    }
}

type Make = Box<dyn FnOnce(&SimRuntime) -> Box<dyn Manner> + Send>;

/// Fifty peers, by name; whether each offers TLS that works.
fn peers() -> Vec<(String, bool, Make)> {
    let mut all: Vec<(String, bool, Make)> = Vec::new();
    let mut add = |name: String, tls, manner: Box<dyn Manner>| {
        all.push((name, tls, Box::new(|_| manner)));
    };
    add("plain".into(), false, Box::new(Plain));
    add("plain with TLS".into(), true, Box::new(Plain));
    for stage in [Stage::Greeting, Stage::Hello, Stage::Mail, Stage::Rcpt] {
        for reply in [
            "421 4.3.2 bye",
            "450 4.2.0 later",
            "451 4.7.1 greylisted",
            "550 5.7.1 no",
            "554 5.5.0 never",
        ] {
            add(
                format!("{reply} at {stage:?}"),
                false,
                Box::new(At(stage, Act::reply(reply))),
            );
        }
        for act in [Act::Close, Act::Reset, Act::Hang] {
            let name = format!("{act:?} at {stage:?}");
            add(name, false, Box::new(At(stage, act)));
        }
    }
    let small = "250-mx.peer.example\r\n250 SIZE 100";
    add(
        "small".into(),
        false,
        Box::new(At(Stage::Hello, Act::reply(small))),
    );
    let limits = "250-mx.peer.example\r\n250-PIPELINING\r\n250 SIZE 0";
    add(
        "any size".into(),
        false,
        Box::new(At(Stage::Hello, Act::reply(limits))),
    );
    add(
        "picky".into(),
        false,
        Box::new(Picky::new([("carol", "553 5.1.3 what?")])),
    );
    add(
        "not picky".into(),
        false,
        Box::new(Picky::new([("dave", "553 5.1.3 what?")])),
    );
    add("silent".into(), false, Box::new(Silent));
    add(
        "busy".into(),
        false,
        Box::new(Busy::new(Stage::Mail, mox_machine::Mono(u64::MAX))),
    );
    let rude = Act::reply("521 5.3.2 we take no mail");
    add(
        "takes no mail".into(),
        false,
        Box::new(At(Stage::Hello, rude)),
    );
    let garbage = Act::Say(b"hello\r\n".to_vec());
    add(
        "no SMTP".into(),
        false,
        Box::new(At(Stage::Greeting, garbage)),
    );
    for flaw in [
        Flaw::Refuses,
        Flaw::Ignores,
        Flaw::Garbage,
        Flaw::Injects,
        Flaw::Hangs,
        Flaw::Closes,
    ] {
        add(format!("{flaw:?}"), false, Box::new(BrokenTls(flaw)));
    }
    let expired = |peer: &SimRuntime| -> Box<dyn Manner> {
        Box::new(BrokenTls(Flaw::Presents(peer.expired_tls(&["x.example"]))))
    };
    all.push(("expired".into(), false, Box::new(expired)));
    let changed = At(Stage::Message, Act::reply("554 5.6.0 I changed my mind"));
    all.push((
        "changes its mind".into(),
        false,
        Box::new(|_| Box::new(changed)),
    ));
    all
}

/// The peer is the second of two hosts, of which the first is not there, and has addresses of both families.
const ZONE: &str = "\
peer.example. MX 5 gone.peer.example.\n\
peer.example. MX 10 mx.peer.example.\n\
gone.peer.example. A 10.0.0.8\n\
mx.peer.example. A 10.0.0.9\n\
mx.peer.example. AAAA fd00::9\n";

/// What a rehearsal says of a peer, and what becomes of a message then: `direct`, to the hosts that DNS names, or with the peer as relay.
fn compare(direct: bool, tls: bool, make: Make) -> (String, String, Ledger, Vec<String>) {
    let sim = Sim::new(7, Knobs::fault_free());
    let world = sim.clone();
    let came = sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let client = world.computer("client", [10, 0, 1, 1]);
        let tls = tls.then(|| peer.server_tls(&["mx.peer.example"]));
        let manner = make(&peer);
        let ledger = serve(&peer, 25, "mx.peer.example", tls, manner).unwrap();
        let names = world.computer("names", [10, 0, 0, 53]);
        let zone = MasterFile::parse(ZONE).unwrap();
        let resolver = name_server(&names, zone, DnsManner::direct()).unwrap();
        let mut one = match direct {
            true => One::new(&world, Outgoing::Direct),
            false => One::new(&world, Outgoing::Relay(vec![([10, 0, 0, 9], 25).into()])),
        };
        one.resolvers = vec![resolver];
        one.start().await;
        let from = Some("ann@ours.example");
        let run = one.node().dry_run(from, CAROL, 1_000, true).await.unwrap();
        let said = ledger.visits().into_iter().flat_map(|visit| visit.commands);
        let said: Vec<String> = said.collect();
        submit(&client, &[CAROL], &text(MARK, 20)).await.unwrap();
        // A peer that says nothing takes its time.
        let became = loop {
            if let Some(row) = one.node().retired(Utc(0), 1).unwrap().first() {
                break match row.recipients[0].1 {
                    Fate::Delivered(_) => "delivered",
                    _ => "permanent",
                };
            }
            if one.queue().iter().any(|entry| entry.last.is_some()) {
                break "temporary";
            }
            sleep(&one.runtime, Duration::from_secs(1)).await;
        };
        one.stop().await;
        (run.outcome, became.to_owned(), ledger, said)
    });
    assert_eq!(sim.panics(), 0);
    came
}

#[test]
fn what_becomes_of_a_message_is_foretold_but_where_a_peer_changes_its_mind_behind_data() {
    foretells(false);
}

#[test]
fn the_same_is_foretold_of_a_domain_with_several_hosts() {
    foretells(true);
}

fn foretells(direct: bool) {
    let peers = peers();
    assert_eq!(peers.len(), 50);
    let mut missed = Vec::new();
    for (name, tls, make) in peers {
        let (foretold, became, _, said) = compare(direct, tls, make);
        let verbs = said
            .iter()
            .map(|command| command.split(' ').next().unwrap());
        assert!(
            verbs.clone().all(|verb| verb != "DATA" && verb != "BDAT"),
            "{name}: {said:?}"
        );
        if foretold != became {
            missed.push(format!("{name}: {foretold}, but {became}"));
        }
    }
    assert_eq!(missed, ["changes its mind: delivered, but permanent"]);
}

#[test]
fn a_rehearsal_says_each_step_and_goes_as_far_as_it_is_told() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let (short, long, commands) = sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let tls = peer.server_tls(&["mx.peer.example"]);
        let ledger = serve(&peer, 25, "mx.peer.example", Some(tls), Plain).unwrap();
        let mut one = One::new(&world, Outgoing::Relay(vec![([10, 0, 0, 9], 25).into()]));
        one.start().await;
        let node = one.node();
        let short = node.dry_run(None, CAROL, 1_000, false).await.unwrap();
        let long = node.dry_run(Some(""), CAROL, 1_000, true).await.unwrap();
        let here = node
            .dry_run(None, "ann@ours.example", 1_000, true)
            .await
            .unwrap();
        assert_eq!((&here.outcome[..], here.steps.len()), ("delivered", 1));
        let unknown = node
            .dry_run(None, "bob@ours.example", 1_000, true)
            .await
            .unwrap();
        assert_eq!(
            (&unknown.outcome[..], &unknown.text[..]),
            ("permanent", "no such user here")
        );
        assert!(node.dry_run(None, "carol", 1_000, true).await.is_err());
        // What it came to is told before leave is taken.
        sleep(&one.runtime, Duration::from_secs(1)).await;
        let visits = ledger.visits();
        let commands: Vec<Vec<String>> = visits.into_iter().map(|visit| visit.commands).collect();
        one.stop().await;
        (short, long, commands)
    });
    assert_eq!(
        commands[0],
        ["EHLO ours.example", "STARTTLS", "EHLO ours.example", "QUIT"]
    );
    let size = "MAIL FROM:<> SIZE=1000";
    let rcpt = "RCPT TO:<carol@peer.example>";
    assert_eq!(commands[1][3..], [size, rcpt, "QUIT"]);
    assert_eq!(
        (&short.transport[..], &short.outcome[..]),
        ("relay", "delivered")
    );
    let starts = [
        "by transport relay",
        "to 10.0.0.9 [10.0.0.9], port 25",
        "connected",
        "greeting: 220 mx.peer.example ESMTP",
        "TLS: TLS1.3, with anybody",
        "it offers: PIPELINING, 8BITMIME, SMTPUTF8, SIZE 50000000",
    ];
    assert_eq!(short.steps, starts);
    assert_eq!(long.steps[..starts.len()], starts);
    assert_eq!(long.outcome, "delivered");
}

#[test]
fn a_rehearsal_says_what_name_servers_were_asked_and_what_they_said() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let steps = sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        serve(&peer, 25, "mx.peer.example", None, Plain).unwrap();
        let names = world.computer("names", [10, 0, 0, 53]);
        let zone = "peer.example. 3600 MX 10 mx.peer.example.\n\
                    mx.peer.example. 3600 A 10.0.0.9\n\
                    _mta-sts.peer.example. 3600 TXT \"v=other\"\n";
        let zone = MasterFile::parse(zone).unwrap();
        let mut one = One::new(&world, Outgoing::Direct);
        one.resolvers = vec![name_server(&names, zone, DnsManner::direct()).unwrap()];
        one.start().await;
        let run = one.node().dry_run(None, CAROL, 1_000, false).await.unwrap();
        assert_eq!(run.outcome, "delivered", "{run:?}");
        one.stop().await;
        run.steps
    });
    let (asked, done): (Vec<&str>, Vec<&str>) =
        (steps.iter().map(String::as_str)).partition(|step| step.starts_with("DNS: "));
    assert_eq!(
        asked,
        [
            "DNS: mx.peer.example A: 10.0.0.9 (not AD)",
            "DNS: mx.peer.example AAAA: the name has no such record (not AD)",
            "DNS: peer.example MX: 10 mx.peer.example (not AD)",
            "DNS: _mta-sts.peer.example TXT: \"v=other\" (not AD)",
        ]
    );
    assert_eq!(done[1], "to mx.peer.example [10.0.0.9], port 25");
}

#[test]
fn a_domain_that_is_not_ascii_asks_for_no_smtputf8() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let (idn, utf8, commands) = sim.run(async move {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let old = At(Stage::Hello, Act::reply("250 mx.peer.example"));
        let ledger = serve(&peer, 25, "mx.peer.example", None, old).unwrap();
        let mut one = One::new(&world, Outgoing::Relay(vec![([10, 0, 0, 9], 25).into()]));
        one.start().await;
        let node = one.node();
        let idn = "carol@b\u{fc}cher.example";
        let idn = node.dry_run(None, idn, 1_000, true).await.unwrap();
        let utf8 = "j\u{f6}rg@peer.example";
        let utf8 = node.dry_run(None, utf8, 1_000, true).await.unwrap();
        sleep(&one.runtime, Duration::from_secs(1)).await;
        let commands = ledger.visits()[0].commands.clone();
        one.stop().await;
        (idn, utf8, commands)
    });
    assert_eq!(idn.outcome, "delivered", "{idn:?}");
    assert_eq!(
        commands[1..3],
        [
            "MAIL FROM:<postmaster@ours.example>",
            "RCPT TO:<carol@xn--bcher-kva.example>"
        ]
    );
    assert_eq!(utf8.outcome, "permanent");
}
