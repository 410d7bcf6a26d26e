//! The checks of a message as facts of a decision.

use mox_dmarc::Disposition;
use mox_dns::{DnsblHealth, DnsblReport, Health, Listed};

use super::facts::{
    Authenticated, DmarcAlignment, DmarcFacts, Listing, Message, Method, Signature,
};
use crate::authentication::Checked;
use crate::letterhead::Origin;

/// Octets of a text that somebody else wrote, as far as it is kept.
const TEXT_MAX: usize = 300;

impl Message {
    /// What is known of a message of so many octets.
    pub fn of(origin: &Origin, checked: &Checked, size: u64) -> Self {
        let iprev = &checked.iprev;
        let dmarc = &checked.dmarc;
        Self {
            authors: origin.authors.iter().map(|a| a.address.clone()).collect(),
            author_domains: origin
                .authors
                .iter()
                .map(|a| String::from_utf8_lossy(&a.domain).into_owned())
                .collect(),
            message_id: origin.message_id.clone(),
            size,
            loops: None,
            iprev: Method {
                result: iprev.verdict.name().into(),
                subject: iprev
                    .name
                    .as_ref()
                    .or_else(|| iprev.names.first())
                    .map_or_else(String::new, |name| cut(&name.to_string())),
                problem: iprev.failure.map(|failure| failure.to_string()),
                mechanism: None,
            },
            spf: spf(&checked.spf),
            helo: spf(checked.helo.as_ref().unwrap_or(&checked.spf)),
            dkim: checked.dkim.iter().map(signature).collect(),
            dmarc: DmarcFacts {
                result: dmarc.verdict.name().into(),
                disposition: disposition(dmarc).into(),
                policy_domain: deciding(dmarc)
                    .and_then(|author| author.policy_domain.clone())
                    .or_else(|| dmarc.authors.iter().find_map(|a| a.policy_domain.clone())),
                problem: dmarc.problem.map(str::to_owned),
                alignment: alignment(dmarc),
            },
            author: author(origin, checked),
            listings: Vec::new(),
        }
    }
}

impl Listing {
    /// What a list says of an address. One whose test entries are not as they should is not believed; one that could not be
    /// asked for them is.
    pub fn of(
        zone: &mox_dns::Name,
        is_v6: bool,
        health: &DnsblHealth,
        report: &DnsblReport,
    ) -> Self {
        let health = if is_v6 { health.v6 } else { health.v4 };
        let is_reliable = matches!(health, Health::Good | Health::Unknown(_));
        let text = match (report.listed, health) {
            (Listed::Yes, _) if is_reliable => report.explanation.as_deref().map(cut),
            (_, Health::ListsAll) => Some("it lists everybody".into()),
            (_, Health::ListsNothing) => Some("it lists nobody".into()),
            (_, Health::Meaningless(why)) | (Listed::Meaningless(why), _) => Some(why.into()),
            (Listed::Unknown(_), _) => Some("no answer".into()),
            _ => None,
        };
        Self {
            zone: zone.to_string(),
            listed: report.listed == Listed::Yes && is_reliable,
            text,
        }
    }
}

fn spf(report: &mox_spf::Report) -> Method {
    Method {
        result: report.verdict.name().into(),
        subject: cut(&report.domain),
        problem: report.problem.as_deref().map(cut),
        mechanism: report.mechanism.as_deref().map(cut),
    }
}

fn signature(report: &mox_dkim::Report) -> Signature {
    let domain = report.claims.domain.as_deref().unwrap_or_default();
    Signature {
        domain: cut(&domain.to_ascii_lowercase()),
        result: report.verdict.name().into(),
        vouches: report.passing_domain().is_some(),
        problem: report.problem.map(str::to_owned),
        selector: report.claims.selector.as_deref().map(cut),
        algorithm: report.claims.algorithm.as_deref().map(cut),
    }
}

/// Of several authors one whose outcome is that of the message, and of these who wants most; where more may come of it than is certain,
/// one about whom that is so.
fn deciding(report: &mox_dmarc::Report) -> Option<&mox_dmarc::Author> {
    use mox_dmarc::Verdict;
    let with = |verdict: Verdict| {
        let authors = report.authors.iter().rev();
        let authors = authors.filter(|author| author.verdict == verdict);
        authors.max_by_key(|author| (author.disposition, author.policy != mox_dmarc::Policy::None))
    };
    let unsure = match disposition(report) {
        "defer" => with(Verdict::TempError),
        _ => None,
    };
    unsure.or_else(|| with(report.verdict))
}

pub(super) fn alignment(report: &mox_dmarc::Report) -> Option<DmarcAlignment> {
    let author = deciding(report)?;
    let record = author.record.as_ref()?;
    let is_strict = |mode| mode == mox_dmarc::Alignment::Strict;
    Some(DmarcAlignment {
        author: cut(&author.domain),
        policy: author.policy.to_string(),
        spf_strict: is_strict(record.spf),
        dkim_strict: is_strict(record.dkim),
        spf: author.spf_aligned,
        dkim: author.dkim_aligned,
    })
}

/// transport.md 1.15, step 7: whatever the author's domain publishes.
fn author(origin: &Origin, checked: &Checked) -> Authenticated {
    let [author] = &origin.authors[..] else {
        return Authenticated::No;
    };
    let domain = String::from_utf8_lossy(&author.domain).to_lowercase();
    if domain.is_empty() {
        return Authenticated::No;
    }
    let spf = (checked.spf.verdict == mox_spf::Verdict::Pass).then_some(&*checked.spf.domain);
    let signed = checked
        .dkim
        .iter()
        .filter_map(mox_dkim::Report::passing_domain);
    let vouching: Vec<String> = signed.chain(spf).map(str::to_lowercase).collect();
    if vouching.contains(&domain) {
        return Authenticated::Strict;
    }
    if checked.dmarc.verdict == mox_dmarc::Verdict::Pass {
        return Authenticated::Dmarc;
    }
    let organization = mox_dmarc::registrable(&domain);
    let is_near =
        |other: &String| organization.is_some() && mox_dmarc::registrable(other) == organization;
    match vouching.iter().any(is_near) {
        true => Authenticated::Relaxed,
        false => Authenticated::No,
    }
}

fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(TEXT_MAX))
        .unwrap_or_default()
        .to_owned()
}

/// What the author's domain wants done, so far as name servers told: `defer` where more may come of it than is certain. Else
/// whoever picks a name of that domain whose name servers are lame, or fills the table of answers, would be past its policy.
pub(super) fn disposition(report: &mox_dmarc::Report) -> &'static str {
    match report.pending() > report.disposition && report.disposition != Disposition::Reject {
        true => "defer",
        false => report.disposition.name(),
    }
}
