//! What a worker does next: decided from a seed and from what it has decided before, never from an answer's timing.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use zookeeper_client::{Acl, Acls, AuthId, CreateMode, CreateOptions, Permission};

use super::parent;

const ZNODES_MAX: usize = 400;
const DEPTH_MAX: usize = 5;
/// Far beyond any test: what expires by itself would be an operation that nobody recorded.
const TTL: Duration = Duration::from_secs(24 * 3_600);

/// Names that ZooKeeper allows and programs stumble over. (It refuses characters beyond the BMP.)
const ODD_NAMES: &[&str] = &[
    "with space",
    " leading",
    "trailing ",
    "{braces}",
    "${x}",
    "100%",
    "%2F",
    "%s%n",
    "ünïcödé",
    "路径",
    "мир",
    "עברית",
    "e\u{301}",
    "...",
    ".hidden",
    "a..b",
    "=",
    "a=b",
    "*",
    "?",
    "[x]",
    "'quote'",
    "\"double\"",
    "back\\slash",
    "`tick`",
    "semi;colon",
    "--",
    "#hash",
    "&amp;",
    "<tag>",
    "a,b",
    "null",
    "NULL",
    "0",
    "-1",
    "date=2026-01-01",
    "☃",
    "_",
    "%_%",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Persistent,
    Container,
    Ttl,
}

impl Mode {
    pub(super) fn options(self) -> CreateOptions<'static> {
        match self {
            Self::Persistent => CreateMode::Persistent.with_acls(Acls::anyone_all()),
            Self::Container => CreateMode::Container.with_acls(Acls::anyone_all()),
            Self::Ttl => CreateMode::Persistent.with_acls(Acls::anyone_all()).with_ttl(TTL),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Request {
    Create {
        path: String,
        value: Vec<u8>,
        mode: Mode,
    },
    /// `version` is what it leads to.
    Set {
        path: String,
        value: Vec<u8>,
        version: i32,
    },
    Delete {
        path: String,
    },
    SetAcl {
        path: String,
        acl: Vec<Acl>,
        aversion: i32,
    },
    Multi(Vec<Request>),
    /// Its path is known from the answer alone.
    Sequential {
        prefix: String,
        value: Vec<u8>,
    },
    /// A session of its own creates them and ends; `deleted` of them it deletes itself before.
    Ephemerals {
        paths: Vec<(String, Vec<u8>)>,
        deleted: usize,
    },
}

impl Request {
    pub(super) fn create(path: &str, value: &[u8]) -> Self {
        Self::Create { path: path.to_owned(), value: value.to_vec(), mode: Mode::Persistent }
    }

    /// Whether everything before must be answered first, and it before everything after.
    pub(super) fn stands_alone(&self) -> bool {
        matches!(self, Self::Sequential { .. } | Self::Ephemerals { .. })
    }
}

/// A worker's picture of its subtree, as it will be when all that was planned has happened.
pub(super) struct Planner {
    random: Random,
    base: String,
    /// Every multi also sets a marker, whose version tells whether it happened.
    careful: bool,
    znodes: HashMap<String, Planned>,
    /// The same paths, in an order to draw from.
    paths: Vec<String>,
    sequentials: BTreeSet<String>,
    ephemerals_count: u64,
    names_count: u64,
}

struct Planned {
    version: i32,
    aversion: i32,
    children: usize,
    value: Vec<u8>,
    at: usize,
}

impl Planner {
    /// For a worker that has made its base, [`Planner::marker`] and [`Planner::queue`].
    pub(super) fn new(seed: u64, base: &str, careful: bool) -> Self {
        let mut planner = Self {
            random: Random::seeded(seed),
            base: base.to_owned(),
            careful,
            znodes: HashMap::new(),
            paths: Vec::new(),
            sequentials: BTreeSet::new(),
            ephemerals_count: 0,
            names_count: 0,
        };
        planner.created(base, b"");
        planner.created(&planner.marker(), b"");
        planner.created(&planner.queue(), b"");
        planner
    }

    pub(super) fn marker(&self) -> String {
        format!("{}/marker", self.base)
    }

    /// The parent of the sequential znodes.
    pub(super) fn queue(&self) -> String {
        format!("{}/queue", self.base)
    }

    pub(super) fn versions(&self) -> impl Iterator<Item = (&str, i32)> {
        self.znodes.iter().map(|(path, znode)| (path.as_str(), znode.version))
    }

    pub(super) fn next_request(&mut self) -> Request {
        let crowded = self.znodes.len() > ZNODES_MAX;
        match self.random.below(1_000) {
            0..300 if !crowded => self.plan_create(Mode::Persistent),
            300..320 if !crowded => self.plan_create(Mode::Container),
            320..340 if !crowded => self.plan_create(Mode::Ttl),
            340..600 => self.plan_set(false),
            600..650 => self.plan_set(true),
            650..670 => self.plan_acl(),
            670..770 => self.plan_multi(),
            770..800 => self.plan_sequential(),
            800..808 => self.plan_ephemerals(),
            _ => self.plan_delete().unwrap_or_else(|| self.plan_create(Mode::Persistent)),
        }
    }

    /// Takes in what only the answers told.
    pub(super) fn happened(&mut self, request: &Request, paths: &[String]) {
        if let Request::Sequential { value, .. } = request {
            for path in paths {
                self.created(path, value);
                self.sequentials.insert(path.clone());
            }
        }
    }

    fn plan_create(&mut self, mode: Mode) -> Request {
        let under = self.draw_parent();
        let path = self.free_name(&under);
        let value = self.value();
        self.created(&path, &value);
        Request::Create { path, value, mode }
    }

    fn plan_set(&mut self, same: bool) -> Request {
        // A few paths are hot, most are not.
        let path = if self.random.below(4) == 0 { self.marker() } else { self.draw() };
        let value = if same { self.znodes[&path].value.clone() } else { self.value() };
        let version = self.set(&path, &value);
        Request::Set { path, value, version }
    }

    fn plan_acl(&mut self) -> Request {
        let path = self.draw();
        let znode = self.znodes.get_mut(&path).unwrap();
        znode.aversion += 1;
        let aversion = znode.aversion;
        // Everybody may still do everything; only the text differs.
        let mut acl = vec![Acl::new(Permission::ALL, AuthId::new("world", "anyone"))];
        if aversion % 2 == 1 {
            acl.push(Acl::new(Permission::READ, AuthId::new("ip", "127.0.0.1")));
        }
        Request::SetAcl { path, acl, aversion }
    }

    fn plan_delete(&mut self) -> Option<Request> {
        // Among a few tries there is nearly always a leaf.
        for _ in 0..20 {
            let path = self.draw();
            if self.deletable(&path) {
                self.deleted(&path);
                return Some(Request::Delete { path });
            }
        }
        None
    }

    fn plan_sequential(&mut self) -> Request {
        if self.sequentials.len() > 40
            && let Some(path) = self.sequentials.first().cloned()
        {
            self.deleted(&path);
            return Request::Delete { path };
        }
        let name = ODD_NAMES[self.random.below(ODD_NAMES.len())];
        let prefix = format!("{}/{name}-", self.queue());
        Request::Sequential { prefix, value: self.value() }
    }

    fn plan_ephemerals(&mut self) -> Request {
        let count = 1 + self.random.below(6);
        let under = self.draw_parent();
        let paths = (0..count)
            .map(|_| {
                self.ephemerals_count += 1;
                let name = ODD_NAMES[self.random.below(ODD_NAMES.len())];
                (join(&under, &format!("e{} {name}", self.ephemerals_count)), self.value())
            })
            .collect();
        // They come and go within this one request, so the picture stays as it is.
        Request::Ephemerals { paths, deleted: self.random.below(2).min(count) }
    }

    fn plan_multi(&mut self) -> Request {
        let mut parts = Vec::new();
        if self.random.below(3) == 0 {
            // Several lives of one path in one transaction; it stays, or it does not.
            let under = self.draw_parent();
            let path = self.free_name(&under);
            for life in 0..=self.random.below(3) {
                if life > 0 {
                    parts.push(Request::Delete { path: path.clone() });
                    self.deleted(&path);
                }
                let value = self.value();
                self.created(&path, &value);
                parts.push(Request::Create { path: path.clone(), value, mode: Mode::Persistent });
                if self.random.below(2) == 0 {
                    let value = self.value();
                    let version = self.set(&path, &value);
                    parts.push(Request::Set { path: path.clone(), value, version });
                }
            }
            if self.random.below(2) == 0 {
                self.deleted(&path);
                parts.push(Request::Delete { path });
            }
        } else {
            for _ in 0..2 + self.random.below(5) {
                let part = match self.random.below(3) {
                    0 => self.plan_create(Mode::Persistent),
                    1 => self.plan_set(false),
                    _ => match self.plan_delete() {
                        Some(delete) => delete,
                        None => self.plan_set(false),
                    },
                };
                parts.push(part);
            }
        }
        if self.careful {
            let path = self.marker();
            let value = self.value();
            let version = self.set(&path, &value);
            parts.push(Request::Set { path, value, version });
        }
        Request::Multi(parts)
    }

    fn created(&mut self, path: &str, value: &[u8]) {
        if let Some(above) = self.znodes.get_mut(parent(path)) {
            above.children += 1;
        }
        let znode = Planned { version: 0, aversion: 0, children: 0, value: value.to_vec(), at: self.paths.len() };
        self.paths.push(path.to_owned());
        self.znodes.insert(path.to_owned(), znode);
    }

    fn set(&mut self, path: &str, value: &[u8]) -> i32 {
        let znode = self.znodes.get_mut(path).unwrap();
        znode.version += 1;
        znode.value = value.to_vec();
        znode.version
    }

    fn deleted(&mut self, path: &str) {
        let znode = self.znodes.remove(path).unwrap();
        self.paths.swap_remove(znode.at);
        if let Some(moved) = self.paths.get(znode.at) {
            self.znodes.get_mut(moved).unwrap().at = znode.at;
        }
        self.znodes.get_mut(parent(path)).unwrap().children -= 1;
        self.sequentials.remove(path);
    }

    fn deletable(&self, path: &str) -> bool {
        path != self.base && path != self.marker() && path != self.queue() && self.znodes[path].children == 0
    }

    fn draw(&mut self) -> String {
        self.paths[self.random.below(self.paths.len())].clone()
    }

    fn draw_parent(&mut self) -> String {
        let top = self.base.matches('/').count();
        // The queue's children count its sequence numbers; nobody else's may be among them.
        let queue = self.queue();
        (0..10)
            .map(|_| self.draw())
            .find(|path| path.matches('/').count() - top < DEPTH_MAX && !path.starts_with(&queue))
            .unwrap_or_else(|| self.base.clone())
    }

    /// A name that is free now. Often one that was there before: paths live several times.
    fn free_name(&mut self, under: &str) -> String {
        let name = match self.random.below(100) {
            0..40 => format!("n{}", self.random.below(20)),
            40..70 => ODD_NAMES[self.random.below(ODD_NAMES.len())].to_owned(),
            70..73 => "long-".repeat(40 + self.random.below(60)),
            _ => self.fresh_name(),
        };
        let path = join(under, &name);
        if self.znodes.contains_key(&path) { join(under, &self.fresh_name()) } else { path }
    }

    fn fresh_name(&mut self) -> String {
        self.names_count += 1;
        format!("f{}", self.names_count)
    }

    /// Nothing that looks like a secret: the agent would mask it.
    fn value(&mut self) -> Vec<u8> {
        match self.random.below(200) {
            0..10 => Vec::new(),
            10..30 => (0..self.random.below(64)).map(|_| self.random.next() as u8).collect(),
            30..60 => {
                format!("{{\"host\":\"h{}\",\"port\":{}}}", self.random.below(100), self.random.below(65_536)).into()
            }
            60 => "0123456789abcdef".repeat(self.random.below(1_000)).into(),
            _ => format!("v{:x} ☃", self.random.next()).into(),
        }
    }
}

fn join(under: &str, name: &str) -> String {
    format!("{under}/{name}")
}

/// SplitMix64: small, and the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
