//! Who a request is from, and whom they act as.

use super::{audit::Trail, dispatch::Caller};
use crate::{auth::User, server::ApiServer};
use ::http::{HeaderMap, header};
use orrery_auth::{impersonate, token::TokenError};
use orrery_machinery::status::ApiError;

/// Who calls; none without a certificate, token or type. Takes the proof out of the headers, so that nobody sees it later.
///
/// # Errors
/// 401 when there is a token that proves nobody; 500 when that can't be told.
pub(super) async fn authenticate(
    server: &ApiServer,
    caller: &Caller,
    headers: &mut HeaderMap,
    trail: &Trail,
) -> Result<Option<User>, ApiError> {
    let header = headers.remove(header::AUTHORIZATION);
    if caller.typed {
        return Ok(caller.user.clone());
    }
    let header = header.as_ref().map(|value| value.to_str().unwrap_or(""));
    let now = crate::object::now_seconds();
    let identity =
        server.authenticators.request(caller.user.clone(), header, now).await.map_err(|error| match error {
            TokenError::Refused(why) => {
                tracing::debug!(why, "a bearer token was refused");
                ApiError::unauthorized()
            }
            TokenError::Unknown(why) => ApiError::internal(why),
        })?;
    Ok(identity.map(|identity| {
        if let Some(stale) = identity.stale {
            trail.annotate("authentication.k8s.io/stale-token", stale);
        }
        identity.user
    }))
}

/// Whom the user acts as: themselves, or whom the `Impersonate-*` headers name, when they may.
///
/// # Errors
/// 403 when they may not; 400 when the headers make no sense, or come from within the process.
pub(super) async fn act_as(
    server: &ApiServer,
    caller: &Caller,
    user: User,
    headers: &mut HeaderMap,
    trail: &Trail,
) -> Result<User, ApiError> {
    let Some(wanted) = impersonate::take(headers).map_err(ApiError::bad_request)? else { return Ok(user) };
    if caller.typed {
        let why = "a client within the process is who its type says; it can't impersonate others";
        return Err(ApiError::bad_request(why));
    }
    for question in wanted.questions(&user) {
        server.authorizer.require(&question).await?;
    }
    let user = wanted.into_user();
    trail.impersonated(user.clone());
    Ok(user)
}
