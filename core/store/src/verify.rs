//! Whether rows, body files and high-water mark agree (S1 to S13): what `moxctl verify` shows.

use mox_mailbox::{BodyRef, FINDINGS_MAX, Finding};
use std::io;
use std::sync::Arc;

use crate::Store;
use crate::bodies::check_file;
use crate::body::{BODIES, SHARDS, body_of, shard_dir};
use crate::leftovers::{Leftovers, Standing};
use crate::mark::Mark;

/// What a check of a whole store told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// What should not be; none is the only good result.
    pub findings: Vec<Finding>,
    /// What may be there after a stop that was not in order, and goes with the next start.
    pub leftovers: Leftovers,
}

impl Store {
    /// Checks the published state and all body files. With `full` every body is read and hashed. May run while the
    /// store is in use. Blocks, long.
    ///
    /// A file that nothing refers to counts among the leftovers when it is of a start up to the last that may have left
    /// some, and looks like what an unfinished delivery leaves; otherwise it is a finding. A store that was swept since
    /// it last stopped out of order, and then closed in order, has no leftovers: there every such file is a finding.
    pub fn verify(&self, full: bool) -> Verified {
        let view = Arc::clone(&self.published().view);
        let mut findings =
            mox_mailbox::verify(&*view, full, &mut |body| self.check_body(body, full));
        drop(view);
        let leftovers = self.check_files(&mut findings);
        self.check_mark(&mut findings);
        findings.truncate(FINDINGS_MAX);
        Verified {
            findings,
            leftovers,
        }
    }

    fn check_body(&self, body: &BodyRef, full: bool) -> Result<(), String> {
        let fault = match check_file(&*self.shared.disk, body.id, full) {
            Ok(header) if header.body == *body => return Ok(()),
            Ok(_) => "its file is that of another body".to_owned(),
            Err(fault) => fault.to_string(),
        };
        // It may have been removed since the view was taken.
        match self.is_referenced(body.id) {
            Ok(false) => Ok(()),
            _ => Err(fault),
        }
    }

    /// Every body file has a reference, is in flight, or is a leftover.
    fn check_files(&self, findings: &mut Vec<Finding>) -> Leftovers {
        let mut leftovers = Leftovers::default();
        for shard in 0..SHARDS {
            let shard = shard.to_be_bytes()[1];
            let names = self.shared.disk.list(&shard_dir(shard));
            let names = names.unwrap_or_else(|e| {
                findings.push(Finding(format!("{BODIES}/{shard:02x}: {e}")));
                Vec::new()
            });
            for name in names {
                let found = match body_of(shard, &name) {
                    None => Err("its name is not that of a body".to_owned()),
                    Some(id) => match self.standing(id) {
                        Ok(Standing::Kept) => Ok(()),
                        Ok(Standing::Orphan { octets })
                            if id.boot <= self.shared.tidiness.left_by() =>
                        {
                            leftovers.files += 1;
                            leftovers.octets += octets;
                            Ok(())
                        }
                        Ok(Standing::Orphan { .. }) => Err("nothing refers to it".to_owned()),
                        Ok(Standing::Stray(why)) => Err(format!("nothing refers to it; {why}")),
                        Err(e) => Err(e.to_string()),
                    },
                };
                if let Err(what) = found
                    && findings.len() < FINDINGS_MAX
                {
                    findings.push(Finding(format!("{BODIES}/{shard:02x}/{name}: {what}")));
                }
            }
        }
        leftovers
    }

    fn check_mark(&self, findings: &mut Vec<Finding>) {
        let mark = Mark::read(&*self.shared.disk);
        let number = self.published().number;
        match mark {
            Ok(Some(mark)) if mark.number <= number => {}
            Ok(Some(mark)) => findings.push(Finding(format!(
                "commit {} was durable, the rows end with commit {number}",
                mark.number
            ))),
            Ok(None) => findings.push(Finding("no high-water mark is readable".to_owned())),
            Err(e) => findings.push(Finding(format!("the high-water mark: {e}"))),
        }
    }

    fn is_referenced(&self, id: mox_mailbox::BodyId) -> io::Result<bool> {
        let view = Arc::clone(&self.published().view);
        (self.shared.options.referenced)(&*view, id).map_err(io::Error::other)
    }
}
