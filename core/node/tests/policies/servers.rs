//! Other people's servers: one that takes mail, one that has MTA-STS policies.

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a server does about STARTTLS.
pub enum StartTls {
    /// It does not offer it.
    Absent,
    /// It offers it, and says 554.
    Refuses,
    /// It offers it, says 220, and goes away.
    Breaks,
    /// It presents this.
    With(Arc<ServerConfig>),
}

/// How messages came, by recipient: whether through TLS.
pub type Arrived = Arc<Mutex<BTreeMap<String, bool>>>;

/// Takes mail at an address until the test ends; inside TLS it offers REQUIRETLS if it `requires`.
pub fn mail(at: SocketAddr, start_tls: StartTls, requires: bool, arrived: Arrived) {
    let listener = TcpListener::bind(at).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let offers = !matches!(start_tls, StartTls::Absent);
            let _ = stream.write_all(b"220 receiver.example ESMTP\r\n");
            // Unbuffered: what follows STARTTLS is TLS's.
            let clear = if offers { "STARTTLS" } else { "8BITMIME" };
            let agrees = !matches!(start_tls, StartTls::Refuses);
            if let Ok(true) = session(&mut stream, clear, false, agrees, &arrived)
                && let StartTls::With(config) = &start_tls
            {
                let tls = ServerConnection::new(config.clone()).unwrap();
                let mut stream = StreamOwned::new(tls, stream);
                let offer = if requires { "REQUIRETLS" } else { "8BITMIME" };
                let _ = session(&mut stream, offer, true, true, &arrived);
            }
        }
    });
}

/// True when STARTTLS was answered.
fn session(
    stream: &mut (impl Read + Write),
    offer: &str,
    is_tls: bool,
    agrees: bool,
    arrived: &Arrived,
) -> std::io::Result<bool> {
    let mut to = String::new();
    loop {
        let line = line(stream)?;
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let offered = format!("250-receiver.example\r\n250 {offer}\r\n");
        let reply = match verb.as_str() {
            "EHLO" => &offered,
            "RCPT" => {
                line.get(9..line.len() - 1)
                    .unwrap_or_default()
                    .clone_into(&mut to);
                "250 2.1.5 fine\r\n"
            }
            "STAR" if !agrees => "554 5.7.0 no\r\n",
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

/// A client inside TLS, of a server that is `localhost`.
pub struct Secured(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Secured {
    pub fn new(stream: TcpStream, believed: Arc<RootCertStore>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(believed)
            .with_no_client_auth();
        let name = "localhost".try_into().unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        Self(BufReader::new(StreamOwned::new(tls, stream)))
    }

    #[track_caller]
    pub fn ask(&mut self, command: &str, start: &str) {
        let stream = self.0.get_mut();
        stream
            .write_all(format!("{command}\r\n").as_bytes())
            .unwrap();
        stream.flush().unwrap();
        let mut line = String::new();
        while line.is_empty() || line.as_bytes().get(3) == Some(&b'-') {
            line.clear();
            self.0.read_line(&mut line).unwrap();
        }
        assert!(line.starts_with(start), "{line:?} instead of {start:?}");
    }
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
