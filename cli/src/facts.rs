//! Functions of facts, run for a command: their questions are answered by name servers or by a file, and the answers can
//! be kept.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::{Path, PathBuf};

use mox_dns::stub::ResolverConfig;
use mox_dns::{Answer, Facts, Inquiry, MasterFile, Missing, Name, Progress, Question};
use mox_machine::{Mono, Now};
use mox_node::Resolver;
use mox_runtime_smol::SmolRuntime;

use crate::failure::Failure;
use crate::files::{read_at_most, replace_or_create};
use crate::password::os_seed;

/// Where the system says which name servers to ask.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Octets of a master file at most.
const FILE_MAX: u64 = 64 << 20;

/// One table of facts for one command, and who fills it.
pub(crate) struct Inquirer {
    source: Source,
    facts: Facts,
    /// Where the facts are kept.
    out: Option<PathBuf>,
}

enum Source {
    File(MasterFile),
    Dns(SmolRuntime, Box<Resolver>),
}

impl Inquirer {
    /// Asks the file of `--dns`, or the name servers of this system. What was asked is written to the file of `--facts` by
    /// [`finish`](Self::finish).
    pub(crate) fn open(dns: Option<&Path>, facts: Option<&Path>) -> Result<Self, Failure> {
        let source = match dns {
            Some(path) => Source::File(master_file(path)?),
            None => {
                let seed = os_seed()?;
                let runtime = SmolRuntime::start(1, seed.child("runtime", 0)).map_err(|e| {
                    Failure::Failed(format!("no thread can be started to ask name servers: {e}"))
                })?;
                let resolver = Resolver::new(name_servers(), seed.child("resolver", 0));
                Source::Dns(runtime, Box::new(resolver))
            }
        };
        Ok(Self {
            source,
            facts: Facts::default(),
            out: facts.map(Path::to_path_buf),
        })
    }

    /// Runs a function of facts to its verdict. All functions of one command see the same facts.
    pub(crate) fn run<T>(&mut self, function: impl FnMut(&Facts) -> Result<T, Missing>) -> T {
        let facts = core::mem::take(&mut self.facts);
        let (verdict, facts) = match &self.source {
            Source::File(file) => from_file(file, facts, function),
            Source::Dns(runtime, resolver) => {
                runtime.run_until(resolver.inquire(runtime, facts, function))
            }
        };
        self.facts = facts;
        verdict
    }

    /// The answer to one question.
    pub(crate) fn answer(&mut self, question: &Question) -> Answer {
        self.run(|facts| facts.need(question).cloned())
    }

    /// Writes the file of `--facts`: given to `--dns`, it makes the same command say the same.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let Some(path) = &self.out else { return Ok(()) };
        let text = MasterFile::of_facts(self.facts.iter()).to_string();
        replace_or_create(path, text.as_bytes()).map_err(|e| Failure::io("write", path, &e))
    }
}

fn from_file<T>(
    file: &MasterFile,
    facts: Facts,
    mut function: impl FnMut(&Facts) -> Result<T, Missing>,
) -> (T, Facts) {
    let mut inquiry = Inquiry::new(facts, Mono(u64::MAX));
    loop {
        match inquiry.run(Now::default(), &mut function) {
            Progress::Done(verdict) => return (verdict, inquiry.into_facts()),
            Progress::Ask(questions) => {
                for question in questions {
                    inquiry.answer(&question, file.answer(&question));
                }
            }
            Progress::Wait => unreachable!("every question was answered"),
        }
    }
}

/// Reads the file of `--dns`.
fn master_file(path: &Path) -> Result<MasterFile, Failure> {
    let text = read_at_most(path, FILE_MAX)?;
    MasterFile::parse(&text).map_err(|e| {
        Failure::Failed(format!(
            "{}:{}: {}; one record a line: name, TTL if you like, type, data, as in: example.org. 300 TXT \"v=spf1 -all\"",
            path.display(),
            e.line,
            e.what
        ))
    })
}

/// Those of resolv.conf; without it the one on this machine, as the C library does.
fn name_servers() -> ResolverConfig {
    let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    ResolverConfig::parse_resolv_conf(&text)
}

/// A domain given on the command line, U-labels or A-labels.
pub(crate) fn domain_name(text: &str) -> Result<Name, Failure> {
    let wrong = |why: &dyn core::fmt::Display| {
        Failure::Usage(format!(
            "{text:?} is not a domain name: {why}; write it like example.org"
        ))
    };
    if text.is_ascii() {
        return Name::parse(text).map_err(|e| wrong(&e));
    }
    // Label by label: those of `_dmarc` and the like are no host's.
    let mut labels = Vec::new();
    for label in text.trim_end_matches('.').split('.') {
        labels.push(match label.is_ascii() {
            true => label.to_owned(),
            false => mox_address::Domain::parse(label, true)
                .and_then(|label| label.to_ascii())
                .map_err(|e| wrong(&e))?
                .to_string(),
        });
    }
    Name::parse(labels.join(".")).map_err(|e| wrong(&e))
}

/// A host, or an address with its host, in A-labels where there are any.
pub(crate) fn in_a_labels(address: &str) -> String {
    let at = address.rfind('@').map_or(0, |at| at + 1);
    let (local, host) = address.split_at(at);
    if host.is_ascii() {
        return address.to_owned();
    }
    let ascii = mox_address::Domain::parse(host, true).and_then(|host| host.to_ascii());
    ascii.map_or_else(|_| address.to_owned(), |host| format!("{local}{host}"))
}

/// Writes the result of a command: text that ends in a line end, or a message.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    written(|out| out.write_all(text.as_ref()))
}

/// Writes one JSON value, indented, as it is made: no more of it is held than a buffer has.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    written(|out| {
        let mut out = BufWriter::new(out);
        serde_json::to_writer_pretty(&mut out, value)?;
        out.write_all(b"\n")?;
        out.flush()
    })
}

fn written(write: impl FnOnce(&mut StdoutLock<'_>) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = write(&mut out).and_then(|()| out.flush());
    written.map_err(|e| Failure::Failed(format!("the result cannot be written to stdout: {e}")))
}
