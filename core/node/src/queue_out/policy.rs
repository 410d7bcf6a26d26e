//! What a domain and its hosts demand of connections to them, and whether a host fulfils it.

use mox_dns::{Facts, MailHost, Name};
use mox_driver::Runtime;
use mox_tls_policy::{
    Dane, Decision, Demand, FailureType, Level, NextHop, StsPolicy, Tls, dane_lookup, decide,
};
use rustls::RootCertStore;
use rustls_pki_types::ServerName;
use std::net::IpAddr;
use std::sync::Arc;

use crate::node::Inner;
use crate::peer::Presented;
use crate::tls;

/// What is demanded of one host.
#[derive(Debug)]
pub(super) struct HopPolicy {
    domain: Name,
    host: Name,
    sts: Option<StsPolicy>,
    dane: Dane,
    vouched_for: bool,
    expanded: Name,
    pub(super) decision: Decision,
}

impl HopPolicy {
    /// Looks up what holds for a host.
    pub(super) async fn of<R: Runtime>(
        node: &Inner<R>,
        domain: &Name,
        host: &MailHost,
        sts: Option<StsPolicy>,
        demand: Demand,
    ) -> Self {
        let port = node.config.remote_port;
        let lookup = |facts: &Facts| dane_lookup(facts, host, port);
        let (dane, _) = node
            .resolver
            .inquire(&node.runtime, Facts::default(), lookup)
            .await;
        let mut policy = Self {
            domain: domain.clone(),
            host: host.name.clone(),
            sts,
            dane,
            vouched_for: host.mx_authentic,
            expanded: host.next_hop.clone(),
            decision: Decision {
                level: Level::Opportunistic,
                reasons: Vec::new(),
                extension: false,
            },
        };
        policy.decision = decide(&policy.next_hop(), demand);
        policy
    }

    /// Whether it has to be looked at whom the host proves to be.
    pub(super) fn is_choosy(&self) -> bool {
        matches!(self.decision.level, Level::WebPki | Level::Dane)
    }

    /// The name to ask for in the handshake: with DANE the one whose records they are (RFC 7672 2.2.3).
    pub(super) fn server_name(&self, ip: IpAddr) -> ServerName<'static> {
        let name = match (&self.decision.level, &self.dane) {
            (Level::Dane, Dane::Records { base, .. }) => base,
            _ => &self.host,
        };
        let name = name.to_string();
        ServerName::try_from(name.trim_end_matches('.').to_owned())
            .unwrap_or_else(|_| ServerName::from(ip))
    }

    /// Whether the message may be sent to who presented this.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn judge(
        &self,
        presented: Option<&Presented>,
        authorities: &Arc<RootCertStore>,
    ) -> Result<(), String> {
        let hop = self.next_hop();
        let (judgement, certificate) = match presented {
            Some(presented) => presented.with_peer(&tls::provider(), authorities, |peer| {
                let judgement = self.decision.judge(&hop, Tls::Established(peer));
                (judgement, peer.webpki.map_err(FailureType::from))
            }),
            None => (self.decision.judge(&hop, Tls::Failed), Ok(())),
        };
        if judgement.may_send {
            return Ok(());
        }
        let mut text = self.decision.to_string();
        let failures = judgement.results.into_iter();
        let failures = failures.filter_map(|(p, r)| Some((p.to_string(), r.err()?)));
        let mut failures: Vec<(String, FailureType)> = failures.collect();
        // It may be the message alone that demands a certificate.
        if let (Level::WebPki, Err(failure)) = (self.decision.level, certificate)
            && !failures.iter().any(|(_, known)| *known == failure)
        {
            failures.push(("certificate".to_owned(), failure));
        }
        for (what, failure) in failures {
            text.push_str(&format!(" ({what}: {failure})"));
        }
        Err(text)
    }

    fn next_hop(&self) -> NextHop<'_> {
        NextHop {
            domain: &self.domain,
            host: &self.host,
            sts: self.sts.as_ref(),
            dane: &self.dane,
            vouched_for: self.vouched_for,
            expanded: &self.expanded,
        }
    }
}
