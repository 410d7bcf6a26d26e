//! The SMTP client in transcripts.

use bytes::Bytes;
use mox_address::{Host, Path};
use mox_machine::{Now, Secret, Seed};
use mox_smtp::client::{
    Answer, Ask, Client, Config, Ending, Event, Limits, Outcome, Tls, Transaction,
};
use mox_smtp::wire::{Params, RcptDsn};
use serde::{Deserialize, Serialize};

use super::quoted;
use super::server::{mechanisms, seconds};
use crate::escape::{escape, unescape};
use crate::spelled::{SECRET, Spelled};

/// The `config` of a transcript; what is left out is as in [`Config::new`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "as in Config and Limits; times in seconds")]
pub struct Settings {
    pub hello: String,
    /// `never`, `required`; otherwise TLS is used where it is offered.
    pub tls: String,
    /// PLAIN is used, as `mechanisms: ["PLAIN"]`.
    #[serde(skip_serializing)]
    pub auth: bool,
    pub mechanisms: Vec<String>,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub transcribes: bool,
    pub reply_line: usize,
    pub reply_lines: usize,
    pub piece: usize,
    pub pipeline: usize,
    pub greeting: f64,
    pub command: f64,
    pub start_tls: f64,
    pub data: f64,
    pub block: f64,
    pub end: f64,
    pub quit: f64,
    pub idle: f64,
}

impl Default for Settings {
    fn default() -> Self {
        let hello = Host::parse("client.example", false);
        hello.map_or_else(
            |_| unreachable!("a constant"),
            |hello| Self::of(&Config::new(hello)),
        )
    }
}

impl Settings {
    /// The settings of a client.
    pub fn of(config: &Config) -> Self {
        let limits = config.limits;
        Self {
            hello: config.hello.to_string(),
            tls: match config.tls {
                Tls::Never => "never",
                Tls::IfOffered => "if_offered",
                Tls::Required => "required",
            }
            .into(),
            auth: false,
            mechanisms: config.mechanisms.iter().map(|&m| m.into()).collect(),
            transcribes: config.transcribes,
            reply_line: limits.replies.line,
            reply_lines: limits.replies.lines,
            piece: limits.piece,
            pipeline: limits.pipeline,
            greeting: limits.greeting.as_secs_f64(),
            command: limits.command.as_secs_f64(),
            start_tls: limits.start_tls.as_secs_f64(),
            data: limits.data.as_secs_f64(),
            block: limits.block.as_secs_f64(),
            end: limits.end.as_secs_f64(),
            quit: limits.quit.as_secs_f64(),
            idle: limits.idle.as_secs_f64(),
        }
    }

    /// The client's configuration. The error names the setting that is wrong.
    pub fn config(self) -> Result<Config, String> {
        let hello = Host::parse(&self.hello, true)
            .map_err(|_| format!("hello {:?} is no host name", self.hello))?;
        let mut config = Config::new(hello);
        config.tls = match self.tls.as_str() {
            "never" => Tls::Never,
            "required" => Tls::Required,
            _ => Tls::IfOffered,
        };
        config.mechanisms = mechanisms(&self.mechanisms)?;
        if self.auth {
            config.mechanisms.push("PLAIN");
        }
        config.transcribes = self.transcribes;
        let mut replies = config.limits.replies;
        replies.line = self.reply_line;
        replies.lines = self.reply_lines;
        config.limits = Limits {
            replies,
            piece: self.piece,
            pipeline: self.pipeline,
            greeting: seconds(self.greeting)?,
            command: seconds(self.command)?,
            start_tls: seconds(self.start_tls)?,
            data: seconds(self.data)?,
            block: seconds(self.block)?,
            end: seconds(self.end)?,
            quit: seconds(self.quit)?,
            idle: seconds(self.idle)?,
        };
        Ok(config)
    }
}

impl Spelled for Client {
    const NAME: &'static str = "smtp-client";
    const SIDE: char = 'C';

    fn make(config: &str, _: &Seed, now: Now) -> Result<Self, String> {
        let settings: Settings = ron::from_str(config).map_err(|e| e.to_string())?;
        Ok(Self::new(settings.config()?, now))
    }

    fn ask_text(ask: &Ask) -> String {
        match ask {
            Ask::Next(_) => "next".into(),
            Ask::Sasl { mechanism, .. } => format!("sasl {mechanism}"),
            Ask::Piece { offset, max } => format!("piece {offset} {max}"),
        }
    }

    fn event_text(event: &Event) -> Option<String> {
        let why = |outcome: &Outcome| {
            let ambiguous = if outcome.ambiguous { " ambiguous" } else { "" };
            let (class, cause) = (outcome.class, outcome.cause);
            format!("{class:?} {cause:?} {:?}{ambiguous}", outcome.stage)
        };
        Some(match event {
            Event::Greeted(_) => return None,
            Event::Exchanged { command, reply } => match reply {
                Some(reply) => format!("exchanged {command}: {reply}"),
                None => format!("exchanged {command}: nothing"),
            },
            Event::TlsRefused(reply) => format!("tls refused {reply}"),
            Event::Ending { bytes } => format!("ending {bytes}"),
            Event::Recipient { index, outcome } => format!("recipient {index} {}", why(outcome)),
            Event::Finished => "finished".into(),
            Event::Closed(Ending::Quit) => "closed Quit".into(),
            Event::Closed(Ending::Failed(outcome)) => format!("closed {}", why(outcome)),
        })
    }

    /// `send <from> <to> <to> size=5 eight_bit utf8 RET=HDRS to1:NOTIFY=NEVER`.
    fn answer_text(answer: &Answer) -> String {
        match answer {
            Answer::Send(transaction) => {
                let path = |path: &Path| format!("<{path}>");
                let from = transaction.from.as_ref().map_or_else(|| "<>".into(), path);
                let mut text = format!("send {from}");
                for to in &transaction.to {
                    text.push_str(&format!(" {}", path(to)));
                }
                text.push_str(&format!(" size={}", transaction.size));
                if transaction.eight_bit {
                    text.push_str(" eight_bit");
                }
                if transaction.utf8 {
                    text.push_str(" utf8");
                }
                if transaction.require_tls {
                    text.push_str(" REQUIRETLS");
                }
                text.push_str(&transaction.dsn.to_string());
                for (nth, dsn) in transaction.rcpt_dsn.iter().enumerate() {
                    let params = dsn.to_string();
                    for param in params.split_ascii_whitespace() {
                        text.push_str(&format!(" to{nth}:{param}"));
                    }
                }
                text
            }
            Answer::Quit => "quit".into(),
            Answer::Response(None) => "response".into(),
            Answer::Response(Some(_)) => format!("response \"{SECRET}\""),
            Answer::Piece(octets) => format!("piece \"{}\"", escape(octets)),
            Answer::Failed => "failed".into(),
        }
    }

    fn parse_answer(text: &str) -> Option<Answer> {
        let (what, rest) = text.split_once(' ').unwrap_or((text, ""));
        Some(match what {
            "send" => Answer::Send(parse_transaction(rest)?),
            "quit" => Answer::Quit,
            "response" if rest.is_empty() => Answer::Response(None),
            "response" => {
                let octets = unescape(quoted(rest)?).ok()?;
                Answer::Response(Some(Secret::new(octets.into())))
            }
            "piece" => Answer::Piece(Bytes::from(unescape(quoted(rest)?).ok()?)),
            "failed" => Answer::Failed,
            _ => return None,
        })
    }

    fn accept() -> Answer {
        Answer::Failed
    }

    fn challenge(answer: &Answer) -> Option<&[u8]> {
        match answer {
            Answer::Response(Some(octets)) => Some(octets.expose()),
            _ => None,
        }
    }
}

fn parse_transaction(text: &str) -> Option<Transaction> {
    let (paths, rest) = text.rsplit_once("> size=")?;
    let mut paths = paths.strip_prefix('<')?.split("> <");
    let from = match paths.next()? {
        "" => None,
        path => Some(Path::parse(path, true).ok()?),
    };
    let to = paths.map(|path| Path::parse(path, true).ok());
    let mut words = rest.split(' ');
    let size = words.next()?.parse().ok()?;
    let mut transaction = Transaction {
        from,
        to: to.collect::<Option<_>>()?,
        size,
        eight_bit: false,
        utf8: false,
        ..Transaction::default()
    };
    for word in words {
        match word {
            "eight_bit" => transaction.eight_bit = true,
            "utf8" => transaction.utf8 = true,
            param => {
                let (to, param) = match param.strip_prefix("to").and_then(|p| p.split_once(':')) {
                    Some((nth, param)) => (Some(nth.parse().ok()?), param),
                    None => (None, param),
                };
                take_param(&mut transaction, to, param)?;
            }
        }
    }
    Some(transaction)
}

/// A parameter of MAIL, or of the RCPT of the recipient in a place.
pub(crate) fn take_param(
    transaction: &mut Transaction,
    to: Option<usize>,
    param: &str,
) -> Option<()> {
    let param = Params::new(param.as_bytes()).next()?.ok()?;
    let Some(nth) = to.filter(|nth| *nth < transaction.to.len()) else {
        transaction.require_tls |= param.is("REQUIRETLS");
        let is_known = transaction.dsn.take(&param).ok()? || param.is("REQUIRETLS");
        return is_known.then_some(());
    };
    let count = transaction.rcpt_dsn.len().max(nth + 1);
    transaction.rcpt_dsn.resize(count, RcptDsn::default());
    let dsn = transaction.rcpt_dsn.get_mut(nth)?;
    dsn.take(&param, true).ok()?.then_some(())
}
