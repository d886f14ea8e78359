//! `authorizer` in expressions: what the requester, or a service account, may do.
//!
//! Expressions cannot wait, and the authorizer may have to. What it knows at once it answers at once; for the rest the
//! evaluation is repeated with the answers ([`Rights::settle`]).

use futures::FutureExt;
use orrery_apiserver::{AdmissionRequest, Attributes, AuthorizeError, Authorizer, User};
use orrery_schema::cel::{self, Check, Decision};
use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How often an evaluation is repeated; each time at least one more answer is known.
const REPETITIONS: usize = 16;

/// What may be done, as expressions about one request ask for it.
pub(crate) struct Rights<'a> {
    authorizer: &'a Authorizer,
    user: &'a User,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    known: Vec<(Check, Decision)>,
    wanted: Vec<Check>,
    repeated: usize,
}

impl<'a> Rights<'a> {
    /// The rights around a request; none where nobody can be asked.
    pub(crate) fn of(request: &AdmissionRequest<'a>) -> Option<Self> {
        Some(Self { authorizer: request.authorizer?, user: request.user, asked: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        // Nothing panics while it is held.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attributes(&self, check: &Check) -> Attributes {
        let user = match &check.service_account {
            Some((namespace, name)) => User::service_account(namespace, name),
            None => self.user.clone(),
        };
        if let Some(path) = &check.path {
            return Attributes::path(user, &check.verb, path);
        }
        let Check { verb, group, resource, namespace, name, subresource, field_selector, .. } = check;
        let mut asked = Attributes::resource(user, verb, group, resource, namespace, name);
        asked.subresource.clone_from(subresource);
        asked.fields = Attributes::terms(field_selector);
        asked
    }

    /// Finds out what an evaluation wanted to know and could not be told. Whether there was anything: then it has to be
    /// repeated.
    pub(crate) async fn settle(&self) -> bool {
        let wanted = {
            let mut asked = self.lock();
            asked.repeated += 1;
            if asked.repeated > REPETITIONS { Vec::new() } else { std::mem::take(&mut asked.wanted) }
        };
        let has_wanted = !wanted.is_empty();
        for check in wanted {
            let attributes = self.attributes(&check);
            let decision = decision(self.authorizer.authorize(&attributes).await);
            self.lock().known.push((check, decision));
        }
        has_wanted
    }
}

/// [`Rights::settle`] where there may be none.
pub(crate) async fn settle(rights: Option<&Rights<'_>>) -> bool {
    match rights {
        Some(rights) => rights.settle().await,
        None => false,
    }
}

/// The rights as expressions take them.
pub(crate) fn shown<'a>(rights: Option<&'a Rights<'_>>) -> Option<&'a dyn cel::Authorizer> {
    rights.map(|rights| rights as &dyn cel::Authorizer)
}

impl fmt::Debug for Rights<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rights").field("user", &self.user).finish_non_exhaustive()
    }
}

impl cel::Authorizer for Rights<'_> {
    fn decide(&self, check: &Check) -> Decision {
        if let Some((_, known)) = self.lock().known.iter().find(|(known, _)| known == check) {
            return known.clone();
        }
        let attributes = self.attributes(check);
        if let Some(decided) = self.authorizer.authorize(&attributes).now_or_never() {
            return decision(decided);
        }
        self.lock().wanted.push(check.clone());
        Decision { error: "the authorizer has not answered yet".to_owned(), ..Decision::default() }
    }
}

fn decision(decided: Result<String, AuthorizeError>) -> Decision {
    match decided {
        Ok(reason) => Decision { allowed: true, reason, error: String::new() },
        Err(AuthorizeError::Denied(reason)) => Decision { allowed: false, reason, error: String::new() },
        Err(AuthorizeError::Unknown(error)) => Decision { allowed: false, reason: String::new(), error },
    }
}
