//! From structure to proof: trust and times first, the two signatures last.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{AlipayCode, AlipayIssuing, NAME, PublishedKey};
use crate::{
    Account, CodeError, Distrust, IssuerMemory, LevelsId, Medium, Profile, RideCode, Signer, UnixSeconds,
    UserKey, ecdsa,
};

/// A code that could be used now if its signatures are good.
pub(crate) struct Signed<'a> {
    code: AlipayCode<'a>,
    partner: &'a Profile,
    key: &'a PublishedKey,
}

/// Everything that costs no signature, in the order of precedence.
pub(super) fn accept<'a>(
    code: AlipayCode<'a>,
    partner: Option<&'a Profile>,
    now: UnixSeconds,
) -> Result<Signed<'a>, CodeError> {
    let onboarded = partner.and_then(|profile| Some((profile, profile.alipay.as_ref()?)));
    let (partner, issuing) = onboarded.ok_or(CodeError::UntrustedIssuer(Distrust::NotOnboarded))?;
    if !issuing.has_onboarded(*code.card_type) {
        return Err(CodeError::UnsupportedMedium { field: "card type" });
    }
    let key = published(&code, issuing).map_err(CodeError::UntrustedIssuer)?;
    code.lifetime.check(now)?;
    Ok(Signed { code, partner, key })
}

fn published<'a>(code: &AlipayCode<'_>, issuing: &'a AlipayIssuing) -> Result<&'a PublishedKey, Distrust> {
    let key = issuing.key(code.key_id).ok_or(Distrust::KeyUnknown)?;
    if code.algorithm == key.algorithm().byte() { Ok(key) } else { Err(Distrust::AnotherAlgorithm) }
}

impl Signed<'_> {
    /// Verifies what `memory` does not vouch for, from the issuer down.
    pub(crate) fn verify(self, memory: &dyn IssuerMemory) -> Result<RideCode, CodeError> {
        self.verify_signatures(memory)?;
        Ok(self.into_ride_code())
    }

    fn verify_signatures(&self, memory: &dyn IssuerMemory) -> Result<(), CodeError> {
        let levels = self.levels_id();
        let known = memory.recall(&levels);
        match known.as_deref() {
            Some(UserKey::Secp192k1(user)) => self.verify_user(user),
            Some(UserKey::Sm2(_)) | None => {
                let user = self.verify_issuer()?;
                memory.remember(levels, Arc::new(UserKey::Secp192k1(user.clone())));
                self.verify_user(&user)
            }
        }
    }

    fn verify_issuer(&self) -> Result<ecdsa::PublicKey<ecdsa::Secp192k1>, CodeError> {
        if !self.key.verifies(self.code.issuer_message(), self.code.issuer_signature) {
            return Err(CodeError::BadSignature(Signer::Issuer));
        }
        ecdsa::PublicKey::from_compressed(self.code.user_key).ok_or(CodeError::BadSignature(Signer::User))
    }

    fn verify_user(&self, user: &ecdsa::PublicKey<ecdsa::Secp192k1>) -> Result<(), CodeError> {
        let signed = user.verifies(self.code.user_message(), self.code.user_signature);
        if signed { Ok(()) } else { Err(CodeError::BadSignature(Signer::User)) }
    }

    /// The issuer's level by content. Including the key it was verified under, so that a key replaced under the same
    /// id vouches for nothing its predecessor did, nor one partner's for another's. Its algorithm is the code's own.
    fn levels_id(&self) -> LevelsId {
        let digest = Sha256::new()
            .chain_update(NAME)
            .chain_update(self.key.as_bytes())
            .chain_update(self.code.issuer_levels())
            .finalize();
        LevelsId(digest.into())
    }

    fn into_ride_code(self) -> RideCode {
        let Self { code, partner, .. } = self;
        RideCode {
            partner: partner.id.clone(),
            format: NAME,
            medium: Medium::AlipayCode { user: Account::new(code.user) },
            platform: None,
            id: None,
            generated_at: code.lifetime.generated_at(),
            expires_at: code.lifetime.expires_at(),
            authorized_until: Some(code.lifetime.authorized_until()),
        }
    }
}
