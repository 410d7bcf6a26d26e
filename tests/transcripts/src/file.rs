//! Captured sessions as files: replayed and redacted whatever their machine is.

use mox_imap::Server as ImapServer;
use mox_smtp::{client::Client, server::Server as SmtpServer};

use crate::capture::Capture;
use crate::format::Transcript;
use crate::redact::Redact;

/// Plays a captured session. The error names the line, what was recorded and what came.
pub fn replay(text: &str, cuts: bool) -> Result<(), String> {
    let transcript = parse(text)?;
    match transcript.get("machine").unwrap_or_default() {
        "smtp-server" => capture::<SmtpServer>(&transcript)?.replay(cuts),
        "smtp-client" => capture::<Client>(&transcript)?.replay(cuts),
        "imap-server" => capture::<ImapServer>(&transcript)?.replay(cuts),
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
    if transcript.get("world") != Some("captured") {
        return Err(
            "1: it was not captured: there is no line `world: captured` in its header".into(),
        );
    }
    Ok(transcript)
}

fn capture<S: Redact>(transcript: &Transcript) -> Result<Capture<S>, String> {
    Capture::parse(transcript).map_err(|e| format!("{}: {}", e.line, e.reason))
}

fn no_machine(name: &str) -> String {
    format!("1: there is no machine {name:?}; known are smtp-server, smtp-client and imap-server")
}
