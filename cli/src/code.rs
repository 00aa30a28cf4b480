//! `ridegate code`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use jiff::{Timestamp, tz};
use ridegate_adapters::MAX_VALIDITY_S;
use ridegate_sim::{
    mint::{Flaw, Mint, Order},
    picture,
    riders::Rider,
    site::Site,
};

use crate::{Stop, tell};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Whose code: a partner of the city, such as yikatong.
    #[arg(long, value_name = "PARTNER")]
    partner: String,
    /// A running city's folder: its seed, and its time.
    #[arg(long, value_name = "DIR", conflicts_with = "seed")]
    city: Option<PathBuf>,
    /// Another city's seed; --at says what its clock shows.
    #[arg(long, requires = "at")]
    seed: Option<u64>,
    /// When the code is shown, such as 2022-06-15T12:00:00+08:00. With --city, otherwise: now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// What kind of rider: healthy, exempt, overdue, abnormal, popup, untested, no-record or unlinked.
    #[arg(long, value_name = "KIND", default_value_t = Rider::Healthy)]
    rider: Rider,
    /// Which of the riders of that kind; after the last comes the first again.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "account")]
    turn: usize,
    /// An account of your own instead: 20 digits; a user id of 16 characters, or U and 9 digits, where the partner has those.
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "rider")]
    account: Option<String>,
    /// How long the code lives.
    #[arg(long, value_name = "SECONDS", default_value_t = MAX_VALIDITY_S, value_parser = clap::value_parser!(u16).range(1..))]
    validity: u16,
    #[command(flatten)]
    flaws: Flaws,
    /// Write a picture (PNG) here instead of hex to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(clap::Args)]
#[group(multiple = false)]
struct Flaws {
    /// A code that ran out half a minute ago.
    #[arg(long)]
    expired: bool,
    /// A code signed by another phone than the issuer vouched for.
    #[arg(long)]
    forged: bool,
    /// A code whose second half is missing.
    #[arg(long)]
    damaged: bool,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match make(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => stop.exit(),
    }
}

#[expect(clippy::print_stderr, reason = "the code is what the command is for")]
fn make(arguments: &Arguments) -> Result<(), Stop> {
    arguments.check()?;
    let (seed, at) = arguments.city()?;
    let mint = Mint::new(seed)?;
    let known: Vec<_> = mint.partners().collect();
    let partner = known.iter().position(|partner| *partner == arguments.partner);
    let partner = partner.ok_or_else(|| {
        Stop::usage(format!("--partner: the city has no such partner; it has {}", known.join(", ")))
    })?;
    let order = Order {
        partner,
        account: arguments.account(&mint, partner)?,
        validity: arguments.validity,
        at,
        flaw: arguments.flaws.flaw(),
    };
    let minted = mint.code(&order)?;
    let Some(out) = &arguments.out else {
        tell(&hex::encode(minted.code));
        return Ok(());
    };
    let picture = picture::png(&minted.code)?;
    fs::write(out, picture).with_context(|| format!("{}: cannot be written", out.display()))?;
    eprintln!(
        "{}: {} code of {}, {}, {} bytes, valid until {}",
        out.display(),
        arguments.flaws.article(),
        arguments.partner,
        arguments.whose(),
        minted.code.len(),
        minted.valid_until.display_with_offset(tz::offset(8)),
    );
    Ok(())
}

impl Arguments {
    /// What can be refused without looking anywhere.
    fn check(&self) -> Result<(), Stop> {
        if self.out.as_deref().is_some_and(|out| !is_png(out)) {
            return Err(Stop::usage("--out: expected a name that ends in .png"));
        }
        Ok(())
    }

    /// The city's seed, and when the code is shown.
    fn city(&self) -> Result<(u64, Timestamp), Stop> {
        let at = self.at.as_deref().map(time).transpose()?;
        match (&self.city, self.seed, at) {
            (Some(folder), _, at) => {
                let site = Site::read(folder)?;
                Ok((site.seed, at.unwrap_or_else(|| site.now())))
            }
            (None, Some(seed), Some(at)) => Ok((seed, at)),
            (None, ..) => Err(Stop::usage("which city? Expected --city DIR, or --seed N and --at TIME")),
        }
    }

    fn account(&self, mint: &Mint, partner: usize) -> Result<String, Stop> {
        let Some(account) = &self.account else {
            return Ok(mint.account(partner, self.rider, self.turn)?);
        };
        let shows = mint.shows(partner)?;
        let fits = shows.is_account(account).then(|| account.clone());
        fits.ok_or_else(|| Stop::usage(format!("--account: {}", shows.account_rule())))
    }

    fn whose(&self) -> String {
        match self.account {
            Some(_) => "an account of your own".into(),
            None => format!("{} rider {}", self.rider, self.turn),
        }
    }
}

impl Flaws {
    const fn flaw(&self) -> Option<Flaw> {
        match (self.expired, self.forged, self.damaged) {
            (true, ..) => Some(Flaw::Expired),
            (_, true, _) => Some(Flaw::Forged),
            (.., true) => Some(Flaw::Damaged),
            _ => None,
        }
    }

    const fn article(&self) -> &'static str {
        match self.flaw() {
            None => "a",
            Some(Flaw::Expired) => "an expired",
            Some(Flaw::Forged) => "a forged",
            Some(Flaw::Damaged) => "a damaged",
        }
    }
}

/// A time that a code can carry.
fn time(text: &str) -> Result<Timestamp, Stop> {
    let time: Option<Timestamp> = text.parse().ok();
    // A day short of what 32 bits of seconds hold: a phone's authorization ends after its code.
    let carried = |time: &Timestamp| (0..i64::from(u32::MAX) - 86_400).contains(&time.as_second());
    time.filter(carried).ok_or_else(|| {
        Stop::usage("--at: expected a time from 1970 to 2105, such as 2022-06-15T12:00:00+08:00")
    })
}

fn is_png(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"))
}
