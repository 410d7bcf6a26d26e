//! Clients no server invites.

use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use mox_driver::Runtime;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::line::sleep;
use crate::runtime::SimRuntime;
use crate::stream::SimStream;

/// Octets a client remembers of what it heard.
const HEARD_MAX: usize = 1024 * 1024;

/// How a client behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Habit {
    /// Says this again and again, so many times, while it reads: a flood of commands.
    Flood(Vec<u8>, u32),
    /// Says this one octet at a time, with a pause before each, while it reads.
    Drip(Vec<u8>, Duration),
    /// Says this again and again, so many times, and reads nothing for so long.
    Deaf(Vec<u8>, u32, Duration),
    /// Says the first octets of this, so many, then leaves.
    Cut(Vec<u8>, usize, Parting),
    /// Says all of this in one breath, closes its direction, and reads to the end: for smuggling.
    Say(Vec<u8>),
}

/// How a client leaves in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Parting {
    /// Closes its direction and reads the rest.
    HalfClose,
    /// Closes everything.
    Drop,
    /// Breaks the connection.
    Reset,
}

/// What came of a visit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Foreign {
    /// Octets the connection took.
    pub sent: u64,
    /// What was heard; the first mebibyte of it.
    pub heard: Vec<u8>,
    /// The server closed in order.
    pub ended: bool,
    /// The connection broke.
    pub broken: Option<io::ErrorKind>,
    /// How long it lasted.
    pub lasted: Duration,
}

impl Foreign {
    /// The codes of the replies heard, without the lines that are continued.
    pub fn codes(&self) -> Vec<u16> {
        let lines = self.heard.split(|&byte| byte == b'\n');
        lines
            .filter(|line| line.get(3) == Some(&b' '))
            .filter_map(|line| core::str::from_utf8(line.get(..3)?).ok()?.parse().ok())
            .collect()
    }
}

/// Connects and behaves like that until the server ends it, or `patience` does.
pub async fn visit(on: &SimRuntime, to: SocketAddr, habit: &Habit, patience: Duration) -> Foreign {
    let mut foreign = Foreign::default();
    let began = on.now().mono;
    let behaved = async {
        let mut stream = on.connect(to, None).await?;
        behave(on, &mut stream, habit, &mut foreign).await?;
        if let Habit::Cut(_, _, parting) = habit {
            match parting {
                Parting::HalfClose => stream.close().await?,
                Parting::Drop => return Ok(None),
                Parting::Reset => {
                    stream.reset();
                    return Ok(None);
                }
            }
        }
        if let Habit::Say(_) = habit {
            stream.close().await?;
        }
        hear(&mut stream, &mut foreign.heard).await.map(Some)
    };
    let limited = future::or(behaved, async {
        sleep(on, patience).await;
        Ok(None)
    });
    match limited.await {
        Ok(ended) => foreign.ended = ended.is_some(),
        Err(error) => foreign.broken = Some(io::Error::kind(&error)),
    }
    foreign.lasted = on.now().mono.since(began);
    foreign
}

async fn behave(
    on: &SimRuntime,
    stream: &mut SimStream,
    habit: &Habit,
    foreign: &mut Foreign,
) -> io::Result<()> {
    let Foreign { sent, heard, .. } = foreign;
    match habit {
        Habit::Flood(bytes, times) => {
            let (mut reader, mut writer) = futures_lite::io::split(stream);
            let write = async {
                for _ in 0..*times {
                    writer.write_all(bytes).await?;
                    *sent += bytes.len() as u64;
                }
                // Whoever reads decides when it is over.
                future::pending::<io::Result<()>>().await
            };
            future::or(hear(&mut reader, heard), write).await
        }
        Habit::Drip(bytes, pause) => {
            let (mut reader, mut writer) = futures_lite::io::split(stream);
            let write = async {
                for byte in bytes {
                    sleep(on, *pause).await;
                    writer.write_all(&[*byte]).await?;
                    *sent += 1;
                }
                future::pending::<io::Result<()>>().await
            };
            future::or(hear(&mut reader, heard), write).await
        }
        Habit::Deaf(bytes, times, time) => {
            let write = async {
                for _ in 0..*times {
                    stream.write_all(bytes).await?;
                    *sent += bytes.len() as u64;
                }
                future::pending::<io::Result<()>>().await
            };
            future::or(write, async {
                sleep(on, *time).await;
                Ok(())
            })
            .await
        }
        Habit::Cut(bytes, at, _) => {
            let part = bytes.get(..*at).unwrap_or(bytes);
            stream.write_all(part).await?;
            *sent += part.len() as u64;
            Ok(())
        }
        Habit::Say(bytes) => {
            stream.write_all(bytes).await?;
            *sent += bytes.len() as u64;
            Ok(())
        }
    }
}

/// Reads to the end.
async fn hear(
    stream: &mut (impl futures_io::AsyncRead + Unpin),
    heard: &mut Vec<u8>,
) -> io::Result<()> {
    let mut piece = [0; 4_096];
    loop {
        let got = stream.read(&mut piece).await?;
        if got == 0 {
            return Ok(());
        }
        if heard.len() < HEARD_MAX {
            heard.extend_from_slice(piece.get(..got).unwrap_or_default());
        }
    }
}
