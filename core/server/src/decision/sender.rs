//! Whether a sender could be answered.

use mox_dns::{MxPlan, Name};

use super::facts::{Facts, Stage};

impl Facts {
    /// Takes in where mail for the sender's domain goes.
    pub fn take_sender_hosts(&mut self, plan: &MxPlan) {
        let never = match plan {
            MxPlan::Hosts { .. } | MxPlan::Temporary(_) => None,
            MxPlan::Null => Some("the sender's domain says that it takes no mail"),
            MxPlan::NoDomain => Some("the sender's domain does not exist"),
            MxPlan::NoHosts => Some("the sender's domain has no host that takes mail"),
        };
        self.sender_unreachable = never.map(str::to_owned);
        self.stage = match plan {
            MxPlan::Temporary(_) => Stage::SenderUnsure,
            _ => Stage::Sender,
        };
    }

    /// Takes in that the sender's domain is an address literal, or no name that DNS could know.
    pub fn take_sender_without_name(&mut self) {
        let why = match self.sender.ends_with(']') {
            true => "the sender's domain is an address literal",
            false => "the sender's domain cannot be a name in DNS",
        };
        self.sender_unreachable = Some(why.into());
    }

    /// The domain of the sender, as DNS knows it.
    pub fn sender_name(&self) -> Option<Name> {
        let (_, domain) = self.sender.rsplit_once('@')?;
        let domain = mox_address::Domain::parse(domain, true).ok()?;
        Name::from_domain(&domain).ok()
    }
}
