//! The smallest name server there is: every domain of ours is its own mail server.

use std::net::SocketAddr;
use std::time::Duration;

use crate::{Sim, names};

/// Where it listens.
pub(super) fn address() -> SocketAddr {
    ([10, 0, 9, 1], 53).into()
}

/// Lets it answer.
pub(super) fn serve(sim: &Sim) {
    sim.serve_udp(address(), |_, query| match answer(query) {
        Some(answer) => vec![(Duration::ZERO, answer)],
        None => Vec::new(),
    });
}

/// The answer to a query with one question (RFC 1035 4.1).
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let question = query.get(12..)?;
    let mut labels = Vec::new();
    let mut rest = question;
    loop {
        let (length, after) = rest.split_first()?;
        rest = after;
        if *length == 0 {
            break;
        }
        let (label, after) = rest.split_at_checked(usize::from(*length))?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        rest = after;
    }
    let kind = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
    let question = question.get(..question.len() - rest.len() + 4)?;
    let name = labels.join(".");
    let server = names::DOMAINS.iter().position(|known| *known == name);
    let data = match (server, kind) {
        (Some(server), 1) => Some(names::ip(server).to_vec()),
        // Preference 10, the name asked about.
        (Some(_), 15) => Some(vec![0, 10, 0xc0, 12]),
        _ => None,
    };
    let code = if server.is_some() { 0 } else { 3 };
    let mut out = query.get(..2)?.to_vec();
    out.extend([
        0x84,
        0x80 | code,
        0,
        1,
        0,
        u8::from(data.is_some()),
        0,
        0,
        0,
        0,
    ]);
    out.extend(question);
    if let Some(data) = data {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 1, 0]);
        out.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        out.extend(data);
    }
    Some(out)
}
