//! A name server over UDP that knows what it was told (RFC 1035).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

const A: u16 = 1;
const PTR: u16 = 12;
const MX: u16 = 15;
const TXT: u16 = 16;
const NO_DOMAIN: u16 = 3;
/// This is a response, with authority; recursion is offered.
const RESPONSE: u16 = 0x8480;
const RECURSION_DESIRED: u16 = 0x0100;

/// The records of a name: type and data.
type Records = Vec<(u16, Vec<u8>)>;

/// What it answers with. A name that is not there does not exist; a name without a record of a type has no such data.
#[derive(Debug, Clone, Default)]
pub struct Zone(BTreeMap<String, Records>);

impl Zone {
    /// An MX record. The null MX (RFC 7505) is preference 0 and the host `.`.
    pub fn mx(mut self, name: &str, preference: u16, host: &str) -> Self {
        let mut data = preference.to_be_bytes().to_vec();
        data.extend_from_slice(&wire(host));
        self.0.entry(name.into()).or_default().push((MX, data));
        self
    }

    /// A text of at most 255 octets.
    pub fn txt(mut self, name: &str, text: &str) -> Self {
        let mut data = vec![u8::try_from(text.len()).unwrap()];
        data.extend_from_slice(text.as_bytes());
        self.0.entry(name.into()).or_default().push((TXT, data));
        self
    }

    /// The name of an address.
    pub fn ptr(mut self, address: Ipv4Addr, host: &str) -> Self {
        let [a, b, c, d] = address.octets();
        let name = format!("{d}.{c}.{b}.{a}.in-addr.arpa");
        self.0.entry(name).or_default().push((PTR, wire(host)));
        self
    }

    /// An address.
    pub fn a(mut self, name: &str, address: Ipv4Addr) -> Self {
        let data = address.octets().to_vec();
        self.0.entry(name.into()).or_default().push((A, data));
        self
    }
}

/// A name as it is sent.
fn wire(name: &str) -> Vec<u8> {
    let mut data = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        data.push(u8::try_from(label.len()).unwrap());
        data.extend_from_slice(label.as_bytes());
    }
    data.push(0);
    data
}

/// A name server on a port of 127.0.0.1 until the test ends.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    /// Serves this.
    pub fn start(zone: Zone) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let all = asked.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let query = buffer.get(..length).unwrap();
                if let Some((response, name)) = respond(query, &zone) {
                    all.lock().unwrap().push(name);
                    let _ = socket.send_to(&response, peer);
                }
            }
        });
        Self { address, asked }
    }

    /// As `--resolver` wants it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// How often it was asked about a name.
    pub fn asked(&self, name: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| *asked == name).count()
    }
}

/// The response to a query with one question, and the name it asks for.
fn respond(query: &[u8], zone: &Zone) -> Option<(Vec<u8>, String)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let name = labels.join(".");
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(12..at + 4)?;
    let records = zone.0.get(&name);
    let found: Vec<_> = records
        .into_iter()
        .flatten()
        .filter(|(of, _)| *of == kind)
        .collect();
    let code = if records.is_none() { NO_DOMAIN } else { 0 };
    let desired = u16::from_be_bytes([*query.get(2)?, *query.get(3)?]) & RECURSION_DESIRED;
    let mut response = query.get(..2)?.to_vec();
    let count = u16::try_from(found.len()).unwrap();
    for number in [RESPONSE | desired | code, 1, count, 0, 0] {
        response.extend_from_slice(&number.to_be_bytes());
    }
    response.extend_from_slice(question);
    for (kind, data) in found {
        // The name of the question, the type, class IN, 60 seconds.
        response.extend_from_slice(&[0xc0, 12]);
        response.extend_from_slice(&kind.to_be_bytes());
        response.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        response.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        response.extend_from_slice(data);
    }
    Some((response, name))
}
