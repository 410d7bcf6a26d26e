//! The words of IMAP in transcripts.

mod answer;
mod message;

use core::time::Duration;
use mox_imap::Server;
use mox_imap::server::{Answer, Ask, Config, Event, Limits};
use mox_imap::wire::ParseLimits;
use mox_machine::{Now, Seed};
use serde::{Deserialize, Serialize};

use crate::smtp::server::seconds;
use crate::spelled::Spelled;

/// The `config` of a transcript; what is left out is as in [`Config::default`], but that passwords may be sent in clear.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "as in Config and Limits; times in seconds")]
pub struct Settings {
    pub product: String,
    pub version: String,
    pub starttls: bool,
    /// Passwords only inside TLS.
    pub tls_required: bool,
    pub mechanisms: Vec<String>,
    pub line_unauthenticated: usize,
    pub line: usize,
    pub literal_unauthenticated: u64,
    pub literal: u64,
    pub command: usize,
    /// Octets of an APPEND at most; 0 is the default.
    pub append: u64,
    pub skip_unauthenticated: u64,
    pub window: usize,
    pub nesting: u8,
    pub ranges: u32,
    pub items: u32,
    pub keyword: usize,
    pub bad_commands: u16,
    pub auth_failures: u16,
    pub auth_timeout: f64,
    pub idle_timeout: f64,
    pub page: u32,
    pub body_page: u32,
    pub messages: u32,
    pub append_parts: u32,
    pub contexts: u32,
    pub annotation: u32,
    pub search_mailboxes: u32,
    pub notify_mailboxes: u32,
    /// Octets of names of annotations that are compared for NOTIFY.
    pub notify_annotations: u32,
    pub progress: f64,
    /// Capabilities that are not offered.
    pub without: Vec<String>,
    pub compress: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let mut settings = Self::of(&Config::default());
        settings.tls_required = false;
        settings
    }
}

impl Settings {
    /// The settings of a server.
    pub fn of(config: &Config) -> Self {
        let limits = &config.limits;
        Self {
            product: config.product.clone(),
            version: config.version.clone(),
            starttls: config.starttls,
            tls_required: !config.clear_auth,
            mechanisms: config.mechanisms.clone(),
            line_unauthenticated: limits.line_unauthenticated,
            line: limits.line,
            literal_unauthenticated: limits.literal_unauthenticated,
            literal: limits.literal,
            command: limits.command,
            append: limits.append,
            skip_unauthenticated: limits.skip_unauthenticated,
            window: limits.window,
            nesting: limits.parse.nesting,
            ranges: limits.parse.ranges,
            items: limits.parse.items,
            keyword: limits.parse.keyword,
            bad_commands: limits.bad_commands,
            auth_failures: limits.auth_failures,
            auth_timeout: limits.auth_timeout.as_secs_f64(),
            idle_timeout: limits.idle_timeout.as_secs_f64(),
            page: limits.page,
            body_page: limits.body_page,
            messages: limits.messages,
            append_parts: limits.append_parts,
            contexts: limits.contexts,
            annotation: limits.annotation,
            search_mailboxes: limits.search_mailboxes,
            notify_mailboxes: limits.notify_mailboxes,
            notify_annotations: limits.notify_annotations,
            progress: limits.progress.as_secs_f64(),
            without: config.without.clone(),
            compress: config.compress,
        }
    }

    /// The server's configuration. The error names the setting that is wrong.
    pub fn config(self) -> Result<Config, String> {
        let time = |s: f64| -> Result<Duration, String> { seconds(s) };
        let append = match self.append {
            0 => Limits::default().append,
            octets => octets,
        };
        Ok(Config {
            product: self.product,
            version: self.version,
            starttls: self.starttls,
            clear_auth: !self.tls_required,
            mechanisms: self.mechanisms,
            without: self.without,
            compress: self.compress,
            limits: Limits {
                line_unauthenticated: self.line_unauthenticated,
                line: self.line,
                literal_unauthenticated: self.literal_unauthenticated,
                literal: self.literal,
                command: self.command,
                append,
                skip_unauthenticated: self.skip_unauthenticated,
                window: self.window,
                parse: ParseLimits {
                    nesting: self.nesting,
                    ranges: self.ranges,
                    items: self.items,
                    keyword: self.keyword,
                },
                bad_commands: self.bad_commands,
                auth_failures: self.auth_failures,
                auth_timeout: time(self.auth_timeout)?,
                idle_timeout: time(self.idle_timeout)?,
                page: self.page,
                body_page: self.body_page,
                messages: self.messages,
                append_parts: self.append_parts,
                contexts: self.contexts,
                annotation: self.annotation,
                search_mailboxes: self.search_mailboxes,
                notify_mailboxes: self.notify_mailboxes,
                notify_annotations: self.notify_annotations,
                progress: time(self.progress)?,
            },
        })
    }
}

impl Spelled for Server {
    const NAME: &'static str = "imap-server";
    const SIDE: char = 'S';

    fn make(config: &str, seed: &Seed, _: Now) -> Result<Self, String> {
        let settings: Settings = ron::from_str(config).map_err(|e| e.to_string())?;
        Ok(Self::new(settings.config()?, seed.clone()))
    }

    /// As `Debug` writes it, on one line; who logs in is not told before it is known that they may.
    fn ask_text(ask: &Ask) -> String {
        match ask {
            Ask::Sasl { mechanism, .. } => format!("sasl {}", mechanism.escape_ascii()),
            Ask::Login { .. } => "login".into(),
            other => format!("{other:?}"),
        }
    }

    fn event_text(event: &Event) -> Option<String> {
        Some(match event {
            Event::Completed { .. } => return None,
            Event::Authenticated(user) => format!("authenticated {user}"),
            Event::Unselected => "unselected".into(),
            Event::AppendDropped => "append dropped".into(),
            Event::Closed(reason) => format!("closed {reason:?}"),
        })
    }

    /// RON on one line.
    fn answer_text(answer: &Answer) -> String {
        answer::write(answer)
    }

    fn parse_answer(text: &str) -> Option<Answer> {
        answer::read(text)
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
