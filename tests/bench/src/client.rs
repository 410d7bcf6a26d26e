//! The clients that put a server to work: plain, blocking, trusting what it says.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::server::Server;

/// The password of every account of a local server.
const PASSWORD: &str = "moxmoxmox";

/// What a connection runs over: TCP, or TLS over it.
pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// One connection of IMAP, logged in.
pub(crate) struct Imap {
    stream: BufReader<Box<dyn Stream>>,
}

impl Imap {
    /// Connects, in TLS if there is a configuration for it, and logs in as this account.
    ///
    /// # Errors
    /// When the server does not let.
    pub(crate) fn login(
        server: &Server,
        tls: Option<&Arc<ClientConfig>>,
        user: usize,
    ) -> io::Result<Self> {
        let stream: Box<dyn Stream> = if let Some(config) = tls {
            let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
            let session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
            let tcp = connect(server.port(993))?;
            Box::new(StreamOwned::new(session, tcp))
        } else {
            Box::new(connect(server.port(143))?)
        };
        let mut imap = Self {
            stream: BufReader::new(stream),
        };
        imap.line()?;
        imap.command(&format!("LOGIN u{user}@localhost {PASSWORD}"))?;
        Ok(imap)
    }

    /// Sends a command and reads until its OK; returns how many octets came before.
    ///
    /// # Errors
    /// When the answer is not OK.
    pub(crate) fn command(&mut self, command: &str) -> io::Result<usize> {
        self.send(format!("a {command}\r\n").as_bytes())?;
        let mut octets = 0;
        loop {
            let line = self.line()?;
            if line.starts_with(b"a OK") {
                return Ok(octets);
            }
            if line.starts_with(b"a ") {
                return Err(unexpected(command, &line));
            }
            octets += line.len();
        }
    }

    /// Starts IDLE and leaves it open.
    ///
    /// # Errors
    /// When the server does not continue.
    pub(crate) fn idle(&mut self) -> io::Result<()> {
        self.send(b"a IDLE\r\n")?;
        let line = self.line()?;
        if line.starts_with(b"+") {
            return Ok(());
        }
        Err(unexpected("IDLE", &line))
    }

    fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(octets)?;
        stream.flush()
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        line(&mut self.stream)
    }
}

/// One connection of SMTP, past EHLO.
pub(crate) struct Smtp {
    stream: BufReader<TcpStream>,
}

impl Smtp {
    /// Connects and says EHLO.
    ///
    /// # Errors
    /// When the server does not let.
    pub(crate) fn connect(server: &Server) -> io::Result<Self> {
        let mut smtp = Self {
            stream: BufReader::new(connect(server.port(25))?),
        };
        smtp.reply("220")?;
        smtp.say(b"EHLO client.example\r\n", "250")?;
        Ok(smtp)
    }

    /// Sends a message, its dots stuffed already, every line ended; returns once it is acknowledged.
    ///
    /// # Errors
    /// When the server refuses.
    pub(crate) fn send(&mut self, user: usize, message: &[u8]) -> io::Result<()> {
        self.say(b"MAIL FROM:<sender@client.example>\r\n", "250")?;
        let rcpt = format!("RCPT TO:<u{user}@localhost>\r\n");
        self.say(rcpt.as_bytes(), "250")?;
        self.say(b"DATA\r\n", "354")?;
        self.stream.get_mut().write_all(message)?;
        self.say(b".\r\n", "250")
    }

    fn say(&mut self, octets: &[u8], expected: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(octets)?;
        self.reply(expected)
    }

    fn reply(&mut self, expected: &str) -> io::Result<()> {
        loop {
            let line = line(&mut self.stream)?;
            if !line.starts_with(expected.as_bytes()) {
                return Err(unexpected(expected, &line));
            }
            if line.get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }
}

/// TLS that trusts the certificate of this server.
///
/// # Errors
/// When that is not to be read.
pub(crate) fn trusting(server: &Server) -> io::Result<Arc<ClientConfig>> {
    let pem = fs::read(server.certificate())?;
    let certificate = CertificateDer::from_pem_slice(&pem).map_err(io::Error::other)?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(config))
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line)
}

fn unexpected(to: &str, line: &[u8]) -> io::Error {
    let line = String::from_utf8_lossy(line);
    io::Error::other(format!("to {to}: {}", line.trim_end()))
}
