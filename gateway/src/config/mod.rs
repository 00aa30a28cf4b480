//! `ridegate.toml`: read, and refused if anything in it is not understood, before any port opens.

mod load;
mod partners;
mod values;

pub use load::{ConfigError, ConfigFile, in_file};
pub use partners::{PartnerFiles, PartnerTexts, profile_files};
pub use values::{Address, Endpoint, LogFormat, LogLevel, Number, Positive, Size, Span};

use std::{collections::HashMap, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

/// The whole file. Everything but the authority's endpoint has a default; `ridegate.example.toml` says what each
/// means.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the example file documents every key, and a test keeps it complete")]
pub struct Config {
    #[serde(default)]
    pub listen: Listen,
    pub tls: Option<Tls>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub operations: Operations,
    #[serde(default)]
    pub log: Log,
    pub authority: Authority,
    #[serde(default)]
    pub registry: Registry,
    #[serde(default)]
    pub retention: Retention,
    #[serde(default)]
    pub redis: Redis,
    #[serde(default)]
    pub partners: Partners,
    #[serde(default)]
    pub policy: Policy,
    #[serde(default)]
    pub verdict: Verdict,
    #[serde(default)]
    pub facts: Facts,
    #[serde(default)]
    pub quota: Quota,
    #[serde(default)]
    pub cards: Cards,
    #[serde(default)]
    pub tickets: Tickets,
    #[serde(default)]
    pub memory: Memory,
    #[serde(default)]
    pub fleets: Fleets,
}

impl Config {
    /// The JSON schema of the file, for editors.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($key:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        #[expect(missing_docs, reason = "the example file documents every key, and a test keeps it complete")]
        pub struct $name { $(pub $key: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }
    };
}

/// The health authority.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the example file documents every key, and a test keeps it complete")]
pub struct Authority {
    pub endpoint: Endpoint,
    pub ca: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    #[serde(default = "defaults::lookup_timeout")]
    pub lookup_timeout: Span<1, 10_000>,
    #[serde(default = "defaults::exchange_timeout")]
    pub exchange_timeout: Span<1, 60_000>,
    #[serde(default = "defaults::calls")]
    pub concurrent_calls: Positive<1024>,
}

/// In milliseconds.
const HOUR: u64 = 3_600_000;
const MEGABYTE: u64 = 1_000_000;
const TERABYTE: u64 = 1_000_000 * MEGABYTE;

mod defaults {
    use super::{Positive, Span};

    pub(super) const fn lookup_timeout() -> Span<1, 10_000> {
        Span::millis(80)
    }
    pub(super) const fn exchange_timeout() -> Span<1, 60_000> {
        Span::millis(3_000)
    }
    pub(super) const fn reload() -> Span<10, 86_400_000> {
        Span::millis(500)
    }
    pub(super) const fn calls() -> Positive<1024> {
        Positive::new(32)
    }
}

section! {
    /// Where the gateway listens.
    Listen {
        address: Address = Address::local(7443),
        notice: Span<0, 600_000> = Span::millis(2_000),
        drain: Span<0, 600_000> = Span::millis(5_000),
        reflection: bool = false,
    }
}

/// The gateway's certificate, and whose certificates callers must show.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the example file documents every key, and a test keeps it complete")]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_ca: PathBuf,
    pub client_crl: Option<PathBuf>,
    #[serde(default = "defaults::reload")]
    pub reload: Span<10, 86_400_000>,
}

section! {
    /// What callers may take.
    Limits {
        connections: Positive<1_000_000> = Positive::new(20_000),
        per_caller: Positive<1_000_000> = Positive::new(64),
        anonymous: Positive<1_000_000> = Positive::new(256),
        anonymous_per_address: Positive<1_000_000> = Positive::new(8),
        handshakes: Positive<100_000> = Positive::new(512),
        handshakes_per_address: Positive<100_000> = Positive::new(128),
        handshake: Span<10, 60_000> = Span::millis(3_000),
        streams: Positive<10_000> = Positive::new(128),
        header_bytes: Number<1_024, 1_000_000> = Number::new(8_192),
        call: Span<10, 600_000> = Span::millis(10_000),
        idle: Span<10, 86_400_000> = Span::millis(600_000),
        age: Span<10, 86_400_000> = Span::millis(1_800_000),
        ping_every: Span<10, 3_600_000> = Span::millis(30_000),
        ping_timeout: Span<10, 3_600_000> = Span::millis(10_000),
    }
}

section! {
    /// Metrics and probes over HTTP. Unset: none.
    Operations {
        address: Option<Address> = None,
    }
}

section! {
    /// What is logged to standard error.
    Log {
        format: LogFormat = LogFormat::Text,
        level: LogLevel = LogLevel::Info,
    }
}

section! {
    /// The registry of links.
    Registry {
        path: PathBuf = "ridegate.db".into(),
        url: Option<String> = None,
        password_file: Option<PathBuf> = None,
        connections: Positive<1_000> = Positive::new(16),
        key_file: PathBuf = "ridegate.key".into(),
        timeout: Span<1, 10_000> = Span::millis(50),
        follow: Span<10, 200> = Span::millis(100),
        stale_links_max: Span<0, 86_400_000> = Span::millis(300_000),
    }
}

section! {
    /// What replicas share. No nodes: this gateway is alone.
    Redis {
        nodes: Vec<String> = Vec::new(),
        sentinel: Option<String> = None,
        cluster: bool = false,
        user: Option<String> = None,
        password_file: Option<PathBuf> = None,
        sentinel_user: Option<String> = None,
        sentinel_password_file: Option<PathBuf> = None,
        ca: Option<PathBuf> = None,
        certificate: Option<PathBuf> = None,
        key: Option<PathBuf> = None,
        timeout: Span<1, 1_000> = Span::millis(25),
    }
}

section! {
    /// How long is kept what is needed for a while only.
    Retention {
        every: Span<100, 86_400_000> = Span::millis(600_000),
        facts: Span<60_000, 604_800_000> = Span::millis(24 * HOUR),
        answers: Span<60_000, 2_592_000_000> = Span::millis(48 * HOUR),
        delegations: Span<60_000, 604_800_000> = Span::millis(24 * HOUR),
        lost_cards: Span<60_000, 31_536_000_000> = Span::millis(90 * 24 * HOUR),
        batches: Span<60_000, 31_536_000_000> = Span::millis(30 * 24 * HOUR),
        changes: Span<600_000, 604_800_000> = Span::millis(HOUR),
    }
}

section! {
    /// Partner profiles and whom their codes are trusted from. Unset: the test profiles that ship.
    Partners {
        profiles: Option<PathBuf> = None,
        mot_trust: Option<PathBuf> = None,
        reload: Span<10, 86_400_000> = Span::millis(500),
    }
}

section! {
    /// The policy. Unset: beijing-2022, which ships.
    Policy {
        file: Option<PathBuf> = None,
    }
}

section! {
    /// The verdict path.
    Verdict {
        budget: Span<1, 10_000> = Span::millis(150),
        reply_margin: Span<0, 10_000> = Span::millis(20),
        in_flight: Positive<1_000_000> = Positive::new(2_048),
        wait: Span<1, 10_000> = Span::millis(50),
        double_read: Span<0, 60_000> = Span::millis(3_000),
    }
}

section! {
    /// How long facts may be believed.
    Facts {
        unwatched_max: Span<0, 86_400_000> = Span::millis(60_000),
        no_record_max: Span<0, 86_400_000> = Span::millis(30_000),
        stale_max: Span<0, 604_800_000> = Span::millis(12 * 3_600_000),
    }
}

section! {
    /// Partners' budgets where their profiles are silent.
    Quota {
        codes_per_second: Positive<1_000_000_000> = Positive::new(2_000),
        codes_burst: Positive<1_000_000_000> = Positive::new(4_000),
        calls_per_second: Positive<1_000_000_000> = Positive::new(1_000),
        calls_burst: Positive<1_000_000_000> = Positive::new(2_000),
    }
}

section! {
    /// Cards that readers tap: their numbers could be guessed.
    Cards {
        per_device_per_second: Positive<1_000_000> = Positive::new(5),
        per_device_burst: Positive<1_000_000> = Positive::new(20),
        many_cards: Positive<1_000> = Positive::new(90),
        many_cards_window: Span<1_000, 3_600_000> = Span::millis(60_000),
    }
}

section! {
    /// Single tickets: how often a device may ask, and how long a person's place is kept.
    Tickets {
        per_device_per_minute: Positive<1_000_000> = Positive::new(30),
        per_device_burst: Positive<1_000_000> = Positive::new(10),
        hold: Span<1_000, 3_600_000> = Span::millis(120_000),
        unused_max: Span<60_000, 2_592_000_000> = Span::millis(24 * 3_600_000),
    }
}

section! {
    /// How much of each is remembered: so many, or as many as so much memory holds.
    Memory {
        links: Positive<100_000_000> = Positive::new(1_000_000),
        facts: Positive<100_000_000> = Positive::new(1_000_000),
        // No less than one takes.
        authorizations: Size<4_000, TERABYTE> = Size::megabytes(224),
        readings: Positive<100_000_000> = Positive::new(200_000),
        issuers: Size<MEGABYTE, TERABYTE> = Size::megabytes(32),
    }
}

section! {
    /// What validators are told, by operator.
    Fleets {
        full_reasons: Vec<String> = Vec::new(),
        help_default: String = String::new(),
        help: HashMap<String, String> = HashMap::new(),
    }
}
