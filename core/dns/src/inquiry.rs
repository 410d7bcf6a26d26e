//! Turns a function of facts into questions and answers.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use mox_machine::{Mono, Now};

use crate::{Answer, Facts, Failure, Missing, Question};

/// How often one inquiry runs its function before it is brought to an end.
pub const RUNS_MAX: u32 = 32;

/// One run of a function of facts to its verdict: [`run`](Self::run), ask what it says, put the
/// [`answer`](Self::answer)s in, run again.
///
/// It always ends: at the deadline, after [`RUNS_MAX`] runs, and when [`Facts`] is full, everything still missing is
/// written as [`Failure::Timeout`], and the function runs to its end on that. So the table holds all that a verdict rests
/// on, also when it rests on a timeout.
#[derive(Debug)]
pub struct Inquiry {
    facts: Facts,
    deadline: Mono,
    runs: u32,
    /// Asked and not answered.
    open: BTreeSet<Question>,
    closed: bool,
}

/// What a [`run`](Inquiry::run) came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<T> {
    /// The verdict.
    Done(T),
    /// Ask these, all new, and run again once they are answered or the deadline has come.
    Ask(Vec<Question>),
    /// Nothing new: questions are still open.
    Wait,
}

impl Inquiry {
    /// An inquiry over what is known already. It ends at `deadline`.
    pub fn new(facts: Facts, deadline: Mono) -> Self {
        Self {
            facts,
            deadline,
            runs: 0,
            open: BTreeSet::new(),
            closed: false,
        }
    }

    /// Runs `function` as far as the answers go. While questions of the last run are open it does not run at all.
    ///
    /// # Panics
    ///
    /// When `function` demands more than a thousand facts after the inquiry was closed: it has no limit of its own.
    pub fn run<T>(
        &mut self,
        now: Now,
        mut function: impl FnMut(&Facts) -> Result<T, Missing>,
    ) -> Progress<T> {
        if now.mono >= self.deadline {
            self.close();
        }
        if !self.open.is_empty() {
            return Progress::Wait;
        }
        let mut timeouts = 0;
        loop {
            self.facts.forget_demands();
            self.runs += 1;
            let missing = match function(&self.facts) {
                Ok(verdict) => return Progress::Done(verdict),
                Err(missing) => missing,
            };
            debug_assert!(
                !missing.questions().iter().any(|q| self.facts.contains(q)),
                "missing what the table has"
            );
            if self.closed || self.runs >= RUNS_MAX || self.facts.is_full() {
                self.closed = true;
                timeouts += missing.questions().len();
                assert!(
                    timeouts <= 1_000,
                    "a function of facts has a limit of its own"
                );
                for question in missing.questions() {
                    self.facts
                        .insert(question, Answer::failure(Failure::Timeout, 0));
                }
            } else {
                self.open.extend(missing.questions().iter().cloned());
                return Progress::Ask(missing.questions);
            }
        }
    }

    /// The answer to a question. Ignored when it was not asked or was answered already; a `run` at the
    /// deadline answers all that is open.
    pub fn answer(&mut self, question: &Question, answer: Answer) {
        if self.open.remove(question) {
            self.facts.insert(question, answer);
        }
    }

    /// When to run again whatever was answered; `None` once the inquiry was brought to an end.
    pub fn deadline(&self) -> Option<Mono> {
        (!self.closed).then_some(self.deadline)
    }

    /// The table so far.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The table, for the next function that judges the same message. Those the last run read are marked
    /// ([`Facts::demanded`]).
    pub fn into_facts(self) -> Facts {
        self.facts
    }

    fn close(&mut self) {
        self.closed = true;
        for question in core::mem::take(&mut self.open) {
            self.facts
                .insert(&question, Answer::failure(Failure::Timeout, 0));
        }
    }
}
