//! Names and their records, as a name server has them.

use mox_dmarc::{Message, Report, evaluate};
use mox_dns::{Answer, Facts, Failure, Inquiry, Name, Progress, Question, Record, RecordType};
use mox_machine::{Mono, Now, Seed};
use std::collections::BTreeMap;

/// What a name server says; a name that is not in it does not exist.
#[derive(Debug, Default, Clone)]
pub(crate) struct Zone(pub(crate) BTreeMap<Name, Result<Vec<Record>, Failure>>);

impl Zone {
    pub(crate) fn txt(&mut self, name: &str, text: &str) {
        let record = Record::Txt(text.as_bytes().to_vec().into());
        let entry = self
            .0
            .entry(Name::parse(name).unwrap())
            .or_insert_with(|| Ok(Vec::new()));
        entry.as_mut().unwrap().push(record);
    }

    pub(crate) fn answer(&self, question: &Question) -> Answer {
        match self.0.get(question.name()) {
            None => Answer::failure(Failure::NoDomain, 60),
            Some(Err(failure)) => Answer::failure(*failure, 0),
            Some(Ok(records)) if question.kind() == RecordType::Txt => {
                Answer::records(records.clone(), 300)
            }
            Some(Ok(_)) => Answer::failure(Failure::NoData, 60),
        }
    }
}

/// The report, and the facts it rests on; answers come in an order drawn from `seed`.
pub(crate) fn check(
    zone: &Zone,
    message: &Message<'_>,
    seed: u64,
) -> (Report, Vec<(Question, Answer)>) {
    let mut rng = Seed::from_number(seed).rng();
    let mut inquiry = Inquiry::new(Facts::default(), Mono(u64::MAX));
    let mut open: Vec<Question> = Vec::new();
    loop {
        match inquiry.run(Now::default(), |facts| evaluate(facts, message)) {
            Progress::Done(report) => {
                let facts = inquiry.facts().demanded();
                return (report, facts.map(|(q, a)| (q.clone(), a.clone())).collect());
            }
            Progress::Ask(questions) => open.extend(questions),
            Progress::Wait => {}
        }
        let question = open.swap_remove(usize::try_from(rng.below(open.len() as u64)).unwrap());
        inquiry.answer(&question, zone.answer(&question));
    }
}
