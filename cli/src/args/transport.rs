//! The commands that ask about TLS between mail servers, about lists of addresses, and that read reports.

use std::net::IpAddr;
use std::path::PathBuf;

use argh::FromArgs;

/// Look at MTA-STS policies (RFC 8461).
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "mtasts")]
pub struct Mtasts {
    /// what to do
    #[argh(subcommand)]
    pub command: MtastsCommand,
}

/// What to do with MTA-STS.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum MtastsCommand {
    /// Look up.
    Lookup(MtastsLookup),
}

/// Print the MTA-STS record of a domain, and fetch its policy and print it.
#[derive(Debug, FromArgs)]
#[argh(
    subcommand,
    name = "lookup",
    example = "moxctl mtasts lookup example.org"
)]
pub struct MtastsLookup {
    /// the domain
    #[argh(positional)]
    pub domain: String,
    /// port of the web server that has the policy; default: 443
    #[argh(option, default = "443")]
    pub port: u16,
    /// file with certificates (PEM) of the authority to trust; default: the public ones
    #[argh(option)]
    pub ca: Option<PathBuf>,
    /// answer from this master file instead of asking name servers; the policy is fetched from the addresses in it
    #[argh(option)]
    pub dns: Option<PathBuf>,
    /// write what was asked and answered to this file, for --dns
    #[argh(option)]
    pub facts: Option<PathBuf>,
    /// one JSON value instead of text
    #[argh(switch)]
    pub json: bool,
}

/// Look at TLS reporting (RFC 8460), and read TLS reports.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "tlsrpt")]
pub struct Tlsrpt {
    /// what to do
    #[argh(subcommand)]
    pub command: TlsrptCommand,
}

/// What to do with TLS reporting.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum TlsrptCommand {
    /// Look up.
    Lookup(TlsrptLookup),
    /// Read reports.
    ParseReportMsg(ParseReportMsg),
    /// List reports.
    Reports(Reports),
}

/// Print where a domain wants TLS reports.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "lookup")]
pub struct TlsrptLookup {
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

/// Print the report in each file as JSON: a message that has one in it, or the report itself, packed or not.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "parsereportmsg")]
pub struct ParseReportMsg {
    /// the files; default: stdin
    #[argh(positional)]
    pub files: Vec<PathBuf>,
    /// one JSON value: a list with file, summary and report, or why it is refused, of each
    #[argh(switch)]
    pub json: bool,
}

/// List the reports of others that came to the running server and are believed, the newest first; or those that it sent.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "reports")]
pub struct Reports {
    /// a domain of ours, with --sent the one it was sent to; default: all
    #[argh(positional)]
    pub domain: Option<String>,
    /// reports at most; default: 20
    #[argh(option, default = "20")]
    pub max: usize,
    /// what became of our own reports to other domains
    #[argh(switch)]
    pub sent: bool,
    /// one JSON array with all that is kept of each
    #[argh(switch)]
    pub json: bool,
}

/// Look at DANE for SMTP (RFC 7672).
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "dane")]
pub struct Dane {
    /// what to do
    #[argh(subcommand)]
    pub command: DaneCommand,
}

/// What to do with DANE.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum DaneCommand {
    /// Look up.
    Lookup(DaneLookup),
}

/// Print the hosts that take mail for a domain, with their TLSA records and what is demanded of each.
#[derive(Debug, FromArgs)]
#[argh(
    subcommand,
    name = "lookup",
    example = "moxctl dane lookup example.org"
)]
pub struct DaneLookup {
    /// the domain
    #[argh(positional)]
    pub domain: String,
    /// the port of the hosts; default: 25
    #[argh(option, default = "25")]
    pub port: u16,
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

/// Ask DNS lists of addresses (RFC 5782).
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "dnsbl")]
pub struct Dnsbl {
    /// what to do
    #[argh(subcommand)]
    pub command: DnsblCommand,
}

/// What to do with a list.
#[derive(Debug, FromArgs)]
#[argh(subcommand)]
pub enum DnsblCommand {
    /// Check an address.
    Check(DnsblCheck),
    /// Check the list.
    CheckHealth(DnsblCheckHealth),
}

/// Look up an address on a list. The first word printed is the result: pass when it is not listed, fail when it is, temperror
/// or permerror when the list does not tell.
#[derive(Debug, FromArgs)]
#[argh(
    subcommand,
    name = "check",
    example = "moxctl dnsbl check bl.example.org 192.0.2.1"
)]
pub struct DnsblCheck {
    /// the name of the list
    #[argh(positional)]
    pub zone: String,
    /// the address
    #[argh(positional)]
    pub ip: IpAddr,
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

/// Check whether a list has the entry that every list has, and not the one that none may have. The first word printed is
/// healthy or unhealthy.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "checkhealth")]
pub struct DnsblCheckHealth {
    /// the name of the list
    #[argh(positional)]
    pub zone: String,
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
