//! Which names are those of secrets.

/// How sure a name makes us that its value is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A password, a key: everything beneath is masked, numbers too.
    Secret,
    /// A token: text beneath is masked; numbers are limits and counts.
    Token,
    /// Authentication: only a text right under the name is masked.
    Auth,
}

/// Only the end of a longer name is looked at.
const NAME_BYTES_MAX: usize = 256;

/// Parts that make any name a secret's, wherever they stand once case and punctuation are gone; by their first letter,
/// because names are looked at for every value that is recorded.
fn parts(first: u8) -> &'static [&'static [u8]] {
    match first {
        b'a' => &[b"apikey", b"accesskey", b"accountkey", b"authkey"],
        b'c' => &[b"credential", b"connectionstring", b"contrasena"],
        b'e' => &[b"encryptionkey"],
        b'j' => &[b"jaasconfig"],
        b'k' => &[b"keystorekey", b"kennwort"],
        b'm' => &[b"masterkey", b"motdepasse"],
        b'p' => &[b"password", b"passwd", b"passphrase", b"passcode", b"pwd", b"privatekey", b"passwort"],
        b's' => &[b"secret", b"storedkey", b"serverkey", b"signingkey", b"sharedkey", b"scramsha"],
        _ => &[],
    }
}

/// Whole words that do the same.
const WORDS: &[&str] = &["pass", "pw", "psw", "pswd", "salt", "hmac"];

/// Words that end in "pass" and mean something else.
const NO_PASS: &[&str] = &["bypass", "compass", "encompass", "overpass", "surpass", "trespass", "underpass"];

const TOKENS: &[&str] = &["token", "tokens", "jwt", "bearer", "cookie"];

const AUTHS: &[&str] = &["auth", "authorization", "masterauth"];

/// Last words that make a token's name that of a setting about tokens.
const SETTINGS: &[&str] = &[
    "type",
    "ttl",
    "count",
    "limit",
    "size",
    "length",
    "len",
    "second",
    "seconds",
    "sec",
    "secs",
    "ms",
    "millis",
    "minute",
    "minutes",
    "hours",
    "days",
    "expiry",
    "expiration",
    "expires",
    "interval",
    "timeout",
    "rate",
    "enabled",
    "url",
    "uri",
    "endpoint",
    "class",
    "provider",
    "issuer",
    "max",
    "min",
];

/// Whether the value under this name is a secret, in any of the usual spellings: `db.password`, `dbPassword`,
/// `DB_PASSWORD`, `api-key`.
pub(super) fn kind(name: &[u8]) -> Option<Kind> {
    let name = name.get(name.len().saturating_sub(NAME_BYTES_MAX)..).unwrap_or(name);
    let mut squeezed = [0u8; NAME_BYTES_MAX];
    let mut len = 0;
    for (to, from) in squeezed.iter_mut().zip(name.iter().filter(|byte| is_word(**byte))) {
        *to = from.to_ascii_lowercase();
        len += 1;
    }
    let squeezed = squeezed.get(..len).unwrap_or_default();
    if squeezed.len() < 2 {
        return None;
    }
    let has_part = |at: usize| {
        let rest = squeezed.get(at..).unwrap_or_default();
        rest.first().is_some_and(|first| parts(*first).iter().any(|part| rest.starts_with(part)))
    };
    if (0..squeezed.len()).any(has_part) {
        return Some(Kind::Secret);
    }
    let (mut token, mut last_auth, mut setting) = (false, false, false);
    let mut secret = false;
    words(name, |word| {
        let is = |list: &[&str]| list.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
        let ends_in_pass = word.len() > 4 && word.iter().rev().zip(b"ssap").all(|(a, b)| a.to_ascii_lowercase() == *b);
        secret |= is(WORDS) || (ends_in_pass && !is(NO_PASS));
        token |= is(TOKENS);
        last_auth = is(AUTHS);
        setting = is(SETTINGS);
    });
    match (secret, token && !setting, last_auth) {
        (true, _, _) => Some(Kind::Secret),
        (_, true, _) => Some(Kind::Token),
        (_, _, true) => Some(Kind::Auth),
        _ => None,
    }
}

/// Whether two words of prose name a secret together: `API key`.
pub(super) fn kind_of_two(first: &[u8], second: &[u8]) -> Option<Kind> {
    let is_key = second.eq_ignore_ascii_case(b"key") || second.eq_ignore_ascii_case(b"string");
    if is_key { kind(&[first, second].concat()).filter(|kind| *kind == Kind::Secret) } else { None }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// Calls back with each word, split at punctuation and at humps, without trailing digits.
fn words(name: &[u8], mut each: impl FnMut(&[u8])) {
    for chunk in name.split(|byte| !is_word(*byte)) {
        let mut start = 0;
        for at in 1..=chunk.len() {
            let hump = match (chunk.get(at - 1), chunk.get(at), chunk.get(at + 1)) {
                (Some(before), Some(here), _) if !before.is_ascii_uppercase() && here.is_ascii_uppercase() => true,
                (Some(before), Some(here), Some(after)) => {
                    before.is_ascii_uppercase() && here.is_ascii_uppercase() && after.is_ascii_lowercase()
                }
                (_, None, _) => true,
                _ => false,
            };
            if hump {
                let word = chunk.get(start..at).unwrap_or_default();
                let digits = word.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
                match word.get(..word.len() - digits) {
                    Some(word) if !word.is_empty() => each(word),
                    _ => {}
                }
                start = at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in [
            "password",
            "Password",
            "PASSWD",
            "pwd",
            "db.password",
            "dbPassword",
            "DB_PASSWORD",
            "ssl.keystore.password",
            "spring.datasource.password",
            "secret",
            "client-secret",
            "clientSecret",
            "api_key",
            "apiKey",
            "API-KEY",
            "apikey",
            "access_key",
            "AWS_SECRET_ACCESS_KEY",
            "private-key",
            "credentials",
            "credential",
            "salt",
            "stored_key",
            "server_key",
            "storedKey",
            "SCRAM-SHA-256",
            "dbpass",
            "requirepass",
            "userPass",
            "pass",
            "pw",
            "sasl.jaas.config",
            "ssl.keystore.key",
            "AccountKey",
            "SharedAccessKey",
            "passphrase",
            "password1",
            "pass2",
        ] {
            assert_eq!(kind(name.as_bytes()), Some(Kind::Secret), "{name}");
        }
        for name in ["token", "access_token", "accessToken", "tokens", "TOKEN", "jwt", "idToken2"] {
            assert_eq!(kind(name.as_bytes()), Some(Kind::Token), "{name}");
        }
        for name in ["auth", "Authorization", "masterauth"] {
            assert_eq!(kind(name.as_bytes()), Some(Kind::Auth), "{name}");
        }
    }

    #[test]
    fn names_of_other_things() {
        for name in [
            "",
            "a",
            "key",
            "user",
            "host",
            "port",
            "bypass",
            "compass",
            "passive",
            "tokenizer",
            "token_type",
            "tokenTtl",
            "tokens_limit",
            "author",
            "authority",
            "auth_type",
            "keystore.path",
            "partition_key",
            "salted",
            "spin",
            "spinning",
            "mapping",
            "version",
            "leader_epoch",
            "…",
            "primary_key",
            "keyspace",
            "monkey",
        ] {
            assert_eq!(kind(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn two_words() {
        assert_eq!(kind_of_two(b"API", b"key"), Some(Kind::Secret));
        assert_eq!(kind_of_two(b"password", b"policy"), None);
        assert_eq!(kind_of_two(b"the", b"key"), None);
    }
}
