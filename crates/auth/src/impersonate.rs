//! Acting as somebody else, as the `Impersonate-*` headers ask. Pure.
//!
//! Each part of the wanted identity is a right of its own: the verb `impersonate` on `users`, `groups`, `serviceaccounts`
//! of the core group, and on `uids` and `userextras/KEY` of `authentication.k8s.io`.

use crate::{
    Attributes, User,
    user::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, split_account},
};
use http::HeaderMap;
use std::collections::BTreeMap;

const PREFIX: &str = "impersonate-";
const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Whom a request wants to act as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impersonation {
    user: String,
    groups: Vec<String>,
    uid: String,
    extra: BTreeMap<String, Vec<String>>,
}

/// Takes the headers out of a request; none when there are none.
///
/// # Errors
/// When they name groups, a uid or more, but no user, or are malformed.
pub fn take(headers: &mut HeaderMap) -> Result<Option<Impersonation>, String> {
    let names: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with(PREFIX)).cloned().collect();
    if names.is_empty() {
        return Ok(None);
    }
    let mut wanted =
        Impersonation { user: String::new(), groups: Vec::new(), uid: String::new(), extra: BTreeMap::new() };
    for name in names {
        let values: Vec<String> = headers
            .get_all(&name)
            .iter()
            .map(|value| value.to_str().map(str::to_owned).map_err(|_| format!("the header {name} is malformed")))
            .collect::<Result<_, _>>()?;
        headers.remove(&name);
        match name.as_str() {
            USER => wanted.user = single(USER, values)?,
            UID => wanted.uid = single(UID, values)?,
            GROUP => wanted.groups = values,
            other => match other.strip_prefix(EXTRA) {
                Some(key) if !key.is_empty() => {
                    wanted.extra.insert(unescape(key), values);
                }
                _ => return Err(format!("the header {other} is unknown")),
            },
        }
    }
    if wanted.user.is_empty() {
        return Err(format!("requested {wanted:?} without impersonating a user"));
    }
    Ok(Some(wanted))
}

fn single(name: &str, values: Vec<String>) -> Result<String, String> {
    let [value] = <[String; 1]>::try_from(values).map_err(|_| format!("the header {name} stands more than once"))?;
    Ok(value)
}

/// Keys of extras are escaped like paths, as header names have few characters.
fn unescape(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        rest = tail;
        match (*first, tail) {
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high * 16 + low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            (byte, _) => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| key.to_owned())
}

impl Impersonation {
    /// What `caller` has to be allowed, every one of it.
    #[must_use]
    pub fn questions(&self, caller: &User) -> Vec<Attributes> {
        let ask = |group: &str, resource: &str, sub: &str, namespace: &str, name: &str| {
            let mut asked = Attributes::resource(caller.clone(), "impersonate", group, resource, namespace, name);
            sub.clone_into(&mut asked.subresource);
            asked
        };
        let mut all = vec![match split_account(&self.user) {
            Some((namespace, name)) => ask("", "serviceaccounts", "", namespace, name),
            None => ask("", "users", "", "", &self.user),
        }];
        all.extend(self.groups.iter().map(|group| ask("", "groups", "", "", group)));
        for (key, values) in &self.extra {
            all.extend(values.iter().map(|value| ask(AUTHENTICATION, "userextras", key, "", value)));
        }
        if !self.uid.is_empty() {
            all.push(ask(AUTHENTICATION, "uids", "", "", &self.uid));
        }
        all
    }

    /// The user to act as, once everything is allowed.
    #[must_use]
    pub fn into_user(self) -> User {
        let mut groups = self.groups;
        if groups.is_empty()
            && let Some((namespace, name)) = split_account(&self.user)
        {
            groups = User::service_account(namespace, name).groups().to_vec();
        }
        let everyone = if self.user == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
        if !groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED) {
            groups.push(everyone.to_owned());
        }
        User::described(self.user, groups).with_uid(self.uid).with_extra(self.extra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn each_part_of_the_wanted_identity_is_asked_for() {
        let mut headers = headers(&[
            ("accept", "*/*"),
            ("impersonate-user", "eve"),
            ("impersonate-group", "devs"),
            ("impersonate-group", "ops"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-acme.com%2fproject", "x"),
        ]);
        let wanted = take(&mut headers).unwrap().unwrap();
        assert_eq!(headers.len(), 1);
        let asked: Vec<_> = wanted
            .questions(&User::new("alice", ["staff"]))
            .iter()
            .map(|asked| format!("{} {}/{} {}", asked.verb, asked.group, asked.full_resource(), asked.name))
            .collect();
        let expected = [
            "impersonate /users eve",
            "impersonate /groups devs",
            "impersonate /groups ops",
            "impersonate authentication.k8s.io/userextras/acme.com/project x",
            "impersonate authentication.k8s.io/uids 7",
        ];
        assert_eq!(asked, expected);
        let user = wanted.into_user();
        assert_eq!((user.name(), user.uid()), ("eve", "7"));
        assert_eq!(user.groups(), ["devs", "ops", "system:authenticated"]);
        assert_eq!(user.extra()["acme.com/project"], ["x"]);
    }

    #[test]
    fn a_service_account_brings_its_groups_and_nobody_brings_nobodys() {
        let act_as = |user: &str| take(&mut headers(&[("impersonate-user", user)])).unwrap().unwrap();
        let robot = act_as("system:serviceaccount:demo:robot");
        let asked = &robot.questions(&User::anonymous())[0];
        assert_eq!(
            (asked.resource.as_str(), asked.namespace.as_str(), asked.name.as_str()),
            ("serviceaccounts", "demo", "robot")
        );
        assert!(robot.into_user().is_in("system:serviceaccounts:demo"));
        assert_eq!(act_as("system:anonymous").into_user().groups(), ["system:unauthenticated"]);
    }

    #[test]
    fn parts_without_a_user_and_unknown_parts_are_refused() {
        assert_eq!(take(&mut headers(&[("accept", "*/*")])), Ok(None));
        for bad in [
            &[("impersonate-group", "system:masters")][..],
            &[("impersonate-uid", "1")],
            &[("impersonate-user", "")],
            &[("impersonate-user", "a"), ("impersonate-user", "b")],
            &[("impersonate-user", "a"), ("impersonate-other", "b")],
        ] {
            take(&mut headers(bad)).unwrap_err();
        }
    }
}
