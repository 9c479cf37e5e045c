//! Who runs this: from the user database if it can be asked, else from the environment.

use wharf_core::hook::User;

/// The user of this process.
pub(crate) fn current() -> User {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let row = std::fs::read_to_string("/etc/passwd").ok().and_then(|text| {
        text.lines()
            .map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>())
            .find(|fields| fields.get(2).is_some_and(|field| field.parse() == Ok(uid)))
    });
    let from_env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let name = row
        .as_ref()
        .map(|row| row[0].clone())
        .or_else(|| from_env("USER"))
        .unwrap_or_else(|| uid.to_string());
    let home = from_env("HOME")
        .or_else(|| row.and_then(|row| row.get(5).cloned()))
        .unwrap_or_else(|| "/".to_owned());
    User { groups: groups(&name, gid), name, uid, gid, home }
}

/// The groups of another user of this host; none for a name that it does not know.
pub(crate) fn groups_of(user: &str) -> Vec<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let row = passwd.lines().map(|line| line.split(':')).find(|fields| fields.clone().next() == Some(user));
    let primary = row.and_then(|mut fields| fields.nth(3)?.parse().ok());
    named(user, &primary.into_iter().collect::<Vec<_>>())
}

fn groups(user: &str, primary: u32) -> Vec<String> {
    let mut gids: Vec<u32> = rustix::process::getgroups()
        .unwrap_or_default()
        .into_iter()
        .map(rustix::process::Gid::as_raw)
        .collect();
    gids.push(primary);
    named(user, &gids)
}

/// The names of those groups, and of those that list the user.
fn named(user: &str, gids: &[u32]) -> Vec<String> {
    let text = std::fs::read_to_string("/etc/group").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _, gid, members) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            let mine = gid.parse().is_ok_and(|gid: u32| gids.contains(&gid))
                || members.split(',').any(|member| member == user);
            mine.then(|| name.to_owned())
        })
        .collect()
}
