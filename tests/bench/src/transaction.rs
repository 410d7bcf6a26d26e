//! What one message costs a whole server, from the socket to the mailbox: allocations, and octets that are written to the disk.
//!
//! The server runs in this process, so that its allocations are counted; the client beside it allocates nothing while it sends.
//! An allocation is counted wherever it is made: driver, machine, spool, committer, fjall. Every copy into fresh memory is among
//! the octets allocated, so they bound the copies of a body from above, but for those into buffers that are used again (the
//! kernel's, the 16 KiB a thread reads into).

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use mox_address::Domain;
use mox_driver::Bind;
use mox_machine::Seed;
use mox_node::{Bound, Config, ListenerConfig, Node, Outgoing, Service};
use mox_runtime_smol::SmolRuntime;
use mox_server::Directory;
use mox_store::{Options, Store};
use stats_alloc::Region;

use crate::ALLOCATOR;

/// Messages before the measurement: buffers, caches and files are there then.
const BEFORE: usize = 20;
/// Messages measured.
const MEASURED: usize = 200;

/// Prints a row for a small message (a row of the store), one of 10 KB, and one of 1 MB (a file).
pub(crate) fn print() -> io::Result<()> {
    println!(
        "\n| one message, socket to mailbox | allocations | octets allocated per octet | octets written to disk per octet |"
    );
    println!("|---|---|---|---|");
    let dir = std::env::temp_dir().join(format!("mox-bench-transaction-{}", std::process::id()));
    let result = serve(&dir, |address| {
        for (name, octets) in [("1 KB", 1 << 10), ("10 KB", 10 << 10), ("1 MB", 1 << 20)] {
            row(address, name, octets)?;
        }
        Ok(())
    });
    std::fs::remove_dir_all(&dir)?;
    result
}

/// A server over a store in `dir`, for as long as `work` takes.
fn serve(dir: &Path, work: impl FnOnce(SocketAddr) -> io::Result<()>) -> io::Result<()> {
    let failed = |e: &dyn std::fmt::Display| io::Error::other(e.to_string());
    let runtime = SmolRuntime::start(1, Seed::from_number(1))?;
    let hostname = Domain::parse("localhost", false).map_err(|e| failed(&e))?;
    let config = Config {
        listeners: vec![ListenerConfig {
            name: "smtp".into(),
            bind: Bind::Addr(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)),
            service: Service::Smtp,
            hostname: hostname.clone(),
            max_size: 100_000_000,
            clear_auth: true,
            tls: None,
            offers: mox_node::Offers::default(),
            lists: Vec::new(),
            trusted_proxies: Vec::new(),
            require_starttls: false,
        }],
        outgoing: Outgoing::Sink("mox".into()),
        transports: std::collections::BTreeMap::new(),
        resolvers: Vec::new(),
        remote_port: 25,
        mta_sts: mox_node::MtaSts::default(),
        plan: mox_queue::Plan::default(),
        connections: mox_node::ConnectionLimits::default(),
        failed_logins: mox_node::LoginLimits::default(),
        unlimited: Vec::new(),
        sending: mox_node::Sending::default(),
        receiving: mox_node::Receiving::default(),
        hostname,
    };
    let bound = Bound::bind(&runtime, &config)?;
    let addresses = bound.addresses(&runtime)?;
    let (_, address) = addresses.first().ok_or(io::ErrorKind::NotFound)?;
    let (store, committer) =
        Store::open_directory(dir, Options::default()).map_err(|e| failed(&e))?;
    let starting = Node::start(
        runtime.clone(),
        config,
        Directory::local(0),
        bound,
        store,
        committer,
    );
    let node = runtime.run_until(starting).map_err(|e| failed(&e))?;
    let result = work(*address);
    runtime.stopping();
    runtime.run_until(node.drain());
    runtime.stop(Duration::from_secs(1));
    result
}

fn row(address: SocketAddr, name: &str, octets: usize) -> io::Result<()> {
    let line = b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n";
    let mut message = b"Subject: bench\r\n\r\n".to_vec();
    message.extend(line.repeat(octets / line.len()));
    message.extend_from_slice(b".\r\n");
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    reply(&mut stream)?;
    say(&mut stream, b"HELO client.example\r\n")?;
    for _ in 0..BEFORE {
        send(&mut stream, &message)?;
    }
    let written = disk_octets()?;
    let region = Region::new(ALLOCATOR);
    for _ in 0..MEASURED {
        send(&mut stream, &message)?;
    }
    let change = region.change();
    let written = disk_octets()? - written;
    let all = (message.len() * MEASURED) as f64;
    println!(
        "| {name} | {} | {:.2} | {:.2} |",
        (change.allocations + change.reallocations) / MEASURED,
        change.bytes_allocated as f64 / all,
        written as f64 / all,
    );
    Ok(())
}

fn send(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    say(stream, b"MAIL FROM:<a@b.example>\r\n")?;
    say(stream, b"RCPT TO:<mox@localhost>\r\n")?;
    say(stream, b"DATA\r\n")?;
    say(stream, message)
}

fn say(stream: &mut TcpStream, octets: &[u8]) -> io::Result<()> {
    stream.write_all(octets)?;
    reply(stream)
}

/// One line, which must not be a refusal.
fn reply(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 512];
    let mut length = 0;
    while !buffer.get(..length).is_some_and(|b| b.ends_with(b"\n")) {
        let rest = buffer.get_mut(length..).unwrap_or_default();
        match stream.read(rest)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => length += more,
        }
    }
    match buffer.first() {
        Some(b'2' | b'3') => Ok(()),
        _ => Err(io::Error::other("the server refused")),
    }
}

/// Octets this process gave to `write` so far: files, not sockets, which are sent to.
fn disk_octets() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|number| number.parse().ok())
        .ok_or_else(|| io::Error::other("/proc/self/io has no wchar"))
}
