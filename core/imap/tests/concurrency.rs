//! Several sessions on one mailbox: what each client was told is always enough to know what is there.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::new_without_default,
    reason = "tests"
)]

mod model;

use model::{Client, World};
use mox_machine::{Rng, Seed};

/// What a client believes: one entry a sequence number, with its UID and flags once it learned them.
struct Belief {
    client: Client,
    messages: Vec<Option<(u32, String)>>,
}

impl Belief {
    fn new(world: &mut World) -> Self {
        let mut client = Client::selected(world);
        let output = client.say(world, "i FETCH 1:* (UID FLAGS)\r\n");
        let mut belief = Self {
            client,
            messages: vec![None; world.mailboxes["INBOX"].messages.len()],
        };
        belief.learn(&output, false);
        belief
    }

    fn say(&mut self, world: &mut World, command: &str) {
        let output = self.client.say(world, format!("a {command}\r\n"));
        assert!(
            !output.contains("BAD") && !self.client.closed,
            "{command}: {output}"
        );
        let forbidden = ["FETCH", "STORE", "SEARCH"]
            .iter()
            .any(|verb| command.starts_with(verb));
        if let Some((first, _)) = command.split_once(":* +FLAGS.SILENT (\\Seen)") {
            let first: usize = first.trim_start_matches("STORE ").parse().unwrap();
            for (_, flags) in self.messages.iter_mut().skip(first - 1).flatten() {
                if !flags.starts_with("\\Seen") {
                    *flags = format!("\\Seen {flags}").trim_end().into();
                }
            }
        }
        self.learn(&output, forbidden);
    }

    fn learn(&mut self, output: &str, no_expunge: bool) {
        for line in output.lines() {
            let words: Vec<_> = line.splitn(4, ' ').collect();
            match words[..] {
                ["*", n, "EXISTS"] => {
                    let n: usize = n.parse().unwrap();
                    assert!(n > self.messages.len(), "{output}");
                    self.messages.resize(n, None);
                }
                ["*", n, "EXPUNGE"] => {
                    assert!(!no_expunge, "{output}");
                    self.messages.remove(n.parse::<usize>().unwrap() - 1);
                }
                ["*", n, "FETCH", items] => {
                    let slot = &mut self.messages[n.parse::<usize>().unwrap() - 1];
                    let items = items.trim_start_matches('(').trim_end_matches(')');
                    let (before, flags) = items.split_once("FLAGS (").unwrap();
                    let uid = before
                        .trim()
                        .strip_prefix("UID ")
                        .map(|uid| uid.parse::<u32>().unwrap());
                    let known = slot.as_ref().map(|(uid, _)| *uid);
                    if let (Some(uid), Some(known)) = (uid, known) {
                        assert_eq!(uid, known, "a number changed its message: {output}");
                    }
                    *slot = uid.or(known).map(|uid| (uid, flags.into()));
                }
                _ => {}
            }
        }
    }

    fn check(&mut self, world: &mut World) {
        self.say(world, "NOOP");
        let names = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"];
        let mailbox = &world.mailboxes["INBOX"];
        let truth: Vec<_> = mailbox
            .messages
            .iter()
            .map(|(uid, message)| {
                let system = names
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| message.flags & (1 << bit) != 0);
                let keywords = mailbox
                    .keywords
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| message.keywords & (1 << bit) != 0);
                let mut flags: Vec<String> = system.map(|(_, name)| (*name).into()).collect();
                flags.extend(keywords.map(|(_, name)| name.clone()));
                Some((*uid, flags.join(" ")))
            })
            .collect();
        assert_eq!(self.messages, truth);
    }
}

fn command(rng: &mut Rng, messages: usize) -> String {
    let n = 1 + rng.below(messages.max(1) as u64);
    if messages == 0 {
        return "NOOP".into();
    }
    match rng.below(14) {
        0 => "NOOP".into(),
        1 => format!("FETCH {n} (UID FLAGS)"),
        2 => "UID FETCH 1:* FLAGS".into(),
        3 => format!("STORE {n} +FLAGS (\\Deleted)"),
        4 => format!("STORE {n} -FLAGS (\\Deleted \\Seen)"),
        5 => format!("STORE {n}:* +FLAGS.SILENT (\\Seen)"),
        6 => "EXPUNGE".into(),
        7 => format!("MOVE {n} Work"),
        8 => format!("COPY {n}:* INBOX"),
        9 => "SEARCH ALL".into(),
        10 => "UID SEARCH UNSEEN".into(),
        11 => "APPEND INBOX (\\Draft) {3+}\r\nabc".into(),
        12 => "IDLE\r\nDONE".into(),
        _ => format!("STORE {n} +FLAGS (k{})", rng.below(5)),
    }
}

#[test]
fn every_client_can_follow_what_the_others_do() {
    for seed in 0..300 {
        let mut rng = Seed::from_number(seed).rng();
        let mut world = World::new();
        world.create("Work", None);
        let mut clients: Vec<_> = (0..3).map(|_| Belief::new(&mut world)).collect();
        for _ in 0..60 {
            let who = rng.below(3) as usize;
            if clients[who].messages.len() > 30 {
                clients[who].say(&mut world, "STORE 1:25 +FLAGS (\\Deleted)");
                clients[who].say(&mut world, "EXPUNGE");
                continue;
            }
            let command = command(&mut rng, clients[who].messages.len());
            clients[who].say(&mut world, &command);
        }
        for client in &mut clients {
            client.check(&mut world);
        }
    }
}
