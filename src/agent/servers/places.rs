//! Which servers are asked: those that the operator lists, and those that the ensemble says it has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::members::{Member, Members, is_wildcard};

/// A name that takes longer counts as one without an address.
const RESOLVE_WITHIN: Duration = Duration::from_secs(5);

/// One server to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `host:port`: the label `zk_host`.
    pub name: String,
    /// The operator lists it, as it is named.
    pub is_listed: bool,
    pub votes: bool,
}

/// What each name stood for when it was last found out: a lookup that fails for once changes nothing.
pub(super) type Resolved = BTreeMap<String, BTreeSet<SocketAddr>>;

/// Finds them. Whoever is both listed and a member keeps the listed name, unless that one stands for several members.
pub(super) async fn find(
    listed: &[String],
    members: Option<&Members>,
    is_tls: bool,
    last: &mut Resolved,
) -> Vec<Place> {
    let Some(addresses) = members.and_then(|members| addresses(listed, members, is_tls)) else {
        return merge(&listed.iter().map(|name| (name.clone(), BTreeSet::new())).collect::<Vec<_>>(), None);
    };
    let names: BTreeSet<&String> = listed.iter().chain(addresses.iter().map(|(address, _)| address)).collect();
    let found = futures::future::join_all(names.into_iter().map(|name| async move {
        let found = tokio::time::timeout(RESOLVE_WITHIN, tokio::net::lookup_host(name.clone())).await;
        let found: BTreeSet<SocketAddr> = found.ok().and_then(Result::ok).map(Iterator::collect).unwrap_or_default();
        (name.clone(), found)
    }));
    let mut found: Resolved = found.await.into_iter().collect();
    for (name, addresses) in &mut found {
        if let (true, Some(before)) = (addresses.is_empty(), last.get(name)) {
            addresses.clone_from(before);
        }
    }
    *last = found;
    let of = |name: &String| last.get(name).cloned().unwrap_or_default();
    let named: Vec<Named> = listed.iter().map(|name| (name.clone(), of(name))).collect();
    let told: Vec<Told> =
        addresses.into_iter().map(|(address, votes)| Told { found: of(&address), address, votes }).collect();
    merge(&named, Some(&told))
}

/// A member by the address that the ensemble tells.
struct Told {
    address: String,
    found: BTreeSet<SocketAddr>,
    votes: bool,
}

type Named = (String, BTreeSet<SocketAddr>);

/// Where each member is asked, and whether it votes; `None` where one cannot be placed: then the listed ones are all
/// that is known.
///
/// The configuration tells the port of clients without TLS, and only where it stands in the server's own line. Else a
/// member has the port that all listed servers have. A member whose host is a wildcard, as behind a translation of
/// addresses, has no address for anybody else.
fn addresses(listed: &[String], members: &Members, is_tls: bool) -> Option<Vec<(String, bool)>> {
    let mut ports: Vec<&str> = listed.iter().filter_map(|name| name.rsplit_once(':')).map(|(_, port)| port).collect();
    ports.dedup();
    let common = match ports.as_slice() {
        [port] => Some(*port),
        _ => None,
    };
    let address = |member: &Member| match &member.client {
        Some(client) if !is_tls => Some(client.clone()),
        _ => common.map(|port| format!("{}:{port}", member.host)),
    };
    let is_anywhere = |address: &str| {
        address.rsplit_once(':').is_none_or(|(host, _)| is_wildcard(host.trim_start_matches('[').trim_end_matches(']')))
    };
    let placed = |member: &Member| address(member).filter(|address| !is_anywhere(address));
    members.0.iter().map(|member| Some((placed(member)?, member.votes))).collect()
}

fn merge(listed: &[Named], told: Option<&[Told]>) -> Vec<Place> {
    let Some(told) = told else {
        let place = |(name, _): &Named| Place { name: name.clone(), is_listed: true, votes: true };
        return listed.iter().map(place).collect();
    };
    let is_same = |(name, found): &Named, told: &Told| *name == told.address || !found.is_disjoint(&told.found);
    // Names that mean nothing here, beside listed ones that are none of the members: the ensemble knows itself by other
    // addresses than we do, and the listed servers are all that can be asked.
    let is_nobody = |named: &Named| !told.iter().any(|told| is_same(named, told));
    let is_nowhere = |told: &Told| told.found.is_empty() && !listed.iter().any(|named| is_same(named, told));
    if listed.iter().any(is_nobody) && told.iter().any(is_nowhere) {
        return merge(listed, None);
    }
    let mut places = Vec::new();
    let mut is_placed = vec![false; told.len()];
    for named in listed {
        let same: Vec<usize> =
            (0..told.len()).filter(|at| told.get(*at).is_some_and(|told| is_same(named, told))).collect();
        // One name for several servers: each of them is asked by its own.
        if same.len() > 1 {
            continue;
        }
        let mut votes = false;
        for at in same {
            votes |= told.get(at).is_some_and(|told| told.votes) && !is_placed.get(at).is_some_and(|is| *is);
            if let Some(is_placed) = is_placed.get_mut(at) {
                *is_placed = true;
            }
        }
        places.push(Place { name: named.0.clone(), is_listed: true, votes });
    }
    for (told, _) in told.iter().zip(is_placed).filter(|(_, is_placed)| !is_placed) {
        if !places.iter().any(|place| place.name == told.address) {
            places.push(Place { name: told.address.clone(), is_listed: false, votes: told.votes });
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, addresses: &[&str]) -> Named {
        (name.to_owned(), addresses.iter().map(|address| address.parse().unwrap()).collect())
    }

    fn told(address: &str, addresses: &[&str], votes: bool) -> Told {
        Told { address: address.to_owned(), found: named("", addresses).1, votes }
    }

    fn show(places: Vec<Place>) -> Vec<(String, bool, bool)> {
        places.into_iter().map(|place| (place.name, place.is_listed, place.votes)).collect()
    }

    fn place(name: &str, is_listed: bool, votes: bool) -> (String, bool, bool) {
        (name.to_owned(), is_listed, votes)
    }

    #[test]
    fn listed_names_win_by_their_addresses() {
        let listed = [named("zk1:2181", &["10.0.0.1:2181"]), named("vip:2181", &["10.0.0.9:2181"])];
        let members = [
            told("10.0.0.1:2181", &["10.0.0.1:2181"], true),
            told("10.0.0.2:2181", &["10.0.0.2:2181"], true),
            told("10.0.0.3:2181", &["10.0.0.3:2181"], false),
        ];
        let expected = [
            place("zk1:2181", true, true),
            place("vip:2181", true, false),
            place("10.0.0.2:2181", false, true),
            place("10.0.0.3:2181", false, false),
        ];
        assert_eq!(show(merge(&listed, Some(&members))), expected);
        assert_eq!(show(merge(&listed, None)), [place("zk1:2181", true, true), place("vip:2181", true, true)]);
    }

    #[test]
    fn addresses_that_mean_nothing_here_are_not_asked() {
        let listed = [named("127.0.0.1:2181", &["127.0.0.1:2181"]), named("127.0.0.1:2182", &["127.0.0.1:2182"])];
        let members = [told("zoo1:2181", &[], true), told("zoo2:2181", &[], true)];
        let as_listed = [place("127.0.0.1:2181", true, true), place("127.0.0.1:2182", true, true)];
        assert_eq!(show(merge(&listed, Some(&members))), as_listed);
        // One that does not resolve beside listed ones that are all found is a server that is missed.
        let members = [told("127.0.0.1:2181", &["127.0.0.1:2181"], true), told("zoo2:2181", &[], true)];
        let both = [place("127.0.0.1:2181", true, true), place("zoo2:2181", false, true)];
        assert_eq!(show(merge(&listed[..1], Some(&members))), both);
    }

    #[test]
    fn one_name_for_several_is_nobodys() {
        let all = ["10.0.0.1:2181", "10.0.0.2:2181"];
        let members = all.map(|address| told(address, &[address], true));
        let places = merge(&[named("zk:2181", &all)], Some(&members));
        assert_eq!(show(places), all.map(|address| place(address, false, true)));
    }

    #[test]
    fn one_server_with_two_names_votes_once() {
        let listed = [named("a:2181", &["10.0.0.1:2181"]), named("b:2181", &["10.0.0.1:2181"])];
        let places = merge(&listed, Some(&[told("c:2181", &["10.0.0.1:2181"], true)]));
        assert_eq!(show(places), [place("a:2181", true, true), place("b:2181", true, false)]);
    }

    #[test]
    fn where_members_are_asked() {
        let members = Members::read(b"server.1=a:1:2;2181\nserver.2=b:1:2\n").unwrap();
        let listed = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let find = |names: &[&str], is_tls| addresses(&listed(names), &members, is_tls);
        let owned = |pairs: [&str; 2]| Some(pairs.map(|address| (address.to_owned(), true)).to_vec());
        assert_eq!(find(&["x:2182", "y:2182"], false), owned(["a:2181", "b:2182"]));
        assert_eq!(find(&["x:2281"], true), owned(["a:2281", "b:2281"]));
        assert_eq!(find(&["x:2181", "y:2182"], false), None, "b's port is not known");
        let anywhere = Members::read(b"server.1=0.0.0.0:1:2;2181\nserver.2=b:1:2;2181\n").unwrap();
        assert_eq!(addresses(&listed(&["a:2181"]), &anywhere, false), None);
    }

    #[tokio::test]
    async fn names_are_resolved() {
        let members = Members::read(b"server.1=127.0.0.1:1:2;2181\nserver.2=127.0.0.1:1:2;2182\n").unwrap();
        let places = find(&["localhost:2181".to_owned()], Some(&members), false, &mut Resolved::new()).await;
        assert_eq!(show(places), [place("localhost:2181", true, true), place("127.0.0.1:2182", false, true)]);
    }
}
