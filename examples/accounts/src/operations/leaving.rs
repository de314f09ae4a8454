//! Leaving.

use super::denied::{Denied, OperationError};
use super::logging_in::Caller;
use crate::accounts::Accounts;
use crate::domain::User;
use crate::secrets::Password;

impl Accounts {
    /// Forgets the caller, who shows that it is no stranger with a session that was found.
    ///
    /// # Errors
    /// [`Denied::WrongPassword`], [`Denied::PasswordChanged`], and what hashing and the engine report.
    pub async fn forget(
        &self,
        caller: &Caller,
        password: Password,
        address: &str,
    ) -> Result<(), OperationError> {
        let number = self.prove(caller, password, address).await?;
        let forget = |it: &User| it.forget(&caller.user, number);
        let decided = self.users.decide(caller.user.as_str(), forget).await?;
        decided.map_err(Denied::from)?;
        Ok(())
    }
}
