use clap::Args;

use super::{AgentFlags, SaslMechanism, Scoped};

/// The credentials of the one ensemble that a command speaks to; the agent's flags of the same names.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Credentials of the ensemble")]
pub struct CredentialFlags {
    /// Speak TLS: the authorities that sign the servers' certificates (PEM)
    #[arg(long, value_name = "FILE")]
    zk_ca: Option<String>,

    /// A certificate of our own, for servers that want one (PEM)
    #[arg(long, value_name = "FILE", requires = "zk_ca", requires = "zk_key")]
    zk_cert: Option<String>,

    /// Its private key (PEM, not encrypted)
    #[arg(long, value_name = "FILE", requires = "zk_cert")]
    zk_key: Option<String>,

    /// Whether a server's certificate has to name its host. Default: true
    #[arg(long, value_name = "BOOL", requires = "zk_ca")]
    zk_hostname_check: Option<bool>,

    /// SASL mechanism: digest-md5, or gssapi (Kerberos, in builds that have it)
    #[arg(long, value_name = "MECHANISM")]
    sasl: Option<SaslMechanism>,

    /// User of SASL DIGEST-MD5
    #[arg(long, value_name = "USER")]
    sasl_user: Option<String>,

    /// File whose first line is that user's password
    #[arg(long, value_name = "FILE", requires = "sasl_user")]
    sasl_password_file: Option<String>,

    /// Environment variable that holds that password, instead of a file
    #[arg(long, value_name = "VARIABLE", requires = "sasl_user", conflicts_with = "sasl_password_file")]
    sasl_password_env: Option<String>,

    /// Kerberos principal of the servers: SERVICE or SERVICE/HOST. Default: zookeeper
    #[arg(long, value_name = "PRINCIPAL")]
    sasl_service: Option<String>,
}

impl CredentialFlags {
    /// The variable that holds the password, if one was named.
    pub fn password_variable(&self) -> Option<&str> {
        self.sasl_password_env.as_deref()
    }

    /// Whether any of them was given.
    pub fn is_given(&self) -> bool {
        let texts = [&self.zk_ca, &self.zk_cert, &self.sasl_user, &self.sasl_service];
        texts.iter().any(|text| text.is_some()) || self.sasl.is_some()
    }

    /// Puts what was given among the agent's flags.
    pub fn put(&self, flags: &mut AgentFlags) {
        fn put<T: Clone>(value: &Option<T>, list: &mut Vec<Scoped<T>>) {
            list.extend(value.iter().cloned().map(|value| Scoped { name: None, value }));
        }
        put(&self.zk_ca, &mut flags.zk_ca);
        put(&self.zk_cert, &mut flags.zk_cert);
        put(&self.zk_key, &mut flags.zk_key);
        put(&self.zk_hostname_check, &mut flags.zk_hostname_check);
        put(&self.sasl, &mut flags.sasl);
        put(&self.sasl_user, &mut flags.sasl_user);
        put(&self.sasl_password_file, &mut flags.sasl_password_file);
        put(&self.sasl_password_env, &mut flags.sasl_password_env);
        put(&self.sasl_service, &mut flags.sasl_service);
    }
}
