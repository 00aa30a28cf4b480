use super::*;

const GOOD: &str = r#"
    id = "x-metro"
    name = { zh = "某地铁", en = "X Metro" }
    city = "X"
    kind = "metro"
    [[mot]]
    platform = "99990009"
    issuer = "99990009"
    account_types = [1]
"#;

fn refusal(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    Profile::from_toml(&GOOD.replace(from, to)).unwrap_err().to_string()
}

#[test]
fn a_profile_is_read() {
    let profile = Profile::from_toml(GOOD).unwrap();
    assert_eq!(profile.id.as_str(), "x-metro");
    assert!(!profile.test);
    assert!(profile.issues_mot("99990009".parse().unwrap()));
    assert!(!profile.issues_mot("99990008".parse().unwrap()));
}

#[test]
fn a_misspelt_key_is_refused_by_name() {
    assert!(refusal("city", "citty").contains("citty"));
}

#[test]
fn values_that_cannot_be_are_refused_with_what_is_allowed() {
    assert!(refusal("\"99990009\"\n    issuer", "\"9999000\"\n    issuer").contains("8 decimal digits"));
    assert!(refusal("x-metro", "X Metro").contains("lower-case"));
    assert!(refusal("\"metro\"", "\"ferry\"").contains("`card`, `bus`, `metro`, `payment`"));
    assert_eq!(refusal("[1]", "[]"), "mot.account_types is empty: list what is onboarded");
    assert!(refusal("[1]", "[256]").contains("256"));
}

/// A profile with this section after its first lines.
fn with(section: &str) -> Result<Profile, String> {
    let head = GOOD.split("[[mot]]").next().unwrap();
    Profile::from_toml(&format!("{head}{section}")).map_err(|error| error.to_string())
}

const ALIPAY: &str = r#"
    [alipay]
    prefixes = ["5401"]
    card_types = ["TJ000001"]
    [[alipay.keys]]
    key_id = 1
    algorithm = "secp256k1"
    public_key = "036693576fe549c7d3e9647e77bf965879efd1759f42e40a1c1061b6b7f8a4261b"
    [[alipay.keys]]
    key_id = 7
    algorithm = "sm2"
    public_key = "028e04267ce267bfbeb658b6f1dd2336e06491edea61d29786700ef58909b1bb6b"
"#;

#[test]
fn a_profile_with_alipay_codes_is_read() {
    let profile = with(ALIPAY).unwrap();
    let issuing = profile.alipay.unwrap();
    assert_eq!(format!("{:?}", issuing.prefixes()), "[5401]");
    assert!(profile.mot.is_empty());
    let without = with(&ALIPAY.replace("prefixes = [\"5401\"]", "")).unwrap().alipay.unwrap();
    assert_eq!(format!("{:?}", without.prefixes()), "[none]");
}

const FIRST: &str = "036693576fe549c7d3e9647e77bf965879efd1759f42e40a1c1061b6b7f8a4261b";
const SECOND: &str = "028e04267ce267bfbeb658b6f1dd2336e06491edea61d29786700ef58909b1bb6b";
const ABOVE_P: &str = "02ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

#[test]
fn alipay_values_that_cannot_be_are_refused_with_what_is_allowed() {
    for (from, to, says) in [
        ("card_types", "card_type", "`card_type`"),
        ("key_id = 1", "id = 1", "`id`"),
        ("key_id = 1", "key_id = 256", "256"),
        ("key_id = 1", "key_id = 7", "key_id 7 was given before"),
        ("\"secp256k1\"", "\"p256\"", "`secp256k1` or `sm2`"),
        // An X may be on both curves; ff… is above p on both.
        (FIRST, ABOVE_P, "key_id 1: public_key: expected a compressed point on the algorithm's curve"),
        (SECOND, ABOVE_P, "key_id 7: public_key: expected a compressed point on the algorithm's curve"),
        ("\"0366", "\"0566", "key_id 1: public_key: expected a compressed point"),
        ("\"0366", "\"66", "key_id 1: public_key: expected 33 bytes"),
        ("[\"TJ000001\"]", "[]", "alipay.card_types is empty"),
        ("\"TJ000001\"", "\"TJ00001\"", "8 ASCII characters"),
        ("\"TJ000001\"", "\"TJ0000é\"", "8 ASCII characters"),
        ("[\"5401\"]", "[\"5401\", \"5401\"]", "5401 overlaps"),
        ("[\"5401\"]", "[\"5401\", \"54\"]", "54 overlaps"),
        ("[\"5401\"]", "[\"\"]", "1 to 8 bytes"),
        ("[\"5401\"]", "[\"540101010101010101\"]", "1 to 8 bytes"),
        ("[\"5401\"]", "[\"T1\"]", "hexadecimal"),
        ("[\"5401\"]", "[\"81\"]", "must not begin with 80 to ff"),
        ("[\"5401\"]", "[\"0201\"]", "must not begin with 02"),
        ("[\"5401\"]", "[\"3632\"]", "a UnionPay token (3632)"),
        ("[\"5401\"]", "[\"36\"]", "a UnionPay token (3632)"),
        ("[\"5401\"]", "[\"68515644\"]", "an EMV code (6851…)"),
    ] {
        assert!(ALIPAY.contains(from), "{from}");
        let refusal = with(&ALIPAY.replace(from, to)).unwrap_err();
        assert!(refusal.contains(says), "{to}: {refusal}");
    }
    let keyless = ALIPAY.split("[[alipay.keys]]").next().unwrap();
    assert!(with(keyless).unwrap_err().contains("keys"));
    assert!(with(&format!("{keyless}keys = []")).unwrap_err().contains("alipay.keys is empty"));
}

#[test]
fn a_partner_without_a_format_and_without_cards_is_refused() {
    let head = GOOD.split("[[mot]]").next().unwrap();
    assert!(matches!(Profile::from_toml(head), Err(ProfileError::NoMedium)));
}

const ONLINE: &str = r#"
    [emv-cpm]
    aids = ["a000000333"]
    iins = ["62"]
    [unionpay-token]
    iins = ["62", "621286"]
    [[opaque]]
    begins = "YTX1:"
    [[opaque]]
    length = 84
    first_byte = "01"
    [resolver]
    endpoint = "https://resolver.example:443"
    ca = "x/ca.pem"
    [prompts]
    not_linked = { zh = "请先授权", en = "Please link first" }
"#;

#[test]
fn a_profile_with_codes_that_only_the_partner_can_read_is_read() {
    let profile = with(ONLINE).unwrap();
    assert!(profile.is_online() && !with(ALIPAY).unwrap().is_online());
    let resolver = profile.resolver.unwrap();
    assert_eq!((resolver.timeout.as_millis(), resolver.concurrent_calls.get()), (80, 128));
    assert_eq!(profile.prompts.not_linked.unwrap().zh, "请先授权");
    assert_eq!(profile.prompts.throttled, None);
    let marks: Vec<_> = profile.opaque.iter().map(|issuing| issuing.mark().to_string()).collect();
    assert_eq!(marks, ["payloads that begin with 595458313a", "payloads of 84 bytes that begin with 01"]);
}

#[test]
fn online_values_that_cannot_be_are_refused_with_what_is_allowed() {
    let aids = "aids = [\"a000000333\"]";
    let iins = "iins = [\"62\", \"621286\"]";
    let begins = "begins = \"YTX1:\"";
    for (from, to, says) in [
        (aids, "aids = []", "emv-cpm.aids is empty"),
        (aids, "aids = [\"a0000003\"]", "5 to 16 bytes in hexadecimal"),
        (aids, "aids = [\"a00000033g\"]", "5 to 16 bytes in hexadecimal"),
        ("iins = [\"62\"]", "iins = []", "emv-cpm.iins is empty"),
        ("iins = [\"62\"]", "iins = [\"6\"]", "2 to 12 digits"),
        ("iins = [\"62\"]", "iins = [\"6x\"]", "2 to 12 digits"),
        (iins, "iins = []", "unionpay-token.iins is empty"),
        (iins, "iins = [\"40\"]", "begin with 62"),
        (iins, "iins = [\"62\", \"62\"]", "unionpay-token.iins: 62 was given before"),
        ("iins = [\"62\"]", "iins = [\"62\", \"62\"]", "emv-cpm.iins: 62 was given before"),
        (aids, "aids = [\"a000000333\", \"A000000333\"]", "emv-cpm.aids: a000000333 was given before"),
        (begins, "begins = \"Y\"", "2 to 16 printable ASCII"),
        (begins, "begins = \"YTX 1\"", "2 to 16 printable ASCII"),
        (begins, "begins = \"亿通\"", "2 to 16 printable ASCII"),
        (begins, "begins = \"6200\"", "may be unionpay-token codes"),
        (begins, "begins = \"hQVD\"", "may be emv-cpm codes"),
        (begins, "begins = \"hQVDUFYwMW11\"", "may be emv-cpm codes"),
        (begins, "begins = \"YTX1:\"\n    length = 84", "begins alone, or length and first_byte"),
        (begins, "length = 84", "begins alone, or length and first_byte"),
        ("length = 84", "length = 1", "2 to 4096 bytes"),
        ("length = 84", "length = 4097", "2 to 4096 bytes"),
        ("\"01\"", "\"1\"", "one byte in hexadecimal"),
        ("\"01\"", "\"0101\"", "one byte in hexadecimal"),
        ("\"01\"", "\"80\"", "may be mot codes"),
        ("\"01\"", "\"ff\"", "may be mot codes"),
        ("\"01\"", "\"02\"", "may be alipay codes"),
        ("\"01\"", "\"36\"", "may be unionpay-token codes"),
        ("\"01\"", "\"68\"", "may be emv-cpm codes"),
        (
            "\"01\"",
            "\"59\"",
            "payloads that begin with 595458313a, and payloads of 84 bytes that begin with 59, overlap",
        ),
        ("endpoint", "endpont", "`endpont`"),
        ("ca =", "timeout = \"11s\"\n    ca =", "1ms to 10s"),
        ("ca =", "timeout = 80\n    ca =", "1ms to 10s"),
        ("ca =", "concurrent_calls = 0\n    ca =", "nonzero"),
        ("not_linked", "health", "`health`"),
        ("\"请先授权\"", "\"\"", "1 to 60 characters"),
        ("\"请先授权\"", "\"a\\nb\"", "1 to 60 characters"),
    ] {
        assert!(ONLINE.contains(from), "{from}");
        let refusal = with(&ONLINE.replacen(from, to, 1)).unwrap_err();
        assert!(refusal.contains(says), "{to}: {refusal}");
    }
    let long = "权".repeat(61);
    assert!(with(&ONLINE.replace("请先授权", &long)).unwrap_err().contains("1 to 60 characters"));
    assert!(with(&ONLINE.replace("请先授权", &long[3..])).is_ok());
}

#[test]
fn who_alone_can_read_a_code_must_be_asked_and_nobody_else() {
    let (formats, resolver) = ONLINE.split_once("[resolver]").unwrap();
    let only =
        |format: &str| formats.split("    [").find(|section| section.contains(format)).unwrap().to_owned();
    for format in ["emv-cpm", "unionpay-token"] {
        let refusal = with(&format!("[{}", only(format))).unwrap_err();
        assert_eq!(refusal, format!("[resolver] is missing: only the partner can read its {format} codes"));
    }
    assert!(with("[[opaque]]\nbegins = \"YTX1:\"").unwrap_err().contains("its opaque codes"));
    let idle = with(&format!("{ALIPAY}\n[resolver]{resolver}")).unwrap_err();
    assert!(idle.contains("[resolver] is never asked"), "{idle}");
}

const CARDS: &str = r#"
    [[cards]]
    kind = "yikatong-card"
    issuers = ["01001000", "01001001"]
    digits = 16
    issues = true
    [[cards]]
    kind = "t-union-card"
    digits = 19
    prefix = "31"
    luhn = true
    [min_app_version]
    harmonyos = "5.4.2.0"
    ios = "5.3.2.1"
"#;

#[test]
fn a_partner_may_have_cards_and_nothing_else() {
    let profile = with(CARDS).unwrap();
    let of = |kind| (profile.links_card(kind), profile.issues_card(kind));
    assert_eq!(of(CardKind::YikatongCard), (true, true));
    assert_eq!(of(CardKind::TUnionCard), (true, false));
    assert_eq!(of(CardKind::YikatongNfc), (false, false));
    let minimum = |os| profile.min_app_version(os).map(|version| version.to_string());
    assert_eq!(minimum(Os::HarmonyOs).as_deref(), Some("5.4.2.0"));
    assert_eq!(minimum(Os::Ios).as_deref(), Some("5.3.2.1"));
    assert_eq!(minimum(Os::Android), None, "where none is said, every version may");
}

#[test]
fn what_is_wrong_with_a_card_is_said_without_its_number() {
    use CardKind::{SeniorCard, TUnionCard, YikatongCard};
    let profile = with(CARDS).unwrap();
    let card = |kind, issuer: &str, number: &str| profile.card(kind, issuer, number);
    let number = "1000751112345678";
    let medium = card(YikatongCard, "01001001", number).unwrap();
    assert_eq!((medium.kind(), medium.account().expose()), ("yikatong-card", number));
    // Of anybody's: 19 digits, 31, and a check digit.
    let t_union = "3104112345678901571";
    assert!(card(TUnionCard, "87654321", t_union).is_ok());
    for (kind, issuer, number, part, rule) in [
        (SeniorCard, "01001000", number, "kind", "must be one that this partner shows or links"),
        (YikatongCard, "0100100", number, "issuer", "must be 8 digits"),
        (YikatongCard, "0100100x", number, "issuer", "must be 8 digits"),
        (YikatongCard, "01001002", number, "issuer", "must be one whose cards this partner links"),
        (YikatongCard, "01001000", "", "account", "must be digits only"),
        (YikatongCard, "01001000", "100075111234567x", "account", "must be digits only"),
        (YikatongCard, "01001000", "1000 7511 1234 5678", "account", "must be digits only"),
        (YikatongCard, "01001000", "１０００７５１１", "account", "must be digits only"),
        (YikatongCard, "01001000", "100075111234567", "account", "must have 16 digits"),
        (YikatongCard, "01001000", "10007511123456789", "account", "must have 16 digits"),
        (TUnionCard, "87654321", "310411234567890123", "account", "must have 19 digits"),
        (
            TUnionCard,
            "87654321",
            "3204112345678901571",
            "account",
            "must begin with the digits that numbers of these cards begin with",
        ),
        (
            TUnionCard,
            "87654321",
            "3104112345678901517",
            "account",
            "must end with its check digit: a digit is wrong, or two have changed places",
        ),
    ] {
        assert_eq!(card(kind, issuer, number), Err((part, rule)), "{number}");
    }
}

/// Of several that a number could be meant to be, what is said is what is wrong beside the nearest.
#[test]
fn a_card_may_be_any_of_several_of_its_kind() {
    let more = "[[cards]]\nkind = 'yikatong-card'\ndigits = 8\nprefix = '9'\n";
    let profile = with(&format!("{more}{CARDS}")).unwrap();
    let card = |number| profile.card(CardKind::YikatongCard, "01001000", number).map_err(|(_, rule)| rule);
    assert!(card("1000751112345678").is_ok() && card("90000000").is_ok());
    assert_eq!(card("900000000").unwrap_err(), "must have as many digits as one of these cards");
    assert!(card("80000000").unwrap_err().starts_with("must begin"));
    let elsewhere = profile.card(CardKind::YikatongCard, "00000001", "1000751112345678").unwrap_err();
    assert_eq!(elsewhere, ("account", "must have 8 digits"), "what another issuer's must be is not said");
}

#[test]
fn cards_that_cannot_be_are_refused_with_what_is_allowed() {
    for (from, to, says) in [
        (
            "\"yikatong-card\"",
            "\"bank-card\"",
            "`yikatong-card`, `yikatong-nfc`, `t-union-card`, `senior-card`",
        ),
        ("digits = 16", "digits = 0", "digits: expected 1 to 32"),
        ("digits = 16", "digits = 33", "digits: expected 1 to 32"),
        ("digits = 16", "", "missing field `digits`"),
        ("digits = 16", "digits = 16\n    length = 16", "`length`"),
        ("\"31\"", "\"3x\"", "prefix: expected digits, fewer than a number has"),
        ("\"31\"", "\"3104112345678901571\"", "prefix: expected digits, fewer than a number has"),
        ("\"01001001\"", "\"0100100\"", "8 decimal digits"),
        (
            "\"01001001\"",
            "\"01001000\"",
            "cards: yikatong-card of 01001000 with 16 digits and prefix \"\" was given before",
        ),
        ("issuers = [\"01001000\", \"01001001\"]", "", "issuers is missing"),
        ("harmonyos", "harmony", "`harmony`"),
        ("\"5.3.2.1\"", "\"5.3.2.1.0\"", "1 to 4 numbers"),
        ("\"5.3.2.1\"", "5.3", "string"),
    ] {
        assert!(CARDS.contains(from), "{from}");
        let refusal = with(&CARDS.replacen(from, to, 1)).unwrap_err();
        assert!(refusal.contains(says), "{to}: {refusal}");
    }
}

#[test]
fn whoever_links_any_card_of_a_kind_is_the_company_of_its_own_only() {
    let any = "[[cards]]\nkind = \"t-union-card\"\ndigits = 19\nprefix = \"31\"\nluhn = true\n";
    let own = "[[cards]]\nkind = \"t-union-card\"\nissuers = [\"04403750\"]\ndigits = 19\nissues = true\n";
    let profile = Profile::from_toml(&format!(
        "id = 'x'\nname = {{ zh = '某', en = 'X' }}\ncity = 'X'\nkind = 'card'\n{any}{own}"
    ))
    .unwrap();
    let of = |issuer: &str| profile.is_company_of(CardKind::TUnionCard, issuer.parse().unwrap());
    assert!(
        profile.card(CardKind::TUnionCard, "01234567", "3104403750001234566").is_ok_and(|_| !of("01234567"))
    );
    assert!(of("04403750") && profile.issues_card(CardKind::TUnionCard));
    assert!(!profile.is_company_of(CardKind::SeniorCard, "04403750".parse().unwrap()));
}

#[test]
fn the_guides_example_is_a_profile() {
    let guide = include_str!("../../README.md");
    let example = guide.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let profile = Profile::from_toml(example).unwrap();
    assert_eq!((profile.id.as_str(), profile.mot.len(), profile.opaque.len()), ("suzhou-metro", 1, 1));
    assert!(profile.alipay.is_some() && profile.emv_cpm.is_some() && profile.unionpay_token.is_some());
    assert!(profile.prompts.not_linked.is_some() && profile.quota.codes_per_second.is_some());
    assert!(profile.links_card(CardKind::TUnionCard) && profile.issues_card(CardKind::SeniorCard));
    assert!(profile.min_app_version(Os::Ios).is_some());
}
