//! `outgoing_reports` of `domains.ron`: what other domains are told of their mail and of their servers' TLS.

use mox_address::{Host, Path};
use serde::Deserialize;

use super::check::Check;
use super::locate::Step::{Field, Item};
use crate::lookup::Directory;
use crate::reports_out::{OPT_OUT_MAX, OptOut, OutgoingReports};

/// As it stands in the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename = "outgoing_reports", deny_unknown_fields)]
pub(super) struct FileOutgoingReports {
    #[serde(default = "yes")]
    dmarc: bool,
    #[serde(default = "yes")]
    tls: bool,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    opt_out: Vec<String>,
}

const fn yes() -> bool {
    true
}

impl Default for FileOutgoingReports {
    fn default() -> Self {
        Self {
            dmarc: true,
            tls: true,
            from: None,
            opt_out: Vec::new(),
        }
    }
}

impl FileOutgoingReports {
    /// Checks it, with the domains that are ours.
    pub(super) fn check(&self, check: &mut Check<'_>, directory: &Directory) -> OutgoingReports {
        let here = Field("outgoing_reports");
        let mut opt_out = Vec::new();
        check.at_most(&[here, Field("opt_out")], self.opt_out.len(), OPT_OUT_MAX);
        for (n, text) in self.opt_out.iter().take(OPT_OUT_MAX).enumerate() {
            match OptOut::parse(text) {
                Ok(one) => opt_out.push(one),
                Err(why) => check.problem(
                    &[here, Field("opt_out"), Item(n)],
                    &format!("{text:?} is no domain and no address: {why}"),
                    "write \"example.org\" for a domain and all below it, or \"somebody@example.org\"",
                ),
            }
        }
        let from = self.from.as_ref().and_then(|text| {
            let is_ours = |path: &Path| match &path.host {
                Host::Domain(domain) => directory.has_domain(domain),
                Host::Literal(_) => false,
            };
            // It stands in reports, which know ASCII only.
            match Path::parse(text, true) {
                Ok(path) if is_ours(&path) && path.local.as_str().is_ascii() => Some(path),
                _ => {
                    check.problem(
                        &[here, Field("from")],
                        &format!("{text:?} is no address of a domain of this server"),
                        "write \"local-part@domain\" in ASCII, or leave it out: reports come from postmaster then",
                    );
                    None
                }
            }
        });
        OutgoingReports {
            dmarc: self.dmarc,
            tls: self.tls,
            from,
            opt_out,
        }
    }
}
