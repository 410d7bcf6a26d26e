//! Addresses that nothing is sent to: what an administrator sees of them, and does about them.

use mox_address::{Enhanced, Path};
use mox_driver::Runtime;
use mox_mailbox::{AccountId, Reads, Suppression};
use mox_server::Found;

use crate::Node;
use crate::node::StartError;

/// A permanent failure with this status says that there is no such address, or that it takes no mail (RFC 3463 3.2, 3.3, RFC 7505):
/// nothing about its sender (X.1.7, X.1.8), the message, or us.
pub(crate) const fn is_about_the_address(status: Enhanced) -> bool {
    let Enhanced(class, subject, detail) = status;
    class == 5 && matches!((subject, detail), (1, 0..=3 | 6 | 10) | (2, 1))
}

fn failed(error: impl core::fmt::Display) -> StartError {
    StartError(error.to_string())
}

impl<R: Runtime> Node<R> {
    /// The addresses that an account sends nothing to, or all accounts; with the account's name.
    ///
    /// # Errors
    /// When there is no such account, or the store cannot be read.
    pub fn suppressions(
        &self,
        account: Option<&str>,
    ) -> Result<Vec<(String, Suppression)>, StartError> {
        let published = self.inner.store.published();
        let view = &*published.view;
        let now = self.inner.runtime.now().utc;
        let accounts = match account {
            Some(account) => vec![self.of_account(account)?],
            None => self.inner.account_ids(),
        };
        let mut found = Vec::new();
        for id in accounts {
            let account = mox_mailbox::account_by_id(view, id).map_err(failed)?;
            let Some(account) = account else { continue };
            let rows = mox_mailbox::suppressions(view, id, now).map_err(failed)?;
            found.extend(rows.into_iter().map(|row| (account.name.clone(), row)));
        }
        Ok(found)
    }

    /// Has an account send nothing to an address any more.
    ///
    /// # Errors
    /// When there is no such account, this is no address or one of ours, the account has too many already, or the store takes no
    /// more operations.
    pub async fn suppress(
        &self,
        account: &str,
        address: &str,
        reason: &str,
    ) -> Result<(), StartError> {
        let (id, now) = (self.of_account(account)?, self.inner.runtime.now().utc);
        let path = Path::parse(address, true).map_err(|_| {
            StartError(format!(
                "{address:?} is no address; write local-part@domain"
            ))
        })?;
        if !matches!(self.inner.directory().find(&path), Found::NotOurs) {
            return Err(StartError(format!(
                "{address} is at a domain of this server: mail to it does not leave, and is not stopped by this"
            )));
        }
        let (address, reason) = (address.to_owned(), reason.to_owned());
        let op = move |reads: &dyn Reads| mox_mailbox::suppress(reads, id, &address, &reason, now);
        self.inner.store.run(op).await.map_err(failed)
    }

    /// Has an account send to an address again. False when it did all the time.
    ///
    /// # Errors
    /// When there is no such account, or the store takes no more operations.
    pub async fn unsuppress(&self, account: &str, address: &str) -> Result<bool, StartError> {
        let (id, address) = (self.of_account(account)?, address.to_owned());
        let op = move |reads: &dyn Reads| mox_mailbox::unsuppress(reads, id, &address);
        self.inner.store.run(op).await.map_err(failed)
    }

    fn of_account(&self, name: &str) -> Result<AccountId, StartError> {
        let id = self.inner.account_id(name);
        id.ok_or_else(|| StartError(format!("there is no account {name:?}")))
    }
}
