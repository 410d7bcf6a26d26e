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

/// Prints a row with and one without.
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
        .txt("s._domainkey.client.example", &record);
    let names = NameServer::start(zone);
    println!(
        "\n| {MESSAGES} messages of {OCTETS} octets, one mailbox | messages/s | CPU s per 1,000 |\n|---|---|---|"
    );
    row("nothing is judged", &[], &signed)?;
    row("everything is", &["--resolver", &names.address()], &signed)
}

fn row(name: &str, options: &[&str], message: &[u8]) -> io::Result<()> {
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
    println!(
        "| {name} | {rate:.0} | {:.2} |",
        cpu / MESSAGES as f64 * 1_000.0
    );
    Ok(())
}
