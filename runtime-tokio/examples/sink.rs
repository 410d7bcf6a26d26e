//! A mail sink in a tokio program: takes mail for everybody at one domain and prints it.
//!
//! ```text
//! cargo run -p mox-runtime-tokio --example sink
//! printf 'Subject: hello\n\nIt works.\n' |
//!   curl --crlf --url smtp://127.0.0.1:2525 --mail-from me@localhost --mail-rcpt you@localhost --upload-file -
//! ```
//!
//! Of mox it needs `mox-smtp` (the protocol), `mox-driver` (which moves bytes between a protocol and a stream) and
//! `mox-runtime-tokio`: no store, no configuration, no other protocol.

use mox_address::{Domain, DomainError, Reply};
use mox_driver::{Bind, Drive, Host, Runtime};
use mox_machine::AskId;
use mox_runtime_tokio::{TokioRuntime, os_seed};
use mox_smtp::server::{Answer, Ask, Config, Event, Server};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = TokioRuntime::current(os_seed()?);
    let listener = runtime.listen(Bind::Addr(([127, 0, 0, 1], 2525).into()))?;
    println!("listening on {}", runtime.local_addr(&listener)?);
    let print = |message: &[u8]| println!("{}", String::from_utf8_lossy(message));
    Ok(serve(runtime, listener, config("localhost")?, print).await?)
}

/// What the server offers: no TLS, no passwords, one megabyte.
pub fn config(domain: &str) -> Result<Config, DomainError> {
    let mut config = Config::new(Domain::parse(domain, false)?);
    config.max_size = 1_000_000;
    Ok(config)
}

/// Serves until accepting fails. `take` gets each message; when it returns, the sender is told 250.
pub async fn serve(
    runtime: TokioRuntime,
    listener: <TokioRuntime as Runtime>::Listener,
    config: Config,
    take: impl Fn(&[u8]) + Send + Sync + 'static,
) -> io::Result<()> {
    let take: Take = Arc::new(take);
    loop {
        let (stream, peer) = runtime.accept(&listener).await?;
        let mut server = Server::new(config.clone(), runtime.now());
        let mut inbox = Inbox {
            domain: config.hostname.clone(),
            take: take.clone(),
            message: Vec::new(),
            taken: 0,
            answers: VecDeque::new(),
        };
        let session = runtime.clone();
        runtime.spawn_session(
            "smtp",
            Box::pin(async move {
                let end = Drive::new(session, &mut server, stream, &mut inbox).await;
                println!("{peer}: {} messages, {end:?}", inbox.taken);
            }),
        );
    }
}

type Take = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// The world of one session: everything the protocol cannot decide.
struct Inbox {
    domain: Domain,
    take: Take,
    message: Vec<u8>,
    taken: usize,
    answers: VecDeque<(AskId, Answer)>,
}

impl Host<Server> for Inbox {
    fn ask(&mut self, id: AskId, ask: Ask) {
        let answer = match ask {
            Ask::Recipient { to, .. } if to.domain() != Some(&self.domain) => {
                Answer::Reply(Reply::new(550, 7, 1, "Not served here"))
            }
            Ask::Body(piece) => {
                self.message.extend_from_slice(&piece);
                Answer::Accept
            }
            Ask::Commit { .. } => {
                (self.take)(&self.message);
                self.message.clear();
                self.taken += 1;
                Answer::Stored {
                    id: self.taken.to_string(),
                }
            }
            Ask::Hello { .. } | Ask::Sasl { .. } | Ask::Sender { .. } | Ask::Recipient { .. } => {
                Answer::Accept
            }
        };
        // An answer that takes time would be put here by another task, which then wakes this one.
        self.answers.push_back((id, answer));
    }

    fn cancel(&mut self, id: AskId) {
        self.answers.retain(|(asked, _)| *asked != id);
    }

    fn event(&mut self, event: Event) {
        if event == Event::Reset {
            self.message.clear();
        }
    }

    fn poll_answer(&mut self, _: &mut Context<'_>) -> Poll<(AskId, Answer)> {
        self.answers.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
