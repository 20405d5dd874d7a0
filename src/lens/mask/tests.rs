use proptest::prelude::*;

use super::*;

fn masked(text: &str) -> String {
    match mask(text.as_bytes()) {
        Some(masked) => String::from_utf8(masked).expect("text stays text"),
        None => text.to_owned(),
    }
}

fn check(cases: &[(&str, &str)]) {
    for (value, expected) in cases {
        assert_eq!(masked(value), *expected, "of {value}");
        assert_eq!(mask(expected.as_bytes()), None, "again, of {value}");
    }
}

fn untouched(cases: &[&str]) {
    for value in cases {
        assert_eq!(mask(value.as_bytes()), None, "{value}");
    }
}

#[test]
fn json() {
    check(&[
        (
            r#"{"name":"db","host":"h","port":5432,"user":"u","password":"p\"w"}"#,
            r#"{"name":"db","host":"h","port":5432,"user":"u","password":"***"}"#,
        ),
        ("{ \"a\" : [ { \"apiKey\" :\t\"x\" } ] }\n", "{ \"a\" : [ { \"apiKey\" :\t\"***\" } ] }\n"),
        (r#"{"password":12345,"x":1.0}"#, r#"{"password":"***","x":1.0}"#),
        (
            r#"{"credentials":{"user":"a","n":[1,"b",null,true]}}"#,
            r#"{"credentials":{"user":"***","n":["***","***",null,true]}}"#,
        ),
        (r#"{"pass\u0077ord":"x"}"#, r#"{"pass\u0077ord":"***"}"#),
        (
            r#"[{"name":"DB_PASSWORD","value":"x"},{"name":"A","value":"y"}]"#,
            r#"[{"name":"DB_PASSWORD","value":"***"},{"name":"A","value":"y"}]"#,
        ),
        (r#"{"key":"db_password","value":{"a":"x"}}"#, r#"{"key":"db_password","value":{"a":"***"}}"#),
        (r#"{"value":"x","name":"db.password"}"#, r#"{"value":"***","name":"db.password"}"#),
        (r#"{"url":"postgresql+psycopg2://u:p@h/db"}"#, r#"{"url":"postgresql+psycopg2://u:***@h/db"}"#),
        (r#"{"conf":"a=b\npassword=x y\nc=\"d\""}"#, r#"{"conf":"a=b\npassword=***\nc=\"d\""}"#),
        (r#"{"conf":"{\"password\":\"x\",\"ü\":1}"}"#, r#"{"conf":"{\"password\":\"***\",\"ü\":1}"}"#),
        ("{\"password\":\"x\"}\n{\"password\":\"y\"}\n", "{\"password\":\"***\"}\n{\"password\":\"***\"}\n"),
        (
            r#"{"version":1,"config":{"SCRAM-SHA-256":"salt=a,stored_key=b,server_key=c,iterations=4096"}}"#,
            r#"{"version":1,"config":{"SCRAM-SHA-256":"***"}}"#,
        ),
        (
            r#"{"token":"abc","max_tokens":100,"token_type":"bearer"}"#,
            r#"{"token":"***","max_tokens":100,"token_type":"bearer"}"#,
        ),
        (
            r#"{"sasl":"Plain required username=\"a\" password=\"b c\";"}"#,
            r#"{"sasl":"Plain required username=\"a\" password=\"***\";"}"#,
        ),
        // Truncated: no JSON, but masked as text.
        (r#"{"user":"u","password":"p","more":"#, r#"{"user":"u","password":"***","more":"#),
        (r#"{"user":"u","password":"p"#, r#"{"user":"u","password":"***"#),
        (r#"{'user':'u','password':'p'}"#, r#"{'user':'u','password':'***'}"#),
        (r#"{"a":"{\"password\":\"p\"}","#, r#"{"a":"{\"password\":\"***\"}","#),
    ]);
    untouched(&[
        "{}",
        "[]",
        r#"{"password":"","secret":null,"token":true,"passwd":"***"}"#,
        r#"{"tokens_per_second":5,"max_tokens":10}"#,
        r#"{"leader":1,"isr":[1,2],"leader_epoch":3,"controller_epoch":4,"version":1}"#,
        r#"{"endpoints":["PLAINTEXT://h:9092"],"jmx_port":-1,"host":"h","timestamp":"1","listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"}}"#,
        r#"{"auth":{"type":"ldap"},"authorization":{"class":"x"}}"#,
        r#"{"uriSpec":{"parts":[{"value":"scheme","variable":true},{"value":"://","variable":false}]}}"#,
    ]);
}

#[test]
fn deep_json_is_masked_too() {
    for depth in [10, 500, 600, 100_000] {
        let value = format!("{}{}{}", "[".repeat(depth), r#"{"password":"hunter2"}"#, "]".repeat(depth));
        assert!(!masked(&value).contains("hunter2"), "{depth}");
    }
}

#[test]
fn lines() {
    check(&[
        ("user=bob\npassword=a b&c\nx=y\n", "user=bob\npassword=***\nx=y\n"),
        ("db.password : x\r\ny: z\r\n", "db.password : ***\r\ny: z\r\n"),
        ("  dbPassword=  x  \n", "  dbPassword=  ***  \n"),
        ("#password=old\n; pwd = y\n", "#password=***\n; pwd = ***\n"),
        ("export DB_PASSWORD='a b'\n", "export DB_PASSWORD='***'\n"),
        ("password=a\\\n   b\nx=y", "password=***\nx=y"),
        ("password: \"a\" # why\n", "password: \"***\" # why\n"),
        ("password=\"a\"b\n", "password=***\n"),
        ("password='''a\nb'''\nx=1", "password='''***'''\nx=1"),
        ("password hunter2", "password ***"),
        ("requirepass  x\n", "requirepass  ***\n"),
        ("a:\n  - name: x\n    password: y\n  - z: 1\n", "a:\n  - name: x\n    password: ***\n  - z: 1\n"),
        ("secret: |\n  line one\n  two: 2\nx: y\n", "secret: |\n  ***\n  ***\nx: y\n"),
        ("password: >-\n\n  a\n\n  b\nc: d", "password: >-\n\n  ***\n\n  ***\nc: d"),
        (
            "credentials:\n  user: a\n  list:\n    - b\n    - \"c\"\nx: y",
            "credentials:\n  user: ***\n  list:\n    - ***\n    - \"***\"\nx: y",
        ),
        ("credentials {\n  user = a\n}\n", "credentials {\n  user = ***\n}\n"),
        ("credentials: {\n  user: a,\n  b: \"c\"\n}\nx: y", "credentials: {\n  user: ***,\n  b: \"***\"\n}\nx: y"),
        ("Authorization: Bearer abc.def\nx: y", "Authorization: ***\nx: y"),
        ("curl -H 'Authorization: Bearer abc.def' http://h/", "curl -H 'Authorization: ***' http://h/"),
        ("API key: abc", "API key: ***"),
        ("passwords:\n- a\n- b\nother: c\n- d", "passwords:\n- ***\n- ***\nother: c\n- d"),
        ("Pässword=x\npasswört=y\nmeinPasswort=z", "Pässword=x\npasswört=y\nmeinPasswort=***"),
    ]);
    untouched(&[
        "",
        "\n",
        "password=\n",
        "password:\n",
        "host:1234",
        "The password must be changed\n",
        "tokens_per_second=5\nmax_tokens: 7\npassword=true",
        "key=value\nfoo: bar",
        "0000000012",
        "secret://vault/path",
        "http://host/a:b",
        "/a/b",
    ]);
}

#[test]
fn pairs() {
    check(&[
        ("jdbc:mysql://h:3306/db?user=a&password=b,c;d&x=y", "jdbc:mysql://h:3306/db?user=a&password=***&x=y"),
        (
            "jdbc:sqlserver://h:1433;user=a;password=b c;encrypt=true",
            "jdbc:sqlserver://h:1433;user=a;password=***;encrypt=true",
        ),
        ("Server=h;Uid=a;Pwd=b&c d;Database=e", "Server=h;Uid=a;Pwd=***;Database=e"),
        (
            "x salt=aa,stored_key=b=b==,server_key=c,iterations=1",
            "x salt=***,stored_key=***,server_key=***,iterations=1",
        ),
        ("java -Dpassword=a,b -Dx=y", "java -Dpassword=*** -Dx=y"),
        ("{user=a, password=b, x=c}", "{user=a, password=***, x=c}"),
        ("{user=a, password=b}", "{user=a, password=***}"),
        ("mysql --user root --password hunter2 --host h", "mysql --user root --password *** --host h"),
        (
            "<bean><property name=\"password\" value=\"x\"/></bean>",
            "<bean><property name=\"password\" value=\"***\"/></bean>",
        ),
        (
            "CREATE USER a IDENTIFIED WITH sha256_password BY 'x y' HOST ANY",
            "CREATE USER a IDENTIFIED WITH sha256_password BY '***' HOST ANY",
        ),
        (
            "jdbc:postgresql://h/db?user=a&password=p@s#1&ssl=true",
            "jdbc:postgresql://h/db?user=a&password=***&ssl=true",
        ),
        ("x=jdbc:oracle:thin:scott/tiger@h:1521/x", "x=jdbc:oracle:thin:scott/***@h:1521/x"),
        ("mysql --password=b --host=h", "mysql --password=*** --host=h"),
        ("x (password: b) y", "x (password: ***) y"),
        ("{credentials: {a: b, c: {d: e}}, f: g", "{credentials: ***, f: g"),
        (
            "DefaultEndpointsProtocol=https;AccountName=n;AccountKey=a+b/c==;EndpointSuffix=s",
            "DefaultEndpointsProtocol=https;AccountName=n;AccountKey=***;EndpointSuffix=s",
        ),
        ("<a><password>x</password><user>y</user></a>", "<a><password>***</password><user>y</user></a>"),
        ("<password>\n x\n y\n</password>\n", "<password>\n ***\n</password>\n"),
        ("<name>fs.s3a.secret.key</name>\n <value>x</value>", "<name>fs.s3a.secret.key</name>\n <value>***</value>"),
        ("<user name=\"a\" password=\"b c\"/>", "<user name=\"a\" password=\"***\"/>"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE==\nabc=\n-----END RSA PRIVATE KEY-----\nx",
            "-----BEGIN RSA PRIVATE KEY-----\n***\n-----END RSA PRIVATE KEY-----\nx",
        ),
        (
            r#"{"k":"-----BEGIN PRIVATE KEY-----\nMII=\n-----END PRIVATE KEY-----\n"}"#,
            r#"{"k":"-----BEGIN PRIVATE KEY-----\n***\n-----END PRIVATE KEY-----\n"}"#,
        ),
    ]);
    untouched(&["-----BEGIN CERTIFICATE-----\nMIIE==\n-----END CERTIFICATE-----\n", "<name>a</name><value>b</value>"]);
}

#[test]
fn uris() {
    check(&[
        ("postgres://u:p@h:5432/db", "postgres://u:***@h:5432/db"),
        ("redis://:p@h", "redis://:***@h"),
        ("a mongodb://u:p:q@h1:1,h2:2/db b", "a mongodb://u:***@h1:1,h2:2/db b"),
        ("x://u:p@q@h/", "x://u:***@h/"),
        ("x://u:pa/ss#w?d@h/", "x://u:***@h/"),
        ("one://u:p@h two://v:q@i", "one://u:***@h two://v:***@i"),
        ("https://0123456789abcdef0123@sentry.example/1", "https://***@sentry.example/1"),
    ]);
    untouched(&[
        "http://host:80/users/@me",
        "docker://reg:5000/img@sha256:abc",
        "zk://h1:2181,h2:2181/a@b",
        "http://[::1]:80/a@b",
        "ssh://git@host/x",
        "https://host/",
        "://:@",
        "tcp://127.0.0.1:1",
    ]);
}

#[test]
fn binary_values_keep_their_length() {
    let value = b"PBUF\x00\x0a\x1bjdbc://u:pw@h/db\x00\xff\xfe\x00password=abc\x00z";
    let expected = b"PBUF\x00\x0a\x1bjdbc://u:**@h/db\x00\xff\xfe\x00password=***\x00z";
    assert_eq!(mask(value).as_deref(), Some(&expected[..]));
    assert_eq!(mask(expected), None);
    assert_eq!(mask(b"\x00\xac\xed\x00\x05t\x00\x03abc"), None);
    // Latin-1 has no control characters: text.
    assert_eq!(mask(b"password=p\xe4ss\n").as_deref(), Some(&b"password=***\n"[..]));
}

#[test]
fn names_of_znodes() {
    let named = |name: &str, value: &str| {
        mask_named(name, value.as_bytes()).map(|masked| String::from_utf8(masked).expect("text"))
    };
    assert_eq!(named("db.password", "hunter2\n").as_deref(), Some("***"));
    assert_eq!(named("password", "123").as_deref(), Some("***"));
    assert_eq!(named("credentials", r#"{"user":"a","n":1}"#).as_deref(), Some(r#"{"user":"***","n":"***"}"#));
    assert_eq!(named("token", "abc").as_deref(), Some("***"));
    assert_eq!(named("auth-0000000001", "host:1"), None);
    for (name, value) in [("password", ""), ("password", "***"), ("password", "true"), ("token", "12"), ("x", "abc")] {
        assert_eq!(named(name, value), None, "{name} {value}");
    }
    assert_eq!(mask_named("password", b"\x00\x01").as_deref(), Some(&b"***"[..]));
}

/// Pieces that meet all rules, so that random strings of them meet each other.
fn piece() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "password",
        "token",
        "auth",
        "secret",
        "user",
        "apiKey",
        "API",
        "key",
        "credentials",
        "=",
        ":",
        ": ",
        " = ",
        "\"",
        "'",
        "\\",
        "\\\"",
        "\\n",
        "\n",
        "\r\n",
        " ",
        "  ",
        "\t",
        ",",
        ";",
        "&",
        "?",
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        "<",
        ">",
        "</",
        "://",
        "@",
        "/",
        "#",
        "- ",
        "|",
        ">-",
        "***",
        "*",
        "x",
        "12",
        "true",
        "null",
        "oracle:thin:",
        "IDENTIFIED BY '",
        "--password ",
        " value=",
        "name=",
        "\"\"\"",
        "-----BEGIN PRIVATE KEY-----",
        "-----END",
        "<password>",
        "<name>",
        "</name>",
        "<value>",
        "Bearer ",
        "ü",
        "http",
        "\0",
        "name",
        "value",
        "`",
        "!!a",
        "{\"",
        "\":\"",
        "\",\"",
        "\"}",
        "\":{\"",
        "\":[",
        "\\u0041",
        "--",
        "==",
        "=>",
        "export ",
    ]);
    prop_oneof![9 => fixed.prop_map(str::to_owned), 1 => "[a-zA-Z0-9]{1,6}"]
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let text = prop::collection::vec(piece(), 0..8).prop_map(|pieces| pieces.concat());
    let name =
        prop_oneof![piece(), prop::sample::select(vec!["password", "name", "value", "token"]).prop_map(str::to_owned)];
    let leaf = prop_oneof![
        text.prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null)
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::vec((name.clone(), inner.clone()), 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            inner.prop_map(|inner| serde_json::Value::from(inner.to_string())),
        ]
    })
}

fn holds(data: &[u8]) -> Result<(), TestCaseError> {
    if let Some(once) = mask(data) {
        prop_assert!(once.len() <= 3 * data.len(), "grew");
        let twice = mask(&once);
        prop_assert!(
            twice.is_none(),
            "of {:?}\nonce  {:?}\ntwice {:?}",
            String::from_utf8_lossy(data),
            String::from_utf8_lossy(&once),
            twice.as_deref().map(String::from_utf8_lossy)
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..300)) {
        holds(&data)?;
    }

    #[test]
    fn any_mixture(pieces in prop::collection::vec(piece(), 0..30)) {
        holds(pieces.concat().as_bytes())?;
    }

    #[test]
    fn any_json(value in json_value()) {
        let text = value.to_string();
        holds(text.as_bytes())?;
        if let Some(masked) = mask(text.as_bytes()) {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&masked).is_ok(), "no JSON any more: {text}");
        }
    }
}

/// The longest value that a server with a raised `jute.maxbuffer` commonly gives, made to be slow.
#[test]
fn time_is_linear() {
    let patterns = [
        "=",
        ":",
        " ",
        "\n",
        "a",
        "\"",
        "\\",
        "password=",
        "password: ",
        "://",
        "://u:x/",
        "a://u:p@",
        "{",
        "[",
        "\"a\":",
        "{\"a\":",
        "password='",
        "password=\"\"\"",
        "'''",
        "-----BEGIN PRIVATE KEY-----",
        "<password>",
        "<name>password</name>",
        ",a",
        "a,",
        "password={",
        " password",
        "password\\\n",
        "- ",
        "#",
        "credentials:\n ",
        "\\\"",
        "Bearer ",
        "token=1;",
        "--password ",
        "--",
        "BY '",
        "name=\"",
        "name=\"password\" ",
        "oracle:thin:",
        "oracle:thin:a/",
        "&a",
        "\u{fc}",
        "\"{\\\"a\\\":\\\"",
    ];
    for pattern in patterns {
        let (small, large) = (pattern.repeat(20_000 / pattern.len()), pattern.repeat(320_000 / pattern.len()));
        let time = |text: &str, runs: usize| {
            let run = |_| {
                let start = std::time::Instant::now();
                std::hint::black_box(mask(text.as_bytes()));
                start.elapsed()
            };
            (0..runs).map(run).min().unwrap_or_default()
        };
        let (small, large) = (time(&small, 3), time(&large, 1));
        // 16 times the text; a quadratic rule would take 256 times as long.
        let bound = small * 100 + std::time::Duration::from_millis(100);
        assert!(large < bound, "{pattern:?}: {small:?}, then {large:?}");
    }
}

#[test]
fn leaves_random_bytes_alone() {
    let mut state = 1u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..200 {
        let random: Vec<u8> = (0..2_000).flat_map(|_| next().to_le_bytes()).collect();
        assert_eq!(mask(&random), None);
    }
}
