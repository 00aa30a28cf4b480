//! What is shown at the gates, in shares of all taps.

use std::{fmt, str::FromStr};

use anyhow::{Result, bail, ensure};
use ridegate_adapters::Profile;
use serde::Serialize;

/// A share of all taps: `12.5%`, or `0.125`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize)]
#[serde(transparent)]
pub struct Share(f64);

impl Share {
    /// Between 0 and 1.
    pub const fn part(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, of) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
        let part = number.trim().parse::<f64>().map(|number| number / of);
        part.ok()
            .filter(|part| (0.0..=1.0).contains(part))
            .map(Self)
            .ok_or_else(|| "expected a share between 0% and 100%, such as 5% or 0.05".to_owned())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", percent(self.0))
    }
}

/// To six places: what is left behind is rounding.
fn percent(part: f64) -> f64 {
    (part * 1e8).round() / 1e6
}

/// A partner and how much it weighs among the others: `yikatong=3`, or `yikatong`, which weighs 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Weight {
    /// The partner's name.
    pub partner: String,
    /// At least 1.
    pub weight: u32,
}

impl FromStr for Weight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (partner, weight) = text.split_once('=').unwrap_or((text, "1"));
        let weight = weight.parse().ok().filter(|weight| (1..=1_000_000).contains(weight));
        let weight = weight.ok_or("expected a partner and a weight of 1 or more, such as yikatong=3")?;
        Ok(Self { partner: partner.to_owned(), weight })
    }
}

/// Shares of all taps. What is left is shown by riders whom the gateway knows, with phones that it knows.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Mix {
    /// Whose riders they are.
    pub partners: Vec<Weight>,
    /// Riders of whom the gateway knows nothing yet: not their link, not their facts, not their phone.
    pub fresh: Share,
    /// Riders whom it knows, with a phone that it does not.
    pub phones: Share,
    /// Codes that were used before, at another gate.
    pub replays: Share,
    /// Codes that another phone has signed.
    pub forged: Share,
    /// Codes that ran out.
    pub expired: Share,
    /// Codes of another partner, which shows more than it may.
    pub throttled: Share,
    /// Codes of nobody's.
    pub unrecognized: Share,
}

/// What a tap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// A rider and a phone that the gateway knows.
    Known,
    /// A known rider's new phone.
    Phone,
    /// A rider who taps for the first time.
    Fresh,
    /// A code that was used before.
    Replay,
    /// A code that another phone has signed.
    Forged,
    /// A code that ran out.
    Expired,
    /// A code of a partner that shows more than it may.
    Throttled,
    /// A code of nobody's.
    Unrecognized,
}

impl Class {
    /// How it is called in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Phone => "new phone",
            Self::Fresh => "first tap",
            Self::Replay => "replayed",
            Self::Forged => "forged",
            Self::Expired => "expired",
            Self::Throttled => "throttled",
            Self::Unrecognized => "unrecognized",
        }
    }
}

impl Mix {
    /// Only riders and phones that the gateway knows.
    #[must_use]
    pub(super) fn known(&self) -> Self {
        Self { partners: self.partners.clone(), ..Self::default() }
    }

    /// Refuses partners who do not ship or whose riders show no codes, and shares that are more than all.
    pub fn check(&self) -> Result<()> {
        ensure!(!self.partners.is_empty(), "partners: expected one at least");
        let known = shown()?;
        for (place, Weight { partner, .. }) in self.partners.iter().enumerate() {
            if !known.contains(partner) {
                bail!("partners: expected some of {}", known.join(", "));
            }
            let before = self.partners.iter().take(place);
            ensure!(
                before.clone().all(|other| other.partner != *partner),
                "partners: {partner} is named twice"
            );
        }
        let all: f64 = self.shares().iter().map(|(_, share)| share.part()).sum();
        ensure!(
            all <= 1.0 + 1e-9,
            "the shares of what is not known and genuine are {}% together, more than all",
            percent(all)
        );
        ensure!(
            self.throttled.part() == 0.0 || self.throttled_partner()?.is_some(),
            "the throttled are another partner's: leave one out of the partners"
        );
        Ok(())
    }

    /// Whose codes are throttled: a partner of nobody else's.
    pub(super) fn throttled_partner(&self) -> Result<Option<String>> {
        if self.throttled.part() == 0.0 {
            return Ok(None);
        }
        let is_free = |name: &String| self.partners.iter().all(|one| one.partner != *name);
        Ok(shown()?.into_iter().find(is_free))
    }

    const fn shares(&self) -> [(Class, Share); 7] {
        [
            (Class::Fresh, self.fresh),
            (Class::Phone, self.phones),
            (Class::Replay, self.replays),
            (Class::Forged, self.forged),
            (Class::Expired, self.expired),
            (Class::Throttled, self.throttled),
            (Class::Unrecognized, self.unrecognized),
        ]
    }

    /// Which class this number between 0 and 1 falls on.
    pub(super) fn class(&self, number: f64) -> Class {
        let mut end = 0.0;
        for (class, share) in self.shares() {
            end += share.part();
            if number < end {
                return class;
            }
        }
        Class::Known
    }

    /// Which partner this number between 0 and 1 falls on, by its place.
    pub(super) fn partner(&self, number: f64) -> usize {
        let all: u32 = self.partners.iter().map(|one| one.weight).sum();
        let mut left = number * f64::from(all);
        for (place, one) in self.partners.iter().enumerate() {
            left -= f64::from(one.weight);
            if left < 0.0 {
                return place;
            }
        }
        self.partners.len().saturating_sub(1)
    }
}

/// Partners whose riders show codes.
fn shown() -> Result<Vec<String>> {
    let shows = |one: &Profile| !one.mot.is_empty() || one.alipay.is_some() || one.is_online();
    Ok(Profile::shipped()?.iter().filter(|one| shows(one)).map(|one| one.id.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(shares: [&str; 5]) -> Mix {
        let [fresh, phones, replays, forged, expired] = shares.map(|share| share.parse().unwrap());
        let partners = vec!["yikatong=3".parse().unwrap(), "alipay".parse().unwrap()];
        Mix { partners, fresh, phones, replays, forged, expired, ..Mix::default() }
    }

    fn refusal(mix: &Mix) -> String {
        mix.check().unwrap_err().to_string()
    }

    #[test]
    fn shares_are_read_as_percent_or_parts_and_others_refused() {
        for (text, part) in [("5%", 0.05), ("0.05", 0.05), ("0", 0.0), ("100%", 1.0), ("12.5 %", 0.125)] {
            assert!((text.parse::<Share>().unwrap().part() - part).abs() < 1e-12, "{text}");
        }
        for text in ["", "%", "-1%", "101%", "1.5", "NaN", "inf", "5%%"] {
            assert!(text.parse::<Share>().unwrap_err().contains("such as 5%"), "{text}");
        }
        assert_eq!("5%".parse::<Share>().unwrap().to_string(), "5%");
    }

    #[test]
    fn weights_are_read_and_others_refused() {
        assert_eq!("alipay".parse::<Weight>().unwrap(), Weight { partner: "alipay".into(), weight: 1 });
        assert_eq!("alipay=7".parse::<Weight>().unwrap().weight, 7);
        for text in ["alipay=0", "alipay=", "alipay=-1", "alipay=x"] {
            assert!(text.parse::<Weight>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_more_than_all_or_of_nobody_is_refused() {
        mix(["50%", "20%", "10%", "10%", "10%"]).check().unwrap();
        assert!(refusal(&mix(["50%", "20%", "20%", "10%", "10%"])).contains("110% together"));
        let mut nobody = mix(["0"; 5]);
        nobody.partners.push("metropolis".parse().unwrap());
        assert!(refusal(&nobody).contains("yikatong"));
        let mut twice = mix(["0"; 5]);
        twice.partners.push("alipay".parse().unwrap());
        assert!(refusal(&twice).contains("alipay is named twice"));
        assert!(refusal(&Mix { partners: vec![], ..mix(["0"; 5]) }).contains("one at least"));
    }

    #[test]
    fn whoever_is_throttled_is_nobody_else() {
        let mut mix = mix(["10%"; 5]);
        assert_eq!(mix.throttled_partner().unwrap(), None);
        mix.throttled = "20%".parse().unwrap();
        let throttled = mix.throttled_partner().unwrap().unwrap();
        assert!(!["yikatong", "alipay"].contains(&throttled.as_str()), "{throttled}");
        mix.check().unwrap();
        mix.unrecognized = "40%".parse().unwrap();
        assert!(refusal(&mix).contains("110% together"));
        mix.unrecognized = Share::default();
        mix.partners = shown().unwrap().iter().map(|name| name.parse().unwrap()).collect();
        assert!(refusal(&mix).contains("leave one out"));
    }

    #[test]
    fn every_class_and_partner_has_its_share() {
        let mix = mix(["50%", "20%", "10%", "5%", "5%"]);
        let at = [(0.0, Class::Fresh), (0.49, Class::Fresh), (0.51, Class::Phone), (0.75, Class::Replay)];
        for (number, class) in
            at.into_iter().chain([(0.82, Class::Forged), (0.87, Class::Expired), (0.91, Class::Known)])
        {
            assert_eq!(mix.class(number), class, "{number}");
        }
        assert_eq!([0.0, 0.74, 0.76, 0.9999].map(|number| mix.partner(number)), [0, 0, 1, 1]);
        assert_eq!(mix.known().class(0.0), Class::Known);
        let mix = Mix { throttled: mix.forged, unrecognized: mix.expired, ..mix };
        assert_eq!([0.91, 0.96].map(|number| mix.class(number)), [Class::Throttled, Class::Unrecognized]);
    }
}
