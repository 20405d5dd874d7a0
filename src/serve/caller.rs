use std::net::IpAddr;

use crate::query::{Access, Values};

/// Which door someone came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Http,
    Postgres,
}

impl Door {
    pub const ALL: [Self; 2] = [Self::Http, Self::Postgres];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Postgres => "postgres",
        }
    }
}

/// Someone who was let in, and what they may do.
#[derive(Clone, Debug)]
pub struct Caller {
    pub door: Door,
    pub address: IpAddr,
    pub access: Access,
    /// Whether it was the token from the history's folder that opened.
    pub is_owner: bool,
}

impl Caller {
    /// The user's name; `(owner)` with the folder's token, `-` where nobody had to say who they are.
    pub fn name(&self) -> &str {
        match &self.access.user {
            Some(name) => name,
            None if self.is_owner => "(owner)",
            None => "-",
        }
    }

    /// What the user may see, as the users file calls it.
    pub fn role(&self) -> &'static str {
        match self.access.values {
            Values::Shown => super::users::Role::ReadValues.as_str(),
            Values::Withheld => super::users::Role::Read.as_str(),
        }
    }
}
