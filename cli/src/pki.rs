//! `ridegate pki`: a development certificate authority.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use jiff::SignedDuration;
use ridegate_gateway::admission::identity::Identity;
use ridegate_sim::pki::{Files, Pki};

use crate::{EXIT_USAGE, fail, tell};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a development CA, a certificate for the gateway and one for a caller of every role.
    Init(Init),
    /// Certify one more caller, with the CA that `init` made.
    Issue(Issue),
}

#[derive(clap::Args)]
pub(crate) struct Init {
    /// A folder; made if it is not there. One that has a CA is refused.
    folder: PathBuf,
    /// A name or address by which the gateway is reached, beside localhost. May be repeated.
    #[arg(long, value_name = "HOST")]
    name: Vec<String>,
    /// How long the certificates live.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(i64).range(1..=3650))]
    days: i64,
}

#[derive(clap::Args)]
pub(crate) struct Issue {
    /// The folder of the CA.
    folder: PathBuf,
    /// Whom: urn:ridegate:validator:OPERATOR:DEVICE, urn:ridegate:partner:PARTNER, urn:ridegate:ticketing:OPERATOR:DEVICE or
    /// urn:ridegate:operator:NAME.
    identity: String,
    /// Name of the files; by default the identity's own words.
    #[arg(long, value_name = "NAME")]
    file: Option<String>,
    /// How long the certificate lives.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(i64).range(1..=3650))]
    days: i64,
}

/// A caller of every role.
const CALLERS: [(&str, &str); 4] = [
    ("validator", "urn:ridegate:validator:bjsubway:gate-1"),
    ("partner", "urn:ridegate:partner:yikatong"),
    ("ticketing", "urn:ridegate:ticketing:bjsubway:window-1"),
    ("operator", "urn:ridegate:operator:dev"),
];

pub(crate) fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::Init(arguments) => init(arguments),
        Command::Issue(arguments) => {
            if let Err(error) = Identity::parse(&arguments.identity) {
                return fail(EXIT_USAGE, &format!("identity: {error}"));
            }
            if arguments.file.as_deref().is_some_and(|name| !is_file_name(name)) {
                return fail(
                    EXIT_USAGE,
                    &"--file: expected a name for the files, not a path, and neither ca nor crl",
                );
            }
            issue(arguments)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &format!("{error:#}")),
    }
}

fn init(arguments: &Init) -> Result<()> {
    for name in ["ca", "server"].into_iter().chain(CALLERS.map(|(name, _)| name)) {
        Files::of(&arguments.folder, name).must_be_new()?;
    }
    let pki = Pki::create(&arguments.folder, days(arguments.days))?;
    let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let hosts: Vec<String> = local.into_iter().chain(arguments.name.iter().cloned()).collect();
    pki.server(&hosts)?;
    tell(&format!(
        "{}: a development CA. Its key can certify anybody: keep it.\n",
        arguments.folder.display()
    ));
    tell(&format!("  {:<14} the CA: what the gateway and its callers trust", "ca.pem"));
    tell(&format!("  {:<14} the gateway: {}", "server.pem", hosts.join(", ")));
    for (name, identity) in CALLERS {
        pki.caller(name, identity)?;
        tell(&format!("  {:<14} {identity}", format!("{name}.pem")));
    }
    let folder = std::path::absolute(&arguments.folder)?;
    tell(&"\nEach has its key beside it (NAME.key). In ridegate.toml:\n\n[tls]");
    for (key, file) in [("certificate", "server.pem"), ("key", "server.key"), ("client_ca", "ca.pem")] {
        tell(&format!("{key} = {:?}", folder.join(file).display().to_string()));
    }
    Ok(())
}

fn issue(arguments: &Issue) -> Result<()> {
    let words = arguments.identity.trim_start_matches("urn:ridegate:").replace(':', "-");
    let name = arguments.file.clone().unwrap_or(words);
    let pki = Pki::open(&arguments.folder, days(arguments.days))?;
    let files = pki.caller(&name, &arguments.identity)?;
    tell(&format!("{}\n{}", files.certificate.display(), files.key.display()));
    Ok(())
}

fn is_file_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(plain) && !matches!(name, "ca" | "crl")
}

const fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}
