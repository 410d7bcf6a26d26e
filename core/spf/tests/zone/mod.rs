//! Names and their records, as a name server has them.

use mox_dns::{Answer, Facts, Failure, Inquiry, Name, Progress, Question, Record, RecordType};
use mox_machine::{Mono, Now, Seed};
use mox_spf::{Limits, Query, Report, check_host};
use std::collections::BTreeMap;

/// What a name server says; a name that is not in it does not exist.
#[derive(Debug, Default, Clone)]
pub(crate) struct Zone {
    pub(crate) records: BTreeMap<Name, Vec<Record>>,
    /// Failures by name, for every type that has no records.
    pub(crate) failures: BTreeMap<Name, Failure>,
}

impl Zone {
    pub(crate) fn add(&mut self, name: Name, record: Record) {
        self.records.entry(name).or_default().push(record);
    }

    pub(crate) fn answer(&self, question: &Question) -> Answer {
        let mut name = question.name().clone();
        for _ in 0..8 {
            let all = self.records.get(&name).map_or(&[][..], Vec::as_slice);
            let found: Vec<Record> = all
                .iter()
                .filter(|r| r.kind() == question.kind())
                .cloned()
                .collect();
            if !found.is_empty() {
                return Answer::records(found, 300);
            }
            if let Some(failure) = self.failures.get(&name) {
                return Answer::failure(*failure, 0);
            }
            if all.is_empty() {
                return Answer::failure(Failure::NoDomain, 60);
            }
            match all.iter().find(|r| r.kind() == RecordType::Cname) {
                Some(Record::Cname(to)) => name = to.clone(),
                _ => return Answer::failure(Failure::NoData, 60),
            }
        }
        Answer::failure(Failure::ServFail, 0)
    }

    /// The report, and the facts it rests on; answers come in an order drawn from `seed`.
    pub(crate) fn check(
        &self,
        query: &Query<'_>,
        limits: &Limits,
        seed: u64,
    ) -> (Report, Vec<(Question, Answer)>) {
        let mut rng = Seed::from_number(seed).rng();
        let mut inquiry = Inquiry::new(Facts::default(), Mono(u64::MAX));
        let mut open: Vec<Question> = Vec::new();
        loop {
            match inquiry.run(Now::default(), |facts| check_host(facts, query, limits)) {
                Progress::Done(report) => {
                    let facts = inquiry.facts().demanded();
                    return (report, facts.map(|(q, a)| (q.clone(), a.clone())).collect());
                }
                Progress::Ask(questions) => open.extend(questions),
                Progress::Wait => {}
            }
            let next = usize::try_from(rng.below(open.len() as u64)).unwrap();
            let question = open.swap_remove(next);
            inquiry.answer(&question, self.answer(&question));
        }
    }
}
