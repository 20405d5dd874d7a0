use super::*;
use crate::metrics::Prefixes;

fn shared() -> Shared {
    let metrics = Metrics::new(Prefixes::default()).unwrap();
    Shared { of_cluster: metrics.cluster("test"), metrics, cluster: "test".to_owned(), seen: Mutex::default() }
}

fn place(name: &str, is_listed: bool, votes: bool) -> Place {
    Place { name: name.to_owned(), is_listed, votes }
}

/// What a server says that answers; `None` where it says nothing at all.
fn says(shared: &Shared, server: &str, state: Option<&str>) {
    let mut round = Round::default();
    round.sample.up = state.is_some();
    round.sample.told.state = state.map(str::to_owned);
    shared.heard(server, round);
}

/// `zktrail_ensemble_voters`, `zktrail_ensemble_voters_serving`, `zktrail_leader_seen`; empty where a series is not there.
fn shown(shared: &Shared) -> [String; 3] {
    let text = shared.metrics.render();
    ["ensemble_voters", "ensemble_voters_serving", "leader_seen"].map(|name| {
        let series = format!("zktrail_{name}{{cluster=\"test\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).unwrap_or_default().to_owned()
    })
}

#[test]
fn an_observer_has_no_vote_although_nothing_is_known_of_the_configuration() {
    let shared = shared();
    shared.know(&["a", "b", "c", "o"].map(|name| place(name, true, true)));
    for (server, state) in [("a", "leader"), ("b", "follower"), ("c", "follower")] {
        says(&shared, server, Some(state));
    }
    assert_eq!(shown(&shared), ["", "", "1"], "not everybody was asked");
    says(&shared, "o", Some("observer"));
    assert_eq!(shown(&shared), ["3", "3", "1"]);
    says(&shared, "o", None);
    assert_eq!(shown(&shared), ["3", "3", "1"], "who is down has the vote that it had");
    says(&shared, "c", None);
    assert_eq!(shown(&shared), ["3", "2", "1"]);
    says(&shared, "o", Some("follower"));
    assert_eq!(shown(&shared), ["4", "3", "1"], "it was made one");
}

#[test]
fn who_refuses_to_say_is_not_taken_for_down() {
    let shared = shared();
    shared.know(&["a", "b"].map(|name| place(name, true, true)));
    says(&shared, "a", Some("leader"));
    says(&shared, "b", Some(UNKNOWN));
    assert_eq!(shown(&shared), ["", "", "1"]);
    let text = shared.metrics.render();
    assert!(text.contains("zk_server_state{cluster=\"test\",zk_host=\"b\",state=\"unknown\"} 1"), "{text}");
    assert!(!text.contains("zk_server_leader{cluster=\"test\",zk_host=\"b\"}"), "{text}");
}

#[test]
fn addresses_that_nobody_answers_at_are_given_up_where_listed_servers_serve() {
    let shared = shared();
    shared.know(&[place("vip", true, false), place("10.9.0.1", false, true), place("10.9.0.2", false, true)]);
    says(&shared, "vip", Some("follower"));
    says(&shared, "10.9.0.1", None);
    assert!(!shared.is_beyond_reach(), "one was not asked yet");
    says(&shared, "10.9.0.2", None);
    assert!(shared.is_beyond_reach());
    says(&shared, "10.9.0.2", Some("leader"));
    says(&shared, "10.9.0.2", None);
    assert!(!shared.is_beyond_reach(), "it was there before");
    shared.know(&[place("a", true, true), place("10.9.0.1", false, true)]);
    says(&shared, "a", Some("leader"));
    says(&shared, "10.9.0.1", None);
    assert!(!shared.is_beyond_reach(), "the listed one is a member: the other one is missed");
}
