//! The IMAP server: its machine alone with late answers, and a whole server with literals it refuses.

use bytes::BytesMut;
use mox_imap::Server;
use mox_imap::server::{Answer, Ask, BoxId, Config, Selected};
use mox_machine::{AskId, Mono, Now, Seed, Session, Step};
use mox_uids::UidSet;
use std::sync::Arc;

use crate::house::{House, world};

/// A session whose watches are never answered by themselves.
struct Talk {
    session: Server,
    output: Vec<u8>,
    watches: Vec<AskId>,
    boxes: u32,
}

const NOW: Now = Now {
    mono: Mono(1_000_000_000),
    utc: mox_machine::Utc::from_secs(1_767_323_045),
};

impl Talk {
    fn say(&mut self, line: &str) -> String {
        let mut input = BytesMut::from(line.as_bytes());
        self.session.recv(NOW, &mut input);
        self.run();
        String::from_utf8(core::mem::take(&mut self.output)).unwrap()
    }

    fn run(&mut self) {
        while let Some(step) = self.session.poll() {
            match step {
                Step::Send(bytes) => self.output.extend_from_slice(&bytes),
                Step::Ask(id, Ask::Watch { .. }) => self.watches.push(id),
                Step::Ask(id, ask) => {
                    let answer = self.answer(&ask);
                    self.session.answer(NOW, id, answer);
                }
                _ => {}
            }
        }
    }

    fn answer(&mut self, ask: &Ask) -> Answer {
        match ask {
            Ask::Login { .. } => Answer::Authenticated("ann".into()),
            Ask::Select { .. } => {
                self.boxes += 1;
                Answer::Selected(Selected {
                    mailbox: BoxId(self.boxes),
                    validity: 7,
                    next: 1,
                    modseq: 1,
                    first_unseen: None,
                    uids: Arc::new(UidSet::new()),
                    recent: UidSet::new(),
                    keywords: Vec::new(),
                    writable: true,
                })
            }
            Ask::Expunge { .. } => Answer::Expunged {
                uids: UidSet::new(),
                modseq: 1,
            },
            other => panic!("{other:?}"),
        }
    }
}

/// R5: the answer to the watch of a mailbox that was left says nothing about the one selected since.
pub fn a_late_answer_to_an_earlier_watch(seed: u64) -> Vec<String> {
    let config = Config {
        clear_auth: true,
        ..Config::default()
    };
    let mut talk = Talk {
        session: Server::new(config, Seed::from_number(seed)),
        output: Vec::new(),
        watches: Vec::new(),
        boxes: 0,
    };
    talk.run();
    talk.say("a LOGIN ann secret\r\n");
    talk.say("b SELECT one\r\n");
    let old = talk.watches.clone();
    talk.say("c SELECT two\r\n");
    for id in old {
        talk.session.answer(NOW, id, Answer::Gone);
        talk.run();
    }
    let said = talk.say("d EXPUNGE\r\n");
    match said.contains("NONEXISTENT") {
        true => vec![format!(
            "R5: a mailbox that was left is gone, and so it is said of this: {said}"
        )],
        false => Vec::new(),
    }
}

/// The octets of a literal that is refused are never obeyed (RFC 7888).
pub fn a_refused_literal_is_never_a_command(seed: u64) -> Vec<String> {
    world(seed, |sim, wrong| async move {
        let house = House::new(&sim).await;
        let mut imap = house.imap().await.unwrap();
        let hidden = "x NOOP\r\nx CREATE smuggled\r\n";
        // A literal8 is for APPEND alone, so this one is refused.
        let refused = format!("r CREATE ~{{{}+}}\r\n{hidden}\r\n", hidden.len());
        imap.say(&refused).await.unwrap();
        let list = imap.command("LIST \"\" *").await.unwrap();
        if list.contains("smuggled") {
            let what = "octets of a refused literal were obeyed: a mailbox was made";
            wrong.lock().unwrap().push(what.to_owned());
        }
    })
}
