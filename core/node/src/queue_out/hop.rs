//! One host's part in an attempt: what is demanded of it, and what it says of each recipient.

use futures_channel::oneshot;
use mox_address::{Enhanced, Host, Path};
use mox_driver::Runtime;
use mox_machine::{Mono, TlsFacts};
use mox_mailbox::{QueueMessage, QueueRecipient};
use mox_queue::{NextHop, Outcome};
use mox_server::config::SmarthostTls;
use mox_smtp::client::{Cause, Outcome as Reached, Stage, Tls, Transaction, Until};
use mox_smtp::wire::{MailDsn, RcptDsn};
use mox_tls_policy::{Level, Reason};
use std::sync::Arc;

use super::attempt::{Result, ours};
use super::client::{Job, Spoken};
use super::dry_run::Probe;
use super::login::Login;
use super::policy::Went;
use super::route::{Hop, Way};
use super::seen::note;
use super::session::{Broken, Open, session};
use super::steps::Steps;
use super::tls_memory::missed;
use super::verdict::{said, words};
use crate::node::Inner;
use crate::registry::Seat;

impl Hop {
    /// How the connection is encrypted, where its transport says so.
    pub(super) fn smarthost_tls(&self) -> Option<SmarthostTls> {
        match &self.way {
            Way::Smarthost(_, transport) => transport.smarthost().map(|smarthost| smarthost.tls),
            Way::Plain | Way::Relay | Way::Socks5(..) => None,
        }
    }

    /// It takes mail for everybody, and not for its own domain: what it says of us is no verdict on a message.
    const fn is_for_everybody(&self) -> bool {
        matches!(self.way, Way::Relay | Way::Smarthost(..))
    }
}

/// What one address says.
pub(super) struct Answered<R: Runtime> {
    /// For each recipient.
    pub(super) results: Vec<Result>,
    /// Its answer to the final dot was lost: it may have the message.
    pub(super) ambiguous: bool,
    /// The session, where it may take another message.
    pub(super) open: Option<Open<R>>,
}

impl<R: Runtime> From<Vec<Result>> for Answered<R> {
    fn from(results: Vec<Result>) -> Self {
        Self {
            results,
            ambiguous: false,
            open: None,
        }
    }
}

/// What is to be sent to an address: a message, and to whom.
pub(super) struct Sending<'a> {
    pub(super) seat: &'a Arc<Seat>,
    /// For whom its sessions count.
    pub(super) next_hop: Option<&'a NextHop>,
    pub(super) message: &'a Arc<QueueMessage>,
    pub(super) to: &'a [(Path, &'a QueueRecipient)],
    /// How long it may take up to the final dot.
    pub(super) until: Mono,
    /// What is done is noted there.
    pub(super) steps: &'a Arc<Steps>,
}

/// What one address says for each recipient: in a session that is `open` already, if that may carry the message, or in a new one.
pub(super) async fn try_hop<R: Runtime>(
    node: &Arc<Inner<R>>,
    hop: &Hop,
    sending: &Sending<'_>,
    mut open: Option<Open<R>>,
    probe: Option<&Arc<Probe>>,
) -> Answered<R> {
    let (name, address) = (&hop.name, hop.address);
    let (ip, port) = (address.ip(), address.port());
    sending
        .steps
        .note(format_args!("to {name} [{ip}], port {port}"));
    let answered = rehearse(node, hop, sending, &mut open, probe).await;
    // What the host said is noted already.
    let ours = answered.results.iter();
    let mut ours = ours.filter(|result| !result.from_peer && result.outcome != Outcome::Delivered);
    if let Some(result) = ours.next() {
        sending.steps.note(&result.text);
    }
    if let Some(unfit) = open {
        unfit.leave();
    }
    answered
}

/// The same; a rehearsal notes what it sees. A session that may not carry the message stays where it is.
async fn rehearse<R: Runtime>(
    node: &Arc<Inner<R>>,
    hop: &Hop,
    sending: &Sending<'_>,
    open: &mut Option<Open<R>>,
    probe: Option<&Arc<Probe>>,
) -> Answered<R> {
    let Some(probe) = probe else {
        return speak(node, hop, sending, open, None).await;
    };
    let (name, address) = (&hop.name, hop.address);
    probe.note(format!(
        "to {name} [{}], port {}",
        address.ip(),
        address.port()
    ));
    if let Some(policy) = &hop.policy {
        probe.note(format!("its policy: {}", policy.decision));
    }
    let answered = speak(node, hop, sending, open, Some(probe)).await;
    let refused = (answered.results.iter()).filter(|r| r.outcome != Outcome::Delivered);
    refused.for_each(|result| probe.note(&result.text));
    answered
}

async fn speak<R: Runtime>(
    node: &Arc<Inner<R>>,
    hop: &Hop,
    sending: &Sending<'_>,
    open: &mut Option<Open<R>>,
    probe: Option<&Arc<Probe>>,
) -> Answered<R> {
    let Sending {
        seat,
        next_hop,
        message,
        to,
        until,
        steps,
    } = *sending;
    let host = format!("{} [{}]", hop.name, hop.address.ip());
    let count = to.len();
    let from = match message.reverse_path.as_str() {
        "" => None,
        path => Path::parse(path, true).ok().map(in_ascii),
    };
    let transaction = Transaction {
        from,
        to: to.iter().map(|(path, _)| in_ascii(path.clone())).collect(),
        size: message.size(),
        eight_bit: message.eight_bit,
        utf8: message.utf8,
        // RFC 8689 4.2.1: of a notification nothing is demanded.
        require_tls: message.require_tls && !message.reverse_path.is_empty(),
        dsn: MailDsn::parse(&message.dsn),
        until: probe.map_or(Until::Message, |probe| probe.until),
        rcpt_dsn: to.iter().map(|(_, to)| RcptDsn::parse(&to.dsn)).collect(),
    };
    let require_tls = transaction.require_tls;
    let unfit = |status, text: &str| Result {
        unfit: require_tls,
        ..ours(Outcome::Temporary, status, text, Some(host.clone()))
    };
    if let (Way::Smarthost(name, _), None) = (&hop.way, probe)
        && let Some(said) = node.logins.refused_lately(name, node.runtime.now().mono)
    {
        let text = format!("not tried: another message was told {said:?} at the login");
        let result = ours(Outcome::Temporary, "4.7.8", &text, Some(host));
        return vec![result; count].into();
    }
    let level = hop.policy.as_ref().map(|policy| policy.decision.level);
    let smarthost = hop.smarthost_tls();
    let mut tls = match (level, smarthost) {
        (_, Some(SmarthostTls::Implicit | SmarthostTls::Starttls)) => Tls::Required,
        // Nobody says who has to be behind an address.
        (None, _) if require_tls => {
            let text = "the message demands TLS, and nothing proves who this host is";
            return vec![unfit("5.7.10", text); count].into();
        }
        (_, Some(SmarthostTls::Off)) => Tls::Never,
        (Some(Level::Encrypted | Level::WebPki | Level::Dane), None) => Tls::Required,
        (Some(Level::Opportunistic | Level::Never) | None, None) => Tls::IfOffered,
    };
    let demanded = match (&hop.policy, smarthost) {
        (Some(policy), _) => policy.decision.to_string(),
        (None, Some(_)) => "Its transport demands TLS and a certificate for its name".into(),
        (None, None) => String::new(),
    };
    if level == Some(Level::Never) {
        note(node, hop, &Went::Never);
        let mut result = unfit("4.7.10", &demanded);
        let mut reasons = hop
            .policy
            .iter()
            .flat_map(|policy| &policy.decision.reasons);
        result.unfit &= !reasons.any(|reason| *reason == Reason::TlsaUnknown);
        return vec![result; count].into();
    }
    let mut reused = open.take_if(|open| open.may_carry(hop, tls));
    // Why it is in clear what was to be encrypted.
    let mut passed_over = None;
    loop {
        let (tell, told) = oneshot::channel();
        let job = Job {
            seat: seat.clone(),
            message: message.clone(),
            transaction: transaction.clone(),
            until,
            steps: steps.clone(),
            told: tell,
        };
        let (spoken, open) = match reused.take() {
            Some(open) => match open.carry(job, told).await {
                Some((spoken, open)) => (Ok(spoken), open),
                // A new session: the host had enough of that one.
                None => continue,
            },
            None => {
                let login = Login::of(&hop.way, || node.session_seed("sasl"));
                session(
                    node,
                    (hop, next_hop),
                    (job, told),
                    login,
                    probe.cloned(),
                    tls,
                )
                .await
            }
        };
        match spoken {
            Ok(Spoken {
                reached,
                tells,
                secured,
                tls_refused,
                nth,
                ..
            }) => {
                let ambiguous = reached.iter().flatten().any(|o| o.ambiguous);
                // A session is one, whatever it carries.
                let is_in_clear = secured.is_none() && nth == 1 && tls != Tls::Never;
                if is_in_clear && may_have_offered(&reached) {
                    note(node, hop, &Went::Clear);
                }
                let is_without = secured.is_none() && may_have_offered(&reached);
                let missed = is_without.then(|| missed(node, hop)).flatten();
                if let Some(missed) = &missed {
                    steps.note(format_args!("in clear: {missed}"));
                    if let Some(probe) = probe {
                        probe.note(format!("in clear: {missed}"));
                    }
                    if nth == 1 {
                        tracing::warn!(target: "queue", host, "mail goes in clear: {missed}");
                    }
                }
                let tls = match (&secured, missed) {
                    (Some(secured), _) => shown(&secured.facts, hop),
                    (None, Some(missed)) => format!("in clear; {missed}"),
                    (None, None) => "in clear".to_owned(),
                };
                let refused = reached.iter().flatten();
                // A server that broke off, or has no time now, said nothing of who we are.
                let mut refused = refused.filter(|o| {
                    let is_no = o.reply.as_ref().is_none_or(|reply| reply.code >= 500);
                    o.stage == Stage::Auth
                        && is_no
                        && !matches!(o.cause, Cause::Lost | Cause::Timeout)
                });
                if let (Way::Smarthost(name, _), Some(refused)) = (&hop.way, refused.next()) {
                    let text = said(refused, &host).text;
                    node.logins.refused(name, &text, node.runtime.now().mono);
                }
                let passed_over = tls_refused.or(passed_over);
                // In clear only because TLS failed: for the next message TLS is tried again.
                let open = match (open, &passed_over) {
                    (Some(open), Some(_)) => {
                        open.leave();
                        None
                    }
                    (open, _) => open,
                };
                let said = |o: &Reached| match (o.cause, o.stage, &o.reply) {
                    // It is us that it does not like now, and no message: who set it up wrong loses none.
                    _ if hop.is_for_everybody() && is_about_us(o) => Result {
                        outcome: Outcome::Temporary,
                        unfit: false,
                        ..said(o, &host)
                    },
                    (Cause::NoTls, ..) => {
                        let text = format!("the host does not offer STARTTLS. {demanded}");
                        unfit("4.7.10", &text)
                    }
                    (Cause::Reply, Stage::StartTls, Some(reply)) => {
                        let text =
                            format!("the host refuses STARTTLS: {}. {demanded}", words(reply));
                        let refused = unfit("4.7.10", &text);
                        Result {
                            unfit: refused.unfit && reply.is_permanent(),
                            ..refused
                        }
                    }
                    _ => match &passed_over {
                        Some(why) if wants_tls(o) => without_tls(said(o, &host), why),
                        _ => said(o, &host),
                    },
                };
                let too_many = || {
                    let text = "the host takes no more recipients in one session";
                    ours(Outcome::Temporary, "4.5.3", text, Some(host.clone()))
                };
                let results = reached.iter().map(|o| Result {
                    tls: tls.clone(),
                    tells,
                    ..o.as_ref().map_or_else(too_many, said)
                });
                return Answered {
                    results: results.collect(),
                    ambiguous,
                    open,
                };
            }
            Err(Broken::Policy(text)) => {
                tracing::info!(target: "queue", host, text, "a host is not who it has to be");
                return vec![unfit("4.7.5", &text); count].into();
            }
            Err(Broken::Tls(error)) if tls == Tls::Required => {
                note(node, hop, &Went::Failed);
                let text = format!("TLS failed: {error}. {demanded}");
                let result = unfit("4.7.5", &text);
                return vec![result; count].into();
            }
            // Opportunistic: better in clear than not at all.
            Err(Broken::Tls(error)) if tls == Tls::IfOffered => {
                tracing::info!(target: "queue", host, %error, "TLS failed, trying in clear");
                note(node, hop, &Went::Failed);
                steps.note(format_args!("TLS failed: {error}; again in clear"));
                passed_over = Some(error.to_string());
                tls = Tls::Never;
            }
            Err(Broken::Login(failure)) => {
                let text = format!("AUTH failed: {failure}");
                if let Way::Smarthost(name, _) = &hop.way {
                    node.logins.refused(name, &text, node.runtime.now().mono);
                }
                let result = ours(Outcome::Temporary, "4.7.8", &text, Some(host));
                return vec![result; count].into();
            }
            Err(Broken::Tls(error) | Broken::Connect(error)) => {
                let text = format!("no connection: {error}");
                let result = ours(Outcome::Temporary, "4.4.1", &text, Some(host));
                return vec![result; count].into();
            }
        }
    }
}

/// A path as servers without SMTPUTF8 take it too, where only its domain is not ASCII.
fn in_ascii(path: Path) -> Path {
    match path.domain().and_then(|domain| domain.to_ascii().ok()) {
        Some(domain) if path.local.as_str().is_ascii() => Path {
            host: Host::Domain(domain),
            ..path
        },
        _ => path,
    }
}

/// The host got as far as to say whether it offers STARTTLS.
fn may_have_offered(reached: &[Option<Reached>]) -> bool {
    let is_early = |o: &Reached| matches!(o.stage, Stage::Greeting | Stage::Ehlo | Stage::Helo);
    reached
        .iter()
        .flatten()
        .any(|o| !is_early(o) || o.cause == Cause::NoTls)
}

/// A refusal of who we are, also by a server that wants a login (RFC 4954 6), or of any session at all.
fn is_about_us(reached: &Reached) -> bool {
    let code = reached.reply.as_ref().map(|reply| reply.code);
    matches!(
        reached.stage,
        Stage::Greeting | Stage::Ehlo | Stage::Helo | Stage::StartTls | Stage::Auth
    ) || matches!(code, Some(530 | 534 | 535 | 538))
}

/// A refusal that demands TLS (RFC 3207 4, RFC 4954 6, RFC 7817 3): final only where TLS was there to be had.
fn wants_tls(reached: &Reached) -> bool {
    let Some(reply) = &reached.reply else {
        return false;
    };
    let is_early = matches!(reached.stage, Stage::Mail | Stage::Rcpt | Stage::Data);
    // 5.7.0 alone says nothing of TLS (RFC 3463 3.8): spam is refused with it.
    let says_so = matches!(reply.enhanced, Some(Enhanced(5, 7, 10 | 11)));
    is_early && reply.is_permanent() && (reply.code == 530 || says_so)
}

/// The same in a session that is in clear only because TLS failed: it may work next time.
fn without_tls(said: Result, why: &str) -> Result {
    Result {
        outcome: Outcome::Temporary,
        text: format!("TLS failed: {why}; in clear the host says: {}", said.text),
        status: "4.7.0".into(),
        from_peer: false,
        unfit: false,
        unknown: false,
        ..said
    }
}

/// What there is of TLS with a host, and what is known of who that is, for people.
pub(super) fn shown(facts: &TlsFacts, hop: &Hop) -> String {
    let level = hop.policy.as_ref().map(|policy| policy.decision.level);
    let proven = match level {
        Some(Level::Dane) => "proven by a TLSA record",
        Some(Level::WebPki) => "proven by a certificate for its name",
        _ if hop.smarthost_tls().is_some() => "proven by a certificate for its name",
        _ => "with anybody",
    };
    format!("{}, {proven}", facts.version_name())
}
