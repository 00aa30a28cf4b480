//! A profile, as a person reads it.

use std::{fmt::Write, path::Path};

use ridegate_adapters::{CardIssuing, Os, Profile, ResolverProfile};

/// One thing a line.
pub(super) fn shown(file: &Path, profile: &Profile) -> String {
    let mut text = format!("{}: can be used\n", file.display());
    let mut line = |what: &str, said: String| {
        // Writing to a string does not fail.
        let _written = writeln!(text, "  {what:<15} {said}");
    };
    let Profile { id, name, city, kind, .. } = profile;
    line("id", id.to_string());
    line("name", format!("{} / {}", name.zh, name.en));
    line("home", format!("{city}, {}", format!("{kind:?}").to_lowercase()));
    line(
        "keys",
        if profile.test { "test keys: never for production" } else { "not marked as test keys" }.to_owned(),
    );
    for issuing in &profile.mot {
        let types = list(&issuing.account_types);
        line(
            "mot",
            format!("platform {}, issuer {}, account types {types}", issuing.platform, issuing.issuer),
        );
    }
    if let Some(issuing) = &profile.alipay {
        let keys =
            issuing.keys().iter().map(|key| format!("{} ({:?})", key.id(), key.algorithm()).to_lowercase());
        line(
            "alipay",
            format!("prefixes {}, card types {}", list(issuing.prefixes()), list(issuing.card_types())),
        );
        line("", format!("published keys {}", keys.collect::<Vec<_>>().join(", ")));
    }
    if let Some(issuing) = &profile.emv_cpm {
        line("emv-cpm", format!("AIDs {}, IINs {}", list(&issuing.aids), list(&issuing.iins)));
    }
    if let Some(issuing) = &profile.unionpay_token {
        line("unionpay-token", format!("IINs {}", list(&issuing.iins)));
    }
    for issuing in &profile.opaque {
        line("opaque", issuing.mark().to_string());
    }
    for issuing in &profile.cards {
        line("cards", cards(issuing));
    }
    let minimum = |(name, os)| Some(format!("{name} {}", profile.min_app_version(os)?));
    let systems = [("HarmonyOS", Os::HarmonyOs), ("Android", Os::Android), ("iOS", Os::Ios)];
    let minimums: Vec<_> = systems.into_iter().filter_map(minimum).collect();
    if !minimums.is_empty() {
        line("app, at least", minimums.join(", "));
    }
    if let Some(ResolverProfile { endpoint, timeout, concurrent_calls, ca, certificate, .. }) =
        &profile.resolver
    {
        let tls = match (ca, certificate) {
            (None, _) => "no TLS",
            (Some(_), None) => "TLS, the gateway unnamed",
            (Some(_), Some(_)) => "TLS, certificates on both sides",
        };
        line("resolver", format!("{endpoint}, {tls}, {timeout:#} at most, {concurrent_calls} calls at once"));
    }
    text.truncate(text.trim_end().len());
    text
}

fn cards(CardIssuing { kind, issuers, digits, prefix, luhn, issues, .. }: &CardIssuing) -> String {
    let mut said = format!("{}, ", kind.name());
    // Writing to a string does not fail.
    let _written = match issuers.as_slice() {
        [] => write!(said, "any issuer, {digits} digits"),
        issuers => write!(said, "issuers {}, {digits} digits", list(issuers)),
    };
    if !prefix.is_empty() {
        let _written = write!(said, " that begin with {prefix}");
    }
    said.push_str(if *luhn { ", the last a check digit" } else { "" });
    said.push_str(if *issues { ", issued" } else { ", linked only" });
    said
}

fn list(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
