//! A name server over UDP that answers from a master file.

use mox_dns::{Failure, MasterFile, Name, Question, Record, RecordType};
use std::net::{SocketAddr, UdpSocket};

/// Serves a zone on a port of 127.0.0.1 until the test ends.
pub fn serve(zone: &str) -> SocketAddr {
    let zone = MasterFile::parse(zone).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = answer(&zone, &buffer[..length]) {
                let _ = socket.send_to(&answer, peer);
            }
        }
    });
    address
}

fn answer(zone: &MasterFile, query: &[u8]) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(&query[at + 1..end]);
        at = end;
    }
    let code = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let kind = RecordType::ALL
        .into_iter()
        .find(|kind| kind.code() == code)?;
    let name = Name::from_labels(labels).unwrap();
    let answer = zone.answer(&Question::of(name.clone(), kind));
    let code = match answer.why() {
        None | Some(Failure::NoData) => 0,
        Some(Failure::NoDomain) => 3,
        Some(Failure::ServFail | Failure::Bogus) => 2,
        Some(Failure::Timeout) => return None,
    };
    let records = answer.all();
    let records: Vec<u8> = records.iter().flat_map(|r| packed(&name, r)).collect();
    let count = u8::try_from(answer.all().len()).unwrap();
    // Recursion is there; AD where the file says so.
    let flags = 0x80 | code | if answer.authentic { 0x20 } else { 0 };
    let head = [query[0], query[1], 0x81, flags, 0, 1, 0, count, 0, 0, 0, 0];
    Some([&head, &query[12..at + 5], &records].concat())
}

fn packed(owner: &Name, record: &Record) -> Vec<u8> {
    let data = match record {
        Record::A(ip) => ip.octets().to_vec(),
        Record::Mx {
            preference,
            exchange,
        } => [&preference.to_be_bytes()[..], &wire(exchange)].concat(),
        Record::Txt(text) => [&[u8::try_from(text.len()).unwrap()], &text[..]].concat(),
        Record::Tlsa {
            usage,
            selector,
            matching,
            data,
        } => [&[*usage, *selector, *matching], &data[..]].concat(),
        other => panic!("{other:?}"),
    };
    let mut out = wire(owner);
    out.extend(record.kind().code().to_be_bytes());
    out.extend([0, 1, 0, 0, 1, 0x2c]);
    out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    out.extend(data);
    out
}

fn wire(name: &Name) -> Vec<u8> {
    let labels = name
        .labels()
        .flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label].concat());
    labels.chain([0]).collect()
}
