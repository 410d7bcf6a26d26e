//! What was asked of name servers, for people who rehearse a delivery.

use mox_dns::{Answer, Facts, Question, Record};
use std::fmt::Write;

/// Octets of the text of an answer at most.
const ANSWER_MAX: usize = 1_000;

/// A line for each question that was asked: name, type, answer, and whether a validating resolver vouches for it (AD).
pub(super) fn lines(facts: &Facts) -> Vec<String> {
    let asked = facts.demanded();
    asked
        .map(|(question, answer)| line(question, answer))
        .collect()
}

fn line(question: &Question, answer: &Answer) -> String {
    let mut text = match answer.why() {
        Some(why) => why.to_string(),
        None => {
            let all: Vec<String> = answer.all().iter().map(shown).collect();
            all.join(", ")
        }
    };
    if text.len() > ANSWER_MAX {
        let end = (0..=ANSWER_MAX).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push_str("...");
    }
    if let Some(name) = &answer.canonical {
        // A String takes all that is written to it.
        let _ = write!(text, ", which is {name}");
    }
    let vouched = match answer.authentic {
        true => "AD",
        false => "not AD",
    };
    format!("DNS: {question}: {text} ({vouched})")
}

fn shown(record: &Record) -> String {
    match record {
        Record::A(ip) => ip.to_string(),
        Record::Aaaa(ip) => ip.to_string(),
        Record::Mx {
            preference,
            exchange,
        } => format!("{preference} {exchange}"),
        Record::Txt(text) => format!("{:?}", String::from_utf8_lossy(text)),
        Record::Cname(name) | Record::Ptr(name) | Record::Ns(name) => name.to_string(),
        Record::Tlsa {
            usage,
            selector,
            matching,
            data,
        } => {
            let mut text = format!("{usage} {selector} {matching} ");
            for octet in data {
                let _ = write!(text, "{octet:02x}");
            }
            text
        }
        Record::Soa {
            primary, serial, ..
        } => format!("{primary} {serial}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mox_dns::{Failure, Name, RecordType};

    #[test]
    fn a_line_has_name_type_answer_and_who_vouches_for_it() {
        let question = |name: &str, kind| Question::new(name, kind).unwrap();
        let mx = |preference, name: &str| Record::Mx {
            preference,
            exchange: Name::parse(name).unwrap(),
        };
        let mut facts = Facts::default();
        let answers = [
            (
                question("far.example", RecordType::Mx),
                Answer::records(vec![mx(10, "a.far.example"), mx(20, "b.far.example")], 60),
            ),
            (
                question("_25._tcp.a.far.example", RecordType::Tlsa),
                Answer::records(
                    vec![Record::Tlsa {
                        usage: 3,
                        selector: 1,
                        matching: 1,
                        data: vec![0xab, 1].into(),
                    }],
                    60,
                )
                .authentic(),
            ),
            (
                question("_mta-sts.far.example", RecordType::Txt),
                Answer::failure(Failure::NoDomain, 60).authentic(),
            ),
            (
                question("long.example", RecordType::Txt),
                Answer::records(vec![Record::Txt(vec![b'x'; 2_000].into())], 60),
            ),
        ];
        for (question, answer) in answers {
            facts.insert(&question, answer);
            let _ = facts.need(&question);
        }
        let mut told = lines(&facts);
        told.sort();
        assert_eq!(
            told[..3],
            [
                "DNS: _25._tcp.a.far.example TLSA: 3 1 1 ab01 (AD)",
                "DNS: _mta-sts.far.example TXT: the name does not exist (AD)",
                "DNS: far.example MX: 10 a.far.example, 20 b.far.example (not AD)",
            ]
        );
        assert!(told[3].len() < 1_100 && told[3].ends_with("xxx... (not AD)"));
    }
}
