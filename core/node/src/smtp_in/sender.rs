//! Whether the sender of mail from elsewhere could be answered, before anything is taken of it.

use mox_address::{Path, Reply};
use mox_dns::{MasterFile, mail_hosts};
use mox_driver::Runtime;
use mox_machine::Seed;
use mox_server::Found;
use mox_server::decision::{Recipient, Stage, Standing};
use std::sync::Arc;

use super::record::{self, Beginning};
use crate::node::Inner;

/// Asks where mail for the sender's domain goes. Domains of ours can be answered, whatever DNS says of them.
pub(super) async fn check<R: Runtime>(
    node: &Arc<Inner<R>>,
    beginning: Beginning,
    from: &Path,
) -> Result<(), Reply> {
    if node.directory().find(from) != Found::NotOurs {
        return Ok(());
    }
    let mut facts = beginning.facts(Stage::Sender, Some(from));
    let mut dns = String::new();
    match facts.sender_name() {
        None => facts.take_sender_without_name(),
        Some(name) => {
            // In which order hosts would be tried is all that depends on it.
            let seed = Seed::from_number(0);
            let decide = |answers: &mox_dns::Facts| mail_hosts(answers, &name, &seed);
            let asked = node
                .resolver
                .inquire(&node.runtime, mox_dns::Facts::default(), decide);
            let (plan, answers) = asked.await;
            facts.take_sender_hosts(&plan);
            dns = MasterFile::of_facts(answers.demanded()).to_string();
        }
    }
    // At MAIL there is no recipient yet.
    let nobody = Recipient::new(String::new(), Standing::Known);
    let Some((record, reply)) = beginning.decide(facts, nobody, dns) else {
        return Ok(());
    };
    record::keep(node, &record).await;
    Err(reply)
}
