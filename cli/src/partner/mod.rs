//! `ridegate partner check`: what a partner's engineer runs before going live.

mod ask;
mod code;
mod profile;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use jiff::Timestamp;
use ridegate_adapters::{MotTrust, Opened, PartnerId, Partners, Profile, UnixSeconds};
use ridegate_gateway::{
    app,
    clock::Clock,
    config::{in_file, profile_files},
};

use crate::{Stop, picture, tell};

/// A code fails a check.
const EXIT_FAILED: u8 = 2;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Look at a partner's profile, and at codes as its gateway would: every field read, and each check passed or failed,
    /// with account numbers masked. Exit 0 if all passed, 2 if a code failed, 1 if the partner could not be asked, 64 if
    /// the profile or the arguments cannot be used.
    Check(Arguments),
}

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The profile.
    profile: PathBuf,
    /// A folder with the profiles of other partners, which this one must not conflict with.
    #[arg(long, value_name = "FOLDER")]
    beside: Option<PathBuf>,
    /// Whom MOT codes are trusted from; without it, the test roots that ship.
    #[arg(long, value_name = "FILE")]
    mot_trust: Option<PathBuf>,
    /// A code to look at: its bytes in hexadecimal, or a picture (PNG or JPEG) of it. May be given again.
    #[arg(long = "code", value_name = "HEX|PICTURE")]
    codes: Vec<String>,
    /// When the codes are shown, such as 2022-06-15T12:00:00+08:00. Otherwise: now.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Ask the partner's resolver about the codes that only it can read.
    #[arg(long)]
    ask: bool,
}

/// A code, and where it is from.
struct Shown {
    name: String,
    payload: Vec<u8>,
}

pub(crate) fn run(command: &Command) -> ExitCode {
    let Command::Check(arguments) = command;
    match check(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(stop) => stop.exit(),
    }
}

fn check(arguments: &Arguments) -> Result<bool, Stop> {
    let profile = read(&arguments.profile, Profile::from_toml)?;
    let resolver = app::resolver(&profile, &arguments.profile, profile.test);
    let resolver = resolver.map_err(|error| Stop::usage(error.to_string()))?;
    let (id, partners) = (profile.id.clone(), arguments.partners(profile)?);
    let codes = arguments.shown()?;
    let profile = partners.get(&id).ok_or_else(|| Stop::usage("the profile is not among the partners"))?;
    tell(&profile::shown(&arguments.profile, profile));
    let now = UnixSeconds(arguments.at.unwrap_or_else(|| Clock::system().now()).as_second());
    let mut all_passed = true;
    for Shown { name, payload } in codes {
        let looked = code::look(&partners, &id, &payload, now);
        tell(&format!("\n{name}\n{looked}"));
        all_passed &= looked.passed();
        // Nobody's resolver is shown another's codes: there may be a card's number inside.
        let may_ask = arguments.ask && looked.passed();
        if let (true, Some(Opened::Online(code))) = (may_ask, looked.opened) {
            let answer = ask::ask(resolver.clone(), code, payload, now)?;
            tell(&answer);
            all_passed &= answer.passed();
        }
    }
    Ok(all_passed)
}

impl Arguments {
    /// This partner and those beside it.
    fn partners(&self, profile: Profile) -> Result<Partners, Stop> {
        let mot = match &self.mot_trust {
            Some(file) => read(file, MotTrust::from_toml)?,
            None => MotTrust::shipped().map_err(|error| Stop::usage(error.to_string()))?,
        };
        let id = profile.id.clone();
        let mut profiles = vec![profile];
        profiles.extend(self.others(&id)?);
        Partners::new(profiles, mot).map_err(|error| Stop::usage(error.to_string()))
    }

    /// Those beside it; an older version of its own is not another.
    fn others(&self, id: &PartnerId) -> Result<Vec<Profile>, Stop> {
        let Some(folder) = &self.beside else { return Ok(Vec::new()) };
        let unreadable =
            |error| Stop::usage(format!("--beside: {}: cannot be read: {error}", folder.display()));
        let files = profile_files(folder).map_err(unreadable)?.into_iter();
        let mut others = files.map(|file| read(&file, Profile::from_toml)).collect::<Result<Vec<_>, _>>()?;
        others.retain(|other| other.id != *id);
        Ok(others)
    }

    fn shown(&self) -> Result<Vec<Shown>, Stop> {
        let mut shown = Vec::new();
        for (position, given) in self.codes.iter().enumerate() {
            let name = |which: &str| format!("code {}{which}", position + 1);
            if let Ok(payload) = hex::decode(given.trim()) {
                shown.push(Shown { name: name(""), payload });
                continue;
            }
            if !Path::new(given).exists() {
                return Err(Stop::usage(
                    "--code: expected hexadecimal, two digits a byte, or a picture that exists",
                ));
            }
            let codes = picture::read(Path::new(given))?;
            shown.extend(
                codes.into_iter().map(|payload| Shown { name: name(&format!(", {given}")), payload }),
            );
        }
        Ok(shown)
    }
}

/// Reads a file of TOML; what is wrong with it is said with its line.
fn read<T, E: std::error::Error + 'static>(
    file: &Path,
    from_toml: fn(&str) -> Result<T, E>,
) -> Result<T, Stop> {
    let text = fs::read_to_string(file)
        .map_err(|error| Stop::usage(format!("{}: cannot be read: {error}", file.display())))?;
    from_toml(&text).map_err(|error| Stop::usage(in_file(file, &text, &error).to_string()))
}
