//! From structure to proof: trust and times first, the three signatures last.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{
    FUTURE_SKEW_S, MAX_VALIDITY_S, MotCode, NAME,
    trust::{MotTrust, Root},
};
use crate::{
    Account, CodeError, Distrust, IssuerMemory, LevelsId, Profile, RideCode, Signer, UnixSeconds,
    sm2::PublicKey,
};

/// A code that could be used now if its signatures are good.
pub(super) struct Accepted<'a> {
    code: &'a MotCode<'a>,
    partner: &'a Profile,
    root: &'a Root,
}

/// Everything that costs no signature, in the order of precedence.
pub(super) fn accept<'a>(
    code: &'a MotCode<'a>,
    partner: Option<&'a Profile>,
    trust: &'a MotTrust,
    now: UnixSeconds,
) -> Result<Accepted<'a>, CodeError> {
    let onboarded =
        partner.and_then(|profile| Some((profile, profile.mot_issuing(code.platform, code.issuer)?)));
    if onboarded.is_some_and(|(_, issuing)| !issuing.account_types.contains(&code.account_type)) {
        return Err(CodeError::UnsupportedMedium { field: "account type" });
    }
    let root = trusted_root(code, trust, now)?;
    let (partner, _) = onboarded.ok_or(CodeError::UntrustedIssuer(Distrust::NotOnboarded))?;
    in_time(code, now)?;
    Ok(Accepted { code, partner, root })
}

fn trusted_root<'a>(
    code: &MotCode<'_>,
    trust: &'a MotTrust,
    now: UnixSeconds,
) -> Result<&'a Root, CodeError> {
    let certificate = &code.certificate;
    let root = trust.root(certificate.root_index).ok_or(Distrust::RootUnknown);
    let distrust = match root {
        Err(distrust) => distrust,
        Ok(root) if root.is_expired(now) => Distrust::RootExpired,
        // Otherwise any issuer could speak for another.
        Ok(_) if code.issuer != certificate.issuer => Distrust::SpeaksForAnother,
        Ok(_) if trust.is_revoked(certificate.issuer, certificate.serial) => Distrust::Revoked,
        Ok(root) => return Ok(root),
    };
    Err(CodeError::UntrustedIssuer(distrust))
}

fn in_time(code: &MotCode<'_>, now: UnixSeconds) -> Result<(), CodeError> {
    if code.certificate.expiry.is_over(now) {
        return Err(CodeError::CertificateExpired);
    }
    if now > authorized_until(code) {
        return Err(CodeError::AuthorizationExpired);
    }
    if code.validity > MAX_VALIDITY_S {
        return Err(CodeError::ValidityTooLong);
    }
    if generated_at(code) > now.plus(i64::from(FUTURE_SKEW_S)) {
        return Err(CodeError::NotYetValid);
    }
    if now > expires_at(code) {
        return Err(CodeError::CodeExpired);
    }
    Ok(())
}

impl Accepted<'_> {
    /// Verifies what `memory` does not vouch for, from the root down.
    pub(super) fn verify(&self, memory: &dyn IssuerMemory) -> Result<(), CodeError> {
        let levels = self.levels_id();
        let user = if let Some(user) = memory.recall(&levels) {
            user
        } else {
            let user = Arc::new(self.verify_issuer_levels()?);
            memory.remember(levels, Arc::clone(&user));
            user
        };
        signed(&user, Signer::User, self.code.user_message(), self.code.user_signature)
    }

    fn verify_issuer_levels(&self) -> Result<PublicKey, CodeError> {
        let certificate = &self.code.certificate;
        signed(self.root.key(), Signer::Root, certificate.message, certificate.signature)?;
        let issuer = key(certificate.key, Signer::Issuer)?;
        signed(&issuer, Signer::Issuer, self.code.issuer_message(), self.code.issuer_signature)?;
        key(self.code.user_key, Signer::User)
    }

    /// Root and issuer levels by content. Including the root's key, so that a root replaced under the same index
    /// vouches for nothing its predecessor did.
    fn levels_id(&self) -> LevelsId {
        let digest =
            Sha256::new().chain_update(self.root.xy()).chain_update(self.code.issuer_levels()).finalize();
        LevelsId(digest.into())
    }

    pub(super) fn into_ride_code(self) -> RideCode {
        RideCode {
            partner: self.partner.id.clone(),
            format: NAME,
            issuer: self.code.issuer,
            platform: self.code.platform,
            account: Account::new(hex::encode(self.code.account)),
            generated_at: generated_at(self.code),
            expires_at: expires_at(self.code),
            authorized_until: authorized_until(self.code),
        }
    }
}

fn key(bytes: &[u8; 33], signer: Signer) -> Result<PublicKey, CodeError> {
    PublicKey::from_compressed(bytes).ok_or(CodeError::BadSignature(signer))
}

fn signed(key: &PublicKey, signer: Signer, message: &[u8], signature: &[u8; 64]) -> Result<(), CodeError> {
    if key.verifies(message, signature) { Ok(()) } else { Err(CodeError::BadSignature(signer)) }
}

fn authorized_until(code: &MotCode<'_>) -> UnixSeconds {
    UnixSeconds(i64::from(code.authorized_until))
}

fn generated_at(code: &MotCode<'_>) -> UnixSeconds {
    UnixSeconds(i64::from(code.generated_at))
}

fn expires_at(code: &MotCode<'_>) -> UnixSeconds {
    generated_at(code).plus(i64::from(code.validity))
}
