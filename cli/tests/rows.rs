//! Every row of the list of decisions, and a case for each that shows it: the cases of `core/server/tests`, decided from facts, and
//! the scenarios of `tests/sim/tests/played`, played with a whole server. All their records are decided again by another
//! process from what `moxctl explain --json` prints of them, without a store.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::duplicate_mod,
    missing_docs,
    reason = "tests"
)]

#[path = "../../core/server/tests/decision.rs"]
mod decision;
#[path = "../../tests/sim/tests/one_server/mod.rs"]
mod one_server;
#[path = "../../tests/sim/tests/played/mod.rs"]
mod played;
mod recomputed;
#[path = "../../core/server/tests/rows.rs"]
mod rows;

use mox_server::decision::{Judgement, Reason, Record, Rule, Verdict, Weight};
use mox_server::reports::ReportKind;
use recomputed::assert_same_elsewhere;

/// A row of the list: transport.md 2.2 (D), 2.5 (R), and what refuses mail before (1).
struct Row {
    name: &'static str,
    /// A case of `core/server/tests` that shows it.
    case: &'static str,
    /// What a record says that shows it.
    shows: fn(&Judgement) -> bool,
    /// No whole server is brought there by what others send, or damage.
    facts_only: bool,
    /// What was changed on purpose: docs/decisions.md, docs/receiving.md.
    changed: &'static str,
}

const fn row(name: &'static str, case: &'static str, shows: fn(&Judgement) -> bool) -> Row {
    Row {
        name,
        case,
        shows,
        facts_only: false,
        changed: "",
    }
}

impl Row {
    const fn but(self, changed: &'static str) -> Self {
        Self { changed, ..self }
    }

    const fn facts_alone(self) -> Self {
        Self {
            facts_only: true,
            ..self
        }
    }
}

fn by(judged: &Judgement, reason: Reason) -> bool {
    judged.decision.reason == reason
}

fn rule<'j>(judged: &'j Judgement, name: &str) -> Option<&'j Rule> {
    judged.decision.rules.iter().find(|rule| rule.name == name)
}

fn weighs(judged: &Judgement, name: &str, weight: Weight) -> bool {
    rule(judged, name).is_some_and(|rule| rule.weight == weight)
}

/// What is known on this level decided what the message is like.
fn level(judged: &Judgement, name: &str) -> bool {
    let is_it = |step: &Rule| step.name == name && step.weight == Weight::Decides;
    rule(judged, "reputation").is_some_and(|rule| rule.steps.iter().any(is_it))
}

fn reports(judged: &Judgement, kind: ReportKind) -> bool {
    let report = judged.recipient.report.as_ref();
    report.is_some_and(|report| report.kind == kind) && rule(judged, "report").is_some()
}

fn is_strict(judged: &Judgement) -> bool {
    let content = rule(judged, "content");
    content.is_some_and(|rule| rule.evidence.iter().any(|(name, _)| name == "strict"))
}

const ROWS: &[Row] = &[
    row("D1", "d1_a_lists_mail_is_taken_whatever_its_authors_domain_wants", |j| {
        by(j, Reason::ListAllow)
    }),
    row(
        "D2",
        "d2_what_the_authors_domain_wants_is_done_and_its_three_wishes_differ",
        |j| by(j, Reason::DmarcPolicy) && j.decision.code == (550, 7, 26),
    ),
    row(
        "D2 quarantine",
        "d2_what_the_authors_domain_wants_is_done_and_its_three_wishes_differ",
        |j| by(j, Reason::DmarcQuarantine) && j.decision.verdict == Verdict::Junk,
    )
    .but("it goes to the mailbox for junk (A-03), where it was refused"),
    row(
        "D2 temperror",
        "d2_what_the_authors_domain_wants_is_done_and_its_three_wishes_differ",
        |j| by(j, Reason::DmarcUnknown) && j.decision.verdict == Verdict::Defer,
    )
    .but("it is put off where the policy that was found would have it refused or put aside"),
    row(
        "D2 no author",
        "a_message_without_an_author_is_refused_and_one_that_dns_cannot_tell_about_is_not",
        |j| by(j, Reason::NoAuthor) && j.decision.code == (550, 7, 1),
    )
    .but("it is refused (S-04, A-01), where DMARC was skipped"),
    row(
        "D3",
        "d3_d4_and_d8_who_brings_a_report_that_is_believed_is_no_stranger",
        |j| reports(j, ReportKind::Dmarc),
    ),
    row(
        "D4",
        "d3_d4_and_d8_who_brings_a_report_that_is_believed_is_no_stranger",
        |j| reports(j, ReportKind::Tls),
    ),
    row("D5", "d5_to_d7_history_decides_and_what_cannot_be_read_is_tried_again", |j| {
        by(j, Reason::ReputationError) && j.decision.code == (451, 3, 0)
    }),
    row("D6", "d5_to_d7_history_decides_and_what_cannot_be_read_is_tried_again", |j| {
        weighs(j, "reputation", Weight::Decides) && j.decision.verdict == Verdict::Accept
    }),
    row("D7", "d5_to_d7_history_decides_and_what_cannot_be_read_is_tried_again", |j| {
        weighs(j, "reputation", Weight::Decides)
            && !by(j, Reason::ReputationError)
            && j.decision.code == (451, 3, 0)
    }),
    row(
        "D8",
        "d3_d4_and_d8_who_brings_a_report_that_is_believed_is_no_stranger",
        |j| by(j, Reason::Reporting),
    ),
    row("D9", "d9_a_stranger_whom_spf_does_not_name_is_put_off", |j| {
        by(j, Reason::SpfPolicy) && j.decision.code == (451, 3, 0)
    })
    .but("a message without a sender is not put off for the name in EHLO, nor one that its author's domain signed; without a proof a domain's mail is a stranger's"),
    row("D10", "d10_a_client_without_a_name_is_suspicious_and_with_a_bad_past_put_off", |j| {
        by(j, Reason::Iprev) && j.decision.code == (451, 3, 0)
    }),
    row(
        "D10 suspicious",
        "d10_a_client_without_a_name_is_suspicious_and_with_a_bad_past_put_off",
        |j| by(j, Reason::JunkContentStrict) && weighs(j, "iprev", Weight::Against),
    )
    .but("the strict threshold is 0.5 and not 0.25, and no threshold has a jitter"),
    row("D11", "d11_a_token_gets_mail_past_what_comes_behind_it", |j| by(j, Reason::Subjectpass))
        .but("no token unless the account wants it; a key is never missing, so that there is no subjectpass-error"),
    row("D12", "d11_a_token_gets_mail_past_what_comes_behind_it", |j| {
        weighs(j, "content", Weight::Against) && !is_strict(j)
    })
    .but("a filter that has not learned enough (A-04) or cannot be read (J-14) refuses nothing"),
    row("D12 strict", "d10_a_client_without_a_name_is_suspicious_and_with_a_bad_past_put_off", |j| {
        weighs(j, "content", Weight::Against) && is_strict(j)
    }),
    row("D13", "d13_and_d15_without_a_filter_and_a_list_nothing_speaks_against_a_stranger", |j| {
        j.recipient.content.is_none()
            && weighs(j, "content", Weight::Silent)
            && by(j, Reason::NoBadSignals)
    }),
    row("D14", "d14_a_list_counts_for_strangers_only", |j| {
        weighs(j, "dnsbl", Weight::Against)
    }),
    row("D15", "d13_and_d15_without_a_filter_and_a_list_nothing_speaks_against_a_stranger", |j| {
        by(j, Reason::NoBadSignals) && weighs(j, "default", Weight::Decides)
    }),
    row("D16", "d16_a_proved_stranger_near_the_threshold_is_offered_a_token", |j| {
        by(j, Reason::GiveSubjectpass) && j.decision.code == (550, 7, 1)
    })
    .but("near the threshold is above it and not below (A-16)"),
    row("D17", "d14_a_list_counts_for_strangers_only", |j| {
        weighs(j, "offer", Weight::Decides) && j.decision.code == (451, 3, 0)
    }),
    row("R1", "r1_one_wanted_message_out_of_the_last_two_is_enough", |j| {
        level(j, "from this author")
    }),
    row("R2", "r2_unproved_mail_of_an_author_who_proved_before_is_looked_at_strictly", |j| {
        level(j, "from this author, proved")
    })
    .but("after a good past it is suspicious and not junk (A-08)"),
    row("R3", "r3_to_r9_whom_the_user_wrote_to_and_whose_domain_is_known", |j| {
        level(j, "to this author") && by(j, Reason::Msgtofull)
    })
    .but("only proved mail is taken for it"),
    row("R4", "r3_to_r9_whom_the_user_wrote_to_and_whose_domain_is_known", |j| {
        level(j, "from this domain")
    })
    .but("only proved mail is taken for it"),
    row("R5", "what_a_domain_proved_before_speaks_against_unproved_mail_only_when_it_was_junk", |j| {
        level(j, "from this domain, proved")
    })
    .but("after a good past it is a stranger's and not junk (A-08)"),
    row("R6", "r3_to_r9_whom_the_user_wrote_to_and_whose_domain_is_known", |j| {
        level(j, "to this domain") && by(j, Reason::Msgtodomain)
    })
    .but("only proved mail is taken for it"),
    row("R7", "r3_to_r9_whom_the_user_wrote_to_and_whose_domain_is_known", |j| {
        level(j, "from this organization")
    })
    .but("only proved mail is taken for it; the organization's own domain is one of its domains"),
    row("R8", "what_a_domain_proved_before_speaks_against_unproved_mail_only_when_it_was_junk", |j| {
        level(j, "from this organization, proved")
    })
    .but("after a good past it is a stranger's and not junk (A-08)"),
    row("R9", "r3_to_r9_whom_the_user_wrote_to_and_whose_domain_is_known", |j| {
        level(j, "to this organization") && by(j, Reason::Msgtoorgdomain)
    })
    .but("only proved mail is taken for it"),
    row("R10", "those_who_vouch_count_by_what_is_clear_and_the_most_of_them_decides", |j| {
        by(j, Reason::Dkimspf)
    })
    .but("how many there were is the most of any of them (A-07)"),
    row("R11 class 1", "r11_addresses_tell_the_more_the_nearer_they_are", |j| {
        level(j, "from this address") && by(j, Reason::Ip1)
    }),
    row("R11 class 2", "r11_addresses_tell_the_more_the_nearer_they_are", |j| {
        level(j, "from addresses nearby") && by(j, Reason::Ip2)
    }),
    row("R11 class 3", "r11_addresses_tell_the_more_the_nearer_they_are", |j| {
        level(j, "from addresses around") && by(j, Reason::Ip3)
    }),
    row("R12", "a_stranger_with_nothing_wrong_is_taken", |j| {
        let reputation = rule(j, "reputation");
        reputation.is_some_and(|rule| rule.steps.iter().all(|step| step.weight == Weight::Silent))
    }),
    row("1.10 sender", SENDERS, |j| {
        by(j, Reason::SenderUnreachable) && j.decision.code == (550, 7, 27)
    }),
    row("1.10 literal", BEFORE_A_MESSAGE, |j| {
        by(j, Reason::SenderUnreachable) && j.decision.code == (550, 7, 0)
    }),
    row("1.10 unsure", BEFORE_A_MESSAGE, |j| {
        by(j, Reason::SenderUnsure) && j.decision.code == (451, 4, 0)
    }),
    row("1.11 TLS", BEFORE_A_MESSAGE, |j| {
        by(j, Reason::TlsRequired) && j.decision.code == (530, 7, 0)
    })
    .but("at RCPT and not at MAIL: only then it is known whether it may be a report about TLS"),
    row("1.11 unknown", SENDERS, |j| {
        by(j, Reason::UnknownRecipient) && j.decision.code == (550, 1, 1)
    })
    .but("at RCPT, and not after DATA"),
    row("1.11 not ours", SENDERS, |j| {
        by(j, Reason::NotOurs) && j.decision.code == (550, 7, 1)
    })
    .but("550 5.7.1 and not 550 5.1.1"),
    row("1.11 failure", SENDERS, |j| {
        by(j, Reason::AccountUnreachable) && j.decision.code == (451, 3, 0)
    })
    .facts_alone(),
    row("1.11 full", SENDERS, |j| {
        by(j, Reason::MailboxFull) && j.decision.code == (452, 2, 2)
    })
    .facts_alone()
    .but("at RCPT, for that recipient alone"),
    row("1.15 loop", "a_loop_is_refused_and_without_name_servers_nothing_else_is_looked_at", |j| {
        by(j, Reason::Loop) && j.decision.code == (550, 4, 6)
    }),
];

const SENDERS: &str =
    "recipients_that_are_none_and_senders_nobody_could_answer_are_refused_before_any_message";
const BEFORE_A_MESSAGE: &str =
    "a_sender_of_whom_dns_says_nothing_is_put_off_and_tls_comes_before_addresses";

/// Rules of receiving that refuse before anything is decided about a message: a transcript, and a reply in it.
const TRANSCRIPTS: &[(&str, &str, &str)] = &[
    (
        "too-many-recipients",
        include_str!("../../vectors/smtp-server/too-many-recipients.session"),
        "452 4.5.3",
    ),
    (
        "size-declared",
        include_str!("../../vectors/smtp-server/size-declared.session"),
        "552 5.3.4",
    ),
    (
        "size-sent",
        include_str!("../../vectors/smtp-server/size-sent.session"),
        "552 5.3.4",
    ),
    (
        "unknown-parameters",
        include_str!("../../vectors/smtp-server/unknown-parameters.session"),
        "555",
    ),
    (
        "second-mail",
        include_str!("../../vectors/smtp-server/second-mail.session"),
        "503 5.5.1",
    ),
    (
        "line-too-long",
        include_str!("../../vectors/smtp-server/line-too-long.session"),
        "500",
    ),
    (
        "starttls-injection",
        include_str!("../../vectors/smtp-server/starttls-injection.session"),
        "554 5.5.0",
    ),
    (
        "smuggling-lf-dot-lf",
        include_str!("../../vectors/smtp-server/smuggling-lf-dot-lf.session"),
        "550",
    ),
    (
        "drain",
        include_str!("../../vectors/smtp-server/drain.session"),
        "421 4.3.2",
    ),
];

type Case = (&'static str, fn(), fn() -> Vec<Record>);

macro_rules! cases {
    ($($module:ident: [$($case:ident),+ $(,)?];)+) => {
        /// All tests of `core/server/tests` that decide something, and what they leave.
        const CASES: &[Case] = &[$($((stringify!($case), $module::$case, $module::deciding::kept)),+),+];
    };
}

cases! {
    decision: [
        a_stranger_with_nothing_wrong_is_taken,
        recipients_that_are_none_and_senders_nobody_could_answer_are_refused_before_any_message,
        a_sender_of_whom_dns_says_nothing_is_put_off_and_tls_comes_before_addresses,
        d3_d4_and_d8_who_brings_a_report_that_is_believed_is_no_stranger,
        d13_and_d15_without_a_filter_and_a_list_nothing_speaks_against_a_stranger,
        a_loop_is_refused_and_without_name_servers_nothing_else_is_looked_at,
        d1_a_lists_mail_is_taken_whatever_its_authors_domain_wants,
        d2_what_the_authors_domain_wants_is_done_and_its_three_wishes_differ,
        a_message_without_an_author_is_refused_and_one_that_dns_cannot_tell_about_is_not,
        d5_to_d7_history_decides_and_what_cannot_be_read_is_tried_again,
        r1_one_wanted_message_out_of_the_last_two_is_enough,
        r2_unproved_mail_of_an_author_who_proved_before_is_looked_at_strictly,
        r3_to_r9_whom_the_user_wrote_to_and_whose_domain_is_known,
        r10_one_wanted_message_that_somebody_vouched_for_is_enough_and_one_junk_is_not,
        r11_addresses_tell_the_more_the_nearer_they_are,
        d9_a_stranger_whom_spf_does_not_name_is_put_off,
        d10_a_client_without_a_name_is_suspicious_and_with_a_bad_past_put_off,
        d11_a_token_gets_mail_past_what_comes_behind_it,
        d12_content_counts_only_when_the_filter_knows_enough,
        a_record_whose_words_do_not_add_up_to_its_probability_differs,
        content_is_asked_for_only_where_the_decision_comes_to_it,
        what_is_kept_of_a_judgement_is_bounded_and_adds_up,
        d14_a_list_counts_for_strangers_only,
        d16_a_proved_stranger_near_the_threshold_is_offered_a_token,
        a_record_of_another_version_or_a_damaged_one_is_said_to_be_so,
    ];
    rows: [
        who_is_known_by_addresses_or_signatures_only_is_a_stranger_to_spf_and_iprev,
        a_known_author_without_proof_is_not_put_off_for_a_name_and_content_decides,
        to_mark_unproved_mail_as_wanted_makes_the_next_one_no_harder_to_take,
        the_unproved_past_of_a_domain_opens_no_door,
        what_a_domain_proved_before_speaks_against_unproved_mail_only_when_it_was_junk,
        a_notification_is_not_put_off_for_the_name_that_its_client_gave,
        an_account_may_look_strictly_at_what_comes_in_clear_or_names_others,
        whom_the_authors_domain_vouches_for_is_not_put_off_for_spf_and_judged_like_other_strangers,
        a_valid_token_does_not_undo_what_was_decided_before_it,
        a_token_is_offered_only_to_those_of_whom_nothing_is_known,
        lists_are_not_asked_about_forwarders_and_one_that_fails_lists_nobody,
        what_is_forwarded_is_not_refused_for_a_signature_that_forwarding_broke,
        those_who_vouch_count_by_what_is_clear_and_the_most_of_them_decides,
        a_nearer_address_with_one_message_hides_a_farther_one_with_many,
        an_account_may_know_what_was_decided_for_it_and_nothing_of_others,
    ];
}

/// The names of a file's tests.
fn tests_of(file: &str) -> Vec<&str> {
    let functions = file.split("#[test]\npub(crate) fn ").skip(1);
    functions
        .filter_map(|text| text.split('(').next())
        .collect()
}

/// The records of all cases, with their names.
fn from_facts() -> Vec<(&'static str, Vec<Record>)> {
    let run = |&(name, case, kept): &Case| {
        case();
        let mut records = kept();
        for (n, record) in records.iter_mut().enumerate() {
            record.id = format!("{name} {n}");
        }
        (name, records)
    };
    CASES.iter().map(run).collect()
}

#[test]
fn every_row_has_a_case_and_is_decided_in_the_same_way_by_another_process() {
    let files = [
        include_str!("../../core/server/tests/decision.rs"),
        include_str!("../../core/server/tests/rows.rs"),
    ];
    let written: Vec<_> = files.into_iter().flat_map(tests_of).collect();
    let run: Vec<_> = CASES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(
        run, written,
        "a test that no case runs, or in another order"
    );
    let cases = from_facts();
    for row in ROWS {
        let (_, records) = cases.iter().find(|(name, _)| *name == row.case).unwrap();
        let mut judged = records.iter().flat_map(|record| &record.recipients);
        assert!(
            judged.any(row.shows),
            "{} is not shown by {}",
            row.name,
            row.case
        );
    }
    let records: Vec<_> = cases.into_iter().flat_map(|(_, records)| records).collect();
    assert!(records.len() > 150, "{}", records.len());
    assert_same_elsewhere("facts", &records);
}

#[test]
fn every_row_comes_about_in_a_whole_server_and_is_decided_in_the_same_way_by_another_process() {
    let records: Vec<_> = played::SCENARIOS.iter().map(played::play).collect();
    for row in ROWS.iter().filter(|row| !row.facts_only) {
        let mut judged = records.iter().flat_map(|record| &record.recipients);
        assert!(
            judged.any(row.shows),
            "{} is not shown by any scenario",
            row.name
        );
    }
    assert_same_elsewhere("scenarios", &records);
}

#[test]
fn the_list_of_rows_is_whole_and_rows_that_refuse_before_a_decision_have_transcripts() {
    let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
    let all = (1..=17)
        .map(|n| format!("D{n}"))
        .chain((1..=12).map(|n| format!("R{n}")));
    for name in all {
        let of = |row: &&str| **row == name || row.starts_with(&format!("{name} "));
        assert!(names.iter().any(of), "{name}");
    }
    // What was changed is said to users or in decisions.md, and here in short.
    assert!(ROWS.iter().filter(|row| !row.changed.is_empty()).count() > 15);
    for (name, transcript, reply) in TRANSCRIPTS {
        let said = transcript.lines().any(|line| {
            let said = line.strip_prefix("S: ").unwrap_or_default();
            said.starts_with(reply)
        });
        assert!(said, "{name} never says {reply}");
    }
}
