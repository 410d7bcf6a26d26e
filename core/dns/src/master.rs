//! Master files: what name servers say, as text (RFC 1035 section 5). For answering without a network, and for keeping the
//! facts of a verdict so that it can be looked at and run again.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::{Answer, Facts, Failure, Name, Question, Record, RecordType};

/// CNAMEs that are followed to one answer, whoever gives it.
pub(crate) const CNAMES_MAX: usize = 16;
/// The TTL of records that name none, in seconds.
const TTL: u32 = 300;
/// Octets of one string of a TXT record.
const STRING: usize = 255;

/// Answers by question.
///
/// One record a line: name, TTL and class (both may be left out), type, data; a line goes on within parentheses. Names are absolute, with or without a final
/// dot; `\DDD` stands for any octet; `;` begins a comment. `!NODATA`, `!NXDOMAIN`, `!SERVFAIL`, `!TIMEOUT` or `!BOGUS` in place
/// of data is a failure, `*` as the type means every type the name does not list. `!AD` behind it makes a set authentic,
/// `!VIA name` says at the end of which aliases it was found. A name that is not there does not exist; one that has other
/// types only has no data. Types that mail never asks for are passed over.
///
/// ```
/// use mox_dns::{Failure, MasterFile, Question, RecordType};
///
/// let file = MasterFile::parse("
///     example.org.      3600 TXT \"v=spf1 -all\" !AD
///     www.example.org.       CNAME example.org.
///     slow.example.          * !TIMEOUT
/// ")?;
/// let ask = |name, kind| file.answer(&Question::new(name, kind).unwrap());
/// assert!(ask("example.org", RecordType::Txt).authentic);
/// // An alias that is not vouched for leads nowhere that is.
/// assert!(!ask("www.example.org", RecordType::Txt).authentic);
/// assert_eq!(ask("www.example.org", RecordType::A).why(), Some(Failure::NoData));
/// assert_eq!(ask("slow.example", RecordType::Mx).why(), Some(Failure::Timeout));
/// assert_eq!(ask("other.example", RecordType::A).why(), Some(Failure::NoDomain));
/// # Ok::<(), mox_dns::MasterError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MasterFile {
    sets: BTreeMap<Question, Set>,
    /// What is said of every type that is not listed.
    others: BTreeMap<Name, Set>,
    names: BTreeSet<Name>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Set {
    result: Result<Vec<Record>, Failure>,
    ttl: u32,
    authentic: bool,
    /// The end of the aliases that led to it.
    via: Option<Name>,
}

impl Set {
    fn of(answer: &Answer) -> Self {
        Self {
            result: answer.result.as_ref().map(|r| r.to_vec()).map_err(|e| *e),
            ttl: answer.ttl,
            authentic: answer.authentic,
            via: answer.canonical.clone(),
        }
    }
}

/// A line that is none of a master file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for MasterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl core::error::Error for MasterError {}

impl MasterFile {
    /// Reads a file.
    ///
    /// # Errors
    /// The first line that is not understood.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, MasterError> {
        let mut file = Self::default();
        let mut owner = None;
        let mut words = Words::default();
        for (n, line) in text.as_ref().split(|b| *b == b'\n').enumerate() {
            let at = |line: usize| move |what| MasterError { line, what };
            if !words.open {
                words = Words {
                    begin: n + 1,
                    is_indented: line.first().is_some_and(|b| b" \t".contains(b)),
                    ..Words::default()
                };
            }
            words.read(line).map_err(at(n + 1))?;
            if !words.open {
                let read = file.entry(&words.all, words.is_indented, &mut owner);
                read.map_err(at(words.begin))?;
            }
        }
        match words.open {
            false => Ok(file),
            true => Err(MasterError {
                line: words.begin,
                what: "a parenthesis is not closed".to_owned(),
            }),
        }
    }

    /// Facts as a file that gives the same answers. Aliases become CNAME records where all facts agree on them; where they
    /// do not, since they are from different moments, `!VIA` stands behind the records.
    pub fn of_facts<'a>(facts: impl IntoIterator<Item = (&'a Question, &'a Answer)>) -> Self {
        let mut file = Self::default();
        let mut through_aliases = Vec::new();
        let mut direct = BTreeSet::new();
        for (question, answer) in facts {
            match &answer.canonical {
                None => {
                    file.put(question, Set::of(answer));
                    direct.insert(question);
                }
                Some(canonical) => through_aliases.push((question, answer, canonical)),
            }
        }
        for (question, answer, canonical) in &through_aliases {
            file.link(question, answer, canonical, &direct);
        }
        // Each turn one more of them stands for itself, so this ends.
        while let Some((question, answer, _)) = through_aliases
            .iter()
            .find(|(question, answer, _)| file.answer(question) != **answer)
        {
            file.put(question, Set::of(answer));
        }
        file
    }

    fn put(&mut self, question: &Question, set: Set) {
        self.names.insert(question.name().clone());
        self.sets.insert(question.clone(), set);
    }

    /// An alias and what is at its end, as far as nothing else is known of either.
    fn link(
        &mut self,
        question: &Question,
        answer: &Answer,
        canonical: &Name,
        direct: &BTreeSet<&Question>,
    ) {
        let link = Question::of(question.name().clone(), RecordType::Cname);
        let to = Set {
            result: Ok(Vec::from([Record::Cname(canonical.clone())])),
            ttl: answer.ttl,
            authentic: answer.authentic,
            via: None,
        };
        match self.sets.get_mut(&link) {
            // The answers it leads to are remembered and vouched for as long and as much as they say themselves.
            Some(known) if known.result == to.result && !direct.contains(&link) => {
                known.ttl = known.ttl.max(to.ttl);
                known.authentic |= to.authentic;
            }
            Some(_) => {}
            None => self.put(&link, to),
        }
        let end = Question::of(canonical.clone(), question.kind());
        if !self.sets.contains_key(&end) {
            let set = Set {
                via: None,
                ..Set::of(answer)
            };
            self.put(&end, set);
        }
    }

    /// What a name server with this file answers.
    pub fn answer(&self, question: &Question) -> Answer {
        let mut name = question.name().clone();
        let mut authentic = true;
        let mut canonical = None;
        let mut least = u32::MAX;
        for _ in 0..=CNAMES_MAX {
            let asked = Question::of(name.clone(), question.kind());
            let link = Question::of(name.clone(), RecordType::Cname);
            let found = match self.sets.get(&asked) {
                Some(set) => Some(set),
                None => match self.sets.get(&link).map(|set| (set, set.result.as_deref())) {
                    Some((set, Ok([Record::Cname(to)]))) => {
                        authentic &= set.authentic;
                        least = least.min(set.ttl);
                        name = to.clone();
                        canonical = Some(name.clone());
                        continue;
                    }
                    _ => self.others.get(&name),
                },
            };
            let mut answer = match found {
                Some(set) => match &set.result {
                    Ok(records) => Answer::records(records.clone(), set.ttl),
                    Err(why) => Answer::failure(*why, set.ttl),
                },
                None if self.names.contains(&name) => Answer::failure(Failure::NoData, TTL),
                None => Answer::failure(Failure::NoDomain, TTL),
            };
            answer.authentic = authentic && found.is_some_and(|set| set.authentic);
            answer.canonical = found.and_then(|set| set.via.clone()).or(canonical);
            answer.ttl = answer.ttl.min(least);
            return answer;
        }
        Answer::failure(Failure::ServFail, 0)
    }

    /// Everything that is listed, as facts.
    pub fn facts(&self) -> Facts {
        self.sets
            .keys()
            .map(|question| (question.clone(), self.answer(question)))
            .collect()
    }

    fn entry(
        &mut self,
        words: &[Word],
        is_indented: bool,
        owner: &mut Option<Name>,
    ) -> Result<(), String> {
        let mut rest = words;
        if rest.is_empty() {
            return Ok(());
        }
        // A line that begins with white space goes on with the name before, unless it names one itself.
        let is_continued = is_indented && owner.is_some() && begins_without_name(rest);
        if !is_continued {
            let (name, behind) = rest.split_first().ok_or("there is no name")?;
            let name = Name::parse(&name.raw).map_err(|e| format!("{:?}: {e}", name.text()))?;
            *owner = Some(name);
            rest = behind;
        }
        let name = owner.clone().ok_or("there is no name")?;
        let mut ttl = TTL;
        while let Some((word, behind)) = rest.split_first() {
            match word.text().parse() {
                Ok(number) => ttl = number,
                Err(_) if word.text().eq_ignore_ascii_case("IN") => {}
                Err(_) => break,
            }
            rest = behind;
        }
        let (kind, data) = rest.split_first().ok_or("there is no type")?;
        let (data, authentic, via) = marks(data)?;
        let failure = match data {
            [only] if !only.quoted => failure(&only.text())?,
            _ => None,
        };
        self.names.insert(name.clone());
        if kind.is("*") {
            let why = failure.ok_or("`*` stands only before a failure: !NODATA, !NXDOMAIN, !SERVFAIL, !TIMEOUT or !BOGUS")?;
            let set = Set {
                result: Err(why),
                ttl,
                authentic,
                via,
            };
            if self.others.insert(name.clone(), set).is_some() {
                return Err(format!("{name} has `*` twice"));
            }
            return Ok(());
        }
        if is_other_type(&kind.text()) {
            return Ok(());
        }
        let kind = record_type(&kind.text())?;
        let question = Question::of(name, kind);
        let result = match failure {
            Some(why) => Err(why),
            None => Ok(Vec::from([record(kind, data)?])),
        };
        match (self.sets.get_mut(&question), result) {
            (None, result) => {
                self.sets.insert(
                    question,
                    Set {
                        result,
                        ttl,
                        authentic,
                        via,
                    },
                );
            }
            (
                Some(Set {
                    result: Ok(records),
                    ttl: least,
                    authentic: all,
                    via: end,
                }),
                Ok(more),
            ) => {
                if kind == RecordType::Cname {
                    return Err(format!("{} is an alias of two names", question.name()));
                }
                records.extend(more);
                *least = ttl.min(*least);
                *all |= authentic;
                *end = end.take().or(via);
            }
            (Some(Set { result: Err(_), .. }), Err(_)) => {
                return Err(format!("{question} has two failures"));
            }
            _ => return Err(format!("{question} has records and a failure")),
        }
        Ok(())
    }
}

/// A word of a line.
struct Word {
    /// As written, without quotes: escapes are still in it.
    raw: Vec<u8>,
    quoted: bool,
}

impl Word {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    fn is(&self, text: &str) -> bool {
        !self.quoted && self.raw.eq_ignore_ascii_case(text.as_bytes())
    }

    /// The octets it stands for.
    fn octets(&self) -> Result<Vec<u8>, String> {
        let mut out = Vec::with_capacity(self.raw.len());
        let mut octets = self.raw.iter().copied();
        while let Some(octet) = octets.next() {
            if octet != b'\\' {
                out.push(octet);
                continue;
            }
            let escaped = crate::name::unescape(&mut octets);
            out.push(escaped.map_err(|_| {
                format!(
                    "{:?}: a backslash without a character or three digits",
                    self.text()
                )
            })?);
        }
        Ok(out)
    }
}

/// The words of an entry: a line, or several with a parenthesis around what is between them.
#[derive(Default)]
struct Words {
    all: Vec<Word>,
    /// A parenthesis is open.
    open: bool,
    /// The first line, and whether it begins with white space.
    begin: usize,
    is_indented: bool,
}

impl Words {
    /// Splits a line at white space; a comment is left out.
    fn read(&mut self, line: &[u8]) -> Result<(), String> {
        let mut rest = line;
        loop {
            rest = rest.trim_ascii_start();
            match rest.first() {
                None | Some(b';') => return Ok(()),
                Some(b'(') if self.open => return Err("a parenthesis within another".to_owned()),
                Some(b')') if !self.open => {
                    return Err("a parenthesis that was not opened".to_owned());
                }
                Some(parenthesis @ (b'(' | b')')) => {
                    self.open = *parenthesis == b'(';
                    rest = rest.get(1..).unwrap_or_default();
                }
                Some(b'"') => {
                    let mut raw = Vec::new();
                    let mut octets = rest.iter().copied().enumerate().skip(1);
                    let end = loop {
                        match octets.next() {
                            None => return Err("a quote is not closed".to_owned()),
                            Some((at, b'"')) => break at + 1,
                            Some((_, b'\\')) => {
                                raw.push(b'\\');
                                raw.extend(octets.next().map(|(_, octet)| octet));
                            }
                            Some((_, octet)) => raw.push(octet),
                        }
                    };
                    self.all.push(Word { raw, quoted: true });
                    rest = rest.get(end..).unwrap_or_default();
                }
                Some(_) => {
                    let mut end = 0;
                    while let Some(octet) = rest.get(end) {
                        match octet {
                            b'\\' => end += 2,
                            b';' | b'(' | b')' => break,
                            octet if octet.is_ascii_whitespace() => break,
                            _ => end += 1,
                        }
                    }
                    let (word, behind) = rest.split_at(end.min(rest.len()));
                    self.all.push(Word {
                        raw: word.to_vec(),
                        quoted: false,
                    });
                    rest = behind;
                }
            }
        }
    }
}

/// The data without the marks behind it: `!AD`, and `!VIA` with its name.
fn marks(mut data: &[Word]) -> Result<(&[Word], bool, Option<Name>), String> {
    let (mut authentic, mut via) = (false, None);
    loop {
        data = match data {
            [rest @ .., last] if last.is("!AD") => {
                authentic = true;
                rest
            }
            [rest @ .., mark, name] if mark.is("!VIA") => {
                let end = Name::parse(&name.raw).map_err(|e| format!("{:?}: {e}", name.text()))?;
                via = Some(end);
                rest
            }
            _ => return Ok((data, authentic, via)),
        }
    }
}

/// Whether it is a type that mail never asks for. A name that has such records exists.
fn is_other_type(text: &str) -> bool {
    const OTHERS: [&str; 21] = [
        "CAA",
        "CDNSKEY",
        "CDS",
        "DNAME",
        "DNSKEY",
        "DS",
        "HINFO",
        "HTTPS",
        "KEY",
        "LOC",
        "NAPTR",
        "NSEC",
        "NSEC3",
        "NSEC3PARAM",
        "RP",
        "RRSIG",
        "SMIMEA",
        "SPF",
        "SRV",
        "SSHFP",
        "SVCB",
    ];
    let number = text
        .get(..4)
        .filter(|start| start.eq_ignore_ascii_case("TYPE"));
    number.is_some() && text.get(4..).is_some_and(|n| n.parse::<u16>().is_ok())
        || OTHERS.iter().any(|other| other.eq_ignore_ascii_case(text))
}

/// Whether the words begin with what can stand behind a name: a number, a class or a type.
fn begins_without_name(words: &[Word]) -> bool {
    words.first().is_some_and(|word| {
        word.raw.iter().all(u8::is_ascii_digit)
            || word.is("IN")
            || word.is("*")
            || is_other_type(&word.text())
            || record_type(&word.text()).is_ok()
    })
}

fn failure(text: &str) -> Result<Option<Failure>, String> {
    Ok(Some(match text {
        "!NXDOMAIN" => Failure::NoDomain,
        "!NODATA" => Failure::NoData,
        "!TIMEOUT" => Failure::Timeout,
        "!SERVFAIL" => Failure::ServFail,
        "!BOGUS" => Failure::Bogus,
        // With a dot it is a name, odd as it is.
        other if other.starts_with('!') && !other.contains('.') => {
            return Err(format!("{other} is no failure"));
        }
        _ => return Ok(None),
    }))
}

const fn failure_name(failure: Failure) -> &'static str {
    match failure {
        Failure::NoDomain => "!NXDOMAIN",
        Failure::NoData => "!NODATA",
        Failure::Timeout => "!TIMEOUT",
        Failure::ServFail => "!SERVFAIL",
        Failure::Bogus => "!BOGUS",
    }
}

fn record_type(text: &str) -> Result<RecordType, String> {
    RecordType::ALL
        .into_iter()
        .find(|kind| kind.name().eq_ignore_ascii_case(text))
        .ok_or_else(|| format!("{text:?} is no type of record that mail asks for"))
}

fn record(kind: RecordType, data: &[Word]) -> Result<Record, String> {
    let word = |at: usize| {
        data.get(at)
            .ok_or_else(|| format!("{kind} wants more values"))
    };
    let name = |at: usize| {
        let word = word(at)?;
        Name::parse(&word.raw).map_err(|e| format!("{:?}: {e}", word.text()))
    };
    let number = |at: usize| {
        let text = word(at)?.text();
        text.parse::<u32>()
            .map_err(|_| format!("{text:?} is not a number"))
    };
    let octet =
        |at: usize| u8::try_from(number(at)?).map_err(|_| format!("{kind}: a number over 255"));
    let address = || {
        format!(
            "{:?} is not an address for {kind}",
            data.first().map(Word::text).unwrap_or_default()
        )
    };
    let most = match kind {
        RecordType::Mx => 2,
        RecordType::Soa => 7,
        RecordType::Txt | RecordType::Tlsa => usize::MAX,
        _ => 1,
    };
    if data.len() > most {
        return Err(format!("{kind} wants fewer values"));
    }
    Ok(match kind {
        RecordType::A => Record::A(word(0)?.text().parse().map_err(|_| address())?),
        RecordType::Aaaa => Record::Aaaa(word(0)?.text().parse().map_err(|_| address())?),
        RecordType::Mx => Record::Mx {
            preference: u16::try_from(number(0)?).map_err(|_| "MX: a number over 65535")?,
            exchange: name(1)?,
        },
        RecordType::Txt => {
            word(0)?;
            let strings: Vec<Vec<u8>> = data.iter().map(Word::octets).collect::<Result<_, _>>()?;
            Record::Txt(strings.concat().into())
        }
        RecordType::Cname => Record::Cname(name(0)?),
        RecordType::Ptr => Record::Ptr(name(0)?),
        RecordType::Ns => Record::Ns(name(0)?),
        RecordType::Tlsa => {
            word(2)?;
            let digits: String = data.iter().skip(3).map(Word::text).collect();
            Record::Tlsa {
                usage: octet(0)?,
                selector: octet(1)?,
                matching: octet(2)?,
                data: hex(&digits)?.into(),
            }
        }
        RecordType::Soa => Record::Soa {
            primary: name(0)?,
            serial: number(2)?,
            minimum: number(6)?,
        },
    })
}

fn hex(digits: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("{digits:?} is not hexadecimal");
    let digits: Vec<u32> = digits
        .chars()
        .map(|c| c.to_digit(16).ok_or_else(wrong))
        .collect::<Result<_, _>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).map_err(|_| wrong()),
        _ => Err(wrong()),
    });
    pairs.collect()
}

/// As a file: what is parsed from it is equal to this.
impl fmt::Display for MasterFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (question, set) in &self.sets {
            write_set(f, question.name(), question.kind().name(), set)?;
        }
        for (name, set) in &self.others {
            write_set(f, name, "*", set)?;
        }
        Ok(())
    }
}

fn write_set(f: &mut fmt::Formatter<'_>, name: &Name, kind: &str, set: &Set) -> fmt::Result {
    let dot = if name.is_root() { "" } else { "." };
    let end = |f: &mut fmt::Formatter<'_>| {
        if let Some(via) = &set.via {
            write!(f, " !VIA {}", absolute(via))?;
        }
        f.write_str(if set.authentic { " !AD\n" } else { "\n" })
    };
    match &set.result {
        Err(why) => {
            let why = failure_name(*why);
            write!(f, "{name}{dot} {} {kind} {why}", set.ttl)?;
            end(f)
        }
        Ok(records) => records.iter().try_for_each(|record| {
            write!(f, "{name}{dot} {} {kind} ", set.ttl)?;
            write_data(f, record)?;
            end(f)
        }),
    }
}

fn absolute(name: &Name) -> String {
    if name.is_root() {
        name.to_string()
    } else {
        format!("{name}.")
    }
}

fn write_data(f: &mut fmt::Formatter<'_>, record: &Record) -> fmt::Result {
    match record {
        Record::A(ip) => write!(f, "{ip}"),
        Record::Aaaa(ip) => write!(f, "{ip}"),
        Record::Mx {
            preference,
            exchange,
        } => write!(f, "{preference} {}", absolute(exchange)),
        Record::Txt(text) if text.is_empty() => f.write_str("\"\""),
        Record::Txt(text) => {
            for (n, string) in text.chunks(STRING).enumerate() {
                f.write_str(if n > 0 { " \"" } else { "\"" })?;
                for &octet in string {
                    match octet {
                        b'"' | b'\\' => write!(f, "\\{}", char::from(octet))?,
                        b' '..=b'~' => write!(f, "{}", char::from(octet))?,
                        _ => write!(f, "\\{octet:03}")?,
                    }
                }
                f.write_str("\"")?;
            }
            Ok(())
        }
        Record::Cname(name) | Record::Ptr(name) | Record::Ns(name) => f.write_str(&absolute(name)),
        Record::Tlsa {
            usage,
            selector,
            matching,
            data,
        } => {
            write!(f, "{usage} {selector} {matching} ")?;
            data.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
        }
        Record::Soa {
            primary,
            serial,
            minimum,
        } => write!(f, "{} . {serial} 0 0 0 {minimum}", absolute(primary)),
    }
}
