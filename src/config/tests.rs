use std::fs;

use clap::Parser;

use super::*;
use crate::lens::Values;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    agent: AgentFlags,
}

fn flags(args: &[&str]) -> AgentFlags {
    let args = std::iter::once("agent").chain(args.iter().copied());
    Cli::try_parse_from(args).unwrap_or_else(|error| panic!("{error}")).agent
}

/// Loads a file's text under variables and flags.
fn load(file: &str, variables: &[(&str, &str)], args: &[&str]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("zktrail.toml");
    fs::write(&path, file).expect("a file");
    Config::load(Some(&path), flags(args), &variables.iter().copied().collect())
}

fn error(file: &str, variables: &[(&str, &str)], args: &[&str]) -> String {
    load(file, variables, args).expect_err("refused").to_string()
}

fn from_flags(args: &[&str]) -> Config {
    Config::load(None, flags(args), &Environment::default()).expect("a config")
}

#[test]
fn defaults() {
    let config = from_flags(&["--ensemble", "prod=h"]);
    assert_eq!(config.data_dir, PathBuf::from("./history"));
    assert_eq!(config.http.to_string(), "127.0.0.1:9847");
    assert!(config.http.is_loopback());
    assert_eq!((config.postgres.to_string().as_str(), config.postgres_connections), ("127.0.0.1:5847", 100));
    assert_eq!(config.log, LogConfig { level: LogLevel::Info, format: LogFormat::Human });
    assert_eq!(config.flush, FlushConfig { age_max: Duration::from_secs(300), bytes_max: 64 << 20 });
    assert_eq!(config.retention.age_max, Some(Duration::from_secs(90 * 86_400)));
    assert_eq!(config.retention.bytes_max, Some(50_000_000_000));
    assert_eq!(config.retention.free_space_floor, 0.05);
    assert_eq!(config.query, QueryLimits::default());
    assert_eq!((config.subtrees.len(), config.subtrees_max, config.values.len()), (0, 100, 0));
    assert_eq!(config.config_subtrees.len(), 0);
    let [ensemble] = config.ensembles.as_slice() else { panic!("one ensemble") };
    assert_eq!(
        (ensemble.name.as_str(), ensemble.connect_string().as_str(), ensemble.scope.as_str()),
        ("prod", "h:2181", "/")
    );
    assert_eq!(ensemble.session_timeout, Duration::from_secs(30));
    assert_eq!(ensemble.budget, Budget::default());
    assert_eq!(ensemble.acl_sweep, Some(Duration::from_secs(900)));
    assert_eq!((ensemble.session_sample, ensemble.admin_urls.len()), (Some(Duration::from_secs(60)), 0));
    assert_eq!(ensemble.jute_maxbuffer, 1_048_575);
    assert_eq!((ensemble.server_sample, config.server_discovery), (Some(Duration::from_secs(10)), true));
    assert!(ensemble.monitor_urls.is_empty() && ensemble.metrics_urls.is_empty());
    assert!(ensemble.auth.is_empty() && !ensemble.new_incarnation);
}

#[test]
fn the_example_is_the_defaults() {
    let config = load(Config::example(), &[], &[]).expect("the example loads");
    let defaults = from_flags(&["--ensemble", "prod=10.0.0.1,10.0.0.2,10.0.0.3"]);
    assert_eq!(format!("{config:?}"), format!("{defaults:?}"));
}

#[test]
fn the_example_has_every_key_and_its_comments_load_too() {
    let example = Config::example();
    for (key, _) in environment::keys() {
        let has = example.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ', '[']);
            line.strip_prefix(&key).is_some_and(|rest| rest.trim_start().starts_with(['=', ']']))
        });
        assert!(has, "the example lacks {key}");
    }
    // With every commented key switched on, only the two ways to authenticate collide.
    let is_key = |line: &str| {
        line.starts_with("# [[") || line.starts_with("# ") && line.contains(" = ") && !line.contains("flag (")
    };
    let all: Vec<_> =
        example.lines().map(|line| if is_key(line) { line.trim_start_matches("# ") } else { line }).collect();
    let all = all.join("\n");
    let message = error(&all, &[], &[]);
    assert!(message.contains("auth_file and auth_env are both given"), "{message}");
    let one = ["auth_file", "auth_env", "sasl_password_env"].iter().fold(all, |all, key| all.replace(key, "#"));
    let none = load(&one, &[], &[]).expect("loads");
    assert_eq!((none.ensembles.len(), none.values.len()), (2, 2));
    assert!(none.ensembles.iter().any(|ensemble| ensemble.new_incarnation));
}

#[test]
fn every_flag_is_a_key_and_a_variable() {
    for (key, is_list) in environment::keys() {
        let value = match key.as_str() {
            "ensemble" => "prod=h",
            "http" | "postgres" => "off",
            "tls_required" | "zk_tls" => "true",
            "zk_hostname_check" => "false",
            "sasl" => "gssapi",
            "log_level" => "warn",
            "log_format" => "json",
            "free_space_floor" => "7%",
            "values" => "/x/**=none",
            "subtree" | "config_subtree" => "/x",
            "new_incarnation" => "prod",
            "auth_env" | "sasl_password_env" => "AUTH",
            "zk_ca" | "zk_cert" | "zk_key" | "sasl_password_file" | "auth_file" | "tls_cert" | "tls_key"
            | "users_file" | "access_log" => "/nowhere",
            "http_host" => "zktrail.example.org",
            "session_sample" => "20s",
            "admin_url" => "http://{host}:8080",
            "server_sample" => "20s",
            "server_discovery" => "off",
            "metrics_url" => "http://{host}:7000",
            "source" => "txnlog=/var/lib/zookeeper/version-2",
            key if key.contains("age") || key.contains("time") || key == "acl_sweep" => "20s",
            _ => "2000000",
        };
        let ensemble = if key == "ensemble" { "" } else { "ensemble = \"prod=h\"\n" };
        // A list in the file may also be a single value, except for ensembles and values.
        let text =
            if matches!(key.as_str(), "ensemble" | "values") { format!("[{value:?}]") } else { format!("{value:?}") };
        let ensemble = ensemble.replace("\"prod=h\"", "[\"prod=h\"]");
        let by_file = load(&format!("{ensemble}{key} = {text}\n"), &[("AUTH", "digest:a:b")], &[]);
        let name = format!("ZKTRAIL_{}", key.to_uppercase());
        let by_variable = load(&ensemble, &[(&name, value), ("AUTH", "digest:a:b")], &[]);
        let flag = format!("--{}", key.replace('_', "-"));
        let joined = format!("{flag}={value}");
        let by_flag = load(&ensemble, &[("AUTH", "digest:a:b")], &[&joined]);
        let (a, b, c) = (format!("{by_file:?}"), format!("{by_variable:?}"), format!("{by_flag:?}"));
        assert_eq!(a, b, "{key}, {is_list}");
        assert_eq!(a, c, "{key}, {is_list}");
        let expected_failure = [
            "auth_file",
            "multi_reads",
            "subtree_max",
            "postgres_connections",
            "query_concurrent",
            "tls_cert",
            "tls_key",
            "zk_tls",
            "zk_cert",
            "zk_key",
            "zk_hostname_check",
            "sasl_user",
            "sasl_password_file",
            "sasl_password_env",
            "sasl_service",
        ]
        .contains(&key.as_str());
        assert_eq!(by_file.is_err(), expected_failure, "{key}: {a}");
        if key != "ensemble" && !expected_failure {
            assert_ne!(a, format!("{:?}", load(&ensemble, &[("AUTH", "digest:a:b")], &[])), "{key} has no effect");
        }
    }
}

#[test]
fn flags_over_environment_over_file() {
    let file = "ensemble = ['prod=h', 'dev=i']\nflush_age = '10s'\nsession_timeout = ['11s', 'prod=12s']\n";
    let age =
        |variables: &[(&str, &str)], args: &[&str]| load(file, variables, args).expect("loads").flush.age_max.as_secs();
    assert_eq!(age(&[], &[]), 10);
    assert_eq!(age(&[("ZKTRAIL_FLUSH_AGE", "20s")], &[]), 20);
    assert_eq!(age(&[("ZKTRAIL_FLUSH_AGE", "20s")], &["--flush-age", "30s"]), 30);
    assert_eq!(age(&[("ZKTRAIL_FLUSH_AGE", "")], &[]), 10);
    let timeouts = |args: &[&str]| -> Vec<u64> {
        let config = load(file, &[], args).expect("loads");
        config.ensembles.iter().map(|ensemble| ensemble.session_timeout.as_secs()).collect()
    };
    assert_eq!(timeouts(&[]), [12, 11]);
    assert_eq!(timeouts(&["--session-timeout", "13s"]), [13, 13]);
    assert_eq!(timeouts(&["--session-timeout", "13s", "--session-timeout", "dev=14s"]), [13, 14]);
    assert_eq!(timeouts(&["--session-timeout", "dev=14s"]), [12, 14]);
}

#[test]
fn tables_keep_what_is_said_of_their_name() {
    let file = "acl_sweep = 'off'\n[[ensemble]]\nname = 'prod'\nservers = 'h,i/c'\nbytes_per_second = 'off'\nacl_sweep = '1h'\n\
                [[ensemble]]\nservers = 'dev=j'\n";
    let config = load(file, &[], &[]).expect("loads");
    let [prod, dev] = config.ensembles.as_slice() else { panic!("two ensembles") };
    assert_eq!((prod.name.as_str(), prod.scope.as_str(), dev.name.as_str()), ("prod", "/c", "dev"));
    assert_eq!((prod.budget.bytes_per_second, dev.budget.bytes_per_second), (None, Some(20_000_000)));
    assert_eq!((prod.acl_sweep, dev.acl_sweep), (Some(Duration::from_secs(3600)), None));
    // Flags replace the list of ensembles; the tables' settings stay with their names.
    let replaced = load(file, &[], &["--ensemble", "prod=k"]).expect("loads");
    let [prod] = replaced.ensembles.as_slice() else { panic!("one ensemble") };
    assert_eq!((prod.connect_string().as_str(), prod.budget.bytes_per_second), ("k:2181", None));
}

#[test]
fn unknown_keys_are_named_with_their_line_and_never_their_value() {
    let message = error("data_dir = 'x'\n\nflush_agee = '1m'\n", &[], &[]);
    assert!(message.contains("line 3, key \"flush_agee\"") && message.contains("unknown field"), "{message}");
    let message = error("[[ensemble]]\nservers = 'h'\nauth = 'digest:bob:hunter2'\n", &[], &[]);
    assert!(message.contains("line 3, key \"auth\""), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
    let message = error("[[values]]\npath = '/a'\nrecord = 'full'\nmasked = true\n", &[], &[]);
    assert!(message.contains("line 4, key \"masked\""), "{message}");
    let message = error("[query]\nrows = 1\n", &[], &[]);
    assert!(message.contains("line 1, key") && message.contains("query"), "{message}");
}

#[test]
fn bad_values_say_what_to_write() {
    let message = error("a = 1\n", &[], &[]);
    assert!(message.contains("line 1"), "{message}");
    let message = error("\nflush_age = 5\n", &[], &[]);
    assert!(message.contains("line 2, key \"flush_age\"") && message.contains("90d, 15m"), "{message}");
    let message = error("flush_age = \n", &[], &[]);
    assert!(message.contains("line 1"), "{message}");
    let message = error("", &[("ZKTRAIL_HTTP", "nowhere")], &[]);
    assert!(message.contains("ZKTRAIL_HTTP") && message.contains("127.0.0.1:9847"), "{message}");
    assert!(error("", &[], &[]).contains("--ensemble"));
    assert!(error("", &[], &["--ensemble", "a=h", "--ensemble", "a=i"]).contains("given twice"));
    assert!(error("", &[], &["--ensemble", "a=h", "--acl-sweep", "b=1m"]).contains("\"b\""));
    assert!(error("", &[], &["--ensemble", "a=h", "--session-timeout", "1ms"]).contains("1s to 1h"));
    assert!(error("", &[], &["--ensemble", "a=h", "--subtree", "x"]).contains("must start with '/'"));
    assert!(error("", &[], &["--ensemble", "a=h", "--values", "x=none"]).contains("start it with"));
    let many = ["--ensemble", "a=h", "--subtree-max", "1", "--subtree", "/a", "--subtree", "/b"];
    assert!(error("", &[], &many).contains("subtree_max is 1"));
    let config = many.map(|flag| if flag == "--subtree" { "--config-subtree" } else { flag });
    assert!(error("", &[], &config).contains("listed by config_subtree, but subtree_max is 1"));
    assert!(error("", &[], &["--ensemble", "a=h", "--config-subtree", "x"]).contains("config_subtree \"x\""));
    assert!(error("", &[], &["--ensemble", "a=h", "--jute-maxbuffer", "b=4MiB"]).contains("\"b\""));
    assert!(
        Config::load(Some(Path::new("/nowhere/x.toml")), flags(&[]), &Environment::default())
            .expect_err("refused")
            .to_string()
            .contains("/nowhere/x.toml")
    );
}

#[test]
fn secrets_come_from_files_and_variables_and_are_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("auth");
    fs::write(&path, "# who\ndigest:bob:hunter2\n\nsasl:x:y:z\r\n").expect("a file");
    let path = path.display().to_string();
    let args = ["--ensemble", "a=h", "--ensemble", "b=i", "--auth-file", &format!("a={path}"), "--auth-env", "SECRET"];
    let config = load("", &[("SECRET", "digest:eve:swordfish")], &args).expect("loads");
    let [a, b] = config.ensembles.as_slice() else { panic!("two ensembles") };
    let credentials: Vec<_> = a.auth.iter().map(|auth| (auth.scheme.as_str(), auth.credential.expose())).collect();
    assert_eq!(credentials, [("digest", "bob:hunter2"), ("sasl", "x:y:z")]);
    assert_eq!(b.auth.first().map(|auth| auth.credential.expose()), Some("eve:swordfish"));
    let shown = format!("{config:?}{}", a.auth[0].credential);
    assert!(!shown.contains("hunter2") && !shown.contains("swordfish"), "{shown}");
    let variables: Environment = [("SECRET", "swordfish")].into_iter().collect();
    assert!(!format!("{variables:?}").contains("swordfish"));

    let message = error("", &[("SECRET", "swordfish")], &["--ensemble", "a=h", "--auth-env", "SECRET"]);
    assert!(message.contains("line 1 of SECRET") && !message.contains("swordfish"), "{message}");
    assert!(error("", &[], &["--ensemble", "a=h", "--auth-env", "SECRET"]).contains("SECRET"));
    assert!(error("", &[], &["--ensemble", "a=h", "--auth-file", "/nowhere"]).contains("/nowhere"));
    let both = ["--ensemble", "a=h", "--auth-env", "S", "--auth-file", "/nowhere"];
    assert!(error("", &[], &both).contains("choose one"));
}

#[test]
fn tls_and_sasl_belong_to_an_ensemble() {
    let file = "zk_ca = '/all.pem'\nzk_tls = ['dev=false']\n\
                [[ensemble]]\nname = 'prod'\nservers = 'h'\nzk_cert = '/a.pem'\nzk_key = '/a.key'\n\
                zk_hostname_check = false\nsasl_user = 'ann=1'\nsasl_password_file = '/p'\n\
                [[ensemble]]\nservers = 'dev=i'\nsasl = 'gssapi'\nsasl_service = 'zk/zk.example'\n\
                [[ensemble]]\nservers = 'other=j'\nzk_ca = '/other.pem'\n";
    let config = load(file, &[], &[]).expect("loads");
    let [prod, dev, other] = config.ensembles.as_slice() else { panic!("three ensembles") };
    let tls = prod.tls.as_ref().expect("TLS");
    let identity = TlsFiles { certificate: "/a.pem".into(), key: "/a.key".into() };
    assert_eq!((tls.ca.to_str(), &tls.identity, tls.check_names), (Some("/all.pem"), &Some(identity), false));
    let password = SaslPassword::File("/p".into());
    assert_eq!(prod.sasl, Some(EnsembleSasl::DigestMd5 { user: "ann=1".into(), password }));
    assert_eq!(dev.tls, None);
    assert_eq!(dev.sasl, Some(EnsembleSasl::Gssapi { service: "zk".into(), host: Some("zk.example".into()) }));
    let tls = other.tls.as_ref().expect("TLS");
    assert_eq!((tls.ca.to_str(), &tls.identity, tls.check_names), (Some("/other.pem"), &None, true));

    let variable = ["--ensemble", "a=h", "--sasl-user", "bob", "--sasl-password-env", "SECRET"];
    let config = load("", &[("SECRET", "hunter2")], &variable).expect("loads");
    let shown = format!("{config:?}");
    assert!(shown.contains("SECRET") && !shown.contains("hunter2"), "{shown}");
    assert!(error("", &[], &variable).contains("SECRET"));
    for (args, words) in [
        (&["--zk-tls"][..], "zk_ca is not given"),
        (&["--zk-ca", "/c", "--zk-cert", "/x"], "zk_cert is given without zk_key"),
        (&["--zk-ca", "/c", "--zk-key", "/x"], "zk_key is given without zk_cert"),
        (&["--zk-cert", "/x", "--zk-key", "/x"], "zk_ca is not given"),
        (&["--sasl-user", "bob"], "sasl_user is given without its password"),
        (&["--sasl", "digest-md5"], "without sasl_user and its password"),
        (&["--sasl-password-file", "/p"], "without sasl_user"),
        (&["--sasl-user", "b", "--sasl-password-file", "/p", "--sasl-password-env", "E"], "choose one"),
        (&["--sasl", "gssapi", "--sasl-service", "/h"], "no principal"),
    ] {
        let message = error("", &[], &[&["--ensemble", "a=h"], args].concat());
        assert!(message.contains(words), "{message}");
    }
    assert!(load("", &[], &["--ensemble", "a=h", "--sasl-user", "b", "--sasl", "off"]).is_ok());
}

#[test]
fn rules_of_all_levels_in_order() {
    let file = "ensemble = ['a=h']\n[[values]]\npath = '/c/**'\nrecord = 'full'\nbytes_max = '1KiB'\nmask = false\n";
    let config = load(file, &[("ZKTRAIL_VALUES", "/b/**=hash")], &["--values", "/a=x/**=none"]).expect("loads");
    let rules: Vec<_> = config.values.iter().map(|rule| (rule.path.as_str(), rule.values)).collect();
    let full = Values::Full { bytes_max: 1024, mask: false };
    assert_eq!(rules, [("/a=x/**", Values::None), ("/b/**", Values::Hash), ("/c/**", full)]);
    let message = error("[[values]]\npath = '/c'\nrecord = 'hash'\nmask = true\n", &[], &[]);
    assert!(message.contains("belong to record"), "{message}");
}

#[test]
fn lists_in_variables() {
    let config =
        load("", &[("ZKTRAIL_ENSEMBLE", "a=h:1,i:2/c; b=j"), ("ZKTRAIL_SUBTREE", "/a;/b")], &[]).expect("loads");
    let names: Vec<_> = config.ensembles.iter().map(|ensemble| ensemble.name.as_str()).collect();
    assert_eq!((names, config.subtrees), (vec!["a", "b"], vec!["/a".to_owned(), "/b".to_owned()]));
}

#[test]
fn doors() {
    let parsed = |text: &str| text.parse::<ListenAddr>().map(|address| (address.to_string(), address.is_loopback()));
    assert_eq!(parsed("off"), Ok(("off".into(), true)));
    assert_eq!(parsed("[::1]:9"), Ok(("[::1]:9".into(), true)));
    assert_eq!(parsed("localhost:9"), Ok(("127.0.0.1:9".into(), true)));
    assert_eq!(parsed("127.8.8.8:9"), Ok(("127.8.8.8:9".into(), true)));
    assert_eq!(parsed("[::ffff:127.0.0.1]:9").map(|(_, loopback)| loopback), Ok(true));
    assert_eq!(parsed("0.0.0.0:9"), Ok(("0.0.0.0:9".into(), false)));
    assert_eq!(parsed("[::]:9").map(|(_, loopback)| loopback), Ok(false));
    for bad in ["", "9847", ":9847", "host:9", "127.0.0.1"] {
        assert!(parsed(bad).is_err(), "{bad}");
    }
}

#[test]
fn flags_are_sound_and_explained() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
    for argument in Cli::command().get_arguments().filter(|argument| argument.get_id() != "help") {
        assert!(argument.get_help().is_some(), "{argument}");
    }
}

#[test]
fn a_source_is_of_one_ensemble_or_of_all() {
    let parse = |text: &str| text.parse::<super::SourceSpec>().map(|source| (source.ensemble, source.txnlog.len()));
    assert_eq!(parse("txnlog=/a/version-2"), Ok((None, 1)));
    assert_eq!(parse("prod=txnlog=/logs,/data"), Ok((Some("prod".to_owned()), 2)));
    for wrong in ["", "/a", "txnlog=", "txnlog=a,b,c", "Prod=txnlog=/a", "prod=/a"] {
        let error = parse(wrong).expect_err(wrong);
        assert!(error.contains("txnlog=FOLDER"), "{error}");
    }
}
