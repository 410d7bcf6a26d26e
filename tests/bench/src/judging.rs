//! What judging mail from elsewhere costs a whole server, with a name server on this machine that knows the sender: SPF, iprev, a
//! signature, DMARC, reputation, and a junk filter that has learned.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mox_dkim::{Ed25519Key, KeyRecord, Selector, Sign as _, Signing};
use mox_e2e::{NameServer, Zone};

use crate::client::Imap;
use crate::process::{message, send_message};
use crate::server::Server;

/// Octets of each message.
const OCTETS: usize = 10 * 1024;
/// Messages measured.
const MESSAGES: usize = 5_000;
/// Messages of either kind that the filter learns.
const LEARNED: usize = 60;
/// Time for it to learn them.
const LEARNING: Duration = Duration::from_secs(3);
/// When they are signed.
const AT: u64 = 1_795_000_000;

/// How often each row is measured, in turns; the median is printed, with the least and the most.
const RUNS: usize = 5;
/// A list of addresses, on which the client is not.
const LIST: &str = "bl.example";

/// Prints a row of a server that judges nothing, one that asks no list, and one that does.
pub(crate) fn print() -> io::Result<()> {
    let key = Ed25519Key::from_seed(&[7; 32]).map_err(|e| io::Error::other(format!("{e:?}")))?;
    let record = KeyRecord::of_key(key.public_key()).to_string();
    let body = message(OCTETS);
    let header = body
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or_default()
        + 2;
    let (header, rest) = body.split_at(header);
    let mut signing = Signing::new([Selector::new("client.example", "s", Arc::new(key))]);
    signing.push(rest.get(2..).unwrap_or_default());
    let fields = signing
        .finish(header, AT)
        .map_err(|e| io::Error::other(format!("{e:?}")))?;
    let signed = [fields.as_bytes(), &body].concat();
    let zone = Zone::default()
        .mx("client.example", 10, "client.example")
        .a("client.example", Ipv4Addr::LOCALHOST)
        .ptr(Ipv4Addr::LOCALHOST, "client.example")
        .txt("client.example", "v=spf1 ip4:127.0.0.1 -all")
        .txt("_dmarc.client.example", "v=DMARC1; p=reject")
        .txt("s._domainkey.client.example", &record)
        // Its test entry (RFC 5782 5).
        .a(&format!("2.0.0.127.{LIST}"), Ipv4Addr::new(127, 0, 0, 2));
    let names = NameServer::start(zone);
    let address = names.address();
    let judges = ["--resolver", &address];
    let asks = ["--resolver", &address, "--dnsbl", LIST];
    let rows: [(&str, &[&str]); 3] = [
        ("nothing is judged", &[]),
        ("everything is, without a list", &judges),
        ("everything is, with a list", &asks),
    ];
    let mut measured: [Vec<(f64, f64)>; 3] = Default::default();
    for _ in 0..RUNS {
        for ((_, options), runs) in rows.iter().zip(&mut measured) {
            runs.push(run(options, &signed)?);
        }
    }
    println!(
        "\n| {MESSAGES} messages of {OCTETS} octets, one mailbox, {RUNS} runs | messages/s | CPU s per 1,000 |\n|---|---|---|"
    );
    for ((name, _), runs) in rows.iter().zip(&measured) {
        let (rate, cpu): (Vec<f64>, Vec<f64>) = runs.iter().copied().unzip();
        println!("| {name} | {} | {} |", spread(rate, 0), spread(cpu, 2));
    }
    Ok(())
}

/// The median, and the least and the most.
fn spread(mut values: Vec<f64>, places: usize) -> String {
    values.sort_by(f64::total_cmp);
    let nth = |nth: usize| values.get(nth).copied().unwrap_or_default();
    let (median, most) = (nth(values.len() / 2), nth(values.len().saturating_sub(1)));
    format!("{median:.places$} ({:.places$}-{most:.places$})", nth(0))
}

/// Messages a second, and seconds of CPU for a thousand of them, of a server with these options.
fn run(options: &[&str], message: &[u8]) -> io::Result<(f64, f64)> {
    let server = Server::start_with(options)?;
    let mut imap = Imap::login(&server, None, 0)?;
    for n in 0..LEARNED {
        for (keyword, word) in [("$Junk", "lottery"), ("$NotJunk", "meeting")] {
            let text = format!("Subject: {word}\r\n\r\n{word} number{n} for you\r\n");
            imap.command(&format!(
                "APPEND INBOX ({keyword}) {{{}+}}\r\n{text}",
                text.len()
            ))?;
        }
    }
    thread::sleep(LEARNING);
    send_message(&server, message, MESSAGES / 10, 1)?;
    let (rate, cpu) = send_message(&server, message, MESSAGES, 1)?;
    Ok((rate, cpu / MESSAGES as f64 * 1_000.0))
}
