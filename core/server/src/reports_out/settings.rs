//! Which reports are sent, as whom, and to whom never.

use mox_address::{Domain, Path};

/// Domains and addresses that get no reports, at most.
pub const OPT_OUT_MAX: usize = 10_000;

/// What is reported to other domains.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutgoingReports {
    /// Results of DMARC, as RFC 9990 has it.
    pub dmarc: bool,
    /// Results of TLS, as RFC 8460 has it.
    pub tls: bool,
    /// The address that reports come from, of a domain of ours; `None` is the postmaster of a domain that signs.
    pub from: Option<Path>,
    /// Who gets none.
    pub opt_out: Vec<OptOut>,
}

/// Who gets no reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptOut {
    /// A domain in A-labels and all below it: whether it is reported about, or reports go there.
    Domain(Domain),
    /// An address, case aside.
    Address(String),
}

impl OptOut {
    /// Reads `example.org` or `somebody@example.org`.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains('@') {
            let path = Path::parse(text, true).map_err(|e| e.to_string())?;
            return Ok(Self::Address(compared(&path)));
        }
        let domain = Domain::parse(text, true).and_then(|domain| domain.to_ascii());
        domain.map(Self::Domain).map_err(|e| e.to_string())
    }
}

fn compared(path: &Path) -> String {
    let domain = path.domain().and_then(|domain| domain.to_ascii().ok());
    match domain {
        Some(domain) => format!("{}@{domain}", path.local).to_lowercase(),
        None => path.to_string().to_lowercase(),
    }
}

impl OutgoingReports {
    /// What a server does of which nothing is said.
    pub fn usual() -> Self {
        Self {
            dmarc: true,
            tls: true,
            ..Self::default()
        }
    }

    /// Nothing is sent about this domain.
    pub fn leaves_out_domain(&self, name: &str) -> bool {
        self.opt_out.iter().any(|one| match one {
            OptOut::Domain(domain) => is_at_or_below(name, domain.as_str()),
            OptOut::Address(_) => false,
        })
    }

    /// Nothing is sent to this address.
    pub fn leaves_out_address(&self, to: &Path) -> bool {
        let text = compared(to);
        let domain = text.rsplit_once('@').map_or("", |(_, domain)| domain);
        self.opt_out.iter().any(|one| match one {
            OptOut::Domain(above) => is_at_or_below(domain, above.as_str()),
            OptOut::Address(address) => *address == text,
        })
    }
}

/// Case aside.
pub(super) fn is_at_or_below(name: &str, above: &str) -> bool {
    let (name, above) = (name.to_ascii_lowercase(), above.to_ascii_lowercase());
    let rest = name.strip_suffix(&above);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_that_opted_out_is_left_out_with_all_below_it_and_an_address_alone() {
        let reports = OutgoingReports {
            opt_out: ["Bücher.example", "Rua@one.example"]
                .map(|text| OptOut::parse(text).unwrap())
                .into(),
            ..OutgoingReports::usual()
        };
        for (domain, is_left_out) in [
            ("xn--bcher-kva.example", true),
            ("mail.XN--bcher-kva.example", true),
            ("notxn--bcher-kva.example", false),
            ("one.example", false),
        ] {
            assert_eq!(reports.leaves_out_domain(domain), is_left_out, "{domain}");
        }
        for (address, is_left_out) in [
            ("a@bücher.example", true),
            ("a@x.xn--bcher-kva.example", true),
            ("rua@ONE.example", true),
            ("other@one.example", false),
        ] {
            let path = Path::parse(address, true).unwrap();
            assert_eq!(reports.leaves_out_address(&path), is_left_out, "{address}");
        }
        assert!(OptOut::parse("no domain").is_err());
        assert!(OptOut::parse("@one.example").is_err());
    }
}
