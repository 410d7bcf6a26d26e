//! Where reports of a domain go: functions of facts.

use mox_address::{Host, Path};
use mox_dmarc::{Record, ReportUri, Walk, is_of_organization, registrable, walk};
use mox_dns::{Answer, Facts, Missing, Name, Question, Record as Rr, RecordType};
use mox_tls_policy::{Rua, TlsrptLookup, tlsrpt_lookup};

use super::settings::is_at_or_below;

/// Addresses that get the report of one domain, at most.
pub const DESTINATIONS_MAX: usize = 8;
/// Addresses outside of its own organization that get its TLS report: nobody there is asked (RFC 8460).
const UNASKED_MAX: usize = 2;

/// What a domain wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Name servers did not tell; they may later.
    Unknown,
    /// No report, or none that can be sent by mail, and why.
    Nothing(String),
    /// Reports to these.
    At(Vec<Destination>),
}

/// An address for reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The address.
    pub to: Path,
    /// Octets of a report at most, packed.
    pub max: Option<u64>,
}

/// Where a domain wants TLS reports. Addresses with `https:` are passed over.
///
/// # Errors
/// The questions whose answers `facts` lacks.
pub fn tls_wanted(facts: &Facts, domain: &str) -> Result<Wanted, Missing> {
    let Ok(name) = Name::parse(domain) else {
        return Ok(Wanted::Nothing("its name is none".into()));
    };
    let record = match tlsrpt_lookup(facts, &name)? {
        TlsrptLookup::Record(record) => record,
        TlsrptLookup::Unknown(_) => return Ok(Wanted::Unknown),
        TlsrptLookup::None | TlsrptLookup::Several | TlsrptLookup::Unreadable(_) => {
            return Ok(Wanted::Nothing("it publishes no _smtp._tls record".into()));
        }
    };
    let addresses = record.rua.iter().filter_map(|rua| match rua {
        Rua::Mail(address) => Some(Destination {
            to: unescaped(address)?,
            max: None,
        }),
        Rua::Https(_) => None,
    });
    let mut unasked = 0;
    let addresses = addresses.filter(|one| {
        let is_own = host(&one.to).is_some_and(|host| is_near(domain, &host));
        unasked += usize::from(!is_own);
        is_own || unasked <= UNASKED_MAX
    });
    Ok(at(
        addresses.take(DESTINATIONS_MAX).collect(),
        "its _smtp._tls record names no address for mail",
    ))
}

fn at(destinations: Vec<Destination>, otherwise: &str) -> Wanted {
    match destinations.is_empty() {
        true => Wanted::Nothing(otherwise.into()),
        false => Wanted::At(destinations),
    }
}

/// Where the domain of a policy wants aggregate reports. An address of another organization, as the tree walk finds them (RFC 9989
/// 4.10), gets none unless its domain says that it wants them (RFC 9990 4).
///
/// # Errors
/// The questions whose answers `facts` lacks.
pub fn dmarc_wanted(facts: &Facts, domain: &str) -> Result<Wanted, Missing> {
    let Ok(name) = Name::parse(format!("_dmarc.{domain}")) else {
        return Ok(Wanted::Nothing("its name is none".into()));
    };
    let answer = facts.need(&Question::of(name, RecordType::Txt))?;
    let record = match only(answer) {
        Found::Unknown => return Ok(Wanted::Unknown),
        Found::None => return Ok(Wanted::Nothing("it publishes no DMARC record".into())),
        Found::Record(record) => record,
    };
    let asked: Vec<Destination> = mailed(&record.aggregate).take(DESTINATIONS_MAX).collect();
    if asked.is_empty() {
        return Ok(Wanted::Nothing("its record names no rua for mail".into()));
    }
    let Ok(name) = Name::parse(domain) else {
        return Ok(Wanted::Nothing("its name is none".into()));
    };
    let own = walk(facts, &name)?;
    let (mut destinations, mut is_unknown) = (Vec::new(), false);
    // What is lacking about all of them is asked at once.
    let mut lacking: Vec<Question> = Vec::new();
    for one in asked {
        let found = match whose(facts, &own, domain, &one.to) {
            Ok(found) => found,
            Err(missing) => {
                lacking.extend(missing.questions().iter().cloned());
                continue;
            }
        };
        match found {
            Whose::Own => destinations.push(one),
            Whose::Nobodys => {}
            Whose::Unknown => is_unknown = true,
            // It may name another address at the same host. Where it names one at another, neither gets a report (RFC 9990 4).
            Whose::Others(record) => {
                let own: Vec<Destination> = mailed(&record.aggregate).collect();
                let is_same = |other: &Destination| host(&other.to) == host(&one.to);
                match own.iter().all(is_same) {
                    true if own.is_empty() => destinations.push(one),
                    true => destinations.extend(own),
                    false => {}
                }
            }
        }
    }
    facts.all(&lacking)?;
    destinations.truncate(DESTINATIONS_MAX);
    if destinations.is_empty() && is_unknown {
        return Ok(Wanted::Unknown);
    }
    Ok(at(
        destinations,
        "nobody elsewhere whom it names says that they want its reports",
    ))
}

enum Found {
    Record(Record),
    None,
    Unknown,
}

/// The one record; several count as none.
fn only(answer: &Answer) -> Found {
    if answer.why().is_some_and(|failure| failure.is_temporary()) {
        return Found::Unknown;
    }
    let mut texts = answer.all().iter().filter_map(|record| match record {
        Rr::Txt(text) if Record::is_record(text) => Some(&**text),
        _ => None,
    });
    match (texts.next(), texts.next()) {
        (Some(text), None) => Record::parse(text).map_or(Found::None, Found::Record),
        _ => Found::None,
    }
}

/// The addresses of `mailto:` URIs: reports go by mail only.
fn mailed(uris: &[ReportUri]) -> impl Iterator<Item = Destination> {
    uris.iter().filter_map(|uri| {
        let (scheme, rest) = uri.uri.split_once(':')?;
        let address = rest.split('?').next()?;
        scheme.eq_ignore_ascii_case("mailto").then_some(())?;
        Some(Destination {
            to: unescaped(address)?,
            max: uri.max,
        })
    })
}

/// The host of an address, in A-labels.
fn host(path: &Path) -> Option<String> {
    match &path.host {
        Host::Domain(domain) => domain.to_ascii().ok().map(|domain| domain.to_string()),
        Host::Literal(_) => None,
    }
}

/// Whose an address is that aggregate reports are to go to.
enum Whose {
    /// Of the same organization: nobody has to be asked.
    Own,
    /// Elsewhere, and that domain says that it wants them.
    Others(Record),
    /// Elsewhere, where nobody wants them or nobody can be asked.
    Nobodys,
    /// Name servers did not tell.
    Unknown,
}

fn whose(facts: &Facts, own: &Walk, domain: &str, to: &Path) -> Result<Whose, Missing> {
    let Some((host, at)) = host(to).and_then(|host| Some((Name::parse(&host).ok()?, host))) else {
        return Ok(Whose::Nobodys);
    };
    let is_near = is_of_organization(facts, own, &host)?;
    if is_near == Some(true) {
        return Ok(Whose::Own);
    }
    // Of a name that cannot be asked for nobody says yes.
    let Ok(name) = Name::parse(format!("{domain}._report._dmarc.{at}")) else {
        return Ok(Whose::Nobodys);
    };
    let answer = facts.need(&Question::of(name, RecordType::Txt))?;
    Ok(match only(answer) {
        Found::Record(record) => Whose::Others(record),
        Found::None if is_near.is_some() => Whose::Nobodys,
        Found::None | Found::Unknown => Whose::Unknown,
    })
}

/// Both names are registered by the same. TLS reports know no organizations (RFC 8460): this one bounds what is sent to others
/// unasked, and is the public suffix list's, since whoever has a domain can make any tree of policies below it.
fn is_near(domain: &str, host: &str) -> bool {
    let registered = registrable(domain);
    is_at_or_below(host, domain) || (registered.is_some() && registered == registrable(host))
}

/// The address of a `mailto:` URI, with its escapes taken back.
fn unescaped(text: &str) -> Option<Path> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'%' {
            octets.push(octet);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digits = core::str::from_utf8(&digits).ok()?;
        octets.push(u8::from_str_radix(digits, 16).ok()?);
    }
    let text = String::from_utf8(octets).ok()?;
    // What ends a field is in no address.
    let is_plain = !text.chars().any(|c| c.is_control() || "<>,;".contains(c));
    Path::parse(&text, true)
        .ok()
        .filter(|path| is_plain && host(path).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mox_dns::{Inquiry, MasterFile, Progress};
    use mox_machine::{Mono, Now};

    /// What comes of it in a world with these records; names below `lame.example` are not answered.
    fn wanted(zone: &str, run: impl Fn(&Facts) -> Result<Wanted, Missing>) -> Wanted {
        let zone = MasterFile::parse(zone).unwrap();
        let mut inquiry = Inquiry::new(Facts::default(), Mono(20_000_000_000));
        loop {
            match inquiry.run(Now::default(), &run) {
                Progress::Done(wanted) => return wanted,
                Progress::Ask(questions) => {
                    for question in questions {
                        let is_lame = question.name().to_string().contains("lame.example");
                        let answer = match is_lame {
                            true => Answer::failure(mox_dns::Failure::Timeout, 60),
                            false => zone.answer(&question),
                        };
                        inquiry.answer(&question, answer);
                    }
                }
                Progress::Wait => unreachable!("every question was answered"),
            }
        }
    }

    fn addresses(wanted: Wanted) -> Vec<String> {
        match wanted {
            Wanted::At(all) => all
                .into_iter()
                .map(|one| match one.max {
                    Some(max) => format!("{}!{max}", one.to),
                    None => one.to.to_string(),
                })
                .collect(),
            other => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn an_address_elsewhere_gets_aggregate_reports_only_if_its_domain_says_so() {
        let zone = "\
            _dmarc.one.example. TXT \"v=DMARC1; p=none; rua=mailto:a@one.example!10m, mailto:b@mail.one.example, mailto:c@yes.example, mailto:d@no.example, https://one.example/r, mailto:e%2bx@other.example?subject=x, mailto:f@mixed.example\"\n\
            one.example._report._dmarc.yes.example. TXT \"v=DMARC1\"\n\
            one.example._report._dmarc.other.example. TXT \"v=DMARC1; rua=mailto:else@other.example\"\n\
            one.example._report._dmarc.mixed.example. TXT \"v=DMARC1; rua=mailto:g@mixed.example, mailto:victim@third.example\"\n";
        assert_eq!(
            addresses(wanted(zone, |facts| dmarc_wanted(facts, "one.example"))),
            [
                "a@one.example!10485760",
                "b@mail.one.example",
                "c@yes.example",
                "else@other.example"
            ]
        );
    }

    #[test]
    fn what_is_of_one_organization_is_what_the_tree_walk_says() {
        let zone = "\
            _dmarc.one.example. TXT \"v=DMARC1; p=none; rua=mailto:a@apart.one.example, mailto:b@mail.one.example\"\n\
            _dmarc.apart.one.example. TXT \"v=DMARC1; p=none; psd=n; rua=mailto:a@one.example\"\n\
            _dmarc.below.one.example. TXT \"v=DMARC1; p=none; rua=mailto:a@one.example, mailto:b@else.one.example\"\n\
            _dmarc.sub.two.example. TXT \"v=DMARC1; p=none; rua=mailto:a@two.example\"\n\
            _dmarc.sub.three.example. TXT \"v=DMARC1; p=none; rua=mailto:a@three.example\"\n\
            sub.three.example._report._dmarc.three.example. TXT \"v=DMARC1\"\n\
            _dmarc.four.example. TXT \"v=DMARC1; p=none; rua=mailto:a@lame.example.four.example\"\n";
        let of = |domain: &str| addresses(wanted(zone, |facts| dmarc_wanted(facts, domain)));
        let nobody = Wanted::Nothing(
            "nobody elsewhere whom it names says that they want its reports".into(),
        );
        let nobody = [format!("{nobody:?}")];
        assert_eq!(of("one.example"), ["b@mail.one.example"]);
        assert_eq!(of("apart.one.example"), nobody);
        assert_eq!(
            of("below.one.example"),
            ["a@one.example", "b@else.one.example"]
        );
        // Without a record above it is an organization of its own, whoever registered the name.
        assert_eq!(of("sub.two.example"), nobody);
        assert_eq!(of("sub.three.example"), ["a@three.example"]);
        // Whether it is its own organization is not known.
        assert_eq!(of("four.example"), ["Unknown"]);
    }

    #[test]
    fn what_name_servers_do_not_tell_is_asked_again_and_what_they_deny_is_not() {
        for (record, expected) in [
            ("v=DMARC1; p=none", "its record names no rua for mail"),
            (
                "v=DMARC1; p=none; rua=https://x.example/",
                "its record names no rua for mail",
            ),
            (
                "v=DMARC1; p=none; rua=mailto:a@no.example",
                "nobody elsewhere whom it names says that they want its reports",
            ),
            ("v=spf1", "it publishes no DMARC record"),
        ] {
            let zone = format!("_dmarc.one.example. TXT \"{record}\"\n");
            let found = wanted(&zone, |facts| dmarc_wanted(facts, "one.example"));
            assert_eq!(found, Wanted::Nothing(expected.into()), "{record}");
        }
        let zone = "_dmarc.one.example. TXT \"v=DMARC1; p=none; rua=mailto:a@lame.example\"\n";
        let found = wanted(zone, |facts| dmarc_wanted(facts, "one.example"));
        assert_eq!(found, Wanted::Unknown);
        let found = wanted(zone, |facts| dmarc_wanted(facts, "lame.example"));
        assert_eq!(found, Wanted::Unknown);
        let found = wanted(zone, |facts| tls_wanted(facts, "lame.example"));
        assert_eq!(found, Wanted::Unknown);
    }

    #[test]
    fn tls_reports_go_where_the_record_says_by_mail() {
        let zone = "\
            _smtp._tls.one.example. TXT \"v=TLSRPTv1; rua=mailto:t@far.example,mailto:u@two.example,mailto:v@three.example,mailto:w@mail.one.example,https://one.example/\"\n\
            _smtp._tls.two.example. TXT \"v=TLSRPTv1; rua=https://two.example/\"\n";
        let of = |domain: &str| addresses(wanted(zone, |facts| tls_wanted(facts, domain)));
        assert_eq!(
            of("one.example"),
            ["t@far.example", "u@two.example", "w@mail.one.example"]
        );
        assert_eq!(
            of("two.example"),
            ["Nothing(\"its _smtp._tls record names no address for mail\")"]
        );
        assert_eq!(
            of("three.example"),
            ["Nothing(\"it publishes no _smtp._tls record\")"]
        );
    }
}
