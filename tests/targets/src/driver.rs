//! The driver over a stream that does everything a stream may do, beside the plainest loop there is.

use bytes::BytesMut;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use futures_io::{AsyncRead, AsyncWrite};
use mox_address::Domain;
use mox_driver::{Bind, Datagram, Drive, End, Fut, FutRef, Host, Pool, Runtime, Timer};
use mox_machine::{AskId, Mono, Now, Seed, Session, Step};
use mox_smtp::server::{Answer, Ask, Config, Event, Server};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::source::Source;

/// What a peer hears and a host sees is the same through the driver, however the stream behaves.
pub fn driver(data: &[u8]) {
    const WORDS: &[&[u8]] = &[
        b"EHLO c\r\n", b"MAIL FROM:<a@c.example>\r\n", b"RCPT TO:<b@mx.example>\r\n", b"DATA\r\n", b"line\r\n", b"\r\n.\r\n", b"RSET\r\n", b"NOOP\r\n", b"BDAT 4 LAST\r\nabcd", b"\n", b"x", b"QUIT\r\n",
        b"..\r\n", b"a longer line, so that a message grows; a longer line, so that a message grows; a longer line, so that a message grows\r\n",
    ];
    let mut source = Source::new(data);
    let said = source.text(WORDS);
    let config = Config::new(Domain::parse("mx.example", false).unwrap());
    let server = || Server::new(config.clone(), NOW);

    let (mut plain, mut host) = (server(), Mailbox::default());
    let (mut input, mut heard, mut over, mut eof) =
        (BytesMut::from(&said[..]), Vec::new(), false, false);
    while !over {
        while let Some(step) = plain.poll() {
            match step {
                Step::Send(bytes) => heard.extend_from_slice(&bytes),
                Step::Ask(id, ask) => {
                    let answer = host.take(ask);
                    plain.answer(NOW, id, answer);
                }
                Step::Close => over = true,
                _ => {}
            }
        }
        let before = input.len();
        plain.recv(NOW, &mut input);
        if input.len() == before && !over {
            assert!(!eof, "the end of the stream is the end of the session");
            plain.eof(NOW);
            eof = true;
        }
    }

    let (mut driven, mut through) = (
        server(),
        Mailbox {
            late: source.one_in(2),
            ..Mailbox::default()
        },
    );
    let mut stream = Whimsical {
        said: &said,
        heard: Vec::new(),
        source,
        closed: false,
    };
    {
        let mut drive = pin!(Drive::new(Nowhere, &mut driven, &mut stream, &mut through));
        let mut cx = Context::from_waker(Waker::noop());
        let end = (0..1_000_000).find_map(|_| match drive.as_mut().poll(&mut cx) {
            Poll::Ready(end) => Some(matches!(end, End::Closed)),
            Poll::Pending => None,
        });
        assert_eq!(end, Some(true));
    }
    assert!(stream.closed);
    assert_eq!(
        stream.heard.escape_ascii().to_string(),
        heard.escape_ascii().to_string()
    );
    assert_eq!(through.messages, host.messages);
}

const NOW: Now = Now {
    mono: Mono(1),
    utc: mox_machine::Utc::from_secs(1_767_323_045),
};

#[derive(Default)]
struct Mailbox {
    message: Vec<u8>,
    messages: Vec<Vec<u8>>,
    answers: VecDeque<(AskId, Answer)>,
    /// Answers come one poll after the ask.
    late: bool,
    asked: bool,
}

impl Mailbox {
    fn take(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Sender { .. } => self.message.clear(),
            Ask::Body(piece) => self.message.extend_from_slice(&piece),
            Ask::Commit { bytes } => {
                assert_eq!(bytes, self.message.len() as u64);
                self.messages.push(std::mem::take(&mut self.message));
                return Answer::Stored { id: "1".into() };
            }
            _ => {}
        }
        Answer::Accept
    }
}

impl Host<Server> for Mailbox {
    fn ask(&mut self, id: AskId, ask: Ask) {
        let answer = self.take(ask);
        self.answers.push_back((id, answer));
        self.asked = true;
    }
    fn cancel(&mut self, id: AskId) {
        self.answers.retain(|(asked, _)| *asked != id);
    }
    fn event(&mut self, _: Event) {}
    fn poll_answer(&mut self, _: &mut Context<'_>) -> Poll<(AskId, Answer)> {
        if self.late && std::mem::take(&mut self.asked) {
            return Poll::Pending;
        }
        self.answers.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// Gives and takes as much as it likes, when it likes.
struct Whimsical<'a> {
    said: &'a [u8],
    heard: Vec<u8>,
    source: Source<'a>,
    closed: bool,
}

impl Whimsical<'_> {
    /// How much of `most` now; `None` is later.
    fn some(&mut self, most: usize) -> Option<usize> {
        match self.source.octet() % 4 {
            1 => None,
            2 => Some(most.min(1)),
            3 => Some(most.min(1 + self.source.below(300))),
            _ => Some(most),
        }
    }
}

impl AsyncRead for Whimsical<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let most = into.len().min(self.said.len());
        let Some(count) = self.some(most) else {
            return Poll::Pending;
        };
        let (given, left) = self.said.split_at(count);
        into[..count].copy_from_slice(given);
        self.said = left;
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Whimsical<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        assert!(!self.closed);
        let Some(count) = self.some(from.len()) else {
            return Poll::Pending;
        };
        self.heard.extend_from_slice(&from[..count]);
        Poll::Ready(Ok(count))
    }
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.some(1).map_or(Poll::Pending, |_| Poll::Ready(Ok(())))
    }
    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.closed = true;
        Poll::Ready(Ok(()))
    }
}

/// A runtime of which only the clock is used, which stands still.
#[derive(Clone)]
struct Nowhere;

impl Timer for Nowhere {
    fn arm(&mut self, _: Option<Mono>) {}
    fn poll_fired(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Datagram for Nowhere {
    fn send<'a>(&'a mut self, _: &'a [u8]) -> FutRef<'a, io::Result<()>> {
        unreachable!()
    }
    fn recv<'a>(&'a mut self, _: &'a mut [u8]) -> FutRef<'a, io::Result<usize>> {
        unreachable!()
    }
}

impl Runtime for Nowhere {
    type Stream = Whimsical<'static>;
    type Listener = ();
    type Datagram = Self;
    type Timer = Self;

    fn now(&self) -> Now {
        NOW
    }
    fn seed(&self, _: &'static str) -> Seed {
        Seed::from_number(1)
    }
    fn timer(&self) -> Self {
        Self
    }
    fn spawn_session(&self, _: &'static str, _: Fut<()>) {}
    fn spawn_service(&self, _: &'static str, _: Fut<()>) {}
    fn blocking<T: Send + 'static>(&self, _: Pool, _: Box<dyn FnOnce() -> T + Send>) -> Fut<T> {
        unreachable!()
    }
    fn listen(&self, _: Bind) -> io::Result<()> {
        Ok(())
    }
    fn local_addr(&self, (): &()) -> io::Result<SocketAddr> {
        unreachable!()
    }
    fn accept<'a>(&self, (): &'a ()) -> FutRef<'a, io::Result<(Self::Stream, SocketAddr)>> {
        unreachable!()
    }
    fn connect(&self, _: SocketAddr, _: Option<IpAddr>) -> Fut<io::Result<Self::Stream>> {
        unreachable!()
    }
    fn udp(&self, _: SocketAddr) -> Fut<io::Result<Self>> {
        unreachable!()
    }
}
