//! The mailbox engine as pure operations over rows.
//!
//! An operation is a function of [`Reads`] and its arguments that answers a [`Batch`] of writes and a result, or says
//! why it stops. It keeps no state, does no input or output and knows no clock. One committer runs operations one after
//! the other, so none of them locks anything; reading functions take any consistent view.

mod account;
mod annotation;
mod body;
mod bundle;
mod chunk;
mod copy;
mod dated;
mod decision;
mod deliver;
mod edit;
mod expunge;
mod flags;
mod ids;
mod junk;
mod junk_relearn;
mod junk_rules;
mod key;
mod known;
mod mailbox_edit;
mod mailboxes;
mod mark;
mod mem;
mod name;
mod page;
mod purge;
mod queue;
mod queue_recipient;
mod queue_rows;
mod reads;
mod recent;
mod reject;
mod reports_out;
mod reputation;
mod restored;
mod retired_index;
mod rows;
mod scan;
mod sent;
mod sent_hours;
mod stop;
mod sts_policy;
mod suppression;
mod taken;
mod tls_host;
mod transcript;
mod unended;
mod varint;
mod verify;
mod verify_mailbox;
mod view;

pub use account::{
    Account, CREDENTIALS_MAX, DEFAULT_MAILBOXES, Room, SCHEMA, SCHEMA_OLDEST, account,
    account_by_id, account_id, account_was_made, accounts, create_account, has_room, initialise,
    quota, remove_account, room_for, schema, set_credentials, set_quota, store_secret, usage,
};
pub use annotation::{
    ANNOTATION_MAX, ANNOTATION_NAME_MAX, ANNOTATIONS_MAX, ANNOTATIONS_OCTETS_MAX, annotate,
    annotations,
};
pub use body::{BodyHeader, BodyHeaderError, BodyRef, NewBody};
pub use bundle::{ENTRIES_MAX, in_a_labels, queue_deliver, queue_unbundle};
pub use copy::{Copied, Copy, CopyCursor, Unfinished, copy, undo_copy, unfinished_copies};
pub use dated::{
    DATED_MAX, Dated, DatedSource, NewDated, SAME_SOURCE_MAX, SENT_OCTETS_MAX, dated, keep_dated,
    purge_dated,
};
pub use decision::{
    DECISION_KEYS_MAX, DECISION_MAX, DecisionBudget, NewDecision, decisions, keep_decisions,
    purge_decisions,
};
pub use deliver::{
    Beside, Body, Delivered, Delivery, HEADER_MAX, ORIGIN_MAX, PREFIX_MAX, Placed, STRUCTURE_MAX,
    Target, WROTE_MAX, append, deliver, deliver_beside,
};
pub use edit::MAILBOXES_MAX;
pub use expunge::{Doomed, Expunged, expunge};
pub use flags::{Flags, KEYWORD_MAX, KEYWORDS_MAX};
pub use ids::{AccountId, BodyId, MailboxId};
pub use junk::{
    JUNK, JUNK_WORDS_MAX, JunkDue, JunkSettled, NOT_JUNK, junk_accounts, junk_class, junk_due,
    junk_is_outdated, junk_learned, junk_pass_over, junk_settle, junk_word,
};
pub use junk_relearn::{junk_relearn, junk_relearn_step, junk_relearning};
pub use key::{Referrer, Table, body_key};
pub use mailbox_edit::{CHANGES_KEPT, GONE_SECS};
pub use mailboxes::{
    Created, MailboxEntry, RENAME_MAX, Renamed, Status, create_mailbox, create_subscribed,
    delete_mailbox, mailbox_for, mailbox_id, mailboxes, rename_mailbox, status, subscribe,
};
pub use mark::{MARK_MESSAGES_MAX, Mark, MarkHow, Marked, mark};
pub use mem::MemRows;
pub use name::{INBOX, NAME_LEVELS_MAX, NAME_MAX, SpecialUse, mailbox_name};
pub use page::Row;
pub use purge::{next_purge, purge};
pub use queue::{
    ADDRESS_MAX, ATTEMPTS_KEPT, Attempt, DSN_MAX, Enqueue, Fate, Group, ID_MAX, IDS_MAX,
    LAST_TEXT_MAX, Outcome, Owner, QueueEntry, QueueMessage, RECIPIENTS_MAX, RECIPIENTS_OCTETS_MAX,
    Retired, RetiredAt, Settled, TEXT_MAX, purge_retired, queue, queue_attempt, queue_delay_told,
    queue_drop, queue_entry, queue_message, queue_outcome, queue_outcome_beside, queue_put_off,
    queue_reschedule, queue_route, retired, retired_page,
};
pub use queue_recipient::{FILED_MAX, Filed, QueueRecipient, Reached, Said};
pub use reads::{
    BATCH_BYTES_MAX, BATCH_ROWS_MAX, Batch, INLINE_BODY_MAX, ReadError, Reads, Space, Touched,
    VALUE_MAX,
};
pub use recent::{messages_from, recent_from, told};
pub use reject::{
    REJECT_OCTETS_MAX, REJECT_SECS, REJECTS_MAX, REJECTS_OCTETS_MAX, Rejected, has_reject,
    has_room_for_reject, keep_rejected, purge_rejects,
};
pub use reports_out::{
    OBSERVATION_MAX, OBSERVATIONS_MAX, OBSERVED_DAY_OCTETS_MAX, OBSERVED_DOMAINS_MAX,
    OBSERVED_OCTETS_MAX, Observation, Observed, REPORT_ID_BEGINS, REPORTS_DONE_MAX,
    REPORTS_FAILING_AFTER, REPORTS_FAILING_FOR, REPORTS_FAILING_FORGOTTEN, REPORTS_FAILING_MAX,
    ReportDone, Reporting, day_begins, day_of, observe, observed, report_address_fails,
    reports_done, reports_waiting, settle_report,
};
pub use reputation::{KINSHIP_MAX, Kinship, PAST_KEPT, PastMessage, past};
pub use restored::renew_validity;
pub use retired_index::{retired_beside, retired_of_message};
pub use rows::Usage;
pub use sent::{Notified, Telling, queue_notified};
pub use sent_hours::{SentHour, sent_hours};
pub use stop::{Limit, Progress, Stop};
pub use sts_policy::{
    KeptPolicy, STS_POLICIES_MAX, STS_POLICIES_OCTETS_MAX, forget_policy, keep_policy,
    kept_policies, kept_policy, policy_used, renew_policy,
};
pub use suppression::{
    FAILURES_APART, SUPPRESSED_AFTER, SUPPRESSED_FOR, SUPPRESSIONS_MAX, Suppression, failures,
    purge_suppressions, suppress, suppression, suppressions, unsuppress,
};
pub use taken::{forget_taken, taken};
pub use tls_host::{TLS_HOSTS_MAX, TlsHost, note_tls, purge_tls_hosts, tls_host};
pub use transcript::{STEP_MAX, STEPS_MAX, STEPS_OCTETS_MAX, Steps, Transcript, queue_transcript};
pub use unended::count_unended;
pub use verify::{BodyCheck, FINDINGS_MAX, Finding, verify};
pub use view::{
    Changes, Header, Meta, Rows, Selected, changes, deleted_octets, each_body_named, header,
    headers, is_referenced, mailbox_keywords, meta, metas, rows, select, unseen, vanished,
};
