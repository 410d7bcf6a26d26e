//! The commands that ask DNS about senders: SPF, DKIM, DMARC.

use std::net::IpAddr;
use std::path::PathBuf;

use argh::FromArgs;

use crate::args::transport::{ParseReportMsg, Reports};
use crate::timestamp::Moment;

/// Check and read SPF records (RFC 7208).
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "spf")]
pub struct Spf {
    /// what to do
    #[argh(subcommand)]
    pub command: SpfCommand,
}

/// What to do with SPF.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum SpfCommand {
    /// Check.
    Check(SpfCheck),
    /// Look up.
    Lookup(SpfLookup),
    /// Parse.
    Parse(SpfParse),
}

/// Check whether a host may send mail in the name of a domain. The first word printed is the result: none, neutral, pass,
/// fail, softfail, temperror or permerror.
#[derive(Debug, FromArgs)]
#[argh(
    subcommand,
    name = "check",
    example = "moxctl spf check example.org 192.0.2.1\nmoxctl spf check --mail-from ann@example.org --helo mx.example.org example.org 192.0.2.1"
)]
pub struct SpfCheck {
    /// the domain whose record is asked; empty: that of --mail-from, else the name of --helo
    #[argh(positional)]
    pub domain: String,
    /// the address of the host
    #[argh(positional)]
    pub ip: IpAddr,
    /// the name in HELO or EHLO
    #[argh(option, default = "String::new()")]
    pub helo: String,
    /// the address in MAIL FROM, without angle brackets; default: postmaster at the domain
    #[argh(option, default = "String::new()")]
    pub mail_from: String,
    /// answer from this master file instead of asking name servers
    #[argh(option)]
    pub dns: Option<PathBuf>,
    /// write what was asked and answered to this file, for --dns
    #[argh(option)]
    pub facts: Option<PathBuf>,
    /// the time that explanations may name, like 2026-01-02T03:04:05Z; default: now
    #[argh(option)]
    pub now: Option<Moment>,
    /// one JSON value instead of text
    #[argh(switch)]
    pub json: bool,
}

/// Print the SPF record of a domain.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "lookup")]
pub struct SpfLookup {
    /// the domain
    #[argh(positional)]
    pub domain: String,
    /// answer from this master file instead of asking name servers
    #[argh(option)]
    pub dns: Option<PathBuf>,
    /// write what was asked and answered to this file, for --dns
    #[argh(option)]
    pub facts: Option<PathBuf>,
    /// one JSON value instead of text
    #[argh(switch)]
    pub json: bool,
}

/// Parse the text of an SPF record. Nothing is printed when it is one.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "parse")]
pub struct SpfParse {
    /// the text, as one argument
    #[argh(positional)]
    pub record: String,
    /// print the record's terms as one JSON value
    #[argh(switch)]
    pub json: bool,
}

/// Verify and make DKIM signatures (RFC 6376), and their keys.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "dkim")]
pub struct Dkim {
    /// what to do
    #[argh(subcommand)]
    pub command: DkimCommand,
}

/// What to do with DKIM.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum DkimCommand {
    /// Verify.
    Verify(DkimVerify),
    /// Look up.
    Lookup(DkimLookup),
    /// Print a record.
    Txt(DkimTxt),
    /// Make an Ed25519 key.
    GenEd25519(DkimGenEd25519),
    /// Make an RSA key.
    GenRsa(DkimGenRsa),
    /// Sign.
    Sign(DkimSign),
}

/// Verify the DKIM signatures of a message. The first word printed is the result for the message: that of its best
/// signature, none without any.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "verify")]
pub struct DkimVerify {
    /// the message; default: stdin
    #[argh(positional)]
    pub message: Option<PathBuf>,
    /// answer from this master file instead of asking name servers
    #[argh(option)]
    pub dns: Option<PathBuf>,
    /// write what was asked and answered to this file, for --dns
    #[argh(option)]
    pub facts: Option<PathBuf>,
    /// the time of verification, like 2026-01-02T03:04:05Z: signatures expire; default: now
    #[argh(option)]
    pub now: Option<Moment>,
    /// one JSON value instead of text
    #[argh(switch)]
    pub json: bool,
}

/// Print the key that a domain publishes for a selector, and whether it can be used.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "lookup")]
pub struct DkimLookup {
    /// the selector, s= of signatures
    #[argh(positional)]
    pub selector: String,
    /// the domain, d= of signatures
    #[argh(positional)]
    pub domain: String,
    /// answer from this master file instead of asking name servers
    #[argh(option)]
    pub dns: Option<PathBuf>,
    /// write what was asked and answered to this file, for --dns
    #[argh(option)]
    pub facts: Option<PathBuf>,
    /// one JSON value instead of text
    #[argh(switch)]
    pub json: bool,
}

/// Print the TXT record to publish for a private key on stdin, a line for a zone file.
#[derive(Debug, FromArgs)]
#[argh(
    subcommand,
    name = "txt",
    example = "moxctl dkim txt --selector 2026a --domain example.org < 2026a.pem"
)]
pub struct DkimTxt {
    /// the selector; default: selector
    #[argh(option, default = "String::from(\"selector\")")]
    pub selector: String,
    /// the domain; default: example.org
    #[argh(option, default = "String::from(\"example.org\")")]
    pub domain: String,
    /// one JSON value instead of text
    #[argh(switch)]
    pub json: bool,
}

/// Make an Ed25519 private key and print it: PKCS #8, PEM. Keep it secret.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "gened25519")]
pub struct DkimGenEd25519 {}

/// Make an RSA private key of 2048 bits and print it: PKCS #8, PEM. Keep it secret.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "genrsa")]
pub struct DkimGenRsa {}

/// Sign a message and print it with its signatures, line ends as they were.
#[derive(Debug, FromArgs)]
#[argh(
    subcommand,
    name = "sign",
    example = "moxctl dkim sign --key 2026a=rsa.pem --key 2026b=ed25519.pem message.eml > signed.eml"
)]
pub struct DkimSign {
    /// the message; default: stdin
    #[argh(positional)]
    pub message: Option<PathBuf>,
    /// selector=file with its private key (PKCS #8, PEM); may be given several times, a signature for each
    #[argh(option)]
    pub key: Vec<String>,
    /// who signs; default: the domain in From
    #[argh(option)]
    pub domain: Option<String>,
    /// what may change on the way, of header and body: relaxed or simple, as in relaxed/simple; default: relaxed/relaxed
    #[argh(option, default = "String::from(\"relaxed/relaxed\")")]
    pub canonical: String,
    /// seconds until the signatures expire; default: they do not
    #[argh(option)]
    pub expires: Option<u64>,
    /// the time of the signatures, like 2026-01-02T03:04:05Z; default: now
    #[argh(option)]
    pub now: Option<Moment>,
    /// the signatures alone, as one JSON value
    #[argh(switch)]
    pub json: bool,
}

/// Evaluate DMARC (RFC 9989).
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "dmarc")]
pub struct Dmarc {
    /// what to do
    #[argh(subcommand)]
    pub command: DmarcCommand,
}

/// What to do with DMARC.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum DmarcCommand {
    /// Verify.
    Verify(DmarcVerify),
    /// Look up.
    Lookup(DmarcLookup),
    /// Read reports.
    ParseReportMsg(ParseReportMsg),
    /// List reports.
    Reports(Reports),
}

/// Check SPF and DKIM of a message on stdin and evaluate DMARC. The first words printed are the result and what the domain
/// in From wants done with the message.
#[derive(Debug, FromArgs)]
#[argh(
    subcommand,
    name = "verify",
    example = "moxctl dmarc verify 192.0.2.1 ann@example.org mx.example.org < message.eml"
)]
pub struct DmarcVerify {
    /// the address of the host that sent the message
    #[argh(positional)]
    pub ip: IpAddr,
    /// the address in MAIL FROM, without angle brackets; empty for the null reverse-path
    #[argh(positional)]
    pub mail_from: String,
    /// the name in HELO or EHLO
    #[argh(positional)]
    pub helo: String,
    /// answer from this master file instead of asking name servers
    #[argh(option)]
    pub dns: Option<PathBuf>,
    /// write what was asked and answered to this file, for --dns
    #[argh(option)]
    pub facts: Option<PathBuf>,
    /// the time of verification, like 2026-01-02T03:04:05Z: signatures expire; default: now
    #[argh(option)]
    pub now: Option<Moment>,
    /// one JSON value instead of text
    #[argh(switch)]
    pub json: bool,
}

/// Print the DMARC record that holds for a domain, and whose it is.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "lookup")]
pub struct DmarcLookup {
    /// the domain
    #[argh(positional)]
    pub domain: String,
    /// answer from this master file instead of asking name servers
    #[argh(option)]
    pub dns: Option<PathBuf>,
    /// write what was asked and answered to this file, for --dns
    #[argh(option)]
    pub facts: Option<PathBuf>,
    /// one JSON value instead of text
    #[argh(switch)]
    pub json: bool,
}

/// Ask DNS.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "dns")]
pub struct Dns {
    /// what to do
    #[argh(subcommand)]
    pub command: DnsCommand,
}

/// What to do with DNS.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum DnsCommand {
    /// Look up.
    Lookup(DnsLookup),
}

/// Ask for the records of a name, as the server would. What is printed is a master file, for --dns.
#[derive(Debug, FromArgs)]
#[argh(
    subcommand,
    name = "lookup",
    example = "moxctl dns lookup mx example.org\nmoxctl dns lookup ptr 192.0.2.1\nmoxctl dns lookup example.org"
)]
pub struct DnsLookup {
    /// the type (a, aaaa, cname, mx, ns, ptr, soa, tlsa, txt or ips, both kinds of addresses; default: ips) and the name,
    /// or an address for its ptr records
    #[argh(positional)]
    pub words: Vec<String>,
    /// answer from this master file instead of asking name servers
    #[argh(option)]
    pub dns: Option<PathBuf>,
    /// write what was asked and answered to this file, for --dns
    #[argh(option)]
    pub facts: Option<PathBuf>,
    /// one JSON value instead of text
    #[argh(switch)]
    pub json: bool,
}
