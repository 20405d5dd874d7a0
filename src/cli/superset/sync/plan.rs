//! What has to be done so that Superset's connections are those of the znodes. Pure: what is there goes in, steps come out.
//!
//! - Only connections that bear our mark, of this ensemble and beneath this path, are ever changed or deleted.
//! - A znode that cannot be read or understood leaves its connection as it is.
//! - A name that somebody else's connection has is never taken, nor one that two znodes want.
//! - What is as it should be gets no step but [`Action::Keep`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::definition::{Definition, MARK};
use super::uri::Uri;

/// Whose a connection is: written into its `extra`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) ensemble: String,
    pub(super) path: String,
    /// The znode's last change that the connection has; another one may have brought another password.
    pub(super) mzxid: String,
}

impl Mark {
    pub(super) fn of(extra: &Map<String, Value>) -> Option<Self> {
        let mark = extra.get(MARK)?.as_object()?;
        let text = |key: &str| mark.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Self { ensemble: text("ensemble")?, path: text("path")?, mzxid: text("mzxid")? })
    }

    pub(super) fn to_json(&self) -> Value {
        json!({ "ensemble": self.ensemble, "path": self.path, "mzxid": self.mzxid })
    }
}

/// What a znode says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) path: String,
    pub(super) mzxid: i64,
    /// Else why it says nothing that can be used.
    pub(super) definition: Result<Definition, String>,
}

/// A connection of Superset's.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Existing {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) extra: Map<String, Value>,
    /// Without the password, and only of those that bear a mark.
    pub(super) uri: Option<Uri>,
    /// Superset's settings by name, only of those that bear a mark.
    pub(super) settings: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Create(Definition),
    Update { id: i64, definition: Definition },
    Delete { id: i64 },
    Keep,
    Refuse,
}

impl Action {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Update { .. } => "update",
            Self::Delete { .. } => "delete",
            Self::Keep => "keep",
            Self::Refuse => "refuse",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) action: Action,
    pub(super) name: String,
    pub(super) path: String,
    /// For people; no secrets in it.
    pub(super) what: String,
    pub(super) mark: Mark,
}

/// Which connections are ours.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) ensemble: String,
    pub(super) root: String,
}

impl Scope {
    fn owns(&self, existing: &Existing) -> Option<Mark> {
        Mark::of(&existing.extra).filter(|mark| mark.ensemble == self.ensemble && is_within(&mark.path, &self.root))
    }

    fn mark(&self, wanted: &Wanted) -> Mark {
        let mzxid = format!("{:#x}", wanted.mzxid);
        Mark { ensemble: self.ensemble.clone(), path: wanted.path.clone(), mzxid }
    }
}

/// The steps, deletions first, because they make room for names. `unseen` are paths of which nothing is known, with
/// everything beneath them.
pub(super) fn plan(scope: &Scope, wanted: &[Wanted], unseen: &[(String, String)], existing: &[Existing]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut owned: BTreeMap<String, &Existing> = BTreeMap::new();
    let known: BTreeSet<&str> = wanted.iter().map(|wanted| wanted.path.as_str()).collect();
    let mut gone: BTreeSet<i64> = BTreeSet::new();
    for one in existing {
        let Some(mark) = scope.owns(one) else { continue };
        let is_unseen = unseen.iter().any(|(path, _)| is_within(&mark.path, path));
        let again = owned.contains_key(&mark.path);
        if is_unseen || (known.contains(mark.path.as_str()) && !again) {
            owned.entry(mark.path).or_insert(one);
            continue;
        }
        gone.insert(one.id);
        let what = if again { "a second connection of this znode" } else { "the znode is gone" };
        steps.push(Step {
            action: Action::Delete { id: one.id },
            name: one.name.clone(),
            path: mark.path.clone(),
            what: what.to_owned(),
            mark,
        });
    }
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in wanted {
        if let Ok(definition) = &one.definition {
            names.entry(&definition.name).or_default().push(&one.path);
        }
    }
    // The znode whose connection has a name already keeps it.
    let holder = |name: &str| {
        owned
            .iter()
            .find(|(_, one)| one.name == name)
            .map(|(path, _)| path.as_str())
            .filter(|path| names.get(name).is_some_and(|paths| paths.contains(path)))
    };
    for (path, reason) in unseen {
        let name = owned.get(path).map_or_else(String::new, |one| one.name.clone());
        let mark = Mark { ensemble: scope.ensemble.clone(), path: path.clone(), mzxid: String::new() };
        steps.push(Step { action: Action::Refuse, name, path: path.clone(), what: reason.clone(), mark });
    }
    for one in wanted {
        let mine = owned.get(&one.path).copied();
        let mark = scope.mark(one);
        let step = |action, name: &str, what: String| Step {
            action,
            name: name.to_owned(),
            path: one.path.clone(),
            what,
            mark: mark.clone(),
        };
        let definition = match &one.definition {
            Ok(definition) => definition,
            Err(reason) => {
                let kept = if mine.is_some() { "; its connection stays as it is" } else { "" };
                let name = mine.map_or("", |mine| mine.name.as_str());
                steps.push(step(Action::Refuse, name, format!("{reason}{kept}")));
                continue;
            }
        };
        let name = definition.name.as_str();
        let rivals = names.get(name).map_or(&[][..], Vec::as_slice);
        let rival = rivals.iter().find(|path| **path != one.path).filter(|_| holder(name) != Some(one.path.as_str()));
        if let Some(rival) = rival {
            steps.push(step(Action::Refuse, name, format!("{rival} wants the same name")));
            continue;
        }
        let taken = existing.iter().find(|other| {
            other.name == name && Some(other.id) != mine.map(|mine| mine.id) && !gone.contains(&other.id)
        });
        if let Some(taken) = taken {
            let what = match Mark::of(&taken.extra) {
                Some(mark) => format!("the name is taken by the connection of {} of {}", mark.path, mark.ensemble),
                None => "the name is taken by a connection that is not ours: rename one of them".to_owned(),
            };
            steps.push(step(Action::Refuse, name, what));
            continue;
        }
        steps.push(match mine {
            None => step(Action::Create(definition.clone()), name, definition.uri.shown()),
            Some(mine) => {
                let differs = differences(mine, definition, &mark);
                if differs.is_empty() {
                    step(Action::Keep, name, definition.uri.shown())
                } else {
                    let action = Action::Update { id: mine.id, definition: definition.clone() };
                    step(action, name, differs.join(", "))
                }
            }
        });
    }
    steps
}

/// What is not as it should be, in words.
fn differences(mine: &Existing, wanted: &Definition, mark: &Mark) -> Vec<String> {
    let mut differs = Vec::new();
    if mine.name != wanted.name {
        differs.push(format!("renamed from {}", mine.name));
    }
    match &mine.uri {
        Some(uri) if uri.same_but_password(&wanted.uri) => {}
        _ => differs.push(format!("now {}", wanted.uri.shown())),
    }
    let mut extra = mine.extra.clone();
    let had = Mark::of(&extra);
    extra.shift_remove(MARK);
    if extra != wanted.extra {
        differs.push("extra".to_owned());
    }
    let settings = wanted.settings.iter().filter(|(name, value)| mine.settings.get(*name) != Some(value));
    differs.extend(settings.map(|(name, _)| name.clone()));
    if had.as_ref() != Some(mark) && differs.is_empty() {
        differs.push("the znode was set anew, perhaps with another password".to_owned());
    }
    differs
}

/// Whether `path` is `above` or below it.
fn is_within(path: &str, above: &str) -> bool {
    above == "/" || path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope { ensemble: "prod".into(), root: "/dbs".into() }
    }

    fn wanted(path: &str, mzxid: i64, value: &str) -> Wanted {
        let definition = Definition::parse(value.as_bytes(), path).map_err(|error| error.to_string());
        Wanted { path: path.into(), mzxid, definition }
    }

    fn existing(id: i64, name: &str, uri: &str, mark: Option<(&str, &str, &str)>) -> Existing {
        let mut extra = Map::new();
        if let Some((ensemble, path, mzxid)) = mark {
            let mark = Mark { ensemble: ensemble.into(), path: path.into(), mzxid: mzxid.into() };
            extra.insert(MARK.into(), mark.to_json());
        }
        Existing { id, name: name.into(), extra, uri: Uri::parse(uri).ok(), settings: Map::new() }
    }

    fn told(steps: &[Step]) -> Vec<String> {
        steps
            .iter()
            .map(|step| format!("{} {} {}: {}", step.action.as_str(), step.name, step.path, step.what))
            .collect()
    }

    #[test]
    fn created_kept_updated_deleted() {
        let znodes = [
            wanted("/dbs/a", 1, r#"{"name":"a","uri":"mysql://u:new@h/a"}"#),
            wanted("/dbs/b", 2, r#"{"name":"b","uri":"mysql://h/b"}"#),
            wanted("/dbs/c", 16, r#"{"name":"c2","uri":"mysql://h/c"}"#),
            wanted("/dbs/d", 17, r#"{"name":"d","uri":"mysql://u:secret@h/d"}"#),
        ];
        let there = [
            existing(1, "b", "mysql://h/b", Some(("prod", "/dbs/b", "0x2"))),
            existing(2, "c", "mysql://h/x", Some(("prod", "/dbs/c", "0x10"))),
            existing(3, "gone", "mysql://h/x", Some(("prod", "/dbs/gone", "0x1"))),
            existing(4, "theirs", "mysql://h/x", None),
            existing(5, "other", "mysql://h/x", Some(("test", "/dbs/gone", "0x1"))),
            existing(6, "elsewhere", "mysql://h/x", Some(("prod", "/dbs2/a", "0x1"))),
            existing(7, "d", "mysql://u:XXXXXXXXXX@h/d", Some(("prod", "/dbs/d", "0x3"))),
        ];
        assert_eq!(
            told(&plan(&scope(), &znodes, &[], &there)),
            [
                "delete gone /dbs/gone: the znode is gone",
                "create a /dbs/a: mysql://u@h/a",
                "keep b /dbs/b: mysql://h/b",
                "update c2 /dbs/c: renamed from c, now mysql://h/c",
                "update d /dbs/d: the znode was set anew, perhaps with another password",
            ]
        );
    }

    #[test]
    fn names_that_collide_and_what_is_not_known() {
        let znodes = [
            wanted("/dbs/a", 1, r#"{"name":"theirs","uri":"mysql://h/a"}"#),
            wanted("/dbs/b", 2, r#"{"name":"same","uri":"mysql://h/b"}"#),
            wanted("/dbs/c", 3, r#"{"name":"same","uri":"mysql://h/c"}"#),
            wanted("/dbs/d", 4, "{"),
            wanted("/dbs/e", 5, r#"{"name":"gone","uri":"mysql://h/e"}"#),
            wanted("/dbs/f", 6, r#"{"name":"two","uri":"mysql://h/f"}"#),
            wanted("/dbs/g", 7, r#"{"name":"two","uri":"mysql://h/g"}"#),
        ];
        let there = [
            existing(1, "theirs", "mysql://h/x", None),
            existing(2, "same", "mysql://h/c", Some(("prod", "/dbs/c", "0x3"))),
            existing(3, "d", "mysql://h/d", Some(("prod", "/dbs/d", "0x1"))),
            existing(4, "gone", "mysql://h/d", Some(("prod", "/dbs/gone", "0x1"))),
            existing(5, "hidden", "mysql://h/d", Some(("prod", "/dbs/hidden/x", "0x1"))),
        ];
        let unseen = [("/dbs/hidden".to_owned(), "it may not be read".to_owned())];
        assert_eq!(
            told(&plan(&scope(), &znodes, &unseen, &there)),
            [
                "delete gone /dbs/gone: the znode is gone",
                "refuse  /dbs/hidden: it may not be read",
                "refuse theirs /dbs/a: the name is taken by a connection that is not ours: rename one of them",
                "refuse same /dbs/b: /dbs/c wants the same name",
                "keep same /dbs/c: mysql://h/c",
                "refuse d /dbs/d: neither JSON nor a database URI: it ends too early at line 1, column 1; \
             its connection stays as it is",
                "create gone /dbs/e: mysql://h/e",
                "refuse two /dbs/f: /dbs/g wants the same name",
                "refuse two /dbs/g: /dbs/f wants the same name",
            ]
        );
    }
}
