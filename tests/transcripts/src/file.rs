//! Sessions as files: replayed, and redacted when they were captured, whatever their machine is.

use mox_imap::Server as ImapServer;
use mox_smtp::{client::Client, server::Server as SmtpServer};

use crate::capture::Capture;
use crate::format::Transcript;
use crate::play::run;
use crate::redact::Redact;
use crate::world;

/// Plays a session, captured or written by hand: whole, with `cuts` also in pieces. The error names the line, what was
/// recorded and what came.
pub fn replay(text: &str, cuts: bool) -> Result<(), String> {
    let transcript = parse(text)?;
    let machine = transcript.get("machine").unwrap_or_default();
    if transcript.get("world") == Some("captured") {
        return match machine {
            "smtp-server" => capture::<SmtpServer>(&transcript)?.replay(cuts),
            "smtp-client" => capture::<Client>(&transcript)?.replay(cuts),
            "imap-server" => capture::<ImapServer>(&transcript)?.replay(cuts),
            other => Err(no_machine(other)),
        };
    }
    let mut written = transcript.clone();
    if !cuts {
        written.header.retain(|(name, _)| name != "modes");
        written.header.push(("modes".into(), "whole".into()));
    }
    match machine {
        "smtp-server" => run(&written, world::SmtpServer::new),
        "smtp-client" => run(&written, world::SmtpClient::new),
        "imap-server" => run(&written, world::ImapServer::new),
        other => Err(no_machine(other)),
    }
}

/// The same session without what is private. `key` decides which names are given.
pub fn redact(text: &str, key: [u8; 32]) -> Result<String, String> {
    fn redacted<S: Redact>(transcript: &Transcript, key: [u8; 32]) -> Result<String, String> {
        let mut capture = capture::<S>(transcript)?;
        capture.redact(key)?;
        Ok(capture.to_text())
    }
    let transcript = parse(text)?;
    if transcript.get("world") != Some("captured") {
        return Err(
            "1: it was written by hand, not captured: there is no line `world: captured` in its header"
                .into(),
        );
    }
    match transcript.get("machine").unwrap_or_default() {
        "smtp-server" => redacted::<SmtpServer>(&transcript, key),
        "smtp-client" => redacted::<Client>(&transcript, key),
        "imap-server" => redacted::<ImapServer>(&transcript, key),
        other => Err(no_machine(other)),
    }
}

fn parse(text: &str) -> Result<Transcript, String> {
    let located = |e: crate::FormatError| format!("{}: {}", e.line, e.reason);
    let transcript = Transcript::parse(text).map_err(located)?;
    if transcript.get("machine").is_none() {
        return Err("1: a session file begins with a line `machine: smtp-server`".into());
    }
    Ok(transcript)
}

fn capture<S: Redact>(transcript: &Transcript) -> Result<Capture<S>, String> {
    Capture::parse(transcript).map_err(|e| format!("{}: {}", e.line, e.reason))
}

fn no_machine(name: &str) -> String {
    format!("1: there is no machine {name:?}; known are smtp-server, smtp-client and imap-server")
}
