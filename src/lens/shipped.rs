use super::policy::Values;

/// Where known applications keep secrets. Asked after the operator's own rules; the first match wins.
///
/// `none` where the value is a key or a token, `hash` where a whole document has secrets in it but *that* it changed
/// is worth knowing.
pub(super) const RULES: &[(&str, Values)] = &[
    // Kafka: delegation tokens (with their HMAC), SCRAM credentials.
    ("**/delegation_token/**", Values::None),
    ("**/config/users/**", Values::Hash),
    // Solr: salted password hashes of basic authentication.
    ("**/security.json", Values::Hash),
    // Storm: topology credentials (Kerberos tickets, passwords), secret keys of worker tokens.
    ("**/credentials/**", Values::None),
    ("**/secretkeys/**", Values::None),
    // HBase: master keys of authentication tokens.
    ("**/tokenauth/keys/**", Values::None),
    // Hadoop: ZKDelegationTokenSecretManager, the signer of the HTTP authentication cookie, YARN's token masters.
    ("**/ZKDTSMRoot/**", Values::None),
    ("**/*signature-secret*", Values::None),
    ("**/RMDTSecretManagerRoot/**", Values::None),
    ("**/AMRMTokenSecretManagerRoot{,/**}", Values::None),
    // Hive: delegation tokens and their master keys.
    ("**/hivedelegation*/**", Values::None),
    // ClickHouse: users and their password hashes in replicated access storage.
    ("**/clickhouse/access/**", Values::Hash),
    // Accumulo: password hashes, delegation token keys.
    ("/accumulo/*/users/**", Values::Hash),
    ("/accumulo/*/delegation_token_keys/**", Values::None),
];
