use super::*;
use crate::mot::trust::MotTrust;

fn profile(id: &str, platform: &str) -> Profile {
    Profile::from_toml(&format!(
        "id = '{id}'\nname = {{ zh = '某', en = 'X' }}\ncity = 'X'\nkind = 'metro'\n\
         [[mot]]\nplatform = '{platform}'\nissuer = '99990001'\naccount_types = [1]\n"
    ))
    .unwrap()
}

fn conflict(profiles: Vec<Profile>) -> String {
    Partners::new(profiles, MotTrust::default()).unwrap_err().to_string()
}

#[test]
fn profiles_that_claim_the_same_platform_and_issuer_are_refused_naming_both() {
    assert_eq!(
        conflict(vec![profile("a", "00000001"), profile("b", "00000002"), profile("c", "00000001")]),
        "a and c both claim MOT platform 00000001 with issuer 99990001"
    );
}

fn with_prefixes(id: &str, prefixes: &str) -> Profile {
    Profile::from_toml(&format!(
        "id = '{id}'\nname = {{ zh = '某', en = 'X' }}\ncity = 'X'\nkind = 'metro'\n\
         [alipay]\nprefixes = [{prefixes}]\ncard_types = ['ANT00001']\n\
         [[alipay.keys]]\nkey_id = 1\nalgorithm = 'sm2'\n\
         public_key = '037b85b821bcf941c69d52bd3a52c01a735b870e653547db9bfa20f94c5a6b3560'\n"
    ))
    .unwrap()
}

#[test]
fn profiles_whose_prefixes_overlap_are_refused_naming_both() {
    let a = || with_prefixes("a", "'5401', '5402'");
    for (prefixes, claims) in [
        ("'5403', '5402'", "payloads that begin with 5402"),
        ("'54'", "payloads that begin with 5401, and payloads that begin with 54"),
        ("'540201'", "payloads that begin with 5402, and payloads that begin with 540201"),
    ] {
        let refusal = conflict(vec![a(), profile("b", "00000001"), with_prefixes("c", prefixes)]);
        assert_eq!(refusal, format!("a and c both claim {claims}"));
    }
    let refusal = conflict(vec![with_prefixes("a", ""), with_prefixes("b", "")]);
    assert_eq!(refusal, "a and b both claim payloads that begin with 02");
    let apart = vec![a(), with_prefixes("b", "'5403'"), with_prefixes("c", "")];
    assert!(Partners::new(apart, MotTrust::default()).is_ok());
}

#[test]
fn two_profiles_of_one_name_are_refused() {
    assert_eq!(
        conflict(vec![profile("a", "00000001"), profile("a", "00000002")]),
        "two profiles are called a"
    );
}

fn online(id: &str, formats: &str) -> Profile {
    Profile::from_toml(&format!(
        "id = '{id}'\nname = {{ zh = '某', en = 'X' }}\ncity = 'X'\nkind = 'metro'\n{formats}\n\
         [resolver]\nendpoint = 'http://127.0.0.1:1'\n"
    ))
    .unwrap()
}

#[test]
fn profiles_that_claim_the_same_payloads_are_refused_naming_both() {
    let opaque = |id, mark: &str| online(id, &format!("[[opaque]]\n{mark}"));
    let apart = || opaque("a", "begins = 'YTX1:'");
    for (other, claim) in [
        ("begins = 'YTX1:'", "payloads that begin with 595458313a"),
        ("begins = 'YT'", "payloads that begin with 595458313a, and payloads that begin with 5954"),
        (
            "length = 84\nfirst_byte = '59'",
            "payloads that begin with 595458313a, and payloads of 84 bytes that begin with 59",
        ),
    ] {
        let refusal = conflict(vec![apart(), profile("b", "00000001"), opaque("c", other)]);
        assert_eq!(refusal, format!("a and c both claim {claim}"));
    }
    let tianjin = with_prefixes("tianjin", "'5401'");
    let refusal = conflict(vec![tianjin, opaque("c", "length = 300\nfirst_byte = '54'")]);
    assert_eq!(
        refusal,
        "tianjin and c both claim payloads that begin with 5401, and payloads of 300 bytes that begin with 54"
    );
    let sized = || opaque("a", "length = 84\nfirst_byte = '01'");
    assert_eq!(
        conflict(vec![sized(), opaque("b", "length = 84\nfirst_byte = '01'")]),
        "a and b both claim payloads of 84 bytes that begin with 01"
    );
    let beside = vec![
        sized(),
        opaque("b", "length = 85\nfirst_byte = '01'"),
        opaque("c", "begins = 'YTX1:'"),
        opaque("d", "begins = 'YTX2:'"),
    ];
    assert!(Partners::new(beside, MotTrust::default()).is_ok());
}

#[test]
fn profiles_with_the_same_iin_are_refused_and_a_longer_one_is_another() {
    let cpm = |id, aid: &str, iin: &str| {
        online(id, &format!("[emv-cpm]\naids = ['{aid}']\niins = ['62', '{iin}']"))
    };
    let refusal = conflict(vec![
        cpm("a", "a000000333", "6201"),
        online("b", "[emv-cpm]\naids = ['a00000033301']\niins = ['6202', '6201']"),
    ]);
    assert_eq!(refusal, "a and b both claim card codes of AID a00000033301 with IIN 6201");
    let token = |id, iin: &str| online(id, &format!("[unionpay-token]\niins = ['{iin}']"));
    assert_eq!(
        conflict(vec![token("a", "62"), token("b", "6201"), token("c", "6201")]),
        "b and c both claim tokens with IIN 6201"
    );
    let apart = vec![
        cpm("a", "a000000333", "6201"),
        cpm("b", "a000000004", "6201"),
        token("c", "62"),
        token("d", "6201"),
    ];
    let partners = Partners::new(apart, MotTrust::default()).unwrap();
    let whose = |token: &[u8]| partners.by_token(token).map(|profile| profile.id.as_str());
    assert_eq!(
        [whose(b"6200"), whose(b"6201"), whose(b"63")],
        [Some("c"), Some("d"), None],
        "the longest wins"
    );
    let of = |aid: &[u8], number: &[u8]| partners.by_cpm(aid, number).map(|profile| profile.id.as_str());
    assert_eq!(of(&[0xa0, 0, 0, 3, 0x33, 1], b"6299"), Some("a"));
    assert_eq!(of(&[0xa0, 0, 0, 0, 4], b"6299"), Some("b"));
    assert_eq!(of(&[0xa0, 0, 0, 0, 4], b"52"), None);
    assert_eq!(of(&[0xa0, 0, 0, 0, 5], b"62"), None);
}

fn with_cards(id: &str, sections: &str) -> Profile {
    Profile::from_toml(&format!(
        "id = '{id}'\nname = {{ zh = '某', en = 'X' }}\ncity = 'X'\nkind = 'card'\n{sections}"
    ))
    .unwrap()
}

#[test]
fn a_card_has_one_company_and_any_number_of_partners_who_link_it() {
    let cards = |kind: &str, issuers: &str, issues: bool| {
        format!("[[cards]]\nkind = '{kind}'\nissuers = [{issuers}]\ndigits = 16\nissues = {issues}\n")
    };
    let senior = |id, issues| with_cards(id, &cards("senior-card", "'00000001', '00000002'", issues));
    let other = || with_cards("c", &cards("senior-card", "'00000003', '00000002'", true));
    assert_eq!(
        conflict(vec![senior("a", true), profile("b", "00000001"), other()]),
        "a and c both claim to issue senior-card with issuer 00000002"
    );
    let lengths = cards("senior-card", "'00000009'", true)
        + &cards("senior-card", "'00000009'", true).replace("16", "18");
    let apart = vec![
        senior("a", false),
        other(),
        senior("d", false),
        with_cards("e", &cards("yikatong-card", "'00000002'", true)),
        with_cards("f", &lengths),
    ];
    let partners = Partners::new(apart, MotTrust::default()).unwrap();
    let company = |kind, issuer: &str| {
        partners.card_company(kind, issuer.parse().unwrap()).map(|profile| profile.id.as_str())
    };
    assert_eq!(company(CardKind::SeniorCard, "00000002"), Some("c"));
    assert_eq!(company(CardKind::YikatongCard, "00000002"), Some("e"));
    assert_eq!(company(CardKind::SeniorCard, "00000009"), Some("f"));
    assert_eq!(company(CardKind::SeniorCard, "00000001"), None, "who links a card does not issue it");
}
