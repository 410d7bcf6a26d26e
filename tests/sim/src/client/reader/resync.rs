//! A client that comes back with what it knew of a mailbox, asks what happened since, and compares.

use mox_driver::Runtime;
use std::collections::BTreeMap;
use std::io;

use super::{Reader, Session};
use crate::client::view::{Known, Rules};
use crate::client::{RETRY, patiently, sleep};

impl Reader {
    /// Leaves, comes back with QRESYNC, and goes on with the new session if there is one.
    pub(super) async fn resync(&self, old: Session) -> Option<Session> {
        let known = Memory::of(&old);
        drop(old);
        let began = self.who.on.now().mono;
        let opened = patiently(&self.who.on, self.open_again(known)).await;
        let took = self.who.on.now().mono.since(began);
        self.tell(took, opened.as_ref().err());
        match opened {
            Ok(session) => Some(session),
            Err(_) => {
                sleep(&self.who.on, RETRY).await;
                None
            }
        }
    }

    async fn open_again(&self, mut known: Memory) -> io::Result<Session> {
        let mut session = self.log_in().await?;
        self.must(&mut session, "ENABLE QRESYNC", Rules::Any)
            .await?;
        let select = format!(
            "SELECT {} (QRESYNC ({} {}))",
            session.view.place.2, known.validity, known.highest
        );
        // What is not told stays as it was, so numbers cannot be known before everything was told.
        self.must(&mut session, &select, Rules::Any).await?;
        let highest = session.view.highest;
        for uid in core::mem::take(&mut session.view.vanished) {
            known.messages.remove(&uid);
        }
        let told = session.view.messages.iter().filter(|m| m.modseq > 0);
        for message in told.filter_map(|m| Some((m.uid?, m.clone()))) {
            known.messages.insert(message.0, message.1);
        }
        let place = session.view.place.clone();
        let believed: Vec<Known> = known.messages.into_values().collect();
        let there = session.view.messages.len();
        {
            let bench = &mut *self.who.stage.judge.bench();
            bench.wrong.expect(believed.len() == there, || {
                format!("who came back to {place:?} from {} has {} messages, and {there} are there: {believed:?}", known.highest, believed.len())
            });
        }
        if believed.len() == there {
            session.view.messages.clone_from(&believed);
        }
        self.must(&mut session, "UID FETCH 1:* (FLAGS MODSEQ)", Rules::Any)
            .await?;
        let before: BTreeMap<_, _> = believed.iter().map(|m| (m.uid, m)).collect();
        let bench = &mut *self.who.stage.judge.bench();
        // Whatever changed since is newer than the mailbox was then.
        for message in session.view.messages.iter().filter(|m| m.modseq <= highest) {
            let believed = before.get(&message.uid);
            bench.wrong.expect(believed == Some(&message), || {
                format!("who came back to {place:?} from {} was not told of {message:?}, and believes {believed:?}", known.highest)
            });
        }
        Ok(session)
    }
}

/// What a client keeps of a mailbox.
struct Memory {
    validity: u32,
    highest: u64,
    messages: BTreeMap<u32, Known>,
}

impl Memory {
    fn of(session: &Session) -> Self {
        let view = &session.view;
        let complete = view.messages.iter().filter(|message| message.modseq > 0);
        Self {
            validity: view.validity,
            highest: view.highest,
            messages: complete
                .filter_map(|message| Some((message.uid?, message.clone())))
                .collect(),
        }
    }
}
