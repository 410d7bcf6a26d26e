//! A mail server that does what a [`Manner`] says, and what any server does where that says nothing.

use mox_driver::{Bind, Runtime};
use mox_machine::Mono;
use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::ledger::Ledger;
use super::line::{Line, sleep};
use crate::runtime::SimRuntime;
use crate::slot::lock;
use crate::stream::SimStream;

/// How a server differs from a plain one.
pub trait Manner: Send + 'static {
    /// What it does at this point of a session; `None` for what a plain server does.
    ///
    /// A recipient is accepted, a message kept and TLS begun as the first reply among the acts says: by 2xx.
    /// [`Act::Keep`] and [`Act::Forget`] are stronger.
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>>;

    /// Each command gets one right reply, so that a client can know what the reply to its final dot is. Where that is
    /// not so, no client can be blamed for another copy.
    fn is_clear(&self) -> bool {
        true
    }
}

impl Manner for Box<dyn Manner> {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        (**self).at(seen)
    }

    fn is_clear(&self) -> bool {
        (**self).is_clear()
    }
}

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// The client has connected.
    Greeting,
    /// EHLO or HELO.
    Hello,
    /// STARTTLS.
    StartTls,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// The final dot.
    Message,
    /// RSET.
    Rset,
    /// QUIT.
    Quit,
    /// Any other command.
    Other,
}

impl Stage {
    /// Those of a plain delivery, in order.
    pub const DELIVERY: [Self; 7] = [
        Self::Greeting,
        Self::Hello,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Message,
        Self::Quit,
    ];
}

/// What the server sees.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Where the session is.
    pub stage: Stage,
    /// The time.
    pub now: Mono,
    /// The number of this visit, from 0.
    pub visit: usize,
    /// Who connected.
    pub peer: IpAddr,
    /// TLS is on.
    pub secured: bool,
    /// The command.
    pub line: &'a str,
    /// MAIL was accepted; at MAIL, it is not yet.
    pub begun: bool,
    /// MAIL FROM, without brackets.
    pub from: &'a str,
    /// At RCPT this recipient, behind it all accepted ones, without brackets.
    pub to: &'a [String],
    /// At the final dot the message.
    pub message: &'a [u8],
    /// The server's name.
    pub name: &'a str,
    /// It offers STARTTLS.
    pub offers_tls: bool,
}

impl Seen<'_> {
    /// What a server does that is like any other.
    pub fn plain(&self) -> Vec<Act> {
        let can_secure = self.offers_tls && !self.secured;
        let reply = match self.stage {
            Stage::Greeting => format!("220 {} ESMTP", self.name),
            Stage::Hello => {
                let start_tls = if can_secure { "250-STARTTLS\r\n" } else { "" };
                format!(
                    "250-{}\r\n250-PIPELINING\r\n250-SIZE 50000000\r\n250-8BITMIME\r\n{start_tls}250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES",
                    self.name
                )
            }
            Stage::StartTls if can_secure => {
                return vec![Act::reply("220 2.0.0 go ahead"), Act::Handshake(None)];
            }
            Stage::Mail | Stage::Rset => "250 2.0.0 ok".to_owned(),
            Stage::Rcpt if !self.begun => "503 5.5.1 MAIL comes first".to_owned(),
            Stage::Rcpt => "250 2.1.5 ok".to_owned(),
            Stage::Data if self.to.is_empty() => "554 5.5.1 no recipients".to_owned(),
            Stage::Data => "354 go on".to_owned(),
            Stage::Message => "250 2.0.0 kept".to_owned(),
            Stage::Quit => return vec![Act::reply("221 2.0.0 bye"), Act::Close],
            Stage::StartTls | Stage::Other => "500 5.5.2 what?".to_owned(),
        };
        vec![Act::reply(&reply)]
    }
}

/// One thing a server does.
#[derive(Debug, Clone)]
pub enum Act {
    /// Says these octets.
    Say(Vec<u8>),
    /// Says them one at a time, with a pause before each.
    Drip(Vec<u8>, Duration),
    /// Says them again and again until the client goes.
    Repeat(Vec<u8>),
    /// Waits.
    Pause(Duration),
    /// The message is kept, whatever is said.
    Keep,
    /// The message is not kept, whatever is said.
    Forget,
    /// The server's side of a TLS handshake, with the certificate it was given, or with another one.
    Handshake(Option<Arc<ServerConfig>>),
    /// Does nothing until the client goes.
    Hang,
    /// Closes.
    Close,
    /// Breaks the connection.
    Reset,
}

impl Act {
    /// A reply of one line.
    pub fn reply(line: &str) -> Self {
        Self::Say(format!("{line}\r\n").into_bytes())
    }
}

/// Serves on a port of a computer until that is killed. `tls` is what STARTTLS is offered with.
///
/// # Errors
/// When the port is taken.
pub fn serve(
    on: &SimRuntime,
    port: u16,
    name: &'static str,
    tls: Option<Arc<ServerConfig>>,
    manner: impl Manner,
) -> io::Result<Ledger> {
    let listeners: Vec<_> = on
        .addresses()
        .map(|ip| on.listen(Bind::Addr(SocketAddr::new(ip, port))))
        .into_iter()
        .collect::<io::Result<_>>()?;
    let ledger = Ledger::default();
    let host = Arc::new(Host {
        runtime: on.clone(),
        name,
        tls,
        manner: Mutex::new(Box::new(manner)),
        ledger: ledger.clone(),
    });
    for listener in listeners {
        let host = host.clone();
        let accept = async move {
            loop {
                let Ok((stream, peer)) = host.runtime.accept(&listener).await else {
                    sleep(&host.runtime, Duration::from_millis(50)).await;
                    continue;
                };
                let session = Session::new(host.clone(), stream, peer);
                host.runtime
                    .spawn_session("peer session", Box::pin(session.run()));
            }
        };
        on.spawn_service("peer", Box::pin(accept));
    }
    Ok(ledger)
}

struct Host {
    runtime: SimRuntime,
    name: &'static str,
    tls: Option<Arc<ServerConfig>>,
    manner: Mutex<Box<dyn Manner>>,
    ledger: Ledger,
}

struct Session {
    host: Arc<Host>,
    line: Line,
    peer: IpAddr,
    visit: usize,
    begun: bool,
    from: String,
    to: Vec<String>,
}

/// What acts came to.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    /// The code of the first reply.
    code: u16,
    over: bool,
}

impl Session {
    fn new(host: Arc<Host>, stream: SimStream, peer: SocketAddr) -> Self {
        let visit = host.ledger.begin(peer, host.runtime.now().mono);
        Self {
            line: Line::new(stream),
            peer: peer.ip(),
            visit,
            begun: false,
            from: String::new(),
            to: Vec::new(),
            host,
        }
    }

    async fn run(mut self) {
        let ended = self.converse().await;
        let now = self.host.runtime.now().mono;
        self.host
            .ledger
            .visit(self.visit, |visit| visit.ended = Some(now));
        match ended {
            Ok(Ending::Close) => self.line.close().await,
            Ok(Ending::Reset) => self.line.reset(),
            Err(_) => {}
        }
    }

    async fn converse(&mut self) -> io::Result<Ending> {
        let acts = self.acts(Stage::Greeting, "", &[]);
        if let Some(end) = self.act(acts, None).await?.1 {
            return Ok(end);
        }
        loop {
            let Some(line) = self.line.until(b"\r\n").await? else {
                return Ok(Ending::Close);
            };
            let line = String::from_utf8_lossy(&line).into_owned();
            self.host.ledger.command(self.visit, &line);
            if let Some(end) = self.command(&line).await? {
                return Ok(end);
            }
        }
    }

    async fn command(&mut self, line: &str) -> io::Result<Option<Ending>> {
        let stage = stage_of(line);
        let path = path_of(line);
        match stage {
            Stage::Mail => {
                self.from = path;
                self.to.clear();
                self.begun = false;
            }
            Stage::Rcpt => self.to.insert(0, path),
            Stage::Rset | Stage::Hello => {
                self.to.clear();
                self.begun = false;
            }
            _ => {}
        }
        let acts = self.acts(stage, line, &[]);
        let (said, end) = self.act(acts, None).await?;
        match stage {
            Stage::Mail => self.begun = said.code / 100 == 2,
            Stage::Rcpt if said.code / 100 != 2 => drop(self.to.remove(0)),
            _ => {}
        }
        if end.is_some() || stage != Stage::Data || said.code != 354 {
            return Ok(end);
        }
        let Some(message) = self.line.message().await? else {
            return Ok(Some(Ending::Close));
        };
        self.dot(message).await
    }

    async fn dot(&mut self, message: Vec<u8>) -> io::Result<Option<Ending>> {
        let acts = self.acts(Stage::Message, "", &message);
        let keeps = acts.iter().find_map(|act| match act {
            Act::Keep => Some(true),
            Act::Forget => Some(false),
            _ => None,
        });
        let to = core::mem::take(&mut self.to);
        self.begun = false;
        let kept = keeps.unwrap_or_else(|| first_code(&acts) / 100 == 2) && !to.is_empty();
        let envelope = (core::mem::take(&mut self.from), to);
        let now = self.host.runtime.now().mono;
        let clear = lock(&self.host.manner).is_clear();
        let dot = self
            .host
            .ledger
            .dot((self.visit, now), envelope, message, (kept, clear));
        self.host
            .runtime
            .sim()
            .record("peer dot", &[u8::from(kept)]);
        Ok(self.act(acts, Some(dot)).await?.1)
    }

    fn acts(&self, stage: Stage, line: &str, message: &[u8]) -> Vec<Act> {
        let seen = Seen {
            stage,
            now: self.host.runtime.now().mono,
            visit: self.visit,
            peer: self.peer,
            secured: self.line.is_secured(),
            line,
            begun: self.begun,
            from: &self.from,
            to: &self.to,
            message,
            name: self.host.name,
            offers_tls: self.host.tls.is_some(),
        };
        let special = lock(&self.host.manner).at(&seen);
        special.unwrap_or_else(|| seen.plain())
    }

    async fn act(
        &mut self,
        acts: Vec<Act>,
        dot: Option<usize>,
    ) -> io::Result<(Said, Option<Ending>)> {
        let mut said = Said {
            code: first_code(&acts),
            over: false,
        };
        for act in acts {
            match act {
                Act::Say(bytes) => {
                    self.line.say(&bytes).await?;
                    self.note(dot, &mut said);
                }
                Act::Drip(bytes, pause) => {
                    for byte in bytes {
                        sleep(&self.host.runtime, pause).await;
                        self.line.say(&[byte]).await?;
                    }
                    self.note(dot, &mut said);
                }
                Act::Repeat(bytes) => {
                    let many = bytes.repeat(1 + 4_096 / bytes.len().max(1));
                    loop {
                        self.line.say(&many).await?;
                    }
                }
                Act::Pause(time) => sleep(&self.host.runtime, time).await,
                Act::Keep | Act::Forget => {}
                Act::Handshake(other) => {
                    let Some(config) = other.or_else(|| self.host.tls.clone()) else {
                        return Ok((said, Some(Ending::Close)));
                    };
                    self.line.secure(config).await?;
                    self.host
                        .ledger
                        .visit(self.visit, |visit| visit.secured = true);
                }
                Act::Hang => {
                    self.line.outlast().await;
                    return Ok((said, Some(Ending::Close)));
                }
                Act::Close => return Ok((said, Some(Ending::Close))),
                Act::Reset => return Ok((said, Some(Ending::Reset))),
            }
        }
        Ok((said, None))
    }

    /// The first reply to a final dot is what counts.
    fn note(&self, dot: Option<usize>, said: &mut Said) {
        if let (Some(dot), false, Some(receipt)) = (dot, said.over, self.line.receipt()) {
            said.over = true;
            self.host.ledger.replied(dot, said.code, receipt);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Close,
    Reset,
}

/// The code of the first reply among acts; 0 without one.
fn first_code(acts: &[Act]) -> u16 {
    let said = acts.iter().find_map(|act| match act {
        Act::Say(bytes) | Act::Drip(bytes, _) | Act::Repeat(bytes) => bytes.get(..3),
        _ => None,
    });
    said.and_then(|digits| core::str::from_utf8(digits).ok()?.parse().ok())
        .unwrap_or(0)
}

fn stage_of(line: &str) -> Stage {
    let verb = line.split(' ').next().unwrap_or_default();
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" | "HELO" => Stage::Hello,
        "STARTTLS" => Stage::StartTls,
        "MAIL" => Stage::Mail,
        "RCPT" => Stage::Rcpt,
        "DATA" => Stage::Data,
        "RSET" => Stage::Rset,
        "QUIT" => Stage::Quit,
        _ => Stage::Other,
    }
}

/// What stands in the angle brackets of a command.
fn path_of(line: &str) -> String {
    let (_, rest) = line.split_once('<').unwrap_or_default();
    rest.split('>').next().unwrap_or_default().to_owned()
}
