use super::*;

fn policy(rules: &[(&str, Values)]) -> ValuePolicy {
    let rules: Vec<_> =
        rules.iter().map(|(path, values)| PolicyRule { path: (*path).into(), values: *values }).collect();
    ValuePolicy::new(&rules, HashKey::new([7; 32])).expect("a policy")
}

#[test]
fn plain_values_pass_whole() {
    let recorded = policy(&[]).apply("/a", Bytes::from_static(b"hello"));
    assert_eq!(recorded.data.as_deref(), Some(&b"hello"[..]));
    assert_eq!(recorded.data_length, Some(5));
    assert_eq!(recorded.data_hash, Some(plain(b"hello")));
    assert_eq!(recorded.withheld, Withheld::No);
}

#[test]
fn empty_values_are_not_null() {
    let recorded = policy(&[]).apply("/app/password", Bytes::new());
    assert_eq!(recorded.data.as_deref(), Some(&b""[..]));
    assert_eq!((recorded.data_length, recorded.withheld), (Some(0), Withheld::No));
}

#[test]
fn long_values_are_cut_with_the_hash_of_the_whole() {
    let whole = Bytes::from(vec![b'x'; VALUE_BYTES_MAX + 1]);
    let recorded = policy(&[]).apply("/a", whole.clone());
    assert_eq!(recorded.data.map(|data| data.len()), Some(VALUE_BYTES_MAX));
    assert_eq!(recorded.data_length, Some(VALUE_BYTES_MAX as i32 + 1));
    assert_eq!(recorded.data_hash, Some(plain(&whole)));
    assert_eq!(recorded.withheld, Withheld::Cut);
}

#[test]
fn a_cut_tears_no_character() {
    let full = Values::Full { bytes_max: 4, mask: true };
    let recorded = policy(&[("/**", full)]).apply("/a", Bytes::from("aaaü"));
    assert_eq!(recorded.data.as_deref(), Some(&b"aaa"[..]));
    let recorded = policy(&[("/**", full)]).apply("/a", Bytes::from(vec![0x80; 9]));
    assert_eq!(recorded.data.map(|data| data.len()), Some(4));
}

#[test]
fn masked_values_tell_their_own_length_and_a_keyed_hash() {
    let value = Bytes::from_static(br#"{"user":"bob","password":"hunter2"}"#);
    let recorded = policy(&[]).apply("/data_source", value.clone());
    assert_eq!(recorded.data.as_deref(), Some(&br#"{"user":"bob","password":"***"}"#[..]));
    assert_eq!(recorded.data_length, Some(value.len() as i32));
    assert_eq!(recorded.data_hash, Some(HashKey::new([7; 32]).hash(&value)));
    assert_ne!(recorded.data_hash, Some(plain(&value)));
    assert_eq!(recorded.withheld, Withheld::Masked);
}

#[test]
fn a_secret_beyond_the_cut_still_keys_the_hash() {
    let value = Bytes::from(format!("{}\npassword=x\n", "a".repeat(100)));
    let rules = [("/**", Values::Full { bytes_max: 10, mask: true })];
    let recorded = policy(&rules).apply("/a", value);
    assert_eq!((recorded.data.map(|data| data.len()), recorded.withheld), (Some(10), Withheld::Masked));
}

#[test]
fn the_znodes_own_name_counts() {
    let secret = |path| policy(&[]).apply(path, Bytes::from_static(b"hunter2")).withheld;
    assert_eq!(secret("/config/app/spring.datasource.password"), Withheld::Masked);
    assert_eq!(secret("/config/app/apiKey"), Withheld::Masked);
    assert_eq!(secret("/config/app/tokenizer"), Withheld::No);
    assert_eq!(secret("/config/passwords/x"), Withheld::No);
}

#[test]
fn hash_and_none() {
    let value = Bytes::from_static(b"x");
    let rules = [("/h/**", Values::Hash), ("/n/**", Values::None)];
    let hash = policy(&rules).apply("/h/a", value.clone());
    assert_eq!((hash.data, hash.data_length, hash.withheld), (None, Some(1), Withheld::Hash));
    assert_eq!(hash.data_hash, Some(HashKey::new([7; 32]).hash(b"x")));
    let none = policy(&rules).apply("/n/a", value);
    assert_eq!(none, Recorded { data: None, data_length: None, data_hash: None, withheld: Withheld::None });
}

#[test]
fn first_match_wins_and_operators_come_first() {
    let shipped = policy(&[]);
    assert_eq!(shipped.values("/config/users/bob"), Values::Hash);
    assert_eq!(shipped.values("/kafka/prod/config/users/bob"), Values::Hash);
    assert_eq!(shipped.values("/delegation_token/tokens/x"), Values::None);
    assert_eq!(shipped.values("/solr/security.json"), Values::Hash);
    assert_eq!(shipped.values("/storm/credentials/topology-1"), Values::None);
    assert_eq!(shipped.values("/storm/secretkeys/NIMBUS/1"), Values::None);
    assert_eq!(shipped.values("/hbase/tokenauth/keys/1"), Values::None);
    assert_eq!(shipped.values("/zkdtsm/ZKDTSMRoot/ZKDTSMMasterKeyRoot/DK_1"), Values::None);
    assert_eq!(shipped.values("/brokers/ids/1"), Values::default());
    let full = Values::Full { bytes_max: 10, mask: false };
    let own = policy(&[("/config/users/guest", full), ("/config/**", Values::None)]);
    assert_eq!(own.values("/config/users/guest"), full);
    assert_eq!(own.values("/config/users/bob"), Values::None);
    assert_eq!(own.values("/other/config/users/bob"), Values::Hash);
}

#[test]
fn masking_can_be_turned_off() {
    let rules = [("/open/**", Values::Full { bytes_max: 100, mask: false })];
    let recorded = policy(&rules).apply("/open/a", Bytes::from_static(b"password=x"));
    assert_eq!(recorded.data.as_deref(), Some(&b"password=x"[..]));
    assert_eq!(recorded.withheld, Withheld::No);
}

#[test]
fn bad_globs_are_named() {
    let rule = PolicyRule { path: "users/**".into(), values: Values::None };
    let error = ValuePolicy::new(&[rule], HashKey::new([0; 32])).expect_err("refused");
    assert!(error.to_string().contains("users/**"), "{error}");
}
