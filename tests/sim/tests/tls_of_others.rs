//! What is known of the TLS of other domains, over restarts: their MTA-STS policies, and whether there was TLS at all.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod one_server;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use futures_rustls::TlsAcceptor;
use mox_dns::MasterFile;
use mox_driver::{Bind, Runtime};
use mox_machine::Utc;
use mox_node::{MtaSts, Outgoing};
use mox_sim::peers::{Act, Ledger, Manner, Seen, Stage, serve};
use mox_sim::{DnsManner, Knobs, Sim, SimRuntime, SimStream, name_server};
use one_server::{One, sleep, submit, text};
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CAROL: &str = "carol@peer.example";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// What is told of a host that a policy keeps mail from.
const NO_TLS: &str = "the host does not offer STARTTLS. TLS with a certificate for this name is demanded: the domain's MTA-STS policy is in force";

/// A mail server in front of which somebody may be who takes STARTTLS out.
struct Stripped(Arc<AtomicBool>);

impl Manner for Stripped {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        let hides = seen.stage == Stage::Hello && !seen.secured && self.0.load(Ordering::SeqCst);
        hides.then(|| vec![Act::reply("250-mx.peer.example\r\n250 8BITMIME")])
    }
}

/// What a web server says.
#[derive(Default)]
struct Web {
    /// The policy; without one there is no answer.
    policy: Option<String>,
    /// It thinks for so long.
    takes: Duration,
    /// How often somebody asked.
    asked: usize,
}

/// A domain of somebody else, with its mail server, its web server and its name server.
struct Far {
    names: SimRuntime,
    mail: Ledger,
    stripped: Arc<AtomicBool>,
    web: Arc<Mutex<Web>>,
}

async fn answer(tls: Arc<ServerConfig>, stream: SimStream, web: Arc<Mutex<Web>>, on: SimRuntime) {
    let Ok(mut stream) = TlsAcceptor::from(tls).accept(stream).await else {
        return;
    };
    let mut request = vec![0; 1_000];
    let _ = stream.read(&mut request).await;
    let (policy, takes) = {
        let mut web = web.lock().unwrap();
        web.asked += 1;
        (web.policy.clone(), web.takes)
    };
    sleep(&on, takes).await;
    let Some(policy) = policy else {
        std::future::pending().await
    };
    let length = policy.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{policy}"
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.close().await;
}

fn web_server(on: &SimRuntime, tls: Arc<ServerConfig>) -> Arc<Mutex<Web>> {
    let web = Arc::<Mutex<Web>>::default();
    let (here, state) = (on.clone(), web.clone());
    let at = SocketAddr::new(on.addresses()[0], 443);
    let listener = on.listen(Bind::Addr(at)).unwrap();
    let serve = async move {
        loop {
            let (stream, _) = here.accept(&listener).await.unwrap();
            let session = answer(tls.clone(), stream, state.clone(), here.clone());
            here.spawn_session("web session", Box::pin(session));
        }
    };
    on.spawn_service("web", Box::pin(serve));
    web
}

impl Far {
    /// The domain, and what our server has to know to reach it.
    fn new(world: &Sim) -> (Self, One) {
        let peer = world.computer("peer", [10, 0, 0, 9]);
        let (tls, authorities) = peer.trusted_tls(&["mx.peer.example", "mta-sts.peer.example"]);
        let stripped = Arc::<AtomicBool>::default();
        let manner = Stripped(stripped.clone());
        let mail = serve(&peer, 25, "mx.peer.example", Some(tls.clone()), manner).unwrap();
        let web = web_server(&peer, tls);
        let far = Self {
            names: world.computer("names", [10, 0, 0, 53]),
            mail,
            stripped,
            web,
        };
        let mut one = One::new(world, Outgoing::Direct);
        one.mta_sts.authorities = Arc::new(authorities);
        one.resolvers = vec![far.publish(None)];
        (far, one)
    }

    /// Has name servers tell of a policy with this id, or of none.
    fn publish(&self, id: Option<&str>) -> SocketAddr {
        let mut zone = "peer.example. 60 MX 10 mx.peer.example.\nmx.peer.example. 60 A 10.0.0.9\nmta-sts.peer.example. 60 A 10.0.0.9\n".to_owned();
        if let Some(id) = id {
            zone += &format!("_mta-sts.peer.example. 60 TXT \"v=STSv1; id={id}\"\n");
        }
        self.names.kill();
        let zone = MasterFile::parse(&zone).unwrap();
        name_server(&self.names, zone, DnsManner::direct()).unwrap()
    }

    /// Has the web server say that this is the policy.
    fn policy(&self, mode: &str, max_age: Duration) {
        let max_age = max_age.as_secs();
        let policy =
            format!("version: STSv1\nmode: {mode}\nmx: mx.peer.example\nmax_age: {max_age}\n");
        self.web.lock().unwrap().policy = Some(policy);
    }

    /// Takes STARTTLS away, or gives it back.
    fn strip(&self, is_stripped: bool) {
        self.stripped.store(is_stripped, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.web.lock().unwrap().asked
    }

    /// Of each message that is there, whether it came through TLS.
    fn arrived(&self) -> Vec<bool> {
        let visits = self.mail.visits();
        let arrived = self.mail.deliveries().into_iter();
        arrived.map(|it| visits[it.visit].secured).collect()
    }
}

fn world<F: Future<Output = ()> + Send + 'static>(
    story: impl FnOnce(Far, One, SimRuntime) -> F + Send + 'static,
) {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    sim.run(async move {
        let (far, one) = Far::new(&world);
        let client = world.computer("client", [10, 0, 1, 1]);
        story(far, one, client).await;
    });
    assert_eq!(sim.panics(), 0);
}

/// Ann writes to Carol, and it arrives.
async fn sent(one: &One, client: &SimRuntime) {
    submit(client, &[CAROL], &text("mark", 3)).await.unwrap();
    assert!(one.settle(HOUR).await, "{:?}", one.queue());
}

/// Ann writes to Carol, and it waits: why.
async fn waits(one: &One, client: &SimRuntime) -> String {
    submit(client, &[CAROL], &text("mark", 3)).await.unwrap();
    assert!(!one.settle(HOUR).await);
    one.queue()[0].last.clone().unwrap()
}

#[test]
fn who_cuts_dns_and_https_behind_a_restart_gets_no_mail_in_clear() {
    world(|far, mut one, client| async move {
        far.publish(Some("1"));
        far.policy("enforce", 7 * DAY);
        one.start().await;
        sent(&one, &client).await;
        assert_eq!((far.arrived(), far.asked()), (vec![true], 1));
        one.crash();
        // Nothing is heard of the policy any more.
        far.publish(None);
        far.web.lock().unwrap().policy = None;
        far.strip(true);
        one.start().await;
        assert_eq!(waits(&one, &client).await, NO_TLS);
        assert_eq!(far.arrived(), [true]);
        far.strip(false);
        assert!(one.settle(DAY).await);
        assert_eq!(far.arrived(), [true, true]);
        one.stop().await;
    });
}

#[test]
fn a_policy_is_fetched_again_when_its_id_changes_also_behind_a_restart() {
    world(|far, mut one, client| async move {
        far.publish(Some("1"));
        far.policy("enforce", 7 * DAY);
        one.start().await;
        sent(&one, &client).await;
        one.crash();
        one.start().await;
        sent(&one, &client).await;
        assert_eq!(far.asked(), 1);
        far.publish(Some("2"));
        far.policy("testing", 7 * DAY);
        sleep(&client, 2 * MINUTE).await;
        sent(&one, &client).await;
        assert_eq!(far.asked(), 2);
        // Now TLS is not demanded any more.
        far.strip(true);
        sent(&one, &client).await;
        assert_eq!(far.arrived(), [true, true, true, false]);
        assert_eq!(far.asked(), 2);
        one.stop().await;
    });
}

#[test]
fn a_policy_holds_to_its_end_and_no_longer_while_nobody_looks_at_it() {
    for (days, expected) in [(6, &[true][..]), (8, &[true, false])] {
        world(move |far, mut one, client| async move {
            far.publish(Some("1"));
            far.policy("enforce", 7 * DAY);
            one.start().await;
            sent(&one, &client).await;
            one.crash();
            far.publish(None);
            far.web.lock().unwrap().policy = None;
            far.strip(true);
            sleep(&client, days * DAY).await;
            one.start().await;
            submit(&client, &[CAROL], &text("mark", 3)).await.unwrap();
            one.settle(HOUR).await;
            assert_eq!(far.arrived(), expected, "{days}");
            one.stop().await;
        });
    }
}

#[test]
fn policies_are_looked_at_again_before_they_cease_to_hold() {
    world(|far, mut one, client| async move {
        far.publish(Some("1"));
        far.policy("enforce", DAY);
        one.start().await;
        sent(&one, &client).await;
        // That it is the same is told by DNS alone.
        sleep(&client, 10 * DAY).await;
        assert_eq!(far.asked(), 1);
        // Where DNS says that there is none, the web server knows better.
        far.publish(None);
        sleep(&client, 5 * DAY).await;
        assert!(far.asked() > 5, "{}", far.asked());
        // It can do without either for a while.
        far.web.lock().unwrap().policy = None;
        far.strip(true);
        sleep(&client, 12 * HOUR).await;
        assert_eq!(waits(&one, &client).await, NO_TLS);
        // What is published meanwhile is known without a delivery.
        let asked = far.asked();
        far.publish(Some("2"));
        far.policy("testing", DAY);
        sleep(&client, 7 * HOUR).await;
        assert_eq!(far.asked(), asked + 1);
        assert!(one.settle(DAY).await);
        assert_eq!(far.arrived(), [true, false]);
        // A domain that gave it up is forgotten.
        far.publish(None);
        far.web.lock().unwrap().policy = None;
        sleep(&client, 3 * DAY).await;
        let view = one.node().store().published();
        assert_eq!(
            mox_mailbox::kept_policies(&*view.view, "", 9),
            Ok(Vec::new())
        );
        one.stop().await;
    });
}

#[test]
fn a_web_server_that_hangs_costs_one_delivery_its_time_and_not_each() {
    world(|far, mut one, client| async move {
        far.publish(Some("1"));
        far.policy("enforce", 7 * DAY);
        one.start().await;
        sent(&one, &client).await;
        far.publish(Some("2"));
        far.web.lock().unwrap().policy = None;
        sleep(&client, 2 * MINUTE).await;
        let mut took = Vec::new();
        for _ in 0..4 {
            let began = client.now().mono;
            sent(&one, &client).await;
            took.push(client.now().mono.since(began));
        }
        assert!((MINUTE..2 * MINUTE).contains(&took[0]), "{took:?}");
        assert!(took[1..].iter().all(|took| *took < MINUTE / 2), "{took:?}");
        assert_eq!((far.arrived(), far.asked()), (vec![true; 5], 2));
        // It is tried again in five minutes, and heard.
        far.policy("enforce", 7 * DAY);
        sleep(&client, 5 * MINUTE).await;
        sent(&one, &client).await;
        sent(&one, &client).await;
        assert_eq!(far.asked(), 3);
        one.stop().await;
    });
}

#[test]
fn deliveries_at_once_share_one_fetch() {
    for answers in [true, false] {
        world(move |far, mut one, client| async move {
            far.publish(Some("1"));
            if answers {
                far.policy("enforce", 7 * DAY);
            }
            far.web.lock().unwrap().takes = MINUTE / 2;
            one.start().await;
            let began = client.now().mono;
            for _ in 0..4 {
                submit(&client, &[CAROL], &text("mark", 3)).await.unwrap();
            }
            assert!(one.settle(HOUR).await);
            let took = client.now().mono.since(began);
            assert!(took < MINUTE + MINUTE / 2, "{took:?}");
            assert_eq!((far.arrived(), far.asked()), (vec![true; 4], 1));
            one.stop().await;
        });
    }
}

/// What was recorded of the last attempt: its TLS, and its steps.
fn recorded(one: &One) -> (String, Vec<String>) {
    let retired = one.node().retired(Utc(0), 100).unwrap();
    let newest = retired
        .into_iter()
        .max_by_key(|retired| retired.entry)
        .unwrap();
    let view = one.node().store().published();
    let steps = mox_mailbox::queue_transcript(&*view.view, newest.entry)
        .unwrap()
        .unwrap();
    (newest.last().unwrap().tls.clone(), steps.steps)
}

#[test]
fn that_tls_with_a_host_is_gone_is_told_though_mail_goes_on() {
    for is_trusted in [true, false] {
        world(move |far, mut one, client| async move {
            if !is_trusted {
                one.mta_sts = MtaSts::default();
            }
            far.strip(true);
            one.start().await;
            sent(&one, &client).await;
            assert_eq!(recorded(&one).0, "in clear");
            far.strip(false);
            sent(&one, &client).await;
            assert_eq!(recorded(&one).0, "TLS1.3, with anybody");
            one.crash();
            far.strip(true);
            one.start().await;
            sleep(&client, 3 * DAY).await;
            sent(&one, &client).await;
            let there = one.runtime.now().utc - 3 * DAY;
            let there = there.civil();
            let mut expected = format!(
                "TLS was there until {}-{:02}-{:02}",
                there.year, there.month, there.day
            );
            if is_trusted {
                expected += ", with a certificate for its name";
            }
            let (tls, steps) = recorded(&one);
            assert_eq!(tls, format!("in clear; {expected}"));
            assert_eq!(steps.last().unwrap(), &format!("in clear: {expected}"));
            // Nobody is told for ever.
            client.sim().jump_utc(90 * DAY);
            sent(&one, &client).await;
            assert_eq!(recorded(&one).0, "in clear");
            assert_eq!(far.arrived(), [false, true, false, false]);
            one.stop().await;
        });
    }
}

#[test]
fn a_rehearsal_tells_that_tls_is_gone_and_is_not_remembered_itself() {
    world(|far, mut one, client| async move {
        one.start().await;
        let mut told = Vec::new();
        for (is_stripped, is_sent) in [(false, false), (true, false), (false, true), (true, false)]
        {
            far.strip(is_stripped);
            if is_sent {
                sent(&one, &client).await;
            }
            let run = one.node().dry_run(None, CAROL, 1_000, false);
            let steps = run.await.unwrap().steps.into_iter();
            let steps =
                steps.filter(|step| step.starts_with("in clear: TLS was there until 2026-"));
            told.push(steps.count());
        }
        assert_eq!(told, [0, 0, 0, 1]);
        one.stop().await;
    });
}
