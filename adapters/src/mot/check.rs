//! From structure to proof: trust and times first, the three signatures last.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{
    MotCode, NAME,
    trust::{MotTrust, Root},
};
use crate::{
    Account, CertificateId, CodeError, Distrust, IssuerMemory, LevelsId, Medium, Profile, RideCode, Signer,
    UnixSeconds, UserKey, sm2::PublicKey,
};

/// A code that could be used now if its signatures are good.
pub(crate) struct Signed<'a> {
    code: MotCode<'a>,
    partner: &'a Profile,
    root: &'a Root,
}

/// Everything that costs no signature, in the order of precedence.
pub(super) fn accept<'a>(
    code: MotCode<'a>,
    partner: Option<&'a Profile>,
    trust: &'a MotTrust,
    now: UnixSeconds,
) -> Result<Signed<'a>, CodeError> {
    let onboarded =
        partner.and_then(|profile| Some((profile, profile.mot_issuing(code.platform, code.issuer)?)));
    if onboarded.is_some_and(|(_, issuing)| !issuing.account_types.contains(&code.account_type)) {
        return Err(CodeError::UnsupportedMedium { field: "account type" });
    }
    let root = trusted_root(&code, trust, now)?;
    let (partner, _) = onboarded.ok_or(CodeError::UntrustedIssuer(Distrust::NotOnboarded))?;
    in_time(&code, now)?;
    Ok(Signed { code, partner, root })
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
    code.lifetime.check(now)
}

impl Signed<'_> {
    /// Verifies what `memory` does not vouch for, from the root down.
    pub(crate) fn verify(self, memory: &dyn IssuerMemory) -> Result<RideCode, CodeError> {
        self.verify_signatures(memory)?;
        Ok(self.into_ride_code())
    }

    fn verify_signatures(&self, memory: &dyn IssuerMemory) -> Result<(), CodeError> {
        let levels = self.levels_id();
        let known = memory.recall(&levels);
        match known.as_deref() {
            Some(UserKey::Sm2(user)) => self.verify_user(user),
            Some(UserKey::Secp192k1(_)) | None => {
                // Who taps once taps again. To make the table now and use it at once costs a quarter more than this one
                // verification without it, and less than two without it, so it pays from the second tap on.
                let user = self.verify_issuer_levels(memory)?.seen();
                memory.remember(levels, Arc::new(UserKey::Sm2(user.clone())));
                self.verify_user(&user)
            }
        }
    }

    fn verify_user(&self, user: &PublicKey) -> Result<(), CodeError> {
        signed(user, Signer::User, self.code.user_message(), self.code.user_signature)
    }

    fn verify_issuer_levels(&self, memory: &dyn IssuerMemory) -> Result<PublicKey, CodeError> {
        let issuer = self.verify_issuer(memory)?;
        signed(&issuer, Signer::Issuer, self.code.issuer_message(), self.code.issuer_signature)?;
        key(self.code.user_key, Signer::User)
    }

    /// One signature for all riders of an issuer.
    fn verify_issuer(&self, memory: &dyn IssuerMemory) -> Result<PublicKey, CodeError> {
        let (certificate, id) = (&self.code.certificate, self.certificate_id());
        if let Some(known) = memory.recall_issuer(&id) {
            return Ok(known);
        }
        signed(self.root.key(), Signer::Root, certificate.message, certificate.signature)?;
        let issuer = key(certificate.key, Signer::Issuer)?;
        memory.remember_issuer(id, issuer.clone());
        Ok(issuer)
    }

    /// The certificate by all that its root's signature covers, and the signature itself: a certificate that is known with another
    /// signature is not known. Including the root's key, as below.
    fn certificate_id(&self) -> CertificateId {
        let certificate = &self.code.certificate;
        let digest = Sha256::new().chain_update(self.root.xy()).chain_update(certificate.message);
        CertificateId(digest.chain_update(certificate.signature).finalize().into())
    }

    /// Root and issuer levels by content. Including the root's key, so that a root replaced under the same index
    /// vouches for nothing its predecessor did.
    fn levels_id(&self) -> LevelsId {
        let digest =
            Sha256::new().chain_update(self.root.xy()).chain_update(self.code.issuer_levels()).finalize();
        LevelsId(digest.into())
    }

    fn into_ride_code(self) -> RideCode {
        RideCode {
            partner: self.partner.id.clone(),
            format: NAME,
            medium: Medium::MotCode {
                issuer: self.code.issuer,
                account: Account::new(hex::encode(self.code.account)),
            },
            platform: Some(self.code.platform),
            id: None,
            generated_at: self.code.lifetime.generated_at(),
            expires_at: self.code.lifetime.expires_at(),
            authorized_until: Some(self.code.lifetime.authorized_until()),
        }
    }
}

fn key(bytes: &[u8; 33], signer: Signer) -> Result<PublicKey, CodeError> {
    PublicKey::from_compressed(bytes).ok_or(CodeError::BadSignature(signer))
}

fn signed(key: &PublicKey, signer: Signer, message: &[u8], signature: &[u8; 64]) -> Result<(), CodeError> {
    if key.verifies(message, signature) { Ok(()) } else { Err(CodeError::BadSignature(signer)) }
}
