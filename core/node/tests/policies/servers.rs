//! Other people's servers: one that takes mail, one that has MTA-STS policies.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// What a server does about STARTTLS.
pub enum StartTls {
    /// It does not offer it.
    Absent,
    /// It offers it, says 220, and goes away.
    Breaks,
    /// It presents this.
    With(Arc<ServerConfig>),
}

/// How messages came, by recipient: whether through TLS.
pub type Arrived = Arc<Mutex<BTreeMap<String, bool>>>;

/// Takes mail at an address until the test ends.
pub fn mail(at: SocketAddr, start_tls: StartTls, arrived: Arrived) {
    let listener = TcpListener::bind(at).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let offers = !matches!(start_tls, StartTls::Absent);
            let _ = stream.write_all(b"220 receiver.example ESMTP\r\n");
            // Unbuffered: what follows STARTTLS is TLS's.
            if let Ok(true) = session(&mut stream, offers, false, &arrived)
                && let StartTls::With(config) = &start_tls
            {
                let tls = ServerConnection::new(config.clone()).unwrap();
                let mut stream = StreamOwned::new(tls, stream);
                let _ = session(&mut stream, false, true, &arrived);
            }
        }
    });
}

/// True when STARTTLS was answered.
fn session(
    stream: &mut (impl Read + Write),
    offers: bool,
    is_tls: bool,
    arrived: &Arrived,
) -> std::io::Result<bool> {
    let mut to = String::new();
    loop {
        let line = line(stream)?;
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_str() {
            "EHLO" if offers => "250-receiver.example\r\n250 STARTTLS\r\n",
            "RCPT" => {
                line.get(9..line.len() - 1)
                    .unwrap_or_default()
                    .clone_into(&mut to);
                "250 2.1.5 fine\r\n"
            }
            "STAR" => {
                stream.write_all(b"220 2.0.0 go ahead\r\n")?;
                return Ok(true);
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                while self::line(stream)? != "." {}
                arrived.lock().unwrap().insert(to.clone(), is_tls);
                "250 2.0.0 taken\r\n"
            }
            "QUIT" => {
                stream.write_all(b"221 2.0.0 bye\r\n")?;
                return Ok(false);
            }
            _ => "250 2.0.0 fine\r\n",
        };
        stream.write_all(reply.as_bytes())?;
        stream.flush()?;
    }
}

fn line(stream: &mut impl Read) -> std::io::Result<String> {
    let mut line = Vec::new();
    let mut octet = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut octet)?;
        line.push(octet[0]);
    }
    line.truncate(line.len() - 2);
    Ok(String::from_utf8(line).unwrap())
}

/// Has policies, by the name of their host, until the test ends; counts how often each was fetched.
pub fn policies(
    at: SocketAddr,
    config: Arc<ServerConfig>,
    policies: BTreeMap<String, String>,
) -> Arc<Mutex<Vec<String>>> {
    let listener = TcpListener::bind(at).unwrap();
    let fetched = Arc::new(Mutex::new(Vec::new()));
    let all = fetched.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let tls = ServerConnection::new(config.clone()).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(tls, stream.unwrap()));
            let mut host = String::new();
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|n| n > 2) {
                if let Some(name) = line.strip_prefix("Host: ") {
                    name.trim_end().clone_into(&mut host);
                }
                line.clear();
            }
            let response = match policies.get(&host) {
                Some(policy) => format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{policy}",
                    policy.len()
                ),
                None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
            };
            let _ = stream.get_mut().write_all(response.as_bytes());
            let _ = stream.get_mut().flush();
            all.lock().unwrap().push(host);
        }
    });
    fetched
}
