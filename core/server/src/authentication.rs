//! All checks of one message by DNS, as one function of facts; and the header fields that tell what they came to.

use std::net::IpAddr;

use mox_dkim::{AwsLc, Hashed};
use mox_dmarc::{Authenticated, Outcome, author_policies, evaluate};
use mox_dns::{Facts, IprevReport, Missing, Question, iprev};
use mox_message::{MethodResult, authentication_results};
use mox_spf::{Limits, Query, check_domain, check_host};

use crate::verdicts::{Verdicts, results};

/// Octets of an Authentication-Results field that is written. Of more results those are left out that did not pass.
const FIELD_MAX: usize = 6 * 1024;
/// Octets of a name or address of the client that are looked at: more than any can have.
const NAME_MAX: usize = 500;

/// What is checked.
#[derive(Debug, Clone, Copy)]
pub struct Checks<'a> {
    /// The client's address.
    pub ip: IpAddr,
    /// What it said in EHLO.
    pub helo: &'a [u8],
    /// The reverse-path, domain in A-labels; empty when it is null.
    pub mail_from: &'a [u8],
    /// This host.
    pub receiver: &'a str,
    /// The domains of all authors, in A-labels.
    pub authors: &'a [&'a [u8]],
    /// The signatures.
    pub signatures: Option<&'a Hashed>,
    /// Seconds since 1970.
    pub time: i64,
}

/// What the checks came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Whether the name of the client's address leads back to it.
    pub iprev: IprevReport,
    /// Whether it may send for the domain of the reverse-path, or of EHLO when that is null.
    pub spf: mox_spf::Report,
    /// Whether it may call itself what it did in EHLO; `None` when `spf` says so.
    pub helo: Option<mox_spf::Report>,
    /// Each signature.
    pub dkim: Vec<mox_dkim::Report>,
    /// Whether the authors' domains vouch for the message.
    pub dmarc: mox_dmarc::Report,
}

impl<'a> Checks<'a> {
    fn query(&self) -> Query<'a> {
        Query {
            ip: self.ip,
            helo: start(self.helo),
            mail_from: start(self.mail_from),
            receiver: self.receiver.as_bytes(),
            time: self.time,
        }
    }

    /// Runs all checks. The authors' policies are asked for first, while the table has room; then whatever does not depend on
    /// each other is asked at once.
    ///
    /// # Errors
    /// The questions whose answers `facts` lacks.
    pub fn run(&self, facts: &Facts) -> Result<Checked, Missing> {
        author_policies(facts, self.authors)?;
        let query = self.query();
        let limits = Limits::default();
        let reverse = iprev(facts, self.ip);
        let spf = check_host(facts, &query, &limits);
        let helo = match query.mail_from {
            b"" => Ok(None),
            _ => {
                let of_helo = Query {
                    mail_from: b"",
                    ..query
                };
                check_domain(facts, &of_helo, query.helo, &limits).map(Some)
            }
        };
        let dkim = match self.signatures {
            Some(hashed) => hashed.judge(facts, &mox_dkim::Policy::default(), self.time, &AwsLc),
            None => Ok(Vec::new()),
        };
        let mut missing: Vec<Question> = Vec::new();
        for lacks in [
            reverse.as_ref().err(),
            spf.as_ref().err(),
            helo.as_ref().err(),
            dkim.as_ref().err(),
        ] {
            missing.extend(lacks.into_iter().flat_map(Missing::questions).cloned());
        }
        facts.all(&missing)?;
        let (iprev, spf, helo, dkim) = (reverse?, spf?, helo?, dkim?);
        let signers: Vec<_> = dkim.iter().map(signer).collect();
        let message = mox_dmarc::Message {
            authors: self.authors,
            spf: Some(sender(&spf)),
            dkim: &signers,
        };
        let dmarc = evaluate(facts, &message)?;
        Ok(Checked {
            iprev,
            spf,
            helo,
            dkim,
            dmarc,
        })
    }

    /// The domains whose signatures vouch for the message as a TLS report (RFC 8460 3), by the answers of the checks.
    pub fn tls_report_signers(&self, facts: &Facts) -> Vec<String> {
        let policy = mox_dkim::Policy {
            tls_report: true,
            ..mox_dkim::Policy::default()
        };
        let judged = self
            .signatures
            .and_then(|hashed| hashed.judge(facts, &policy, self.time, &AwsLc).ok());
        let reports = judged.unwrap_or_default();
        let domains = reports.iter().filter_map(mox_dkim::Report::passing_domain);
        domains.map(str::to_owned).collect()
    }

    /// Received-SPF and Authentication-Results, with their line ends.
    pub fn fields(&self, checked: &Checked) -> String {
        let verdicts = Verdicts {
            iprev: Some(&checked.iprev),
            dkim: Some(&checked.dkim),
            spf: Some(&checked.spf),
            dmarc: Some(&checked.dmarc),
        };
        let mut text = within(FIELD_MAX, results(&verdicts), |results| {
            authentication_results(self.receiver, results)
        });
        text.push_str(&checked.spf.received_spf(&self.query()));
        text.push_str("\r\n");
        text
    }
}

/// The field for as many results as it has room for: those that did not pass go first, from the end.
fn within(
    octets: usize,
    mut results: Vec<MethodResult<'_>>,
    write: impl Fn(&[MethodResult<'_>]) -> String,
) -> String {
    loop {
        let text = write(&results);
        let is_spare =
            |result: &&MethodResult<'_>| result.method == "dkim" && result.result != "pass";
        let last = results.iter().rev().position(|r| is_spare(&r));
        match last.map(|back| results.len() - 1 - back) {
            Some(spare) if text.len() > octets => drop(results.remove(spare)),
            None if text.len() > octets && !results.is_empty() => drop(results.pop()),
            _ => return text,
        }
    }
}

/// What a signature is for DMARC: one that leaves a part of the body unsigned vouches for nothing.
pub fn signer(report: &mox_dkim::Report) -> Authenticated<'_> {
    let domain = report.claims.domain.as_deref().unwrap_or_default();
    Authenticated {
        domain: domain.as_bytes(),
        outcome: match report.verdict {
            mox_dkim::Verdict::Pass if report.passing_domain().is_some() => Outcome::Pass,
            mox_dkim::Verdict::TempError => Outcome::TempError,
            _ => Outcome::Fail,
        },
    }
}

/// What a check of SPF is for DMARC.
pub fn sender(report: &mox_spf::Report) -> Authenticated<'_> {
    Authenticated {
        domain: report.domain.as_bytes(),
        outcome: match report.verdict {
            mox_spf::Verdict::Pass => Outcome::Pass,
            mox_spf::Verdict::TempError => Outcome::TempError,
            _ => Outcome::Fail,
        },
    }
}

fn start(name: &[u8]) -> &[u8] {
    name.get(..NAME_MAX).unwrap_or(name)
}
