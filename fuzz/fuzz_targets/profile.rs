//! What an operator writes: a profile, or the roots of MOT codes.
#![no_main]

use ridegate_adapters::{MotTrust, Partners, Profile};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _refused = MotTrust::from_toml(text);
    if let Ok(profile) = Profile::from_toml(text) {
        let alone = Partners::new(vec![profile.clone()], MotTrust::default());
        assert!(alone.is_ok(), "a profile conflicts with itself");
        assert!(Partners::new(vec![profile.clone(), profile], MotTrust::default()).is_err());
    }
});
