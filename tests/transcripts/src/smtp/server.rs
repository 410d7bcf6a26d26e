//! The SMTP server in transcripts.

use bytes::Bytes;
use core::time::Duration;
use mox_address::Domain;
use mox_machine::{Now, Seed};
use mox_sasl::Mechanism;
use mox_smtp::server::{Answer, Ask, Config, Event, Limits, MailParams, Mode, Server};
use serde::{Deserialize, Serialize};

use super::{parse_reply, quoted, reply_text};
use crate::escape::{escape, unescape};
use crate::spelled::{SECRET, Spelled};

/// The `config` of a transcript; what is left out is as in [`Config::new`], but for the host name and smaller messages.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "as in Config and Limits; times in seconds")]
pub struct Settings {
    pub hostname: String,
    /// `delivery`, `submission` or `lmtp`.
    pub mode: String,
    pub starttls: bool,
    /// PLAIN is offered, as `mechanisms: ["PLAIN"]`.
    #[serde(skip_serializing)]
    pub auth: bool,
    pub mechanisms: Vec<String>,
    pub auth_in_clear: bool,
    pub auth_required: bool,
    pub tls_required: bool,
    pub max_size: u64,
    pub greeting_delay: f64,
    pub refuse_early_talkers: bool,
    pub command_line: usize,
    pub auth_line: usize,
    pub recipients: usize,
    pub surplus: usize,
    pub messages: usize,
    pub asks: usize,
    pub window: usize,
    pub output: usize,
    pub discard_times: u64,
    pub errors: usize,
    pub useless: usize,
    pub auth_failures: usize,
    pub refused_messages: usize,
    pub command: f64,
    pub data: f64,
    pub transaction: f64,
    pub answer: f64,
    pub slow: f64,
    pub slow_octets: usize,
    pub slow_replies: usize,
    pub hold: f64,
}

impl Default for Settings {
    fn default() -> Self {
        let hostname = Domain::parse("mx.example.org", false);
        hostname.map_or_else(
            |_| unreachable!("a constant"),
            |hostname| Self {
                max_size: 1_000_000,
                ..Self::of(&Config::new(hostname))
            },
        )
    }
}

impl Settings {
    /// The settings of a server.
    pub fn of(config: &Config) -> Self {
        let limits = config.limits;
        Self {
            hostname: config.hostname.to_string(),
            mode: match config.mode {
                Mode::Delivery => "delivery",
                Mode::Submission => "submission",
                Mode::Lmtp => "lmtp",
            }
            .into(),
            starttls: config.starttls,
            auth: false,
            mechanisms: config.mechanisms.iter().map(|&m| m.into()).collect(),
            auth_in_clear: config.auth_in_clear,
            auth_required: config.auth_required,
            tls_required: config.tls_required,
            max_size: config.max_size,
            greeting_delay: config.greeting_delay.as_secs_f64(),
            refuse_early_talkers: config.refuse_early_talkers,
            command_line: limits.command_line,
            auth_line: limits.auth_line,
            recipients: limits.recipients,
            surplus: limits.surplus,
            messages: limits.messages,
            asks: limits.asks,
            window: limits.window,
            output: limits.output,
            discard_times: limits.discard_times,
            errors: limits.errors,
            useless: limits.useless,
            auth_failures: limits.auth_failures,
            refused_messages: limits.refused_messages,
            command: limits.command.as_secs_f64(),
            data: limits.data.as_secs_f64(),
            transaction: limits.transaction.as_secs_f64(),
            answer: limits.answer.as_secs_f64(),
            slow: limits.slow.as_secs_f64(),
            slow_octets: limits.slow_octets,
            slow_replies: limits.slow_replies,
            hold: limits.hold.as_secs_f64(),
        }
    }

    /// The server's configuration. The error names the setting that is wrong.
    pub fn config(self) -> Result<Config, String> {
        let hostname = Domain::parse(&self.hostname, true)
            .map_err(|e| format!("hostname {:?}: {e}", self.hostname))?;
        let mut config = Config::new(hostname);
        config.mode = match self.mode.as_str() {
            "delivery" => Mode::Delivery,
            "submission" => Mode::Submission,
            "lmtp" => Mode::Lmtp,
            other => return Err(format!("there is no mode {other:?}")),
        };
        config.starttls = self.starttls;
        config.mechanisms = mechanisms(&self.mechanisms)?;
        if self.auth {
            config.mechanisms.push("PLAIN");
        }
        config.auth_in_clear = self.auth_in_clear;
        config.auth_required = self.auth_required;
        config.tls_required = self.tls_required;
        config.max_size = self.max_size;
        config.greeting_delay = seconds(self.greeting_delay)?;
        config.refuse_early_talkers = self.refuse_early_talkers;
        config.limits = Limits {
            command_line: self.command_line,
            auth_line: self.auth_line,
            recipients: self.recipients,
            surplus: self.surplus,
            messages: self.messages,
            asks: self.asks,
            window: self.window,
            output: self.output,
            discard_times: self.discard_times,
            errors: self.errors,
            useless: self.useless,
            auth_failures: self.auth_failures,
            refused_messages: self.refused_messages,
            command: seconds(self.command)?,
            data: seconds(self.data)?,
            transaction: seconds(self.transaction)?,
            answer: seconds(self.answer)?,
            slow: seconds(self.slow)?,
            slow_octets: self.slow_octets,
            slow_replies: self.slow_replies,
            hold: seconds(self.hold)?,
        };
        Ok(config)
    }
}

/// The names as the machines know them.
pub(crate) fn mechanisms(names: &[String]) -> Result<Vec<&'static str>, String> {
    let known = |name: &String| {
        Mechanism::parse(name.as_bytes())
            .map(Mechanism::name)
            .ok_or_else(|| format!("there is no mechanism {name:?}"))
    };
    names.iter().map(known).collect()
}

pub(crate) fn seconds(seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("{seconds} is no time in seconds"))
}

impl Spelled for Server {
    const NAME: &'static str = "smtp-server";
    const SIDE: char = 'S';

    fn make(config: &str, _: &Seed, now: Now) -> Result<Self, String> {
        let settings: Settings = ron::from_str(config).map_err(|e| e.to_string())?;
        Ok(Self::new(settings.config()?, now))
    }

    fn ask_text(ask: &Ask) -> String {
        match ask {
            Ask::Hello { name, .. } => format!("hello {}", escape(name)),
            Ask::Sasl { mechanism, .. } => format!("sasl {}", escape(mechanism)),
            Ask::Sender { from, params } => {
                let from = from.as_ref().map_or_else(String::new, ToString::to_string);
                format!("sender <{from}>{}", params_text(params))
            }
            Ask::Recipient { to, params } => format!("recipient <{to}>{params}"),
            Ask::Body(piece) => format!("body {}", piece.len()),
            Ask::Commit { bytes } => format!("commit {bytes}"),
        }
    }

    fn event_text(event: &Event) -> Option<String> {
        Some(match event {
            Event::Protocol(violation) => format!("protocol {violation:?}"),
            Event::Closed(reason) => format!("closed {reason:?}"),
            Event::Reset => "reset".into(),
            Event::Unfit { .. } | Event::Refused { .. } => return None,
        })
    }

    fn answer_text(answer: &Answer) -> String {
        match answer {
            Answer::Accept => "accept".into(),
            Answer::Reply(reply) => format!("reply \"{}\"", reply_text(reply)),
            Answer::SlowReply(reply) => format!("slow \"{}\"", reply_text(reply)),
            Answer::Each(replies) => {
                let each = replies.iter().map(|r| format!(" \"{}\"", reply_text(r)));
                format!("each{}", each.collect::<String>())
            }
            Answer::Challenge(octets) if octets.is_empty() => "challenge \"\"".into(),
            Answer::Challenge(_) => format!("challenge \"{SECRET}\""),
            Answer::Authenticated(user) => {
                format!("authenticated \"{}\"", escape(user.as_bytes()))
            }
            Answer::Begun { id } => format!("begun \"{}\"", escape(id.as_bytes())),
            Answer::Stored { id } => format!("stored \"{}\"", escape(id.as_bytes())),
        }
    }

    fn parse_answer(text: &str) -> Option<Answer> {
        let (what, rest) = text.split_once(' ').unwrap_or((text, ""));
        let string = || String::from_utf8(unescape(quoted(rest)?).ok()?).ok();
        Some(match what {
            "accept" => Answer::Accept,
            "reply" => Answer::Reply(parse_reply(quoted(rest)?)?),
            "slow" => Answer::SlowReply(parse_reply(quoted(rest)?)?),
            "each" => {
                let replies = quoted(rest)?.split("\" \"").map(parse_reply);
                Answer::Each(replies.collect::<Option<_>>()?)
            }
            "challenge" => Answer::Challenge(Bytes::from(unescape(quoted(rest)?).ok()?)),
            "authenticated" => Answer::Authenticated(string()?),
            "begun" => Answer::Begun { id: string()? },
            "stored" => Answer::Stored { id: string()? },
            _ => return None,
        })
    }

    fn accept() -> Answer {
        Answer::Accept
    }

    fn challenge(answer: &Answer) -> Option<&[u8]> {
        match answer {
            Answer::Challenge(octets) => Some(octets),
            _ => None,
        }
    }
}

/// What MAIL says behind the address, that is not as usual.
fn params_text(params: &MailParams) -> String {
    let mut text = String::new();
    if let Some(size) = params.size {
        text.push_str(&format!(" size={size}"));
    }
    if let Some(body) = params.body {
        text.push_str(&format!(" body={body:?}"));
    }
    if params.utf8 {
        text.push_str(" utf8");
    }
    if let Some(auth) = &params.auth {
        text.push_str(&format!(" auth={}", escape(auth)));
    }
    text.push_str(&params.dsn.to_string());
    if params.require_tls {
        text.push_str(" REQUIRETLS");
    }
    if let Some(release) = params.release {
        text.push_str(&format!(" release={release}"));
    }
    text
}
