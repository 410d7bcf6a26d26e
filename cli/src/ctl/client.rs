//! The side that asks.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Command, RESPONSE_MAX, Request, Response, VERSION};
use crate::failure::Failure;

/// How long an answer may take, but for what takes as long as the store is large.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks the server behind a ctl socket and waits for its answer. Blocks.
pub fn call(socket: &Path, command: &Command) -> Result<Value, Failure> {
    let broken = |e: std::io::Error| {
        Failure::Failed(format!(
            "the server broke the conversation on {}: {e}; see its log",
            socket.display()
        ))
    };
    let mut stream = connect(socket)?;
    let patience = match command {
        Command::Backup { .. } | Command::DryRun { .. } | Command::Backtest { .. } => None,
        _ => Some(PATIENCE),
    };
    stream.set_read_timeout(patience).map_err(broken)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
    let request = Request {
        v: VERSION,
        id: 1,
        command: command.clone(),
    };
    let mut line = serde_json::to_vec(&request).map_err(|e| broken(e.into()))?;
    line.push(b'\n');
    // A server that refuses at once has closed already; its reason is there to be read.
    let written = stream.write_all(&line);
    let mut reply = Vec::new();
    let limit = u64::try_from(RESPONSE_MAX).unwrap_or(u64::MAX);
    BufReader::new(stream.take(limit))
        .read_until(b'\n', &mut reply)
        .map_err(broken)?;
    if reply.is_empty() {
        written.map_err(broken)?;
        return Err(broken(ErrorKind::UnexpectedEof.into()));
    }
    let response: Response = serde_json::from_slice(&reply).map_err(|e| broken(e.into()))?;
    match response {
        Response {
            error: Some(error), ..
        } => Err(Failure::Failed(error.message)),
        Response {
            ok: Some(value), ..
        } => Ok(value),
        _ => Err(broken(ErrorKind::InvalidData.into())),
    }
}

/// As [`call`], with the answer in its own type.
pub fn ask<T: DeserializeOwned>(socket: &Path, command: &Command) -> Result<T, Failure> {
    serde_json::from_value(call(socket, command)?).map_err(|e| {
        Failure::Failed(format!(
            "the server's answer cannot be read: {e}; is it of the same version as this moxctl?"
        ))
    })
}

fn connect(socket: &Path) -> Result<UnixStream, Failure> {
    UnixStream::connect(socket).map_err(|e| match e.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Failure::NoServer(format!(
            "no server runs that listens on {}; start it with moxctl serve, or name its socket with --ctl",
            socket.display()
        )),
        ErrorKind::PermissionDenied => Failure::Failed(format!(
            "{} belongs to another user; run this as root or as the user of the server",
            socket.display()
        )),
        _ => Failure::io("connect to", socket, &e),
    })
}
