//! Reading the XML.

use std::cell::Cell;
use std::io::{self, BufRead};

use super::{
    AggregateReport, Aligned, Alignment, COUNT_MAX, DATE_MAX, Disposition, DkimResult, Metadata,
    Outcome, Override, Policy, PolicyPublished, Reason, Record, SpfResult,
};
use crate::unpack::{unpacked, why};
use crate::word::Kept;
use crate::xml::Xml;
use crate::{Limits, Refused};

/// A report from XML, packed or not, of no more octets than are `left`, and no more `tags`.
pub(super) fn read(
    octets: &[u8],
    left: &Cell<u64>,
    tags: &Cell<usize>,
    limits: &Limits,
) -> Result<AggregateReport, Refused> {
    unpacked(octets, left, limits, |reader, stopped| {
        let mut xml = Xml::new(&mut *reader, stopped.clone(), limits, tags.get());
        let report = feedback(&mut xml);
        tags.set(xml.tags());
        let report = report?;
        // What is behind it means nothing, but the checksum of what it is packed in stands at its end.
        match io::copy(reader, &mut io::sink()) {
            Ok(_) => Ok(report),
            Err(error) => Err(why(&stopped, &error)),
        }
    })
}

fn feedback<R: BufRead>(xml: &mut Xml<R>) -> Result<AggregateReport, Refused> {
    if xml.root()?.as_str() != "feedback" {
        return Err(Refused::Missing("feedback"));
    }
    let mut report = AggregateReport::default();
    let (mut has_metadata, mut has_policy) = (false, false);
    xml.each(|xml, name| match name {
        "version" => once(&mut report.version, xml.text()?),
        "report_metadata" => {
            has_metadata = true;
            metadata(xml, &mut report.metadata)
        }
        "policy_published" => {
            has_policy = true;
            policy(xml, &mut report.policy)
        }
        "record" => {
            xml.keep(size_of::<Record>())?;
            report.records.push(record(xml)?);
            Ok(())
        }
        _ => xml.skip(),
    })?;
    if !has_metadata {
        return Err(Refused::Missing("report_metadata"));
    }
    if !has_policy || report.policy.domain.is_empty() {
        return Err(Refused::Missing("policy_published with a domain"));
    }
    Ok(report)
}

/// What stands twice counts once: the first time.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the value of an arm that may fail"
)]
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Refused> {
    if place.is_none() {
        *place = Some(value);
    }
    Ok(())
}

fn metadata<R: BufRead>(xml: &mut Xml<R>, to: &mut Metadata) -> Result<(), Refused> {
    let (mut org_name, mut email, mut report_id) = (None, None, None);
    let (mut begin, mut end) = (None, None);
    xml.each(|xml, name| match name {
        "org_name" => once(&mut org_name, xml.text()?),
        "email" => once(&mut email, xml.text()?),
        "extra_contact_info" => once(&mut to.extra_contact_info, xml.text()?),
        "report_id" => once(&mut report_id, xml.text()?),
        "date_range" => xml.each(|xml, name| match name {
            "begin" => once(&mut begin, number(&xml.brief()?, DATE_MAX, "date_range")?),
            "end" => once(&mut end, number(&xml.brief()?, DATE_MAX, "date_range")?),
            _ => xml.skip(),
        }),
        "error" => {
            xml.keep(size_of::<Box<str>>())?;
            to.errors.push(xml.text()?);
            Ok(())
        }
        "generator" => once(&mut to.generator, xml.text()?),
        _ => xml.skip(),
    })?;
    to.org_name = org_name.unwrap_or_default();
    to.email = email.unwrap_or_default();
    to.report_id = report_id.unwrap_or_default();
    to.begin = begin.ok_or(Refused::Missing("date_range"))?;
    to.end = end.ok_or(Refused::Missing("date_range"))?;
    Ok(())
}

fn policy<R: BufRead>(xml: &mut Xml<R>, to: &mut PolicyPublished) -> Result<(), Refused> {
    let mut domain = None;
    xml.each(|xml, name| match name {
        "domain" => once(&mut domain, xml.text()?),
        "p" => word(xml, &mut to.p, Policy::parse),
        "sp" => word(xml, &mut to.sp, Policy::parse),
        "np" => word(xml, &mut to.np, Policy::parse),
        "adkim" => word(xml, &mut to.adkim, Alignment::parse),
        "aspf" => word(xml, &mut to.aspf, Alignment::parse),
        "discovery_method" => once(&mut to.discovery_method, xml.text()?),
        "fo" => once(&mut to.fo, xml.text()?),
        "testing" => once(&mut to.testing, xml.text()?),
        "pct" => once(&mut to.pct, xml.text()?),
        _ => xml.skip(),
    })?;
    to.domain = domain.unwrap_or_default();
    Ok(())
}

/// An empty word is none.
fn word<R: BufRead, T: Kept>(
    xml: &mut Xml<R>,
    to: &mut Option<T>,
    parse: impl Fn(&str) -> T,
) -> Result<(), Refused> {
    let text = xml.brief()?;
    if text.is_empty() {
        return Ok(());
    }
    let word = parse(&text);
    xml.keep(word.kept())?;
    once(to, word)
}

fn record<R: BufRead>(xml: &mut Xml<R>) -> Result<Record, Refused> {
    let mut record = Record::default();
    let (mut source_ip, mut count, mut header_from) = (None, None, None);
    xml.each(|xml, name| match name {
        "row" => xml.each(|xml, name| match name {
            "source_ip" => once(&mut source_ip, xml.text()?),
            "count" => once(&mut count, number(&xml.brief()?, COUNT_MAX, "count")?),
            "policy_evaluated" => evaluated(xml, &mut record),
            _ => xml.skip(),
        }),
        // The second name is what one large receiver sent for years.
        "identifiers" | "identities" => xml.each(|xml, name| match name {
            "header_from" => once(&mut header_from, xml.text()?),
            "envelope_from" => once(&mut record.envelope_from, xml.text()?),
            "envelope_to" => once(&mut record.envelope_to, xml.text()?),
            _ => xml.skip(),
        }),
        "auth_results" => xml.each(|xml, name| match name {
            "dkim" => {
                let result = dkim(xml)?;
                xml.keep(size_of::<DkimResult>())?;
                record.dkim_results.push(result);
                Ok(())
            }
            "spf" => {
                let result = spf(xml)?;
                xml.keep(size_of::<SpfResult>())?;
                record.spf_results.push(result);
                Ok(())
            }
            _ => xml.skip(),
        }),
        _ => xml.skip(),
    })?;
    // Most have one of each; lists grow in fours.
    record.dkim_results.shrink_to_fit();
    record.spf_results.shrink_to_fit();
    record.reasons.shrink_to_fit();
    record.source_ip = source_ip.unwrap_or_default();
    record.header_from = header_from.unwrap_or_default();
    record.count = count.ok_or(Refused::Missing("count in a record"))?;
    Ok(record)
}

fn evaluated<R: BufRead>(xml: &mut Xml<R>, to: &mut Record) -> Result<(), Refused> {
    xml.each(|xml, name| match name {
        "disposition" => word(xml, &mut to.disposition, Disposition::parse),
        "dkim" => word(xml, &mut to.dkim, Aligned::parse),
        "spf" => word(xml, &mut to.spf, Aligned::parse),
        "reason" => {
            let (mut kind, mut comment) = (None, None);
            xml.each(|xml, name| match name {
                "type" => word(xml, &mut kind, Override::parse),
                "comment" => word(xml, &mut comment, |text| text.into()),
                _ => xml.skip(),
            })?;
            if kind.is_some() || comment.is_some() {
                xml.keep(size_of::<Reason>())?;
                let kind = kind.unwrap_or(Override::Unspecified);
                to.reasons.push(Reason { kind, comment });
            }
            Ok(())
        }
        _ => xml.skip(),
    })
}

fn dkim<R: BufRead>(xml: &mut Xml<R>) -> Result<DkimResult, Refused> {
    let mut result = DkimResult::default();
    let mut domain = None;
    xml.each(|xml, name| match name {
        "domain" => once(&mut domain, xml.text()?),
        "selector" => once(&mut result.selector, xml.text()?),
        "result" => word(xml, &mut result.result, Outcome::parse),
        "human_result" => once(&mut result.human_result, xml.text()?),
        _ => xml.skip(),
    })?;
    result.domain = domain.unwrap_or_default();
    Ok(result)
}

fn spf<R: BufRead>(xml: &mut Xml<R>) -> Result<SpfResult, Refused> {
    let mut result = SpfResult::default();
    let mut domain = None;
    xml.each(|xml, name| match name {
        "domain" => once(&mut domain, xml.text()?),
        "scope" => once(&mut result.scope, xml.text()?),
        "result" => word(xml, &mut result.result, Outcome::parse),
        "human_result" => once(&mut result.human_result, xml.text()?),
        _ => xml.skip(),
    })?;
    result.domain = domain.unwrap_or_default();
    Ok(result)
}

/// A whole number up to `max`; some write `.0` behind it.
fn number(text: &str, max: u64, what: &'static str) -> Result<u64, Refused> {
    let digits = match text.split_once('.') {
        Some((digits, fraction)) if fraction.bytes().all(|b| b == b'0') => digits,
        _ => text,
    };
    let is_number = (1..=19).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    is_number
        .then(|| digits.parse().ok())
        .flatten()
        .filter(|number| *number <= max)
        .ok_or(Refused::Number(what))
}
