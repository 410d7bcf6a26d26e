//! How a protocol's asks, answers and events are written in transcripts: said once, for hand-written files and captures.

use mox_machine::{Now, Recordable, Seed};

/// A session whose asks, answers and events have a spelling.
pub trait Spelled: Recordable + Sized {
    /// The `machine` of the header.
    const NAME: &'static str;
    /// Who it is in the transcript: `S` for a server, `C` for a client.
    const SIDE: char;

    /// A session as the `config` of a header says. The error says what is wrong with it.
    fn make(config: &str, seed: &Seed, now: Now) -> Result<Self, String>;
    /// What follows `? `. Never a secret.
    fn ask_text(ask: &Self::Ask) -> String;
    /// What follows `= `; `None` for events that only logs are interested in.
    fn event_text(event: &Self::Event) -> Option<String>;
    /// What follows `! `. Secrets are written as `<secret>`.
    fn answer_text(answer: &Self::Answer) -> String;
    /// Reads what [`answer_text`](Self::answer_text) wrote.
    fn parse_answer(text: &str) -> Option<Self::Answer>;
    /// The answer to a piece of a message that is taken care of.
    fn accept() -> Self::Answer;
    /// The part of an answer that goes to the peer and proves who somebody is: its octets, not yet base64.
    fn challenge(answer: &Self::Answer) -> Option<&[u8]>;
}

/// What stands for a secret in a file.
pub const SECRET: &str = "<secret>";
/// The octets that the machine gets and sends in its place: [`SECRET`] in base64.
pub const SECRET_TOKEN: &str = "PHNlY3JldD4=";
