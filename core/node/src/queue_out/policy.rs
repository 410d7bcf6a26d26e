//! What a domain and its hosts demand of connections to them, and whether a host fulfils it.

use mox_dns::{Facts, MailHost, Name};
use mox_driver::Runtime;
use mox_server::reports_out::SeenSession;
use mox_tls_policy::{
    AppliedPolicy, Dane, Decision, Demand, Failure, FailureType, FetchError, Level, Mode, NextHop,
    PolicyType, StsPolicy, Tls, dane_lookup, decide,
};
use rustls::RootCertStore;
use rustls_pki_types::ServerName;
use std::net::IpAddr;
use std::sync::Arc;

use super::dry_run::Probe;
use super::seen::Seen;
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
    /// Why there is no MTA-STS policy although the domain says that there is one.
    sts_problem: Option<FailureType>,
    pub(super) decision: Decision,
    /// How sessions with the host went.
    pub(super) seen: Seen,
}

/// How a session with a host went.
pub(super) enum Went<'a> {
    /// There was none: the host must not get the message.
    Never,
    /// In clear: STARTTLS was not offered, or refused.
    Clear,
    /// It was offered, and there was no handshake.
    Failed,
    /// There is TLS, with who presented this.
    Secured(Option<&'a Presented>),
}

/// What is to be reported of a policy that could not be had.
fn of_fetch(problem: &FetchError) -> Option<FailureType> {
    match problem {
        FetchError::Policy(_) => Some(FailureType::StsPolicyInvalid),
        FetchError::NoPolicy | FetchError::Fetch(_) | FetchError::Backoff => {
            Some(FailureType::StsPolicyFetchError)
        }
        FetchError::Record(_) | FetchError::Dns(_) => None,
    }
}

impl HopPolicy {
    /// Looks up what holds for a host.
    pub(super) async fn of<R: Runtime>(
        node: &Inner<R>,
        domain: &Name,
        host: &MailHost,
        (sts, problem): (Option<StsPolicy>, Option<&FetchError>),
        demand: Demand,
        probe: Option<&Probe>,
    ) -> Self {
        let port = node.config.remote_port;
        let lookup = |facts: &Facts| dane_lookup(facts, host, port);
        let (dane, facts) = node
            .resolver
            .inquire(&node.runtime, Facts::default(), lookup)
            .await;
        if let Some(probe) = probe {
            probe.asked(&facts);
        }
        let mut policy = Self {
            domain: domain.clone(),
            host: host.name.clone(),
            sts,
            dane,
            vouched_for: host.mx_authentic,
            expanded: host.next_hop.clone(),
            sts_problem: problem.and_then(of_fetch),
            decision: Decision {
                level: Level::Opportunistic,
                reasons: Vec::new(),
                extension: false,
            },
            seen: Seen::default(),
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

    /// How a session went under each policy, for reports (RFC 8460 4).
    pub(super) fn sessions(
        &self,
        went: &Went<'_>,
        authorities: &Arc<RootCertStore>,
        ip: IpAddr,
    ) -> Vec<SeenSession> {
        let hop = self.next_hop();
        let judged = |tls: Tls<'_>| self.decision.judge(&hop, tls).results;
        let has_sts = (self.sts.as_ref()).is_some_and(|policy| policy.mode != Mode::None);
        let has_policy = has_sts || matches!(self.dane, Dane::Records { .. });
        let mut results = match went {
            // Nobody looks at a certificate of which nothing is demanded.
            Went::Secured(_) if !has_policy => vec![(PolicyType::NoPolicyFound, Ok(()))],
            Went::Secured(Some(presented)) => {
                let of_peer = |peer: &mox_tls_policy::Peer<'_>| judged(Tls::Established(peer));
                presented.with_peer(&tls::provider(), authorities, of_peer)
            }
            Went::Secured(None) | Went::Failed => judged(Tls::Failed),
            Went::Clear | Went::Never => judged(Tls::NotOffered),
        };
        if matches!(went, Went::Never) {
            // Nobody knows whether it offers TLS.
            results.retain(|(_, result)| *result != Err(FailureType::StarttlsNotSupported));
        }
        if let Some(problem) = self.sts_problem.filter(|_| !has_sts) {
            results.retain(|(kind, _)| *kind != PolicyType::NoPolicyFound);
            results.push((PolicyType::Sts, Err(problem)));
        }
        let name = |name: &Name| name.to_string().trim_end_matches('.').to_owned();
        let outcome = |result: Result<(), FailureType>| {
            result.map_err(|kind| Failure {
                mx: Some(name(&self.host)),
                receiving_ip: Some(ip),
                ..Failure::of(kind)
            })
        };
        let policy = |kind| {
            let domain = match (kind, &self.dane) {
                (PolicyType::Tlsa, Dane::Records { base, .. }) => name(base),
                _ => name(&self.domain),
            };
            let (strings, mx) = match (kind, &self.dane, &self.sts) {
                (PolicyType::Tlsa, Dane::Records { usable, .. }, _) => {
                    (usable.iter().map(ToString::to_string).collect(), Vec::new())
                }
                (PolicyType::Sts, _, Some(sts)) => (
                    sts.lines(),
                    sts.mx.iter().map(ToString::to_string).collect(),
                ),
                _ => (Vec::new(), Vec::new()),
            };
            AppliedPolicy {
                kind,
                domain,
                strings,
                mx,
            }
        };
        let results = results.into_iter();
        results
            .map(|(kind, result)| SeenSession {
                policy: policy(kind),
                outcome: outcome(result),
            })
            .collect()
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
