//! The suites for SPF, DKIM and DMARC over a network whose answers come in any order: the results are those of answers that
//! are there at once.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_dkim::AwsLc;
use mox_dmarc::{Authenticated, Outcome};
use mox_dns::stub::ResolverConfig;
use mox_dns::{
    Answer, Facts, Failure, Inquiry, MasterFile, Missing, Name, Progress, Question, Record,
    RecordType,
};
use mox_machine::{Mono, Now, Seed};
use mox_node::Resolver;
use mox_sim::{DnsManner, Knobs, Sim, SimRuntime, name_server};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long an answer takes at most: every order comes up, and no answer is a timeout.
const SLOWEST: Duration = Duration::from_secs(2);

/// What a server says about names that its file has.
struct Server {
    file: MasterFile,
}

impl Server {
    /// The answer to a packet; `None` for none, as for a name that is to time out.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut labels = Vec::new();
        let mut at = 12;
        while query[at] > 0 {
            let end = at + 1 + usize::from(query[at]);
            labels.push(&query[at + 1..end]);
            at = end;
        }
        let code = u16::from_be_bytes([query[at + 1], query[at + 2]]);
        let kind = RecordType::ALL
            .into_iter()
            .find(|kind| kind.code() == code)?;
        let name = Name::from_labels(labels).unwrap();
        let answer = self.file.answer(&Question::of(name.clone(), kind));
        let code = match answer.why() {
            None | Some(Failure::NoData) => 0,
            Some(Failure::NoDomain) => 3,
            Some(Failure::ServFail | Failure::Bogus) => 2,
            Some(Failure::Timeout) => return None,
        };
        let mut records = Vec::new();
        let end = answer.canonical.clone().unwrap_or_else(|| name.clone());
        if answer.canonical.is_some() {
            records.push(packed(&name, &Record::Cname(end.clone())));
        }
        records.extend(answer.all().iter().map(|record| packed(&end, record)));
        let count = u16::try_from(records.len()).unwrap().to_be_bytes();
        let head = [
            query[0],
            query[1],
            0x81,
            0x80 | code,
            0,
            1,
            count[0],
            count[1],
            0,
            0,
            0,
            0,
        ];
        Some([&head, &query[12..at + 5], &records.concat()].concat())
    }
}

fn packed(owner: &Name, record: &Record) -> Vec<u8> {
    let data = match record {
        Record::A(ip) => ip.octets().to_vec(),
        Record::Aaaa(ip) => ip.octets().to_vec(),
        Record::Mx {
            preference,
            exchange,
        } => [&preference.to_be_bytes()[..], &wire(exchange)].concat(),
        Record::Txt(text) if text.is_empty() => vec![0],
        Record::Txt(text) => text
            .chunks(255)
            .flat_map(|string| [&[u8::try_from(string.len()).unwrap()], string].concat())
            .collect(),
        Record::Cname(name) | Record::Ptr(name) | Record::Ns(name) => wire(name),
        other => panic!("{other:?}"),
    };
    let mut out = wire(owner);
    out.extend(record.kind().code().to_be_bytes());
    out.extend([0, 1, 0, 0, 1, 0x2c]);
    out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    out.extend(data);
    out
}

fn wire(name: &Name) -> Vec<u8> {
    let labels = name
        .labels()
        .flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label].concat());
    labels.chain([0]).collect()
}

/// Somebody who asks servers over the network of a world.
struct World {
    sim: Sim,
    client: SimRuntime,
    servers: u8,
}

impl World {
    /// Runs a function of facts over the network, on a server with this zone.
    async fn over_the_network<T>(
        &mut self,
        zone: &str,
        function: impl FnMut(&Facts) -> Result<T, Missing>,
    ) -> T {
        self.servers = self.servers.wrapping_add(1);
        let seed = Seed::from_number(self.servers.into());
        let address = SocketAddr::from((Ipv4Addr::new(10, 0, 53, self.servers), 53));
        let server = Server {
            file: MasterFile::parse(zone).unwrap(),
        };
        let mut rng = seed.child("latency", 0).rng();
        let slowest = u64::try_from(SLOWEST.as_millis()).unwrap();
        self.sim.serve_udp(address, move |_, query| {
            let after = Duration::from_millis(rng.below(slowest));
            let answer = server.answer(query);
            answer.into_iter().map(|answer| (after, answer)).collect()
        });
        let resolver = Resolver::new(ResolverConfig::of([address]), seed);
        let (verdict, _) = resolver
            .inquire(&self.client, Facts::default(), function)
            .await;
        verdict
    }
}

/// Runs a function of facts on the file itself.
fn at_once<T>(zone: &str, mut function: impl FnMut(&Facts) -> Result<T, Missing>) -> T {
    let file = MasterFile::parse(zone).unwrap();
    let mut inquiry = Inquiry::new(Facts::default(), Mono(u64::MAX));
    loop {
        match inquiry.run(Now::default(), &mut function) {
            Progress::Done(verdict) => return verdict,
            Progress::Ask(questions) => {
                for question in questions {
                    let answer = file.answer(&question);
                    inquiry.answer(&question, answer);
                }
            }
            Progress::Wait => panic!("every question was answered"),
        }
    }
}

fn in_world<F: Future<Output = ()> + Send + 'static>(
    seed: u64,
    play: impl FnOnce(World) -> F,
) -> Sim {
    let sim = Sim::new(seed, Knobs::fault_free());
    let world = World {
        sim: sim.clone(),
        client: sim.computer("client", [10, 0, 1, 1]),
        servers: 0,
    };
    sim.run(play(world));
    assert_eq!(sim.panics(), 0);
    sim
}

#[test]
fn the_spf_suite_comes_to_the_same_reports_whatever_order_answers_come_in() {
    let test = "mox-sim the_spf_suite_comes_to_the_same_reports_whatever_order_answers_come_in";
    let Some(folder) = mox_suites::folder(test) else {
        return;
    };
    let cases = Arc::new(mox_suites::spf(&folder));
    for seed in 0..2 {
        let cases = Arc::clone(&cases);
        let sim = in_world(seed, |mut world| async move {
            for case in cases.iter() {
                let query = mox_spf::Query {
                    ip: case.ip,
                    helo: case.helo.as_bytes(),
                    mail_from: case.mail_from.as_bytes(),
                    receiver: b"mx.example.org",
                    time: 1_700_000_000,
                };
                let limits = mox_spf::Limits::default();
                // How long an absence may be remembered is another matter for a server than for a file.
                let check = |facts: &Facts| {
                    let mut report = mox_spf::check_host(facts, &query, &limits)?;
                    report.ttl = 0;
                    Ok(report)
                };
                let report = world.over_the_network(&case.zone, check).await;
                assert_eq!(report, at_once(&case.zone, check), "{}", case.id);
                let result = report.verdict.name();
                assert!(
                    case.accept.iter().any(|accepted| accepted == result),
                    "{}",
                    case.id
                );
                assert!(
                    case.is_explained(report.explanation.as_deref()),
                    "{}",
                    case.id
                );
            }
        });
        assert!(sim.elapsed() > Duration::from_secs(60));
    }
}

#[test]
fn the_dkim_suite_comes_to_the_same_reports_whatever_order_answers_come_in() {
    let test = "mox-sim the_dkim_suite_comes_to_the_same_reports_whatever_order_answers_come_in";
    let Some(folder) = mox_suites::folder(test) else {
        return;
    };
    let cases = mox_suites::dkim(&folder);
    in_world(1, |mut world| async move {
        for case in &cases {
            let mut verifier = mox_dkim::Verifier::new(&case.header, &mox_dkim::Limits::default());
            verifier.push(&case.body);
            let hashed = verifier.finish();
            let judge = |facts: &Facts| {
                let policy = mox_dkim::Policy::default();
                let mut reports = hashed.judge(facts, &policy, case.now, &AwsLc)?;
                reports.iter_mut().for_each(|report| report.ttl = 0);
                Ok(reports)
            };
            let reports = world.over_the_network(&case.zone, judge).await;
            assert_eq!(reports, at_once(&case.zone, judge), "{}", case.id);
            assert!(
                case.agrees(mox_dkim::overall(&reports).name()),
                "{}",
                case.id
            );
        }
    });
}

#[test]
fn dmarc_comes_to_the_same_reports_whatever_order_answers_come_in() {
    let test = "mox-sim dmarc_comes_to_the_same_reports_whatever_order_answers_come_in";
    let Some(folder) = mox_suites::folder(test) else {
        return;
    };
    let cases = mox_suites::dmarc(&folder);
    in_world(1, |mut world| async move {
        for case in &cases {
            let checked = |checked: &Option<(String, bool)>| {
                let (domain, passes) = checked.as_ref()?;
                let outcome = if *passes {
                    Outcome::Pass
                } else {
                    Outcome::Fail
                };
                Some((domain.clone().into_bytes(), outcome))
            };
            let (spf, dkim) = (checked(&case.spf), checked(&case.dkim));
            let authors = [case.author().as_bytes()];
            let dkim: Vec<Authenticated<'_>> = dkim.iter().map(authenticate).collect();
            let message = mox_dmarc::Message {
                authors: &authors,
                spf: spf.as_ref().map(authenticate),
                dkim: &dkim,
            };
            let evaluate = |facts: &Facts| {
                let mut report = mox_dmarc::evaluate(facts, &message)?;
                report.ttl = 0;
                Ok(report)
            };
            let report = world.over_the_network(&case.zone, evaluate).await;
            assert_eq!(report, at_once(&case.zone, evaluate), "{case:?}");
            let author = &report.authors[0];
            assert_eq!(author.policy.name(), case.policy, "{case:?}");
            let aligned = author.spf_aligned;
            assert_eq!(aligned, case.spf_aligned.unwrap_or(aligned), "{case:?}");
            let aligned = author.dkim_aligned.is_some();
            assert_eq!(aligned, case.dkim_aligned.unwrap_or(aligned), "{case:?}");
        }
    });
}

fn authenticate((domain, outcome): &(Vec<u8>, Outcome)) -> Authenticated<'_> {
    Authenticated {
        domain,
        outcome: *outcome,
    }
}

/// Answers that are in the zone, and what a liar says before the true one, or instead of it.
#[test]
fn nobody_who_lies_about_dns_changes_a_result() {
    const ZONE: &str = "
        example.org.      TXT \"v=spf1 include:a.example.org mx -all\"
        example.org.      MX 10 mx.example.org.
        mx.example.org.   A 192.0.2.1
        a.example.org.    TXT \"v=spf1 a:b.example.org -all\"
        b.example.org.    A 198.51.100.1
    ";
    let liars = [
        DnsManner {
            wrong_id_one_in: 1,
            ..DnsManner::direct()
        },
        DnsManner {
            junk_one_in: 1,
            ..DnsManner::direct()
        },
        DnsManner {
            other_case_one_in: 1,
            ..DnsManner::direct()
        },
        DnsManner {
            truncated_one_in: 1,
            ..DnsManner::direct()
        },
        DnsManner {
            wrong_id_one_in: 2,
            junk_one_in: 2,
            other_case_one_in: 2,
            truncated_one_in: 2,
            lost_one_in: 4,
            slow_one_in: 2,
            slow: Duration::from_secs(3),
            servfail_one_in: 0,
        },
    ];
    for (seed, manner) in liars.into_iter().enumerate() {
        let sim = Sim::new(seed as u64, Knobs::fault_free());
        let world = sim.clone();
        sim.run(async move {
            let client = world.computer("client", [10, 0, 1, 1]);
            let servers = [53, 54].map(|n| {
                let computer = world.computer("names", [10, 0, 0, n]);
                name_server(&computer, MasterFile::parse(ZONE).unwrap(), manner.clone()).unwrap()
            });
            for (ip, verdict) in [
                ("192.0.2.1", mox_spf::Verdict::Pass),
                ("198.51.100.1", mox_spf::Verdict::Pass),
                ("203.0.113.1", mox_spf::Verdict::Fail),
            ] {
                let query = mox_spf::Query {
                    ip: ip.parse().unwrap(),
                    helo: b"mx.example.org",
                    mail_from: b"ann@example.org",
                    receiver: b"mx.example.net",
                    time: 0,
                };
                let config = ResolverConfig {
                    attempts: 5,
                    ..ResolverConfig::of(servers)
                };
                let resolver = Resolver::new(config, Seed::from_number(seed as u64));
                let check =
                    |facts: &Facts| mox_spf::check_host(facts, &query, &mox_spf::Limits::default());
                let (report, facts) = resolver.inquire(&client, Facts::default(), check).await;
                assert_eq!(report.verdict, verdict, "{ip} {manner:?}: {report:#?}");
                // Nobody vouched for anything: these servers are not on this host.
                assert!(
                    facts
                        .iter()
                        .all(|(_, answer): (_, &Answer)| !answer.authentic)
                );
            }
        });
        assert_eq!(sim.panics(), 0);
    }
}
