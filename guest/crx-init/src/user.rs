//! Who a process is: `user[:group]` resolved with the texts of a container's own `/etc/passwd` and `/etc/group`.

use crate::refusal::Refusal;
use orrery_wire::guest::reason;

/// A resolved user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups, sorted, without the primary one twice.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// Lines of `/etc/passwd`; those that make no sense are passed over, as the C library does.
fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let (_comment, home) = (fields.next()?, fields.next()?);
        Some(Account { name, uid, gid, home })
    })
}

/// Lines of `/etc/group`: name, number, members.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

/// Resolves `wanted`. A number that no account has is taken as it is, with group 0 and the home directory `/`; a
/// user without an explicit group also gets the groups that list it as a member; `extra` groups come on top.
pub(crate) fn resolve(wanted: &str, extra: &[u32], passwd: &str, group: &str) -> Result<User, Refusal> {
    let (user, explicit_group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (wanted, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number: Option<u32> = user.parse().ok();
    let account = accounts(passwd)
        .find(|account| account.name == user)
        .or_else(|| accounts(passwd).find(|account| Some(account.uid) == number));
    let (uid, own_gid, home, name) = match (account, number) {
        (Some(account), _) => (account.uid, account.gid, account.home, account.name),
        (None, Some(uid)) => (uid, 0, "/", ""),
        (None, None) => {
            return Err(Refusal::new(reason::UNKNOWN_USER, format!("the image's /etc/passwd has no user {user}")));
        }
    };
    let gid = match explicit_group {
        Some(wanted) => find_group(wanted, group)?,
        None => own_gid,
    };
    let mut supplementary = extra.to_vec();
    if explicit_group.is_none() && !name.is_empty() {
        let listed = groups(group).filter(|(_, _, members)| members.split(',').any(|member| member == name));
        supplementary.extend(listed.map(|(_, gid, _)| gid));
    }
    supplementary.push(gid);
    supplementary.sort_unstable();
    supplementary.dedup();
    let home = if home.is_empty() { "/" } else { home };
    Ok(User { uid, gid, groups: supplementary, home: home.to_owned() })
}

fn find_group(wanted: &str, group: &str) -> Result<u32, Refusal> {
    groups(group)
        .find(|(name, _, _)| *name == wanted)
        .map(|(_, gid, _)| gid)
        .or_else(|| wanted.parse().ok())
        .ok_or_else(|| Refusal::new(reason::UNKNOWN_USER, format!("the image's /etc/group has no group {wanted}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# comment\nbroken:line\nweb:x:33:34:Web:/srv/web:/bin/sh\n\
                          nohome:x:50:50:::\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlogs:x:40:nobody,web\nshared:x:41:web\n";

    fn user(uid: u32, gid: u32, groups: &[u32], home: &str) -> User {
        User { uid, gid, groups: groups.to_vec(), home: home.to_owned() }
    }

    #[test]
    fn users_and_groups_resolve_by_name_and_by_number() {
        for (wanted, expected) in [
            ("", user(0, 0, &[0], "/root")),
            ("root", user(0, 0, &[0], "/root")),
            ("web", user(33, 34, &[34, 40, 41], "/srv/web")),
            ("33", user(33, 34, &[34, 40, 41], "/srv/web")),
            ("web:logs", user(33, 40, &[40], "/srv/web")),
            ("web:7", user(33, 7, &[7], "/srv/web")),
            ("web:", user(33, 34, &[34, 40, 41], "/srv/web")),
            (":logs", user(0, 40, &[40], "/root")),
            ("1000", user(1000, 0, &[0], "/")),
            ("1000:1001", user(1000, 1001, &[1001], "/")),
            ("nohome", user(50, 50, &[50], "/")),
        ] {
            assert_eq!(resolve(wanted, &[], PASSWD, GROUP), Ok(expected), "{wanted}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_as_unknown_user() {
        for wanted in ["nobody", "web:nogroup", "-1", "4294967296"] {
            assert_eq!(resolve(wanted, &[], PASSWD, GROUP).unwrap_err().reason, reason::UNKNOWN_USER, "{wanted}");
        }
    }

    #[test]
    fn without_account_files_only_numbers_resolve() {
        assert_eq!(resolve("", &[], "", ""), Ok(user(0, 0, &[0], "/")));
        assert_eq!(resolve("5:6", &[9], "", ""), Ok(user(5, 6, &[6, 9], "/")));
        assert!(resolve("root", &[], "", "").is_err());
    }

    proptest! {
        #[test]
        fn any_account_files_are_read_without_panic(passwd in ".{0,200}", group in ".{0,200}", who in ".{0,20}") {
            let _ = resolve(&who, &[1, 1], &passwd, &group);
        }
    }
}
