//! Two of our servers that exchange mail for days: each gets the other's reports once a day, and nobody reports about reports.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mox_address::{Domain, LocalPart};
use mox_dkim::{Ed25519Key, PublicKey, Selector, Sign};
use mox_dns::MasterFile;
use mox_driver::{Bind, Runtime, Timer};
use mox_machine::Seed;
use mox_node::{Bound, Config, ListenerConfig, Node, Outgoing, Service};
use mox_sasl::{Credentials, Iterations};
use mox_server::reports::{ReportContent, ReportKind, StoredReport};
use mox_server::reports_out::{OptOut, OutgoingReports, ReportSent};
use mox_server::{Directory, DomainRules, Signers, encode_credentials};
use mox_sim::peers::{Ledger, Plain, serve};
use mox_sim::{Dialogue, DnsManner, Knobs, Sim, SimDisk, SimKv, SimRuntime, name_server};
use mox_store::{Options, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

const PASSWORD: &str = "correct horse";
const ADDRESSES: [[u8; 4]; 2] = [[10, 0, 0, 1], [10, 0, 0, 2]];
const DOMAINS: [&str; 2] = ["a.example", "b.example"];
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const KINDS: [ReportKind; 2] = [ReportKind::Dmarc, ReportKind::Tls];

fn key() -> Arc<Ed25519Key> {
    Arc::new(Ed25519Key::from_seed(&[7; 32]).unwrap())
}

/// Both of ours, and two others at one host: `opted.example` is in everybody's list, `far.example` is not. Beside them what is `more`.
fn zone(more: &str) -> MasterFile {
    let PublicKey::Ed25519(public) = key().public_key() else {
        unreachable!("the key is of this kind")
    };
    let public = STANDARD.encode(public);
    let mut zone = String::new();
    for (domain, host, [a, b, c, d]) in [
        ("a.example", "mx.a.example", ADDRESSES[0]),
        ("b.example", "mx.b.example", ADDRESSES[1]),
        ("far.example", "mx.far.example", [10, 0, 0, 9]),
        ("opted.example", "mx.far.example", [10, 0, 0, 9]),
    ] {
        zone += &format!(
            "{domain}. MX 10 {host}.\n\
             {domain}. TXT \"v=spf1 ip4:{a}.{b}.{c}.{d} -all\"\n\
             _dmarc.{domain}. TXT \"v=DMARC1; p=none; rua=mailto:postmaster@{domain}\"\n\
             _smtp._tls.{domain}. TXT \"v=TLSRPTv1; rua=mailto:postmaster@{domain}\"\n\
             one._domainkey.{domain}. TXT \"v=DKIM1; k=ed25519; p={public}\"\n"
        );
        if domain != "opted.example" {
            zone +=
                &format!("{host}. A {a}.{b}.{c}.{d}\n{d}.{c}.{b}.{a}.in-addr.arpa. PTR {host}.\n");
        }
    }
    MasterFile::parse(&(zone + more)).unwrap()
}

/// One server with what survives its crashes.
struct Server {
    which: usize,
    runtime: SimRuntime,
    rows: SimKv,
    disk: SimDisk,
    resolver: SocketAddr,
    node: Option<Node<SimRuntime>>,
}

fn socket(which: usize, port: u16) -> SocketAddr {
    (Ipv4Addr::from(ADDRESSES[which]), port).into()
}

impl Server {
    fn new(sim: &Sim, which: usize, resolver: SocketAddr) -> Self {
        let name = DOMAINS[which];
        Self {
            which,
            runtime: sim.computer(name, ADDRESSES[which]),
            rows: SimKv::new(sim, &format!("rows of {name}")),
            disk: SimDisk::new(sim, &format!("disk of {name}")),
            resolver,
            node: None,
        }
    }

    fn config(&self) -> Config {
        let hostname = Domain::parse(&format!("mx.{}", DOMAINS[self.which]), false).unwrap();
        let tls = self.runtime.server_tls(&[hostname.as_str()]);
        let services = [
            (25, Service::Smtp),
            (587, Service::Submission),
            (143, Service::Imap),
        ];
        let listeners = services.map(|(port, service)| ListenerConfig {
            name: service.name().to_owned(),
            bind: Bind::Addr(socket(self.which, port)),
            service,
            hostname: hostname.clone(),
            max_size: mox_smtp::server::Config::MAX_SIZE,
            clear_auth: true,
            tls: (port == 25).then(|| tls.clone()),
            offers: mox_node::Offers::default(),
            lists: Vec::new(),
            trusted_proxies: Vec::new(),
            require_starttls: false,
        });
        Config {
            hostname,
            listeners: listeners.into(),
            outgoing: Outgoing::Direct,
            transports: BTreeMap::new(),
            resolvers: vec![self.resolver],
            remote_port: 25,
            mta_sts: mox_node::MtaSts::default(),
            plan: mox_queue::Plan::default(),
            connections: mox_node::ConnectionLimits::default(),
            failed_logins: mox_node::LoginLimits::default(),
            unlimited: Vec::new(),
            sending: mox_node::Sending::default(),
            receiving: mox_node::Receiving::default(),
        }
    }

    async fn start(&mut self) {
        let config = self.config();
        let bound = Bound::bind(&self.runtime, &config).unwrap();
        let options = Options {
            low_percent: 0,
            low_octets: 0,
            ..Options::default()
        };
        let rows = Box::new(self.rows.clone());
        let (store, committer) = Store::open(rows, Arc::new(self.disk.clone()), options).unwrap();
        let domain = Domain::parse(DOMAINS[self.which], false).unwrap();
        let mut directory = Directory::local(0);
        directory.add_domain(&domain, DomainRules::default());
        let local = LocalPart::parse("ann", false).unwrap();
        directory.add_address("ann", &local, &domain).unwrap();
        directory.set_outgoing_reports(OutgoingReports {
            opt_out: vec![OptOut::parse("opted.example").unwrap()],
            ..OutgoingReports::usual()
        });
        let runtime = self.runtime.clone();
        let starting = Node::start(runtime, config, directory, bound, store, committer);
        let node = starting.await.unwrap();
        let mut signers = Signers::default();
        signers.add(
            domain,
            vec![Selector::new(DOMAINS[self.which], "one", key())],
        );
        node.sign_with(signers);
        for account in node.without_password().unwrap() {
            let seed = Seed::from_number(1).child("salt", 0);
            let derived = Credentials::derive(PASSWORD, &seed, Iterations::ONE).unwrap();
            let stored = encode_credentials(&derived);
            node.set_credentials(&account, stored).await.unwrap();
        }
        self.node = Some(node);
    }

    /// The power fails.
    fn crash(&mut self) {
        self.runtime.kill();
        self.node = None;
        self.rows = self.rows.crash();
        self.disk = self.disk.crash();
    }

    fn node(&self) -> &Node<SimRuntime> {
        self.node.as_ref().unwrap()
    }

    fn came(&self, kind: ReportKind) -> Vec<StoredReport> {
        self.node().reports(kind, None, 100).unwrap()
    }

    fn sent(&self, kind: ReportKind) -> Vec<ReportSent> {
        self.node().reports_sent(kind, None, 1_000).unwrap()
    }

    /// Identifiers of the reports that are in the postmaster's Inbox, each once.
    async fn letters(&self, client: &SimRuntime, what: &str) -> BTreeSet<String> {
        let mut imap = Dialogue::new(client.connect(socket(self.which, 143), None).await.unwrap());
        imap.line().await.unwrap();
        let login = format!("LOGIN mox@localhost \"{PASSWORD}\"");
        imap.command(&login).await.unwrap();
        let selected = imap.command("SELECT INBOX").await.unwrap();
        if selected.contains("* 0 EXISTS") {
            return BTreeSet::new();
        }
        let text = imap
            .command("FETCH 1:* BODY.PEEK[HEADER.FIELDS (Message-ID Content-Type)]")
            .await
            .unwrap();
        let fetched = text.split("* ").filter(|part| part.contains(what));
        let ids = fetched.filter_map(|part| {
            let line = part.lines().find(|line| line.starts_with("Message-ID: "))?;
            Some(line.trim().to_owned())
        });
        ids.collect()
    }

    async fn stop(self) {
        let verified = self.node().store().verify(true);
        assert_eq!(verified, mox_store::Verified::default());
        self.runtime.stopping();
        self.node().drain().await;
    }
}

async fn sleep(on: &SimRuntime, time: Duration) {
    let mut timer = on.timer();
    timer.arm(Some(on.now().mono + time));
    std::future::poll_fn(|cx| timer.poll_fired(cx)).await;
}

/// Until so long after the next midnight in UTC.
async fn after_midnight(on: &SimRuntime, time: Duration) {
    let secs = on.now().utc.secs().rem_euclid(86_400);
    let left = DAY - Duration::from_secs(secs.unsigned_abs());
    sleep(on, left + time).await;
}

/// Somebody of ours submits a message.
async fn submit(client: &SimRuntime, which: usize, to: &str) {
    let mut smtp = Dialogue::new(client.connect(socket(which, 587), None).await.unwrap());
    let user = format!("ann@{}", DOMAINS[which]);
    let response = STANDARD.encode(format!("\0{user}\0{PASSWORD}"));
    smtp.expect("220").await.unwrap();
    for (line, code) in [
        ("EHLO client.example".to_owned(), "250"),
        (format!("AUTH PLAIN {response}"), "235"),
        (format!("MAIL FROM:<{user}>"), "250"),
        (format!("RCPT TO:<{to}>"), "250"),
        ("DATA".into(), "354"),
        (
            format!("From: <{user}>\r\nTo: <{to}>\r\nSubject: hello\r\n\r\nHello.\r\n."),
            "250",
        ),
        ("QUIT".into(), "221"),
    ] {
        smtp.say(&format!("{line}\r\n")).await.unwrap();
        smtp.expect(code).await.unwrap();
    }
}

/// Another server brings a message from a domain of its own.
async fn bring(from: &SimRuntime, author: &str, which: usize) -> String {
    let mut smtp = Dialogue::new(from.connect(socket(which, 25), None).await.unwrap());
    smtp.expect("220").await.unwrap();
    for (line, code) in [
        ("EHLO mx.far.example".to_owned(), "250"),
        (format!("MAIL FROM:<x@{author}>"), "250"),
        (format!("RCPT TO:<ann@{}>", DOMAINS[which]), "250"),
        ("DATA".into(), "354"),
    ] {
        smtp.say(&format!("{line}\r\n")).await.unwrap();
        smtp.expect(code).await.unwrap();
    }
    let text = format!(
        "From: <x@{author}>\r\nMessage-ID: <1@{author}>\r\nSubject: hello\r\n\r\nHello.\r\n.\r\n"
    );
    smtp.say(&text).await.unwrap();
    smtp.reply().await.unwrap()
}

struct World {
    client: SimRuntime,
    far: SimRuntime,
    /// What the host of `far.example` and `opted.example` got.
    ledger: Ledger,
    servers: [Server; 2],
}

impl World {
    async fn new(sim: &Sim) -> Self {
        Self::with_names(sim, "").await
    }

    /// With these names beside the usual ones.
    async fn with_names(sim: &Sim, more: &str) -> Self {
        let names = sim.computer("names", [10, 0, 0, 53]);
        let client = sim.computer("client", [10, 0, 1, 1]);
        let far = sim.computer("far", [10, 0, 0, 9]);
        let ledger = serve(&far, 25, "mx.far.example", None, Plain).unwrap();
        let resolver = name_server(&names, zone(more), DnsManner::direct()).unwrap();
        let mut servers = [0, 1].map(|which| Server::new(sim, which, resolver));
        for server in &mut servers {
            server.start().await;
        }
        Self {
            client,
            far,
            ledger,
            servers,
        }
    }

    /// At noon each sends the other a message.
    async fn noon(&self) {
        after_midnight(&self.client, 12 * HOUR).await;
        for which in [0, 1] {
            submit(&self.client, which, &format!("ann@{}", DOMAINS[1 - which])).await;
        }
    }

    async fn stop(self) {
        for server in self.servers {
            server.stop().await;
        }
    }
}

fn numbers(report: &StoredReport) -> (u64, u64) {
    match &report.content {
        ReportContent::Dmarc {
            messages, passed, ..
        } => (*messages, *passed),
        ReportContent::Tls {
            successful, failed, ..
        } => (*successful + *failed, *successful),
    }
}

#[test]
fn each_gets_the_others_reports_once_a_day_and_nobody_reports_about_reports() {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let world = World::new(&world).await;
        for _ in 0..3 {
            world.noon().await;
        }
        // The last day's, and a day on which there was nothing but reports.
        sleep(&world.client, 2 * DAY + 6 * HOUR).await;
        for (which, server) in world.servers.iter().enumerate() {
            let (own, other) = (DOMAINS[which], DOMAINS[1 - which]);
            for kind in KINDS {
                let came = server.came(kind);
                let days: BTreeSet<i64> = came.iter().map(|report| report.begin).collect();
                assert_eq!((came.len(), days.len()), (3, 3), "{kind:?} {came:#?}");
                for report in &came {
                    assert_eq!(numbers(report), (1, 1), "{report:#?}");
                    assert_eq!(
                        (&*report.from, &report.domains[..]),
                        (other, &[own.to_owned()][..])
                    );
                    assert_eq!(
                        (report.begin % 86_400, report.end - report.begin),
                        (0, 86_399)
                    );
                    let late = report.received - report.end;
                    assert!(
                        (0..5 * 3_600).contains(&late),
                        "{late} seconds after its day"
                    );
                }
                let sent = server.sent(kind);
                assert_eq!(sent.len(), 3, "{kind:?} {sent:#?}");
                for sent in sent {
                    assert_eq!((&*sent.domain, &*sent.text), (other, ""));
                    assert_eq!(sent.to, [format!("postmaster@{other}")]);
                }
            }
            assert_eq!(server.node().queue(10).unwrap().len(), 0);
        }
        world.stop().await;
    });
    assert_eq!(sim.panics(), 0);
}

#[test]
fn who_opted_out_gets_none_and_sessions_in_clear_are_reported_as_such() {
    let sim = Sim::new(2, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let world = World::new(&world).await;
        after_midnight(&world.client, 12 * HOUR).await;
        for domain in ["far.example", "opted.example"] {
            let reply = bring(&world.far, domain, 0).await;
            assert!(reply.starts_with("250 "), "{reply}");
            submit(&world.client, 0, &format!("somebody@{domain}")).await;
        }
        after_midnight(&world.client, 6 * HOUR).await;
        let delivered = world.ledger.deliveries();
        let reports: Vec<_> = delivered.iter().filter(|d| d.from.is_empty()).collect();
        let to: Vec<&String> = reports.iter().flat_map(|d| &d.to).collect();
        assert_eq!(to, ["postmaster@far.example"; 2]);
        let texts: Vec<_> = reports
            .iter()
            .map(|d| String::from_utf8_lossy(&d.message).into_owned())
            .collect();
        for text in &texts {
            assert!(text.starts_with("DKIM-Signature: "), "{text}");
            assert!(
                text.contains(
                    "\r\nSubject: Report Domain: far.example\r\n Submitter: a.example\r\n"
                )
            );
        }
        assert_eq!(
            texts
                .iter()
                .filter(|t| t.contains("report-type=\"tlsrpt\""))
                .count(),
            1
        );
        for kind in KINDS {
            let sent = world.servers[0].sent(kind);
            assert_eq!(sent.len(), 1, "{sent:#?}");
            assert_eq!((&*sent[0].domain, sent[0].count), ("far.example", 1));
        }
        world.stop().await;
    });
    assert_eq!(sim.panics(), 0);
}

#[test]
fn a_clock_that_is_put_back_or_forward_sends_no_day_twice() {
    let sim = Sim::new(3, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let here = world.clone();
        let world = World::new(&world).await;
        world.noon().await;
        sleep(&world.client, HOUR).await;
        // Too early for the day to be over, but the clock says that it is.
        here.jump_utc(DAY);
        sleep(&world.client, HOUR).await;
        for server in &world.servers {
            for kind in KINDS {
                assert_eq!(server.sent(kind).len(), 1);
            }
        }
        here.jump_utc_back(DAY);
        // The same day again.
        for which in [0, 1] {
            submit(&world.client, which, &format!("ann@{}", DOMAINS[1 - which])).await;
        }
        sleep(&world.client, 2 * DAY).await;
        for server in &world.servers {
            for kind in KINDS {
                assert_eq!(server.sent(kind).len(), 1, "{:#?}", server.sent(kind));
                assert_eq!(server.came(kind).len(), 1);
            }
        }
        world.stop().await;
    });
    assert_eq!(sim.panics(), 0);
}

#[test]
fn name_servers_that_do_not_answer_keep_nobody_elses_report_back_and_are_given_up() {
    // One after the other these would take longer than until the first one is tried again.
    const SILENT: usize = 160;
    const GOOD: usize = 10;
    let own = |domain: &str, rua: &str| {
        format!(
            "{domain}. MX 10 mx.far.example.\n\
             {domain}. TXT \"v=spf1 ip4:10.0.0.9 -all\"\n\
             _dmarc.{domain}. TXT \"v=DMARC1; p=none; rua=mailto:{rua}\"\n"
        )
    };
    let (mut domains, mut more) = (Vec::new(), String::new());
    for n in 0..SILENT {
        let domain = format!("d{n}.example");
        more += &own(&domain, &format!("rua@silent{n}.example"));
        more += &format!("{domain}._report._dmarc.silent{n}.example. * !TIMEOUT\n");
        domains.push(domain);
    }
    let good: BTreeSet<String> = (0..GOOD).map(|n| format!("good{n}.example")).collect();
    for domain in &good {
        more += &own(domain, &format!("rua@{domain}"));
        domains.push(domain.clone());
    }
    let sim = Sim::new(5, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let world = World::with_names(&world, &more).await;
        after_midnight(&world.client, 12 * HOUR).await;
        for domain in &domains {
            let reply = bring(&world.far, domain, 0).await;
            assert!(reply.starts_with("250 "), "{reply}");
            sleep(&world.client, Duration::from_secs(1)).await;
        }
        // A quarter of an hour, four hours in which they are spread, and one answer that does not come.
        after_midnight(&world.client, Duration::from_secs(4 * 3_600 + 16 * 60)).await;
        let sent = world.servers[0].sent(ReportKind::Dmarc);
        let to: BTreeSet<String> = sent.iter().map(|sent| sent.domain.clone()).collect();
        assert_eq!((to, sent.len()), (good, GOOD));
        sleep(&world.client, 24 * HOUR).await;
        let sent = world.servers[0].sent(ReportKind::Dmarc);
        assert_eq!(sent.len(), SILENT + GOOD);
        for sent in sent.iter().filter(|sent| sent.domain.starts_with('d')) {
            let why = "given up after 24 tries: name servers do not tell where it goes";
            assert_eq!((&*sent.text, sent.count), (why, 1));
            assert!(sent.to.is_empty(), "{sent:?}");
        }
        world.stop().await;
    });
    assert_eq!(sim.panics(), 0);
}

#[test]
fn a_report_that_cannot_be_queued_is_sent_an_hour_later() {
    let sim = Sim::new(6, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let here = world.clone();
        let world = World::new(&world).await;
        world.noon().await;
        here.strike_only(Some(NOT_QUEUED));
        // Each may fail five times, and the first ones do.
        after_midnight(&world.client, 5 * HOUR).await;
        for server in &world.servers {
            assert_eq!(KINDS.map(|kind| server.sent(kind).len()), [0, 0]);
        }
        here.strike_only(Some("none"));
        sleep(&world.client, 2 * HOUR).await;
        for server in &world.servers {
            assert_eq!(KINDS.map(|kind| server.sent(kind).len()), [1, 1]);
            assert_eq!(KINDS.map(|kind| server.came(kind).len()), [1, 1]);
        }
        world.stop().await;
    });
    assert_eq!(sim.panics(), 0);
    assert!((4..=24).contains(&sim.sites()[NOT_QUEUED].struck));
}

/// The site between composing a report and queueing it.
const NOT_QUEUED: &str = "node report not queued";

/// What came of a crash.
struct Crashed {
    /// In which second each report was put into the queue.
    at: [i64; 2],
    /// Whether that was before the crash.
    before: [bool; 2],
    /// A report was composed then, and not in the queue.
    between: bool,
}

/// A day, and its report, with a crash of one server at a moment of its clock.
fn crashing_at(micros: Option<i64>) -> Crashed {
    let sim = Sim::new(4, Knobs::fault_free());
    let world = sim.clone();
    let crashed = sim.run(async move {
        let here = world.clone();
        let mut world = World::new(&world).await;
        let (mut before, mut between) = ([false; 2], false);
        world.noon().await;
        if let Some(at) = micros {
            let now = world.client.now().utc.0;
            sleep(
                &world.client,
                Duration::from_micros((at - now).unsigned_abs()),
            )
            .await;
            let sites = here.sites();
            let composed = sites.get(NOT_QUEUED).map_or(0, |site| site.reached);
            let others = KINDS.map(|kind| world.servers[1].sent(kind).len());
            world.servers[0].crash();
            sleep(&world.client, Duration::from_secs(1)).await;
            world.servers[0].start().await;
            before = KINDS.map(|kind| !world.servers[0].sent(kind).is_empty());
            let own = before.iter().filter(|is_queued| **is_queued).count();
            let queued = own + others.iter().sum::<usize>();
            between = usize::try_from(composed).unwrap() > queued;
        }
        let secs = world.client.now().utc.secs().rem_euclid(86_400);
        if secs >= 12 * 3_600 {
            after_midnight(&world.client, Duration::ZERO).await;
        }
        // An attempt that the crash cut short is made again.
        sleep(&world.client, 9 * HOUR).await;
        for (kind, what) in KINDS.into_iter().zip(["multipart/mixed", "tlsrpt"]) {
            let sent = world.servers[0].sent(kind);
            assert_eq!((sent.len(), sent[0].count), (1, 1), "{micros:?} {sent:#?}");
            let came = world.servers[1].came(kind);
            assert_eq!(came.len(), 1, "{micros:?} {came:#?}");
            let letters = world.servers[1].letters(&world.client, what).await;
            assert_eq!(letters.len(), 1, "{micros:?} {letters:?}");
        }
        let at = KINDS.map(|kind| world.servers[0].sent(kind)[0].at);
        world.stop().await;
        Crashed {
            at,
            before,
            between,
        }
    });
    assert_eq!(sim.panics(), 0);
    crashed
}

#[test]
fn a_crash_between_composing_and_queueing_loses_no_report_and_sends_none_twice() {
    let usual = crashing_at(None).at;
    for (which, at) in usual.into_iter().enumerate() {
        // The moment from which on the day is done for who finds the store after a crash, to 50 us.
        let (mut early, mut late) = (at * 1_000_000 - 1_000_000, at * 1_000_000 + 3_000_000);
        assert!(!crashing_at(Some(early)).before[which]);
        assert!(crashing_at(Some(late)).before[which]);
        let mut between = 0;
        while late - early > 50 {
            let middle = early.midpoint(late);
            let crashed = crashing_at(Some(middle));
            between += u32::from(crashed.between && !crashed.before[which]);
            match crashed.before[which] {
                true => late = middle,
                false => early = middle,
            }
        }
        // And before it, in pauses that grow.
        for step in 1..15 {
            let crashed = crashing_at(Some(early - step * step * 50));
            between += u32::from(crashed.between && !crashed.before[which]);
        }
        assert!(between > 0, "no crash fell between composing and queueing");
    }
}
