//! A stub resolver without I/O: it makes packets, judges what comes back, and says what to do next.
//!
//! Whoever has sockets drives a [`Lookup`]. With sockets that block it is this loop:
//!
//! ```
//! use mox_dns::stub::{Do, Lookup, ResolverConfig};
//! use mox_dns::{Answer, Name, Question, RecordType};
//! use mox_machine::{Mono, Seed};
//! use std::io::{self, Read, Write};
//! use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
//! use std::time::Instant;
//!
//! enum Socket { Udp(UdpSocket, SocketAddr), Tcp(TcpStream) }
//!
//! fn resolve(question: Question, config: &ResolverConfig, seed: &Seed) -> Answer {
//!     let started = Instant::now();
//!     let now = || Mono::default() + started.elapsed();
//!     let mut lookup = Lookup::new(question, config, seed);
//!     let mut socket = None;
//!     loop {
//!         let wait = match lookup.next(now()) {
//!             Do::Finished(answer) => return answer,
//!             Do::WaitUntil(at) => at.since(now()),
//!             Do::SendUdp { server, bytes } => {
//!                 let send = || {
//!                     // The system picks a random port; `connect` keeps out what others send.
//!                     let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
//!                     udp.connect(server)?;
//!                     udp.send(&bytes)?;
//!                     io::Result::Ok(Socket::Udp(udp, server))
//!                 };
//!                 socket = send().ok();
//!                 if socket.is_none() { lookup.failed(now()) }
//!                 continue;
//!             }
//!             Do::SendTcp { server, bytes } => {
//!                 let send = || {
//!                     let mut tcp = TcpStream::connect(server)?;
//!                     tcp.write_all(&bytes)?;
//!                     io::Result::Ok(Socket::Tcp(tcp))
//!                 };
//!                 socket = send().ok();
//!                 if socket.is_none() { lookup.failed(now()) }
//!                 continue;
//!             }
//!         };
//!         if wait.is_zero() { continue }
//!         let mut buffer = vec![0; 65_535];
//!         let done = match &mut socket {
//!             None => Err(io::ErrorKind::NotConnected.into()),
//!             Some(Socket::Udp(udp, server)) => udp.set_read_timeout(Some(wait)).and_then(|()| {
//!                 let got = udp.recv(&mut buffer)?;
//!                 lookup.datagram(now(), *server, &buffer[..got]);
//!                 Ok(())
//!             }),
//!             Some(Socket::Tcp(tcp)) => tcp.set_read_timeout(Some(wait)).and_then(|()| {
//!                 let mut length = [0; 2];
//!                 tcp.read_exact(&mut length)?;
//!                 buffer.truncate(usize::from(u16::from_be_bytes(length)));
//!                 tcp.read_exact(&mut buffer)?;
//!                 lookup.tcp(now(), &buffer);
//!                 Ok(())
//!             }),
//!         };
//!         // A timeout is no failure of the server yet: the lookup looks at the time itself.
//!         if done.is_err_and(|e| !matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)) {
//!             lookup.failed(now());
//!         }
//!     }
//! }
//!
//! // Nobody listens on this port of this machine; a program takes the servers of /etc/resolv.conf:
//! // `ResolverConfig::parse_resolv_conf(&text)`.
//! let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
//! let config = ResolverConfig { servers: vec![nobody], ..ResolverConfig::default() };
//! let question = Question::of(Name::parse("example.org")?, RecordType::Mx);
//! let answer = resolve(question, &config, &Seed::from_number(1));
//! assert!(answer.result.is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A new `SendUdp` or `SendTcp` makes the socket before it useless. [`Cache`] remembers answers.

mod config;
pub use config::{ResolverConfig, SERVERS_MAX};

mod wire;
pub use wire::{CHAIN_MAX, RECORDS_MAX, TXT_MAX};

mod lookup;
pub use lookup::{Do, Lookup};

mod cache;
pub use cache::{Cache, CacheLimits};
