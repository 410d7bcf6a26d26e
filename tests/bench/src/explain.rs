//! How long `moxctl explain` takes when a million decisions are remembered: the whole command, over the socket of a server.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use mox_machine::Utc;
use mox_mailbox::{DecisionBudget, NewDecision, Reads, initialise, keep_decisions};
use mox_server::decision::{
    Authenticated, Connection, DmarcFacts, Facts, Judgement, LeftOut, Message, Method, Recipient,
    Record, Signature, Stage, Standing,
};
use mox_store::{FjallKv, Kv};

use crate::server::moxctl;

/// Records.
const RECORDS: u64 = 1_000_000;
/// Of these are kept in one operation.
const AT_ONCE: u64 = 100;
/// Operations between two syncs.
const GROUP: u64 = 64;
/// Each sender and each recipient has so many.
const SENDERS: u64 = 10_000;
/// Recipients that are asked about.
const RECIPIENTS: u64 = 100;
/// How often each question is asked.
const TIMES: u64 = 21;
/// The port it listens at, for nobody.
const PORT: u16 = 18_625;
/// Longest that a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fills a store, starts a server over it, and asks.
pub(crate) fn print() -> io::Result<()> {
    let dir = std::env::temp_dir().join(format!("mox-bench-explain-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let result = measure(&dir);
    fs::remove_dir_all(&dir)?;
    result
}

fn measure(dir: &Path) -> io::Result<()> {
    let mox = format!(
        "(data_dir: \"data\", user: \"nobody\", hostname: \"mx.ours.example\", log_level: error, resolvers: [\"127.0.0.1:9\"],\n\
         listeners: {{\"l\": (ips: [\"127.0.0.1\"], tls: off, smtp: (port: {PORT}))}},\n\
         postmaster: (account: \"ann\"), decision_records: (megabytes: 100000))\n"
    );
    fs::write(dir.join("mox.ron"), mox)?;
    let domains = "(domains: {\"ours.example\": ()}, accounts: {\"ann\": (domain: \"ours.example\", addresses: [\"ann\"])})";
    fs::write(dir.join("domains.ron"), domains)?;
    // The server makes what belongs to a store; the records are put into its rows.
    Server::start(dir)?.stop()?;
    let begun = Instant::now();
    let octets = fill(&dir.join("data/store/rows"))?;
    eprintln!("{RECORDS} records were made in {:.0?}", begun.elapsed());
    let server = Server::start(dir)?;
    // The first answer waits until the store is open.
    explain(dir, &id(0))?;
    println!(
        "\n| moxctl explain, {RECORDS} records of {octets} octets | median, ms | worst, ms |\n|---|---|---|"
    );
    let numbers = || (0..TIMES).map(|n| n * (RECORDS / TIMES));
    ask("by id", dir, numbers().map(id))?;
    ask("by Message-ID", dir, numbers().map(message_id))?;
    ask("by a sender of 100", dir, numbers().map(sender))?;
    ask("by a recipient of 10,000", dir, numbers().map(recipient))?;
    ask(
        "what nobody knows",
        dir,
        numbers().map(|n| format!("{n}@nowhere.example")),
    )?;
    server.stop()
}

fn id(n: u64) -> String {
    format!("{n:012x}")
}

fn message_id(n: u64) -> String {
    format!("<{n}@far.example>")
}

fn sender(n: u64) -> String {
    format!("sender{}@far.example", n % SENDERS)
}

fn recipient(n: u64) -> String {
    format!("u{}@ours.example", n % RECIPIENTS)
}

fn explain(dir: &Path, what: &str) -> io::Result<std::process::Output> {
    Command::new(moxctl()?)
        .arg("--config")
        .arg(dir.join("mox.ron"))
        .args(["explain", "--json", what])
        .output()
}

/// Asks each question, and prints how long the answers took.
fn ask(name: &str, dir: &Path, questions: impl Iterator<Item = String>) -> io::Result<()> {
    let mut times = Vec::new();
    for what in questions {
        let begun = Instant::now();
        let told = explain(dir, &what)?;
        times.push(begun.elapsed());
        let known = !what.contains("nowhere");
        if told.status.success() != known {
            let text = String::from_utf8_lossy(&told.stderr).into_owned();
            return Err(io::Error::other(format!("moxctl explain {what}: {text}")));
        }
    }
    times.sort_unstable();
    let ms = |nth: usize| times.get(nth).map_or(0.0, |t| t.as_secs_f64() * 1e3);
    println!(
        "| {name} | {:.1} | {:.1} |",
        ms(times.len() / 2),
        ms(times.len() - 1)
    );
    Ok(())
}

/// Puts the records into the rows of a store; the octets of one.
fn fill(rows: &Path) -> io::Result<usize> {
    let mut kv = FjallKv::open(rows).map_err(|e| io::Error::other(e.to_string()))?;
    let (batch, ()) = initialise(kv.reads()).map_err(io::Error::other)?;
    kv.commit(&batch)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = i64::try_from(now.unwrap_or_default().as_secs()).map_err(io::Error::other)?;
    let budget = DecisionBudget {
        octets: u64::MAX,
        spare: u64::MAX,
    };
    let mut octets = 0;
    for group in 0..RECORDS / AT_ONCE {
        let some: Vec<NewDecision> = (group * AT_ONCE..(group + 1) * AT_ONCE)
            .map(|n| {
                let record = record(n, now);
                NewDecision {
                    keys: record.keys(),
                    record: Bytes::from(record.encode()),
                    at: Utc::from_secs(now),
                    is_spare: false,
                    observations: Vec::new(),
                }
            })
            .collect();
        octets = some.first().map_or(0, |new| new.record.len());
        let reads: &dyn Reads = kv.reads();
        let (batch, _) = keep_decisions(reads, &some, budget).map_err(io::Error::other)?;
        kv.commit(&batch)?;
        if group % GROUP == GROUP - 1 {
            kv.sync()?;
        }
    }
    kv.sync()?;
    Box::new(kv).close()?;
    Ok(octets)
}

/// A stranger's message, with what its checks came to.
fn record(n: u64, now: i64) -> Record {
    let method = |result: &str, subject: &str| Method {
        result: result.into(),
        subject: subject.into(),
        problem: None,
        mechanism: None,
    };
    let author = sender(n);
    let facts = Facts {
        stage: Stage::Message,
        at: now,
        connection: Connection {
            ip: [192, 0, 2, 1].into(),
            hello: "mx.far.example".into(),
            tls: true,
            slow: false,
        },
        sender: author.clone(),
        sender_unreachable: None,
        has_resolver: true,
        message: Some(Message {
            authors: vec![author],
            author_domains: vec!["far.example".into()],
            message_id: Some(message_id(n)),
            size: 10_000,
            loops: None,
            iprev: method("pass", "mx.far.example"),
            spf: method("pass", "far.example"),
            helo: method("none", "mx.far.example"),
            dkim: vec![Signature {
                domain: "far.example".into(),
                result: "pass".into(),
                vouches: true,
                problem: None,
                selector: None,
                algorithm: None,
            }],
            dmarc: DmarcFacts {
                result: "pass".into(),
                disposition: "none".into(),
                policy_domain: Some("far.example".into()),
                problem: None,
                alignment: None,
            },
            author: Authenticated::Strict,
            listings: Vec::new(),
        }),
    };
    let to = Recipient {
        account: Some("ann".into()),
        mailbox: "INBOX".into(),
        ..Recipient::new(recipient(n), Standing::Known)
    };
    // As long as what a signed message of one who has SPF and DMARC asks for.
    let dns = "far.example. 300 IN TXT \"v=spf1 ip4:192.0.2.0/24 include:_spf.far.example -all\"\n"
        .repeat(8);
    Record {
        id: id(n),
        recipients: vec![Judgement::of(&facts, to)],
        facts,
        reply: "250".into(),
        dns,
        left_out: LeftOut::default(),
    }
}

/// A running `moxctl serve`. Dropped, it is killed.
struct Server(Child);

impl Server {
    fn start(dir: &Path) -> io::Result<Self> {
        let child = Command::new(moxctl()?)
            .arg("--config")
            .arg(dir.join("mox.ron"))
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let mut server = Self(child);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", PORT)).is_err() || !dir.join("data/ctl").exists() {
            if let Some(status) = server.0.try_wait()? {
                return Err(io::Error::other(format!("moxctl serve: {status}")));
            }
            if begun.elapsed() > PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// Ends it in good order.
    fn stop(mut self) -> io::Result<()> {
        crate::server::terminate(&self.0)?;
        self.0.wait().map(|_| ())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
