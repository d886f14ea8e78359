//! Who calls: the first proof that holds.
//!
//! ```text
//! typed user of this process ─┐
//! client certificate ─────────┼─► the user
//! bearer token ───────────────┘   each TokenAuthenticator in turn; none takes it: 401
//! nothing ──────────────────────► nobody, who may ask for health only
//! ```

use crate::{
    User,
    token::{Identity, ServiceAccountTokens, TokenError},
};
use async_trait::async_trait;
use std::sync::Arc;

/// Tells whose a bearer token is.
#[async_trait]
pub trait TokenAuthenticator: Send + Sync + 'static {
    /// Whom the token proves to one of `audiences` (none: the API server) at `now` (Unix seconds).
    ///
    /// # Errors
    /// When it proves nobody, or that can't be told.
    async fn authenticate(&self, token: &str, audiences: &[String], now: i64) -> Result<Identity, TokenError>;
}

#[async_trait]
impl TokenAuthenticator for ServiceAccountTokens {
    async fn authenticate(&self, token: &str, audiences: &[String], now: i64) -> Result<Identity, TokenError> {
        Self::authenticate(self, token, audiences, now).await
    }
}

/// The authenticators of tokens, in order.
#[derive(Clone, Default)]
pub struct Authenticators(Vec<Arc<dyn TokenAuthenticator>>);

impl Authenticators {
    /// These, in order.
    #[must_use]
    pub fn new(all: Vec<Arc<dyn TokenAuthenticator>>) -> Self {
        Self(all)
    }

    /// Whom a token proves: the first authenticator that takes it decides.
    ///
    /// # Errors
    /// When none takes it: what could not be told, else why the last refused it.
    pub async fn token(&self, token: &str, audiences: &[String], now: i64) -> Result<Identity, TokenError> {
        let mut refusal = TokenError::Refused("this server knows no bearer tokens; use a client certificate".into());
        let mut unknown = None;
        for authenticator in &self.0 {
            match authenticator.authenticate(token, audiences, now).await {
                Ok(identity) => return Ok(identity),
                Err(error @ TokenError::Unknown(_)) => unknown = Some(error),
                Err(error @ TokenError::Refused(_)) => refusal = error,
            }
        }
        Err(unknown.unwrap_or(refusal))
    }

    /// Who calls with this verified certificate's user or this `Authorization` header; none when there is neither.
    ///
    /// # Errors
    /// When there is a token that proves nobody.
    pub async fn request(
        &self,
        certified: Option<User>,
        authorization: Option<&str>,
        now: i64,
    ) -> Result<Option<Identity>, TokenError> {
        if let Some(user) = certified {
            return Ok(Some(Identity { user, audiences: Vec::new(), stale: None }));
        }
        match authorization {
            None => Ok(None),
            Some(header) => {
                let token = bearer(header).ok_or_else(|| TokenError::Refused("no bearer token".into()))?;
                self.token(token, &[], now).await.map(Some)
            }
        }
    }
}

/// The token of an `Authorization: Bearer` header.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' ')).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes one token.
    struct Only(&'static str);

    #[async_trait]
    impl TokenAuthenticator for Only {
        async fn authenticate(&self, token: &str, _: &[String], _: i64) -> Result<Identity, TokenError> {
            if token == self.0 {
                let user = User::new(self.0, ["tokens"]);
                return Ok(Identity { user, audiences: Vec::new(), stale: None });
            }
            Err(TokenError::Refused(format!("not {}", self.0)))
        }
    }

    #[tokio::test]
    async fn the_first_that_takes_a_token_decides_and_a_certificate_comes_first() {
        let all = Authenticators::new(vec![Arc::new(Only("a")), Arc::new(Only("b"))]);
        let name = |certified: Option<&str>, header: Option<&'static str>| {
            let certified = certified.map(|name| User::new(name, ["x"]));
            let all = all.clone();
            async move { all.request(certified, header, 0).await.map(|i| i.map(|i| i.user.name().to_owned())) }
        };
        assert_eq!(name(None, None).await, Ok(None));
        assert_eq!(name(None, Some("Bearer b")).await, Ok(Some("b".into())));
        assert_eq!(name(None, Some("bearer  a")).await, Ok(Some("a".into())));
        assert_eq!(name(Some("c"), Some("Bearer a")).await, Ok(Some("c".into())));
        for bad in ["Bearer c", "Bearer", "Bearer ", "Basic a", "a", "", "Bearer a b"] {
            assert!(name(None, Some(bad)).await.is_err(), "{bad}");
        }
        assert!(Authenticators::default().request(None, Some("Bearer a"), 0).await.is_err());
    }
}
